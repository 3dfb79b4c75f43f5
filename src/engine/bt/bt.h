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
#include "util/types.h"
#include "vmm/mem.h"
#include "vmm/vcpu.h"

struct bt_cpu;
struct bt_insn;
struct bt_vm;

/* ---- decoded instructions ---------------------------------------------- */

enum bt_width { W8, W16, W32, W64 };
enum bt_rep { REP_NONE, REP_REPZ /* F3 */, REP_REPNZ /* F2 */ };

/*
 * Register operands are byte offsets into bt_cpu.gpr, so that AH is 1 and
 * RCX is 8. Two slots follow the sixteen: one that always reads zero (no base,
 * no index) and the address of the next instruction (RIP-relative).
 */
#define BT_REG(n) ((u8)((n)*8))
#define BT_REG_ZERO BT_REG(16)
#define BT_REG_IP BT_REG(17)
#define BT_REGS 18

/*
 * One decoded instruction, 24 bytes; also the translator's input.
 *
 * Operand fields by the row's operand pattern (opcodes_*.tbl):
 *   E,G   register form a=rm  b=reg;  memory form a=reg, address in b,x,disp
 *   G,E   register form a=reg b=rm;   memory form a=reg, address in b,x,disp
 *   E[,I] register form a=rm;         memory form address in b,x,disp
 *   G,B,E and G,E,B (BMI): v is VEX.vvvv's register
 *   Z     a is the opcode's register
 *   S, C, D: the register's number (not an offset) in the field of G
 * Immediates are sign-extended into imm; movabs and moffs64 use imm64; far
 * pointers have the offset in imm and the selector in disp, ENTER has its
 * second immediate in disp.
 */
struct bt_insn {
	void (*fn)(struct bt_cpu *c, const struct bt_insn *i);
	union {
		struct {
			s32 imm;
			s32 disp;
		};
		u64 imm64;
	};
	u16 row : 12; /* index into bt_rows[] */
	u16 len : 4;  /* bytes, 1..15 */
	u8 a, b, x, v;
	u8 seg : 3; /* enum x86_seg of the memory operand, overrides applied */
	u8 scale : 2;
	u8 asize : 2; /* enum bt_width: W16, W32, W64 */
	u8 lock : 1;
	u8 width : 2; /* enum bt_width of the operation; VEX.L for SIMD */
	u8 rep : 2;   /* enum bt_rep */
	u8 mem : 1;   /* memory form */
	u8 rexw : 1;
	u8 code : 2; /* code size, enum bt_width: W16, W32, W64 */
};
_Static_assert(sizeof(struct bt_insn) == 24, "the translator counts on it");

/* What the opcode tables say of a row; see tools/gen-opcodes. */
enum bt_row_attr {
	ROW_END = 1 << 0,	/* ends the block */
	ROW_LOCK = 1 << 1,	/* LOCK allowed on the memory form */
	ROW_D64 = 1 << 2,	/* 64-bit operands by default in long mode */
	ROW_F64 = 1 << 3,	/* always 64-bit operands in long mode */
	ROW_SIMD = 1 << 4,	/* runs on the host's unit by a stub */
	ROW_UNALIGNED = 1 << 5, /* 16-byte memory operand may be unaligned */
	ROW_PRIV = 1 << 6,	/* #GP(0) unless CPL is 0; fn checks */
	ROW_VEX = 1 << 7,	/* VEX-encoded */
	ROW_L0 = 1 << 8,	/* VEX.L must be 0 */
	ROW_L1 = 1 << 9,	/* VEX.L must be 1 */
	ROW_W0 = 1 << 10,	/* VEX.W must be 0 */
	ROW_W1 = 1 << 11,	/* VEX.W must be 1 */
	ROW_VVVV = 1 << 12,	/* VEX.vvvv is an operand (else must be 1111) */
	ROW_MEMW = 1 << 13,	/* SIMD: the memory operand is written */
	ROW_NOTEST = 1 << 14,  /* not runnable in a user process: ring 0, I/O */
	ROW_X87 = 1 << 15,     /* #NM by CR0.EM|TS, waits for #MF */
	ROW_MMX = 1 << 16,     /* #UD by EM, #NM by TS, #MF pending */
	ROW_SSE = 1 << 17,     /* #UD by EM or !OSFXSR, #NM by TS */
	ROW_AVX = 1 << 18,     /* #UD by !OSXSAVE or XCR0, #NM by TS */
	ROW_VSIB = 1 << 19,    /* gather: index is a vector */
	ROW_LIG = 1 << 20,     /* VEX.L ignored */
	ROW_ALIGNED = 1 << 21, /* VEX: memory operand must be aligned */
	ROW_CONTROL = 1 << 22, /* x87: leaves FIP, FDP and FOP */
};

