/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One descriptor table for all CPUs, in an order that SYSCALL, SYSRET,
 * SYSENTER and SYSEXIT can use, and the first CPU's task state.
 */
#pragma once

#include "types.h"

enum selector {
	KERNEL_CODE = 0x08, /* as wide as the build */
	KERNEL_DATA = 0x10,
	USER_CODE32 = 0x18 | 3,
	USER_DATA = 0x20 | 3,
	USER_CODE64 = 0x28 | 3,
	USER_DATA64 = 0x30 | 3, /* what SYSEXIT takes after USER_CODE64 */
	KERNEL_CODE32 = 0x38,
	KERNEL_CODE16 = 0x40, /* base 0, limit 0xffff */
	KERNEL_DATA16 = 0x48,
	TASK = 0x50,  /* two entries in 64-bit builds */
	SPARE = 0x60, /* SPARE_COUNT entries for tests */
	SPARE_COUNT = 16,
	GDT_SIZE = SPARE + 8 * SPARE_COUNT,
	RING1 = 1,
};

/* Bits of a descriptor. */
#define SEG_ACCESSED BIT(40)
#define SEG_WRITE BIT(41) /* data; code: readable */
#define SEG_DOWN BIT(42)  /* data: expand down; code: conforming */
#define SEG_CODE BIT(43)
#define SEG_S BIT(44)
#define SEG_DPL(n) ((u64)(n) << 45)
#define SEG_P BIT(47)
#define SEG_L BIT(53)
#define SEG_D BIT(54)
#define SEG_G BIT(55)
#define SEG_FLAT 0x000f00000000ffffull
#define SEG_DATA (SEG_P | SEG_S | SEG_WRITE | SEG_ACCESSED)
#define SEG_EXEC (SEG_DATA | SEG_CODE)

u64 segment(u32 base, u32 limit, u64 bits);
void gdt_set(u16 selector, u64 descriptor);
u64 gdt_get(u16 selector);

/* Stack that interrupts switch to from ring 3, or from ring n to ring 1. */
void task_set_stack(int ring, ulong top);
/* Segment of that stack, 32-bit builds only. */
void task_set_stack_segment(int ring, u16 selector);
/* The same for interrupt stack n (1 to 7), 64-bit builds only. */
void task_set_ist(int n, ulong top);

/* The task state into the task register, also where it is there already. */
void task_load(void);

void segments_load(void);
/* Another CPU: table and segment registers, no task state. */
void segments_load_ap(void);
