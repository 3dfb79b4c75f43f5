/* SPDX-License-Identifier: Apache-2.0 */
/* A disk in a file or on a block device. */
#include "backend/block.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"

struct block_file {
	struct block block;
	int fd;
};

static struct block_file *file_of(struct block *block)
{
	return container_of(block, struct block_file, block);
}

static int file_read(struct block *block, u64 off, void *buf, u64 len)
{
	u8 *at = buf;

	while (len) {
		ssize_t got = pread(file_of(block)->fd, at, len, (off_t)off);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -EIO; /* the file has shrunk */
		at += got;
		off += (u64)got;
		len -= (u64)got;
	}
	return 0;
}

static int file_write(struct block *block, u64 off, const void *buf, u64 len)
{
	const u8 *at = buf;

	while (len) {
		ssize_t put = pwrite(file_of(block)->fd, at, len, (off_t)off);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put ? -errno : -EIO;
		at += put;
		off += (u64)put;
		len -= (u64)put;
	}
	return 0;
}

static int file_flush(struct block *block)
{
	return fdatasync(file_of(block)->fd) ? -errno : 0;
}

static void file_close(struct block *block)
{
	fd_close(&file_of(block)->fd);
	free(file_of(block));
}

static const struct block_ops file_ops = {
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.close = file_close,
};

/* The size, or -errno; pipes, terminals and the like are no disks. */
static s64 disk_size(int fd)
{
	struct stat st;
	off_t size;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -ENOTBLK;
	size = lseek(fd, 0, SEEK_END);
	return size < 0 ? -errno : size;
}

int block_open_file(struct block **out, const char *path, struct err *err)
{
	/* A FIFO must not make us wait. */
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct block_file *file;
	s64 size;

	if (fd < 0)
		return err_set(err, -errno,
			       "Could not open block device: %s: %s", path,
			       strerror(errno));
	size = disk_size(fd);
	file = size < 0 ? NULL : calloc(1, sizeof(*file));
	if (!file) {
		close(fd);
		return err_set(err, size < 0 ? (int)size : -ENOMEM,
			       "%s cannot be a disk: %s", path,
			       size < 0 ? strerror((int)-size)
					: "out of memory");
	}
	file->block.ops = &file_ops;
	file->block.size = (u64)size;
	file->fd = fd;
	*out = &file->block;
	return 0;
}
