/* SPDX-License-Identifier: Apache-2.0 */
/* The PIT, through the 8259s, through the I/O APIC, and by port 0x61. */
#include "timers.h"

enum {
	TICKS = 20,
	COUNT = 2386, /* 2 ms */
	NMI_MODE = 0x400,
	EXTINT = 0x700,
	MASKED = 0x10000,
};

static volatile unsigned nmis;

static void on_nmi(struct frame *frame)
{
	nmis++;
}

/* [2] ICW1 to ICW4: cascaded, vectors from PIC_BASE, edges, 8086 mode. */
static void pic_init(void)
{
	outb(0x20, 0x11);
	outb(0x21, PIC_BASE);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0xa0, 0x11);
	outb(0xa1, PIC_BASE + 8);
	outb(0xa1, 2);
	outb(0xa1, 1);
	pic_mask_all();
}

/* So many ticks take as long as they must at least, by the PM timer. The first
 * may be on its way already; the PM timer runs three times as fast as the
 * PIT. */
static bool rate_holds(unsigned count)
{
	u32 start;

	wait_ticks(ticks + 1);
	start = inl(PM_TIMER);
	ticks = 0;
	wait_ticks(count);
	return inl(PM_TIMER) - start + 3 * COUNT >= (count - 1) * 3u * COUNT;
}

/* A host that was away makes up for ticks that it missed: once more. */
static void expect_rate(unsigned count)
{
	unsigned tries = 0;

	while (tries < TRIES && !rate_holds(count))
		tries++;
	expect(tries < TRIES);
}

/* Mode 0 ticks once. */
static bool ticks_once(void)
{
	ticks = 0;
	pit_set(0, 0, COUNT);
	wait_ticks(1);
	irq_enable();
	pit_wait(5 * COUNT);
	irq_disable();
	return ticks == 1;
}

/* What the mode before has left on its way comes too: once more. */
static void test_mode_0(void)
{
	unsigned tries = 0;

	while (tries < TRIES && !ticks_once())
		tries++;
	expect_eq(ticks, 1);
}

static void test_pic(void)
{
	pic_init();
	handler_set(PIC_BASE, tick_pic);
	apic_write(APIC_LVT_LINT0, EXTINT);
	ticks = 0;
	pit_set(0, 2, COUNT);
	outb(0x21, 0xfe);
	wait_ticks(2);
	expect_rate(TICKS);
	/* Mode 3 is as fast, mode 0 ticks once. */
	pit_set(0, 3, COUNT);
	expect_rate(TICKS);
	test_mode_0();
	/* Masked in the 8259, then at LINT0. */
	pic_mask_all();
	pit_set(0, 2, COUNT);
	ticks = 0;
	irq_enable();
	pit_wait(5 * COUNT);
	irq_disable();
	expect_eq(ticks, 0);
	apic_write(APIC_LVT_LINT0, EXTINT | MASKED);
	outb(0x21, 0xfe);
	irq_enable();
	pit_wait(5 * COUNT);
	irq_disable();
	expect_eq(ticks, 0);
	/* Not lost at the 8259: it comes when LINT0 opens. */
	apic_write(APIC_LVT_LINT0, EXTINT);
	if (!lax("lint0-pending"))
		wait_ticks(1);
	pic_mask_all();
	handler_set(PIC_BASE, NULL);
}

/* [3]: pin 2 is the PIT's. */
static void test_ioapic(void)
{
	handler_set(TIMER, tick_apic);
	pit_set(0, 2, COUNT);
	ticks = 0;
	ioapic_route(2, (u64)apic_id() << 56 | TIMER);
	expect_rate(TICKS);
	ioapic_route(2, MASKED);
	irq_enable();
	pit_wait(COUNT);
	ticks = 0;
	pit_wait(5 * COUNT);
	irq_disable();
	expect_eq(ticks, 0);
}

static bool one_nmi(void)
{
	u64 start = tsc_read();

	nmis = 0;
	pit_set(0, 0, COUNT);
	while (!nmis && tsc_read() - start < WAIT_LIMIT)
		cpu_pause();
	pit_wait(5 * COUNT);
	return nmis == 1;
}

/* The PIT as NMI: it ends a HLT that nothing else would. Again and again, as
 * it may come before the HLT; then one alone, awaited without, and once more
 * where one of the others was late. */
static void test_nmi(void)
{
	unsigned tries = 0;

	handler_set(NMI, on_nmi);
	pit_set(0, 2, COUNT);
	ioapic_route(2, (u64)apic_id() << 56 | NMI_MODE);
	while (!nmis)
		__asm__ volatile("cli; hlt" : : : "memory");
	while (tries < TRIES && !one_nmi())
		tries++;
	expect_eq(nmis, 1);
	ioapic_route(2, MASKED);
	handler_set(NMI, NULL);
}

/* Counts that run out while the host is away tell nothing. */
static bool output_is_low(void)
{
	u32 start;
	bool low;

	do {
		start = inl(PM_TIMER);
		pit_set(2, 0, 60000);
		low = !(inb(0x61) & 0x20);
	} while (!low && inl(PM_TIMER) - start > 3 * 59000);
	return low;
}

/* [1]: a latched count runs down; the output is at port 0x61. */
static void test_channel2(void)
{
	unsigned first, second;

	outb(0x61, (inb(0x61) & (u8)~2) | 1);
	expect(output_is_low());
	outb(0x43, 0x80);
	first = inb(0x42);
	first |= (unsigned)inb(0x42) << 8;
	pit_wait(0); /* 65536 of them, 55 ms */
	expect(inb(0x61) & 0x20);
	expect(first <= 60000);
	/* Its gate stops it, in mode 0. */
	pit_set(2, 0, 60000);
	outb(0x61, inb(0x61) & (u8)~1);
	outb(0x43, 0x80);
	first = inb(0x42);
	first |= (unsigned)inb(0x42) << 8;
	for (u32 start = inl(PM_TIMER); inl(PM_TIMER) - start < 30000;)
		;
	outb(0x43, 0x80);
	second = inb(0x42);
	second |= (unsigned)inb(0x42) << 8;
	expect(second == first || lax("pit-gate"));
}

/* Both clocks at one moment: a host may be away between the two. */
static void sample(u64 *tsc, u32 *pm)
{
	u32 after;
	unsigned tries = 0;

	do {
		*pm = inl(PM_TIMER);
		*tsc = tsc_read();
		after = inl(PM_TIMER);
	} while (after - *pm > 1000 && ++tries < 1000);
}

/* [6] against [1], and the TSC against both: 3.579545 and 1.193182 MHz. */
static void test_consistency(void)
{
	u64 tsc[2];
	u32 pm[2];

	for (unsigned i = 0; i < 2; i++) {
		u64 start_tsc;
		u32 start_pm;

		do {
			sample(&start_tsc, &start_pm);
			pit_wait(60000);
			sample(&tsc[i], &pm[i]);
			tsc[i] -= start_tsc;
			pm[i] -= start_pm;
			/* A host that was away for long: once more. */
		} while (pm[i] > 4 * 60000);
		expect(pm[i] >= 3u * 60000 * 99 / 100);
	}
	expect(about(tsc[0], pm[0], tsc[1], pm[1], 5));
}

void test_pit(void)
{
	test_pic();
	test_ioapic();
	test_nmi();
	test_channel2();
	test_consistency();
}
