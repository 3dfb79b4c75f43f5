/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI fixed hardware, after [1] ACPI 6.5 section 4.8. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "arch/platform.h"
#include "chips/acpi_pm.h"
#include "irq_record.h"
#include "vm_fixture.h"

enum { STATUS = PLAT_PM_EVT, ENABLE = PLAT_PM_EVT + 2, CONTROL = PLAT_PM_CNT };
enum { TMR = 0x0001, PWRBTN = 0x0100, SLP_EN = 0x2000 };

struct bench {
	struct vm *vm;
	struct device *dev;
	struct irq_record irq;
};

static int setup(void **state)
{
	static struct bench b;

	b = (struct bench){.vm = fixture_vm(1)};
	irq_record_attach(&b.irq, &b.vm->irq);
	b.dev = fixture_device(b.vm, "acpi-pm", NULL);
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	vm_destroy(((struct bench *)*state)->vm);
	return 0;
}

static u32 get(struct bench *b, unsigned port, unsigned width)
{
	u32 val = 0;

	bus_read(&b->vm->bus, BUS_PIO, port, width, 1, &val);
	return val;
}

static void put(struct bench *b, unsigned port, unsigned width, u32 val)
{
	bus_write(&b->vm->bus, BUS_PIO, port, width, 1, &val);
}

static bool sci(struct bench *b)
{
	return b->irq.level[PLAT_ACPI_SCI];
}

static void test_timer_counts(void **state)
{
	struct bench *b = *state;

	assert_int_equal(get(b, PLAT_PM_TMR, 4), 0);
	fixture_time(b->vm, NS_PER_SEC);
	assert_int_equal(get(b, PLAT_PM_TMR, 4), 3579545);
	fixture_time(b->vm, 60 * NS_PER_SEC + NS_PER_SEC / 2);
	assert_int_equal(get(b, PLAT_PM_TMR, 4), 3579545 * 60 + 3579545 / 2);
	/* 32 bits, and exact after years: no product overflows on the way. */
	fixture_time(b->vm, 100000000 * NS_PER_SEC);
	assert_int_equal(get(b, PLAT_PM_TMR, 4), (u32)(100000000ull * 3579545));
	put(b, PLAT_PM_TMR, 4, 0);
	assert_int_not_equal(get(b, PLAT_PM_TMR, 4), 0);
}

/* [1] 4.8.2.1: TMR_STS is set each time the most significant bit changes. */
static void test_timer_carry(void **state)
{
	struct bench *b = *state;
	const u64 carry_ns = ((1ull << 31) * NS_PER_SEC + 3579544) / 3579545;

	assert_int_equal(b->vm->timers.count, 0);
	fixture_time(b->vm, carry_ns - 1000);
	assert_int_equal(get(b, STATUS, 2), 0);
	put(b, ENABLE, 2, TMR);
	assert_int_equal(b->vm->timers.count, 1);
	fixture_time(b->vm, carry_ns);
	assert_true(sci(b));
	assert_int_equal(get(b, STATUS, 2), TMR);
	assert_int_equal(b->vm->timers.count, 0);
	put(b, STATUS, 2, TMR);
	assert_false(sci(b));
	/* Without its interrupt the flag is found when one looks. */
	put(b, ENABLE, 2, 0);
	assert_int_equal(b->vm->timers.count, 0);
	fixture_time(b->vm, 2 * carry_ns);
	assert_int_equal(get(b, STATUS, 2), TMR);
	assert_false(sci(b));
}

static void test_power_button(void **state)
{
	struct bench *b = *state;

	acpi_pm_power_button(b->dev);
	assert_int_equal(get(b, STATUS, 2), PWRBTN);
	assert_false(sci(b));
	put(b, ENABLE, 2, PWRBTN);
	assert_true(sci(b));
	put(b, STATUS, 2, 0); /* only ones clear */
	assert_true(sci(b));
	put(b, STATUS, 2, PWRBTN);
	assert_false(sci(b));
	acpi_pm_power_button(b->dev);
	assert_true(sci(b));
	put(b, STATUS + 1, 1, PWRBTN >> 8);
	assert_false(sci(b));
}

