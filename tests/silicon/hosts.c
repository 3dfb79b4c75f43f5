/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a host may end a case otherwise than the interpreter does.
 *
 * A rule belongs to an instruction and makes of the interpreter's outcome the
 * one other that is allowed, in full. The host must have had exactly that
 * one, in all that compare.c looks at: a rule forgives no difference that it
 * does not foretell. What a run needed of them is in its report.
 *
 * Two other places know of differences among CPUs: compare.c, what nobody can
 * foretell and is left out of a comparison, and generate.c and prepare.c, what
 * is not tried.
 *
 * References: [1] Intel SDM vol. 2, the instructions' pages; vol. 2A 2.1.1
 *                 (LOCK).
 *             [2] AMD64 APM vol. 2, 8.5 (priorities among exceptions).
 *             [3] AMD64 APM vol. 3, CPUID Fn8000_0021 EAX[5], VERW_CLEAR.
 *             [4] Intel SDM vol. 1, 3.4.1.1 (results of 32-bit operations).
 */
#include "silicon.h"

#include <string.h>

/* The case without one of its prefixes. What is left ends where the whole
 * ends, so that RIP-relative addresses stay what they are. */
static void run_without(struct interpreter *in, const struct test_case *c,
			u8 prefix, struct outcome *o)
{
	struct test_case bare = *c;
	const u8 *at = memchr(c->bytes, prefix, c->len);
	size_t before = (size_t)(at - c->bytes);

	memcpy(bare.bytes + before, at + 1, c->len - before - 1);
	bare.len--;
	bare.state.rip++;
	bare.form.lock = bare.form.invalid = false;
	bare.form.rep = REP_NONE;
	if (interpreter_decode(in, &bare) != BT_DECODE_OK)
		return;
	interpreter_run(in, &bare, o);
	if (o->vector != NO_FAULT)
		o->state.rip--;
}

static u64 string_address(const struct test_case *c, u64 reg)
{
	return c->form.code == W32 || c->form.address ? (u32)reg : reg;
}

/* The first byte of an operand that cannot be read; 0: all of it can. */
static u64 unreadable(u64 va, unsigned size)
{
	for (u64 end = va + size; va != end; va++)
		if (va - DATA >= DATA_BYTES)
			return va;
	return 0;
}

/*
 * Neither [1] nor [2] says which operand CMPS reads first. Zen 4 reads that at
 * rSI first, as the interpreter does, Zen 3 that at rDI, repeated or not.
 */
static bool cmps_order(struct interpreter *in, const struct dispute *d,
		       struct outcome *o)
{
	const struct test_case *c = d->c;
	unsigned size = operand_bytes(c);
	u64 source = string_address(c, o->state.gpr[X86_RSI]);
	u64 target = string_address(c, o->state.gpr[X86_RDI]);

	if (o->vector != VEC_PF || o->cr2 != unreadable(source, size) ||
	    !unreadable(target, size))
		return false;
	o->cr2 = unreadable(target, size);
	return true;
}

/*
 * A fault halfway: [1] REP has the flags be those from before the
 * instruction, AMD's CPUs have those of the last comparison. Nobody can tell
 * after the restart.
 */
static bool rep_flags(struct interpreter *in, const struct dispute *d,
		      struct outcome *o)
{
	const struct test_case *c = d->c;
	u64 step = c->state.flags & FLAG_DF ? -(u64)operand_bytes(c)
					    : operand_bytes(c);
	struct test_case last = *c;
	struct outcome compared;

	if (!c->form.rep || o->vector == NO_FAULT ||
	    o->state.gpr[X86_RDI] == c->state.gpr[X86_RDI])
		return false;
	last.state.gpr[X86_RSI] = o->state.gpr[X86_RSI] - step;
	last.state.gpr[X86_RDI] = o->state.gpr[X86_RDI] - step;
	last.flush = false;
	compared.vector = VEC_UD;
	run_without(in, &last, c->form.rep == REP_REPZ ? 0xf3 : 0xf2,
		    &compared);
	if (compared.vector != NO_FAULT)
		return false;
	o->state.flags = compared.state.flags;
	return true;
}

/*
 * [1] has LOCK be #UD. Where VERW of an operand in memory is microcode that
 * empties buffers as well ([3]) Zen 3 takes the prefix and ignores it; VERW of
 * a register is #UD there too.
 */
static bool verw_lock(struct interpreter *in, const struct dispute *d,
		      struct outcome *o)
{
	const struct test_case *c = d->c;
	if (!c->form.lock || !c->form.mem || o->vector != VEC_UD)
		return false;
	run_without(in, c, 0xf0, o);
	return true;
}

