/* SPDX-License-Identifier: Apache-2.0 */
/* What the loaders leave in guest memory and in the first CPU. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "arch/x86.h"
#include "boot/boot.h"
#include "boot_images.h"

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
	m->config.kernel.data = m->image;
	m->config.cmdline = "console=ttyS0 quiet";
	m->config.acpi_rsdp = BOOT_ACPI;
	return mem_init(&m->mem, MIB(64), &m->err);
}

static int teardown(void **state)
{
	struct machine *m = *state;

	mem_fini(&m->mem);
	free(m);
	return 0;
}

static void boot(struct machine *m, u64 image_len)
{
	m->config.kernel.len = image_len;
	assert_int_equal(boot_load(&m->mem, &m->config, &m->bsp, &m->err), 0);
	assert_string_equal(m->err.msg, "");
}

static u8 *at(struct machine *m, gpa_t gpa)
{
	u8 *p = mem_ptr(&m->mem, gpa, 4096);

	assert_non_null(p);
	return p;
}

static u32 word(struct machine *m, gpa_t gpa)
{
	u32 val;

	assert_true(mem_read(&m->mem, gpa, &val, sizeof(val)));
	return val;
}

static u64 quad(struct machine *m, gpa_t gpa)
{
	return word(m, gpa) | (u64)word(m, gpa + 4) << 32;
}

static void check_segments(struct machine *m)
{
	assert_string_equal((char *)at(m, IMAGE_BASE), IMAGE_TEXT);
	assert_string_equal((char *)at(m, IMAGE_DATA_GPA), IMAGE_DATA);
}

static void check_flat_32(struct machine *m, gpa_t entry)
{
	assert_int_equal(m->bsp.rip, entry);
	assert_int_equal(m->bsp.rflags, 2);
	assert_int_equal(m->bsp.cr0, CR0_PE | CR0_ET);
	assert_int_equal(m->bsp.cr4, 0);
	assert_int_equal(m->bsp.msr.efer, 0);
	assert_int_equal(m->bsp.seg[X86_CS].attr, 0xc09b);
	assert_int_equal(m->bsp.seg[X86_DS].attr, 0xc093);
	assert_int_equal(m->bsp.seg[X86_SS].limit, 0xffffffff);
	/* The GDT in memory agrees with the hidden parts. */
	assert_int_equal(quad(m, m->bsp.gdtr.base + 0x10), 0xcf9b000000ffff);
	assert_int_equal(quad(m, m->bsp.gdtr.base + 0x18), 0xcf93000000ffff);
	assert_int_equal(m->bsp.gpr[X86_RSP], BOOT_STACK);
}

static void add_modules(struct machine *m)
{
	static const u8 first[5000] = "module one", second[3] = "two";

	m->config.modules[0] = (struct boot_file){first, 5000, "one"};
	m->config.modules[1] = (struct boot_file){second, 3, "two and args"};
	m->config.module_count = 2;
}

/* ---- PVH --------------------------------------------------------------- */

static void check_pvh(struct machine *m)
{
	gpa_t info = m->bsp.gpr[X86_RBX];
	gpa_t list, map;

	check_flat_32(m, IMAGE_ENTRY);
	check_segments(m);
	assert_int_equal(word(m, info), 0x336ec578);
	assert_int_equal(word(m, info + 4), 1);
	assert_int_equal(word(m, info + 12), 2);
	list = quad(m, info + 16);
	assert_string_equal((char *)at(m, quad(m, info + 24)),
			    "console=ttyS0 quiet");
	assert_int_equal(quad(m, info + 32), BOOT_ACPI);
	map = quad(m, info + 40);
	assert_int_equal(word(m, info + 48), 4);
	/* 640 KiB less the EBDA, then the last entry: RAM above 1 MiB. */
	assert_int_equal(quad(m, map), 0);
	assert_int_equal(quad(m, map + 8), 0x9fc00);
	assert_int_equal(quad(m, map + 3 * 24), MIB(1));
	assert_int_equal(quad(m, map + 3 * 24 + 8), MIB(63));
	assert_int_equal(word(m, map + 3 * 24 + 16), 1);
	/* Modules follow the kernel, its bss included, page by page. */
	assert_int_equal(quad(m, list), IMAGE_END);
	assert_int_equal(quad(m, list + 8), 5000);
	assert_string_equal((char *)at(m, IMAGE_END), "module one");
	assert_int_equal(quad(m, list + 32), IMAGE_END + 0x2000);
	assert_int_equal(quad(m, list + 40), 3);
}