static void test_widths(void **state)
{
	struct bench *b = *state;

	put(b, ENABLE, 1, 0xff);
	assert_int_equal(get(b, ENABLE, 2), 0x0021);
	put(b, ENABLE + 1, 1, 0xff);
	assert_int_equal(get(b, ENABLE, 2), 0x0721);
	put(b, ENABLE, 1, 0);
	assert_int_equal(get(b, ENABLE, 2), 0x0700);
	assert_int_equal(get(b, ENABLE + 1, 1), 0x07);
	acpi_pm_power_button(b->dev);
	assert_int_equal(get(b, STATUS, 4), 0x07000100);
	put(b, STATUS, 4, 0x00000100);
	assert_int_equal(get(b, STATUS, 4), 0);
}

static void test_control(void **state)
{
	struct bench *b = *state;

	assert_int_equal(get(b, CONTROL, 2), 1); /* always in ACPI mode */
	put(b, CONTROL, 2, 0);
	assert_int_equal(get(b, CONTROL, 2), 1);
	put(b, CONTROL, 2, 0x1402);
	assert_int_equal(get(b, CONTROL, 2), 0x1403);
	put(b, CONTROL + 1, 1, 0x08);
	assert_int_equal(get(b, CONTROL, 2), 0x0803);
	assert_int_equal(b->vm->stop_reason, VM_STOP_NONE);
}

static void test_sleep(void **state)
{
	struct bench *b = *state;

	for (u32 type = 0; type < 8; type++)
		if (type != PLAT_S5_TYPE)
			put(b, CONTROL, 2, SLP_EN | type << 10);
	assert_int_equal(b->vm->stop_reason, VM_STOP_NONE);
	assert_int_equal(get(b, CONTROL, 2) & SLP_EN, 0);
	put(b, CONTROL, 2, SLP_EN | PLAT_S5_TYPE << 10);
	assert_int_equal(b->vm->stop_reason, VM_STOP_POWEROFF);
}

/* Type first, then enable, each as a byte. */
static void test_sleep_in_bytes(void **state)
{
	struct bench *b = *state;

	put(b, CONTROL + 1, 1, PLAT_S5_TYPE << 2);
	assert_int_equal(b->vm->stop_reason, VM_STOP_NONE);
	put(b, CONTROL + 1, 1, (PLAT_S5_TYPE << 2) | SLP_EN >> 8);
	assert_int_equal(b->vm->stop_reason, VM_STOP_POWEROFF);
}

static void test_save_load(void **state)
{
	struct bench *b = *state;
	struct device_blob blob;
	struct err err = {0};

	put(b, ENABLE, 2, PWRBTN);
	acpi_pm_power_button(b->dev);
	assert_int_equal(device_save(b->dev, &blob, &err), 0);
	device_reset_all(b->vm);
	assert_false(sci(b));
	assert_int_equal(get(b, STATUS, 4), 0);
	assert_int_equal(device_load(b->dev, &blob, &err), 0);
	assert_true(sci(b));
	assert_int_equal(get(b, STATUS, 4), 0x01000100);
	memset(blob.data, 0xff, blob.size);
	assert_int_equal(device_load(b->dev, &blob, &err), -EINVAL);
	assert_int_equal(get(b, STATUS, 4), 0x01000100);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_timer_counts),   TEST(test_timer_carry),
		TEST(test_power_button),   TEST(test_widths),
		TEST(test_control),	   TEST(test_sleep),
		TEST(test_sleep_in_bytes), TEST(test_save_load),
	};
#undef TEST

	return cmocka_run_group_tests_name("acpi_pm", tests, NULL, NULL);
}