/*
 * A repeated instruction with 32-bit addresses that does nothing, as its count
 * is 0 or its first element faults: Intel's CPUs have cut the registers it
 * counts in to 32 bits all the same, as [4] says of results. STOS and MOVS cut
 * the addresses as well.
 */
static bool rep_count(struct interpreter *in, const struct dispute *d,
		      struct outcome *o)
{
	const struct test_case *c = d->c;
	const struct bt_row *row = &bt_rows[c->form.row];
	u64 *gpr = o->state.gpr;

	if (c->form.code != W64 || !c->form.address || !c->form.rep ||
	    (u32)gpr[X86_RCX] != (u32)c->state.gpr[X86_RCX])
		return false;
	gpr[X86_RCX] = (u32)gpr[X86_RCX];
	if (row_is(row, "stos movs"))
		gpr[X86_RDI] = (u32)gpr[X86_RDI];
	if (row_is(row, "movs"))
		gpr[X86_RSI] = (u32)gpr[X86_RSI];
	return true;
}

static const struct {
	const char *rows, *text;
	host_rule_fn *other;
} rules[HOST_RULES] = {
	[RULE_CMPS_ORDER] = {"cmps",
			     "of two operands that fault reads rDI's first; "
			     "no manual says which",
			     cmps_order},
	[RULE_REP_FLAGS] = {"cmps scas",
			    "a fault leaves the last comparison's flags; the "
			    "manual: those from before",
			    rep_flags},
	[RULE_VERW_LOCK] = {"verw", "ignores LOCK; the manual: #UD", verw_lock},
	[RULE_REP_COUNT] = {"movs cmps stos lods scas",
			    "with 32-bit addresses cuts registers even if "
			    "nothing is done",
			    rep_count},
	[RULE_PUSH_HALF] = {"push", "of a segment register writes two bytes",
			    host_push_half},
	[RULE_POP_HALF] = {"pop", "of a segment register reads two bytes",
			   host_pop_half},
	[RULE_CALL_PUSHED] = {"call",
			      "to a non-canonical address has pushed already",
			      host_call_pushed},
	[RULE_MMX_FIRST] = {"movd movq movntq",
			    "a fault finds the unit's registers made MMX's",
			    host_mmx_first},
	[RULE_MASKED_LAST] = {"vmaskmovps vmaskmovpd vpmaskmov",
			      "a fault is at the last byte that is stored",
			      host_masked_last},
	[RULE_MASKED_HALF] = {"maskmovdqu vmaskmovdqu",
			      "a fault in the second half comes first",
			      host_masked_half},
	[RULE_NUMERIC_FIRST] = {"fst fstp fist fistp fisttp fbstp",
				"a numeric exception comes before #PF",
				host_numeric_first},
	[RULE_MXCSR_FIRST] = {"vcvtps2ph", "a fault finds MXCSR's flags set",
			      host_mxcsr_first},
	[RULE_TBYTE_HALF] = {"fstp fbstp",
			     "a fault in the last two of ten bytes finds the "
			     "eight before them stored",
			     host_tbyte_half},
	[RULE_GATHER_MASK] = {"vpgatherd vpgatherq vgatherdp vgatherqp",
			      "a fault finds the mask's high half zero",
			      host_gather_mask},
	[RULE_GATHER_TARGET] = {"vpgatherd vpgatherq vgatherdp vgatherqp",
				"a fault finds the target's high half zero",
				host_gather_target},
};

const char *host_rule_rows(enum host_rule rule)
{
	return rules[rule].rows;
}

const char *host_rule_text(enum host_rule rule)
{
	return rules[rule].text;
}

/* How much is not the host's of what is foretold. */
static unsigned differences(const struct dispute *d, const struct outcome *o)
{
	const struct patch *p = &o->patch;
	u64 at = p->len ? p->at - DATA : 0;
	static u8 memory[DATA_BYTES];

	memcpy(memory, d->bt_memory, DATA_BYTES);
	memcpy(memory + at, p->bytes, p->len);
	return compare_count(d->c, o, d->host) +
	       (memcmp(memory, d->host_memory, DATA_BYTES) != 0);
}

bool hosts_explain(struct interpreter *in, const struct dispute *d,
		   struct tally *tally)
{
	const struct bt_row *row = &bt_rows[d->c->form.row];
	struct outcome best = *d->bt, other;
	unsigned left = differences(d, &best), count;
	u32 needed = 0;

	for (unsigned k = 0; k < HOST_RULES && left; k++) {
		other = best;
		if (!row_is(row, rules[k].rows) ||
		    !rules[k].other(in, d, &other))
			continue;
		count = differences(d, &other);
		if (count >= left)
			continue;
		best = other;
		left = count;
		needed |= (u32)BIT(k);
	}
	for (unsigned k = 0; k < HOST_RULES && !left; k++)
		tally->by_rule[k] += needed >> k & 1;
	return !left;
}
