/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC: registers and faults, modes, priorities, messages, errors.
 * Section numbers: Intel SDM vol. 3A.
 */
#include "unit.h"

#include "arch/x86.h"
#include "vm_fixture.h"

enum {
	ID = 0x20,
	VERSION = 0x30,
	TPR = 0x80,
	PPR = 0xa0,
	EOI = 0xb0,
	LDR = 0xd0,
	DFR = 0xe0,
	SVR = 0xf0,
	ISR = 0x100,
	TMR = 0x180,
	IRR = 0x200,
	ESR = 0x280,
	ICR = 0x300,
	ICR2 = 0x310,
	LVTT = 0x320,
	LINT0 = 0x350,
	LINT1 = 0x360,
	LVTERR = 0x370,
	TMICT = 0x380,
	TMCCT = 0x390,
	TMDCR = 0x3e0,
	MASK = 1 << 16,
};

static struct lapic *lapic(struct vm *vm, unsigned id)
{
	return &vm->vcpus[id]->lapic;
}

static u32 rd(struct vm *vm, unsigned id, u32 off)
{
	return lapic_mmio_read(lapic(vm, id), off);
}

static void wr(struct vm *vm, unsigned id, u32 off, u32 val)
{
	lapic_mmio_write(lapic(vm, id), off, val);
}

static bool wrmsr(struct vm *vm, unsigned id, u32 msr, u64 val)
{
	return lapic_msr_write(lapic(vm, id), msr, val);
}

static u64 rdmsr(struct vm *vm, unsigned id, u32 msr)
{
	u64 val = 0;

	if (!lapic_msr_read(lapic(vm, id), msr, &val))
		fail_msg("rdmsr %#x faults", msr);
	return val;
}

static bool rdmsr_faults(struct vm *vm, unsigned id, u32 msr)
{
	u64 val;

	return !lapic_msr_read(lapic(vm, id), msr, &val);
}

static int pending(struct vm *vm, unsigned id)
{
	return lapic_pending(lapic(vm, id));
}

static void to_x2apic(struct vm *vm, unsigned id)
{
	assert_true(wrmsr(vm, id, MSR_APIC_BASE,
			  rdmsr(vm, id, MSR_APIC_BASE) | APIC_BASE_EXTD));
}

static void send(struct vm *vm, u32 dest, u8 vector)
{
	struct lapic_msg msg = {.dest = dest, .vector = vector};

	lapic_deliver(vm, &msg);
}

#define CPUS 20

static int setup(void **state)
{
	struct vm *vm = fixture_vm(CPUS);
	unsigned i;

	for (i = 0; i < CPUS; i++) {
		wr(vm, i, SVR, 0x1ff);
		fixture_events(vm, i);
	}
	*state = vm;
	return 0;
}

static int teardown(void **state)
{
	vm_destroy(*state);
	return 0;
}

/* ---- Registers and modes ---- */

/* 11.4.7.1 */
static void test_reset(void **state)
{
	struct vm *vm = *state;
	unsigned i;

	wr(vm, 3, LDR, 0xff000000);
	wr(vm, 3, TPR, 0x30);
	send(vm, 3, 0x99);
	lapic_reset(lapic(vm, 3), false);
	assert_int_equal(rd(vm, 3, ID), 0x03000000);
	assert_int_equal(rd(vm, 3, VERSION), 0x01050014);
	assert_int_equal(rd(vm, 3, SVR), 0xff);
	assert_int_equal(rd(vm, 3, DFR), 0xffffffff);
	assert_int_equal(rd(vm, 3, LDR), 0);
	assert_int_equal(rd(vm, 3, TPR), 0);
	for (i = LVTT; i <= LVTERR; i += 16)
		assert_int_equal(rd(vm, 3, i), MASK);
	for (i = 0; i < 0x80; i += 16)
		assert_int_equal(rd(vm, 3, ISR + i) | rd(vm, 3, TMR + i) |
					 rd(vm, 3, IRR + i),
				 0);
	assert_int_equal(rdmsr(vm, 3, MSR_APIC_BASE), 0xfee00800);
	assert_int_equal(rdmsr(vm, 0, MSR_APIC_BASE), 0xfee00900);
}

