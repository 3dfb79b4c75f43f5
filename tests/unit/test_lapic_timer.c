/* SPDX-License-Identifier: Apache-2.0 */
/* The LAPIC's timer in its three modes, in guest time. */
#include "unit.h"

#include "arch/x86.h"
#include "vm_fixture.h"

enum {
	EOI = 0xb0,
	SVR = 0xf0,
	LVTT = 0x320,
	TMICT = 0x380,
	TMCCT = 0x390,
	TMDCR = 0x3e0,
	VECTOR = 0x70,
	PERIODIC = 1 << 17,
	DEADLINE = 2 << 17,
	MASK = 1 << 16,
	BY_1 = 0xb,
	BY_2 = 0x0,
	BY_128 = 0xa,
};

static struct lapic *lapic(struct vm *vm)
{
	return &vm->vcpus[0]->lapic;
}

static u32 rd(struct vm *vm, u32 off)
{
	return lapic_mmio_read(lapic(vm), off);
}

static void wr(struct vm *vm, u32 off, u32 val)
{
	lapic_mmio_write(lapic(vm), off, val);
}

/* As an engine: look where an event says so, and take what there is. */
static unsigned take(struct vm *vm)
{
	unsigned taken = 0;
	int vector;

	if (!fixture_events(vm, 0))
		return 0;
	while ((vector = lapic_pending(lapic(vm))) >= 0) {
		assert_int_equal(vector, VECTOR);
		lapic_ack(lapic(vm), (u8)vector);
		lapic_eoi(lapic(vm));
		taken++;
	}
	return taken;
}

static u64 deadline(struct vm *vm)
{
	u64 tsc = 0;

	assert_true(lapic_msr_read(lapic(vm), MSR_TSC_DEADLINE, &tsc));
	return tsc;
}

static void set_deadline(struct vm *vm, u64 tsc)
{
	assert_true(lapic_msr_write(lapic(vm), MSR_TSC_DEADLINE, tsc));
}

static int setup(void **state)
{
	struct vm *vm = fixture_vm(1);

	fixture_time(vm, 5000);
	wr(vm, SVR, 0x1ff);
	wr(vm, TMDCR, BY_1);
	wr(vm, LVTT, VECTOR);
	fixture_events(vm, 0);
	*state = vm;
	return 0;
}

static int teardown(void **state)
{
	vm_destroy(*state);
	return 0;
}

static void test_one_shot(void **state)
{
	struct vm *vm = *state;

	wr(vm, TMICT, 10000);
	assert_int_equal(rd(vm, TMCCT), 10000);
	fixture_time(vm, 5000 + 4000);
	assert_int_equal(rd(vm, TMCCT), 6000);
	assert_int_equal(take(vm), 0);
	fixture_time(vm, 5000 + 9999);
	assert_int_equal(take(vm), 0);
	assert_int_equal(rd(vm, TMCCT), 1);
	fixture_time(vm, 5000 + 10000);
	assert_int_equal(take(vm), 1);
	assert_int_equal(rd(vm, TMCCT), 0);
	assert_int_equal(rd(vm, TMICT), 10000);
	fixture_time(vm, NS_PER_SEC);
	assert_int_equal(take(vm), 0);
	assert_int_equal(vm->timers.count, 0);
	/* Stopped by writing zero. */
	wr(vm, TMICT, 10000);
	wr(vm, TMICT, 0);
	fixture_time(vm, 2 * NS_PER_SEC);
	assert_int_equal(take(vm), 0);
}

static void test_divide(void **state)
{
	static const struct {
		u32 dcr, by;
	} rows[] = {{0, 2},  {1, 4},  {2, 8},	 {3, 16},
		    {8, 32}, {9, 64}, {10, 128}, {11, 1}};
	struct vm *vm = *state;
	u64 now = 5000;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		wr(vm, TMDCR, rows[i].dcr);
		assert_int_equal(rd(vm, TMDCR), rows[i].dcr);
		wr(vm, TMICT, 1000);
		fixture_time(vm, now + 250 * rows[i].by);
		assert_int_equal(rd(vm, TMCCT), 750);
		fixture_time(vm, now + 1000 * rows[i].by - 1);
		assert_int_equal(take(vm), 0);
		now += 1000 * rows[i].by;
		fixture_time(vm, now);
		assert_int_equal(take(vm), 1);
	}
}