struct bt_row {
	const char *name;
	const char *operands;
	u32 attrs;
	u16 opcode;
	u8 map;	       /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
	s8 reg;	       /* /digit, -1: any */
	s8 mod;	       /* 0: memory, 3: register, -1: any */
	s8 rm;	       /* -1: any */
	s8 prefix;     /* 0 none ("np"), 1 66, 2 F3, 3 F2, -1: any other */
	s8 mode64;     /* 0: not in 64-bit code, 1: only there, -1: any */
	u8 feature;    /* enum cpu_feature */
	u8 feature_l1; /* instead of it where VEX.L is 1; 0: same */
	u8 mem_size;   /* SIMD: bytes of the memory operand, for VEX.L 0 */
	u8 mem_size_l1;
	u16 flags_read, flags_written, flags_undef; /* FLAG_* */
	u16 fnset;
};

extern const struct bt_row bt_rows[];
extern const unsigned bt_row_count;

/* ---- software TLB ------------------------------------------------------ */

/*
 * tag: page address | ASID of its half; never equal to a lookup's tag when
 * invalid. addend: host address minus guest linear address.
 */
struct bt_tlb_entry {
	u64 tag;
	u64 addend;
};
#define BT_TLB_ENTRIES 1024
#define BT_TLB_INVALID ~0ull

struct bt_tlb {
	struct bt_tlb_entry read[BT_TLB_ENTRIES];
	struct bt_tlb_entry write[BT_TLB_ENTRIES];
};

/* Which pages an access may touch; selects the table. */
enum bt_mmu {
	MMU_USER,      /* CPL 3 */
	MMU_KERNEL,    /* CPL 0..2 with SMAP in force */
	MMU_KERNEL_AC, /* CPL 0..2, SMAP off or EFLAGS.AC set */
	MMU_COUNT,
};

/* ---- blocks ------------------------------------------------------------ */

/*
 * Instructions decoded from one physical page (the last one may run over into
 * the next: `pa2`). Immutable but for `valid`, which is cleared when the guest
 * writes to the code; memory is reclaimed only by a flush of everything.
 */
struct bt_block;

/* A block in the list of a page it has code in. */
struct bt_page_link {
	gpa_t page;
	struct bt_block *block;
	struct bt_page_link *next;
};

struct bt_block {
	u64 pa;	 /* of the first byte */
	u64 pa2; /* page the last instruction runs into, 0: none */
	struct bt_block *hash_next;
	struct bt_page_link link; /* a second one is allocated with pa2 */
	_Atomic u8 valid;
	u8 code;   /* enum bt_width */
	u16 count; /* instructions */
	u16 bytes;
	u16 reserved;
	struct bt_insn insn[];
};

/* Where a linear address was last found to lead, checked inline (exec.c). */
#define BT_JUMP_ENTRIES 4096
struct bt_jump {
	u64 lin;
	u64 context; /* code size, CPL, ASID of lin's half, jump_gen */
	struct bt_block *block;
	u64 reserved;
};

/* ---- vCPU -------------------------------------------------------------- */

enum bt_attention { /* why the run loop must look before the next block */
		    ATTN_EVENTS =
			    1, /* vcpu->events changed, or IF/TPR opened */
		    ATTN_STEP = 4, /* TF or a breakpoint: one instruction at a
				      time */
		    ATTN_EXCLUSIVE =
			    8, /* another vCPU wants the guest to itself */
		    ATTN_TRAP =
			    16, /* a #DB trap is due after this instruction */
		    ATTN_HALT = 32, /* HLT executed */
		    ATTN_STOP = 64, /* leave run() with c->exit filled */
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
	struct bt_tlb *tlb; /* of the current enum bt_mmu, or the empty one */
	u64 asid[2];	    /* [0] low half, [1] high half of addresses */
	u64 seg_base[8];    /* as added to offsets; 0 for all but FS, GS in
			       64-bit code */
	u64 lin_mask;	    /* ~0 in 64-bit code, else 32 bits */
	u64 stack_mask;	    /* of RSP as address, by SS.B and mode */
	u64 ip_mask;	    /* of RIP, by code size */
	u64 retired;	    /* instructions */

