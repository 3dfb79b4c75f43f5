/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompressors for kernel payloads, in chunks: a sink gets the output piece
 * by piece, so that no whole copy of a kernel exists outside the guest.
 *
 * Bounds: never more than sink->limit bytes leave a decompressor; its own
 * window is at most UNPACK_WINDOW_MAX.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"

#define UNPACK_WINDOW_MAX MIB(160)

struct unpack_sink {
	u64 limit; /* output bytes that are still reasonable */
	u64 total; /* written so far */
	/* `data` is valid during the call only; off is sink->total before it.
	 * A failure ends the unpacking and is returned. */
	int (*write)(struct unpack_sink *sink, const u8 *data, u64 len,
		     struct err *err);
};

/* One decompressor: how its data begin, and the function. */
struct unpack_format {
	const char *name;
	u8 magic[9];
	u8 magic_len;
	u8 length_inside; /* bytes of its own at the end that give the length
			   * of the output; Linux appends them to others */
	/* The first chunk has at least 64 KiB, unless the whole has less. */
	int (*unpack)(const u8 *src, u64 len, struct unpack_sink *sink,
		      struct err *err);
};

/* NULL: none that we know. */
const struct unpack_format *unpack_find(const u8 *src, u64 len);
/* By index, NULL at the end: for tests and `doctor`. */
const struct unpack_format *unpack_at(unsigned index);
