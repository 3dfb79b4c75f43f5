/* SPDX-License-Identifier: Apache-2.0 */
/* The IOAPIC: registers, edges, levels with remote IRR, destinations. */
#include "unit.h"

#include "vm_fixture.h"

#define BASE 0xfec00000ull

enum { LEVEL = 1 << 15, MASKED = 1 << 16, LOGICAL = 1 << 11, RIRR = 1 << 14 };

static void write_reg(struct vm *vm, u32 index, u32 val)
{
	fixture_write32(vm, BASE, index);
	fixture_write32(vm, BASE + 0x10, val);
}

static u32 read_reg(struct vm *vm, u32 index)
{
	fixture_write32(vm, BASE, index);
	return fixture_read32(vm, BASE + 0x10);
}

static void entry(struct vm *vm, unsigned pin, u32 low, u8 dest)
{
	write_reg(vm, 0x11 + 2 * pin, (u32)dest << 24);
	write_reg(vm, 0x10 + 2 * pin, low);
}

static u32 entry_low(struct vm *vm, unsigned pin)
{
	return read_reg(vm, 0x10 + 2 * pin);
}

static struct lapic *lapic(struct vm *vm, unsigned id)
{
	return &vm->vcpus[id]->lapic;
}

static int pending(struct vm *vm, unsigned id)
{
	return lapic_pending(lapic(vm, id));
}

static void line(struct vm *vm, unsigned n, bool level)
{
	irq_set(irq_line(&vm->irq, n), level);
}

static int setup(void **state)
{
	struct vm *vm = fixture_vm(3);
	unsigned i;

	fixture_device(vm, "ioapic", "apic-id=5");
	for (i = 0; i < 3; i++) {
		lapic_mmio_write(lapic(vm, i), 0xf0, 0x1ff);
		lapic_mmio_write(lapic(vm, i), 0xd0, 1u << (24 + i));
	}
	*state = vm;
	return 0;
}

static int teardown(void **state)
{
	vm_destroy(*state);
	return 0;
}

static void test_registers(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(read_reg(vm, 0), 0x05000000);
	write_reg(vm, 0, 0xffffffff);
	assert_int_equal(read_reg(vm, 0), 0x0f000000);
	assert_int_equal(read_reg(vm, 1), 0x00170020);
	write_reg(vm, 1, 0);
	assert_int_equal(read_reg(vm, 1), 0x00170020);
	assert_int_equal(read_reg(vm, 0x10), MASKED);
	assert_int_equal(read_reg(vm, 0x3f), 0);
	write_reg(vm, 0x3f, 0xffffffff);
	assert_int_equal(read_reg(vm, 0x3f), 0xff000000);
	write_reg(vm, 0x3e, 0xffffffff);
	assert_int_equal(read_reg(vm, 0x3e), 0x1afff);
	assert_int_equal(read_reg(vm, 0x40), 0xffffffff);
	assert_int_equal(fixture_read32(vm, BASE), 0x40);
	write_reg(vm, 0xff, 0);
	/* Other widths are nobody's. */
	assert_int_equal(read_reg(vm, 1), 0x00170020);
	u8 byte = 0;
	bus_read(&vm->bus, BUS_MMIO, BASE + 0x10, 1, 1, &byte);
	assert_int_equal(byte, 0xff);
}

static void test_edge(void **state)
{
	struct vm *vm = *state;

	/* Lost while masked, and no edge afterwards. */
	line(vm, 4, true);
	entry(vm, 4, 0x44, 0);
	assert_int_equal(pending(vm, 0), -1);
	line(vm, 4, false);
	line(vm, 4, true);
	assert_int_equal(pending(vm, 0), 0x44);
	lapic_ack(lapic(vm, 0), 0x44);
	line(vm, 4, true);
	assert_int_equal(pending(vm, 0), -1);
	lapic_eoi(lapic(vm, 0));
	assert_int_equal(pending(vm, 0), -1);
	irq_pulse(irq_line(&vm->irq, 4));
	assert_int_equal(pending(vm, 0), 0x44);
	assert_int_equal(entry_low(vm, 4), 0x44);
}

/* ISA IRQ 0 is pin 2. */
static void test_override(void **state)
{
	struct vm *vm = *state;

	entry(vm, 0, 0x50, 0);
	entry(vm, 2, 0x52, 0);
	irq_pulse(irq_line(&vm->irq, 0));
	assert_int_equal(pending(vm, 0), 0x52);
	lapic_ack(lapic(vm, 0), 0x52);
	lapic_eoi(lapic(vm, 0));
	irq_pulse(irq_line(&vm->irq, 2));
	assert_int_equal(pending(vm, 0), -1);
}

static void test_level(void **state)
{
	struct vm *vm = *state;

	entry(vm, 20, LEVEL | 0x61, 1);
	line(vm, 20, true);
	assert_int_equal(pending(vm, 1), 0x61);
	assert_int_equal(entry_low(vm, 20), LEVEL | RIRR | 0x61);
	lapic_ack(lapic(vm, 1), 0x61);
	/* One message only, however the line moves. */
	line(vm, 20, false);
	line(vm, 20, true);
	assert_int_equal(pending(vm, 1), -1);
	lapic_eoi(lapic(vm, 1)); /* still high: again */
	assert_int_equal(pending(vm, 1), 0x61);
	lapic_ack(lapic(vm, 1), 0x61);
	line(vm, 20, false);
	lapic_eoi(lapic(vm, 1));
	assert_int_equal(pending(vm, 1), -1);
	assert_int_equal(entry_low(vm, 20), LEVEL | 0x61);
}

