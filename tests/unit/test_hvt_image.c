/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Solo5 hvt images: a good one lies in memory as the interface says; of a bad
 * one each field's change is refused with its own sentence.
 */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86.h"
#include "hvt_images.h"

#define RAM MIB(4)

static struct boot_file file_of(const struct hvt_test_image *image, u64 len)
{
	return (struct boot_file){(const u8 *)image, len, "test.hvt"};
}

static int load(struct guest_mem *mem, const struct hvt_test_image *image,
		u64 len, struct x86_state *state, struct err *err)
{
	const struct boot_file file = file_of(image, len);
	struct hvt_image parsed;
	const struct hvt_start start = {
		.image = &parsed,
		.file = &file,
		.cmdline = "one two",
		.tsc_hz = 123456789,
		.mem_size = RAM,
	};
	int ret = hvt_parse(&parsed, &file, err);

	return ret ? ret : hvt_load(mem, &start, state, err);
}

/* ---- a good one -------------------------------------------------------- */

static void check_memory(const struct guest_mem *mem)
{
	const struct hvt_boot_info *info = mem_ptr(mem, HVT_BOOT_INFO, 56);
	const struct hvt_manifest *manifest = mem_ptr(mem, info->manifest, 320);
	const u8 *data = mem_ptr(mem, 0x102000, 0x2000);

	assert_int_equal(info->mem_size, RAM);
	assert_int_equal(info->image_end, 0x104000);
	assert_int_equal(info->tsc_hz, 123456789);
	assert_int_equal(info->features_offered, 0);
	assert_string_equal(mem_ptr(mem, info->cmdline, 8), "one two");
	assert_int_equal(manifest->count, 3);
	assert_string_equal(manifest->entries[2].name, "service");
	assert_int_equal(data[63], 0xda);
	assert_int_equal(data[64], 0);
}

static void check_rights(const struct guest_mem *mem)
{
	assert_int_equal(mem_rights(mem, 0, 0x100000), MEM_R | MEM_W);
	assert_int_equal(mem_rights(mem, 0x100000, 0x1000), MEM_R | MEM_X);
	assert_int_equal(mem_rights(mem, 0x101000, RAM - 0x101000),
			 MEM_R | MEM_W);
}

static u64 entry_at(const struct guest_mem *mem, gpa_t gpa)
{
	u64 entry = 0;

	assert_true(mem_read(mem, gpa, &entry, 8));
	return entry;
}

static void test_good(void **unused)
{
	struct hvt_test_image image;
	struct x86_state state;
	struct guest_mem mem;
	struct err err = {0};

	hvt_test_image(&image);
	assert_true(hvt_is(
		&(struct boot_file){(const u8 *)&image, sizeof(image), "x"}));
	assert_int_equal(mem_init_flat(&mem, RAM, NULL), 0);
	if (load(&mem, &image, sizeof(image), &state, &err))
		fail_msg("%s", err.msg);
	check_memory(&mem);
	check_rights(&mem);
	assert_int_equal(state.rip, 0x100010);
	assert_int_equal(state.gpr[X86_RSP], RAM - 8);
	assert_int_equal(state.gpr[X86_RDI], HVT_BOOT_INFO);
	assert_int_equal(state.cr0, 0x80010031);
	assert_int_equal(state.cr3, 0x2000);
	assert_int_equal(state.cr4, 0x620);
	assert_int_equal(state.msr.efer, 0x500);
	assert_int_equal(state.rflags, 2);
	/* The x87 as after FNINIT: exceptions masked, the stack empty. */
	assert_int_equal(state.xsave[0] | state.xsave[1] << 8, 0x37f);
	assert_int_equal(state.xsave[4], 0);
	/* Page tables: nothing, read-only, writable, large. */
	assert_int_equal(entry_at(&mem, 0x8000 + 0xf * 8), 0);
	assert_int_equal(entry_at(&mem, 0x8000 + 0x10 * 8), 0x10000 | PTE_P);
	assert_int_equal(entry_at(&mem, 0x8000 + 0x100 * 8),
			 0x100000 | PTE_P | PTE_W);
	assert_int_equal(entry_at(&mem, 0x4000 + 8),
			 MIB(2) | PTE_P | PTE_W | PTE_PS);
	assert_int_equal(entry_at(&mem, 0x4000 + 16), 0);
	mem_fini(&mem);
}

/* Solo5's target "virtio" is for a PC, whatever else its notes are. */
static void test_kinds(void **unused)
{
	struct hvt_test_image image;
	const struct boot_file file = file_of(&image, sizeof(image));

	for (u32 target = 0; target < 8; target++) {
		hvt_test_image(&image);
		image.abi.target = target;
		assert_int_equal(hvt_is(&file), target != HVT_TARGET_VIRTIO);
	}
	hvt_test_image(&image);
	image.abi.note.owner[0] = 'x';
	assert_true(hvt_is(&file));
	image.manifest.note.owner[0] = 'x';
	assert_false(hvt_is(&file));
}

