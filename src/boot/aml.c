/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AML encoding.
 *
 * References: [1] ACPI Specification 6.5: 20.2 (grammar), 6.4 (resource
 *                 descriptors), 19.3.4 (EISA ids).
 */
#include "boot/aml.h"

#include <assert.h>
#include <string.h>

/* [1] 20.2, opcodes and prefixes */
enum aml_op {
	AML_NAME = 0x08,
	AML_BYTE = 0x0a,
	AML_WORD = 0x0b,
	AML_DWORD = 0x0c,
	AML_STRING = 0x0d,
	AML_QWORD = 0x0e,
	AML_SCOPE = 0x10,
	AML_BUFFER = 0x11,
	AML_PACKAGE = 0x12,
	AML_DUAL_NAME = 0x2e,
	AML_EXT = 0x5b,
	AML_ROOT = 0x5c,
	AML_EXT_DEVICE = 0x82,
};

static void put(struct aml *aml, const void *src, u32 len)
{
	if (aml->full || len > aml->room - aml->len) {
		aml->full = true;
		return;
	}
	memcpy(aml->data + aml->len, src, len);
	aml->len += len;
}

static void put8(struct aml *aml, u8 val)
{
	put(aml, &val, 1);
}

static void put16(struct aml *aml, u16 val)
{
	put(aml, &val, 2);
}

static void put_width(struct aml *aml, u64 val, u32 width)
{
	put(aml, &val, width); /* little endian */
}

/* Open a gap at `at` for what is only known after the rest. */
static void insert(struct aml *aml, u32 at, const void *src, u32 len)
{
	u32 tail = aml->len - at;

	put(aml, src, len); /* for the room */
	if (aml->full)
		return;
	memmove(aml->data + at + len, aml->data + at, tail);
	memcpy(aml->data + at, src, len);
}

/* ---- names and integers ------------------------------------------------ */

static void put_segment(struct aml *aml, const char *name, size_t len)
{
	char seg[4] = {'_', '_', '_', '_'};

	assert(len >= 1 && len <= sizeof(seg));
	memcpy(seg, name, len);
	put(aml, seg, sizeof(seg));
}

/* [1] 20.2.2: up to two segments, perhaps from the root. */
static void put_name(struct aml *aml, const char *path)
{
	const char *dot;

	if (*path == '\\') {
		put8(aml, AML_ROOT);
		path++;
	}
	dot = strchr(path, '.');
	if (dot) {
		put8(aml, AML_DUAL_NAME);
		put_segment(aml, path, (size_t)(dot - path));
		path = dot + 1;
	}
	put_segment(aml, path, strlen(path));
}

/* [1] 20.2.3, the shortest form */
static u32 encode_integer(u8 out[9], u64 val)
{
	static const u8 prefix[] = {AML_BYTE, AML_WORD, AML_DWORD, AML_QWORD};
	unsigned log = val > 0xffffffff ? 3 : val > 0xffff ? 2 : val > 0xff;

	if (val <= 1) {
		out[0] = (u8)val; /* ZeroOp, OneOp */
		return 1;
	}
	out[0] = prefix[log];
	memcpy(out + 1, &val, 1u << log);
	return 1 + (1u << log);
}

void aml_integer(struct aml *aml, u64 val)
{
	u8 code[9];

	put(aml, code, encode_integer(code, val));
}

void aml_name_integer(struct aml *aml, const char *name, u64 val)
{
	put8(aml, AML_NAME);
	put_name(aml, name);
	aml_integer(aml, val);
}

void aml_name_string(struct aml *aml, const char *name, const char *val)
{
	put8(aml, AML_NAME);
	put_name(aml, name);
	put8(aml, AML_STRING);
	put(aml, val, (u32)strlen(val) + 1);
}

static unsigned hex_digit(char c)
{
	return c >= 'A' ? (unsigned)(c - 'A' + 10) : (unsigned)(c - '0');
}

/* [1] 19.3.4: three letters of 5 bits, four hex digits, big endian. */
void aml_name_eisa_id(struct aml *aml, const char *name, const char *id)
{
	u32 val = 0;
	u8 code[5] = {AML_DWORD};

	assert(strlen(id) == 7);
	for (unsigned i = 0; i < 3; i++)
		val = val << 5 | ((unsigned)(id[i] - '@') & 0x1f);
	for (unsigned i = 3; i < 7; i++)
		val = val << 4 | hex_digit(id[i]);
	val = __builtin_bswap32(val);
	memcpy(code + 1, &val, 4);
	put8(aml, AML_NAME);
	put_name(aml, name);
	put(aml, code, sizeof(code));
}

/* ---- packages ---------------------------------------------------------- */

u32 aml_begin_scope(struct aml *aml, const char *path)
{
	u32 begin;

	put8(aml, AML_SCOPE);
	begin = aml->len;
	put_name(aml, path);
	return begin;
}

u32 aml_begin_device(struct aml *aml, const char *name)
{
	u32 begin;

	put8(aml, AML_EXT);
	put8(aml, AML_EXT_DEVICE);
	begin = aml->len;
	put_name(aml, name);
	return begin;
}

