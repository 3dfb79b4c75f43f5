/* SPDX-License-Identifier: Apache-2.0 */
/* Code that another CPU changes. */
#include "smc.h"

#include "apic.h"
#include "smp.h"

enum {
	ROUNDS = 2000,
	PATCHES = 200,
	CALL = 0x50,
	SYNC = 0x51,
	WAKE = 0x52,
	STOP = ~0u
};

static volatile u32 version, seen, called, synced, mistakes;
static volatile u32 traps;

/* Each round waits for all: on a host with fewer CPUs that takes its time. */
static u32 rounds(u32 many, unsigned others)
{
	return others > 1 ? many / 10 : many;
}

/* [1] 9.1.3: wait for the flag, serialize, run. */
static void follow(void)
{
	u32 last = 0;

	for (;;) {
		u32 now = version;

		if (now == STOP)
			return;
		if (now == last) {
			cpu_pause();
			continue;
		}
		serialize();
		mistakes += code_run(code) != now;
		last = now;
		__atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
	}
}

static void test_flag(unsigned others)
{
	for (u32 i = 1; i <= rounds(ROUNDS, others); i++) {
		*(volatile u32 *)(code + MOV_VALUE) = i;
		version = i;
		while (seen != i * others)
			cpu_pause();
	}
	version = STOP;
	expect_eq(mistakes, 0);
}

/* An interrupt's IRET serializes, [1] 9.3, and so does its delivery as far as
 * the handler's own code goes once CPUID has run. */
static void on_call(struct frame *frame)
{
	serialize();
	if (version != STOP)
		mistakes += code_run(code) != version;
	apic_eoi();
	__atomic_add_fetch(&called, 1, __ATOMIC_SEQ_CST);
}

static void on_sync(struct frame *frame)
{
	serialize();
	apic_eoi();
	__atomic_add_fetch(&synced, 1, __ATOMIC_SEQ_CST);
}

static void test_call(unsigned others)
{
	called = 0;
	for (u32 i = 1; i <= rounds(PATCHES, others); i++) {
		*(volatile u32 *)(code + MOV_VALUE) = i;
		version = i;
		apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_OTHERS | CALL);
		while (called < i * others)
			cpu_pause();
	}
	expect_eq(mistakes, 0);
}

/* ---- the way kernels patch running code -------------------------------- */

static u8 *patched;
static volatile u32 ran;

/* The instruction is being changed: as if it had run. */
static void on_int3(struct frame *frame)
{
	if (frame->ip != (ulong)patched + 1) {
		mistakes++;
		return;
	}
	__atomic_add_fetch(&traps, 1, __ATOMIC_SEQ_CST);
	frame->ax = 0;
	frame->ip += 4;
}

static void sync_others(unsigned others)
{
	u32 before = synced;

	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_OTHERS | SYNC);
	while (synced < before + others)
		cpu_pause();
}

/* INT3 over the first byte, all CPUs serialize, the rest, again, the first
 * byte, again: a CPU runs the old, the new or the INT3, never a mixture. */
static void test_patch(unsigned others)
{
	for (u32 i = 1; i <= rounds(PATCHES, others); i++) {
		volatile u8 *at = patched;

		at[0] = 0xcc;
		sync_others(others);
		for (unsigned byte = 1; byte <= 4; byte++)
			at[byte] = (u8)i;
		sync_others(others);
		at[0] = 0xb8;
		sync_others(others);
	}
	version = STOP;
	expect_eq(mistakes, 0);
}

static void run_patched(void)
{
	irq_enable();
	while (version != STOP) {
		u32 val = code_run(patched);

		mistakes += val != (val & 0xff) * 0x01010101;
		ran++;
	}
	irq_disable();
}

/* ------------------------------------------------------------------------ */

static volatile u32 phase;

static void other(unsigned index)
{
	follow();
	__atomic_add_fetch(&phase, 1, __ATOMIC_SEQ_CST);
	while (version == STOP)
		cpu_pause();
	while (version != STOP)
		irq_wait();
	__atomic_add_fetch(&phase, 1, __ATOMIC_SEQ_CST);
	while (version == STOP)
		cpu_pause();
	run_patched();
}

static void wait_phase(u32 want)
{
	while (phase != want)
		cpu_pause();
}

static void on_wake(struct frame *frame)
{
	apic_eoi();
}

static void wake_others(void)
{
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_OTHERS | WAKE);
	for (unsigned i = 0; i < 100000; i++)
		cpu_pause();
}

void test_cross(void)
{
	unsigned others = smp_count() - 1;

	if (!others)
		return;
	pic_mask_all();
	handler_set(CALL, on_call);
	handler_set(SYNC, on_sync);
	handler_set(WAKE, on_wake);
	handler_set(BP, on_int3);
	patched = code + 256;
	code_mov(code, 0);
	code_mov(patched, 0);
	if (!smp_start(other))
		return;
	test_flag(others);
	wait_phase(others);
	version = 0;
	test_call(others);
	version = STOP;
	/* Once: between looking at it and HLT a CPU takes no interrupt. */
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_OTHERS | CALL);
	while (lax("vmrun-shadow") && phase != 2 * others)
		wake_others();
	wait_phase(2 * others);
	version = 0;
	while (!ran)
		cpu_pause();
	test_patch(others);
	smp_wait();
	expect(ran > 0);
	handler_set(BP, NULL);
}