/* ---- bad ones ---------------------------------------------------------- */

struct bad {
	size_t at;
	unsigned width;
	u64 val;
	const char *said;
};

#define FIELD(field)                            \
	offsetof(struct hvt_test_image, field), \
		sizeof(((struct hvt_test_image *)NULL)->field)

static const struct bad bads[] = {
	{FIELD(elf.e_ident[1]), 'x', "no 64-bit little-endian ELF"},
	{FIELD(elf.e_ident[EI_CLASS]), ELFCLASS32, "no 64-bit"},
	{FIELD(elf.e_ident[EI_DATA]), ELFDATA2MSB, "no 64-bit"},
	{FIELD(elf.e_version), 2, "version 2"},
	{FIELD(elf.e_ehsize), 63, "header has 63 bytes"},
	{FIELD(elf.e_phentsize), 55, "headers of 55 bytes"},
	{FIELD(elf.e_phnum), 0, "no program headers"},
	{FIELD(elf.e_phnum), 0xffff, "reach beyond"},
	{FIELD(elf.e_phoff), ~0ull, "reach beyond"},
	{FIELD(elf.e_type), ET_DYN, "no executable with fixed"},
	{FIELD(elf.e_machine), EM_AARCH64, "another machine"},
	{FIELD(elf.e_entry), 0xfffff, "entry point"},
	{FIELD(elf.e_entry), GIB(4), "entry point"},
	{FIELD(elf.e_entry), RAM, "in no segment that can be executed"},
	{FIELD(elf.e_entry), 0x101000, "in no segment that can be executed"},
	{FIELD(elf.e_entry), 0x102000, "in no segment that can be executed"},
	{FIELD(headers[0].p_type), PT_NULL, "in no segment that can be"},
	{FIELD(headers[0].p_offset), ~0ull, "beyond the file"},
	{FIELD(headers[0].p_filesz), 65, "but 0x40 in memory"},
	{FIELD(headers[0].p_memsz), GIB(4) + 1, "beyond 4 GiB"},
	{FIELD(headers[0].p_memsz), ~0ull, "beyond 4 GiB"},
	{FIELD(headers[0].p_vaddr), ~0ull - 63, "beyond 4 GiB"},
	{FIELD(headers[0].p_vaddr), 0xff000, "below 0x100000"},
	{FIELD(headers[0].p_align), 0, "no power of two"},
	{FIELD(headers[0].p_align), 0x1001, "no power of two"},
	{FIELD(headers[0].p_align), 16, "begin and end on pages"},
	{FIELD(headers[0].p_align), 0x200000, "below 0x100000"},
	{FIELD(headers[0].p_flags), PF_W | PF_X, "both writable and exec"},
	{FIELD(headers[1].p_vaddr), 0x100800, "overlaps the one before"},
	{FIELD(headers[1].p_memsz), RAM, "beyond the guest's memory"},
	{FIELD(headers[3].p_type), PT_NULL, "no Solo5 ABI information"},
	{FIELD(headers[4].p_type), PT_NULL, "no Solo5 manifest"},
	{FIELD(headers[3].p_filesz), 12, "no Solo5 ABI information"},
	{FIELD(headers[3].p_filesz), 35, "does not fall within valid size"},
	{FIELD(headers[3].p_offset), ~0ull, "no Solo5 ABI information"},
	{FIELD(abi.note.owner_size), 5, "no Solo5 ABI information"},
	{FIELD(abi.note.owner[0]), 's', "no Solo5 ABI information"},
	{FIELD(abi.note.type), 1, "no Solo5 ABI information"},
	{FIELD(abi.note.desc_size), 0, "does not fall within valid size"},
	{FIELD(abi.note.desc_size), 15, "does not fall within valid size"},
	{FIELD(abi.note.desc_size), ~0u, "does not fall within valid size"},
	{FIELD(abi.target), HVT_TARGET_SPT, "not for the solo5-hvt target"},
	{FIELD(abi.version), 1, "unsupported ABI version 1"},
	{FIELD(abi.version), 3, "unsupported ABI version 3"},
	{FIELD(manifest.note.desc_size), 11, "does not fall within valid"},
	{FIELD(manifest.note.desc_size), 323, "does not fall within valid"},
	{FIELD(manifest.note.desc_size), 325, "does not fall within valid"},
	{FIELD(manifest.version), 2, "invalid: version 2"},
	{FIELD(manifest.count), 0, "0 entries"},
	{FIELD(manifest.count), 2, "does not fall within valid size"},
	{FIELD(manifest.count), 4, "does not fall within valid size"},
	{FIELD(manifest.count), 65, "65 entries"},
	{FIELD(manifest.count), ~0u, "4294967295 entries"},
	{FIELD(manifest.entries[0].type), HVT_ENTRY_NET, "0 is not empty"},
	{FIELD(manifest.entries[0].name[0]), 'x', "0 is not empty"},
	{FIELD(manifest.entries[1].type), 3, "unknown type 0x3"},
	{FIELD(manifest.entries[1].type), HVT_ENTRY_FIRST, "unknown type"},
	{FIELD(manifest.entries[1].name[0]), 0, "1 has no name"},
	{FIELD(manifest.entries[1].name[67]), 1, "1 does not end"},
	{FIELD(manifest.entries[2].attached), 1, "2 is attached already"},
};

