/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every PSHUFD there is: all pairs of registers and all immediates, each
 * written, run once and overwritten, by all CPUs at once. An engine that keeps
 * something for each distinct instruction has to let go of it on the way.
 *
 * References:
 * [1] Intel SDM 325383-080, volume 2B, PSHUFD; volume 2A, 2.2.1 (REX)
 */
#include "expect.h"
#include "smp.h"
#include "x86.h"

enum { PAGE = 4096, REGS = 16, IN_RDI = 7, IN_RSI = 6 };

struct lanes {
	u32 lane[4];
};

static volatile u32 mistakes;
static u8 *pages; /* one for each CPU's code */

/* MOVDQU between a register and (%rdi) or (%rsi): F3 REX 0F op /r. */
static u8 *put_move(u8 *at, u8 opcode, unsigned reg, unsigned base)
{
	*at++ = 0xf3;
	*at++ = (u8)(0x40 | (reg & 8) >> 1);
	*at++ = 0x0f;
	*at++ = opcode;
	*at++ = (u8)((reg & 7) << 3 | base);
	return at;
}

static void put_code(u8 *at, unsigned to, unsigned from, unsigned order)
{
	at = put_move(at, 0x6f, from, IN_RDI);
	*at++ = 0x66;
	*at++ = (u8)(0x40 | (to & 8) >> 1 | (from & 8) >> 3);
	*at++ = 0x0f;
	*at++ = 0x70;
	*at++ = (u8)(0xc0 | (to & 7) << 3 | (from & 7));
	*at++ = (u8)order;
	at = put_move(at, 0x7f, to, IN_RSI);
	*at = 0xc3;
}

static bool right(const struct lanes *in, const struct lanes *out,
		  unsigned order)
{
	for (unsigned k = 0; k < 4; k++)
		if (out->lane[k] != in->lane[order >> (2 * k) & 3])
			return false;
	return true;
}

static void run_all(u8 *code)
{
	const struct lanes in = {{0x11111111, 0x22222222, 3, 0x44444444}};
	struct lanes out;

	for (unsigned k = 0; k < REGS * REGS * 256; k++) {
		put_code(code, k >> 8 & 15, k >> 12, k & 255);
		/* [1] volume 3A, 9.1.3: a jump is enough on one CPU. */
		__asm__ volatile("call *%0"
				 :
				 : "r"(code), "D"(&in), "S"(&out)
				 : "memory", "cc");
		if (!right(&in, &out, k & 255))
			__atomic_add_fetch(&mistakes, 1, __ATOMIC_SEQ_CST);
	}
}

static void other(unsigned index)
{
	run_all(pages + index * PAGE);
}

int main(void)
{
	pages = pages_alloc(smp_count());
	if (smp_count() > 1 && !smp_start(other))
		return 0;
	run_all(pages);
	if (smp_count() > 1)
		smp_wait();
	expect_eq(mistakes, 0);
	return 0;
}