	struct bt_block *block; /* that runs */
	u64 block_ip;		/* RIP of its first instruction */
	struct bt_vm *bvm;
	struct vcpu *vcpu;
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
	u8 pv_eoi_armed; /* the guest may end its interrupt in memory (pv.c) */
	u32 pauses;	 /* PAUSEs so far (sysops.c) */

	/* The exception being raised or delivered. */
	struct {
		u8 vector;
		bool has_error;
		bool soft; /* INT n, INT3, INTO: saved RIP is the next one */
		bool pending; /* from a saved state; event.c delivers it */
		u32 error;
	} exc;
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

	/* TLB bookkeeping (tlb.c). */
	u32 next_asid;
	u32 jump_gen;	     /* part of a jump entry's context */
	bool high_nonglobal; /* the high half holds entries without G */
	u64 large_slots[8];  /* PML4 slots with a large page in the TLB */
	struct {	     /* a read-modify-write's slow case */
		gpa_t pa[2];
		unsigned first; /* bytes in pa[0]'s page */
	} rmw;

	u64 scratch; /* bt_rmw_begin's, of operations (ops.h) */

	/* Counters for --stats. */
	u64 stat_faults[32], stat_interrupts, stat_tlb_miss, stat_decoded;
	u64 stat_exits, stat_invalidated, stat_rep, stat_task_switch;
	u64 stat_vm86, stat_unknown_msr;

	u8 xsave[X86_XSAVE_AREA] __attribute__((aligned(64)));
	u8 bounce[1024] __attribute__((aligned(64))); /* of SIMD operands */

	struct bt_tlb mmu[MMU_COUNT];
	struct bt_jump jump[BT_JUMP_ENTRIES];
};

enum { BT_SHADOW_STI = 1, BT_SHADOW_MOVSS = 2 };

/* ---- what operations call ---------------------------------------------- */

/* Deliver an exception for the running instruction. Does not return. */
_Noreturn void bt_raise(struct bt_cpu *c, u8 vector); /* no error code */
_Noreturn void bt_raise_error(struct bt_cpu *c, u8 vector, u32 error);
_Noreturn void bt_raise_pf(struct bt_cpu *c, gva_t addr, u32 error);
static inline _Noreturn void bt_gp(struct bt_cpu *c)
{
	bt_raise_error(c, VEC_GP, 0);
}
static inline _Noreturn void bt_ud(struct bt_cpu *c)
{
	bt_raise(c, VEC_UD);
}

/* Ask the run loop to look after this instruction. */
static inline void bt_attend(struct bt_cpu *c, u32 why)
{
	__atomic_fetch_or((u32 *)&c->attention, why, __ATOMIC_SEQ_CST);
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
#define AF_CF 0x0100u
#define AF_PF 0x0400u
#define AF_AF 0x1000u
#define AF_ZF 0x4000u
#define AF_SF 0x8000u
#define AF_OF 0x0001u
#define AF_ONE 0x0200u /* LAHF's constant bit */

static inline u32 bt_flags(const struct bt_cpu *c)
{
	return c->eflags | (c->aflags >> 8 & 0xd5) |
	       (u32)(c->aflags & 1) << 11 | FLAG_1;
}
static inline u16 bt_pack_aflags(u32 flags)
{
	return (u16)((flags & 0xd5) << 8 | AF_ONE | (flags >> 11 & 1));
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

/* tlb.c */
extern struct bt_tlb bt_empty_tlb;   /* misses always: every access is slow */
void bt_tlb_flush(struct bt_cpu *c); /* all, global too */
void bt_tlb_flush_nonglobal(struct bt_cpu *c); /* as a CR3 write */
void bt_tlb_flush_page(struct bt_cpu *c, gva_t va);
