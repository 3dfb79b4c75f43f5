/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI: both ways to configuration space, the header, and BARs of a function
 * that exists only here, after [1] PCI Local Bus 3.0 chapter 6.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "arch/platform.h"
#include "chips/pci.h"
#include "vm_fixture.h"

enum { ADDRESS = 0xcf8, DATA = 0xcfc };
enum { ABSENT = 0xffffffff };

/* ---- a function with every kind of BAR, at 0:3.1 ---- */

struct probe {
	struct pci_function fn;
	/* regs */
	u8 space[PCI_CONFIG_SIZE];
	/* host */
	u64 last_off, last_val;
};

static u64 probe_read(struct device *dev, u64 off, unsigned width)
{
	return 0xa0 + off;
}

static void probe_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct probe *probe = container_of(dev, struct probe, fn.dev);

	probe->last_off = off;
	probe->last_val = val;
}

#define CALLS                                                   \
	.widths = BUS_W1 | BUS_W2 | BUS_W4, .read = probe_read, \
	.write = probe_write
static const struct pci_bar probe_bars[PCI_BARS] = {
	{.kind = PCI_BAR_IO, .name = "io", .size = 16, CALLS},
	{.kind = PCI_BAR_MEM32, .name = "mem32", .size = 4096, CALLS},
	{.kind = PCI_BAR_MEM64,
	 .prefetchable = true,
	 .name = "mem64",
	 .size = GIB(8),
	 CALLS},
};
#undef CALLS

static const struct pci_ident probe_ident = {
	.vendor = 0x1234,
	.device = 0x5678,
	.class_code = 0xff1122,
	.revision = 7,
	.subsystem_vendor = 0xaaaa,
	.subsystem = 0xbbbb,
	.interrupt_pin = 1,
};

static int probe_create(struct device *dev, struct err *err)
{
	struct probe *probe = container_of(dev, struct probe, fn.dev);

	probe->fn.ident = &probe_ident;
	probe->fn.bars = probe_bars;
	probe->fn.bdf = PCI_BDF(0, 3, 1);
	probe->fn.space = probe->space;
	return pci_function_plug(&probe->fn, err);
}

static void probe_reset(struct device *dev)
{
	pci_function_reset(container_of(dev, struct pci_function, dev));
}

static int probe_loaded(struct device *dev, struct err *err)
{
	return pci_function_loaded(container_of(dev, struct pci_function, dev),
				   err);
}

static const struct device_type probe_type = {
	.name = "probe",
	.size = sizeof(struct probe),
	.save_version = 1,
	.regs_offset = offsetof(struct probe, space),
	.regs_size = PCI_CONFIG_SIZE,
	.create = probe_create,
	.reset = probe_reset,
	.loaded = probe_loaded,
};
DEVICE_TYPE(probe_type);

/* ---- bench ---- */

struct bench {
	struct vm *vm;
	struct probe *probe;
};

static int setup(void **state)
{
	static struct bench b;

	b.vm = fixture_vm(1);
	fixture_device(b.vm, "pci-host", NULL);
	fixture_device(b.vm, "host-bridge", NULL);
	b.probe = container_of(fixture_device(b.vm, "probe", NULL),
			       struct probe, fn.dev);
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	vm_destroy(((struct bench *)*state)->vm);
	return 0;
}

static u32 get(struct bench *b, enum bus_space space, u64 addr, unsigned width)
{
	u32 val = 0;

	bus_read(&b->vm->bus, space, addr, width, 1, &val);
	return val;
}

static void put(struct bench *b, enum bus_space space, u64 addr, unsigned width,
		u32 val)
{
	bus_write(&b->vm->bus, space, addr, width, 1, &val);
}

/* The probe's configuration by ECAM. */
static u64 ecam(unsigned reg)
{
	return PLAT_ECAM_BASE + (PCI_BDF(0, 3, 1) << 12) + reg;
}

