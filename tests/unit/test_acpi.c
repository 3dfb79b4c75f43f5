/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables: pointers, checksums and contents, and what iasl (package
 * acpica-tools) makes of them: it takes each table apart and puts it together
 * again without a complaint.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/platform.h"
#include "boot/acpi.h"
#include "boot/boot.h"

struct tables {
	struct guest_mem mem;
	gpa_t rsdp;
};

static struct acpi_config full(unsigned cpus)
{
	return (struct acpi_config){
		.cpus = cpus,
		.pci = true,
		.rtc = true,
		.i8042 = true,
		.uarts = {{0x3f8, 4}, {0x2f8, 3}},
		.uart_count = 2,
		.virtio_slots = 0x80000003,
		.mmio64_base = GIB(64),
		.mmio64_size = GIB(32),
	};
}

static void build(struct tables *t, const struct acpi_config *config)
{
	struct err err = {0};

	assert_int_equal(mem_init(&t->mem, MIB(2), &err), 0);
	assert_int_equal(acpi_build(&t->mem, BOOT_ACPI, config, &t->rsdp, &err),
			 0);
	assert_int_equal(t->rsdp, BOOT_ACPI);
}

static const u8 *at(const struct tables *t, gpa_t gpa, u64 len)
{
	assert_in_range(gpa, BOOT_ACPI, BOOT_ACPI + BOOT_ACPI_SIZE - 1);
	assert_true(gpa + len <= BOOT_ACPI + BOOT_ACPI_SIZE);
	return mem_ptr(&t->mem, gpa, len);
}

static u64 field(const u8 *p, unsigned off, unsigned width)
{
	u64 val = 0;

	memcpy(&val, p + off, width);
	return val;
}

static u8 sum(const u8 *p, u64 len)
{
	u8 total = 0;

	while (len--)
		total = (u8)(total + *p++);
	return total;
}

/* A table with a standard header: checked, its length in *len. */
static const u8 *table(const struct tables *t, gpa_t gpa, u32 *len)
{
	const u8 *p = at(t, gpa, 36);

	*len = (u32)field(p, 4, 4);
	at(t, gpa, *len);
	if (sum(p, *len))
		fail_msg("%.4s: checksum", p);
	assert_memory_equal(p + 10, "VIREO ", 6);
	return p;
}

static gpa_t xsdt_of(const struct tables *t)
{
	const u8 *rsdp = at(t, t->rsdp, 36);

	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	assert_int_equal(field(rsdp, 15, 1), 2);
	assert_int_equal(field(rsdp, 20, 4), 36);
	return field(rsdp, 24, 8);
}

/* By signature, through the XSDT; NULL: not listed. */
static const u8 *find(const struct tables *t, const char *name, u32 *len)
{
	u32 list_len;
	const u8 *xsdt = table(t, xsdt_of(t), &list_len);

	for (u32 off = 36; off < list_len; off += 8) {
		const u8 *p = table(t, field(xsdt, off, 8), len);

		if (!memcmp(p, name, 4))
			return p;
	}
	return NULL;
}

static unsigned madt_count(const u8 *madt, u32 len, u8 type)
{
	unsigned count = 0;
	u32 off = 44;

	for (; off < len; off += madt[off + 1]) {
		assert_true(madt[off + 1] >= 6);
		count += madt[off] == type;
	}
	assert_int_equal(off, len);
	return count;
}

/* ---- contents ---------------------------------------------------------- */