static void test_level_mask(void **state)
{
	struct vm *vm = *state;

	entry(vm, 20, LEVEL | MASKED | 0x61, 1);
	line(vm, 20, true);
	assert_int_equal(pending(vm, 1), -1);
	entry(vm, 20, LEVEL | 0x61, 1);
	assert_int_equal(pending(vm, 1), 0x61);
	lapic_ack(lapic(vm, 1), 0x61);
	entry(vm, 20, LEVEL | MASKED | 0x61, 1);
	lapic_eoi(lapic(vm, 1));
	assert_int_equal(pending(vm, 1), -1);
	assert_int_equal(entry_low(vm, 20), LEVEL | MASKED | 0x61);
	/* Remote IRR goes with the detour over edge mode. */
	entry(vm, 20, LEVEL | 0x61, 1);
	assert_true(entry_low(vm, 20) & RIRR);
	entry(vm, 20, MASKED | 0x61, 1);
	assert_false(entry_low(vm, 20) & RIRR);
	/* It cannot be written. */
	entry(vm, 20, LEVEL | MASKED | RIRR | 0x61, 1);
	assert_false(entry_low(vm, 20) & RIRR);
}

/* EOI register, and LAPICs told not to broadcast. */
static void test_directed_eoi(void **state)
{
	struct vm *vm = *state;

	lapic_mmio_write(lapic(vm, 1), 0xf0, 0x11ff);
	entry(vm, 20, LEVEL | 0x61, 1);
	line(vm, 20, true);
	lapic_ack(lapic(vm, 1), 0x61);
	line(vm, 20, false);
	lapic_eoi(lapic(vm, 1));
	assert_true(entry_low(vm, 20) & RIRR);
	fixture_write32(vm, BASE + 0x40, 0x62);
	assert_true(entry_low(vm, 20) & RIRR);
	fixture_write32(vm, BASE + 0x40, 0x61);
	assert_false(entry_low(vm, 20) & RIRR);
	/* An edge's EOI is no broadcast. */
	entry(vm, 21, LEVEL | 0x61, 0);
	line(vm, 21, true);
	entry(vm, 5, 0x71, 2);
	irq_pulse(irq_line(&vm->irq, 5));
	lapic_ack(lapic(vm, 2), 0x71);
	lapic_eoi(lapic(vm, 2));
	assert_true(entry_low(vm, 21) & RIRR);
}

static void test_destinations(void **state)
{
	struct vm *vm = *state;
	u32 seen;

	entry(vm, 3, LOGICAL | 0x33, 0x05);
	irq_pulse(irq_line(&vm->irq, 3));
	assert_int_equal(pending(vm, 0), 0x33);
	assert_int_equal(pending(vm, 1), -1);
	assert_int_equal(pending(vm, 2), 0x33);
	/* Lowest priority: one of them, with the lowest TPR. */
	lapic_set_cr8(lapic(vm, 0), 4);
	lapic_set_cr8(lapic(vm, 2), 4);
	entry(vm, 6, LOGICAL | 1 << 8 | 0x66, 0x07);
	irq_pulse(irq_line(&vm->irq, 6));
	seen = (pending(vm, 0) == 0x66) | (pending(vm, 1) == 0x66) << 1 |
	       (pending(vm, 2) == 0x66) << 2;
	assert_int_equal(seen, 2);
	entry(vm, 7, 4 << 8, 2);
	fixture_events(vm, 2);
	irq_pulse(irq_line(&vm->irq, 7));
	assert_int_equal(fixture_events(vm, 2), VCPU_EV_NMI);
	/* Nobody there. */
	entry(vm, 8, 0x88, 9);
	irq_pulse(irq_line(&vm->irq, 8));
}

/* Nobody takes it: the line is asked again later. */
static void test_refused(void **state)
{
	struct vm *vm = *state;

	entry(vm, 20, LEVEL | 0x61, 9);
	line(vm, 20, true);
	assert_int_equal(entry_low(vm, 20), LEVEL | 1 << 12 | 0x61);
	write_reg(vm, 0x11 + 40, 2u << 24);
	assert_int_equal(entry_low(vm, 20), LEVEL | RIRR | 0x61);
	assert_int_equal(pending(vm, 2), 0x61);
}

static void test_options(void **state)
{
	struct vm *vm = *state;
	struct err err = {0};

	assert_null(
		device_add(vm, "ioapic", "apic-id=16,base=0xfec10000", &err));
	err = (struct err){0};
	assert_null(device_add(vm, "ioapic", NULL, &err)); /* taken */
	/* The first is still connected. */
	entry(vm, 4, 0x44, 0);
	irq_pulse(irq_line(&vm->irq, 4));
	assert_int_equal(pending(vm, 0), 0x44);
}

static void test_save(void **state)
{
	struct vm *vm = *state;
	struct device *dev = device_find(vm, "ioapic0");
	struct device_blob blob;
	struct err err = {0};

	entry(vm, 20, LEVEL | 0x61, 1);
	line(vm, 20, true);
	assert_int_equal(device_save(dev, &blob, &err), 0);
	device_reset_all(vm);
	assert_int_equal(entry_low(vm, 20), MASKED);
	assert_int_equal(device_load(dev, &blob, &err), 0);
	assert_int_equal(entry_low(vm, 20), LEVEL | RIRR | 0x61);
	lapic_ack(lapic(vm, 1), 0x61);
	lapic_eoi(lapic(vm, 1));
	assert_int_equal(pending(vm, 1), 0x61);
	blob.data[16 + 3] = 0xff;
	assert_int_not_equal(device_load(dev, &blob, &err), 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_registers),	 CASE(test_edge),
		CASE(test_override),	 CASE(test_level),
		CASE(test_level_mask),	 CASE(test_directed_eoi),
		CASE(test_destinations), CASE(test_refused),
		CASE(test_options),	 CASE(test_save),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