static u32 config(struct bench *b, unsigned reg)
{
	return get(b, BUS_MMIO, ecam(reg), 4);
}

static void set_config(struct bench *b, unsigned reg, u32 val)
{
	put(b, BUS_MMIO, ecam(reg), 4, val);
}

static void point(struct bench *b, u32 address)
{
	put(b, BUS_PIO, ADDRESS, 4, address);
}

/* ---- mechanism #1 ---- */

static void test_address_port(void **state)
{
	struct bench *b = *state;

	/* How systems tell mechanism #1: the enable bit reads back. */
	put(b, BUS_PIO, 0xcfb, 1, 0x01);
	point(b, 0x80000000);
	assert_int_equal(get(b, BUS_PIO, ADDRESS, 4), 0x80000000);
	point(b, 0xffffffff);
	assert_int_equal(get(b, BUS_PIO, ADDRESS, 4), 0x80fffffc);
	/* Narrow accesses are not PCI's. */
	put(b, BUS_PIO, ADDRESS, 2, 0);
	put(b, BUS_PIO, ADDRESS, 1, 0);
	assert_int_equal(get(b, BUS_PIO, ADDRESS, 4), 0x80fffffc);
	assert_int_equal(get(b, BUS_PIO, ADDRESS, 1), 0xff);
	assert_int_equal(get(b, BUS_PIO, 0xcfa, 2), 0xffff);
}

static void test_bridge_by_ports(void **state)
{
	struct bench *b = *state;

	point(b, 0x80000000);
	assert_int_equal(get(b, BUS_PIO, DATA, 4), 0x00081b36);
	assert_int_equal(get(b, BUS_PIO, DATA + 2, 2), 0x0008);
	assert_int_equal(get(b, BUS_PIO, DATA + 1, 1), 0x1b);
	point(b, 0x80000008);
	assert_int_equal(get(b, BUS_PIO, DATA, 4), 0x06000000);
	assert_int_equal(get(b, BUS_PIO, DATA + 2, 2), 0x0600);
	/* Without the enable bit nobody answers. */
	point(b, 0x00000000);
	assert_int_equal(get(b, BUS_PIO, DATA, 4), ABSENT);
	put(b, BUS_PIO, DATA, 4, 0x12345678);
}

static void test_only_what_is_there(void **state)
{
	struct bench *b = *state;

	for (u32 bdf = 0; bdf < 0x10000; bdf++) {
		u32 want = bdf == 0		     ? 0x00081b36
			   : bdf == PCI_BDF(0, 3, 1) ? 0x56781234
						     : ABSENT;

		point(b, 0x80000000 | bdf << 8);
		assert_int_equal(get(b, BUS_PIO, DATA, 4), want);
		assert_int_equal(
			get(b, BUS_MMIO, PLAT_ECAM_BASE + ((u64)bdf << 12), 4),
			want);
	}
}

static void test_both_ways_are_one(void **state)
{
	struct bench *b = *state;

	for (u32 reg = 0; reg < 256; reg += 4) {
		point(b, 0x80000000 | PCI_BDF(0, 3, 1) << 8 | reg);
		assert_int_equal(get(b, BUS_PIO, DATA, 4), config(b, reg));
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(get(b, BUS_PIO, DATA + i, 1),
					 get(b, BUS_MMIO, ecam(reg + i), 1));
	}
	point(b, 0x80000000 | PCI_BDF(0, 3, 1) << 8 | 0x3c);
	put(b, BUS_PIO, DATA, 1, 0x5b);
	assert_int_equal(get(b, BUS_MMIO, ecam(0x3c), 1), 0x5b);
	/* No extended capabilities. */
	assert_int_equal(config(b, 0x100), 0);
	assert_int_equal(config(b, 0xffc), 0);
}