static void test_register_bits(void **state)
{
	static const struct {
		u32 off, kept;
	} regs[] = {
		{ID, 0},	  {VERSION, 0},
		{TPR, 0xff},	  {LDR, 0xff000000},
		{SVR, 0x13ff},	  {ICR2, 0xff000000},
		{LVTT, 0x700ff},  {0x330, 0x107ff},
		{0x340, 0x107ff}, {LINT0, 0x1a7ff},
		{LINT1, 0x1a7ff}, {LVTERR, 0x100ff},
		{TMDCR, 0xb},	  {ISR, 0},
		{IRR + 0x70, 0},  {TMICT, 0xffffffff},
	};
	struct vm *vm = *state;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(regs); i++) {
		if (regs[i].off == TMICT)
			wr(vm, 1, LVTT, 0);
		wr(vm, 1, regs[i].off, 0xffffffff);
		if (regs[i].off == ID || regs[i].off == VERSION)
			continue;
		assert_int_equal(rd(vm, 1, regs[i].off), regs[i].kept);
	}
	assert_int_equal(rd(vm, 1, ID), 0x01000000);
	wr(vm, 1, DFR, 0);
	assert_int_equal(rd(vm, 1, DFR), 0x0fffffff);
}

/* 11.4.7.2 */
static void test_software_disable(void **state)
{
	struct vm *vm = *state;

	wr(vm, 1, LINT1, 0x400);
	send(vm, 1, 0x40);
	wr(vm, 1, SVR, 0xff);
	assert_int_equal(rd(vm, 1, LINT1), 0x400 | MASK);
	wr(vm, 1, LINT1, 0x400);
	assert_int_equal(rd(vm, 1, LINT1), 0x400 | MASK);
	send(vm, 1, 0x50);
	/* What was pending stays, nothing comes. */
	assert_int_equal(pending(vm, 1), 0x40);
	lapic_ack(lapic(vm, 1), 0x40);
	assert_int_equal(pending(vm, 1), -1);
	fixture_events(vm, 1);
	struct lapic_msg nmi = {.dest = 1, .delivery = LAPIC_NMI};
	assert_true(lapic_deliver(vm, &nmi));
	assert_int_equal(fixture_events(vm, 1), VCPU_EV_NMI);
}

/* 11.12.5 */
static void test_mode_transitions(void **state)
{
	const u64 base = 0xfee00000, en = APIC_BASE_EN, x2 = APIC_BASE_EXTD;
	struct vm *vm = *state;

	assert_false(wrmsr(vm, 1, MSR_APIC_BASE, base | x2));
	assert_true(wrmsr(vm, 1, MSR_APIC_BASE, base | en | x2));
	assert_false(wrmsr(vm, 1, MSR_APIC_BASE, base | en));
	assert_false(wrmsr(vm, 1, MSR_APIC_BASE, base | x2));
	assert_true(wrmsr(vm, 1, MSR_APIC_BASE, base));
	assert_false(wrmsr(vm, 1, MSR_APIC_BASE, base | en | x2));
	assert_false(wrmsr(vm, 1, MSR_APIC_BASE, base | x2));
	assert_true(wrmsr(vm, 1, MSR_APIC_BASE, base | en));
	assert_true(wrmsr(vm, 1, MSR_APIC_BASE, base | en | x2));
	/* Reserved: 7:0, 9, and beyond the physical address width. */
	assert_false(wrmsr(vm, 1, MSR_APIC_BASE, base | en | x2 | 1));
	assert_false(wrmsr(vm, 1, MSR_APIC_BASE, base | en | x2 | 1 << 9));
	assert_false(wrmsr(vm, 1, MSR_APIC_BASE, base | en | x2 | BIT(40)));
	assert_true(wrmsr(vm, 1, MSR_APIC_BASE, BIT(39) | en | x2));
	/* The BSP flag is not for software. */
	assert_true(wrmsr(vm, 0, MSR_APIC_BASE, base | en));
	assert_int_equal(rdmsr(vm, 0, MSR_APIC_BASE), base | en | 0x100);
}

