/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REP MOVS and REP STOS in translated code, page by page of plain RAM.
 *
 * References: [1] Intel SDM vol. 2B, MOVS, STOS, REP.
 *
 * There is a routine per operation, width and MMU mode, which translated code
 * calls with its own stack pointer and the guest's registers in place. It goes
 * in turns, each as far as a page on both sides; between two of them the
 * guest's registers tell exactly what is left, as between two of a CPU's. So it
 * may stop there for anything (a page that is not in the TLB, a unit across
 * pages, somebody who calls), and the C function does the rest: it returns with
 * CF set. CF clear: all is done. It clobbers H_A, H_B, H_C and flags.
 */
#include "bt_ops.h"
#include "engine/bt/jit_translate.h"

enum { DIGIT_ADD = 0, DIGIT_AND = 4, DIGIT_CMP = 7 };

enum { FAILS = 8 };

struct routine {
	struct emit *e;
	const struct bt_jit *jit;
	unsigned mode, width;
	u8 *fail[FAILS]; /* jumps to the end that says no */
	unsigned fails;
	u8 *done; /* and to the other one */
};

/* The return address is on the stack, which is the bt_cpu's. */
static struct em_rm field(size_t offset)
{
	return em_at(H_CPU, (s32)offset + 8);
}
#define FIELD(name) field(offsetof(struct bt_cpu, name))

static void fail_if(struct routine *r, unsigned cc)
{
	r->fail[r->fails++] = em_jcc(r->e, cc);
}

/* Upwards only. */
static void check_direction(struct routine *r)
{
	em_insn(r->e, OP_TEST_IMM32, 0, FIELD(eflags));
	em_bytes(r->e, FLAG_DF, 4);
	fail_if(r, CC_NE);
}

/* Done: with nothing left. Somebody calls: the function stops behind one step,
 * as the interpreter does. */
static void begin_turn(struct routine *r)
{
	struct emit *e = r->e;

	em_insn(e, EM_W | 0x85, X86_RCX, em_reg(X86_RCX)); /* test */
	r->done = em_jcc(e, CC_E);
	em_insn(e, OP_TEST_IMM32, 0, FIELD(attention));
	em_bytes(e, ~(u32)ATTN_CHECK, 4);
	fail_if(r, CC_NE);
}

/* H_C = offset in the page of `reg`, or what it is if that is more. */
static void later_offset(struct routine *r, unsigned reg)
{
	struct emit *e = r->e;

	em_insn(e, OP_LOAD32, H_A, em_reg(reg));
	em_insn(e, OP_GROUP1_32, DIGIT_AND, em_reg(H_A));
	em_bytes(e, 4095, 4);
	em_insn(e, OP_CMP, H_C, em_reg(H_A));
	em_insn(e, EM_W | EM_0F | 0x42, H_C, em_reg(H_A)); /* cmovb */
}

/* H_C = units up to the end of a page, RCX at most. Finds that a unit lies
 * across it. */
static void count_units(struct routine *r, bool two)
{
	struct emit *e = r->e;

	em_insn(e, OP_LOAD32, H_C, em_reg(X86_RDI));
	em_insn(e, OP_GROUP1_32, DIGIT_AND, em_reg(H_C));
	em_bytes(e, 4095, 4);
	if (two)
		later_offset(r, X86_RSI);
	em_insn(e, EM_W | 0xf7, 3, em_reg(H_C)); /* neg */
	em_insn(e, EM_W | OP_GROUP1_32, DIGIT_ADD, em_reg(H_C));
	em_bytes(e, 4096, 4);
	if (r->width) {
		em_insn(e, EM_W | OP_SHIFT_IMM, 5, em_reg(H_C));
		em_byte(e, r->width);
		fail_if(r, CC_E);
	}
	em_insn(e, OP_CMP, H_C, em_reg(X86_RCX));
	em_insn(e, EM_W | EM_0F | 0x47, H_C, em_reg(X86_RCX)); /* cmova */
}

static struct em_rm entry_field(const struct routine *r, size_t offset)
{
	struct em_rm rm = field(offsetof(struct bt_cpu, mmu) +
				r->mode * sizeof(struct bt_tlb) +
				offsetof(struct bt_tlb, e) + offset);

	rm.index = H_A;
	return rm;
}

