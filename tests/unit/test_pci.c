/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI: both ways to configuration space, the header, BARs, the interrupt pin
 * and MSI-X of a function that exists only here, after [1] PCI Local Bus 3.0
 * chapter 6.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "arch/platform.h"
#include "vm_fixture.h"
#include "vmm/msix.h"

enum { ADDRESS = 0xcf8, DATA = 0xcfc };
enum { ABSENT = 0xffffffff };

/* ---- a function with every kind of BAR, at 0:3.1 ---- */

struct probe {
	struct pci_function fn;
	struct msix msix;
	/* regs */
	struct probe_regs {
		u8 space[PCI_CONFIG_SIZE];
		struct msix_regs msix;
	} regs;
	/* host */
	u64 last_off, last_val;
};

static struct probe *to_probe(struct device *dev)
{
	return container_of(dev, struct probe, fn.dev);
}

static u64 probe_read(struct device *dev, u64 off, unsigned width)
{
	return 0xa0 + off;
}

static void probe_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct probe *probe = to_probe(dev);

	probe->last_off = off;
	probe->last_val = val;
}

static u64 probe_msix_read(struct device *dev, u64 off, unsigned width)
{
	return msix_bar_read(&to_probe(dev)->msix, off, width);
}

static void probe_msix_write(struct device *dev, u64 off, unsigned width,
			     u64 val)
{
	msix_bar_write(&to_probe(dev)->msix, off, width, val);
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
	{0},
	{.kind = PCI_BAR_MEM32,
	 .name = "msix",
	 .size = MSIX_BAR_SIZE,
	 .widths = MSIX_BAR_WIDTHS,
	 .read = probe_msix_read,
	 .write = probe_msix_write},
};
#undef CALLS

/* A capability of our own, 0x09: a counter of its reads, a byte to write. */
enum { VENDOR_CAP = 0x40, MSIX_CAP = 0x4c, VECTORS = 5 };

static void probe_reading(struct pci_function *fn, u64 off, unsigned width)
{
	if (pci_touches(off, width, VENDOR_CAP + 4, 1))
		fn->space[VENDOR_CAP + 4]++;
}

static void probe_written(struct pci_function *fn, u64 off, unsigned width)
{
	msix_config_written(&to_probe(&fn->dev)->msix, off, width);
}

static const struct pci_config_ops probe_config = {
	.reading = probe_reading,
	.written = probe_written,
};

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
	static const u8 body[] = {9, 0, 0, 0xcc, 0, 0, 0xdd, 0xee};
	struct probe *probe = to_probe(dev);
	u8 at;

	probe->fn.ident = &probe_ident;
	probe->fn.bars = probe_bars;
	probe->fn.ops = &probe_config;
	probe->fn.bdf = PCI_BDF(0, 3, 1);
	probe->fn.space = probe->regs.space;
	probe->msix.regs = &probe->regs.msix;
	at = pci_add_capability(&probe->fn, 9, body, 2 + sizeof(body));
	assert_int_equal(at, VENDOR_CAP);
	probe->fn.writable[at + 4] = 0xff; /* the counter is saved, too */
	probe->fn.writable[at + 5] = 0x0f;
	msix_add(&probe->msix, &probe->fn, 4, VECTORS);
	assert_int_equal(probe->msix.capability, MSIX_CAP);
	return pci_function_plug(&probe->fn, err);
}

static void probe_reset(struct device *dev)
{
	pci_function_reset(&to_probe(dev)->fn);
	msix_reset(&to_probe(dev)->msix);
}

static int probe_loaded(struct device *dev, struct err *err)
{
	int ret = pci_function_loaded(&to_probe(dev)->fn, err);

	return ret ? ret : msix_loaded(&to_probe(dev)->msix, err);
}

static const struct device_type probe_type = {
	.name = "probe",
	.size = sizeof(struct probe),
	.save_version = 1,
	.regs_offset = offsetof(struct probe, regs),
	.regs_size = sizeof(struct probe_regs),
	.create = probe_create,
	.reset = probe_reset,
	.loaded = probe_loaded,
};
DEVICE_TYPE(probe_type);

/* ---- bench ---- */

enum { GSI = 16 + 3 }; /* slot 3 */

struct bench {
	struct vm *vm;
	struct probe *probe;
	bool level;
	unsigned messages;
	u64 addr;
	u32 data;
};

static void record_set(void *arg, unsigned gsi, bool level)
{
	assert_int_equal(gsi, GSI);
	((struct bench *)arg)->level = level;
}

static int record_msi(void *arg, u64 addr, u32 data)
{
	struct bench *b = arg;

	b->messages++;
	b->addr = addr;
	b->data = data;
	return 0;
}

static const struct irq_engine_ops record_ops = {
	.set = record_set,
	.msi = record_msi,
};