static void test_mode_state(void **state)
{
	struct vm *vm = *state;

	wr(vm, 18, TPR, 0x20);
	wr(vm, 18, LINT1, 0x400);
	wr(vm, 18, ICR2, 0x05000000);
	wr(vm, 18, LDR, 0x01000000);
	send(vm, 18, 0x77);
	to_x2apic(vm, 18);
	assert_int_equal(rdmsr(vm, 18, 0x802), 18);
	assert_int_equal(rdmsr(vm, 18, 0x80d), 0x10004);
	assert_int_equal(rdmsr(vm, 18, 0x808), 0x20);
	assert_int_equal(rdmsr(vm, 18, 0x836), 0x400);
	assert_int_equal(rdmsr(vm, 18, 0x830), 0);
	assert_int_equal(pending(vm, 18), 0x77);
	/* INIT keeps mode and IDs. */
	lapic_reset(lapic(vm, 18), true);
	assert_int_equal(rdmsr(vm, 18, 0x802), 18);
	assert_int_equal(rdmsr(vm, 18, 0x80d), 0x10004);
	assert_int_equal(rdmsr(vm, 18, 0x80f), 0xff);
	/* Disabled: all forgotten. */
	wrmsr(vm, 18, 0x80f, 0x1ff);
	send(vm, 18, 0x77);
	assert_true(wrmsr(vm, 18, MSR_APIC_BASE, 0xfee00000));
	assert_int_equal(pending(vm, 18), -1);
	assert_true(lapic_accepts_extint(lapic(vm, 18)));
	send(vm, 18, 0x78);
	assert_true(rdmsr_faults(vm, 18, 0x802));
	assert_true(wrmsr(vm, 18, MSR_APIC_BASE, 0xfee00800));
	assert_int_equal(pending(vm, 18), -1);
	assert_int_equal(rd(vm, 18, ID), 18u << 24);
	assert_int_equal(rd(vm, 18, LDR), 0);
	assert_int_equal(rd(vm, 18, SVR), 0xff);
}

static void test_mmio_window(void **state)
{
	struct vm *vm = *state;
	struct lapic *l = lapic(vm, 1);

	assert_true(lapic_mmio_covers(l, 0xfee00000));
	assert_true(lapic_mmio_covers(l, 0xfee00fff));
	assert_false(lapic_mmio_covers(l, 0xfee01000));
	assert_true(wrmsr(vm, 1, MSR_APIC_BASE, 0x12345800));
	assert_false(lapic_mmio_covers(l, 0xfee00020));
	assert_true(lapic_mmio_covers(l, 0x12345020));
	to_x2apic(vm, 1);
	assert_false(lapic_mmio_covers(l, 0x12345020));
	assert_true(wrmsr(vm, 1, MSR_APIC_BASE, 0x12345000));
	assert_false(lapic_mmio_covers(l, 0x12345020));
}

static void test_x2apic_faults(void **state)
{
	static const u32 no_read[] = {0x800, 0x801, 0x804, 0x809, 0x80b,
				      0x80c, 0x80e, 0x82f, 0x831, 0x83a,
				      0x83f, 0x840, 0x8ff};
	static const u32 no_write[] = {0x800, 0x802, 0x803, 0x80a,
				       0x80d, 0x80e, 0x810, 0x827,
				       0x831, 0x839, 0x840, 0x8ff};
	static const struct {
		u32 msr;
		u64 bad;
	} reserved[] = {
		{0x808, 0x100},	  {0x80b, 1},	    {0x80f, 0x400},
		{0x828, 1},	  {0x830, 1 << 20}, {0x830, 1 << 13},
		{0x832, 1 << 19}, {0x832, 0x100},   {0x835, 1 << 17},
		{0x837, 0x100},	  {0x838, BIT(32)}, {0x83e, 4},
		{0x83f, 0x100},	  {0x808, BIT(32)},
	};
	struct vm *vm = *state;
	unsigned i;

	assert_true(rdmsr_faults(vm, 1, 0x802));
	assert_false(wrmsr(vm, 1, 0x808, 0));
	to_x2apic(vm, 1);
	for (i = 0; i < ARRAY_SIZE(no_read); i++)
		assert_true(rdmsr_faults(vm, 1, no_read[i]));
	for (i = 0; i < ARRAY_SIZE(no_write); i++)
		assert_false(wrmsr(vm, 1, no_write[i], 0));
	for (i = 0; i < ARRAY_SIZE(reserved); i++)
		assert_false(wrmsr(vm, 1, reserved[i].msr, reserved[i].bad));
	assert_true(wrmsr(vm, 1, 0x80b, 0));
	assert_true(wrmsr(vm, 1, 0x828, 0));
	assert_false(rdmsr_faults(vm, 1, 0x839));
	assert_true(rdmsr_faults(vm, 1, 0x10));
}

