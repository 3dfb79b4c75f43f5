/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a cpio archive in the kernel's initramfs format ("newc").
 *
 * Reference: [1] Linux Documentation/driver-api/early-userspace/
 * buffer-format.rst
 */
#pragma once

#include <stdio.h>

#include "util/types.h"

struct cpio {
	FILE *out;
	u32 inode;
	size_t size; /* bytes so far, to pad by */
};

static inline struct cpio cpio_start(FILE *out)
{
	return (struct cpio){.out = out};
}

/* mode is a folder's or a plain file's, as in stat(2). Errors stay in `out`. */
void cpio_add(struct cpio *cpio, const char *name, u32 mode, const void *data,
	      size_t len);
void cpio_end(struct cpio *cpio);
