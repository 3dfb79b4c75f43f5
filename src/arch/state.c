/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a processor holds after RESET and after INIT.
 *
 * References: [1] Intel SDM vol. 3A, table 10-1 and 10.1.1; vol. 1, 13.4.1
 * and 13.4.2 (the XSAVE area). [2] AMD APM vol. 2, table 14-1.
 */
#include "arch/x86_state.h"

#include <string.h>

#include "arch/x86.h"

enum {
	RESET_SELECTOR = 0xf000,
	RESET_RIP = 0xfff0,
	RESET_SIGNATURE = 0x600, /* EDX: family 6, as [1] has it */
	RESET_FCW = 0x40,
	RESET_MXCSR = 0x1f80,
	XSAVE_FCW = 0, /* offsets in the XSAVE area */
	XSAVE_FTW = 4,
	XSAVE_MXCSR = 24,
	XSAVE_BV = 512,
	MISC_FAST_STRINGS = 1 << 0,
	MISC_NO_BTS = 1 << 11,
	MISC_NO_PEBS = 1 << 12,
};
#define RESET_CS_BASE 0xffff0000u
/* Write-back, write-through, uncached minus, uncached; twice. */
#define RESET_PAT 0x0007040600070406ull

static void reset_segments(struct x86_state *state)
{
	const u16 data = SEG_P | SEG_S | SEG_WRITABLE | SEG_ACCESSED;

	for (unsigned i = 0; i < X86_SEGS; i++)
		state->seg[i] = (struct x86_segment){
			.limit = 0xffff,
			.attr = data,
		};
	state->seg[X86_CS].selector = RESET_SELECTOR;
	state->seg[X86_CS].base = RESET_CS_BASE;
	state->seg[X86_CS].attr = data | SEG_CODE;
	state->seg[X86_LDTR] = (struct x86_segment){
		.limit = 0xffff, .attr = SEG_P | 2, /* LDT */
	};
	state->seg[X86_TR] = (struct x86_segment){
		.limit = 0xffff, .attr = SEG_P | 0xb, /* busy TSS */
	};
	state->gdtr = (struct x86_table){.limit = 0xffff};
	state->idtr = (struct x86_table){.limit = 0xffff};
}

static void reset_fpu(struct x86_state *state)
{
	const u16 control = RESET_FCW;
	const u32 mxcsr = RESET_MXCSR;
	const u64 present = XCR0_X87 | XCR0_SSE;

	memset(state->xsave, 0, sizeof(state->xsave));
	memcpy(state->xsave + XSAVE_FCW, &control, sizeof(control));
	state->xsave[XSAVE_FTW] = 0xff; /* full tags 5555h: all zero */
	memcpy(state->xsave + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
	memcpy(state->xsave + XSAVE_BV, &present, sizeof(present));
}

void x86_state_reset(struct x86_state *state)
{
	memset(state, 0, sizeof(*state));
	state->gpr[X86_RDX] = RESET_SIGNATURE;
	state->rip = RESET_RIP;
	state->rflags = FLAG_1;
	state->cr0 = CR0_CD | CR0_NW | CR0_ET;
	state->xcr0 = XCR0_X87;
	state->dr[6] = DR6_FIXED;
	state->dr[7] = DR7_FIXED;
	state->msr.pat = RESET_PAT;
	state->msr.apic_base = APIC_DEFAULT_BASE | APIC_BASE_EN | APIC_BASE_BSP;
	state->msr.misc_enable = MISC_FAST_STRINGS | MISC_NO_BTS | MISC_NO_PEBS;
	state->mp_state = X86_MP_RUNNABLE;
	reset_segments(state);
	reset_fpu(state);
}

/*
 * [1] table 10-1: INIT keeps the FPU and SIMD state, XCR0, CR0.CD and NW, the
 * TSC, MTRRs and all other MSRs; [2] clears EFER, and so does every CPU on its
 * way to real mode. The paravirtual areas of KVM go: guests register them
 * anew on each CPU they bring up.
 */
void x86_state_init(struct x86_state *state)
{
	const struct x86_state old = *state;
	struct x86_msrs *msr = &state->msr;

	x86_state_reset(state);
	memcpy(state->xsave, old.xsave, sizeof(state->xsave));
	state->xcr0 = old.xcr0;
	state->cr0 = CR0_ET | (old.cr0 & (CR0_CD | CR0_NW));
	state->tsc = old.tsc;
	*msr = old.msr;
	msr->efer = 0;
	msr->fs_base = 0;
	msr->gs_base = 0;
	msr->kvm_system_time = 0;
	msr->kvm_pv_eoi = 0;
	msr->kvm_steal_time = 0;
	msr->kvm_async_pf = 0;
	state->mp_state = X86_MP_WAIT_SIPI;
}

/* [1] 9.4.4.1, step 15 and table 9-1; EDX as after RESET (9.1.2). */
void x86_state_sipi(struct x86_state *state, u8 vector, u32 signature)
{
	struct x86_segment *cs = &state->seg[X86_CS];

	cs->selector = (u16)(vector << 8);
	cs->base = (u64)vector << 12;
	state->rip = 0;
	state->gpr[X86_RDX] = signature;
	state->mp_state = X86_MP_RUNNABLE;
}
