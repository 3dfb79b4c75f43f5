/* SPDX-License-Identifier: Apache-2.0 */
/* The 8259A pair: initialization, priorities, every kind of EOI, poll. */
#include "unit.h"

#include <string.h>

#include "vm_fixture.h"

enum { M0 = 0x20, M1 = 0x21, S0 = 0xa0, S1 = 0xa1, ELCR0 = 0x4d0, ELCR1 };

static int setup(void **state)
{
	struct vm *vm = fixture_vm(1);

	fixture_device(vm, "pic", NULL);
	*state = vm;
	return 0;
}

static int teardown(void **state)
{
	vm_destroy(*state);
	return 0;
}

static void line(struct vm *vm, unsigned n, bool level)
{
	irq_set(irq_line(&vm->irq, n), level);
}

static bool pending(struct vm *vm)
{
	return irq_extint_pending(&vm->irq);
}

static unsigned ack(struct vm *vm)
{
	assert_true(pending(vm));
	return irq_extint_ack(&vm->irq);
}

/* As PC systems do: vectors 0x30 and 0x38, everything unmasked. */
static void init(struct vm *vm, u8 master_icw4, u8 slave_icw4)
{
	fixture_outb(vm, M0, 0x11);
	fixture_outb(vm, M1, 0x33); /* low bits of ICW2 do not count */
	fixture_outb(vm, M1, 0x04);
	fixture_outb(vm, M1, master_icw4);
	fixture_outb(vm, S0, 0x11);
	fixture_outb(vm, S1, 0x38);
	fixture_outb(vm, S1, 0x02);
	fixture_outb(vm, S1, slave_icw4);
}

static u8 isr(struct vm *vm, u16 port)
{
	fixture_outb(vm, port, 0x0b);
	return fixture_inb(vm, port);
}

static u8 irr(struct vm *vm, u16 port)
{
	fixture_outb(vm, port, 0x0a);
	return fixture_inb(vm, port);
}

static void test_silent_before_init(void **state)
{
	struct vm *vm = *state;

	line(vm, 1, true);
	assert_false(pending(vm));
	/* Half-way through the words, too. */
	fixture_outb(vm, M0, 0x11);
	line(vm, 3, true);
	assert_false(pending(vm));
}

static void test_init(void **state)
{
	struct vm *vm = *state;

	line(vm, 1, true);
	fixture_outb(vm, M1, 0xa5);
	assert_int_equal(fixture_inb(vm, M1), 0xa5);
	init(vm, 1, 1);
	/* The mask is clear, an input that was high already is no edge. */
	assert_int_equal(fixture_inb(vm, M1), 0);
	assert_int_equal(fixture_inb(vm, M0), 0);
	assert_false(pending(vm));
	line(vm, 1, false);
	line(vm, 1, true);
	assert_int_equal(irr(vm, M0), 0x02);
	assert_int_equal(ack(vm), 0x31);
	assert_int_equal(isr(vm, M0), 0x02);
	assert_int_equal(irr(vm, M0), 0);
}

/* ICW1 without ICW4, and single mode without ICW3. */
static void test_short_init(void **state)
{
	struct vm *vm = *state;

	init(vm, 3, 1);
	fixture_outb(vm, M0, 0x10);
	fixture_outb(vm, M1, 0x40);
	assert_false(pending(vm));
	fixture_outb(vm, M1, 0x04);
	fixture_outb(vm, M1, 0xfb); /* now the mask */
	assert_int_equal(fixture_inb(vm, M1), 0xfb);
	fixture_outb(vm, M0, 0x13);
	fixture_outb(vm, M1, 0x48);
	fixture_outb(vm, M1, 0x01);
	line(vm, 5, true);
	assert_int_equal(ack(vm), 0x4d);
	/* ICW4 was cleared meanwhile: no automatic EOI. */
	assert_int_equal(isr(vm, M0), 0x20);
}

static void test_nesting(void **state)
{
	struct vm *vm = *state;

	init(vm, 1, 1);
	line(vm, 4, true);
	line(vm, 3, true);
	assert_int_equal(ack(vm), 0x33);
	assert_false(pending(vm));
	line(vm, 0, true);
	assert_int_equal(ack(vm), 0x30);
	assert_int_equal(isr(vm, M0), 0x09);
	fixture_outb(vm, M0, 0x20); /* ends 0 */
	assert_int_equal(isr(vm, M0), 0x08);
	assert_false(pending(vm));
	fixture_outb(vm, M0, 0x20);
	assert_int_equal(ack(vm), 0x34);
	fixture_outb(vm, M0, 0x63); /* specific, of another */
	assert_int_equal(isr(vm, M0), 0x10);
	fixture_outb(vm, M0, 0x64);
	assert_int_equal(isr(vm, M0), 0);
}