static void test_no_such_features(void **state)
{
	static const struct cpu_policy plain = {.maxphyaddr = 40};
	struct vm *vm = *state;

	vm->cpu = &plain;
	assert_false(wrmsr(vm, 1, MSR_APIC_BASE, 0xfee00c00));
	assert_false(wrmsr(vm, 1, MSR_TSC_DEADLINE, 0));
	assert_true(rdmsr_faults(vm, 1, MSR_TSC_DEADLINE));
	wr(vm, 1, LVTT, 0x40030);
	assert_int_equal(rd(vm, 1, LVTT), 0x30);
}

/* ---- Priorities and EOI ---- */

static void test_priorities(void **state)
{
	struct vm *vm = *state;

	send(vm, 1, 0x45);
	assert_int_equal(fixture_events(vm, 1), VCPU_EV_INTR);
	send(vm, 1, 0x45); /* already there: no news */
	assert_int_equal(fixture_events(vm, 1), 0);
	wr(vm, 1, TPR, 0x40);
	assert_int_equal(pending(vm, 1), -1);
	assert_int_equal(rd(vm, 1, PPR), 0x40);
	wr(vm, 1, TPR, 0x3f);
	assert_int_equal(fixture_events(vm, 1), VCPU_EV_INTR);
	assert_int_equal(pending(vm, 1), 0x45);
	lapic_ack(lapic(vm, 1), 0x45);
	assert_int_equal(rd(vm, 1, PPR), 0x40);
	assert_int_equal(rd(vm, 1, ISR + 0x20), 1 << 5);
	assert_int_equal(rd(vm, 1, IRR + 0x20), 0);
	/* The same class waits, a higher one does not. */
	send(vm, 1, 0x4f);
	assert_int_equal(pending(vm, 1), -1);
	send(vm, 1, 0x50);
	assert_int_equal(pending(vm, 1), 0x50);
	lapic_ack(lapic(vm, 1), 0x50);
	lapic_set_cr8(lapic(vm, 1), 5);
	assert_int_equal(rd(vm, 1, PPR), 0x50);
	assert_int_equal(lapic_get_cr8(lapic(vm, 1)), 5);
	lapic_set_cr8(lapic(vm, 1), 0);
	fixture_events(vm, 1);
	wr(vm, 1, EOI, 0);
	assert_int_equal(fixture_events(vm, 1), 0); /* 0x45 blocks 0x4f */
	wr(vm, 1, EOI, 0);
	assert_int_equal(fixture_events(vm, 1), VCPU_EV_INTR);
	assert_int_equal(pending(vm, 1), 0x4f);
	/* 11.8.3.1: TPR's low bits show only when its class wins. */
	wr(vm, 1, TPR, 0x23);
	assert_int_equal(rd(vm, 1, PPR), 0x23);
	lapic_ack(lapic(vm, 1), 0x4f);
	assert_int_equal(rd(vm, 1, PPR), 0x40);
	wr(vm, 1, EOI, 0);
	wr(vm, 1, EOI, 0); /* nothing in service: no effect */
	assert_int_equal(rd(vm, 1, PPR), 0x23);
}