/* The count goes on from where it was, at the new pace. */
static void test_divide_running(void **state)
{
	struct vm *vm = *state;

	wr(vm, TMDCR, BY_2);
	wr(vm, TMICT, 1000);
	fixture_time(vm, 5000 + 800);
	wr(vm, TMDCR, BY_128);
	assert_int_equal(rd(vm, TMCCT), 600);
	fixture_time(vm, 5000 + 800 + 600 * 128 - 1);
	assert_int_equal(take(vm), 0);
	fixture_time(vm, 5000 + 800 + 600 * 128);
	assert_int_equal(take(vm), 1);
}

/* However late each turn is served, the n-th comes at n periods. */
static void test_periodic(void **state)
{
	struct vm *vm = *state;
	const u64 period = 1000000;
	u64 i;

	wr(vm, LVTT, PERIODIC | VECTOR);
	wr(vm, TMICT, period);
	for (i = 1; i <= 1000; i++) {
		fixture_time(vm, 5000 + i * period - 1);
		assert_int_equal(take(vm), 0);
		fixture_time(vm, 5000 + i * period + i % 700);
		assert_int_equal(rd(vm, TMCCT), period - i % 700);
		assert_int_equal(take(vm), 1);
	}
	/* Many missed are one, and the phase stays. */
	fixture_time(vm, 5000 + 1010 * period + period / 2);
	assert_int_equal(take(vm), 1);
	fixture_time(vm, 5000 + 1011 * period - 1);
	assert_int_equal(take(vm), 0);
	fixture_time(vm, 5000 + 1011 * period);
	assert_int_equal(take(vm), 1);
}

/* A tiny period counts as told, but wakes the host only so often. */
static void test_tiny_period(void **state)
{
	struct vm *vm = *state;
	unsigned taken = 0;
	u64 ns;

	wr(vm, LVTT, PERIODIC | VECTOR);
	wr(vm, TMICT, 1);
	fixture_events(vm, 0);
	for (ns = 5000; ns < 5000 + NS_PER_SEC / 10; ns += 1000) {
		fixture_time(vm, ns);
		taken += take(vm);
	}
	assert_in_range(taken, 1000, 2001);
	assert_int_equal(rd(vm, TMCCT), 1);
}

static void test_masked(void **state)
{
	struct vm *vm = *state;

	wr(vm, LVTT, MASK | PERIODIC | VECTOR);
	wr(vm, TMICT, 1000000);
	assert_int_equal(vm->timers.count, 0); /* the host sleeps */
	fixture_time(vm, 5000 + 2500000);
	assert_int_equal(rd(vm, TMCCT), 500000);
	wr(vm, LVTT, PERIODIC | VECTOR);
	assert_int_equal(take(vm), 0); /* what expired masked is gone */
	fixture_time(vm, 5000 + 3000000);
	assert_int_equal(take(vm), 1);
	/* Software-disabling masks. */
	wr(vm, SVR, 0xff);
	fixture_time(vm, 5000 + 9000000);
	assert_int_equal(take(vm), 0);
	assert_int_equal(vm->timers.count, 0);
}

static void test_deadline(void **state)
{
	struct vm *vm = *state;

	set_deadline(vm, 9000); /* another mode: ignored */
	assert_int_equal(deadline(vm), 0);
	wr(vm, LVTT, DEADLINE | VECTOR);
	set_deadline(vm, 9000);
	assert_int_equal(deadline(vm), 9000);
	wr(vm, TMICT, 1234); /* ignored */
	assert_int_equal(rd(vm, TMICT), 0);
	assert_int_equal(rd(vm, TMCCT), 0);
	fixture_time(vm, 8999);
	assert_int_equal(take(vm), 0);
	fixture_time(vm, 9000);
	assert_int_equal(take(vm), 1);
	assert_int_equal(deadline(vm), 0);
	/* In the past: at once. */
	set_deadline(vm, 1);
	assert_int_equal(take(vm), 1);
	assert_int_equal(deadline(vm), 0);
	/* Disarmed. */
	set_deadline(vm, 20000);
	set_deadline(vm, 0);
	fixture_time(vm, 30000);
	assert_int_equal(take(vm), 0);
	/* Never, as far as hosts live. */
	set_deadline(vm, UINT64_MAX);
	assert_int_equal(deadline(vm), UINT64_MAX);
	fixture_time(vm, 1000 * NS_PER_SEC);
	assert_int_equal(take(vm), 0);
}