static void test_slave(void **state)
{
	struct vm *vm = *state;

	init(vm, 1, 1);
	line(vm, 12, true);
	assert_int_equal(irr(vm, M0), 0x04);
	assert_int_equal(ack(vm), 0x3c);
	assert_int_equal(isr(vm, M0), 0x04);
	assert_int_equal(isr(vm, S0), 0x10);
	/* IRQ 1 is above the cascade, 9 waits for the master's EOI. */
	line(vm, 9, true);
	assert_false(pending(vm));
	line(vm, 1, true);
	assert_int_equal(ack(vm), 0x31);
	fixture_outb(vm, M0, 0x20);
	fixture_outb(vm, M0, 0x20);
	assert_int_equal(ack(vm), 0x39);
	fixture_outb(vm, S0, 0x20);
	fixture_outb(vm, M0, 0x20);
	line(vm, 14, true);
	assert_false(pending(vm)); /* 12 is still in service */
	fixture_outb(vm, S0, 0x20);
	assert_int_equal(ack(vm), 0x3e);
}

/* Special fully nested: the slave may interrupt its own handler. */
static void test_special_nesting(void **state)
{
	struct vm *vm = *state;

	init(vm, 0x11, 0x11);
	line(vm, 12, true);
	assert_int_equal(ack(vm), 0x3c);
	line(vm, 14, true);
	assert_false(pending(vm));
	line(vm, 10, true);
	assert_int_equal(ack(vm), 0x3a);
	line(vm, 3, true);
	assert_false(pending(vm));
}

static void test_special_mask(void **state)
{
	struct vm *vm = *state;

	init(vm, 1, 1);
	line(vm, 3, true);
	assert_int_equal(ack(vm), 0x33);
	line(vm, 5, true);
	assert_false(pending(vm));
	fixture_outb(vm, M1, 0x08);
	assert_false(pending(vm));
	fixture_outb(vm, M0, 0x68);
	assert_int_equal(ack(vm), 0x35);
	/* Without a level an EOI passes by what is masked. */
	fixture_outb(vm, M0, 0x20);
	assert_int_equal(isr(vm, M0), 0x08);
	fixture_outb(vm, M0, 0x20);
	assert_int_equal(isr(vm, M0), 0x08);
	fixture_outb(vm, M0, 0x48);
	fixture_outb(vm, M0, 0x20);
	assert_int_equal(isr(vm, M0), 0);
}

static void test_rotation(void **state)
{
	struct vm *vm = *state;

	init(vm, 1, 1);
	line(vm, 1, true);
	line(vm, 4, true);
	line(vm, 6, true);
	assert_int_equal(ack(vm), 0x31);
	fixture_outb(vm, M0, 0xa0); /* EOI, and 1 is lowest now */
	line(vm, 1, false);
	line(vm, 1, true);
	assert_int_equal(ack(vm), 0x34);
	fixture_outb(vm, M0, 0xe4);
	assert_int_equal(ack(vm), 0x36);
	fixture_outb(vm, M0, 0x20);
	assert_int_equal(ack(vm), 0x31);
	fixture_outb(vm, M0, 0x20);
	/* Set priority: 5 lowest, so 6 before 0. */
	fixture_outb(vm, M0, 0xc5);
	line(vm, 0, true);
	line(vm, 6, false);
	line(vm, 6, true);
	assert_int_equal(ack(vm), 0x36);
}

static void test_auto_eoi(void **state)
{
	struct vm *vm = *state;

	init(vm, 3, 3);
	line(vm, 3, true);
	line(vm, 5, true);
	line(vm, 11, true);
	assert_int_equal(ack(vm), 0x3b);
	assert_int_equal(isr(vm, M0), 0);
	assert_int_equal(isr(vm, S0), 0);
	fixture_outb(vm, M0, 0x80); /* rotate in automatic EOI */
	assert_int_equal(ack(vm), 0x33);
	line(vm, 3, false);
	line(vm, 3, true);
	assert_int_equal(ack(vm), 0x35);
	assert_int_equal(ack(vm), 0x33);
	assert_false(pending(vm));
	fixture_outb(vm, M0, 0x00);
}

/* Two of the slave's with automatic EOI: INT must fall in between. */
static void test_auto_eoi_slave_twice(void **state)
{
	struct vm *vm = *state;

	init(vm, 3, 3);
	line(vm, 12, true);
	line(vm, 13, true);
	assert_int_equal(ack(vm), 0x3c);
	assert_int_equal(ack(vm), 0x3d);
	assert_false(pending(vm));
}

