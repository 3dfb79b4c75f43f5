/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines into the I/O APIC and the 8259s. COM1's transmitter is the line that
 * a test can hold: on while its interrupt is enabled and the register empty,
 * off by reading IIR.
 *
 * Left out: polarity and ExtINT entries of the I/O APIC, which a virtual one
 * has no use for.
 */
#include "apic_test.h"

enum {
	COM_IER = 0x3f9,
	COM_IIR = 0x3fa,
	COM_MCR = 0x3fc,
	COM_LSR = 0x3fd,
	COM_PIN = 4,
	COM_ENTRY = 0x10 + 2 * COM_PIN,
	LEVEL = 0x8000,
	REMOTE_IRR = 0x4000,
	EXTINT = 0x700,
	PIC_BASE = 0x20,
};

static volatile unsigned taken, at_pic;
static volatile bool keep_line;

static void line_on(void)
{
	outb(COM_MCR, 8); /* OUT2 lets it through */
	outb(COM_IER, 2);
}

static void line_off(void)
{
	outb(COM_IER, 0);
	inb(COM_IIR);
}

static void on_line(struct frame *frame)
{
	taken++;
	/* A level interrupt is in TMR, an edge is not. */
	hits[1] = apic_bit(APIC_TMR, ONE);
	hits[2] = ioapic_read(COM_ENTRY) & REMOTE_IRR;
	if (!keep_line)
		line_off();
	/* Enough: nothing else would run, a level comes back at once. */
	if (taken >= 5)
		ioapic_write(COM_ENTRY, ioapic_read(COM_ENTRY) | MASKED);
	apic_eoi();
}

static void on_pic(struct frame *frame)
{
	at_pic++;
	line_off();
	outb(0x20, 0x20);
}

static u64 to_self(u32 low)
{
	return (u64)apic_id() << 56 | ONE | low;
}

static void drain_line(void)
{
	for (unsigned i = 0; i < 50; i++)
		drain();
}

/* [2] 3.2.4: what an entry keeps. */
static void test_entries(void)
{
	expect_eq(ioapic_read(1) >> 16 & 0xff, 23);
	ioapic_write(COM_ENTRY, MASKED | 0xffff);
	/* Delivery status and remote IRR are read-only. */
	expect_eq(ioapic_read(COM_ENTRY), (MASKED | 0xffff) & ~0x5000u);
	ioapic_write(COM_ENTRY + 1, 0xffffffff);
	expect_eq_lax("ioapic-reserved", ioapic_read(COM_ENTRY + 1), 0xff000000,
		      0xffffffff);
	ioapic_route(COM_PIN, MASKED);
	expect_eq(ioapic_read(COM_ENTRY), MASKED);
}

static void test_edge(void)
{
	handler_set(ONE, on_line);
	taken = 0;
	keep_line = true;
	line_off();
	ioapic_route(COM_PIN, to_self(0));
	drain_line();
	expect_eq(taken, 0);
	/* One edge, one interrupt, however long the line stays. */
	line_on();
	drain_line();
	expect_eq(taken, 1);
	expect_eq(hits[1], 0);
	expect_eq(hits[2], 0);
	line_off();
	line_on();
	drain_line();
	expect_eq(taken, 2);
	line_off();
	ioapic_route(COM_PIN, MASKED);
}

/* [2] 3.2.4, [1] 11.8.5: a level interrupt comes again after EOI while the
 * line is on; remote IRR is set from delivery to EOI. */
static void test_level(void)
{
	taken = 0;
	keep_line = true;
	line_off();
	ioapic_route(COM_PIN, to_self(LEVEL));
	line_on();
	drain_line();
	expect_eq(taken, 5);
	expect_eq(hits[1], 1);
	expect_eq(hits[2], REMOTE_IRR);
	line_off();
	expect_eq(ioapic_read(COM_ENTRY) & REMOTE_IRR, 0);
	/* Masked meanwhile, it is delivered when the mask goes. */
	taken = 0;
	keep_line = false;
	ioapic_route(COM_PIN, to_self(LEVEL | MASKED));
	line_on();
	drain_line();
	expect_eq(taken, 0);
	ioapic_route(COM_PIN, to_self(LEVEL));
	drain_line();
	expect_eq(taken, 1);
	ioapic_route(COM_PIN, MASKED);
	handler_set(ONE, NULL);
}

/* [3]; [1] 11.10: virtual wire through LINT0. */
static void test_pic(void)
{
	outb(0x20, 0x11);
	outb(0x21, PIC_BASE);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0x21, 0xff);
	handler_set(PIC_BASE + 4, on_pic);
	apic_write(APIC_LVT_LINT0, EXTINT);
	outb(0x21, (u8)~BIT(4));
	line_on();
	drain_line();
	expect_eq(at_pic, 1);
	/* It is no matter of the LAPIC's: nothing in ISR, no TPR. */
	expect(!apic_bit(APIC_ISR, PIC_BASE + 4));
	apic_write(APIC_TPR, 0xf0);
	line_on();
	drain_line();
	expect_eq(at_pic, 2);
	apic_write(APIC_TPR, 0);
	/* Requested, then masked: IRR shows it, nothing comes. */
	outb(0x21, 0xff);
	line_on();
	drain_line();
	expect_eq(at_pic, 2);
	outb(0x20, 0x0a);
	expect_eq(inb(0x20) & 0x10, 0x10);
	line_off();
	apic_write(APIC_LVT_LINT0, EXTINT | MASKED);
	pic_mask_all();
	handler_set(PIC_BASE + 4, NULL);
}

void test_lines(void)
{
	while (!(inb(COM_LSR) & 0x40))
		cpu_pause();
	test_entries();
	test_edge();
	test_level();
	test_pic();
}
