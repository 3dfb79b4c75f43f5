/* SPDX-License-Identifier: Apache-2.0 */
/* Timers; see timers.h. */
#include "timers.h"

enum { CHANNEL2_GATE = 1, SPEAKER = 2, CHANNEL2_OUT = 0x20 };

volatile unsigned ticks;

void tick_apic(struct frame *frame)
{
	ticks++;
	apic_eoi();
}

void tick_pic(struct frame *frame)
{
	ticks++;
	if (frame->vector >= PIC_BASE + 8)
		outb(0xa0, 0x20);
	outb(0x20, 0x20);
}

void drain(void)
{
	irq_enable();
	pit_wait(PIT_HZ / 100);
	irq_disable();
}

bool wait_ticks_at(unsigned count, const char *file, int line)
{
	u64 start = tsc_read();

	while (ticks < count && tsc_read() - start < WAIT_LIMIT)
		irq_wait_lax();
	return expect_at(ticks >= count, "the ticks come", file, line);
}

void pit_set(unsigned channel, unsigned mode, u16 count)
{
	outb(0x43, (u8)(channel << 6 | 0x30 | mode << 1));
	outb((u16)(0x40 + channel), (u8)count);
	outb((u16)(0x40 + channel), (u8)(count >> 8));
}

void pit_wait(u16 count)
{
	outb(0x61, (inb(0x61) & (u8)~SPEAKER) | CHANNEL2_GATE);
	pit_set(2, 0, count);
	while (!(inb(0x61) & CHANNEL2_OUT))
		;
}

bool about(u64 a, u64 b, u64 c, u64 d, unsigned percent)
{
	u64 left = a * d, right = b * c;

	return left * 100 <= right * (100 + percent) &&
	       right * 100 <= left * (100 + percent);
}

int main(void)
{
	pic_mask_all();
	apic_enable();
	test_pit();
	test_lapic();
	test_rtc();
	test_kvmclock();
	return 0;
}