static void check_fadt(const struct tables *t)
{
	u32 len, dsdt_len;
	const u8 *fadt = find(t, "FACP", &len);
	const u8 *facs;

	assert_non_null(fadt);
	assert_int_equal(len, 276);
	assert_int_equal(fadt[8], 6);
	assert_memory_equal(table(t, field(fadt, 140, 8), &dsdt_len), "DSDT",
			    4);
	assert_int_equal(field(fadt, 40, 4), field(fadt, 140, 8));
	facs = at(t, field(fadt, 36, 4), 64);
	assert_memory_equal(facs, "FACS", 4);
	assert_int_equal(field(fadt, 36, 4) % 64, 0);
	assert_int_equal(field(fadt, 46, 2), PLAT_ACPI_SCI);
	assert_int_equal(field(fadt, 48, 4), 0); /* no SMI */
	assert_int_equal(field(fadt, 56, 4), PLAT_PM_EVT);
	assert_int_equal(field(fadt, 64, 4), PLAT_PM_CNT);
	assert_int_equal(field(fadt, 76, 4), PLAT_PM_TMR);
	assert_int_equal(field(fadt, 112, 4) & BIT(20), 0); /* not reduced */
	assert_int_equal(field(fadt, 112, 4) & BIT(10), BIT(10));
	assert_int_equal(field(fadt, 120, 8), PLAT_RESET_PORT);
}

static void test_cpus(void **state)
{
	static const unsigned counts[] = {1, 2, 4, 64, 254, 255, 256, 300};

	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
		const struct acpi_config config = full(counts[i]);
		unsigned n = counts[i], small = n < 255 ? n : 255;
		struct tables t;
		const u8 *madt;
		u32 len;

		build(&t, &config);
		check_fadt(&t);
		madt = find(&t, "APIC", &len);
		assert_non_null(madt);
		assert_int_equal(field(madt, 36, 4), PLAT_LAPIC_BASE);
		assert_int_equal(madt_count(madt, len, 0), small);
		assert_int_equal(madt_count(madt, len, 9), n - small);
		assert_int_equal(madt_count(madt, len, 10), n > small);
		assert_int_equal(madt_count(madt, len, 1), 1);
		assert_int_equal(madt_count(madt, len, 2), 2);
		assert_int_equal(madt_count(madt, len, 4), 1);
		mem_fini(&t.mem);
	}
}

static void test_mcfg(void **state)
{
	struct acpi_config config = full(1);
	struct tables t;
	const u8 *mcfg;
	u32 len;

	build(&t, &config);
	mcfg = find(&t, "MCFG", &len);
	assert_non_null(mcfg);
	assert_int_equal(len, 60);
	assert_int_equal(field(mcfg, 44, 8), PLAT_ECAM_BASE);
	assert_int_equal(field(mcfg, 54, 1), 0); /* first bus */
	assert_int_equal(field(mcfg, 55, 1), PLAT_PCI_BUSES - 1);
	mem_fini(&t.mem);

	config.pci = false;
	build(&t, &config);
	assert_null(find(&t, "MCFG", &len));
	mem_fini(&t.mem);
}

/* RSDT and XSDT list the same tables. */
static void test_rsdt(void **state)
{
	const struct acpi_config config = full(2);
	u32 xsdt_len, rsdt_len;
	const u8 *xsdt, *rsdt;
	struct tables t;

	build(&t, &config);
	xsdt = table(&t, xsdt_of(&t), &xsdt_len);
	rsdt = table(&t, field(at(&t, t.rsdp, 36), 16, 4), &rsdt_len);
	assert_memory_equal(rsdt, "RSDT", 4);
	assert_int_equal((xsdt_len - 36) / 8, (rsdt_len - 36) / 4);
	for (u32 i = 0; i < (rsdt_len - 36) / 4; i++)
		assert_int_equal(field(rsdt, 36 + 4 * i, 4),
				 field(xsdt, 36 + 8 * i, 8));
	mem_fini(&t.mem);
}

static void test_flags_follow_config(void **state)
{
	struct acpi_config config = full(1);
	struct tables t;
	u32 len;

	build(&t, &config);
	assert_int_equal(field(find(&t, "FACP", &len), 109, 2), 7);
	mem_fini(&t.mem);
	config.i8042 = config.rtc = false;
	build(&t, &config);
	assert_int_equal(field(find(&t, "FACP", &len), 109, 2), 0x25);
	assert_int_equal(find(&t, "FACP", &len)[108], 0);
	mem_fini(&t.mem);
}

