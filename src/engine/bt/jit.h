/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The translator: blocks of decoded instructions as host code.
 *
 * Theory of operation
 * -------------------
 * A block that has run a few times is translated (jit_translate.c) for the
 * MMU mode it runs in, by three passes: decode (block.c has done it), analyse
 * (jit_analyse.c: which flags are live where, which accesses the stack window
 * covers), emit (jit_*.c). Only 64-bit code is; everything else is interpreted.
 *
 * Registers. Most guest registers are the host's of the same name; RSP is in
 * R11; R8 to R11 are in bt_cpu.gpr. R8, R9 and R10 are scratch, but R9 keeps
 * an addend over instructions that do not need it (enum bt_held): whoever comes
 * back into a block's middle finds it as bt_place.held says. The host's RSP
 * points to the bt_cpu, so its fields are [RSP + disp]; below it is room for a
 * signal frame. Arithmetic flags are the host's at every instruction boundary,
 * or dead: then they hold anything. SIMD and x87 registers are the guest's
 * while bt_cpu.fpu_ready says so, which a block looks at once, at its head.
 *
 * Where a block is in the guest's address space is not part of its code, so
 * that processes share translations: bt_cpu.ip_page is the linear address of
 * the page that runs. Jumps within the page are chained directly; all others
 * go by a landing table, and the landing block checks that it is the one that
 * was meant (`ind`). The exception is a kernel's code, which stays where it is
 * (jit_fixed.c): its translations are for one address, and chained across
 * pages.
 *
 * The stack is looked up once a block: all that it accesses by RSP must lie in
 * the page of bt_cpu.window, which moves if need be. A chained block does not
 * look again if what it would look for is part of what the one before it has
 * found. That holds from one to the other: whatever could take the page away
 * ends a block (a flush), or makes the vCPU leave it in the middle
 * (bt_tlb_protect_page()), and it comes back by the head.
 *
 * What emitted code cannot or does not want to do calls a thunk
 * (jit_thunk.c), which puts all registers into bt_cpu, changes to the thread's
 * stack and calls one of the functions below. So every instruction has a way
 * out that runs it by its C function: MMIO, faults, code pages and everything
 * rare are the interpreter's.
 *
 * A block that dies (the guest wrote to it) has the first bytes of its entries
 * overwritten by jumps, so nothing has to be unlinked. This happens in the
 * exclusive section: a vCPU that stands in the middle of one of its
 * instructions leaves after that instruction, because its `end` is cleared.
 */
#pragma once

#include "engine/bt/codebuf.h"
#include "engine/bt/emit.h"
#include "engine/bt/vm.h"

/* Host registers. */
enum {
	H_A = 8, /* scratch: an address */
	H_B = 9, /* scratch: an addend */
	H_C = 10,
	H_SP = 11, /* the guest's RSP */
	H_CPU = 4, /* struct bt_cpu */
};

/* Executions by the interpreter before a block is translated. */
#define BT_JIT_HEAT 3
#define BT_JIT_NEVER 0xff
/* Bytes of the code buffer for each translation that may be listed: they are
 * longer, so that it is the buffer that gets full. */
#define BT_JIT_LEAST 64

/*
 * What a translation takes for granted. WIDE and NARROW have looked at the head
 * whether the stack accesses of the block lie in the window's page; WIDE also
 * those of blocks that probably follow, which then need not look. Where that
 * does not hold the next level runs instead. PLAIN checks each access.
 */
enum bt_level { LEVEL_WIDE, LEVEL_NARROW, LEVEL_PLAIN };

/* A direct way out of a block, to the same page. */
struct bt_way {
	u32 disp;   /* of the jump: offset into the code buffer */
	s32 target; /* offset into the page, or from it in fixed code */
	u8 mode;    /* enum bt_mmu in which it is taken */
};

/* What H_B is at some point of the code. */
enum bt_held {
	HELD_NOTHING,
	HELD_WINDOW, /* the stack window's addend */
};

/*
 * Can a relative jump from this page lead to an address that is not canonical?
 * Such a CALL has pushed nothing, so what it overwrites is kept: translations
 * of the same block for pages that are near the hole and far from it differ.
 */
static inline bool bt_jit_near_hole(u64 ip)
{
	const u64 reach = GIB(2) + 2 * 4096;

	return ip + reach - BIT(47) < 2 * reach ||
	       ip + reach + BIT(47) < 2 * reach;
}

/* Where an instruction begins: bytes into the block and into the host code. */
struct bt_place {
	u16 guest, host;
	u8 held; /* enum bt_held: what the code from here on takes H_B for */
	u8 mode; /* enum bt_mmu in which it runs: STAC and CLAC change it */
};

/* One block in one mode. Lives in the arena with its block. */
struct bt_trans {
	struct bt_block *block;
	struct bt_trans *next; /* of the same block */
	u64 va;	  /* of the block, if it is fixed code (jit_fixed.c), or 0 */
	u32 code; /* of its head, offset into the code buffer */
	u32 size;
	/* Entries, from the head. at[0] is one, too: behind the looks at the
	 * FPU and the window, as poll_in is to poll. */
	u16 ind, poll, poll_in, body, lost;
	u16 page_off;	      /* of the block */
	u8 mode;	      /* enum bt_mmu, at its beginning */
	u8 level;	      /* enum bt_level */
	u8 fpu;		      /* bits of fpu_ready that it needs */
	bool edge;	      /* for where bt_jit_near_hole() */
	s32 win_lo, win_size; /* stack window from RSP at entry; size 0: no */
	bool sp_known;	      /* `sp` is where RSP is at the end, likewise */
	s32 sp;
	struct bt_way way[2];
	struct bt_place at[];
};

