/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Core of the software engine: the vCPU, the decoded instruction, the block,
 * and what operations may call.
 *
 * Theory of operation
 * -------------------
 * Guest code is decoded once into blocks of struct bt_insn (decode.c), kept by
 * physical address (block.c) and run by calling each record's C function
 * (exec.c). An operation reads and writes guest registers in bt_cpu, guest
 * memory through mem.h, and ends normally or by bt_raise(), which unwinds to
 * the run loop and delivers the exception: nothing the guest can see may have
 * changed by then, unless the manual says so (REP, for one).
 *
 * Three facts shape the operations:
 *  - Arithmetic flags are kept as the host's own: `aflags` is AX after
 *    LAHF; SETO AL. Operations execute the host's instruction and keep its
 *    flags, the undefined ones included, as silicon does.
 *  - FPU and SIMD registers of the guest may live in the host's registers
 *    while engine/bt runs (fpu.h). All files of this folder are compiled with
 *    -mgeneral-regs-only and must not call libc; whatever leaves the folder
 *    goes between bt_leave() and bt_enter().
 *  - Operations run with other vCPUs in parallel. What must not, runs between
 *    bt_exclusive_begin() and bt_exclusive_end() (sync.c), when every other
 *    vCPU stands between two instructions or outside.
 */
#pragma once

#include "arch/cpuid.h"
#include "arch/x86.h"
#include "arch/x86_state.h"
#include "engine/bt/aflags.h"
#include "engine/bt/cache.h"
#include "engine/bt/insn.h"
#include "engine/bt/stats.h"
#include "util/types.h"
#include "vmm/mem.h"
#include "vmm/vcpu.h"

struct bt_check;
struct bt_cpu;
struct bt_vm;

/* ---- vCPU -------------------------------------------------------------- */

/* Why the run loop must look before the next block. */
enum bt_attention {
	ATTN_EVENTS = 1,    /* vcpu->events changed, or IF or TPR opened */
	ATTN_STEP = 4,	    /* TF or a breakpoint: one at a time */
	ATTN_EXCLUSIVE = 8, /* another vCPU wants the guest to itself */
	ATTN_TRAP = 16,	    /* a #DB trap is due */
	ATTN_HALT = 32,	    /* HLT executed */
	ATTN_STOP = 64,	    /* leave run() with c->exit filled */
	ATTN_CHECK = 128,   /* a translation runs once, to be compared */
};

struct bt_cpu {
	u64 gpr[BT_REGS];
	u64 rip;    /* of the instruction that runs; gpr[17] is the next */
	u16 aflags; /* CF PF AF ZF SF in AH's places, OF in bit 0 */
	u8 cpl;
	u8 code;		   /* enum bt_width: CS.L, CS.D */
	u32 eflags;		   /* all but the arithmetic flags */
	const struct bt_insn *end; /* the running block ends before this */
	_Atomic u32 attention;	   /* OR of enum bt_attention */
	u32 seg_check;	    /* bit per segment: limit or rights to be checked */
	u8 mode;	    /* enum bt_mmu, or MMU_COUNT: the empty one */
	struct bt_tlb *tlb; /* that mode's */
	u64 seg_base[8];    /* as added to offsets; 0 for all but FS, GS in
			       64-bit code */
	u64 lin_mask;	    /* ~0 in 64-bit code, else 32 bits */
	u64 stack_mask;	    /* of RSP as address, by SS.B and mode */
	u64 ip_mask;	    /* of RIP, by code size */
	u64 retired;	    /* instructions, by the interpreter */

	struct bt_block *block; /* that runs */
	u64 block_ip;		/* RIP of its first instruction */
	struct bt_vm *bvm;
	struct vcpu *vcpu;
	u32 id; /* the vcpu's */
	const struct cpu_policy *policy;

	/* Architectural state that is not hot. */
	struct x86_segment seg[X86_ALL_SEGS];
	struct x86_table gdtr, idtr;
	u64 cr0, cr2, cr3, cr4, xcr0;
	u64 dr[8];
	u64 pdpte[4];
	struct x86_msrs msr;
	u8 mp_state; /* enum x86_mp_state */
	u8 nmi_masked, nmi_pending;
	u8 shadow;	 /* BT_SHADOW_*: in force at shadow_ip */
	u64 shadow_ip;	 /* RIP after STI or MOV SS */
	u64 dr6_pending; /* #DB causes gathered during an instruction */
	u8 stepping;	 /* the instruction that runs began with TF set */
	u8 repeating;	 /* RIP is a repeated one's, with units to go */
	u8 intr_hint;	 /* the LAPIC or the 8259 may have something for us */
	u8 chain[2];	 /* what made the last double fault */
	u8 kick_waited;	 /* for a trap (event.c) */
	u8 pv_eoi_armed; /* the guest may end its interrupt in memory (pv.c) */
	u32 pauses;	 /* PAUSEs so far (sysops.c) */

