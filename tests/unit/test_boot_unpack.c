/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every compression of kernels: what it packs comes out again, chunk by
 * chunk; cut, damaged or lying data end in an error and never in more output
 * than was allowed.
 */
#include "unit.h"

#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <lzo/lzo1x.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "boot/unpack.h"
#include "boot_images.h"

#define PLAIN_LEN (MIB(9) + 12345) /* more than one LZ4 block */
#define PACKED_MAX MIB(12)
#define LZ4_BLOCK MIB(8)

/* ---- packers, one for each name in unpack.c ---------------------------- */

static u64 pack_gzip(const u8 *src, u64 len, u8 *dst)
{
	z_stream z = {0};

	assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 16 + 15, 8, 0), Z_OK);
	z.next_in = (Bytef *)src;
	z.avail_in = (uInt)len;
	z.next_out = dst;
	z.avail_out = PACKED_MAX;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return PACKED_MAX - z.avail_out;
}

static u64 pack_bzip2(const u8 *src, u64 len, u8 *dst)
{
	unsigned out = PACKED_MAX;

	assert_int_equal(BZ2_bzBuffToBuffCompress((char *)dst, &out,
						  (char *)src, (unsigned)len, 1,
						  0, 0),
			 BZ_OK);
	return out;
}

static u64 pack_xz(const u8 *src, u64 len, u8 *dst)
{
	size_t out = 0;

	assert_int_equal(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, src,
						 len, dst, &out, PACKED_MAX),
			 LZMA_OK);
	return out;
}

static u64 pack_lzma(const u8 *src, u64 len, u8 *dst)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_options_lzma options;

	lzma_lzma_preset(&options, 0);
	assert_int_equal(lzma_alone_encoder(&z, &options), LZMA_OK);
	z.next_in = src;
	z.avail_in = len;
	z.next_out = dst;
	z.avail_out = PACKED_MAX;
	assert_int_equal(lzma_code(&z, LZMA_FINISH), LZMA_STREAM_END);
	lzma_end(&z);
	return PACKED_MAX - z.avail_out;
}

static u64 pack_lz4(const u8 *src, u64 len, u8 *dst)
{
	u64 off = 4;

	image_put32(dst, 0, 0x184c2102);
	for (u64 done = 0; done < len; done += LZ4_BLOCK) {
		u64 block = min_u64(len - done, LZ4_BLOCK);
		int out = LZ4_compress_default(
			(char *)src + done, (char *)dst + off + 4, (int)block,
			(int)(PACKED_MAX - off - 4));

		assert_true(out > 0);
		image_put32(dst, off, (u32)out);
		off += 4 + (u64)out;
	}
	return off;
}

static u64 pack_zstd(const u8 *src, u64 len, u8 *dst)
{
	size_t out = ZSTD_compress(dst, PACKED_MAX, src, len, 1);

	assert_false(ZSTD_isError(out));
	return out;
}

static void put_be32(u8 *p, u32 val)
{
	image_put32(p, 0, __builtin_bswap32(val));
}

/* The lzop container, as `lzop` 1.04 writes it. */
static u64 pack_lzo(const u8 *src, u64 len, u8 *dst)
{
	static const u8 header[] = {
		0x89, 'L',  'Z',  'O',	0,    13,   10, 26, 10, /* magic */
		0x10, 0x40, 0x20, 0xa0, 0x09, 0x40,		/* versions */
		1,    5,	     /* method, level */
		0,    0,    0,	  1, /* ADLER32_D */
		0,    0,    0x81, 0xa4, 0,    0,    0,	0,  0,
		0,    0,    0,	     /* mode, time */
		0,		     /* name */
		0,    0,    0,	  0, /* checksum */
	};
	const u64 block_len = KIB(256);
	void *work = malloc(LZO1X_1_MEM_COMPRESS);
	u64 off = sizeof(header);

	memcpy(dst, header, sizeof(header));
	for (u64 done = 0; done < len; done += block_len) {
		u64 block = min_u64(len - done, block_len);
		lzo_uint out = 0;

		assert_int_equal(lzo1x_1_compress(src + done, block,
						  dst + off + 12, &out, work),
				 LZO_E_OK);
		if (out >= block) { /* stored */
			out = block;
			memcpy(dst + off + 12, src + done, block);
		}
		put_be32(dst + off, (u32)block);
		put_be32(dst + off + 4, (u32)out);
		put_be32(dst + off + 8,
			 (u32)adler32(1, src + done, (uInt)block));
		off += 12 + out;
	}
	put_be32(dst + off, 0);
	free(work);
	return off + 4;
}