static void test_too_many_cpus(void **state)
{
	const struct acpi_config config = full(4096);
	struct guest_mem mem;
	struct err err = {0};
	gpa_t rsdp;

	assert_int_equal(mem_init(&mem, MIB(2), &err), 0);
	assert_true(acpi_build(&mem, BOOT_ACPI, &config, &rsdp, &err) < 0);
	assert_non_null(strstr(err.msg, "4096 CPUs"));
	mem_fini(&mem);
}

/* ---- iasl -------------------------------------------------------------- */

static bool has_iasl(void)
{
	return !system("command -v iasl >/dev/null 2>&1");
}

/* The command's output without its version numbers is looked through. */
static void run_iasl(const char *folder, const char *args, const char *good)
{
	char command[256], line[512], text[8192] = "";
	FILE *pipe;

	snprintf(command, sizeof(command), "cd %s && iasl %s 2>&1", folder,
		 args);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	while (fgets(line, sizeof(line), pipe))
		if (strlen(text) + strlen(line) < sizeof(text))
			strcat(text, line);
	if (pclose(pipe) || !strstr(text, good) || strstr(text, "Warning:") ||
	    strstr(text, "Invalid"))
		fail_msg("iasl %s:\n%s", args, text);
}

static void check_with_iasl(const u8 *p, u32 len, const char *folder)
{
	char name[5] = {0}, path[64], args[64];
	FILE *file;

	memcpy(name, p, 4);
	snprintf(path, sizeof(path), "%s/%s.dat", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(p, 1, len, file), len);
	fclose(file);
	snprintf(args, sizeof(args), "-d %s.dat", name);
	run_iasl(folder, args, "utput:");
	snprintf(args, sizeof(args), "-p again %s.dsl", name);
	run_iasl(folder, args, "0 Errors, 0 Warnings");
}

static void check_all(const struct acpi_config *config, const char *folder)
{
	struct tables t;
	u32 len, list_len;
	const u8 *fadt, *dsdt, *xsdt;

	build(&t, config);
	xsdt = table(&t, xsdt_of(&t), &list_len);
	check_with_iasl(xsdt, list_len, folder);
	for (u32 off = 36; off < list_len; off += 8) {
		const u8 *p = table(&t, field(xsdt, off, 8), &len);

		check_with_iasl(p, len, folder);
	}
	fadt = find(&t, "FACP", &len);
	dsdt = table(&t, field(fadt, 140, 8), &len);
	check_with_iasl(dsdt, len, folder);
	check_with_iasl(at(&t, field(fadt, 36, 4), 64), 64, folder);
	mem_fini(&t.mem);
}

static void test_iasl(void **state)
{
	static const unsigned counts[] = {1, 2, 4, 64, 300};
	char folder[] = "/tmp/vireo-acpi-XXXXXX", command[64];
	struct acpi_config micro = {.cpus = 2, .uart_count = 1};

	assert_non_null(mkdtemp(folder));
	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
		const struct acpi_config config = full(counts[i]);

		check_all(&config, folder);
	}
	micro.uarts[0] = (struct acpi_uart){0x3f8, 4};
	check_all(&micro, folder);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	assert_int_equal(system(command), 0);
}

/* With the argument "iasl" only that part: 77 says that it was skipped. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cpus),
		cmocka_unit_test(test_mcfg),
		cmocka_unit_test(test_rsdt),
		cmocka_unit_test(test_flags_follow_config),
		cmocka_unit_test(test_too_many_cpus),
	};
	const struct CMUnitTest iasl[] = {cmocka_unit_test(test_iasl)};

	if (argc == 1)
		return cmocka_run_group_tests(tests, NULL, NULL);
	if (has_iasl())
		return cmocka_run_group_tests(iasl, NULL, NULL);
	puts("iasl is missing (package acpica-tools)");
	return 77;
}
