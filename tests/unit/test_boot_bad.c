/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad images, a row each: how a good one is damaged, and what the error says.
 * Then the same images cut off at every length.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "boot_images.h"

/* Offsets into the images of boot_images.c. */
enum elf64_fields {
	E64_MACHINE = 18,
	E64_TYPE = 16,
	E64_ENTRY = 24,
	E64_PHOFF = 32,
	E64_PHENTSIZE = 54,
	E64_PHNUM = 56,
	E64_PH0 = 64,
	E64_PH1 = E64_PH0 + 56,
	E64_PH2 = E64_PH1 + 56,
	PH_TYPE = 0,
	PH_OFFSET = 8,
	PH_PADDR = 24,
	PH_FILESZ = 32,
	PH_MEMSZ = 40,
	E64_NOTE_VALUE = 0x3010,
	E32_PH2_TYPE = 52 + 2 * 32,
};
enum flat_fields { FLAT_FLAGS = 0x124, FLAT_HEADER_ADDR = 0x12c };

struct bad {
	const char *what;
	image_builder build;
	u64 off;	/* of the damaged field */
	unsigned width; /* its bytes */
	u64 val;
	const char *says; /* part of the sentence */
};

static const struct bad bad_images[] = {
	/* ELF header */
	{"no magic", image_elf64_pvh, 0, 4, 0, "is no kernel"},
	{"class", image_elf64_pvh, 4, 1, 3, "ELF class 3"},
	{"big endian", image_elf64_pvh, 5, 1, 2, "not a little-endian"},
	{"version", image_elf64_pvh, 6, 1, 9, "ELF version 9"},
	{"arm64", image_elf64_pvh, E64_MACHINE, 2, 183, "another machine"},
	{"i386 in 64", image_elf64_pvh, E64_MACHINE, 2, 3, "another machine"},
	{"x86-64 in 32", image_elf32_pvh, 18, 2, 62, "another machine"},
	{"object file", image_elf64_pvh, E64_TYPE, 2, 1, "no executable"},
	{"core file", image_elf64_pvh, E64_TYPE, 2, 4, "no executable"},
	{"no headers", image_elf64_pvh, E64_PHNUM, 2, 0, "no program headers"},
	{"too many", image_elf64_pvh, E64_PHNUM, 2, 0xffff, "reach beyond"},
	{"header size", image_elf64_pvh, E64_PHENTSIZE, 2, 32, "of 32 bytes"},
	{"headers out", image_elf64_pvh, E64_PHOFF, 8, ~0ull, "reach beyond"},
	{"headers end", image_elf64_pvh, E64_PHOFF, 8, 0x3000, "reach beyond"},
	/* ELF segments */
	{"file size lies", image_elf64_pvh, E64_PH0 + PH_FILESZ, 8, 0x100000,
	 "reaches beyond the file"},
	{"offset lies", image_elf64_pvh, E64_PH0 + PH_OFFSET, 8, 0x100000,
	 "reaches beyond the file"},
	{"offset wraps", image_elf64_pvh, E64_PH0 + PH_OFFSET, 8, -0x800ull,
	 "reaches beyond the file"},
	{"file > memory", image_elf64_pvh, E64_PH0 + PH_MEMSZ, 8, 0x800,
	 "bytes in the file but"},
	{"address wraps", image_elf64_pvh, E64_PH0 + PH_PADDR, 8, -0x800ull,
	 "wraps around"},
	{"memory wraps", image_elf64_pvh, E64_PH1 + PH_MEMSZ, 8, -0x1000ull,
	 "wraps around"},
	{"overlap", image_elf64_pvh, E64_PH1 + PH_PADDR, 8, IMAGE_BASE + 0xfff,
	 "overlap in memory"},
	{"same place", image_elf64_pvh, E64_PH1 + PH_PADDR, 8, IMAGE_BASE,
	 "overlap in memory"},
	{"beyond RAM", image_elf64_pvh, E64_PH1 + PH_PADDR, 8, MIB(64) - 0x1000,
	 "beyond RAM"},
	{"above 4 GiB", image_elf64_pvh, E64_PH1 + PH_PADDR, 8, GIB(4),
	 "beyond RAM"},
	{"huge bss", image_elf64_pvh, E64_PH1 + PH_MEMSZ, 8, GIB(64),
	 "beyond RAM"},
	{"at zero", image_elf64_pvh, E64_PH1 + PH_PADDR, 8, 0,
	 "the loader or the platform uses"},
	{"in our tables", image_elf64_pvh, E64_PH1 + PH_PADDR, 8, 0x7000,
	 "the loader or the platform uses"},
	{"in the ROM", image_elf64_pvh, E64_PH1 + PH_PADDR, 8, 0xe0000,
	 "the loader or the platform uses"},
	{"across 1 MiB", image_elf64_pvh, E64_PH1 + PH_PADDR, 8, 0xff000,
	 "the loader or the platform uses"},
	/* PVH */
	{"note out", image_elf64_pvh, E64_PH2 + PH_OFFSET, 8, 0x100000,
	 "reaches beyond the file"},
	{"no note", image_elf32_pvh, E32_PH2_TYPE, 4, 0,
	 "neither a PVH note nor a multiboot header"},
	{"other owner", image_elf32_pvh, 0x300c, 4, 0x666666, "neither"},
	{"note name lies", image_elf32_pvh, 0x3000, 4, 0xffffffff, "neither"},
	{"note size lies", image_elf32_pvh, 0x3004, 4, 0xfffffffe, "neither"},
	{"entry out", image_elf64_pvh, E64_NOTE_VALUE, 4, 0x5000000,
	 "entry point 0x5000000 is in none"},
	/* multiboot */
	{"features", image_flat_multiboot, FLAT_FLAGS, 4, 0x10008 | 3,
	 "requires multiboot features"},
	{"header below", image_flat_multiboot, FLAT_HEADER_ADDR, 4,
	 IMAGE_FLAT_BASE - 4, "bytes into the image"},
	{"header before file", image_flat_multiboot, FLAT_HEADER_ADDR, 4,
	 IMAGE_FLAT_BASE + 0x121, "bytes into the image"},
	{"load end", image_flat_multiboot, FLAT_HEADER_ADDR + 8, 4,
	 IMAGE_FLAT_BASE - 1, "loaded, the file has"},
	{"too short", image_flat_multiboot, FLAT_HEADER_ADDR + 8, 4,
	 IMAGE_FLAT_BASE + 0x1001, "loaded, the file has"},
	{"bss below", image_flat_multiboot, FLAT_HEADER_ADDR + 12, 4,
	 IMAGE_FLAT_BASE - 1, "inside the loaded data"},
	{"bss inside", image_flat_multiboot, FLAT_HEADER_ADDR + 12, 4,
	 IMAGE_FLAT_BASE + 0xfff, "inside the loaded data"},
	{"bss beyond RAM", image_flat_multiboot, FLAT_HEADER_ADDR + 12, 4,
	 0xfffff000, "beyond RAM"},
	{"entry below", image_flat_multiboot, FLAT_HEADER_ADDR + 16, 4,
	 IMAGE_FLAT_BASE - 1, "entry point"},
	{"entry above", image_flat_multiboot, FLAT_HEADER_ADDR + 16, 4,
	 IMAGE_FLAT_BASE + 0x4000, "entry point"},
	{"ELF entry", image_elf64_multiboot, E64_ENTRY, 8, 0x5000000,
	 "in none of its segments"},
	/* ELF64 without a word about how to start it */
	{"entry nowhere", image_elf64_linux, E64_ENTRY, 8, 0x5000000,
	 "in none of its segments"},
	{"below 1 MiB", image_elf64_linux, E64_PH1 + PH_PADDR, 8, 0x40000,
	 "below 1 MiB"},
	{"ELF64 beyond RAM", image_elf64_linux, E64_PH1 + PH_PADDR, 8,
	 MIB(64) - 0x1000, "beyond RAM"},
	/* bzImage */
	{"old protocol", image_bz_lz4, 0x206, 2, 0x209, "protocol 2.9"},
	{"short header", image_bz_lz4, 0x201, 1, 0x20, "setup header of 32"},
	{"long header", image_bz_lz4, 0x201, 1, 0xff, "setup header of 255"},
	{"zImage", image_bz_lz4, 0x211, 1, 0, "is a zImage"},
	{"no memory", image_bz_lz4, 0x260, 4, 0, "needs no memory"},
	{"alignment", image_bz_lz4, 0x230, 4, 0x300000, "no power of two"},
	{"zero alignment", image_bz_lz4, 0x230, 4, 0, "no power of two"},
	{"setup size", image_bz_lz4, 0x1f1, 1, 255, "the setup code alone"},
	{"system size", image_bz_lz4, 0x1f4, 4, 0xffffffff, "its header says"},
	{"empty system", image_bz_lz4, 0x1f4, 4, 0, "its header says"},
	{"payload offset", image_bz_lz4, 0x248, 4, 0xfffffff0, "packed kernel"},
	{"payload length", image_bz_lz4, 0x24c, 4, 0x100000, "packed kernel"},
	{"tiny payload", image_bz_lz4, 0x24c, 4, 7, "packed kernel"},
	{"low address", image_bz_lz4, 0x258, 8, 0x90000, "wants to lie at"},
	{"high address", image_bz_lz4, 0x258, 8, GIB(4), "wants to lie at"},
	{"wild address", image_bz_lz4, 0x258, 8, -0x1000ull, "wants to lie at"},
	{"big kernel", image_bz_lz4, 0x260, 4, MIB(49), "needs RAM up to 65"},
	{"huge kernel", image_bz_lz4, 0x260, 4, 0xffffffff, "needs RAM"},
	{"moved", image_bz_lz4, 0x258, 8, IMAGE_BASE + MIB(2),
	 "the kernel inside lies at"},
	{"LZ4 block size", image_bz_lz4, IMAGE_SETUP + 0x14, 4, 0x7fffffff,
	 "LZ4 data are damaged"},
	{"LZ4 empty block", image_bz_lz4, IMAGE_SETUP + 0x14, 4, 0,
	 "LZ4 data are damaged"},
	{"LZ4 magic again", image_bz_lz4, IMAGE_SETUP + 0x14, 4, 0x184c2102,
	 "LZ4 data are damaged"},
};