u32 aml_begin_name_package(struct aml *aml, const char *name, u8 count)
{
	u32 begin;

	put8(aml, AML_NAME);
	put_name(aml, name);
	put8(aml, AML_PACKAGE);
	begin = aml->len;
	put8(aml, count);
	return begin;
}

u32 aml_begin_package(struct aml *aml, u8 count)
{
	u32 begin;

	put8(aml, AML_PACKAGE);
	begin = aml->len;
	put8(aml, count);
	return begin;
}

/* [1] 20.2.4: the length counts its own bytes; 63, 4 Ki, 1 Mi are the steps. */
void aml_end(struct aml *aml, u32 begin)
{
	u32 body = aml->len - begin;
	u8 code[4];
	u32 count = body + 1 < 1u << 6	  ? 1
		    : body + 2 < 1u << 12 ? 2
		    : body + 3 < 1u << 20 ? 3
					  : 4;
	u32 len = body + count;

	if (count == 1) {
		code[0] = (u8)len;
	} else {
		code[0] = (u8)((count - 1) << 6 | (len & 0xf));
		for (u32 i = 1; i < count; i++)
			code[i] = (u8)(len >> (8 * i - 4));
	}
	insert(aml, begin, code, count);
}

/* ---- resources --------------------------------------------------------- */

/* [1] 6.4, tags; the small ones include their length */
enum aml_resource {
	RES_IRQ = 0x22,
	RES_IO = 0x47,
	RES_END = 0x79,
	RES_MEMORY32_FIXED = 0x86,
	RES_DWORD = 0x87,
	RES_WORD = 0x88,
	RES_EXTENDED_IRQ = 0x89,
	RES_QWORD = 0x8a,
};
enum aml_resource_bits {
	RES_IO_DECODE16 = 1,
	RES_MEMORY_WRITABLE = 1,
	RES_IRQ_CONSUMER = 1,
	RES_IRQ_SHARED = 8,
	RES_WINDOW_MEMORY = 0,
	RES_WINDOW_IO = 1,
	RES_WINDOW_BUS = 2,
	RES_WINDOW_FIXED = 0x0c, /* _MIF, _MAF: both ends are so */
	RES_WINDOW_IO_ALL = 3,	 /* _RNG: ISA and non-ISA */
};

u32 aml_begin_resources(struct aml *aml)
{
	put8(aml, AML_NAME);
	put_name(aml, "_CRS");
	put8(aml, AML_BUFFER);
	return aml->len;
}

void aml_end_resources(struct aml *aml, u32 begin)
{
	u8 code[9];
	u32 count;

	put8(aml, RES_END);
	put8(aml, 0); /* no checksum */
	count = encode_integer(code, aml->len - begin);
	insert(aml, begin, code, count);
	aml_end(aml, begin);
}

void aml_resource_io(struct aml *aml, u16 base, u8 len)
{
	put8(aml, RES_IO);
	put8(aml, RES_IO_DECODE16);
	put16(aml, base); /* from */
	put16(aml, base); /* to: it cannot move */
	put8(aml, 1);	  /* alignment */
	put8(aml, len);
}

void aml_resource_irq(struct aml *aml, unsigned irq)
{
	put8(aml, RES_IRQ);
	put16(aml, (u16)(1u << irq));
}

/* [1] 6.4.3.6 */
void aml_resource_gsi(struct aml *aml, u32 gsi)
{
	put8(aml, RES_EXTENDED_IRQ);
	put16(aml, 6);
	put8(aml, RES_IRQ_CONSUMER | RES_IRQ_SHARED);
	put8(aml, 1);
	put_width(aml, gsi, 4);
}

void aml_resource_memory(struct aml *aml, u32 base, u32 len)
{
	put8(aml, RES_MEMORY32_FIXED);
	put16(aml, 9);
	put8(aml, RES_MEMORY_WRITABLE);
	put_width(aml, base, 4);
	put_width(aml, len, 4);
}

/* [1] 6.4.3.5.1 to .3: the same fields in three widths. */
static void put_window(struct aml *aml, u8 tag, u8 type, u64 base, u64 len)
{
	u32 width = tag == RES_WORD ? 2 : tag == RES_DWORD ? 4 : 8;
	u8 flags = type == RES_WINDOW_IO       ? RES_WINDOW_IO_ALL
		   : type == RES_WINDOW_MEMORY ? RES_MEMORY_WRITABLE
					       : 0;

	put8(aml, tag);
	put16(aml, (u16)(3 + 5 * width));
	put8(aml, type);
	put8(aml, RES_WINDOW_FIXED);
	put8(aml, flags);
	put_width(aml, 0, width); /* granularity */
	put_width(aml, base, width);
	put_width(aml, base + len - 1, width);
	put_width(aml, 0, width); /* translation */
	put_width(aml, len, width);
}

void aml_resource_bus_window(struct aml *aml, u16 base, u16 len)
{
	put_window(aml, RES_WORD, RES_WINDOW_BUS, base, len);
}

void aml_resource_io_window(struct aml *aml, u16 base, u32 len)
{
	put_window(aml, RES_WORD, RES_WINDOW_IO, base, len);
}

void aml_resource_memory_window(struct aml *aml, u64 base, u64 len)
{
	u8 tag = base + len > GIB(4) ? RES_QWORD : RES_DWORD;

	put_window(aml, tag, RES_WINDOW_MEMORY, base, len);
}