static void test_pvh_64(void **state)
{
	struct machine *m = *state;

	add_modules(m);
	boot(m, image_elf64_pvh(m->image));
	check_pvh(m);
}

static void test_pvh_32(void **state)
{
	struct machine *m = *state;

	add_modules(m);
	boot(m, image_elf32_pvh(m->image));
	check_pvh(m);
}

/* ---- multiboot --------------------------------------------------------- */

static void check_multiboot(struct machine *m, gpa_t entry, gpa_t end)
{
	gpa_t info = m->bsp.gpr[X86_RBX];
	gpa_t list, map;

	check_flat_32(m, entry);
	assert_int_equal(m->bsp.gpr[X86_RAX], 0x2badb002);
	assert_int_equal(word(m, info), 0x24d);
	assert_int_equal(word(m, info + 4), 639);
	assert_int_equal(word(m, info + 8), 63 * 1024);
	assert_string_equal((char *)at(m, word(m, info + 16)),
			    "kernel console=ttyS0 quiet");
	assert_int_equal(word(m, info + 20), 2);
	list = word(m, info + 24);
	assert_int_equal(word(m, list), end);
	assert_int_equal(word(m, list + 4), end + 5000);
	assert_string_equal((char *)at(m, word(m, list + 8)), "one");
	assert_int_equal(word(m, list + 16), end + 0x2000);
	assert_string_equal((char *)at(m, word(m, list + 24)), "two and args");
	assert_int_equal(word(m, info + 44), 4 * 24);
	map = word(m, info + 48);
	assert_int_equal(word(m, map), 20);
	assert_int_equal(quad(m, map + 3 * 24 + 4), MIB(1));
	assert_int_equal(word(m, map + 3 * 24 + 20), 1);
	assert_string_equal((char *)at(m, word(m, info + 64)), "Vireo");
}

static void test_multiboot_elf(void **state)
{
	struct machine *m = *state;

	add_modules(m);
	boot(m, image_elf32_multiboot(m->image));
	check_segments(m);
	check_multiboot(m, IMAGE_ENTRY, IMAGE_END);
}

static void test_multiboot_elf64(void **state)
{
	struct machine *m = *state;

	add_modules(m);
	boot(m, image_elf64_multiboot(m->image));
	check_segments(m);
	check_multiboot(m, IMAGE_ENTRY, IMAGE_END);
}

static void test_multiboot_flat(void **state)
{
	struct machine *m = *state;

	add_modules(m);
	boot(m, image_flat_multiboot(m->image));
	assert_string_equal((char *)at(m, IMAGE_FLAT_BASE), "at the start");
	check_multiboot(m, IMAGE_FLAT_BASE + 0x80, IMAGE_FLAT_BASE + 0x4000);
}

/* A kernel linked high names its entry by its virtual address. */
static void test_multiboot_virtual_entry(void **state)
{
	struct machine *m = *state;
	u64 len = image_elf64_multiboot(m->image);

	image_put64(m->image, 24, 0xffffffff80000000 + IMAGE_ENTRY);
	boot(m, len);
	check_flat_32(m, IMAGE_ENTRY);
}

/* The kludge's zeroes: load the whole file, no bss. */
static void test_multiboot_whole_file(void **state)
{
	struct machine *m = *state;
	u64 len = image_flat_multiboot(m->image);

	image_put32(m->image, 0x120 + 20, 0);
	image_put32(m->image, 0x120 + 24, 0);
	m->image[len - 1] = 'x';
	boot(m, len);
	assert_int_equal(*at(m, IMAGE_FLAT_BASE + len - 0x100 - 1), 'x');
}

/* ---- Linux ------------------------------------------------------------- */

