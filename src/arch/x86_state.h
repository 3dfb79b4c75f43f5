/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole architectural state of one vCPU, engine-neutral: what one engine
 * saves the other loads. Load order: CPUID, TSC, LAPIC, deadline.
 */
#pragma once

#include "util/types.h"

struct cpu_policy;
struct err;

enum x86_gpr {
	X86_RAX,
	X86_RCX,
	X86_RDX,
	X86_RBX,
	X86_RSP,
	X86_RBP,
	X86_RSI,
	X86_RDI,
	X86_R8,
	X86_R9,
	X86_R10,
	X86_R11,
	X86_R12,
	X86_R13,
	X86_R14,
	X86_R15,
	X86_GPRS,
};

/* Encoded as in instructions, then the two system segments. */
enum x86_seg {
	X86_ES,
	X86_CS,
	X86_SS,
	X86_DS,
	X86_FS,
	X86_GS,
	X86_SEGS,
	X86_LDTR = X86_SEGS,
	X86_TR,
	X86_ALL_SEGS,
};

/*
 * A segment register with its hidden part. attr is bits 8..23 of the
 * descriptor's high word: type 3:0, S 4, DPL 6:5, P 7, (limit 11:8 is zero),
 * AVL 12, L 13, D/B 14, G 15. limit is in bytes, G already applied.
 */
struct x86_segment {
	u64 base;
	u32 limit;
	u16 selector;
	u16 attr;
};

enum x86_seg_attr {
	SEG_TYPE = 0x0f,
	SEG_ACCESSED = 0x01,
	SEG_WRITABLE = 0x02, /* data */
	SEG_READABLE = 0x02, /* code */
	SEG_EXPAND_DOWN = 0x04,
	SEG_CONFORMING = 0x04,
	SEG_CODE = 0x08,
	SEG_TSS_BUSY = 0x02, /* system, a TSS */
	SEG_S = 0x10,	     /* code or data; clear: system */
	SEG_DPL_SHIFT = 5,
	SEG_DPL = 0x60,
	SEG_P = 0x80,
	SEG_AVL = 0x1000,
	SEG_L = 0x2000,
	SEG_DB = 0x4000,
	SEG_G = 0x8000,
	SEG_UNUSABLE = 0x0100, /* null selector loaded; not a descriptor bit */
};

struct x86_table {
	u64 base;
	u16 limit;
	u16 reserved[3];
};

enum x86_mp_state { X86_MP_RUNNABLE, X86_MP_HALTED, X86_MP_WAIT_SIPI };

/* MSRs that are plain storage or have engine-side effects, one slot each. */
struct x86_msrs {
	u64 efer, star, lstar, cstar, sfmask;
	u64 fs_base, gs_base; /* equal to the segments' bases */
	u64 kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 pat, apic_base, tsc_aux, tsc_adjust, misc_enable, spec_ctrl;
	u64 mtrr_def_type, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8];
	u64 debugctl;
	u64 xss;
	u64 kvm_system_time, kvm_wall_clock, kvm_pv_eoi, kvm_steal_time;
	u64 kvm_async_pf, kvm_poll_control;
};

#define X86_XSAVE_AREA 4096 /* standard format, enough for AVX-512 */

struct x86_state {
	u64 gpr[X86_GPRS];
	u64 rip, rflags;
	struct x86_segment seg[X86_ALL_SEGS];
	struct x86_table gdtr, idtr;
	u64 cr0, cr2, cr3, cr4, cr8, xcr0;
	u64 dr[8]; /* dr[4], dr[5] unused */
	u64 pdpte[4];
	struct x86_msrs msr;
	u64 tsc;	  /* guest TSC at save */
	u64 tsc_deadline; /* absolute guest TSC, 0: none */

	u8 mp_state;	 /* enum x86_mp_state */
	u8 shadow_sti;	 /* the interrupt shadow of STI */
	u8 shadow_movss; /* of MOV SS / POP SS */
	u8 nmi_masked;	 /* until IRET */
	u8 nmi_pending;
	/* An exception raised but not yet delivered. */
	u8 exc_pending, exc_vector, exc_has_error;
	u32 exc_error;
	/* An interrupt that the chips regard as taken, likewise. */
	u8 intr_pending, intr_vector;
	u8 reserved[2];

	u8 xsave[X86_XSAVE_AREA] __attribute__((aligned(64)));
};

/* State after RESET (SDM vol. 3A table 10-1): real mode at f000:fff0. */
void x86_state_reset(struct x86_state *state);
/* After INIT: as RESET, but for what INIT keeps, and waiting for SIPI. */
void x86_state_init(struct x86_state *state);
/* A SIPI takes it from there; `signature` is CPUID 1's EAX. */
void x86_state_sipi(struct x86_state *state, u8 vector, u32 signature);

/*
 * Bring a state to the one form in which all that are equal to a guest are
 * equal byte for byte: what a processor derives (G of a limit, the accessed and
 * busy bits), ignores (rights of an unusable segment) or may leave out (initial
 * components of the XSAVE area) is as if it had not.
 */
void x86_state_normal(struct x86_state *state, const struct cpu_policy *policy);

/*
 * -EINVAL where no processor of this policy can be in that state. What passes
 * does engines no harm, whatever becomes of the guest. `err` may be NULL.
 */
int x86_state_check(const struct x86_state *state,
		    const struct cpu_policy *policy, struct err *err);
