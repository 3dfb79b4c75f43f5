/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in a file or on a block device, by the host's page cache.
 *
 * fallocate() does to a block device what it does to a file (block/fops.c of
 * Linux): a hole is a discard, a range of zeros a write-zeroes command.
 */
#include "backend/block.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
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

/* ---- bytes --------------------------------------------------------------- */

struct transfer {
	struct iovec *iov;
	unsigned count;
	u64 off;
};

static bool is_over(const struct transfer *t)
{
	return !t->count;
}

/* `done` bytes of it are through. */
static void step(struct transfer *t, u64 done)
{
	t->off += done;
	while (t->count && done >= t->iov->iov_len) {
		done -= t->iov->iov_len;
		t->iov++;
		t->count--;
	}
	if (t->count) {
		t->iov->iov_base = (u8 *)t->iov->iov_base + done;
		t->iov->iov_len -= done;
	}
}

static int file_read(struct block *block, u64 off, struct iovec *iov,
		     unsigned count, bool now)
{
	struct transfer t = {iov, count, off};

	step(&t, 0); /* past empty ones, which could not end */
	while (!is_over(&t)) {
		ssize_t got = preadv2(file_of(block)->fd, t.iov, (int)t.count,
				      (off_t)t.off, now ? RWF_NOWAIT : 0);

		if (got < 0 && errno == EINTR)
			continue;
		/* A file system that cannot tell may have to wait. */
		if (got < 0)
			return now && errno == EOPNOTSUPP ? -EAGAIN : -errno;
		if (!got)
			return -EIO; /* the file has shrunk */
		step(&t, (u64)got);
	}
	return 0;
}

static int file_write(struct block *block, u64 off, struct iovec *iov,
		      unsigned count)
{
	struct transfer t = {iov, count, off};

	step(&t, 0); /* past empty ones, which could not end */
	while (!is_over(&t)) {
		ssize_t put = pwritev(file_of(block)->fd, t.iov, (int)t.count,
				      (off_t)t.off);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put ? -errno : -EIO;
		step(&t, (u64)put);
	}
	return 0;
}

static int file_flush(struct block *block)
{
	return fdatasync(file_of(block)->fd) ? -errno : 0;
}

static int file_allocate(struct block *block, int mode, u64 off, u64 len)
{
	while (fallocate(file_of(block)->fd, mode | FALLOC_FL_KEEP_SIZE,
			 (off_t)off, (off_t)len))
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int file_discard(struct block *block, u64 off, u64 len)
{
	return file_allocate(block, FALLOC_FL_PUNCH_HOLE, off, len);
}

static int write_zeros(struct block *block, u64 off, u64 len)
{
	static const u8 zeros[65536];
	int ret = 0;

	while (!ret && len) {
		u64 part = min_u64(len, sizeof(zeros));

		ret = block_write(block, off, zeros, part);
		off += part;
		len -= part;
	}
	return ret;
}

static int file_zero(struct block *block, u64 off, u64 len, bool unmap)
{
	int ret = -EOPNOTSUPP;

	if (unmap)
		ret = file_allocate(block, FALLOC_FL_PUNCH_HOLE, off, len);
	if (ret == -EOPNOTSUPP)
		ret = file_allocate(block, FALLOC_FL_ZERO_RANGE, off, len);
	return ret == -EOPNOTSUPP ? write_zeros(block, off, len) : ret;
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
	.discard = file_discard,
	.zero = file_zero,
	.close = file_close,
};

/* ---- opening ------------------------------------------------------------- */

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

/* For a file that of its file system's blocks, if it is a plausible one. */
static u32 physical_sector(int fd)
{
	unsigned size = 0;
	struct stat st;

	if (!ioctl(fd, BLKPBSZGET, &size) && size >= 512)
		return size;
	if (!fstat(fd, &st) && st.st_blksize >= 512 && st.st_blksize <= 65536 &&
	    !(st.st_blksize & (st.st_blksize - 1)))
		return (u32)st.st_blksize;
	return 512;
}

/* Whoever reads shares it with others that read. */
static int lock(int fd, const struct block_config *config, struct err *err)
{
	if (!config->locked ||
	    !flock(fd, (config->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB))
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(err, -EBUSY,
			       "%s is in use, perhaps by another VM: two that "
			       "write would destroy what is on it",
			       config->path);
	return err_set(err, -errno, "%s cannot be locked: %s", config->path,
		       strerror(errno));
}

static int file_make(struct block **out, int fd, const char *path,
		     struct err *err)
{
	s64 size = disk_size(fd);
	struct block_file *file = size < 0 ? NULL : calloc(1, sizeof(*file));

	if (!file)
		return err_set(err, size < 0 ? (int)size : -ENOMEM,
			       "%s cannot be a disk: %s", path,
			       size < 0 ? strerror((int)-size)
					: "out of memory");
	file->block.ops = &file_ops;
	file->block.size = (u64)size;
	file->block.physical_sector = physical_sector(fd);
	file->fd = fd;
	*out = &file->block;
	return 0;
}

int block_open(struct block **out, const struct block_config *config,
	       struct err *err)
{
	/* A FIFO must not make us wait. */
	const int flags = O_CLOEXEC | O_NONBLOCK;
	int fd = open(config->path,
		      flags | (config->read_only ? O_RDONLY : O_RDWR));
	int ret;

	if (fd < 0)
		return err_set(err, -errno,
			       "Could not open block device: %s: %s",
			       config->path, strerror(errno));
	ret = lock(fd, config, err);
	if (!ret)
		ret = file_make(out, fd, config->path, err);
	if (ret)
		close(fd);
	return ret;
}