/* What PV EOI may leave for later. */
static void test_late_eoi(void **state)
{
	struct vm *vm = *state;
	struct lapic_msg level = {.dest = 1, .vector = 0x60, .level = true};

	assert_false(lapic_eoi_may_wait(lapic(vm, 1)));
	send(vm, 1, 0x50);
	lapic_ack(lapic(vm, 1), 0x50);
	assert_true(lapic_eoi_may_wait(lapic(vm, 1)));
	send(vm, 1, 0x40);
	assert_false(lapic_eoi_may_wait(lapic(vm, 1)));
	lapic_eoi(lapic(vm, 1));
	lapic_ack(lapic(vm, 1), 0x40);
	lapic_eoi(lapic(vm, 1));
	lapic_deliver(vm, &level);
	lapic_ack(lapic(vm, 1), 0x60);
	assert_false(lapic_eoi_may_wait(lapic(vm, 1)));
}

/* ---- Messages ---- */

static u64 who_has(struct vm *vm, int vector)
{
	u64 set = 0;
	unsigned i;

	for (i = 0; i < CPUS; i++) {
		if (pending(vm, i) != vector)
			continue;
		set |= BIT(i);
		lapic_ack(lapic(vm, i), (u8)vector);
		lapic_eoi(lapic(vm, i));
	}
	return set;
}

static void test_ipi_xapic(void **state)
{
	struct vm *vm = *state;
	const u64 all = BIT(CPUS) - 1;

	wr(vm, 0, ICR2, 7u << 24);
	wr(vm, 0, ICR, 0x41 | 1 << 14);
	assert_int_equal(who_has(vm, 0x41), BIT(7));
	assert_int_equal(rd(vm, 0, ICR), 0x4041);
	wr(vm, 3, ICR, 0x42 | 1 << 18);
	assert_int_equal(who_has(vm, 0x42), BIT(3));
	wr(vm, 3, ICR, 0x43 | 2 << 18);
	assert_int_equal(who_has(vm, 0x43), all);
	wr(vm, 3, ICR, 0x44 | 3 << 18);
	assert_int_equal(who_has(vm, 0x44), all & ~BIT(3));
	wr(vm, 0, ICR2, 0xffu << 24);
	wr(vm, 0, ICR, 0x45);
	assert_int_equal(who_has(vm, 0x45), all);
	wr(vm, 0, ICR2, 99u << 24);
	wr(vm, 0, ICR, 0x46);
	assert_int_equal(who_has(vm, 0x46), 0);
	/* An IPI is an edge, whatever the ICR says. */
	wr(vm, 0, ICR2, 1u << 24);
	wr(vm, 0, ICR, 0x47 | 3 << 14);
	assert_int_equal(rd(vm, 1, TMR + 0x20), 0);
}

static void test_ipi_x2apic(void **state)
{
	struct vm *vm = *state;
	const u64 all = BIT(CPUS) - 1;
	unsigned i;

	for (i = 0; i < CPUS; i++)
		to_x2apic(vm, i);
	assert_true(wrmsr(vm, 0, 0x830, (u64)17 << 32 | 0x41));
	assert_int_equal(who_has(vm, 0x41), BIT(17));
	assert_int_equal(rdmsr(vm, 0, 0x830), (u64)17 << 32 | 0x41);
	wrmsr(vm, 0, 0x830, 0xffffffffull << 32 | 0x42);
	assert_int_equal(who_has(vm, 0x42), all);
	/* Logical: cluster 1, members 1 and 3; everybody. */
	wrmsr(vm, 0, 0x830, 0x1000aull << 32 | 0x800 | 0x43);
	assert_int_equal(who_has(vm, 0x43), BIT(17) | BIT(19));
	wrmsr(vm, 0, 0x830, 0xffffffffull << 32 | 0x800 | 0x44);
	assert_int_equal(who_has(vm, 0x44), all);
	wrmsr(vm, 0, 0x830, 0x00ffull << 32 | 0x800 | 0x45);
	assert_int_equal(who_has(vm, 0x45), 0xff);
	assert_true(wrmsr(vm, 5, 0x83f, 0x46));
	assert_int_equal(who_has(vm, 0x46), BIT(5));
	wrmsr(vm, 0, 0x830, 0x47 | 3 << 18);
	assert_int_equal(who_has(vm, 0x47), all & ~1ull);
}

