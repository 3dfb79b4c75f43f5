/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two run loops of fuzz_translate. Compiled, as the engine is, with general
 * registers only.
 *
 * Both end at the first exception. The interpreter also keeps account of flags
 * that nothing defines: those that the opcode tables call so, and those that a
 * translation may lose where a block is left in its middle (check.h).
 */
#include "translate.h"

#include "engine/bt/decode.h"
#include "engine/bt/exec.h"
#include "engine/bt/fpu.h"
#include "engine/bt/jit.h"
#include "engine/bt/sys.h"
#include "engine/bt/vm.h"

#define MAX_BLOCKS 1000

struct flow {
	u16 loose;
	bool read;
};

static void follow(struct flow *f, const struct bt_insn *i)
{
	const struct bt_row *row = &bt_rows[i->row];

	if (f->loose & bt_jit_flags_read(row))
		f->read = true;
	f->loose &= (u16)~bt_jit_flags_defined(i);
	f->loose |= row->flags_undef;
}

/* The first n of b have run; if not all, it was left there, perhaps by the next
 * one's exception. */
static void follow_block(struct flow *f, const struct bt_block *b, unsigned n,
			 bool raised)
{
	for (unsigned k = 0; k < n; k++)
		follow(f, &b->insn[k]);
	if (n == b->count)
		return;
	/* A jump that should not be taken raises nothing. */
	if (raised && f->loose & bt_jit_flags_read(&bt_rows[b->insn[n].row]))
		f->read = true;
	f->loose |= (u16)~bt_jit_live(b, n);
}

static unsigned raised_at(const struct bt_cpu *c, const struct bt_block *b,
			  u64 ip)
{
	unsigned n = 0;

	while (n < b->count && ip != c->rip)
		ip += b->insn[n++].len;
	return n;
}

static struct bt_block *next_block(struct bt_cpu *c)
{
	struct bt_block *b;

	c->gpr[17] &= c->ip_mask;
	c->rip = c->gpr[17];
	b = bt_block_at(c);
	c->seen_epoch = c->bvm->epoch;
	return b;
}

enum xl_end xl_interpret(struct bt_cpu *c, u16 *loose)
{
	struct bt_block *volatile b = NULL;
	volatile u64 ip = 0;
	volatile struct flow kept = {0};
	struct flow f = {0};

	if (bt_setjmp(c->jmp)) {
		bt_fpu_save(c);
		f.loose = kept.loose;
		f.read = kept.read;
		/* Else it was a fetch or a delivery between two blocks. */
		if (b)
			follow_block(&f, b, raised_at(c, b, ip), true);
		*loose = f.loose;
		return f.read ? XL_UNDEFINED : XL_RAISED;
	}
	for (unsigned blocks = 0; blocks < MAX_BLOCKS; blocks++) {
		enum bt_next next = BT_RUN_BLOCK;
		struct bt_block *now;
		u64 before = c->retired;

		if (c->attention)
			next = bt_attend_all(c);
		if (next == BT_LEAVE || f.read) {
			bt_fpu_save(c);
			*loose = f.loose;
			return f.read ? XL_UNDEFINED : XL_LEFT;
		}
		now = next_block(c);
		ip = c->gpr[17];
		b = now;
		bt_run_first(c, now, next == BT_RUN_ONE ? 1 : now->count);
		b = NULL;
		follow_block(&f, now, (unsigned)(c->retired - before), false);
		kept.loose = f.loose;
		kept.read = f.read;
	}
	bt_fpu_save(c);
	return XL_ENDLESS;
}

enum xl_end xl_translated(struct bt_cpu *c)
{
	if (bt_setjmp(c->jmp)) {
		bt_fpu_save(c);
		return XL_RAISED;
	}
	for (;;) {
		enum bt_next next = BT_RUN_BLOCK;
		struct bt_block *b;

		if (c->attention)
			next = bt_attend_all(c);
		if (next == BT_LEAVE) {
			bt_fpu_save(c);
			return XL_LEFT;
		}
		b = next_block(c);
		/* Nothing runs often here: at once. */
		if (b->heat < BT_JIT_HEAT)
			b->heat = BT_JIT_HEAT;
		if (next == BT_RUN_ONE)
			bt_run_first(c, b, 1);
		else if (!bt_jit_run(c, b))
			bt_run_records(c, b);
	}
}