static int setup(void **state)
{
	static struct bench b;

	b = (struct bench){.vm = fixture_vm(1)};
	b.vm->irq.engine = &record_ops;
	b.vm->irq.engine_vm = &b;
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
		if (reg == VENDOR_CAP + 4)
			continue; /* counts */
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
	assert_int_equal(config(b, 0x04), 0x00100000); /* capabilities */
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
		{0x04, 0x00100547, 0x00100000},
		{0x08, 0xff112207, 0xff112207},
		{0x0c, 0x000000ff, 0},
		{0x10, 0xfffffff1, 1},
		{0x14, 0xfffff000, 0},
		{0x18, 0x0000000c, 0x0000000c}, /* 8 GiB: all of the low half */
		{0x1c, 0xfffffffe, 0},
		{0x20, 0xfffff000, 0},
		{0x24, 0, 0},
		{0x28, 0, 0},
		{0x2c, 0xbbbbaaaa, 0xbbbbaaaa},
		{0x30, 0, 0}, /* no ROM */
		{0x34, 0x40, 0x40},
		{0x38, 0, 0},
		{0x3c, 0x000001ff, 0x00000100},
		{0x40, 0x00094c09, 0x00094c09},
		{0x48, 0x0000eedd, 0x0000eedd},
		{0x4c, 0xc0040011, 0x00040011}, /* 5 vectors */
		{0x50, 4, 4},			/* the table at 0 of BAR 4 */
		{0x54, 0x804, 0x804},		/* pending bits at 0x800 */
		{0x58, 0, 0},
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

	b->probe->regs.space[PCI_STATUS + 1] = 0xf9;
	put(b, BUS_MMIO, ecam(PCI_STATUS), 2, 0x4000);
	assert_int_equal(get(b, BUS_MMIO, ecam(PCI_STATUS), 2), 0xb910);
	put(b, BUS_MMIO, ecam(PCI_STATUS), 2, 0xffff);
	assert_int_equal(get(b, BUS_MMIO, ecam(PCI_STATUS), 2), 0x0010);
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

/* ---- capabilities, interrupts ---- */

static void test_config_callbacks(void **state)
{
	struct bench *b = *state;

	assert_int_equal(get(b, BUS_MMIO, ecam(VENDOR_CAP + 5), 1), 0xcc);
	assert_int_equal(get(b, BUS_MMIO, ecam(VENDOR_CAP + 4), 1), 1);
	assert_int_equal(get(b, BUS_MMIO, ecam(VENDOR_CAP + 4), 2), 0xcc02);
	put(b, BUS_MMIO, ecam(VENDOR_CAP + 5), 1, 0x33);
	assert_int_equal(get(b, BUS_MMIO, ecam(VENDOR_CAP + 5), 1), 0xc3);
}

static void test_pin(void **state)
{
	struct bench *b = *state;

	pci_set_intx(&b->probe->fn, true);
	assert_true(b->level);
	assert_int_equal(get(b, BUS_MMIO, ecam(PCI_STATUS), 2), 0x0018);
	/* Silenced, it still says so. */
	set_config(b, 0x04, PCI_COMMAND_INTX_OFF);
	assert_false(b->level);
	assert_int_equal(get(b, BUS_MMIO, ecam(PCI_STATUS), 2), 0x0018);
	set_config(b, 0x04, 0);
	assert_true(b->level);
	pci_set_intx(&b->probe->fn, false);
	assert_false(b->level);
	assert_int_equal(get(b, BUS_MMIO, ecam(PCI_STATUS), 2), 0x0010);
}

static void test_pin_is_shared(void **state)
{
	struct bench *b = *state;
	struct irq_line other = irq_line_shared(&b->vm->irq, GSI);

	irq_set(other, true);
	pci_set_intx(&b->probe->fn, true);
	irq_set(other, false);
	assert_true(b->level);
	device_reset_all(b->vm);
	assert_false(b->level);
	for (unsigned i = 2; i < IRQ_SOURCES; i++)
		assert_non_null(irq_line_shared(&b->vm->irq, GSI).router);
	assert_null(irq_line_shared(&b->vm->irq, GSI).router);
}

/* Table at 0xc0000000; on, with entry i as {0xfee00000 + 16 * i, 0x40 + i}. */
static u64 entry(unsigned i)
{
	return 0xc0000000 + 16 * i;
}

static void msix_start(struct bench *b)
{
	set_config(b, 0x20, 0xc0000000);
	set_config(b, 0x04, PCI_COMMAND_MEMORY);
	for (unsigned i = 0; i < VECTORS; i++) {
		put(b, BUS_MMIO, entry(i), 4, 0xfee00000 + 16 * i);
		put(b, BUS_MMIO, entry(i) + 8, 4, 0x40 + i);
		put(b, BUS_MMIO, entry(i) + 12, 4, 0);
	}
	put(b, BUS_MMIO, ecam(MSIX_CAP + 2), 2, 0x8000);
}

static void test_msix_registers(void **state)
{
	struct bench *b = *state;

	set_config(b, 0x20, 0xc0000000);
	set_config(b, 0x04, PCI_COMMAND_MEMORY);
	for (unsigned i = 0; i < VECTORS; i++)
		assert_int_equal(get(b, BUS_MMIO, entry(i) + 12, 4), 1);
	for (unsigned i = 0; i < 8; i++)
		for (unsigned j = 0; j < 16; j += 4)
			put(b, BUS_MMIO, entry(i) + j, 4, ABSENT);
	for (unsigned i = 0; i < VECTORS; i++) {
		assert_int_equal(get(b, BUS_MMIO, entry(i), 4), 0xfffffffc);
		assert_int_equal(get(b, BUS_MMIO, entry(i) + 4, 4), ABSENT);
		assert_int_equal(get(b, BUS_MMIO, entry(i) + 8, 4), ABSENT);
		assert_int_equal(get(b, BUS_MMIO, entry(i) + 12, 4), 1);
	}
	/* Across two of them, which one would be checked? */
	for (unsigned j = 1; j < 16; j++)
		if (j % 4)
			put(b, BUS_MMIO, entry(1) + j, 4, 0x12345677);
	assert_int_equal(get(b, BUS_MMIO, entry(1) + 12, 4), 1);
	assert_int_equal(get(b, BUS_MMIO, entry(2), 4), 0xfffffffc);
	/* Not there: behind the last entry, the pending bits' own. */
	assert_int_equal(get(b, BUS_MMIO, entry(VECTORS), 4), 0);
	put(b, BUS_MMIO, 0xc0000800, 4, ABSENT);
	assert_int_equal(get(b, BUS_MMIO, 0xc0000800, 4), 0);
	/* Bytes and words are not for it. */
	assert_int_equal(get(b, BUS_MMIO, entry(0), 1), 0xff);
}

static void test_msix_sends(void **state)
{
	struct bench *b = *state;

	/* Off: nothing, and nothing to come. */
	msix_raise(&b->probe->msix, 2);
	msix_start(b);
	assert_int_equal(b->messages, 0);
	msix_raise(&b->probe->msix, 2);
	assert_int_equal(b->messages, 1);
	assert_true(b->addr == 0xfee00020 && b->data == 0x42);
	msix_raise(&b->probe->msix, VECTORS);
	msix_raise(&b->probe->msix, 0xffff);
	assert_int_equal(b->messages, 1);
}

static void test_msix_masks(void **state)
{
	struct bench *b = *state;

	msix_start(b);
	put(b, BUS_MMIO, entry(1) + 12, 4, 1);
	msix_raise(&b->probe->msix, 1);
	msix_raise(&b->probe->msix, 1);
	assert_int_equal(b->messages, 0);
	assert_int_equal(get(b, BUS_MMIO, 0xc0000800, 4), 2);
	put(b, BUS_MMIO, entry(1) + 12, 4, 0);
	assert_int_equal(b->messages, 1);
	assert_int_equal(b->data, 0x41);
	assert_int_equal(get(b, BUS_MMIO, 0xc0000800, 4), 0);
	/* All at once, and one of them by its own mask as well. */
	put(b, BUS_MMIO, ecam(MSIX_CAP + 2), 2, 0xc000);
	put(b, BUS_MMIO, entry(3) + 12, 4, 1);
	msix_raise(&b->probe->msix, 3);
	msix_raise(&b->probe->msix, 4);
	assert_int_equal(get(b, BUS_MMIO, 0xc0000800, 4), 0x18);
	put(b, BUS_MMIO, ecam(MSIX_CAP + 2), 2, 0x8000);
	assert_int_equal(b->messages, 2);
	assert_int_equal(b->data, 0x44);
	assert_int_equal(get(b, BUS_MMIO, 0xc0000800, 4), 8);
}

static void test_msix_saved(void **state)
{
	struct bench *b = *state;
	struct device *dev = &b->probe->fn.dev;
	struct probe_regs *saved;
	struct device_blob blob;
	struct err err = {0};

	msix_start(b);
	put(b, BUS_MMIO, entry(1) + 12, 4, 1);
	msix_raise(&b->probe->msix, 1);
	assert_int_equal(device_save(dev, &blob, &err), 0);
	device_reset_all(b->vm);
	assert_int_equal(device_load(dev, &blob, &err), 0);
	put(b, BUS_MMIO, entry(1) + 12, 4, 0);
	assert_int_equal(b->messages, 1);
	saved = (void *)blob.data;
	saved->msix.pending = BIT(VECTORS);
	assert_int_equal(device_load(dev, &blob, &err), -EINVAL);
	saved->msix.pending = 0;
	saved->msix.table[VECTORS].data = 1;
	assert_int_equal(device_load(dev, &blob, &err), -EINVAL);
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
		TEST(test_config_callbacks),
		TEST(test_pin),
		TEST(test_pin_is_shared),
		TEST(test_msix_registers),
		TEST(test_msix_sends),
		TEST(test_msix_masks),
		TEST(test_msix_saved),
	};
#undef TEST

	return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