static void test_logical_xapic(void **state)
{
	struct vm *vm = *state;
	struct lapic_msg msg = {.logical = true, .vector = 0x51};

	wr(vm, 0, LDR, 0x01000000);
	wr(vm, 1, LDR, 0x02000000);
	wr(vm, 2, LDR, 0x06000000);
	msg.dest = 0x04;
	lapic_deliver(vm, &msg);
	assert_int_equal(who_has(vm, 0x51), BIT(2));
	msg.dest = 0x03;
	lapic_deliver(vm, &msg);
	assert_int_equal(who_has(vm, 0x51), 7);
	msg.dest = 0xff;
	lapic_deliver(vm, &msg);
	assert_int_equal(who_has(vm, 0x51), BIT(CPUS) - 1);
	/* Cluster model: high nibble the cluster, 0xf all of them. */
	wr(vm, 0, DFR, 0x0fffffff);
	wr(vm, 1, DFR, 0x0fffffff);
	wr(vm, 2, DFR, 0x0fffffff);
	wr(vm, 0, LDR, 0x11000000);
	wr(vm, 1, LDR, 0x12000000);
	wr(vm, 2, LDR, 0x22000000);
	msg.dest = 0x13;
	lapic_deliver(vm, &msg);
	assert_int_equal(who_has(vm, 0x51), 3);
	msg.dest = 0xf2;
	lapic_deliver(vm, &msg);
	assert_int_equal(who_has(vm, 0x51), 6);
	msg.dest = 0x24;
	assert_false(lapic_deliver(vm, &msg));
	/* Neither flat nor cluster: nobody. */
	wr(vm, 0, DFR, 0x5fffffff);
	msg.dest = 0x11;
	assert_false(lapic_deliver(vm, &msg));
}

static void test_lowest_priority(void **state)
{
	struct vm *vm = *state;
	struct lapic_msg msg = {
		.logical = true, .delivery = LAPIC_LOWEST, .dest = 0x0f};
	u64 seen = 0;
	unsigned i;

	for (i = 0; i < 4; i++)
		wr(vm, i, LDR, 1u << (24 + i));
	/* Equals: the vector spreads them, one each. */
	for (msg.vector = 0x40; msg.vector < 0x80; msg.vector++) {
		u64 one;

		assert_true(lapic_deliver(vm, &msg));
		one = who_has(vm, msg.vector);
		assert_int_equal(__builtin_popcountll(one), 1);
		seen |= one;
	}
	assert_int_equal(seen, 0xf);
	for (i = 0; i < 4; i++)
		wr(vm, i, TPR, i == 2 ? 0x10 : 0x20);
	for (msg.vector = 0x40; msg.vector < 0x80; msg.vector++) {
		lapic_deliver(vm, &msg);
		assert_int_equal(who_has(vm, msg.vector), BIT(2));
	}
	/* Those who take none are no candidates. */
	wr(vm, 2, SVR, 0xff);
	wr(vm, 3, SVR, 0xff);
	lapic_deliver(vm, &msg);
	assert_int_equal(__builtin_popcountll(who_has(vm, msg.vector) & 3), 1);
}

static void test_start_up(void **state)
{
	struct vm *vm = *state;
	unsigned i;

	wr(vm, 0, ICR2, 4u << 24);
	wr(vm, 0, ICR, 0xc500); /* INIT, level, assert */
	assert_int_equal(fixture_events(vm, 4), VCPU_EV_INIT);
	wr(vm, 0, ICR, 0x8500); /* de-assert: nothing */
	assert_int_equal(fixture_events(vm, 4), 0);
	wr(vm, 0, ICR, 0x69a);
	assert_int_equal(fixture_events(vm, 4), VCPU_EV_SIPI);
	assert_int_equal(vm->vcpus[4]->sipi_vector, 0x9a);
	wr(vm, 0, ICR, 0xc4500); /* all but self */
	for (i = 0; i < CPUS; i++)
		assert_int_equal(fixture_events(vm, i), i ? VCPU_EV_INIT : 0);
	wr(vm, 0, ICR, 0x80400 | 0x4000); /* NMI to all */
	assert_int_equal(fixture_events(vm, 0), VCPU_EV_NMI);
	wr(vm, 0, ICR, 0x200); /* SMI */
	assert_int_equal(lapic(vm, 4)->smis_ignored, 1);
}

