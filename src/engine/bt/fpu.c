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

#include "engine/bt/signals.h"
#include "engine/bt/span.h"
#include "arch/xsave.h"

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
	bt_live_cpu = c;
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
	c->fpu_ready = 0;
}

void bt_fpu_reset(struct bt_cpu *c, bool init)
{
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)c->xsave;

	/* [1] table 10-1: INIT leaves x87, MMX, XMM and MXCSR as they are. */
	if (init)
		return;
	bt_fpu_save(c);
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

void bt_fpu_get(struct bt_cpu *c, u8 *image)
{
	bt_fpu_save(c);
	bt_copy(image, c->xsave, sizeof(c->xsave));
}

/* A component that the header calls initial is made so: operations read the
 * image without looking at the header. */
static void fill_initial(struct bt_cpu *c, u64 present)
{
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)c->xsave;

	if (!(present & XCR0_X87)) {
		bt_zero(x, offsetof(struct xsave_legacy, mxcsr));
		bt_zero(x->st, sizeof(x->st));
		x->fcw = FCW_INIT;
	}
	if (!(present & XCR0_SSE))
		bt_zero(x->xmm, sizeof(x->xmm));
	if (!(present & XCR0_AVX))
		bt_zero(c->xsave + XSAVE_AVX, sizeof(c->xsave) - XSAVE_AVX);
}

void bt_fpu_set(struct bt_cpu *c, const u8 *image)
{
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)c->xsave;
	u64 *header = xsave_header(c->xsave);

	bt_fpu_save(c);
	bt_copy(c->xsave, image, sizeof(c->xsave));
	/* What the host would refuse to load ([1] 13.8). */
	*header &= c->policy->xcr0_mask | XCR0_X87 | XCR0_SSE;
	bt_zero(header + 1, XSAVE_HEADER_BYTES - 8);
	x->mxcsr &= MXCSR_MASK;
	x->mxcsr_mask = MXCSR_MASK;
	fill_initial(c, *header);
	c->fip = x->fip;
	c->fdp = x->fdp;
	c->fop = x->fop & 0x7ff;
	c->fcs = c->fds = 0;
}