static const struct packer {
	const char *name;
	u64 (*pack)(const u8 *src, u64 len, u8 *dst);
} packers[] = {
	{"gzip", pack_gzip}, {"bzip2", pack_bzip2}, {"xz", pack_xz},
	{"lzma", pack_lzma}, {"lz4", pack_lz4},	    {"zstd", pack_zstd},
	{"lzo", pack_lzo},
};

/* ---- a sink that compares ---------------------------------------------- */

struct compare {
	struct unpack_sink sink;
	const u8 *plain;
	bool differs;
	u64 first; /* length of the first chunk */
};

static int write_compare(struct unpack_sink *sink, const u8 *data, u64 len,
			 struct err *err)
{
	struct compare *c = container_of(sink, struct compare, sink);

	assert_true(sink->total + len <= sink->limit);
	if (!sink->total)
		c->first = len;
	if (memcmp(c->plain + sink->total, data, len))
		c->differs = true;
	return 0;
}

struct material {
	u8 *plain, *packed;
	u64 plain_len, packed_len;
};

static int unpack(const struct material *m, const u8 *packed, u64 len,
		  u64 limit, struct compare *c)
{
	const struct unpack_format *format = unpack_find(packed, len);
	struct err err = {0};
	int ret;

	*c = (struct compare){{limit, 0, write_compare}, m->plain, false, 0};
	if (!format)
		return -1;
	ret = format->unpack(packed, len, &c->sink, &err);
	assert_int_equal(ret, err.code);
	assert_true(!ret == !err.msg[0]);
	return ret;
}

/* Runs of text, zeroes and noise, as kernels have. */
static void fill(u8 *p, u64 len)
{
	u32 seed = 1;

	for (u64 i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		switch (i >> 16 & 3) {
		case 0:
			p[i] = (u8)(seed >> 24);
			break;
		case 1:
			p[i] = 0;
			break;
		default:
			p[i] = "Linux version "[seed >> 30 ? i % 14 : 0];
		}
	}
}

static int setup(void **state)
{
	struct material *m = calloc(1, sizeof(*m));

	*state = m;
	m->plain = malloc(PLAIN_LEN);
	m->packed = malloc(PACKED_MAX);
	fill(m->plain, PLAIN_LEN);
	return 0;
}

static int teardown(void **state)
{
	struct material *m = *state;

	free(m->plain);
	free(m->packed);
	free(m);
	return 0;
}

static void test_all_have_packers(void **state)
{
	unsigned count = 0;

	while (unpack_at(count))
		count++;
	assert_int_equal(count, ARRAY_SIZE(packers));
}

static void test_round_trip(void **state)
{
	struct material *m = *state;
	struct compare c;

	for (unsigned i = 0; i < ARRAY_SIZE(packers); i++) {
		/* LZ4 has the largest blocks. */
		u64 plain_len = strcmp(packers[i].name, "lz4") ? MIB(2) + 777
							       : PLAIN_LEN;
		u64 len = packers[i].pack(m->plain, plain_len, m->packed);

		assert_string_equal(unpack_find(m->packed, len)->name,
				    packers[i].name);
		if (unpack(m, m->packed, len, plain_len, &c) || c.differs ||
		    c.sink.total != plain_len)
			fail_msg("%s: %lu of %lu bytes", packers[i].name,
				 c.sink.total, plain_len);
		/* Headers lie in the first chunk. */
		assert_true(c.first >= KIB(64));
	}
}

