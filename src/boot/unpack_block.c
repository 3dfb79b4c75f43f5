/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LZ4 (legacy frame) and LZO (lzop file): blocks that unpack on their own.
 *
 * References: [1] LZ4 Frame Format Description 1.6.3, "Legacy frame".
 *             [2] lzop 1.04, file format (src/lzop.c, src/conf.h).
 *
 * Deliberately not there: lzop's checksums. The total length is checked by
 * the caller, as the kernel's own unpacker does.
 */
#include "boot/unpack_internal.h"

#include <errno.h>
#include <lz4.h>
#include <lzo/lzo1x.h>
#include <stdlib.h>

#define LZ4_LEGACY_MAGIC 0x184c2102u
#define LZ4_BLOCK MIB(8)
#define LZO_BLOCK_MAX MIB(8)

static int corrupt(const char *what, u64 off, struct err *err)
{
	return err_set(err, -EINVAL,
		       "the kernel's %s data are damaged at offset %#lx", what,
		       off);
}

/* ---- LZ4 --------------------------------------------------------------- */

static u32 le32(const u8 *p)
{
	return p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24;
}

static int lz4_blocks(const u8 *src, u64 len, u8 *window,
		      struct unpack_sink *sink, struct err *err)
{
	u64 off = 4;

	while (off < len) {
		u32 block;
		int out, ret;

		if (len - off < 4)
			return corrupt("LZ4", off, err);
		block = le32(src + off);
		off += 4;
		if (block == LZ4_LEGACY_MAGIC)
			continue; /* frames may follow each other */
		if (!block || block > len - off ||
		    block > (u32)LZ4_compressBound(LZ4_BLOCK))
			return corrupt("LZ4", off - 4, err);
		out = LZ4_decompress_safe((const char *)src + off,
					  (char *)window, (int)block,
					  (int)LZ4_BLOCK);
		if (out <= 0)
			return corrupt("LZ4", off, err);
		ret = unpack_emit(sink, window, (u64)out, err);
		if (ret)
			return ret;
		off += block;
	}
	return 0;
}

int unpack_lz4(const u8 *src, u64 len, struct unpack_sink *sink,
	       struct err *err)
{
	u8 *window = malloc(LZ4_BLOCK);
	int ret = window ? lz4_blocks(src, len, window, sink, err)
			 : unpack_no_memory(err);

	free(window);
	return ret;
}

/* ---- LZO --------------------------------------------------------------- */

/* [2] header flags that change what follows */
enum lzop_flags {
	LZOP_ADLER32_D = 0x1,
	LZOP_ADLER32_C = 0x2,
	LZOP_CRC32_D = 0x100,
	LZOP_CRC32_C = 0x200,
	LZOP_EXTRA_FIELD = 0x40,
	LZOP_MULTIPART = 0x400,
	LZOP_FILTER = 0x800,
	LZOP_H_CRC32 = 0x1000,
};
enum lzop_header {
	LZOP_MAGIC_LEN = 9,
	LZOP_VERSION_LEVEL = 0x940, /* from here on more header fields */
	LZOP_HEADER_MIN = LZOP_MAGIC_LEN + 2 + 2 + 1 + 4 + 4 + 4 + 1 + 4,
};

static u32 be16(const u8 *p)
{
	return (u32)p[0] << 8 | p[1];
}

static u32 be32(const u8 *p)
{
	return be16(p) << 16 | be16(p + 2);
}

/* Returns the header's length, or 0; its flags in *flags. */
static u64 lzop_header_len(const u8 *src, u64 len, u32 *flags)
{
	u64 off = LZOP_MAGIC_LEN + 4; /* version, library version */
	bool more;

	/* 7: version needed, level, upper half of the time */
	if (len < LZOP_HEADER_MIN + 7 + 4)
		return 0;
	more = be16(src + LZOP_MAGIC_LEN) >= LZOP_VERSION_LEVEL;
	off += more ? 2 : 0;
	off += more ? 2 : 1; /* method, level */
	*flags = be32(src + off);
	off += 4;
	if (*flags & (LZOP_MULTIPART | LZOP_EXTRA_FIELD))
		return 0;
	off += *flags & LZOP_FILTER ? 4 : 0;
	off += 4 + 4; /* mode, time */
	off += more ? 4 : 0;
	off += 1u + src[off]; /* file name */
	off += 4;	      /* checksum */
	return off < len ? off : 0;
}

/* Checksum bytes between a block's lengths and its data. */
static u64 lzop_block_sums(u32 flags, bool stored)
{
	u64 len = 0;

	len += flags & LZOP_ADLER32_D ? 4 : 0;
	len += flags & LZOP_CRC32_D ? 4 : 0;
	if (stored)
		return len;
	len += flags & LZOP_ADLER32_C ? 4 : 0;
	len += flags & LZOP_CRC32_C ? 4 : 0;
	return len;
}

static int lzo_block(const u8 *src, u32 src_len, u8 *window, u32 out_len)
{
	lzo_uint out = out_len;

	if (lzo1x_decompress_safe(src, src_len, window, &out, NULL) != LZO_E_OK)
		return -1;
	return out == out_len ? 0 : -1;
}

static int lzo_blocks(const u8 *src, u64 len, u8 *window,
		      struct unpack_sink *sink, struct err *err)
{
	u32 flags = 0;
	u64 off = lzop_header_len(src, len, &flags);

	if (!off)
		return corrupt("LZO", 0, err);
	while (len - off >= 4 && be32(src + off)) {
		const u8 *data = window;
		u32 out_len, block;
		u64 sums;
		int ret;

		if (len - off < 8)
			return corrupt("LZO", off, err);
		out_len = be32(src + off);
		block = be32(src + off + 4);
		sums = lzop_block_sums(flags, block == out_len);
		off += 8;
		if (out_len > LZO_BLOCK_MAX || !block || block > out_len ||
		    sums > len - off || block > len - off - sums)
			return corrupt("LZO", off - 8, err);
		off += sums;
		if (block == out_len)
			data = src + off;
		else if (lzo_block(src + off, block, window, out_len))
			return corrupt("LZO", off, err);
		ret = unpack_emit(sink, data, out_len, err);
		if (ret)
			return ret;
		off += block;
	}
	/* A length of zero is the end; without it the file is cut off. */
	return len - off >= 4 ? 0 : corrupt("LZO", off, err);
}

int unpack_lzo(const u8 *src, u64 len, struct unpack_sink *sink,
	       struct err *err)
{
	u8 *window = malloc(LZO_BLOCK_MAX);
	int ret = window ? lzo_blocks(src, len, window, sink, err)
			 : unpack_no_memory(err);

	free(window);
	return ret;
}
