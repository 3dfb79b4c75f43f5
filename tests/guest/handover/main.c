/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that is moved from engine to engine while it runs. It looks at what
 * a move could damage: registers, SSE registers ("simd=1"), the TSC, interrupts
 * of a periodic timer, interrupts between CPUs, sleep. It ends when the host
 * writes a byte to STOP.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, 11.5.4 (the timer), 11.6
 */
#include "apic.h"
#include "fault.h"
#include "smp.h"

enum {
	TICK = 0x50,
	PING = 0x51,
	STOP = 0x600, /* physical: free in every loader's layout */
	PERIODIC = 1 << 17,
	PERIOD = 2000000, /* ns */
	DIVIDE_BY_1 = 0xb,
};

static volatile u32 ticks, pings, answered;
static volatile bool over;
static volatile ulong stop_at = STOP;

static void tick(struct frame *frame)
{
	ticks++;
	apic_eoi();
}

static void ping(struct frame *frame)
{
	__atomic_add_fetch(&pings, 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

static bool stopped(void)
{
	u8 byte;

	__asm__ volatile("movb %1, %0" : "=q"(byte) : "m"(*(u8 *)stop_at));
	return byte != 0;
}

/* The other CPUs sleep and answer. */
static void other(unsigned index)
{
	while (!over) {
		irq_wait();
		answered = pings;
	}
}

/* Eight registers through a few hundred steps, and back the same way. */
static void check_registers(u32 seed)
{
	ulong a = seed, b = seed * 3, c = seed ^ 0x5a5a, d = ~seed;
	ulong a0 = a, b0 = b, c0 = c, d0 = d;

	for (unsigned i = 0; i < 300; i++)
		__asm__ volatile("add %1, %0; rol $7, %1; xor %2, %1;"
				 "add %3, %2; ror $3, %3; xor %0, %3"
				 : "+r"(a), "+r"(b), "+r"(c), "+r"(d)
				 :
				 : "cc");
	for (unsigned i = 0; i < 300; i++)
		__asm__ volatile("xor %0, %3; rol $3, %3; sub %3, %2;"
				 "xor %2, %1; ror $7, %1; sub %1, %0"
				 : "+r"(a), "+r"(b), "+r"(c), "+r"(d)
				 :
				 : "cc");
	expect_eq(a, a0);
	expect_eq(b, b0);
	expect_eq(c, c0);
	expect_eq(d, d0);
}

static void simd_fill(void)
{
	ulong cr4;

	/* OSFXSR, OSXMMEXCPT */
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | 0x600));
	for (u32 i = 0; i < 2; i++)
		__asm__ volatile("movd %0, %%xmm3; movd %1, %%xmm12;"
				 "pshufd $0, %%xmm3, %%xmm3"
				 :
				 : "r"(0x12345678u), "r"(0x9abcdef0u));
}

static void simd_check(void)
{
	u32 low, high, twelve;

	__asm__ volatile("movd %%xmm3, %0; pshufd $0x4e, %%xmm3, %%xmm4;"
			 "movd %%xmm4, %1; movd %%xmm12, %2"
			 : "=r"(low), "=r"(high), "=r"(twelve));
	expect_eq(low, 0x12345678u);
	expect_eq(high, 0x12345678u);
	expect_eq(twelve, 0x9abcdef0u);
}

static void start_timer(void)
{
	apic_enable();
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
	apic_write(APIC_LVT_TIMER, PERIODIC | TICK);
	apic_write(APIC_TIMER_INITIAL, PERIOD);
}

/* One interrupt to each sleeping CPU; all of them come. */
static void check_pings(unsigned others)
{
	u32 want = pings + others;

	if (!others)
		return;
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_OTHERS | PING);
	while (pings < want)
		cpu_pause();
	expect_eq(pings, want);
}

int main(void)
{
	bool simd = option_number("simd", 0);
	unsigned others = smp_count() - 1;
	u64 before = tsc_read(), now;
	u32 rounds = 0, seen;

	pic_mask_all();
	handler_set(TICK, tick);
	handler_set(PING, ping);
	if (!smp_start(other))
		return 0;
	if (simd)
		simd_fill();
	start_timer();
	while (!stopped()) {
		check_registers(++rounds);
		if (simd)
			simd_check();
		now = tsc_read();
		expect(now > before);
		before = now;
		check_pings(others);
		/* Sleep to the next tick: it never stays away. */
		for (seen = ticks; ticks == seen;)
			irq_wait();
	}
	over = true;
	check_pings(others);
	expect(rounds > 0);
	expect(ticks >= rounds);
	return 0;
}
