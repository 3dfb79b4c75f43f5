/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small well-formed kernel images of every kind, for tests that boot them and
 * for tests that break them. They hold text, not code.
 */
#pragma once

#include "boot/boot.h"

#define IMAGE_MAX KIB(64)

/* A file whose last byte lies before an inaccessible page. */
struct guarded {
	u8 *data;
	u64 len;
	u8 *map;
	u64 map_len;
};
void guarded_create(struct guarded *g, const void *data, u64 len);
void guarded_destroy(struct guarded *g);

void image_put16(u8 *image, u64 off, u16 val);
void image_put32(u8 *image, u64 off, u32 val);
void image_put64(u8 *image, u64 off, u64 val);

/* What the images say, and where. */
#define IMAGE_TEXT "the kernel's first words"
#define IMAGE_DATA "and its data"
enum image_facts {
	IMAGE_BASE = 0x1000000, /* segment 0; segment 1 is 1 MiB above */
	IMAGE_DATA_GPA = IMAGE_BASE + 0x100000,
	IMAGE_ENTRY = IMAGE_BASE + 0x10,
	IMAGE_DATA_MEM = 0x3000, /* p_memsz of segment 1 */
	IMAGE_END = IMAGE_DATA_GPA + IMAGE_DATA_MEM,
	IMAGE_INIT_SIZE = 0x200000,
	IMAGE_SETUP = 1024, /* bytes before a bzImage's code */
	IMAGE_CMDLINE_MAX = 2047,
	IMAGE_FLAT_BASE = 0x100000,
};

/* Each fills `image`, IMAGE_MAX bytes, and returns the file's length. */
u64 image_elf64_pvh(u8 *image);
u64 image_elf32_pvh(u8 *image);
u64 image_elf32_multiboot(u8 *image);
u64 image_elf64_multiboot(u8 *image);
u64 image_elf64_linux(u8 *image); /* neither a note nor a header */
u64 image_flat_multiboot(u8 *image);
/* `code` behind a setup header; payload 0,0: none. */
struct image_bz {
	const u8 *code;
	u32 code_len;
	u32 payload_off, payload_len; /* len counts the 4 bytes behind it */
	u16 xloadflags;
};
u64 image_bz(u8 *image, const struct image_bz *bz);
/* With image_elf64_pvh() and relocations inside, as an LZ4 payload. */
u64 image_bz_lz4(u8 *image);

/* All of the above that need no argument, NULL at the end. */
typedef u64 (*image_builder)(u8 *image);
image_builder image_builder_at(unsigned index);
