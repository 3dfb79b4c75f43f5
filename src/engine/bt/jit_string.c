/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REP MOVS and REP STOS in translated code, where all of it lies in one page
 * of plain RAM on each side: clearing and copying pages, and the short ones.
 *
 * References: [1] Intel SDM vol. 2B, MOVS, STOS, REP.
 *
 * There is a routine per operation, width and MMU mode, which translated code
 * calls with its own stack pointer and the guest's registers in place. It
 * returns with CF clear when all is done, or, having changed no register, with
 * CF set: then the C function does it. It clobbers H_A, H_B, H_C and flags.
 */
#include "bt_ops.h"
#include "engine/bt/jit_translate.h"

enum { DIGIT_ADD = 0, DIGIT_AND = 4, DIGIT_SUB = 5, DIGIT_CMP = 7 };

enum { FAILS = 8 };

struct routine {
	struct emit *e;
	const struct bt_jit *jit;
	unsigned mode, width;
	u8 *fail[FAILS]; /* jumps to the end that says no */
	unsigned fails;
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

static void compare(struct routine *r, unsigned reg, u32 imm)
{
	em_insn(r->e, EM_W | OP_GROUP1_32, DIGIT_CMP, em_reg(reg));
	em_bytes(r->e, imm, 4);
}

/* H_C = bytes, 4096 at most, upwards. */
static void count_bytes(struct routine *r)
{
	struct emit *e = r->e;

	em_insn(e, OP_TEST_IMM32, 0, FIELD(eflags));
	em_bytes(e, FLAG_DF, 4);
	fail_if(r, CC_NE);
	em_mov(e, H_C, X86_RCX);
	compare(r, H_C, 4096u >> r->width);
	fail_if(r, CC_A);
	if (!r->width)
		return;
	em_insn(e, EM_W | OP_SHIFT_IMM, 4, em_reg(H_C));
	em_byte(e, r->width);
}

static struct em_rm entry_field(const struct routine *r, size_t offset)
{
	struct em_rm rm = field(offsetof(struct bt_cpu, mmu) +
				r->mode * sizeof(struct bt_tlb) +
				offsetof(struct bt_tlb, e) + offset);

	rm.index = H_A;
	return rm;
}

/* H_B = host address of the H_C bytes at `reg`. Uses H_A. */
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
	compare(r, H_B, 4095);
	fail_if(r, CC_A);
	em_insn(e, OP_ADD, H_B, em_reg(H_C));
	compare(r, H_B, 4096);
	fail_if(r, CC_A);
	em_insn(e, EM_W | 0x2b, H_B, em_reg(H_C)); /* sub */
	em_insn(e, OP_ADD, H_B,
		entry_field(r, offsetof(struct bt_tlb_entry, host)));
}

/* byte_op, or byte_op + 1 for the other widths, repeated. */
static void repeat(struct routine *r, unsigned byte_op)
{
	struct emit *e = r->e;

	em_insn(e, EM_W | 0x01, X86_RCX, FIELD(stat.rep)); /* add */
	if (r->width == W16)
		em_byte(e, 0x66);
	em_byte(e, 0xf3);
	if (r->width == W64)
		em_byte(e, 0x48);
	em_byte(e, r->width == W8 ? byte_op : byte_op + 1);
}

static void finish(struct routine *r)
{
	struct emit *e = r->e;

	em_bytes(e, 0xc3f8, 2); /* clc; ret */
	for (unsigned k = 0; k < r->fails; k++)
		em_to(e, r->fail[k], e->at);
	em_bytes(e, 0xc3f9, 2); /* stc; ret */
}

static void stos(struct routine *r)
{
	struct emit *e = r->e;

	count_bytes(r);
	find_host(r, X86_RDI, true);
	em_mov(e, H_A, X86_RDI);
	em_mov(e, X86_RDI, H_B);
	repeat(r, 0xaa);
	em_insn(e, OP_LEA, X86_RDI, em_sum(H_A, H_C, 0));
	finish(r);
}

static void movs(struct routine *r)
{
	struct emit *e = r->e;

	count_bytes(r);
	find_host(r, X86_RDI, true);
	em_insn(e, OP_STORE, H_B, FIELD(jit_value));
	find_host(r, X86_RSI, false);
	em_mov(e, H_A, X86_RSI);
	em_mov(e, X86_RSI, H_B);
	em_mov(e, H_B, X86_RDI);
	em_insn(e, OP_LOAD, X86_RDI, FIELD(jit_value));
	repeat(r, 0xa4);
	em_insn(e, OP_LEA, X86_RSI, em_sum(H_A, H_C, 0));
	em_insn(e, OP_LEA, X86_RDI, em_sum(H_B, H_C, 0));
	finish(r);
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
