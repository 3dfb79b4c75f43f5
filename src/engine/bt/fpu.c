/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the guest's FPU and SIMD state is: in bt_cpu.xsave or in the host.
 *
 * References: [1] Intel SDM vol. 1 chapter 13 (XSAVE), 8.1 (x87 state),
 *                 vol. 3A table 10-1 (state after RESET and INIT).
 *
 * The image is kept in the standard format with all of the policy's
 * components. FIP, FDP and FOP in it are the guest's (bt_cpu.fip ...), put
 * there whenever the image is written: the host's would tell addresses of ours.
 */
#include "engine/bt/fpu.h"

#include "engine/bt/xsave.h"

static void xsave_host(void *area, u64 mask)
{
	__asm__ volatile("xsave64 (%0)"
			 :
			 : "r"(area), "a"((u32)mask), "d"((u32)(mask >> 32))
			 : "memory");
}

static void xrstor_host(const void *area, u64 mask)
{
	__asm__ volatile("xrstor64 (%0)"
			 :
			 : "r"(area), "a"((u32)mask), "d"((u32)(mask >> 32))
			 : "memory");
}

static void fxsave_host(void *area)
{
	__asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

static void fxrstor_host(const void *area)
{
	__asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

/* What System V code expects on entry: x87 double extended, all masked. */
static void host_control_words(void)
{
	static const u32 mxcsr = MXCSR_RESET;

	__asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
}

void bt_fpu_load_slow(struct bt_cpu *c)
{
	if (cpu_has(c->policy, FEAT_XSAVE))
		xrstor_host(c->xsave, c->policy->xcr0_mask);
	else
		fxrstor_host(c->xsave);
	c->fpu_live = true;
}

void bt_fpu_save_slow(struct bt_cpu *c)
{
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)c->xsave;

	if (cpu_has(c->policy, FEAT_XSAVE))
		xsave_host(c->xsave, c->policy->xcr0_mask);
	else
		fxsave_host(c->xsave);
	x->fip = c->fip;
	x->fdp = c->fdp;
	x->fop = c->fop;
	x->mxcsr_mask = MXCSR_MASK;
	host_control_words();
	c->fpu_live = false;
}

void bt_fpu_reset(struct bt_cpu *c, bool init)
{
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)c->xsave;

	/* [1] table 10-1: INIT leaves x87, MMX, XMM and MXCSR as they are. */
	if (init)
		return;
	c->fpu_live = false;
	for (unsigned k = 0; k < sizeof(c->xsave); k += 8)
		*(u64 *)(void *)(c->xsave + k) = 0;
	/* RESET, not FNINIT: FCW 40h, all registers +0.0 and tagged valid. */
	x->fcw = 0x40;
	x->ftw = 0xff;
	x->mxcsr = MXCSR_RESET;
	x->mxcsr_mask = MXCSR_MASK;
	*xsave_header(c->xsave) = XCR0_X87 | XCR0_SSE;
	c->fip = c->fdp = 0;
	c->fop = c->fcs = c->fds = 0;
}
