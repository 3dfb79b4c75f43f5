/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which states a processor can be in, and the one form of each.
 *
 * References: [1] Intel SDM vol. 3C 26.3.1 (checks on the guest state, the
 * same that a processor makes of its own), vol. 3A 3.4.5 (G and limits), 4.4.1
 * (PDPTEs), 6.3 (vectors); vol. 1 13.4 to 13.8 (XSAVE area).
 * [2] AMD APM vol. 2 15.5.1 (illegal states).
 */
#include "arch/x86_state.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "arch/control.h"
#include "arch/x86.h"
#include "arch/xsave.h"
#include "util/err.h"

/* ---- one form ---------------------------------------------------------- */

/* What of the attributes a processor derives or ignores is not state: engines
 * that run on one give it back as that likes. */
static void normal_segment(struct x86_segment *seg, unsigned n)
{
	u16 dpl = n == X86_SS ? seg->attr & SEG_DPL : 0;
	u16 known =
		SEG_TYPE | SEG_S | SEG_DPL | SEG_P | SEG_AVL | SEG_L | SEG_DB;

	if (seg->attr & SEG_UNUSABLE || !(seg->attr & SEG_P)) {
		seg->attr = SEG_UNUSABLE | dpl;
		return;
	}
	seg->attr &= known;
	seg->attr |= seg->limit > 0xfffff ? SEG_G : 0;
	if (seg->attr & SEG_S)
		seg->attr |= SEG_ACCESSED;
	else if (n == X86_TR)
		seg->attr |= SEG_TSS_BUSY;
}

/* Every component is there, initial ones as their initial values; what is not
 * loaded from the area ([1] vol. 1 10.5.1) is zero. */
static void normal_xsave(u8 *area, u64 components, u32 size)
{
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)area;
	u64 *header = xsave_header(area);
	u64 present = *header;

	if (!(present & XCR0_X87)) {
		memset(x, 0, offsetof(struct xsave_legacy, mxcsr));
		memset(x->st, 0, sizeof(x->st));
		x->fcw = FCW_INIT;
	}
	if (!(present & XCR0_SSE))
		memset(x->xmm, 0, sizeof(x->xmm));
	if (!(present & XCR0_AVX))
		memset(area + XSAVE_AVX, 0, X86_XSAVE_AREA - XSAVE_AVX);
	if (size < XSAVE_AVX)
		size = XSAVE_AVX;
	memset(area + size, 0, X86_XSAVE_AREA - size);
	x->reserved = 0;
	x->fop &= 0x7ff;
	x->mxcsr &= MXCSR_MASK;
	x->mxcsr_mask = MXCSR_MASK;
	for (unsigned i = 0; i < ARRAY_SIZE(x->st); i++)
		memset(x->st[i] + 10, 0, 6);
	memset(x->tail, 0, sizeof(x->tail));
	memset(header, 0, XSAVE_HEADER_BYTES);
	*header = components;
}

static bool has_pdptes(const struct x86_state *state)
{
	return state->cr0 & CR0_PG && state->cr4 & CR4_PAE &&
	       !(state->msr.efer & EFER_LMA);
}

void x86_state_normal(struct x86_state *state, const struct cpu_policy *policy)
{
	for (unsigned n = 0; n < X86_ALL_SEGS; n++)
		normal_segment(&state->seg[n], n);
	state->msr.fs_base = state->seg[X86_FS].base;
	state->msr.gs_base = state->seg[X86_GS].base;
	memset(state->gdtr.reserved, 0, sizeof(state->gdtr.reserved));
	memset(state->idtr.reserved, 0, sizeof(state->idtr.reserved));
	state->rflags |= FLAG_1;
	state->cr0 |= CR0_ET;
	state->dr[4] = state->dr[5] = 0;
	if (!has_pdptes(state))
		memset(state->pdpte, 0, sizeof(state->pdpte));
	if (!cpu_has(policy, FEAT_XSAVE))
		state->xcr0 = XCR0_X87;
	if (!state->exc_pending)
		state->exc_vector = state->exc_has_error = 0;
	if (!state->exc_pending || !state->exc_has_error)
		state->exc_error = 0;
	if (!state->intr_pending)
		state->intr_vector = 0;
	memset(state->reserved, 0, sizeof(state->reserved));
	normal_xsave(state->xsave, policy->xcr0_mask | XCR0_X87 | XCR0_SSE,
		     policy->xsave_size);
}

/* ---- which there are --------------------------------------------------- */

