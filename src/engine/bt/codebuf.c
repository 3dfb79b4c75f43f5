/* SPDX-License-Identifier: Apache-2.0 */
/* Code memory in two views of one memfd. */
#include "engine/bt/codebuf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int map_views(struct codebuf *buf, int fd, struct err *err)
{
	void *write = mmap(NULL, buf->size, PROT_READ | PROT_WRITE, MAP_SHARED,
			   fd, 0);
	void *exec =
		mmap(NULL, buf->size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);

	buf->write = write == MAP_FAILED ? NULL : write;
	buf->exec = exec == MAP_FAILED ? NULL : exec;
	if (buf->write && buf->exec)
		return 0;
	return err_set(err, -errno,
		       "this host refuses executable memory (%s); the bt "
		       "engine needs it for SIMD instructions",
		       strerror(errno));
}

int codebuf_init(struct codebuf *buf, u64 size, struct err *err)
{
	int fd, ret;

	*buf = (struct codebuf){.size = size};
	fd = memfd_create("vireo-code", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0) {
		ret = err_set(err, -errno, "no memory for translated code: %s",
			      strerror(errno));
		if (fd >= 0)
			close(fd);
		return ret;
	}
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	ret = map_views(buf, fd, err);
	close(fd);
	if (ret)
		codebuf_fini(buf);
	return ret;
}

void codebuf_fini(struct codebuf *buf)
{
	if (buf->write)
		munmap(buf->write, buf->size);
	if (buf->exec)
		munmap(buf->exec, buf->size);
	buf->write = buf->exec = NULL;
}