/* bt_cpu.fpu_ready: what may run on the unit without further checks. */
enum { FPU_READY_SSE = 1, FPU_READY_AVX = 2 };

static inline u8 bt_jit_fpu_needed(const struct bt_row *row)
{
	return row->attrs & ROW_AVX ? FPU_READY_SSE | FPU_READY_AVX
				    : FPU_READY_SSE;
}

struct jit;
struct jit_show;

struct bt_jit {
	struct codebuf code;
	struct jit *work;	/* the translator's, under code_lock */
	u64 thunks_end;		/* bytes of `code` that no flush drops */
	struct bt_trans **list; /* by ascending code offset */
	u32 count, most;
	struct jit_show *show; /* NULL: nothing to be shown (jit_show.h) */
	u8 *marks; /* to verify what is emitted (jit_verify.h); NULL: not */
	bool count_runs; /* translated code counts (stats.h) */
	bool bmi2;
	bool fast_pext; /* on Zen 1 and 2 it is slow */
	/* Executable addresses. The _f ones save the flags of the host. */
	const u8 *enter;
	const u8 *exec, *exec_f, *link_f, *window, *fpu, *poll_f, *lost_f;
	const u8 *miss, *fault;
	const u8 *stos[MMU_COUNT][4], *movs[MMU_COUNT][4]; /* by width */
};

static inline bool bt_jit_counts(const struct bt_cpu *c)
{
	return c->bvm->jit && c->bvm->jit->count_runs;
}

int bt_jit_init(struct bt_vm *bvm, struct err *err);
void bt_jit_fini(struct bt_vm *bvm);
/* All translations die; in the exclusive section. */
void bt_jit_flush(struct bt_vm *bvm);
/* The block's translations die; in the exclusive section. */
void bt_jit_kill(struct bt_vm *bvm, struct bt_block *b);
/* Run translated code from RIP, where b is, until the run loop has to look.
 * False: nothing has been run, b is to be interpreted. */
bool bt_jit_run(struct bt_cpu *c, struct bt_block *b);
/*
 * For check.c: the block's translations, made if need be, for the present
 * mode. NULL: it cannot be translated, or all has been dropped, which
 * bvm->epoch tells. And one run of it, until it leaves the block.
 */
struct bt_trans *bt_jit_prepare(struct bt_cpu *c, struct bt_block *b);
void bt_jit_once(struct bt_cpu *c, struct bt_trans *t);
/* Where addresses lead in this mode has changed. */
void bt_jit_forget(struct bt_cpu *c, unsigned mode);
/* Landings of users, of the low half, that were forgotten and are good again;
 * the code has not been flushed since. */
void bt_jit_land_again(struct bt_cpu *c, const u16 *at,
		       const struct bt_landing *l, unsigned count);
/*
 * jit_fixed.c. Is RIP, where b is, in the fixed range, and has this vCPU found
 * that it is where it should be? At a block boundary.
 */
bool bt_fixed_here(struct bt_cpu *c, const struct bt_block *b);
/* Where fetches of the high half lead may have changed. */
void bt_fixed_forget(struct bt_cpu *c);
/* jit_thunk.c */
void bt_jit_emit_thunks(struct bt_jit *jit);
/* jit_string.c */
void bt_jit_emit_strings(struct bt_jit *jit, struct emit *e, s64 to_exec);

/*
 * jit_translate.c: translate b for the present mode, as fixed code if `va` is
 * its address and not 0. Under code_lock. NULL: it cannot be, or there is no
 * room (*full).
 */
struct bt_trans *bt_translate(struct bt_cpu *c, struct bt_block *b, u8 level,
			      u64 va, bool *full);

/*
 * jit_analyse.c: flags that are alive before the n-th instruction; those that
 * a row reads.
 */
u16 bt_jit_live(const struct bt_block *b, unsigned n);
u16 bt_jit_flags_read(const struct bt_row *row);
/* May one of JIT_SYS write RSP: to be on the safe side, those that read it
 * count as well. */
bool bt_jit_moves_rsp(const struct bt_insn *i);
/* Those that have a value behind it whatever it finds: a shift, or a repeated
 * comparison, may have nothing to do and leave all as they are. */
u16 bt_jit_flags_defined(const struct bt_insn *i);

/* Is this host address in a translation's code; for the signal handler. */
bool bt_jit_covers(const struct bt_cpu *c, u64 rip);

/* Called by thunks. `data` follows the call in the code. They return where to
 * go on in host code, or 0: in the run loop. */
u64 bt_jit_exec(struct bt_cpu *c, const u8 *data);
u64 bt_jit_slow(struct bt_cpu *c, const u8 *data);
u64 bt_jit_link(struct bt_cpu *c, const u8 *data);
u64 bt_jit_window(struct bt_cpu *c, const u8 *data);
u64 bt_jit_fpu(struct bt_cpu *c, const u8 *data);
u64 bt_jit_poll(struct bt_cpu *c, const u8 *data);
u64 bt_jit_lost(struct bt_cpu *c, const u8 *data);
u64 bt_jit_miss(struct bt_cpu *c, const u8 *data);
u64 bt_jit_fault(struct bt_cpu *c, const u8 *data);
