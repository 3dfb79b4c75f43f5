/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between which instructions interrupts come: shadows and IF (shadow.c), NMI
 * (nmi.c), priorities (priority.c).
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, 6.7.1 (multiple NMIs), 6.8.1 (IF),
 *     6.8.3 (MOV SS), 6.9 (priorities), 11.8 (LAPIC priorities)
 * [2] Intel SDM, volume 2, HLT, IRET, MOV, POPF, STI
 */
#pragma once

#include "apic.h"
#include "expect.h"
#include "fault.h"
#include "print.h"

enum {
	LOW = 0x40,
	MIDDLE = 0x50,
	MIDDLE2 = 0x51, /* the same priority class */
	HIGH = 0x60,
	LIMIT = 16,
};

/* void name(void), assembly; labels in it are local to the file. */
#define SNIPPET(name, text)                                          \
	__asm__(".text\n.balign 16\n" #name ":\n" text "\n\tret\n"); \
	void name(void)
#define LABEL(name) extern const u8 name[]

/* What came, in order: vector and return address of each. */
extern volatile unsigned taken_count;
extern volatile u32 taken[LIMIT];
extern volatile ulong taken_ip[LIMIT];
void taken_reset(void);
void take_note(struct frame *frame);

/* Asks this CPU's LAPIC for a vector. With IF clear it stays pending. */
void raise_irq(u8 vector);
/* Takes whatever is pending; interrupts are off before and after. */
void drain(void);

void test_shadows(void);
void test_nmi(void);
void test_priority(void);