struct machine {
	struct guest_mem mem;
	struct x86_state bsp;
	struct err err;
	struct boot_config config;
	u8 image[IMAGE_MAX];
};

static int setup(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));

	*state = m;
	m->config.kernel.name = "kernel";
	return mem_init(&m->mem, MIB(64), &m->err);
}

static int teardown(void **state)
{
	struct machine *m = *state;

	mem_fini(&m->mem);
	free(m);
	return 0;
}

/* From a file that ends where memory does: reading on is fatal. */
static int boot_guarded(struct machine *m, u64 len)
{
	struct guarded file;
	int ret;

	m->err = (struct err){0};
	guarded_create(&file, m->image, len);
	m->config.kernel.data = file.data;
	m->config.kernel.len = file.len;
	ret = boot_load(&m->mem, &m->config, &m->bsp, &m->err);
	guarded_destroy(&file);
	if (ret != m->err.code)
		fail_msg("returned %d, recorded %d: %s", ret, m->err.code,
			 m->err.msg);
	if (ret && !m->err.msg[0])
		fail_msg("failed with %d and said nothing", ret);
	return ret;
}

static void expect(struct machine *m, u64 len, const char *what,
		   const char *says)
{
	if (!boot_guarded(m, len))
		fail_msg("%s: was loaded", what);
	if (!strstr(m->err.msg, says))
		fail_msg("%s: says \"%s\", wanted \"%s\"", what, m->err.msg,
			 says);
}