static void test_bad(void **unused)
{
	struct hvt_test_image image;
	struct x86_state state;
	struct guest_mem mem;

	assert_int_equal(mem_init_flat(&mem, RAM, NULL), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bads); i++) {
		const struct bad *bad = &bads[i];
		struct err err = {0};

		hvt_test_image(&image);
		memcpy((u8 *)&image + bad->at, &bad->val, bad->width);
		if (!load(&mem, &image, sizeof(image), &state, &err))
			fail_msg("row %u was taken: %s", i, bad->said);
		if (!strstr(err.msg, bad->said))
			fail_msg("row %u: '%s' not in: %s", i, bad->said,
				 err.msg);
		/* Nothing was begun. */
		assert_int_equal(entry_at(&mem, 0x2000), 0);
		assert_int_equal(entry_at(&mem, 0x100000), 0);
	}
	hvt_test_image(&image);
	strcpy(image.manifest.entries[2].name, "disk");
	assert_int_equal(load(&mem, &image, sizeof(image), &state, NULL),
			 -EINVAL);
	mem_fini(&mem);
}

/* Cut off anywhere, in memory of just that size for the sanitizer. */
static void test_short(void **unused)
{
	struct hvt_test_image image;
	struct x86_state state;
	struct guest_mem mem;

	assert_int_equal(mem_init_flat(&mem, RAM, NULL), 0);
	hvt_test_image(&image);
	for (u64 len = 0; len < sizeof(image); len++) {
		struct hvt_test_image *copy = malloc(len ? len : 1);

		memcpy((u8 *)copy, &image, len);
		assert_int_not_equal(load(&mem, copy, len, &state, NULL), 0);
		free(copy);
	}
	mem_fini(&mem);
}

/* Random bytes anywhere: taken or refused, nothing else. */
static void test_random(void **unused)
{
	struct hvt_test_image image;
	struct x86_state state;
	struct guest_mem mem;
	u64 seed = 42;

	assert_int_equal(mem_init_flat(&mem, RAM, NULL), 0);
	for (unsigned i = 0; i < 20000; i++) {
		struct err err = {0};
		int ret;

		hvt_test_image(&image);
		for (unsigned k = 0; k < 1 + i % 3; k++) {
			seed = seed * 6364136223846793005ull + 1;
			((u8 *)&image)[(seed >> 33) % sizeof(image)] =
				(u8)(seed >> 25);
		}
		ret = load(&mem, &image, sizeof(image), &state, &err);
		assert_int_equal(ret, err.code);
		assert_true(!ret == !err.msg[0]);
		if (!ret)
			assert_in_range(state.rip, HVT_IMAGE_LOW, RAM - 1);
	}
	mem_fini(&mem);
}

static void test_cmdline(void **unused)
{
	static char line[HVT_CMDLINE_MAX + 1];
	struct hvt_test_image image;
	const struct boot_file file = file_of(&image, sizeof(image));
	struct hvt_image parsed;
	struct hvt_start start = {&parsed, &file, line, 1, RAM};
	struct x86_state state;
	struct guest_mem mem;
	struct err err = {0};

	assert_int_equal(mem_init_flat(&mem, RAM, NULL), 0);
	hvt_test_image(&image);
	assert_int_equal(hvt_parse(&parsed, &file, NULL), 0);
	memset(line, 'x', HVT_CMDLINE_MAX);
	assert_int_equal(hvt_load(&mem, &start, &state, &err), -E2BIG);
	assert_non_null(strstr(err.msg, "command line too long"));
	line[HVT_CMDLINE_MAX - 1] = 0;
	assert_int_equal(hvt_load(&mem, &start, &state, NULL), 0);
	start.mem_size = MIB(3);
	assert_int_equal(hvt_load(&mem, &start, &state, NULL), -EINVAL);
	mem_fini(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),   cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_bad),    cmocka_unit_test(test_short),
		cmocka_unit_test(test_random), cmocka_unit_test(test_cmdline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
