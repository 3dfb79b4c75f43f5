/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk as devices see it: bytes at offsets. Ranges are the caller's to check
 * against size; several threads may call at once. Calls block for as long as
 * the host's storage does.
 */
#pragma once

#include <sys/uio.h>

#include "util/err.h"
#include "util/types.h"

struct block;

/* All of these: 0, or -errno, and then any part of it may be done. */
struct block_ops {
	/* The vectors' bytes, at most BLOCK_MAX_VECTORS of them; they are
	 * used up. `now`: -EAGAIN instead of waiting for storage. */
	int (*read)(struct block *block, u64 off, struct iovec *iov,
		    unsigned count, bool now);
	int (*write)(struct block *block, u64 off, struct iovec *iov,
		     unsigned count);
	/* What was written is on stable storage. */
	int (*flush)(struct block *block);
	/* What is in there is not needed any more, and reads as zeros.
	 * -EOPNOTSUPP where the storage cannot. */
	int (*discard)(struct block *block, u64 off, u64 len);
	/* Zeros; `unmap`: storage may be given back. */
	int (*zero)(struct block *block, u64 off, u64 len, bool unmap);
	void (*close)(struct block *block);
};

#define BLOCK_MAX_VECTORS 256

struct block {
	const struct block_ops *ops;
	u64 size;	     /* bytes */
	u32 physical_sector; /* bytes, what storage writes at once; >= 512 */
};

struct block_config {
	const char *path;
	bool read_only;
	bool locked; /* nobody else may write it, or read what we write */
};

/*
 * A regular file or a block device of the host. -EBUSY if it is locked by
 * another one.
 */
int block_open(struct block **out, const struct block_config *config,
	       struct err *err);

struct block_overlay_config {
	const char *image; /* is never written to; others may read it as well */
	const char *path; /* what changes; made if it is not there. NULL: a file
			   * without a name, which ends with the disk */
	bool read_only;	  /* nothing is made or changed */
};

/*
 * What has been written is in the overlay, all else in the image. As durable
 * as a plain disk: after a flush. -EBUSY as above; -EINVAL for a file that is
 * no overlay of this image.
 */
int block_open_overlay(struct block **out,
		       const struct block_overlay_config *config,
		       struct err *err);

static inline int block_read(struct block *block, u64 off, void *buf, u64 len)
{
	struct iovec iov = {buf, len};

	return block->ops->read(block, off, &iov, 1, false);
}

static inline int block_write(struct block *block, u64 off, const void *buf,
			      u64 len)
{
	struct iovec iov = {(void *)buf, len};

	return block->ops->write(block, off, &iov, 1);
}

static inline void block_close(struct block *block)
{
	if (block)
		block->ops->close(block);
}