/* The checksum of a changed multiboot header has to be right. */
static void fix_multiboot(u8 *image)
{
	u32 flags;

	memcpy(&flags, image + FLAT_FLAGS, sizeof(flags));
	image_put32(image, FLAT_FLAGS + 4, -(0x1badb002 + flags));
}

static void test_table(void **state)
{
	struct machine *m = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(bad_images); i++) {
		const struct bad *bad = &bad_images[i];
		u64 len = bad->build(m->image);

		assert_int_equal(boot_guarded(m, len), 0);
		memcpy(m->image + bad->off, &bad->val, bad->width);
		if (bad->build == image_flat_multiboot)
			fix_multiboot(m->image);
		expect(m, len, bad->what, bad->says);
	}
}

/* ---- files that end too early ------------------------------------------ */

static void test_truncated(void **state)
{
	struct machine *m = *state;
	image_builder build;

	for (unsigned i = 0; (build = image_builder_at(i)); i++) {
		u64 len = build(m->image);

		/* Every length inside the headers, then in larger steps. */
		for (u64 cut = 0; cut < len; cut += cut < 0x400 ? 1 : 61)
			expect(m, cut, "a cut image", "");
	}
}

/* ---- what is given beside the kernel ----------------------------------- */

static void test_cmdline(void **state)
{
	struct machine *m = *state;
	u64 len = image_bz_lz4(m->image);
	char line[IMAGE_CMDLINE_MAX + 2];

	memset(line, 'x', sizeof(line));
	m->config.cmdline = line;
	line[IMAGE_CMDLINE_MAX] = 0;
	assert_int_equal(boot_guarded(m, len), 0);
	line[IMAGE_CMDLINE_MAX] = 'x';
	line[IMAGE_CMDLINE_MAX + 1] = 0;
	expect(m, len, "cmdline", "has 2048 bytes, the kernel takes at most");
}

