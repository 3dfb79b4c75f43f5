/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run loop of the interpreter.
 *
 * Theory of operation
 * -------------------
 * A block is found by linear address in the jump cache, whose entries carry
 * what their translation depends on (context_of), or made. Its records run one
 * after the other until `end`: an operation that must stop the block after
 * itself clears c->end. Between blocks the loop looks at `attention`.
 *
 * An exception unwinds to bt_run's bt_setjmp(), is delivered there (which may
 * unwind again: double and triple faults), and the loop goes on.
 */
#include "engine/bt/exec.h"

#include "engine/bt/bt_trace.h"
#include "engine/bt/check.h"
#include "engine/bt/jit.h"
#include "engine/bt/signals.h"
#include "engine/bt/sys.h"
#include "engine/bt/vm.h"
#include "vmm/trace.h"

static u64 context_of(const struct bt_cpu *c, gva_t lin)
{
	return c->fetch[lin >> 63] << 8 | (u64)c->mode << 4 |
	       (u64)c->code << 2 | c->cpl;
}

static gva_t linear_ip(const struct bt_cpu *c)
{
	return (c->gpr[17] + c->seg_base[X86_CS]) & c->lin_mask;
}

struct bt_jump *bt_jump_find(struct bt_cpu *c, gva_t lin)
{
	struct bt_jump *j = &c->jump[(lin ^ lin >> 12) & (BT_JUMP_ENTRIES - 1)];

	return j->lin == lin && j->context == context_of(c, lin) ? j : NULL;
}

struct bt_block *bt_block_at(struct bt_cpu *c)
{
	gva_t lin = linear_ip(c);
	u64 context = context_of(c, lin);
	struct bt_jump *j = &c->jump[(lin ^ lin >> 12) & (BT_JUMP_ENTRIES - 1)];

	if (likely(j->lin == lin && j->context == context && j->block &&
		   j->block->valid))
		return j->block;
	c->rip = c->gpr[17]; /* a fetch fault is this instruction's */
	j->block = bt_block_lookup(c, lin);
	j->lin = lin;
	j->context = context_of(c, lin); /* the lookup may have flushed */
	j->ind = 0;
	return j->block;
}

static void run_records(struct bt_cpu *c, const struct bt_insn *i,
			const struct bt_insn *end)
{
	const struct bt_insn *first = i;

	c->end = end;
	do {
		u64 ip = c->gpr[17];

		c->rip = ip;
		c->gpr[17] = ip + i->len;
		i->fn(c, i);
		i++;
	} while (i < c->end);
	c->retired += (u64)(i - first);
}

/* CS has a limit that this block may reach: one instruction at a time, each
 * checked (bt_decode_one). */
static bool near_limit(const struct bt_cpu *c, const struct bt_block *b)
{
	return c->seg_check >> X86_CS & 1 &&
	       c->gpr[17] + b->bytes - 1 > c->seg[X86_CS].limit;
}

/* True: instructions are traced, so one at a time. */
static bool trace_boundary(struct bt_cpu *c, const struct bt_block *b)
{
	if (trace_on(TRACE_BLOCK))
		bt_trace_block(c, b);
	if (trace_on(TRACE_INSN) && b->valid)
		bt_trace_insn(c, b);
	return trace_on(TRACE_INSN);
}

void bt_run_first(struct bt_cpu *c, struct bt_block *b, unsigned count)
{
	c->stat.blocks[INTERP_STACK]++;
	c->block = b;
	c->block_ip = c->gpr[17];
	run_records(c, b->insn, b->insn + count);
}

void bt_run_records(struct bt_cpu *c, struct bt_block *b)
{
	bt_run_first(c, b, b->count);
}

/* False: b is to be interpreted. */
static bool run_translated(struct bt_cpu *c, struct bt_block *b)
{
	if (unlikely(c->check_later != NULL) && c->cpl == 3) {
		bt_check_begin(c);
		return true; /* b has gone */
	}
	return unlikely(c->check != NULL) ? bt_check_run(c, b)
					  : bt_jit_run(c, b);
}

static void interpret(struct bt_cpu *c, struct bt_block *b, bool one)
{
	bool timed = bt_jit_counts(c);
	u64 start = timed ? bt_ticks() : 0;
	struct bt_insn insn;

	c->block = b;
	c->block_ip = c->gpr[17];
	if (unlikely(near_limit(c, b))) {
		bt_decode_one(c, &insn);
		run_records(c, &insn, &insn + 1);
	} else {
		run_records(c, b->insn, b->insn + (one ? 1 : b->count));
	}
	if (timed)
		c->stat.interpreting += bt_ticks() - start;
}

static void run_block(struct bt_cpu *c, bool one)
{
	struct bt_block *b;

	c->gpr[17] &= c->ip_mask;
	c->rip = c->gpr[17];
	if (unlikely(c->seg_check >> X86_CS & 1) &&
	    c->gpr[17] > c->seg[X86_CS].limit)
		bt_gp(c);
	b = bt_block_at(c);
	c->seen_epoch = c->bvm->epoch;
	if (trace_on(TRACE_BLOCK | TRACE_INSN)) {
		one = trace_boundary(c, b) || one;
		if (!b->valid)
			return; /* it died while we were outside */
	} else if (!one && run_translated(c, b)) {
		return;
	}
	if (one || trace_on(TRACE_BLOCK))
		c->stat.blocks[INTERP_ONE]++;
	interpret(c, b, one);
}

/* Until something outside has to be done: c->exit says what. */
static void run_blocks(struct bt_cpu *c)
{
	for (;;) {
		bool one = false;

		if (unlikely(c->attention)) {
			if (c->attention & ATTN_EXCLUSIVE)
				bt_park(c);
			switch (bt_attend_all(c)) {
			case BT_RUN_BLOCK:
				break;
			case BT_RUN_ONE:
				one = true;
				break;
			case BT_LEAVE:
				return;
			}
		}
		run_block(c, one);
	}
}

void bt_run(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	struct bt_cpu *c = vcpu->engine;
	u64 start = bt_ticks();

	exit->kind = VCPU_EXIT_KICK;
	exit->message[0] = '\0';
	c->exit = exit;
	bt_live_cpu = c;
	bt_update_rdtsc(c);
	/* Whatever came while outside. */
	bt_attend(c, ATTN_EVENTS);
	bt_enter(c);
	if (bt_setjmp(c->jmp))
		bt_deliver_pending(c);
	run_blocks(c);
	c->block = NULL;
	bt_leave(c);
	c->stat.left_at = 0;
	bt_live_cpu = NULL;
	c->stat.run += bt_ticks() - start;
}
