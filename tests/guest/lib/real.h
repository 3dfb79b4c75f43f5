/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code in real mode: through 16-bit protected mode and, in 64-bit builds, out
 * of long mode, and all the way back. FS and GS keep the flat segments they
 * had: "big real mode". Interrupts are off, the vector table is at 0.
 */
#pragma once

#include "types.h"
#include "user.h"

/* Where things are while real mode lasts; the page below each stack or table
 * is free. The code sees cs = 0. */
enum real_layout {
	REAL_STACK = 0x7000,
	REAL_REGS = 0x7e00,
	REAL_SWITCH = 0x8000, /* real.S, also where other CPUs start */
	REAL_CODE = 0x9000,
	REAL_DATA = 0xa000, /* free for the test, up to REAL_END */
	REAL_END = 0x90000,
};

/* What the code finds in the registers, then what it left. */
struct real_regs {
	u32 edi, esi, ebp, unused, ebx, edx, ecx, eax, eflags;
};

/* ds, es and ss are 0. The code ends by "lret" that this macro adds. */
#define REAL_BLOB(name, text) BLOB_CODE(name, 16, text "\nlret")

/* real.S */
extern const u8 real_switch[], real_switch_end[];
void real_enter(void);

void real_run(const u8 *start, const u8 *end, struct real_regs *regs);

/* Linear address of a vector's entry: offset in the low half. */
static inline volatile u32 *real_vector(int n)
{
	ulong table = 0;

	/* Address 0 is the table's, not NULL. */
	__asm__("" : "+r"(table));
	return (volatile u32 *)(table + 4 * (ulong)n);
}