static void test_long_cmdline(void **state)
{
	struct machine *m = *state;
	u64 len = image_elf64_pvh(m->image);
	char *line = calloc(1, KIB(64) + 1);

	memset(line, 'x', KIB(64));
	m->config.cmdline = line;
	expect(m, len, "cmdline", "has 65536 bytes");
	line[KIB(64) - 1] = 0;
	assert_int_equal(boot_guarded(m, len), 0);
	free(line);
}

static void test_modules(void **state)
{
	struct machine *m = *state;
	const u64 room = MIB(64) - IMAGE_END;
	u8 *data = calloc(1, MIB(64));
	u64 len = image_elf32_multiboot(m->image);

	assert_non_null(data);
	m->config.module_count = 1;
	m->config.modules[0] = (struct boot_file){data, room, "big"};
	assert_int_equal(boot_guarded(m, len), 0);
	m->config.modules[0].len = room + 1;
	expect(m, len, "module", "module 0 (big) has");
	m->config.modules[0].len = room - 4096;
	m->config.modules[1] = (struct boot_file){data, 4097, "second"};
	m->config.module_count = 2;
	expect(m, len, "modules",
	       "module 1 (second) has 4097 bytes, only 4096");
	m->config.module_count = BOOT_MAX_MODULES + 1;
	expect(m, len, "modules", "17 modules, at most 16");
	m->config.module_count = 0;
	m->config.initrd_tail = (struct boot_file){data, 1, "tail"};
	expect(m, len, "tail", "needs an initrd");
	free(data);
}

static void test_initrd(void **state)
{
	struct machine *m = *state;
	const u64 room = MIB(64) - IMAGE_BASE - IMAGE_INIT_SIZE;
	u8 *data = calloc(1, MIB(64));
	u64 len = image_bz_lz4(m->image);

	assert_non_null(data);
	m->config.module_count = 1;
	m->config.modules[0] = (struct boot_file){data, room, "initrd"};
	assert_int_equal(boot_guarded(m, len), 0);
	m->config.modules[0].len = room + 1;
	expect(m, len, "initrd", "the initrd (initrd) has");
	m->config.modules[0].len = room - 3;
	m->config.initrd_tail = (struct boot_file){data, 1, "tail"};
	expect(m, len, "tail", "the initrd (initrd) has");
	m->config.module_count = 2;
	expect(m, len, "two initrds", "Linux takes one initrd");
	m->config.module_count = 1;
	m->config.modules[0].len = -1ull;
	expect(m, len, "wild length", "too big");
	/* Below what the kernel can reach, although RAM goes on. */
	m->config.modules[0].len = MIB(2);
	m->config.initrd_tail.len = 0;
	image_put32(m->image, 0x22c, IMAGE_BASE + IMAGE_INIT_SIZE + 0xfffff);
	expect(m, len, "initrd_addr_max", "only 1048576 are free");
	free(data);
}

static void test_tiny_machine(void **state)
{
	struct machine *m = *state;
	u64 len = image_flat_multiboot(m->image);

	mem_fini(&m->mem);
	assert_int_equal(mem_init(&m->mem, MIB(1), &m->err), 0);
	expect(m, len, "1 MiB", "no kernel fits into 1024 KiB");
}

/* Relocations that point elsewhere do not write there. */
static void test_wild_relocation(void **state)
{
	struct machine *m = *state;
	u64 len;

	m->config.kaslr = true;
	len = image_bz_lz4(m->image);
	/* The literals at the end of the LZ4 block: the last word. */
	image_put32(m->image, len - 8, 0x80000000 + IMAGE_END - 3);
	expect(m, len, "relocation", "points outside");
	image_put32(m->image, len - 8, 0x7fffffff);
	expect(m, len, "relocation", "points outside");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_table),	      T(test_truncated),       T(test_cmdline),
		T(test_long_cmdline), T(test_modules),	       T(test_initrd),
		T(test_tiny_machine), T(test_wild_relocation),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