static void test_reset_port(void **state)
{
	struct bench *b = *state;

	point(b, 0x80000040);
	put(b, BUS_PIO, 0xcf9, 1, 0x02);
	assert_int_equal(get(b, BUS_PIO, 0xcf9, 1), 0x02);
	assert_int_equal(get(b, BUS_PIO, ADDRESS, 4), 0x80000040);
	assert_int_equal(b->vm->stop_reason, VM_STOP_NONE);
	put(b, BUS_PIO, 0xcf9, 1, 0x06);
	assert_int_equal(b->vm->stop_reason, VM_STOP_RESET);
}

/* ---- the header ---- */

static void test_identity(void **state)
{
	struct bench *b = *state;

	assert_int_equal(config(b, 0x00), 0x56781234);
	assert_int_equal(config(b, 0x04), 0);
	assert_int_equal(config(b, 0x08), 0xff112207);
	assert_int_equal(config(b, 0x0c), 0);
	assert_int_equal(config(b, 0x2c), 0xbbbbaaaa);
	assert_int_equal(config(b, 0x3c), 0x00000100);
}

/* All ones, then all zeros, into every register. */
static void test_write_masks(void **state)
{
	static const struct {
		u8 reg;
		u32 ones, zeros;
	} rows[] = {
		{0x00, 0x56781234, 0x56781234},
		{0x04, 0x00000547, 0},
		{0x08, 0xff112207, 0xff112207},
		{0x0c, 0x000000ff, 0},
		{0x10, 0xfffffff1, 1},
		{0x14, 0xfffff000, 0},
		{0x18, 0x0000000c, 0x0000000c}, /* 8 GiB: all of the low half */
		{0x1c, 0xfffffffe, 0},
		{0x20, 0, 0},
		{0x24, 0, 0},
		{0x28, 0, 0},
		{0x2c, 0xbbbbaaaa, 0xbbbbaaaa},
		{0x30, 0, 0}, /* no ROM */
		{0x34, 0, 0},
		{0x38, 0, 0},
		{0x3c, 0x000001ff, 0x00000100},
		{0x40, 0, 0},
		{0xfc, 0, 0},
	};
	struct bench *b = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		set_config(b, rows[i].reg, ABSENT);
		assert_int_equal(config(b, rows[i].reg), rows[i].ones);
		set_config(b, rows[i].reg, 0);
		assert_int_equal(config(b, rows[i].reg), rows[i].zeros);
	}
}

static void test_status_is_cleared_by_ones(void **state)
{
	struct bench *b = *state;

	b->probe->space[PCI_STATUS + 1] = 0xf9;
	put(b, BUS_MMIO, ecam(PCI_STATUS), 2, 0x4000);
	assert_int_equal(get(b, BUS_MMIO, ecam(PCI_STATUS), 2), 0xb900);
	put(b, BUS_MMIO, ecam(PCI_STATUS), 2, 0xffff);
	assert_int_equal(get(b, BUS_MMIO, ecam(PCI_STATUS), 2), 0);
}

/* ---- BARs ---- */

static void test_bars_answer_where_they_are(void **state)
{
	struct bench *b = *state;

	set_config(b, 0x10, 0xc000);
	set_config(b, 0x14, 0xc0100000);
	set_config(b, 0x18, 0);
	set_config(b, 0x1c, 0x10);
	/* Not before decoding is switched on, each kind by its bit. */
	assert_int_equal(get(b, BUS_PIO, 0xc004, 1), 0xff);
	set_config(b, 0x04, PCI_COMMAND_IO);
	assert_int_equal(get(b, BUS_PIO, 0xc004, 1), 0xa4);
	assert_int_equal(get(b, BUS_MMIO, 0xc0100008, 4), ABSENT);
	set_config(b, 0x04, PCI_COMMAND_MEMORY);
	assert_int_equal(get(b, BUS_PIO, 0xc004, 1), 0xff);
	assert_int_equal(get(b, BUS_MMIO, 0xc0100008, 4), 0xa8);
	assert_int_equal(get(b, BUS_MMIO, 0x1000000010, 4), 0xb0);
	put(b, BUS_MMIO, 0x11fffffffc, 4, 0x77);
	assert_true(b->probe->last_off == GIB(8) - 4);
	assert_int_equal(b->probe->last_val, 0x77);
	/* Moved, it leaves its old place. */
	set_config(b, 0x14, 0xc0200000);
	assert_int_equal(get(b, BUS_MMIO, 0xc0100008, 4), ABSENT);
	assert_int_equal(get(b, BUS_MMIO, 0xc0200008, 4), 0xa8);
	device_reset_all(b->vm);
	assert_int_equal(get(b, BUS_MMIO, 0xc0200008, 4), ABSENT);
	assert_int_equal(get(b, BUS_MMIO, 0x1000000010, 4), ABSENT);
}