	/* The exception being raised or delivered. */
	struct {
		u8 vector;
		bool has_error;
		bool soft;    /* INT n, INT3, INTO: saved RIP is the next one */
		bool pending; /* from a saved state; event.c delivers it */
		u32 error;
	} exc;
	int intr_owed;	/* vector acknowledged before a save, -1: none */
	int delivering; /* vector whose delivery is under way (an interrupt's
			   plus BT_BENIGN), -1: none */

	/* FPU and SIMD state: in `xsave` or, when live, in the host. */
	bool fpu_live;
	u64 fip, fdp; /* guest's, as the host's would leak */
	u16 fop, fcs, fds;

	u64 jmp[8]; /* bt_setjmp */
	struct vcpu_exit *exit;
	_Atomic u32 running; /* executing guest code (sync.c) */
	u32 seen_epoch;	     /* bt_vm.epoch at the last block boundary */

	/* Translated code (jit.h). */
	u64 ip_page;	   /* linear address of the page that runs */
	u32 fpu_ready;	   /* OR of FPU_READY_* */
	u32 jit_site;	   /* offset of code: who jumped, or faulted */
	u32 jit_landing;   /* twice the landing that missed */
	u64 jit_pushed_on; /* what the last indirect CALL overwrote */
	u64 jit_value;	   /* an address or operand, kept over a check */
	u64 jit_left;	   /* units of a string instruction, behind a turn */
	u64 jit_target;	   /* where reloading registers leads */
	u64 jit_held;	   /* R9 then (jit.h, enum bt_held) */
	u64 host_sp;	   /* the thread's own stack */
	u64 rdtsc_offset;  /* RDTSC is the host's plus this */
	u64 rdtsc_slow[MMU_COUNT]; /* unless this is not 0 */
	/* bt_landing_mask(), for PEXT; or 0, see bt_call() */
	u64 land_mask[MMU_COUNT];
	u8 land_halves[MMU_COUNT]; /* bit per half that entries lead to */
	u8 land_ready;		   /* bit per mode: entries are filled in */
	bool fixed_ok;		   /* the fixed range is where it should be */
	u32 fixed_seen;		   /* bt_fixed.turn when we looked */
	struct bt_window window[MMU_COUNT];

	/* TLB bookkeeping (tlb.c). [0] is the low half, [1] the high half of
	 * the address space. */
	u64 fetch[2];	     /* a new number for each flush of fetches */
	u64 fetch_last;	     /* the last number given for the low half */
	u64 fetched[2][64];  /* pages fetched from since then, a bit by hash */
	bool high_nonglobal; /* the high half holds entries without G */
	bool low_global;     /* the low half has held some with G */
	u64 large_slots[8];  /* PML4 slots with a large page in the TLB */
	struct {	     /* a read-modify-write's slow case */
		gpa_t pa[2];
		unsigned first; /* bytes in pa[0]'s page */
		bool exclusive; /* locked, and RAM */
	} rmw;

	u64 scratch; /* bt_rmw_begin's, of operations (ops.h) */

	struct bt_check *check;	      /* --bt check (check.h), else NULL */
	struct bt_check *check_later; /* the same, until user code runs */

	u8 xsave[X86_XSAVE_AREA] __attribute__((aligned(64)));
	u8 bounce[1024] __attribute__((aligned(64))); /* of SIMD operands */

	struct bt_tlb mmu[MMU_COUNT];
	struct bt_jump jump[BT_JUMP_ENTRIES];
	struct bt_landing_log land_log[MMU_COUNT];
	struct bt_landing land[BT_LANDINGS];
	struct bt_shelf shelf[BT_SHELVES];
	u64 shelf_turn;
	struct bt_stats stat;
};

enum { BT_SHADOW_STI = 1, BT_SHADOW_MOVSS = 2 };

/* ---- what operations call ---------------------------------------------- */

/* Deliver an exception for the running instruction. Does not return. */
_Noreturn void bt_raise(struct bt_cpu *c, u8 vector); /* no error code */
_Noreturn void bt_raise_error(struct bt_cpu *c, u8 vector, u32 error);
_Noreturn void bt_raise_pf(struct bt_cpu *c, gva_t addr, u32 error);
/* A fetch from memory that the VM's map says is no code: ends the run. */
_Noreturn void bt_refuse_fetch(struct bt_cpu *c, gva_t va, gpa_t pa);
static inline _Noreturn void bt_gp(struct bt_cpu *c)
{
	bt_raise_error(c, VEC_GP, 0);
}
static inline _Noreturn void bt_ud(struct bt_cpu *c)
{
	bt_raise(c, VEC_UD);
}

