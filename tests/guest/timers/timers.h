/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers: the PIT (pit.c), the LAPIC's (lapic.c), RTC and PM timer (rtc.c),
 * kvmclock (kvmclock.c).
 * What is measured is compared with another timer of the same machine, with
 * wide bounds: the host may take the CPU away at any time, which makes an
 * interrupt late and never early.
 *
 * References:
 * [1] Intel 8254 data sheet, order number 231164, modes 0, 2 and 3
 * [2] Intel 8259A data sheet, order number 231468
 * [3] Intel 82093AA data sheet, order number 290566, 3.2.4
 * [4] Intel SDM 325462-080, volume 3A, 11.5.4 (APIC timer), 17.17 (TSC)
 * [5] Motorola MC146818A data sheet: registers A to D, alarm
 * [6] ACPI Specification 6.5, 4.8.3.3 (PM timer)
 * [7] Linux Documentation/virt/kvm/x86/msr.rst, cpuid.rst
 */
#pragma once

#include "apic.h"
#include "expect.h"
#include "fault.h"
#include "print.h"

enum {
	TRIES = 50, /* where a host that was away would spoil a measurement */
	PIC_BASE = 0x20,
	TIMER = 0x60,
	PIT_HZ = 1193182,
	PM_TIMER = 0x608,
};

extern volatile unsigned ticks;
/* Handlers: count and end the interrupt at the LAPIC, or at the 8259s. */
void tick_apic(struct frame *frame);
void tick_pic(struct frame *frame);

/* What is on its way is taken. It takes 10 ms, for a KVM that interprets ring 0
 * looks for interrupts now and then only: STI and a few instructions leave most
 * of them where they are. */
void drain(void);

/* Far longer than a host may keep a tick back, in cycles of the TSC. */
#define WAIT_LIMIT 20000000000ull

/* Until `count` ticks have come. False, and a failed check: they do not. */
bool wait_ticks_at(unsigned count, const char *file, int line);
#define wait_ticks(count) wait_ticks_at(count, __FILE__, __LINE__)

/* Until channel 2 has counted this many down, at most 65535. */
void pit_wait(u16 count);
/* Divisor and mode of a channel, 16 bits. */
void pit_set(unsigned channel, unsigned mode, u16 count);

/* a / b is within a factor of (100 + percent) / 100 of c / d. */
bool about(u64 a, u64 b, u64 c, u64 d, unsigned percent);

void test_pit(void);
void test_lapic(void);
void test_rtc(void);
void test_kvmclock(void);