static void test_bar_in_the_way(void **state)
{
	struct bench *b = *state;

	set_config(b, 0x04, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	/* Over ECAM, over the address port, past the last port, at zero. */
	set_config(b, 0x14, PLAT_ECAM_BASE);
	assert_int_equal(get(b, BUS_MMIO, PLAT_ECAM_BASE, 4), 0x00081b36);
	set_config(b, 0x10, 0xcf0);
	point(b, 0x80000000);
	assert_int_equal(get(b, BUS_PIO, ADDRESS, 4), 0x80000000);
	set_config(b, 0x10, 0x1c000);
	assert_int_equal(get(b, BUS_PIO, 0xc000, 1), 0xff);
	set_config(b, 0x14, 0);
	assert_int_equal(get(b, BUS_MMIO, 8, 4), ABSENT);
	/* And it still works where there is room. */
	set_config(b, 0x14, 0xc0000000);
	assert_int_equal(get(b, BUS_MMIO, 0xc0000004, 4), 0xa4);
}

/* Linux sizes BARs with decoding off, others leave it on. */
static void test_sizing_while_decoding(void **state)
{
	struct bench *b = *state;

	set_config(b, 0x14, 0xc0000000);
	set_config(b, 0x04, PCI_COMMAND_MEMORY);
	set_config(b, 0x14, ABSENT);
	assert_int_equal(~config(b, 0x14) + 1, 4096);
	assert_int_equal(get(b, BUS_MMIO, 0xc0000004, 4), ABSENT);
	set_config(b, 0x14, 0xc0000000);
	assert_int_equal(get(b, BUS_MMIO, 0xc0000004, 4), 0xa4);
}

static void test_save_load(void **state)
{
	struct bench *b = *state;
	struct device *dev = &b->probe->fn.dev;
	struct device_blob blob;
	struct err err = {0};

	set_config(b, 0x14, 0xc0000000);
	set_config(b, 0x04, PCI_COMMAND_MEMORY);
	assert_int_equal(device_save(dev, &blob, &err), 0);
	device_reset_all(b->vm);
	assert_int_equal(device_load(dev, &blob, &err), 0);
	assert_int_equal(get(b, BUS_MMIO, 0xc0000004, 4), 0xa4);
	blob.data[PCI_DEVICE] ^= 1; /* another device's */
	assert_int_equal(device_load(dev, &blob, &err), -EINVAL);
	assert_int_equal(config(b, 0x00), 0x56781234);
	assert_int_equal(get(b, BUS_MMIO, 0xc0000004, 4), 0xa4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_address_port),
		TEST(test_bridge_by_ports),
		TEST(test_only_what_is_there),
		TEST(test_both_ways_are_one),
		TEST(test_reset_port),
		TEST(test_identity),
		TEST(test_write_masks),
		TEST(test_status_is_cleared_by_ones),
		TEST(test_bars_answer_where_they_are),
		TEST(test_bar_in_the_way),
		TEST(test_sizing_while_decoding),
		TEST(test_save_load),
	};
#undef TEST

	return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
