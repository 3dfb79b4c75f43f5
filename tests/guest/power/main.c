/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways out of a run, one by command line "way=": the runner compares the
 * monitor's exit status. Who comes back from one has failed.
 *
 * References:
 * [1] IBM PC AT Technical Reference, keyboard controller: command 0xfe
 * [2] Intel ICH9 data sheet 316972, 13.7.5: reset control register 0xcf9
 * [3] ACPI Specification 6.5, 4.8.3.2 (PM1 control), 7.4.2 (\_S5)
 * [4] Intel SDM 325462-080, volume 3A, 6.15: shutdown after a third fault
 */
#include "apic.h"
#include "expect.h"
#include "fault.h"
#include "print.h"

enum way {
	I8042,
	RESET_CONTROL,
	FAST_A20,
	ACPI_S5,
	TRIPLE_FAULT,
	TRIPLE_FAULT_STACK,
	DEBUG_EXIT_MIN,
	DEBUG_EXIT_MAX,
	DEBUG_EXIT_WIDE,
	ACPI_S5_BLIND,
	/* No way out, but what a KVM gives up at: tests/lab/kvm_reports.sh. */
	SIMD_FROM_DEVICE,
	BAD_CR3,
};

enum { PM1_CONTROL = 0x604, SLP_EN = 1 << 13, SLP_TYP_SHIFT = 10 };

static void triple_fault(void)
{
	struct table_pointer none = {0, 0};

	__asm__ volatile("lidt %0; int3" : : "m"(none));
}

/* A stack that no fault can be pushed on. */
static void triple_fault_stack(void)
{
	gate_set_ist(DF, 0);
	__asm__ volatile("mov %0, %%rsp; push %%rax"
			 :
			 : "r"(0x0000800000000000ul)
			 : "memory");
}

/* S5's type is what the DSDT says; no test of ours reads AML, so all are
 * tried: with a type that is none nothing happens. */
static void sleep_s5(void)
{
	for (unsigned type = 0; type < 8; type++)
		outw(PM1_CONTROL, (u16)(SLP_EN | type << SLP_TYP_SHIFT));
}

static void leave(enum way way)
{
	switch (way) {
	case I8042:
		while (inb(0x64) & 2)
			;
		outb(0x64, 0xfe);
		break;
	case RESET_CONTROL:
		outb(0xcf9, 2);
		outb(0xcf9, 6);
		break;
	case FAST_A20:
		outb(0x92, inb(0x92) | 1);
		break;
	case ACPI_S5:
		sleep_s5();
		break;
	case TRIPLE_FAULT:
		triple_fault();
		break;
	case TRIPLE_FAULT_STACK:
		triple_fault_stack();
		break;
	case DEBUG_EXIT_MIN:
		outb(EXIT_PORT, 0);
		break;
	case DEBUG_EXIT_MAX:
		outb(EXIT_PORT, 0x7f);
		break;
	case DEBUG_EXIT_WIDE:
		outl(EXIT_PORT, 0x2a);
		break;
	case ACPI_S5_BLIND:
		/* What unikernels write that read no tables. */
		outw(PM1_CONTROL, SLP_EN);
		break;
	case SIMD_FROM_DEVICE: /* pshufb (%rax), %xmm0 */
		__asm__ volatile(".byte 0x66, 0x0f, 0x38, 0x00, 0x00"
				 :
				 : "a"(0xd0000000ul)
				 : "memory");
		break;
	case BAD_CR3:
		__asm__ volatile("mov %0, %%cr3"
				 :
				 : "a"(cr3_read() | BIT(60))
				 : "memory");
		break;
	}
}

int main(void)
{
	/* Not what ends a run: a write to a port that is none, a reset that
	 * is not asked for, a HLT that something wakes. */
	outb(0xcf9, 2);
	expect_eq(inb(0xcf9) & 4, 0);
	outb(0x92, inb(0x92) & (u8)~1);
	leave((enum way)option_number("way", 0));
	/* The process may take a moment to end, this CPU does not go on. */
	expect(!"still here");
	return 0;
}
