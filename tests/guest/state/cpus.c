/* SPDX-License-Identifier: Apache-2.0 */
/* Several CPUs, and places that nobody chose. */
#include "paging.h"
#include "state.h"

enum { TICK = 0x62, PING = 0x63, PERIODIC = 1 << 17, PERIOD = 3000000 };

static volatile u32 ticks, pings, work;
static volatile bool over;
static volatile ulong stop_at = POINT_STOP;

static bool stopped(void)
{
	u8 byte;

	__asm__ volatile("movb %1, %0" : "=q"(byte) : "m"(*(u8 *)stop_at));
	return byte != 0;
}

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

static void worker(unsigned index)
{
	u32 mine = 0;

	while (!over) {
		mine++;
		__atomic_add_fetch(&work, 1, __ATOMIC_SEQ_CST);
		if (mine % 64 == 0) {
			irq_enable();
			cpu_pause();
			irq_disable();
		}
	}
	irq_enable();
	cpu_pause();
	irq_disable();
}

/* Waiting since power-on; and again, after INIT. */
void point_sipi(void)
{
	if (smp_count() < 2) {
		reach();
		return;
	}
	handler_set(PING, ping);
	reach();
	if (!smp_start(worker))
		return;
	reach();
	over = true;
	smp_wait();
	apic_send(1, ICR_INIT | ICR_ASSERT | ICR_LEVEL);
	reach();
	/* It does not take interrupts there, nor remembers them. */
	apic_send(1, ICR_FIXED | ICR_ASSERT | PING);
	reach();
	expect_eq(pings, 0);
}

void point_pair(void)
{
	u32 before;

	handler_set(PING, ping);
	if (!smp_start(worker))
		return;
	reach();
	for (u32 i = 0; i < 20; i++) {
		before = pings;
		apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_OTHERS | PING);
		while (pings < before + smp_count() - 1)
			cpu_pause();
		if (i == 10)
			reach();
	}
	over = true;
	smp_wait();
	expect(work > 0 || smp_count() == 1);
}

/* ---- anywhere ---------------------------------------------------------- */

static u8 from[3000], to[3000];

static void copy_some(u32 seed)
{
	const void *src = from;
	void *dst = to;
	ulong len = 1 + seed % sizeof(from);

	for (u32 i = 0; i < 64; i++)
		from[(seed * 31 + i * 47) % sizeof(from)] = (u8)(seed + i);
	__asm__ volatile("rep movsb"
			 : "+S"(src), "+D"(dst), "+c"(len)
			 :
			 : "memory");
	src = from;
	dst = to;
	len = 1 + seed % sizeof(from);
	__asm__ volatile("repe cmpsb"
			 : "+S"(src), "+D"(dst), "+c"(len)
			 :
			 : "memory", "cc");
	expect_eq(len, 0);
}

static void open_and_close(void)
{
	for (u32 i = 0; i < 20; i++)
		__asm__ volatile("sti; nop; cli; sti; cli" : : : "memory");
}

static void stacks(void)
{
	for (u32 i = 0; i < 10; i++)
		__asm__ volatile("mov %%ss, %%eax; mov %%eax, %%ss; nop"
				 :
				 :
				 : "eax");
}

static void check_registers(u32 seed)
{
	ulong a = seed, b = seed * 3, c = seed ^ 0x5a5a, d = ~(ulong)seed;
	ulong a0 = a, b0 = b, c0 = c, d0 = d;

	for (u32 i = 0; i < 50; i++)
		__asm__ volatile("add %1, %0; rol $7, %1; xor %2, %1;"
				 "add %3, %2; ror $3, %3; xor %0, %3"
				 : "+r"(a), "+r"(b), "+r"(c), "+r"(d)
				 :
				 : "cc");
	for (u32 i = 0; i < 50; i++)
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

static void ping_all(void)
{
	u32 want = pings + smp_count() - 1;

	if (smp_count() == 1)
		return;
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_OTHERS | PING);
	while (pings < want)
		cpu_pause();
	expect_eq(pings, want);
}

void point_random(void)
{
	u64 before = tsc_read(), now;

	handler_set(TICK, tick);
	handler_set(PING, ping);
	reach();
	if (!smp_start(worker))
		return;
	apic_write(APIC_TIMER_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, PERIODIC | TICK);
	apic_write(APIC_TIMER_INITIAL, PERIOD);
	reach();
	for (u32 round = 1; !stopped(); round++) {
		u32 seen = ticks;

		check_registers(round);
		copy_some(round * 7919);
		open_and_close();
		stacks();
		ping_all();
		now = tsc_read();
		expect(now > before);
		before = now;
		while (round % 4 == 0 && ticks == seen)
			irq_wait();
	}
	over = true;
	smp_wait();
	/* There was time for one, whoever is slow. */
	while (!ticks)
		irq_wait();
}