static void test_msi(void **state)
{
	struct vm *vm = *state;
	unsigned i;

	for (i = 0; i < 4; i++)
		wr(vm, i, LDR, 1u << (24 + i));
	assert_true(lapic_deliver_msi(vm, 0xfee03000, 0x4061));
	assert_int_equal(who_has(vm, 0x61), BIT(3));
	assert_true(lapic_deliver_msi(vm, 0xfee0c004, 0x0061));
	assert_int_equal(who_has(vm, 0x61), BIT(2) | BIT(3));
	assert_true(lapic_deliver_msi(vm, 0xfee0c00c, 0x0061));
	assert_int_equal(__builtin_popcountll(who_has(vm, 0x61)), 1);
	assert_false(lapic_deliver_msi(vm, 0xfed03000, 0x61));
	assert_false(lapic_deliver_msi(vm, 0x1fee03000, 0x61));
	assert_true(lapic_deliver_msi(vm, 0xfee03000, 0xc062));
	assert_int_equal(rd(vm, 3, TMR + 0x30), 4);
	assert_true(lapic_deliver_msi(vm, 0xfee03000, 0x8063));
	assert_int_equal(rd(vm, 3, IRR + 0x30), 4);
	assert_false(lapic_deliver_msi(vm, 0xfee63000, 0x61));
}

/* ---- Errors and local sources ---- */

/* 11.5.3 */
static void test_errors(void **state)
{
	struct vm *vm = *state;

	wr(vm, 1, LVTERR, 0xfe);
	wr(vm, 1, ICR, 0x05);
	assert_int_equal(rd(vm, 1, ESR), 0); /* not latched yet */
	assert_int_equal(pending(vm, 1), 0xfe);
	lapic_ack(lapic(vm, 1), 0xfe);
	lapic_eoi(lapic(vm, 1));
	send(vm, 1, 0x0f);
	rd(vm, 1, 0x3f0);		      /* not a register in this mode */
	assert_int_equal(pending(vm, 1), -1); /* one until ESR is written */
	wr(vm, 1, ESR, 0xffff);
	assert_int_equal(rd(vm, 1, ESR), 0xe0);
	assert_int_equal(rd(vm, 1, ESR), 0xe0);
	wr(vm, 1, ESR, 0);
	assert_int_equal(rd(vm, 1, ESR), 0);
	wr(vm, 1, 0x500, 0);
	assert_int_equal(pending(vm, 1), 0xfe);
	/* An entry whose own vector is bad. */
	wr(vm, 2, LVTERR, 0x03);
	wr(vm, 2, ICR, 0x05);
	wr(vm, 2, ESR, 0);
	assert_int_equal(rd(vm, 2, ESR), 0x60);
	assert_int_equal(pending(vm, 2), -1);
	/* In x2APIC mode a bad address faults instead. */
	to_x2apic(vm, 3);
	assert_true(rdmsr_faults(vm, 3, 0x82f));
	wrmsr(vm, 3, 0x828, 0);
	assert_int_equal(rdmsr(vm, 3, 0x828), 0);
	wrmsr(vm, 3, 0x83f, 0x0f);
	wrmsr(vm, 3, 0x828, 0);
	assert_int_equal(rdmsr(vm, 3, 0x828), 0x20);
}

