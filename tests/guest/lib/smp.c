/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other CPUs.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, 9.4.4: INIT, wait 10 ms, SIPI, wait
 *     200 us, SIPI
 */
#include "smp.h"

#include "apic.h"
#include "fault.h"
#include "real.h"

enum { STACK = 4096, ARRIVAL_US = 2000000 };

/* What ap.S loads; 64 bits each, whatever the build. */
u64 ap_cr0, ap_cr3, ap_cr4, ap_efer;
u8 *ap_stacks;
volatile u32 ap_arrived;

static volatile u32 ready, returned;
static cpu_main_t *ap_function;

unsigned smp_count(void)
{
	return (unsigned)option_number("cpus", 1);
}

unsigned smp_returned(void)
{
	return returned;
}

void smp_wait(void)
{
	while (returned + 1 < smp_count())
		cpu_pause();
}

void ap_main(unsigned index)
{
	segments_load_ap();
	faults_load_ap();
	apic_enable();
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	ap_function(index);
	__atomic_add_fetch(&returned, 1, __ATOMIC_SEQ_CST);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* Port 0x80 takes about a microsecond on old machines and no time here; the
 * PIT's second channel tells real time on both. */
static void wait_us(unsigned us)
{
	while (us) {
		unsigned now = us < 50000 ? us : 50000;
		unsigned ticks = now * 1193 / 1000 + 1;

		outb(0x61, (inb(0x61) & ~2) | 1);
		outb(0x43, 0xb0); /* channel 2, mode 0 */
		outb(0x42, (u8)ticks);
		outb(0x42, (u8)(ticks >> 8));
		while (!(inb(0x61) & 0x20))
			cpu_pause();
		us -= now;
	}
}

static bool all_here(void)
{
	return ap_arrived + 1 == smp_count();
}

static bool all_ready(void)
{
	return ready + 1 == smp_count();
}

static void prepare(cpu_main_t *cpu_main)
{
	volatile u8 *low = (volatile u8 *)REAL_SWITCH;

	for (const u8 *p = ap_code; p < ap_code_end; p++)
		*low++ = *p;
	ap_function = cpu_main;
	ap_stacks = pages_alloc(CPUS_MAX);
	ap_arrived = 0;
	ready = 0;
	returned = 0;
	ap_cr0 = cr0_read();
	ap_cr3 = cr3_read();
	ap_cr4 = cr4_read();
	ap_efer = 0;
	if (cpuid(0x80000001, 0).edx & BIT(29))
		ap_efer = msr_read(MSR_EFER) & ~EFER_LMA;
}

bool smp_start(cpu_main_t *cpu_main)
{
	expect(smp_count() <= CPUS_MAX);
	prepare(cpu_main);
	apic_enable();
	if (smp_count() > 1) {
		apic_send(0, ICR_INIT | ICR_ASSERT | ICR_OTHERS);
		wait_us(10000);
		apic_send(0, ICR_STARTUP | ICR_ASSERT | ICR_OTHERS |
				     REAL_SWITCH >> 12);
		wait_us(200);
		if (!all_here())
			apic_send(0, ICR_STARTUP | ICR_ASSERT | ICR_OTHERS |
					     REAL_SWITCH >> 12);
	}
	/* Only an enabled APIC takes interrupts, so being there is not enough.
	 */
	for (unsigned us = 0; !all_ready() && us < ARRIVAL_US; us += 100)
		wait_us(100);
	expect_eq(ap_arrived + 1, smp_count());
	return expect_eq(ready + 1, smp_count());
}
