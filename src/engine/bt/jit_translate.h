/* SPDX-License-Identifier: Apache-2.0 */
/* What the translator's passes share; see jit.h. */
#pragma once

#include "engine/bt/decode.h"
#include "engine/bt/jit.h"

#define JIT_MAX_INSNS 64
#define JIT_COLD 160

/* Flags that arithmetic writes. */
#define JIT_FLAGS ((u16)FLAG_ARITH)

/* What the analysis found of an instruction. */
struct jit_note {
	u16 live;    /* flags that are live before it */
	bool window; /* its stack access is covered by the window */
};

struct jit;

/* Code behind the block for what is rare: a call of a thunk with data. */
struct jit_cold {
	u8 *from; /* displacement of the jump to it */
	const u8 *thunk;
	u8 n;			       /* instruction or way */
	void (*before)(struct jit *j); /* what comes before the call, or NULL */
};

struct jit {
	struct emit e;
	struct bt_cpu *c;
	struct bt_jit *jit;
	struct bt_block *b;
	struct bt_trans *t;
	const u8 *bytes; /* of the block */
	u8 *head;
	s64 to_exec; /* from the writable to the executable view */
	unsigned n;  /* the instruction being emitted */
	u8 level;    /* enum bt_level */
	u8 mode;     /* enum bt_mmu at this point of the code */
	u8 held;     /* enum bt_held: what H_B is at this point of the code */
	unsigned colds, ways;
	struct jit_cold cold[JIT_COLD];
	struct jit_note note[JIT_MAX_INSNS + 1]; /* and behind the last */
	struct bt_parts parts; /* of the present instruction */
};

static inline const struct bt_insn *jit_insn(const struct jit *j)
{
	return &j->b->insn[j->n];
}

static inline const struct bt_row *jit_row(const struct jit *j)
{
	return &bt_rows[j->b->insn[j->n].row];
}

/* Offset of the present instruction, and of the next, in the page. */
static inline s32 jit_off(const struct jit *j)
{
	return j->t->page_off + j->t->at[j->n].guest;
}
static inline s32 jit_next_off(const struct jit *j)
{
	return jit_off(j) + jit_insn(j)->len;
}

#define JIT_FIELD(name) em_at(H_CPU, (s32)offsetof(struct bt_cpu, name))

static inline struct em_rm jit_gpr(unsigned n)
{
	return em_at(H_CPU, (s32)(8 * n));
}

/* Is this guest register kept in memory? */
static inline bool jit_in_memory(unsigned n)
{
	return n >= X86_R8 && n <= X86_R11;
}

/* Guest register n into a host register: its own, or `scratch`, loaded. */
unsigned jit_use(struct jit *j, unsigned n, unsigned scratch);

/* Is the memory operand [RSP + disp], without an index and in a flat segment:
 * what the stack window may cover? */
static inline bool jit_is_stack_operand(const struct bt_insn *i)
{
	return i->mem && i->b == BT_REG(X86_RSP) && i->x == BT_REG_ZERO &&
	       i->asize == W64 && i->seg != X86_FS && i->seg != X86_GS;
}

/* Bytes of the memory operand: what is checked is what is accessed. */
static inline unsigned jit_operand_size(const struct bt_insn *i)
{
	const struct bt_row *row = &bt_rows[i->row];

	if (row->jit_class == JIT_SIMD)
		return bt_simd_size(row, i);
	if (row->jit_size == JIT_SIZE_DOUBLE)
		return 2u << i->width;
	return row->jit_size ? row->jit_size : 1u << i->width;
}

/* jit_analyse.c */
void jit_analyse(struct jit *j);

/* jit_mem.c */
void jit_save_flags(struct jit *j);    /* host's to bt_cpu.aflags; uses H_C */
void jit_restore_flags(struct jit *j); /* the other way */
/* reg = linear address of offset `off` of the block's page; flags stay. */
void jit_page_base(struct jit *j, unsigned reg, s32 off);
/* H_A = offset, or linear address, of the memory operand. Uses H_C. */
void jit_address_offset(struct jit *j);
void jit_address(struct jit *j);
/* H_A: linear to host address, after checking an access; a miss runs the
 * instruction by its C function. Uses H_C. */
void jit_check(struct jit *j, unsigned size, bool write);
/* The same where flags are dead, or have been saved by the caller. */
void jit_check_flagless(struct jit *j, unsigned size, bool write);
/* [RSP + off] as a host operand in the window: H_B is its addend. */
struct em_rm jit_window_place(struct jit *j, s32 off);
void jit_window_check(struct jit *j);

/* A counter of bt_cpu.stat, if such are wanted; uses H_C, no flags. */
void jit_count(struct jit *j, size_t field, unsigned by);

/* jit_copy.c */
void jit_copy(struct jit *j);
void jit_lea(struct jit *j);

/* jit_stack.c */
void jit_push(struct jit *j);
void jit_pop(struct jit *j);
void jit_leave(struct jit *j);
void jit_pushf(struct jit *j);

/* jit_string.c */
void jit_string(struct jit *j);

/* jit_sys.c */
void jit_system(struct jit *j);

/* jit_branch.c */
void jit_jcc(struct jit *j);
void jit_jmp(struct jit *j);
void jit_call(struct jit *j);
void jit_ret(struct jit *j);
void jit_goto(struct jit *j, s64 target); /* page offset, may be outside */
void jit_entries(struct jit *j);
void jit_poll_entries(struct jit *j);

/* A jump of condition cc to cold code that calls `thunk`. */
void jit_to_cold(struct jit *j, unsigned cc, const u8 *thunk, unsigned n);
/* The same, to code that `before` emits first. */
void jit_to_cold_with(struct jit *j, unsigned cc, const u8 *thunk,
		      void (*before)(struct jit *j));
/* A jump that leads to the next instruction until it is patched, while others
 * may execute it. */
void jit_patchable(struct jit *j);
/* Nothing, as long as is needed for a displacement behind an opcode of so many
 * bytes to be written at once. */
void jit_align_patch(struct jit *j, unsigned opcode_bytes);
/* The present instruction by its C function. */
void jit_by_function(struct jit *j);
/* Word behind a call of a thunk: how far the head is, and n. */
void jit_data(struct jit *j, unsigned n);
/* Writable address of a thunk, to jump to from writable code. */
const u8 *jit_thunk(const struct jit *j, const u8 *exec);