static void test_local_pins(void **state)
{
	struct vm *vm = *state;

	lapic_raise_local(lapic(vm, 1), LVT_LINT1);
	assert_int_equal(pending(vm, 1), -1);
	wr(vm, 1, LINT1, 0x400);
	fixture_events(vm, 1);
	lapic_raise_local(lapic(vm, 1), LVT_LINT1);
	assert_int_equal(fixture_events(vm, 1), VCPU_EV_NMI);
	wr(vm, 1, LINT1, 0x72);
	lapic_raise_local(lapic(vm, 1), LVT_LINT1);
	assert_int_equal(pending(vm, 1), 0x72);
	lapic_ack(lapic(vm, 1), 0x72);
	lapic_eoi(lapic(vm, 1));
	wr(vm, 1, 0x340, 0x66);
	lapic_raise_local(lapic(vm, 1), LVT_PERF);
	assert_int_equal(pending(vm, 1), 0x66);
	assert_int_equal(rd(vm, 1, 0x340), 0x66 | MASK);
}

static void test_extint(void **state)
{
	struct vm *vm = *state;

	assert_false(lapic_accepts_extint(lapic(vm, 0)));
	lapic_virtual_wire(lapic(vm, 0));
	lapic_virtual_wire(lapic(vm, 1));
	assert_true(lapic_accepts_extint(lapic(vm, 0)));
	assert_false(lapic_accepts_extint(lapic(vm, 1)));
	assert_int_equal(rd(vm, 1, LINT1), 0x400);
	wr(vm, 0, LINT0, 0x700 | MASK);
	assert_false(lapic_accepts_extint(lapic(vm, 0)));
	fixture_events(vm, 0);
	wr(vm, 0, LINT0, 0x700);
	assert_true(lapic_accepts_extint(lapic(vm, 0)));
	assert_int_equal(fixture_events(vm, 0), VCPU_EV_INTR);
	wr(vm, 0, SVR, 0xff);
	assert_false(lapic_accepts_extint(lapic(vm, 0)));
	/* LINT0 as an ordinary interrupt, as some watchdogs and probes do. */
	wr(vm, 1, LINT0, 0x71);
	lapic_extint_raised(vm);
	assert_int_equal(pending(vm, 1), 0x71);
	assert_int_equal(pending(vm, 2), -1);
	wr(vm, 3, LINT0, 0x400);
	fixture_events(vm, 3);
	lapic_extint_raised(vm);
	assert_int_equal(fixture_events(vm, 3), VCPU_EV_NMI);
	/* No APIC: LINT1 is NMI. */
	assert_true(wrmsr(vm, 2, MSR_APIC_BASE, 0xfee00000));
	fixture_events(vm, 2);
	lapic_raise_local(lapic(vm, 2), LVT_LINT1);
	assert_int_equal(fixture_events(vm, 2), VCPU_EV_NMI);
}

static void test_loaded(void **state)
{
	struct vm *vm = *state;
	struct lapic_regs saved;

	wr(vm, 1, LDR, 0x02000000);
	wr(vm, 1, LVTT, 0x20055);
	wr(vm, 1, TMDCR, 0xb);
	wr(vm, 1, TMICT, 1000000);
	send(vm, 1, 0x41);
	saved = lapic(vm, 1)->regs;
	lapic_reset(lapic(vm, 1), false);
	fixture_events(vm, 1);
	lapic(vm, 1)->regs = saved;
	lapic_loaded(lapic(vm, 1));
	assert_int_equal(fixture_events(vm, 1), VCPU_EV_INTR);
	assert_int_equal(who_has(vm, 0x41), BIT(1));
	struct lapic_msg msg = {.dest = 2, .logical = true, .vector = 0x42};
	assert_true(lapic_deliver(vm, &msg));
	assert_int_equal(who_has(vm, 0x42), BIT(1));
	fixture_time(vm, 1000000);
	assert_int_equal(pending(vm, 1), 0x55);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_reset),
		CASE(test_register_bits),
		CASE(test_software_disable),
		CASE(test_mode_transitions),
		CASE(test_mode_state),
		CASE(test_mmio_window),
		CASE(test_x2apic_faults),
		CASE(test_no_such_features),
		CASE(test_priorities),
		CASE(test_late_eoi),
		CASE(test_ipi_xapic),
		CASE(test_ipi_x2apic),
		CASE(test_logical_xapic),
		CASE(test_lowest_priority),
		CASE(test_start_up),
		CASE(test_msi),
		CASE(test_errors),
		CASE(test_local_pins),
		CASE(test_extint),
		CASE(test_loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
