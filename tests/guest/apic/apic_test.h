/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt controllers: the LAPIC's registers (registers.c), x2APIC mode
 * (x2apic.c), who gets an interrupt (deliver.c), lines (lines.c).
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, chapter 11
 * [2] Intel 82093AA I/O APIC data sheet, order number 290566, 3.2
 * [3] Intel 8259A data sheet, order number 231468
 */
#pragma once

#include "apic.h"
#include "expect.h"
#include "fault.h"
#include "print.h"
#include "smp.h"

enum { ONE = 0x40, TWO = 0x51, WAKE = 0x60, ERROR = 0x70, MASKED = 0x10000 };

/* How often each CPU got `ONE`, by index of arrival. */
extern volatile unsigned hits[CPUS_MAX];
extern volatile u32 ids[CPUS_MAX];
void hits_reset(void);
unsigned hits_total(void);

void send_self(u8 vector);
void drain(void);
bool apic_bit(enum apic_register base, u8 vector);

void test_registers(void);
void test_x2apic(void);
void test_deliver(void);
void test_lines(void);
