/* SPDX-License-Identifier: Apache-2.0 */
/* States of the host's FPU and SIMD unit. */
#include "bt_unit.h"

#include <string.h>

#include "bt_host.h"

u64 bt_unit_rnd(struct bt_unit *t)
{
	t->seed ^= t->seed << 13;
	t->seed ^= t->seed >> 7;
	t->seed ^= t->seed << 17;
	return t->seed;
}

/* ---- the host with an FPU state ---------------------------------------- */

/* bt_host_enter() with the unit's state from and to an image. No C between:
 * the compiler might use the registers. */
void bt_unit_run_host(struct bt_unit *t)
{
	static const u32 mxcsr = MXCSR_RESET;
	register const u8 *before __asm__("r12") = t->before.bytes;
	register u8 *host __asm__("r13") = t->host.bytes;
	register const u32 *sane __asm__("r14") = &mxcsr;

	bt_host.signal = 0;
	__asm__ volatile("mov %%ebx, %%eax\n\t"
			 "xor %%edx, %%edx\n\t"
			 "xrstor64 (%%r12)\n\t"
			 "sub $128, %%rsp\n\t" /* the red zone */
			 "call bt_host_enter\n\t"
			 "add $128, %%rsp\n\t"
			 "mov %%ebx, %%eax\n\t"
			 "xor %%edx, %%edx\n\t"
			 "xsave64 (%%r13)\n\t"
			 "fninit\n\t"
			 "ldmxcsr (%%r14)"
			 :
			 : "b"(t->components), "r"(before), "r"(host), "r"(sane)
			 : "memory", "cc", "rax", "rcx", "rdx", "rsi", "rdi",
			   "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2",
			   "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15");
}

/* ---- random state ------------------------------------------------------ */

static u64 rnd_double(struct bt_unit *t)
{
	static const u64 special[] = {
		0,
		0x8000000000000000,
		0x3ff0000000000000, /* 1 */
		0x7ff0000000000000, /* infinity */
		0xfff0000000000000,
		0x7ff8000000000001, /* quiet NaN */
		0x7ff0000000000001, /* signaling NaN */
		0x000fffffffffffff, /* denormal */
		0x0010000000000000,
		0x7fefffffffffffff,
		0x4330000000000000,
		0x41dfffffffc00000,
		0x43e0000000000000,
	};
	u64 val = bt_unit_rnd(t);

	switch (val % 4) {
	case 0:
		return special[val / 4 % ARRAY_SIZE(special)];
	case 1: /* near one, so that sums and products stay in range */
		return (val & 0x800fffffffffffff) | (0x3f8 + (val >> 52 & 15))
							    << 52;
	default:
		return bt_unit_rnd(t);
	}
}

static u32 rnd_float(struct bt_unit *t)
{
	static const u32 special[] = {
		0,	    0x80000000, 0x3f800000, 0x7f800000, 0xff800000,
		0x7fc00001, 0x7f800001, 0x007fffff, 0x00800000, 0x7f7fffff,
		0x4b000000, 0x4effffff, 0x5f000000, 0x00003c00, 0x00007c01,
	};
	u64 val = bt_unit_rnd(t);

	switch (val % 4) {
	case 0:
		return special[val / 4 % ARRAY_SIZE(special)];
	case 1:
		return (u32)((val & 0x807fffff) | (0x78 + (val >> 24 & 15))
							  << 23);
	default:
		return (u32)bt_unit_rnd(t);
	}
}

void bt_unit_bytes(struct bt_unit *t, u8 *out, unsigned len)
{
	unsigned kind = bt_unit_rnd(t) % 4;

	for (unsigned k = 0; k < len; k += 8) {
		u64 val = bt_unit_rnd(t);

		if (kind == 1)
			val = rnd_double(t);
		else if (kind == 2)
			val = rnd_float(t) | (u64)rnd_float(t) << 32;
		else if (kind == 3 && bt_unit_rnd(t) % 2)
			val = (u64)(s64)(s8)val;
		memcpy(out + k, &val, min_u64(8, len - k));
	}
}

static void rnd_extended(struct bt_unit *t, u8 st[16])
{
	static const u16 exponents[] = {0, 0x3fff, 0x7fff, 0xbfff, 0xffff,
					1, 0x403e, 0x7ffe, 0x4002, 0x3ffe};
	u64 mantissa =
		bt_unit_rnd(t) % 8 ? bt_unit_rnd(t) | BIT(63) : bt_unit_rnd(t);
	u16 exponent = exponents[bt_unit_rnd(t) % ARRAY_SIZE(exponents)];

	if (bt_unit_rnd(t) % 3 == 0)
		exponent = (u16)(0x3ff8 + bt_unit_rnd(t) % 16);
	if (bt_unit_rnd(t) % 6 == 0)
		mantissa = bt_unit_rnd(t) % 2 ? BIT(63) : 0;
	memset(st, 0, 16);
	memcpy(st, &mantissa, 8);
	memcpy(st + 8, &exponent, 2);
}

/* Errors that are due, and unmasked ones, come about now and then. */
static void rnd_x87(struct bt_unit *t, struct xsave_legacy *x)
{
	x->fcw = 0x37f & ~0xc00 & ~0x300;
	x->fcw |= (bt_unit_rnd(t) % 4) << 10 |
		  (bt_unit_rnd(t) % 4 ? 3 : bt_unit_rnd(t) % 4) << 8;
	if (bt_unit_rnd(t) % 4 == 0)
		x->fcw &= (u16) ~(bt_unit_rnd(t) & 0x3f);
	x->fsw = (u16)(bt_unit_rnd(t) & 0x7f7f);
	if (bt_unit_rnd(t) % 8)
		x->fsw &= (u16)~0x3f;
	if (x->fsw & ~x->fcw & 0x3f)
		x->fsw |= 0x8080;
	x->ftw = bt_unit_rnd(t) % 3 ? 0xff : (u8)bt_unit_rnd(t);
	for (unsigned k = 0; k < 8; k++)
		rnd_extended(t, x->st[k]);
}

void bt_unit_random(struct bt_unit *t)
{
	struct xsave_legacy *x = bt_unit_legacy(&t->before);

	memset(&t->before, 0, sizeof(t->before));
	rnd_x87(t, x);
	x->mxcsr = 0x1f80u | (u32)(bt_unit_rnd(t) & 0x6000);
	if (bt_unit_rnd(t) % 4 == 0)
		x->mxcsr |= (u32)(bt_unit_rnd(t) & 0x8040);
	if (bt_unit_rnd(t) % 4 == 0)
		x->mxcsr &= ~(u32)(bt_unit_rnd(t) & 0x1f80);
	if (bt_unit_rnd(t) % 4 == 0)
		x->mxcsr |= bt_unit_rnd(t) & 0x3f;
	x->mxcsr_mask = 0xffff;
	for (unsigned k = 0; k < 16; k++) {
		bt_unit_bytes(t, x->xmm[k], 16);
		bt_unit_bytes(t, t->before.bytes + XSAVE_AVX + 16 * k, 16);
	}
	*xsave_header(t->before.bytes) = t->components;
}
