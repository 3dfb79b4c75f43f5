/* SPDX-License-Identifier: Apache-2.0 */
/* Code memory in two views. */
#include "engine/bt/codebuf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void codebuf_fini(struct codebuf *buf)
{
	if (buf->write)
		munmap(buf->write, buf->size);
	if (buf->exec)
		munmap(buf->exec, buf->size);
	buf->write = buf->exec = NULL;
}

static int refused(int code, struct err *err)
{
	return err_set(err, -code,
		       "this host refuses executable memory (%s); the bt "
		       "engine needs it for SIMD instructions",
		       strerror(code));
}

static int map_fd(struct codebuf *buf, int fd, struct err *err)
{
	void *write = mmap(NULL, buf->size, PROT_READ | PROT_WRITE, MAP_SHARED,
			   fd, 0);
	void *exec =
		mmap(NULL, buf->size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);

	buf->write = write == MAP_FAILED ? NULL : write;
	buf->exec = exec == MAP_FAILED ? NULL : exec;
	return buf->write && buf->exec ? 0 : refused(errno, err);
}

/* mremap(2): of a shared mapping, an old size of 0 makes a second one. */
static int map_anon(struct codebuf *buf, struct err *err)
{
	void *write = mmap(NULL, buf->size, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	void *exec;

	if (write == MAP_FAILED)
		return refused(errno, err);
	buf->write = write;
	exec = mremap(write, 0, buf->size, MREMAP_MAYMOVE);
	if (exec == MAP_FAILED)
		return refused(errno, err);
	buf->exec = exec;
	if (mprotect(exec, buf->size, PROT_READ | PROT_EXEC))
		return refused(errno, err);
	return 0;
}

static int make_fd(u64 size, struct err *err)
{
	int fd = memfd_create("vireo-code", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int ret;

	if (fd >= 0 && !ftruncate(fd, (off_t)size)) {
		fcntl(fd, F_ADD_SEALS,
		      F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
		return fd;
	}
	ret = err_set(err, -errno, "no memory for translated code: %s",
		      strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret;
}

int codebuf_init(struct codebuf *buf, u64 size, enum codebuf_kind kind,
		 struct err *err)
{
	int fd, ret;

	*buf = (struct codebuf){.size = size};
	if (kind == CODEBUF_ANON) {
		ret = map_anon(buf, err);
	} else {
		fd = make_fd(size, err);
		if (fd < 0)
			return fd;
		ret = map_fd(buf, fd, err);
		close(fd);
	}
	if (ret)
		codebuf_fini(buf);
	return ret;
}
