/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thunks: the way into translated code and out of it, emitted once per VM.
 *
 * References: [1] System V ABI, AMD64 supplement, 3.2.1 (callee-saved).
 *
 * A thunk is called from translated code with RSP at the bt_cpu; the call's
 * return address, which it pops, points to a word of data. It puts the guest's
 * registers into bt_cpu.gpr, changes to the thread's stack where `enter` left
 * it, and calls a C function. What that returns is where to go on, with all
 * registers loaded again, or 0: then `enter` returns.
 */
#include "engine/bt/fpu.h"
#include "engine/bt/jit_translate.h"

#include <assert.h>

static const u8 saved[] = {X86_RBX, X86_RBP, X86_R12,
			   X86_R13, X86_R14, X86_R15};

#define FIELD(base, name) em_at(base, (s32)offsetof(struct bt_cpu, name))

static bool is_mapped(unsigned n)
{
	return n != X86_RSP && !jit_in_memory(n);
}

static void spill(struct emit *e, bool flags)
{
	for (unsigned n = 0; n < X86_GPRS; n++)
		if (is_mapped(n))
			em_insn(e, OP_STORE, n, jit_gpr(n));
	em_insn(e, OP_STORE, H_SP, jit_gpr(X86_RSP));
	if (!flags)
		return;
	em_byte(e, 0x9f);	  /* lahf */
	em_bytes(e, 0xc0900f, 3); /* seto al */
	em_insn(e, OP_STORE16, X86_RAX, JIT_FIELD(aflags));
}

/* RSP is the bt_cpu; none of this touches a flag but SAHF and what is before
 * it. */
static void reload(struct emit *e)
{
	em_insn(e, OP_MOVZX16, X86_RAX, JIT_FIELD(aflags));
	em_bytes(e, 0x7f04, 2); /* add al, 0x7f */
	em_byte(e, 0x9e);	/* sahf */
	for (unsigned n = 0; n < X86_GPRS; n++)
		if (is_mapped(n))
			em_insn(e, OP_LOAD, n, jit_gpr(n));
	em_insn(e, OP_LOAD, H_SP, jit_gpr(X86_RSP));
	em_insn(e, OP_LOAD, H_B, JIT_FIELD(jit_held));
	em_insn(e, OP_GROUP5, 4, JIT_FIELD(jit_target));
}

/* RBX: bt_cpu, RAX: where to go on. */
static u8 *emit_tail(struct emit *e)
{
	u8 *tail = e->at;
	u8 *out;

	em_insn(e, EM_W | 0x85, X86_RAX, em_reg(X86_RAX)); /* test */
	out = em_jcc(e, CC_E);
	em_insn(e, OP_STORE, X86_RAX, FIELD(X86_RBX, jit_target));
	em_mov(e, H_CPU, X86_RBX);
	reload(e);
	em_to(e, out, e->at);
	em_insn(e, OP_LOAD, X86_RSP, FIELD(X86_RBX, host_sp));
	em_insn(e, OP_LEA, X86_RSP, em_at(X86_RSP, 8));
	for (unsigned k = sizeof(saved); k-- > 0;)
		em_short(e, 0x58, saved[k]);
	em_byte(e, 0xc3);
	return tail;
}

/* void enter(struct bt_cpu *c, const u8 *target) */
static u8 *emit_enter(struct emit *e)
{
	u8 *at = e->at;

	for (unsigned k = 0; k < sizeof(saved); k++)
		em_short(e, 0x50, saved[k]);
	em_insn(e, OP_LEA, X86_RSP, em_at(X86_RSP, -8));
	em_insn(e, OP_STORE, X86_RSP, FIELD(X86_RDI, host_sp));
	em_insn(e, OP_STORE, X86_RSI, FIELD(X86_RDI, jit_target));
	em_mov(e, H_CPU, X86_RDI);
	reload(e);
	return at;
}

static void call_function(struct emit *e, const u8 *tail,
			  u64 (*fn)(struct bt_cpu *c, const u8 *data))
{
	em_mov(e, X86_RDI, H_CPU);
	em_mov(e, X86_RBX, H_CPU);
	em_insn(e, OP_LOAD, X86_RSP, FIELD(X86_RDI, host_sp));
	em_short(e, EM_W | 0xb8, X86_RAX);
	em_bytes(e, (u64)fn, 8);
	em_insn(e, OP_GROUP5, 2, em_reg(X86_RAX));
	em_to(e, em_jmp(e), tail);
}

struct maker {
	struct emit e;
	const u8 *tail;
	s64 to_exec;
};

static const u8 *thunk(struct maker *m,
		       u64 (*fn)(struct bt_cpu *c, const u8 *data), bool flags)
{
	u8 *at = m->e.at;

	em_short(&m->e, 0x58, H_A); /* pop */
	spill(&m->e, flags);
	em_mov(&m->e, X86_RSI, H_A);
	call_function(&m->e, m->tail, fn);
	return at + m->to_exec;
}

/* Jumped to, not called: H_A is the address, H_B twice the landing. */
static const u8 *miss(struct maker *m)
{
	u8 *at = m->e.at;

	em_insn(&m->e, OP_STORE, H_A, JIT_FIELD(jit_value));
	em_insn(&m->e, OP_STORE32, H_B, JIT_FIELD(jit_landing));
	spill(&m->e, true);
	call_function(&m->e, m->tail, bt_jit_miss);
	return at + m->to_exec;
}

#define THUNK_BYTES 12288

void bt_jit_emit_thunks(struct bt_jit *jit)
{
	u8 *start = codebuf_reserve(&jit->code, THUNK_BYTES);
	struct maker m = {
		.e = {start, start + THUNK_BYTES, false},
		.to_exec = jit->code.exec - jit->code.write,
	};

	m.tail = emit_tail(&m.e);
	jit->enter = emit_enter(&m.e) + m.to_exec;
	jit->exec = thunk(&m, bt_jit_slow, false);
	jit->exec_f = thunk(&m, bt_jit_exec, true);
	jit->link_f = thunk(&m, bt_jit_link, true);
	jit->window = thunk(&m, bt_jit_window, false);
	jit->fpu = thunk(&m, bt_jit_fpu, false);
	jit->poll_f = thunk(&m, bt_jit_poll, true);
	jit->lost_f = thunk(&m, bt_jit_lost, true);
	jit->miss = miss(&m);
	jit->fault = m.e.at + m.to_exec;
	call_function(&m.e, m.tail, bt_jit_fault);
	bt_jit_emit_strings(jit, &m.e, m.to_exec);
	assert(!m.e.full);
	codebuf_commit(&jit->code, (u64)(m.e.at - start));
	jit->thunks_end = jit->code.used;
}
