/* SPDX-License-Identifier: Apache-2.0 */
/* A whole file of the host in memory. */
#include "cli/host_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"

static int map_file(struct host_file *file, int fd, u64 len)
{
	void *data = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);

	if (data == MAP_FAILED)
		return -errno;
	file->data = data;
	file->len = len;
	file->mapped = true;
	return 0;
}

/* Pipes and the like: what comes until the end. */
static int read_stream(struct host_file *file, int fd)
{
	const size_t step = MIB(1);

	for (;;) {
		u8 *bigger = realloc(file->data, file->len + step);
		s64 got;

		if (!bigger)
			return -ENOMEM;
		file->data = bigger;
		got = fd_read_full(fd, file->data + file->len, step);
		if (got < 0)
			return (int)got;
		file->len += (u64)got;
		if ((u64)got < step)
			return 0;
		if (file->len > HOST_FILE_MAX)
			return -EFBIG;
	}
}

int host_file_open(struct host_file *file, const char *path, struct err *err)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret;

	memset(file, 0, sizeof(*file));
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	ret = fstat(fd, &st) ? -errno : 0;
	if (!ret && S_ISDIR(st.st_mode))
		ret = -EISDIR;
	else if (!ret && S_ISREG(st.st_mode) && st.st_size > 0)
		ret = map_file(file, fd, (u64)st.st_size);
	else if (!ret)
		ret = read_stream(file, fd);
	fd_close(&fd);
	if (!ret && !file->len)
		ret = -ENODATA;
	if (!ret)
		return 0;
	host_file_close(file);
	return err_set(err, ret, "%s: %s", path,
		       ret == -ENODATA ? "the file is empty" : strerror(-ret));
}

void host_file_close(struct host_file *file)
{
	if (file->mapped)
		munmap(file->data, file->len);
	else
		free(file->data);
	memset(file, 0, sizeof(*file));
}
