/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip, bzip2, xz, lzma and zstd: streams, unpacked through one output buffer
 * that is handed on whenever it is full.
 *
 * References: the libraries' own headers (zlib.h, bzlib.h, lzma.h, zstd.h).
 */
#include "boot/unpack_internal.h"

#include <bzlib.h>
#include <errno.h>
#include <limits.h>
#include <lzma.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define OUT_LEN MIB(1)

/* How a step of a decompressor ended. */
enum step { STEP_MORE, STEP_END, STEP_BAD };

/* One decompressor in motion, input and output as libraries count them. */
struct stream {
	const char *name;
	const u8 *in;
	u64 in_len;
	u8 *out;
	u64 out_used;
	/* Consume from in, append to out; both fields are moved on. */
	enum step (*step)(struct stream *stream);
	void *state;
};

/*
 * Emits full buffers only, but for the last: a step that leaves the buffer
 * neither full nor finished, and the input used up, means the data are cut.
 */
static int run(struct stream *s, struct unpack_sink *sink, struct err *err)
{
	enum step step = STEP_MORE;
	int ret = 0;

	s->out = malloc(OUT_LEN);
	if (!s->out)
		return unpack_no_memory(err);
	while (!ret && step == STEP_MORE) {
		u64 in_before = s->in_len, out_before = s->out_used;

		step = s->step(s);
		if (step == STEP_BAD)
			ret = err_set(err, -EINVAL,
				      "the kernel's %s data are damaged",
				      s->name);
		else if (step == STEP_MORE && s->out_used < OUT_LEN &&
			 s->in_len == in_before && s->out_used == out_before)
			ret = err_set(err, -EINVAL,
				      "the kernel's %s data end too early",
				      s->name);
		if (!ret && (s->out_used == OUT_LEN || step == STEP_END)) {
			ret = unpack_emit(sink, s->out, s->out_used, err);
			s->out_used = 0;
		}
	}
	free(s->out);
	return ret;
}

/* ---- gzip -------------------------------------------------------------- */

static enum step step_gzip(struct stream *s)
{
	z_stream *z = s->state;
	u64 in = min_u64(s->in_len, UINT_MAX);
	int ret;

	z->next_in = (Bytef *)s->in;
	z->avail_in = (uInt)in;
	z->next_out = s->out + s->out_used;
	z->avail_out = (uInt)(OUT_LEN - s->out_used);
	ret = inflate(z, Z_NO_FLUSH);
	s->in += in - z->avail_in;
	s->in_len -= in - z->avail_in;
	s->out_used = OUT_LEN - z->avail_out;
	if (ret == Z_STREAM_END)
		return STEP_END;
	return ret == Z_OK || ret == Z_BUF_ERROR ? STEP_MORE : STEP_BAD;
}

int unpack_gzip(const u8 *src, u64 len, struct unpack_sink *sink,
		struct err *err)
{
	const int gzip_only = 16 + 15; /* wrapper, largest window */
	z_stream z = {0};
	struct stream s = {"gzip", src, len, NULL, 0, step_gzip, &z};
	int ret;

	if (inflateInit2(&z, gzip_only) != Z_OK)
		return unpack_no_memory(err);
	ret = run(&s, sink, err);
	inflateEnd(&z);
	return ret;
}

/* ---- bzip2 ------------------------------------------------------------- */

static enum step step_bzip2(struct stream *s)
{
	bz_stream *z = s->state;
	u64 in = min_u64(s->in_len, UINT_MAX);
	int ret;

	z->next_in = (char *)s->in;
	z->avail_in = (unsigned)in;
	z->next_out = (char *)s->out + s->out_used;
	z->avail_out = (unsigned)(OUT_LEN - s->out_used);
	ret = BZ2_bzDecompress(z);
	s->in += in - z->avail_in;
	s->in_len -= in - z->avail_in;
	s->out_used = OUT_LEN - z->avail_out;
	if (ret == BZ_STREAM_END)
		return STEP_END;
	return ret == BZ_OK ? STEP_MORE : STEP_BAD;
}

int unpack_bzip2(const u8 *src, u64 len, struct unpack_sink *sink,
		 struct err *err)
{
	bz_stream z = {0};
	struct stream s = {"bzip2", src, len, NULL, 0, step_bzip2, &z};
	int ret;

	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return unpack_no_memory(err);
	ret = run(&s, sink, err);
	BZ2_bzDecompressEnd(&z);
	return ret;
}

/* ---- xz and lzma ------------------------------------------------------- */

static enum step step_lzma(struct stream *s)
{
	lzma_stream *z = s->state;
	lzma_ret ret;

	z->next_in = s->in;
	z->avail_in = s->in_len;
	z->next_out = s->out + s->out_used;
	z->avail_out = OUT_LEN - s->out_used;
	ret = lzma_code(z, LZMA_RUN);
	s->in = z->next_in;
	s->in_len = z->avail_in;
	s->out_used = OUT_LEN - z->avail_out;
	if (ret == LZMA_STREAM_END)
		return STEP_END;
	return ret == LZMA_OK || ret == LZMA_BUF_ERROR ? STEP_MORE : STEP_BAD;
}

int unpack_xz(const u8 *src, u64 len, struct unpack_sink *sink, struct err *err)
{
	lzma_stream z = LZMA_STREAM_INIT;
	struct stream s = {"xz", src, len, NULL, 0, step_lzma, &z};
	int ret;

	if (lzma_stream_decoder(&z, UNPACK_WINDOW_MAX, 0) != LZMA_OK)
		return unpack_no_memory(err);
	ret = run(&s, sink, err);
	lzma_end(&z);
	return ret;
}

int unpack_lzma(const u8 *src, u64 len, struct unpack_sink *sink,
		struct err *err)
{
	lzma_stream z = LZMA_STREAM_INIT;
	struct stream s = {"lzma", src, len, NULL, 0, step_lzma, &z};
	int ret;

	if (lzma_alone_decoder(&z, UNPACK_WINDOW_MAX) != LZMA_OK)
		return unpack_no_memory(err);
	ret = run(&s, sink, err);
	lzma_end(&z);
	return ret;
}

/* ---- zstd -------------------------------------------------------------- */

static enum step step_zstd(struct stream *s)
{
	ZSTD_inBuffer in = {s->in, s->in_len, 0};
	ZSTD_outBuffer out = {s->out, OUT_LEN, s->out_used};
	size_t ret = ZSTD_decompressStream(s->state, &out, &in);

	s->in += in.pos;
	s->in_len -= in.pos;
	s->out_used = out.pos;
	if (ZSTD_isError(ret))
		return STEP_BAD;
	return ret ? STEP_MORE : STEP_END;
}

int unpack_zstd(const u8 *src, u64 len, struct unpack_sink *sink,
		struct err *err)
{
	const int window_log = 27; /* what `zstd --ultra -22` uses */
	ZSTD_DCtx *z = ZSTD_createDCtx();
	struct stream s = {"zstd", src, len, NULL, 0, step_zstd, z};
	int ret;

	if (!z)
		return unpack_no_memory(err);
	ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, window_log);
	ret = run(&s, sink, err);
	ZSTD_freeDCtx(z);
	return ret;
}