/* H_B = host address of `reg`'s. Uses H_A. */
static void find_host(struct routine *r, unsigned reg, bool write)
{
	size_t tag = write ? offsetof(struct bt_tlb_entry, write)
			   : offsetof(struct bt_tlb_entry, read);
	struct emit *e = r->e;

	em_mov(e, H_A, reg);
	em_insn(e, EM_W | OP_SHIFT_IMM, 5, em_reg(H_A));
	em_byte(e, 7);
	em_insn(e, OP_GROUP1_32, DIGIT_AND, em_reg(H_A));
	em_bytes(e, (BT_TLB_ENTRIES - 1) << 5, 4);
	em_mov(e, H_B, reg);
	em_insn(e, OP_XOR, H_B, entry_field(r, tag));
	em_insn(e, EM_W | OP_GROUP1_32, DIGIT_CMP, em_reg(H_B));
	em_bytes(e, 4095, 4);
	fail_if(r, CC_A);
	em_insn(e, OP_ADD, H_B,
		entry_field(r, offsetof(struct bt_tlb_entry, host)));
}

/* byte_op, or byte_op + 1 for the other widths, H_C times. RCX is what is left
 * then. */
static void repeat(struct routine *r, unsigned byte_op)
{
	struct emit *e = r->e;

	em_insn(e, EM_W | 0x2b, X86_RCX, em_reg(H_C)); /* sub */
	em_insn(e, OP_STORE, X86_RCX, FIELD(jit_left));
	em_mov(e, X86_RCX, H_C);
	if (r->width == W16)
		em_byte(e, 0x66);
	em_byte(e, 0xf3);
	if (r->width == W64)
		em_byte(e, 0x48);
	em_byte(e, r->width == W8 ? byte_op : byte_op + 1);
	em_insn(e, OP_LOAD, X86_RCX, FIELD(jit_left));
	em_insn(e, EM_W | 0x01, H_C, FIELD(stat.rep)); /* add */
}

/* reg = from, which is where it was, and H_C units. */
static void advance(struct routine *r, unsigned reg, unsigned from)
{
	em_insn(r->e, OP_LEA, reg,
		(struct em_rm){true, (u8)from, H_C, (u8)r->width, 0});
}

static void finish(struct routine *r, const u8 *again)
{
	struct emit *e = r->e;

	em_to(e, em_jmp(e), again);
	em_to(e, r->done, e->at);
	em_bytes(e, 0xc3f8, 2); /* clc; ret */
	for (unsigned k = 0; k < r->fails; k++)
		em_to(e, r->fail[k], e->at);
	em_bytes(e, 0xc3f9, 2); /* stc; ret */
}

static void stos(struct routine *r)
{
	struct emit *e = r->e;
	u8 *again;

	check_direction(r);
	again = e->at;
	begin_turn(r);
	count_units(r, false);
	find_host(r, X86_RDI, true);
	em_mov(e, H_A, X86_RDI);
	em_mov(e, X86_RDI, H_B);
	repeat(r, 0xaa);
	advance(r, X86_RDI, H_A);
	finish(r, again);
}

/* Both pages are looked up before a byte moves. */
static void movs(struct routine *r)
{
	struct emit *e = r->e;
	u8 *again;

	check_direction(r);
	again = e->at;
	begin_turn(r);
	count_units(r, true);
	find_host(r, X86_RDI, true);
	em_insn(e, OP_STORE, H_B, FIELD(jit_value));
	find_host(r, X86_RSI, false);
	em_mov(e, H_A, X86_RSI);
	em_mov(e, X86_RSI, H_B);
	em_mov(e, H_B, X86_RDI);
	em_insn(e, OP_LOAD, X86_RDI, FIELD(jit_value));
	repeat(r, 0xa4);
	advance(r, X86_RSI, H_A);
	advance(r, X86_RDI, H_B);
	finish(r, again);
}

void bt_jit_emit_strings(struct bt_jit *jit, struct emit *e, s64 to_exec)
{
	struct routine r = {.e = e, .jit = jit};

	for (r.mode = 0; r.mode < MMU_COUNT; r.mode++)
		for (r.width = W8; r.width <= W64; r.width++) {
			r.fails = 0;
			jit->stos[r.mode][r.width] = e->at + to_exec;
			stos(&r);
			r.fails = 0;
			jit->movs[r.mode][r.width] = e->at + to_exec;
			movs(&r);
		}
}

void jit_string(struct jit *j)
{
	const struct bt_insn *i = jit_insn(j);
	bool is_movs = jit_row(j)->opcode <= 0xa5;
	const u8 *routine = is_movs ? j->jit->movs[j->mode][i->width]
				    : j->jit->stos[j->mode][i->width];
	bool live = j->note[j->n].live;

	if (!i->rep || i->asize != W64 ||
	    (is_movs && (i->seg == X86_FS || i->seg == X86_GS))) {
		jit_by_function(j);
		return;
	}
	if (live)
		jit_save_flags(j);
	em_to(&j->e, em_call(&j->e), jit_thunk(j, routine));
	j->held = HELD_NOTHING;
	jit_to_cold(j, CC_B, j->jit->exec, j->n);
	if (live)
		jit_restore_flags(j);
}
