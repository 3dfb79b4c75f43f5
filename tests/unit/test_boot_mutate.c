/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Good images with a few fields changed at random, from a fixed seed: loading
 * ends with a sentence or with a CPU that starts inside RAM, reads nothing
 * behind the file and writes nothing where the platform's tables lie.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "boot_images.h"

#define ROUNDS 20000
#define RAM MIB(64)

static u64 next_random(u64 *seed)
{
	/* xorshift64* */
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 0x2545f4914f6cdd1d;
}

/* What loaders compare with: edges of fields, of RAM, of the low area. */
static u64 interesting(u64 *seed)
{
	static const u64 values[] = {
		0,	    1,
		2,	    0x7f,
		0x80,	    0xff,
		0x7fff,	    0x8000,
		0xffff,	    0x7fffffff,
		0x80000000, 0xffffffff,
		RAM,	    RAM - 0x1000,
		GIB(3),	    GIB(4),
		MIB(1),	    0x9fc00,
		0xa0000,    0x7000,
		IMAGE_BASE, IMAGE_DATA_GPA,
		IMAGE_END,  INT64_MAX,
		1ull << 63, -1ull,
		-0x1000ull,
	};
	u64 pick = next_random(seed);

	if (pick & 1)
		return next_random(seed) >> (pick >> 1 & 63);
	return values[(pick >> 8) % ARRAY_SIZE(values)] + (pick >> 4 & 3) - 1;
}

/* Nine of ten changes hit the headers, which is where decisions are made. */
static void mutate(u8 *image, u64 len, u64 *seed)
{
	u64 count = 1 + next_random(seed) % 4;

	while (count--) {
		bool bz = image[0x202] == 'H';
		u64 head = bz ? 0xa0 : 0x140;
		u64 r = next_random(seed);
		u64 off = r % 10 ? (bz ? 0x1f0 : 0) + (r >> 8) % head
				 : (r >> 8) % len;
		u64 val = interesting(seed);
		u64 width = 1ull << (r >> 4 & 3);

		off &= ~(width - 1) | (r >> 60 ? 0 : 7);
		memcpy(image + off, &val, min_u64(width, len - off));
	}
}

static void check(const struct x86_state *bsp, const struct err *err, int ret)
{
	assert_int_equal(ret, err->code);
	assert_true(!ret == !err->msg[0]);
	if (!ret)
		assert_true(bsp->rip < RAM);
}

static int load_round(struct guest_mem *mem, const u8 *image, u64 len,
		      u64 round)
{
	static const u8 module[100] = "module";
	struct boot_config config = {
		.modules = {{module, sizeof(module), "module"}},
		.module_count = round / 7 % 2,
		.cmdline = "console=ttyS0",
		.kaslr = round / 14 % 2,
	};
	struct guarded file;
	struct x86_state bsp = {0};
	struct err err = {0};
	int ret;

	guarded_create(&file, image, len);
	config.kernel = (struct boot_file){file.data, file.len, "kernel"};
	ret = boot_load(mem, &config, &bsp, &err);
	guarded_destroy(&file);
	check(&bsp, &err, ret);
	return ret;
}

static void test_mutate(void **state)
{
	u8 *image = malloc(IMAGE_MAX), *rom = malloc(BOOT_ACPI_SIZE);
	struct guest_mem mem;
	u64 seed = 0x5eed, loaded = 0;
	unsigned kinds = 0;

	assert_int_equal(mem_init(&mem, RAM, NULL), 0);
	memset(rom, 0x5a, BOOT_ACPI_SIZE);
	assert_true(mem_write(&mem, BOOT_ACPI, rom, BOOT_ACPI_SIZE));
	while (image_builder_at(kinds))
		kinds++;
	for (u64 round = 0; round < ROUNDS; round++) {
		u64 len = image_builder_at(round % kinds)(image);

		mutate(image, len, &seed);
		loaded += !load_round(&mem, image, len, round);
	}
	assert_memory_equal(mem_ptr(&mem, BOOT_ACPI, BOOT_ACPI_SIZE), rom,
			    BOOT_ACPI_SIZE);
	/* Both outcomes are common, or the mutations are pointless. */
	assert_in_range(loaded, ROUNDS / 10, ROUNDS * 9 / 10);
	mem_fini(&mem);
	free(image);
	free(rom);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutate)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
