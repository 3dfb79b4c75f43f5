/* SPDX-License-Identifier: Apache-2.0 */
/* Code in real mode. */
#include "real.h"

static void copy(ulong to, const u8 *start, const u8 *end)
{
	volatile u8 *out = (volatile u8 *)to;

	while (start < end)
		*out++ = *start++;
}

void real_run(const u8 *start, const u8 *end, struct real_regs *regs)
{
	struct real_regs *low = (void *)REAL_REGS;

	copy(REAL_SWITCH, real_switch, real_switch_end);
	copy(REAL_CODE, start, end);
	copy(REAL_REGS, (u8 *)regs, (u8 *)(regs + 1));
	real_enter();
	__asm__ volatile("" : "+r"(low) : : "memory");
	*regs = *low;
}