static void check_linux_64(struct machine *m)
{
	gpa_t pml4 = m->bsp.cr3;
	gpa_t pdpt = quad(m, pml4) & ~0xfffull;

	assert_int_equal(m->bsp.cr0 & (CR0_PE | CR0_PG), CR0_PE | CR0_PG);
	assert_int_equal(m->bsp.cr4, CR4_PAE);
	assert_int_equal(m->bsp.msr.efer, EFER_LME | EFER_LMA);
	assert_int_equal(m->bsp.seg[X86_CS].selector, 0x10);
	assert_int_equal(m->bsp.seg[X86_CS].attr, 0xa09b);
	assert_int_equal(m->bsp.seg[X86_DS].selector, 0x18);
	assert_int_equal(m->bsp.gpr[X86_RSI], BOOT_ZERO_PAGE);
	for (unsigned i = 0; i < 4; i++) {
		gpa_t pd = quad(m, pdpt + 8 * i) & ~0xfffull;

		assert_int_equal(quad(m, pd + 8 * 5),
				 GIB(i) + MIB(2) * 5 + 0x83);
	}
}

static void test_linux_unpacked(void **state)
{
	struct machine *m = *state;
	const gpa_t zp = BOOT_ZERO_PAGE;

	boot(m, image_bz_lz4(m->image));
	check_linux_64(m);
	check_segments(m);
	assert_int_equal(m->bsp.rip, IMAGE_ENTRY);
	assert_memory_equal(at(m, zp) + 0x202, "HdrS", 4);
	assert_int_equal(at(m, zp)[0x210], 0xff);
	assert_int_equal(at(m, zp)[0x211], 1);
	assert_int_equal(at(m, zp)[0x1e8], 4);
	assert_int_equal(at(m, zp)[0x1ef], 0); /* sentinel */
	assert_int_equal(quad(m, zp + 0x70), BOOT_ACPI);
	assert_int_equal(word(m, zp + 0x218), 0);
	assert_int_equal(word(m, zp + 0x21c), 0);
	assert_string_equal((char *)at(m, word(m, zp + 0x228)),
			    "console=ttyS0 quiet");
	assert_int_equal(quad(m, zp + 0x2d0 + 3 * 20), MIB(1));
	assert_int_equal(quad(m, zp + 0x2d0 + 3 * 20 + 8), MIB(63));
	assert_int_equal(word(m, IMAGE_BASE + 0x84), 0x81000000);
}

static void test_linux_initrd(void **state)
{
	static const u8 tail[] = "and the tail";
	struct machine *m = *state;
	gpa_t start;

	add_modules(m);
	m->config.modules[0].len = 4999;
	m->config.module_count = 1;
	m->config.initrd_tail = (struct boot_file){tail, sizeof(tail), "tail"};
	boot(m, image_bz_lz4(m->image));
	start = word(m, BOOT_ZERO_PAGE + 0x218);
	assert_int_equal(word(m, BOOT_ZERO_PAGE + 0x21c), 5000 + sizeof(tail));
	/* As high as it goes, on a page. */
	assert_int_equal(start, MIB(64) - 0x2000);
	assert_string_equal((char *)at(m, start), "module one");
	assert_string_equal((char *)at(m, start) + 5000, "and the tail");
}

/* An ELF file gets the same state and a header of our own making. */
static void test_linux_elf(void **state)
{
	struct machine *m = *state;
	const gpa_t zp = BOOT_ZERO_PAGE;

	add_modules(m);
	m->config.module_count = 1;
	boot(m, image_elf64_linux(m->image));
	check_linux_64(m);
	check_segments(m);
	assert_int_equal(m->bsp.rip, IMAGE_ENTRY);
	assert_int_equal(m->bsp.gpr[X86_RSP], BOOT_STACK);
	assert_int_equal(word(m, zp + 0x1fe) & 0xffff, 0xaa55);
	assert_memory_equal(at(m, zp) + 0x202, "HdrS", 4);
	assert_int_equal(at(m, zp)[0x1e8], 4);
	assert_int_equal(quad(m, zp + 0x70), BOOT_ACPI);
	assert_int_equal(word(m, zp + 0x238), sizeof("console=ttyS0 quiet"));
	assert_string_equal((char *)at(m, word(m, zp + 0x228)),
			    "console=ttyS0 quiet");
	assert_string_equal((char *)at(m, word(m, zp + 0x218)), "module one");
	assert_int_equal(word(m, zp + 0x21c), 5000);
}