/* Ask the run loop to look soon; any thread. Translated code sees the one at
 * jumps backwards, and by the other no landing is the right one. */
static inline void bt_call(struct bt_cpu *c, u32 why)
{
	__atomic_fetch_or((u32 *)&c->attention, why, __ATOMIC_SEQ_CST);
	for (unsigned m = 0; m < MMU_COUNT; m++)
		__atomic_store_n(&c->land_mask[m], 0, __ATOMIC_SEQ_CST);
}

/* Ask the run loop to look after this instruction. */
static inline void bt_attend(struct bt_cpu *c, u32 why)
{
	bt_call(c, why);
	c->end = NULL;
}

/* Registers by offset and width. A 32-bit write clears the upper half. */
typedef u16 __attribute__((may_alias, aligned(1))) u16_any;
typedef u32 __attribute__((may_alias, aligned(1))) u32_any;
typedef u64 __attribute__((may_alias, aligned(1))) u64_any;

static inline u8 *bt_r8(struct bt_cpu *c, u8 off)
{
	return (u8 *)c->gpr + off;
}
static inline u16_any *bt_r16(struct bt_cpu *c, u8 off)
{
	return (u16_any *)((u8 *)c->gpr + off);
}
static inline u64 *bt_r64(struct bt_cpu *c, u8 off)
{
	return (u64 *)(void *)((u8 *)c->gpr + off);
}
static inline u32 bt_get32(struct bt_cpu *c, u8 off)
{
	return (u32)*bt_r64(c, off);
}
static inline void bt_set32(struct bt_cpu *c, u8 off, u32 val)
{
	*bt_r64(c, off) = val;
}
/* By run-time width, for operations that are not worth a variant each. */
u64 bt_get_reg(struct bt_cpu *c, u8 off, unsigned width);
void bt_set_reg(struct bt_cpu *c, u8 off, unsigned width, u64 val);

/* Arithmetic flags. */
static inline u32 bt_flags(const struct bt_cpu *c)
{
	return c->eflags | (c->aflags >> 8 & 0xd5) |
	       (u32)(c->aflags & 1) << 11 | FLAG_1;
}
static inline void bt_set_arith(struct bt_cpu *c, u32 flags)
{
	c->aflags = bt_pack_aflags(flags);
}
/*
 * Set all of EFLAGS (arithmetic included) with its effects: attention for IF
 * and TF, the MMU table for AC. Which bits the caller may change is the
 * caller's to decide.
 */
void bt_set_flags(struct bt_cpu *c, u32 flags);

static inline bool bt_mode64(const struct bt_cpu *c)
{
	return c->code == W64;
}
static inline bool bt_long_mode(const struct bt_cpu *c)
{
	return c->msr.efer & EFER_LMA;
}
static inline bool bt_protected(const struct bt_cpu *c)
{
	return c->cr0 & CR0_PE;
}
static inline unsigned bt_iopl(const struct bt_cpu *c)
{
	return c->eflags >> FLAG_IOPL_SHIFT & 3;
}

/* state.c: recompute what is derived (tlb, masks, seg_base, seg_check,
 * context, code) after CR0, CR4, EFER, CS, SS, CPL or EFLAGS.AC changed. */
void bt_update_mode(struct bt_cpu *c);
/* The same where only CS, SS and what they tell (CPL, code size) changed. */
void bt_update_code(struct bt_cpu *c);

/* fault.c: through the IDT. Not for operations, but INT n and INT3. */
void bt_deliver(struct bt_cpu *c, u8 vector, bool soft, bool has_error,
		u32 error);

/* sync.c */
void bt_enter(struct bt_cpu *c); /* outside -> guest; waits if need be */
void bt_leave(struct bt_cpu *c); /* guest -> outside; saves a live FPU */
/* c: the calling vCPU, NULL for any other thread. Nests. */
void bt_exclusive_begin(struct bt_vm *bvm, struct bt_cpu *c);
void bt_exclusive_end(struct bt_vm *bvm, struct bt_cpu *c);

/* Outside of everything at a block boundary; keeps the FPU live. */
void bt_park(struct bt_cpu *c);
/* The same until *word is not val (somebody may wake it) or `ns` have passed;
 * less than a second. */
void bt_sleep(struct bt_cpu *c, _Atomic u32 *word, u32 val, u32 ns);