/* 11.5.4.1: leaving or entering TSC-deadline mode disarms. */
static void test_mode_change(void **state)
{
	struct vm *vm = *state;

	wr(vm, TMICT, 10000);
	wr(vm, LVTT, DEADLINE | VECTOR);
	fixture_time(vm, 6000);
	wr(vm, LVTT, VECTOR);
	assert_int_equal(rd(vm, TMCCT), 0);
	fixture_time(vm, 50000);
	assert_int_equal(take(vm), 0);
	wr(vm, LVTT, DEADLINE | VECTOR);
	set_deadline(vm, 60000);
	wr(vm, LVTT, VECTOR);
	fixture_time(vm, 70000);
	assert_int_equal(take(vm), 0);
	wr(vm, LVTT, DEADLINE | VECTOR);
	assert_int_equal(deadline(vm), 0);
	set_deadline(vm, 80000);
	wr(vm, LVTT, DEADLINE | (VECTOR + 1));
	assert_int_equal(deadline(vm), 80000);
	wr(vm, LVTT, DEADLINE | MASK | VECTOR);
	fixture_time(vm, 90000);
	assert_int_equal(deadline(vm), 0);
	assert_int_equal(take(vm), 0);
}

/* TSC and ns at another ratio: never early, at most a few ns late. */
static void test_deadline_ratio(void **state)
{
	struct vm *vm = *state;
	struct clock_source source = {2596123, false, "test"};
	u64 tsc = 1000, late;
	u32 seed = 99;
	unsigned i;

	clock_init(&vm->clock, &source);
	vm->clock.paused_tsc = tsc;
	wr(vm, LVTT, DEADLINE | VECTOR);
	for (i = 0; i < 2000; i++) {
		tsc += 1000 + fixture_random(&seed) % 100000;
		set_deadline(vm, tsc);
		fixture_events(vm, 0);
		for (late = 0; deadline(vm); late++) {
			struct timer *t = vm->timers.heap[0];

			assert_true(late < 3);
			assert_int_equal(vm->timers.count, 1);
			vm->clock.paused_tsc =
				clock_ns_to_tsc(&vm->clock, t->deadline_ns);
			timer_disarm(t);
			t->fire(t, t->deadline_ns);
			take(vm);
		}
		assert_true(vm->clock.paused_tsc >= tsc);
		assert_true(vm->clock.paused_tsc - tsc < 10);
		tsc = vm->clock.paused_tsc;
	}
}

/* A host timer that comes for what is no longer armed does nothing. */
static void test_stale(void **state)
{
	struct vm *vm = *state;
	struct timer *t = &lapic(vm)->timer;

	wr(vm, TMICT, 10000);
	fixture_time(vm, 9000);
	wr(vm, TMICT, 20000);
	t->fire(t, 15000);
	assert_int_equal(take(vm), 0);
	assert_int_equal(t->deadline_ns, 29000);
	t->fire(t, 15000);
	t->fire(t, 15000);
	fixture_time(vm, 29000);
	assert_int_equal(take(vm), 1);
	t->fire(t, 29000);
	assert_int_equal(take(vm), 0);
}

/* A saved state may say what no guest can have written: a period of 0. */
static void test_loaded_nonsense(void **state)
{
	struct vm *vm = *state;
	struct lapic_regs *regs = &lapic(vm)->regs;

	wr(vm, LVTT, PERIODIC | VECTOR);
	regs->timer_running = 1;
	regs->timer_icr = 0;
	regs->timer_start_ns = UINT64_MAX;
	lapic_loaded(lapic(vm));
	fixture_time(vm, 1000);
	assert_int_equal(take(vm), 0);
	assert_int_equal(rd(vm, TMCCT), 0);
	assert_int_equal(regs->timer_running, 0);
	regs->lvt[LVT_TIMER] = ~0u;
	regs->apic_base = APIC_BASE_EXTD;
	regs->tpr = ~0u;
	lapic_loaded(lapic(vm));
	assert_int_equal(regs->lvt[LVT_TIMER], 0x710ff);
	assert_int_equal(regs->apic_base, 0);
	assert_int_equal(regs->tpr, 0xff);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_one_shot),	    CASE(test_divide),
		CASE(test_divide_running),  CASE(test_periodic),
		CASE(test_tiny_period),	    CASE(test_masked),
		CASE(test_deadline),	    CASE(test_mode_change),
		CASE(test_deadline_ratio),  CASE(test_stale),
		CASE(test_loaded_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
