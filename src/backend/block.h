/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk as devices see it: bytes at offsets. Ranges are the caller's to
 * check against size. Calls come from one thread at a time and may block for
 * as long as the host's storage does.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"

struct block;

struct block_ops {
	/* 0 or -errno; all of len. */
	int (*read)(struct block *block, u64 off, void *buf, u64 len);
	int (*write)(struct block *block, u64 off, const void *buf, u64 len);
	/* What was written is on stable storage. */
	int (*flush)(struct block *block);
	void (*close)(struct block *block);
};

struct block {
	const struct block_ops *ops;
	u64 size; /* bytes */
};

/* A regular file or a block device of the host, read and written. */
int block_open_file(struct block **out, const char *path, struct err *err);
static inline void block_close(struct block *block)
{
	if (block)
		block->ops->close(block);
}
