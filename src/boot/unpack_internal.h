/* SPDX-License-Identifier: Apache-2.0 */
/* What the decompressor files share. */
#pragma once

#include "boot/unpack.h"

/* Hand `len` bytes on, checking the limit. */
int unpack_emit(struct unpack_sink *sink, const u8 *data, u64 len,
		struct err *err);
int unpack_no_memory(struct err *err);

/* Formats of independent blocks (unpack_block.c). */
int unpack_lz4(const u8 *src, u64 len, struct unpack_sink *sink,
	       struct err *err);
int unpack_lzo(const u8 *src, u64 len, struct unpack_sink *sink,
	       struct err *err);
/* Streams (unpack_stream.c). */
int unpack_gzip(const u8 *src, u64 len, struct unpack_sink *sink,
		struct err *err);
int unpack_bzip2(const u8 *src, u64 len, struct unpack_sink *sink,
		 struct err *err);
int unpack_xz(const u8 *src, u64 len, struct unpack_sink *sink,
	      struct err *err);
int unpack_lzma(const u8 *src, u64 len, struct unpack_sink *sink,
		struct err *err);
int unpack_zstd(const u8 *src, u64 len, struct unpack_sink *sink,
		struct err *err);