/* A lying length stops the output, not the process. */
static void test_limit(void **state)
{
	struct material *m = *state;
	struct compare c;

	for (unsigned i = 0; i < ARRAY_SIZE(packers); i++) {
		u64 len = packers[i].pack(m->plain, MIB(2), m->packed);

		assert_true(unpack(m, m->packed, len, MIB(2) - 1, &c) < 0);
		assert_true(unpack(m, m->packed, len, 0, &c) < 0);
		assert_int_equal(c.sink.total, 0);
	}
}

#define SMALL_LEN 3000

static void test_truncated(void **state)
{
	struct material *m = *state;
	struct compare c;

	for (unsigned i = 0; i < ARRAY_SIZE(packers); i++) {
		u64 len = packers[i].pack(m->plain + KIB(126), SMALL_LEN,
					  m->packed);

		for (u64 cut = 0; cut < len; cut += cut < 64 ? 1 : 7) {
			struct guarded file;
			int ret;

			guarded_create(&file, m->packed, cut);
			ret = unpack(m, file.data, cut, SMALL_LEN, &c);
			guarded_destroy(&file);
			/* Block formats may end at a block's end. */
			if (!ret && c.sink.total == SMALL_LEN && cut + 4 < len)
				fail_msg("%s: %lu of %lu bytes were enough",
					 packers[i].name, cut, len);
		}
	}
}

/* Any flipped bit: an error or other data, within the limit. */
static void test_damaged(void **state)
{
	struct material *m = *state;
	struct compare c;

	for (unsigned i = 0; i < ARRAY_SIZE(packers); i++) {
		u64 len = packers[i].pack(m->plain + KIB(126), SMALL_LEN,
					  m->packed);
		struct guarded file;

		guarded_create(&file, m->packed, len);
		for (u64 bit = 0; bit < min_u64(len, 100) * 8; bit++) {
			file.data[bit / 8] ^= (u8)(1 << bit % 8);
			unpack(m, file.data, len, SMALL_LEN, &c);
			assert_true(c.sink.total <= SMALL_LEN);
			file.data[bit / 8] ^= (u8)(1 << bit % 8);
		}
		guarded_destroy(&file);
	}
}

/* ---- inside a bzImage -------------------------------------------------- */

static void test_boots(void **state)
{
	struct material *m = *state;
	u8 *image = malloc(IMAGE_MAX), *kernel = malloc(IMAGE_MAX);
	u64 kernel_len = image_elf64_pvh(kernel);

	for (unsigned i = 0; i < ARRAY_SIZE(packers); i++) {
		u64 len = packers[i].pack(kernel, kernel_len, m->packed);
		bool own = !strcmp(packers[i].name, "gzip");
		struct image_bz bz = {
			.code = m->packed,
			.code_len = (u32)len + (own ? 0 : 4),
			.payload_len = (u32)len + (own ? 0 : 4),
			.xloadflags = 1,
		};
		struct boot_config config = {
			.kernel = {image, 0, packers[i].name}};
		struct x86_state bsp;
		struct guest_mem mem;
		struct err err = {0};
		char text[sizeof(IMAGE_TEXT)];

		if (!own)
			image_put32(m->packed, len, (u32)kernel_len);
		config.kernel.len = image_bz(image, &bz);
		assert_int_equal(mem_init(&mem, MIB(64), &err), 0);
		if (boot_load(&mem, &config, &bsp, &err))
			fail_msg("%s: %s", packers[i].name, err.msg);
		assert_int_equal(bsp.rip, IMAGE_ENTRY);
		assert_true(mem_read(&mem, IMAGE_BASE, text, sizeof(text)));
		assert_string_equal(text, IMAGE_TEXT);
		mem_fini(&mem);
	}
	free(image);
	free(kernel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		cmocka_unit_test(test_all_have_packers),
		T(test_round_trip),
		T(test_limit),
		T(test_truncated),
		T(test_damaged),
		T(test_boots),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