/* The kernel and its initrd stay apart, wherever the dice put the kernel. */
static void test_linux_kaslr(void **state)
{
	struct machine *m = *state;
	u64 len = image_bz_lz4(m->image);
	u64 first = 0, other = 0;

	m->config.kaslr = true;
	for (unsigned i = 0; i < 20; i++) {
		gpa_t base;
		u64 delta;

		boot(m, len);
		base = m->bsp.rip - 0x10;
		delta = quad(m, base + 0x100100) - 0xffffffff81000000;
		assert_string_equal((char *)at(m, base), IMAGE_TEXT);
		assert_int_equal(base % MIB(2), 0);
		assert_in_range(base, IMAGE_BASE, MIB(64) - IMAGE_INIT_SIZE);
		assert_int_equal(delta % MIB(2), 0);
		assert_true(delta <= GIB(1) - IMAGE_BASE - IMAGE_INIT_SIZE);
		assert_int_equal(word(m, base + 0x80), 0x40000000 - delta);
		assert_int_equal(word(m, base + 0x84), 0x81000000 + delta);
		assert_int_equal(at(m, BOOT_ZERO_PAGE)[0x211], 3);
		first = i ? first : base + delta;
		other += base + delta != first;
	}
	assert_true(other);
}

static void test_linux_nokaslr(void **state)
{
	struct machine *m = *state;

	m->config.kaslr = true;
	m->config.cmdline = "quiet nokaslr";
	boot(m, image_bz_lz4(m->image));
	assert_int_equal(m->bsp.rip, IMAGE_ENTRY);
	assert_int_equal(at(m, BOOT_ZERO_PAGE)[0x211], 1);
}

/* What cannot be unpacked here goes in whole and unpacks itself. */
static void test_linux_whole(void **state)
{
	struct machine *m = *state;
	const struct image_bz bz = {
		.code = (const u8 *)IMAGE_TEXT,
		.code_len = sizeof(IMAGE_TEXT),
		.xloadflags = 1,
	};

	boot(m, image_bz(m->image, &bz));
	check_linux_64(m);
	assert_int_equal(m->bsp.rip, IMAGE_BASE + 0x200);
	assert_string_equal((char *)at(m, IMAGE_BASE), IMAGE_TEXT);
}

static void test_linux_32(void **state)
{
	struct machine *m = *state;
	const struct image_bz bz = {
		.code = (const u8 *)IMAGE_TEXT,
		.code_len = sizeof(IMAGE_TEXT),
	};

	boot(m, image_bz(m->image, &bz));
	check_flat_32(m, IMAGE_BASE);
	assert_int_equal(m->bsp.gpr[X86_RSI], BOOT_ZERO_PAGE);
	assert_int_equal(m->bsp.gpr[X86_RBX], 0);
	assert_int_equal(word(m, BOOT_ZERO_PAGE + 0x214), IMAGE_BASE);
}

static void test_bios_data_area(void **state)
{
	struct machine *m = *state;

	boot(m, image_flat_multiboot(m->image));
	assert_int_equal(word(m, 0x40e) & 0xffff, 0x9fc0);
	assert_int_equal(word(m, 0x413) & 0xffff, 639);
}

/* ---- memory map -------------------------------------------------------- */

static void test_e820_above_4g(void **state)
{
	struct boot_e820 map[BOOT_E820_MAX];
	struct guest_mem mem;

	assert_int_equal(mem_init(&mem, GIB(5), NULL), 0);
	assert_int_equal(boot_e820(&mem, map), 5);
	assert_int_equal(map[3].addr, MIB(1));
	assert_int_equal(map[3].size, GIB(3) - MIB(1));
	assert_int_equal(map[4].addr, GIB(4));
	assert_int_equal(map[4].size, GIB(2));
	for (unsigned i = 1; i < 5; i++)
		assert_true(map[i - 1].addr + map[i - 1].size <= map[i].addr);
	mem_fini(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_pvh_64),
		T(test_pvh_32),
		T(test_multiboot_elf),
		T(test_multiboot_elf64),
		T(test_multiboot_flat),
		T(test_multiboot_virtual_entry),
		T(test_multiboot_whole_file),
		T(test_linux_unpacked),
		T(test_linux_initrd),
		T(test_linux_elf),
		T(test_linux_kaslr),
		T(test_linux_nokaslr),
		T(test_linux_whole),
		T(test_linux_32),
		T(test_bios_data_area),
		cmocka_unit_test(test_e820_above_4g),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