static void test_spurious(void **state)
{
	struct vm *vm = *state;

	init(vm, 1, 1);
	line(vm, 3, true);
	line(vm, 3, false);
	assert_false(pending(vm));
	assert_int_equal(irq_extint_ack(&vm->irq), 0x37);
	assert_int_equal(isr(vm, M0), 0);
	/* Withdrawn by the mask. */
	line(vm, 3, true);
	assert_true(pending(vm));
	fixture_outb(vm, M1, 0xff);
	assert_int_equal(irq_extint_ack(&vm->irq), 0x37);
	fixture_outb(vm, M1, 0);
	assert_int_equal(ack(vm), 0x33);
}

static void test_pulse(void **state)
{
	struct vm *vm = *state;

	init(vm, 1, 1);
	irq_pulse(irq_line(&vm->irq, 8));
	assert_int_equal(ack(vm), 0x38);
	assert_false(pending(vm));
	fixture_outb(vm, S0, 0x20);
	fixture_outb(vm, M0, 0x20);
	irq_pulse(irq_line(&vm->irq, 8));
	assert_int_equal(ack(vm), 0x38);
}

static void test_level(void **state)
{
	struct vm *vm = *state;

	init(vm, 1, 1);
	fixture_outb(vm, ELCR0, 0xff);
	fixture_outb(vm, ELCR1, 0xff);
	assert_int_equal(fixture_inb(vm, ELCR0), 0xf8);
	assert_int_equal(fixture_inb(vm, ELCR1), 0xde);
	line(vm, 10, true);
	assert_int_equal(ack(vm), 0x3a);
	fixture_outb(vm, S0, 0x20);
	fixture_outb(vm, M0, 0x20);
	assert_int_equal(ack(vm), 0x3a);
	line(vm, 10, false);
	fixture_outb(vm, S0, 0x20);
	fixture_outb(vm, M0, 0x20);
	assert_false(pending(vm));
	/* An input that is high when it becomes level-triggered. */
	fixture_outb(vm, ELCR0, 0);
	line(vm, 5, true);
	assert_int_equal(ack(vm), 0x35);
	fixture_outb(vm, M0, 0x20);
	assert_false(pending(vm));
	fixture_outb(vm, ELCR0, 0x20);
	assert_int_equal(ack(vm), 0x35);
}

static void test_poll(void **state)
{
	struct vm *vm = *state;

	init(vm, 1, 1);
	fixture_outb(vm, M0, 0x0c);
	assert_int_equal(fixture_inb(vm, M0), 0);
	line(vm, 4, true);
	fixture_outb(vm, M0, 0x0c);
	assert_int_equal(fixture_inb(vm, M1), 0x84);
	assert_false(pending(vm));
	assert_int_equal(isr(vm, M0), 0x10);
	assert_int_equal(fixture_inb(vm, M1), 0); /* the mask again */
	fixture_outb(vm, M0, 0x20);
	line(vm, 15, true);
	fixture_outb(vm, M0, 0x0c);
	assert_int_equal(fixture_inb(vm, M0), 0x82);
	fixture_outb(vm, S0, 0x0c);
	assert_int_equal(fixture_inb(vm, S0), 0x87);
	assert_int_equal(isr(vm, S0), 0x80);
}

/* The cascade and what is beyond the pins lead nowhere. */
static void test_no_line(void **state)
{
	struct vm *vm = *state;

	init(vm, 1, 1);
	line(vm, 2, true);
	line(vm, 24, true);
	irq_set((struct irq_line){0}, true);
	assert_false(pending(vm));
	assert_int_equal(irr(vm, M0), 0);
}

/* INTR's rise makes the vCPU look whose LINT0 takes it. */
static void test_notify(void **state)
{
	struct vm *vm = *state;

	init(vm, 1, 1);
	lapic_virtual_wire(&vm->vcpus[0]->lapic);
	fixture_events(vm, 0);
	line(vm, 4, true);
	assert_int_equal(fixture_events(vm, 0), VCPU_EV_INTR);
	line(vm, 3, true); /* INTR is up already */
	assert_int_equal(fixture_events(vm, 0), 0);
	assert_int_equal(ack(vm), 0x33);
	fixture_outb(vm, M0, 0x20);
	assert_int_equal(fixture_events(vm, 0), VCPU_EV_INTR);
}