/* [1] 26.3.1.1 */
static const char *check_control(const struct x86_state *s,
				 const struct cpu_policy *policy)
{
	u64 physical = BIT(policy->maxphyaddr) - 1, efer = s->msr.efer;
	bool pg = s->cr0 & CR0_PG, lma = efer & EFER_LMA;

	if (s->cr0 >> 32 || (pg && !(s->cr0 & CR0_PE)) ||
	    (s->cr0 & CR0_NW && !(s->cr0 & CR0_CD)))
		return "CR0";
	if (s->cr4 & ~x86_cr4_bits(policy))
		return "CR4";
	if (s->cr4 & CR4_PCIDE && !lma)
		return "CR4";
	if (s->cr3 & ~physical)
		return "CR3";
	if (efer & ~x86_efer_bits(policy) || lma != (pg && efer & EFER_LME) ||
	    (lma && !(s->cr4 & CR4_PAE)))
		return "EFER";
	if (s->cr8 > 15)
		return "CR8";
	if (!(s->xcr0 & XCR0_X87) ||
	    s->xcr0 & ~(policy->xcr0_mask | XCR0_X87) ||
	    (s->xcr0 & XCR0_AVX && !(s->xcr0 & XCR0_SSE)))
		return "XCR0";
	return NULL;
}

static const char *check_debug(const struct x86_state *s)
{
	if (s->dr[6] >> 32 || s->dr[7] >> 32)
		return "debug registers";
	return NULL;
}

/*
 * [1] 26.3.1.2: what decides about rights, and no more. Limits and types may be
 * anything: they stay as real mode left them until they are loaded anew, and a
 * far jump out of 64-bit mode leaves a null SS.
 */
static const char *check_segments(const struct x86_state *s)
{
	const struct x86_segment *cs = &s->seg[X86_CS], *ss = &s->seg[X86_SS];
	bool lma = s->msr.efer & EFER_LMA;
	u16 unlike = (cs->attr ^ ss->attr) & SEG_DPL;

	if (!(s->cr0 & CR0_PE))
		return NULL;
	if (!(cs->attr & SEG_P) || cs->attr & SEG_UNUSABLE ||
	    (lma && cs->attr & SEG_L && cs->attr & SEG_DB))
		return "code segment";
	if (unlike && (cs->attr & (SEG_CODE | SEG_CONFORMING)) !=
			      (SEG_CODE | SEG_CONFORMING))
		return "privilege level";
	return NULL;
}

static const char *check_addresses(const struct x86_state *s,
				   const struct cpu_policy *policy)
{
	const u64 must[] = {
		s->gdtr.base,	       s->idtr.base,
		s->seg[X86_FS].base,   s->seg[X86_GS].base,
		s->seg[X86_TR].base,   s->seg[X86_LDTR].base,
		s->msr.kernel_gs_base, s->msr.lstar,
		s->msr.cstar,	       s->msr.sysenter_esp,
		s->msr.sysenter_eip,
	};
	const u64 narrow[] = {
		s->seg[X86_ES].base, s->seg[X86_CS].base, s->seg[X86_SS].base,
		s->seg[X86_DS].base, s->msr.tsc_aux,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(must); i++)
		if (!x86_is_canonical(must[i]))
			return "addresses";
	for (unsigned i = 0; i < ARRAY_SIZE(narrow); i++)
		if (narrow[i] >> 32)
			return "addresses";
	return NULL;
}

/* [1] table 24-17 and 26.3.1.5. */
static const char *check_events(const struct x86_state *s)
{
	const u8 flags[] = {
		s->shadow_sti,	 s->shadow_movss, s->nmi_masked,
		s->nmi_pending,	 s->exc_pending,  s->exc_has_error,
		s->intr_pending,
	};

	if (s->mp_state > X86_MP_WAIT_SIPI)
		return "activity";
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		if (flags[i] > 1)
			return "events";
	if (s->exc_pending && (s->exc_vector > 31 || s->exc_vector == VEC_NMI))
		return "events";
	return NULL;
}

int x86_state_check(const struct x86_state *state,
		    const struct cpu_policy *policy, struct err *err)
{
	const char *bad = check_control(state, policy);

	if (!bad)
		bad = check_debug(state);
	if (!bad)
		bad = check_segments(state);
	if (!bad)
		bad = check_addresses(state, policy);
	if (!bad)
		bad = check_events(state);
	if (bad)
		return err_set(err, -EINVAL,
			       "no processor can be in this state: its %s",
			       bad);
	return 0;
}