static void test_save(void **state)
{
	struct vm *vm = *state;
	struct device *dev = device_find(vm, "pic0");
	struct device_blob blob;
	struct err err = {0};

	init(vm, 1, 1);
	line(vm, 12, true);
	assert_int_equal(device_save(dev, &blob, &err), 0);
	assert_int_equal(ack(vm), 0x3c);
	assert_int_equal(device_load(dev, &blob, &err), 0);
	assert_int_equal(ack(vm), 0x3c);
	blob.data[9] = 200;
	assert_int_not_equal(device_load(dev, &blob, &err), 0);
}

/* ---- One chip against a model written another way ---- */

struct model {
	u8 order[8]; /* inputs, highest priority first */
	bool irr[8], isr[8], imr[8], lines[8];
	bool smm, aeoi, rotate;
};

static void model_lowest(struct model *m, unsigned n)
{
	unsigned i;

	for (i = 0; i < 8; i++)
		m->order[i] = (n + 1 + i) % 8;
}

static int model_top(const struct model *m)
{
	unsigned i, n;

	for (i = 0; i < 8; i++) {
		n = m->order[i];
		if (m->isr[n] && !(m->smm && m->imr[n]))
			return -1;
		if (m->irr[n] && !m->imr[n])
			return n;
	}
	return -1;
}

static int model_eoi_target(const struct model *m)
{
	unsigned i, n;

	for (i = 0; i < 8; i++) {
		n = m->order[i];
		if (m->isr[n] && !(m->smm && m->imr[n]))
			return n;
	}
	return -1;
}

static void model_ack(struct model *m, unsigned n)
{
	m->irr[n] = false;
	m->isr[n] = !m->aeoi;
	if (m->aeoi && m->rotate)
		model_lowest(m, n);
}

static void model_ocw2(struct model *m, u8 val)
{
	unsigned command = val >> 5;
	int n = val & 7;

	if (command == 0 || command == 4)
		m->rotate = command == 4;
	if (command == 1 || command == 5)
		n = model_eoi_target(m);
	if ((command & 1) && n >= 0)
		m->isr[n] = false;
	if (command >= 5 && n >= 0)
		model_lowest(m, n);
}

static u8 bits(const bool *set)
{
	u8 val = 0;
	unsigned i;

	for (i = 0; i < 8; i++)
		val |= set[i] << i;
	return val;
}

static void random_step(struct vm *vm, struct model *m, u32 r)
{
	unsigned n = r % 8, i;
	u8 val = r >> 16;
	int top;

	switch (r >> 8 & 7) {
	case 0: /* an edge up, or down */
	case 1:
		if (n == 2)
			break;
		line(vm, n, !m->lines[n]);
		m->lines[n] = !m->lines[n];
		m->irr[n] = m->lines[n];
		break;
	case 2:
		fixture_outb(vm, M1, val);
		for (i = 0; i < 8; i++)
			m->imr[i] = val >> i & 1;
		break;
	case 3:
		fixture_outb(vm, M0, 0x48 | (val & 0x20));
		m->smm = val & 0x20;
		break;
	case 4:
	case 5:
		val &= 0xe7;
		fixture_outb(vm, M0, val);
		model_ocw2(m, val);
		break;
	default:
		top = model_top(m);
		if (top < 0)
			break;
		assert_int_equal(ack(vm), 0x30 + top);
		model_ack(m, top);
		break;
	}
}

static void test_model(void **state)
{
	struct vm *vm = *state;
	struct model m;
	u32 seed = 12345;
	unsigned i, round;

	for (round = 0; round < 40; round++) {
		memset(&m, 0, sizeof(m));
		for (i = 0; i < 8; i++)
			line(vm, i, false);
		init(vm, round & 1 ? 3 : 1, 1);
		fixture_outb(vm, S1, 0xff);
		m.aeoi = round & 1;
		model_lowest(&m, 7);
		for (i = 0; i < 2000; i++) {
			random_step(vm, &m, fixture_random(&seed));
			assert_int_equal(pending(vm), model_top(&m) >= 0);
			assert_int_equal(irr(vm, M0), bits(m.irr));
			assert_int_equal(isr(vm, M0), bits(m.isr));
		}
	}
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_silent_before_init),
		CASE(test_init),
		CASE(test_short_init),
		CASE(test_nesting),
		CASE(test_slave),
		CASE(test_special_nesting),
		CASE(test_special_mask),
		CASE(test_rotation),
		CASE(test_auto_eoi),
		CASE(test_auto_eoi_slave_twice),
		CASE(test_spurious),
		CASE(test_pulse),
		CASE(test_level),
		CASE(test_poll),
		CASE(test_no_line),
		CASE(test_notify),
		CASE(test_save),
		CASE(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
