/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules about what hosts do otherwise forgive what they foretell and
 * nothing else. No host does all of it, so its outcomes are made up here.
 */
#include "unit.h"

#include <string.h>

#include "silicon.h"

struct fixture {
	struct interpreter *in;
	struct test_case c;
	struct outcome bt, host;
};

/* A case of 64-bit code that has at most one prefix before its REX. */
static void prepare(struct fixture *f, const char *bytes, u8 len)
{
	struct test_case *c = &f->c;
	u8 prefix = (u8)bytes[0];
	bool has = prefix == 0xf0 || prefix == 0xf3;

	memset(c, 0, sizeof(*c));
	c->form.code = W64;
	c->len = (u8)(len - has);
	memcpy(c->bytes, bytes + has, c->len);
	interpreter_decode(f->in, c);
	c->form.row = c->insn.row;
	c->form.mem = c->insn.mem;
	c->form.size = c->insn.rexw ? SIZE_W : SIZE_PLAIN;
	c->form.lock = prefix == 0xf0;
	c->form.rep = prefix == 0xf3 ? REP_REPZ : REP_NONE;
	c->len = len;
	memcpy(c->bytes, bytes, len);
	interpreter_decode(f->in, c);
	c->state.rip = CODE_START;
	c->state.flags = FLAG_1 | FLAG_IF;
	c->state.gpr[X86_RCX] = 9;
}

/* The host's outcome is the interpreter's until a test changes it. */
static void run(struct fixture *f)
{
	interpreter_run(f->in, &f->c, &f->bt);
	f->host = f->bt;
}

/* Differs, and is explained by this rule alone. */
static bool explained(struct fixture *f, enum host_rule rule)
{
	struct tally tally = {0};
	bool ok;

	assert_int_not_equal(compare_count(&f->c, &f->bt, &f->host), 0);
	ok = hosts_explain(f->in, &f->c, &f->bt, &f->host, &tally);
	for (unsigned k = 0; k < HOST_RULES; k++)
		assert_int_equal(tally.by_rule[k], ok && k == rule);
	return ok;
}

static void set_up_string(struct fixture *f, const char *bytes, u64 source,
			  u64 target)
{
	prepare(f, bytes, (u8)strlen(bytes));
	f->c.state.gpr[X86_RSI] = source;
	f->c.state.gpr[X86_RDI] = target;
	run(f);
	assert_int_equal(f->bt.vector, VEC_PF);
}

static void test_cmps_order(void **state)
{
	struct fixture *f = *state;
	const u64 end = DATA + DATA_BYTES;

	set_up_string(f, "\x48\xa7", DATA - 3, end - 5);
	assert_int_equal(f->bt.cr2, DATA - 3);
	f->host.cr2 = end; /* the first byte that is not there */
	assert_true(explained(f, RULE_CMPS_ORDER));
	f->host.cr2 = end - 5;
	assert_false(explained(f, RULE_CMPS_ORDER));
	f->host.cr2 = end;
	f->host.error ^= PF_W;
	assert_false(explained(f, RULE_CMPS_ORDER));
	f->host.error = f->bt.error;
	f->host.state.gpr[X86_RDI] += 8;
	assert_false(explained(f, RULE_CMPS_ORDER));
	set_up_string(f, "\xf3\x48\xa7", DATA - 3, DATA - 16);
	f->host.cr2 = DATA - 16;
	assert_true(explained(f, RULE_CMPS_ORDER));
}

/* An operand that can be read is never where the fault was. */
static void test_cmps_one_side(void **state)
{
	struct fixture *f = *state;
	const u64 end = DATA + DATA_BYTES;

	set_up_string(f, "\x48\xa7", DATA - 3, DATA);
	f->host.cr2 = DATA;
	assert_false(explained(f, RULE_CMPS_ORDER));
	set_up_string(f, "\x48\xa7", DATA, DATA - 3);
	f->host.cr2 = DATA;
	assert_false(explained(f, RULE_CMPS_ORDER));
	set_up_string(f, "\x48\xa5", DATA - 3, end); /* MOVSQ */
	f->host.cr2 = end;
	f->host.error |= PF_W;
	assert_false(explained(f, RULE_CMPS_ORDER));
}

/* Two equal elements, then a fault. */
static void test_rep_flags(void **state)
{
	struct fixture *f = *state;
	const u64 end = DATA + DATA_BYTES;

	memset(interpreter_memory(f->in), 0x55, DATA_BYTES);
	set_up_string(f, "\xf3\x48\xa7", DATA, end - 16);
	assert_int_equal(f->bt.state.gpr[X86_RCX], 7);
	assert_int_equal(f->bt.state.flags & FLAG_ARITH, 0);
	f->host.state.flags |= FLAG_ZF;
	assert_false(explained(f, RULE_REP_FLAGS));
	f->host.state.flags |= FLAG_ZF | FLAG_PF;
	assert_true(explained(f, RULE_REP_FLAGS));
	f->host.state.flags |= FLAG_CF;
	assert_false(explained(f, RULE_REP_FLAGS));
	/* Nothing has been compared before this one. */
	set_up_string(f, "\xf3\x48\xa7", DATA, end);
	f->host.state.flags |= FLAG_ZF | FLAG_PF;
	assert_false(explained(f, RULE_REP_FLAGS));
}

/* Downwards, one equal element, then two that fault: each rule is counted. */
static void test_two_rules(void **state)
{
	struct fixture *f = *state;
	struct tally tally = {0};

	memset(interpreter_memory(f->in), 0x55, DATA_BYTES);
	prepare(f, "\xf3\x48\xa7", 3);
	f->c.state.flags |= FLAG_DF;
	f->c.state.gpr[X86_RSI] = DATA;
	f->c.state.gpr[X86_RDI] = DATA + 3;
	run(f);
	assert_int_equal(f->bt.vector, VEC_PF);
	assert_int_equal(f->bt.cr2, DATA - 8);
	f->host.cr2 = DATA - 5;
	f->host.state.flags |= FLAG_ZF | FLAG_PF;
	assert_true(hosts_explain(f->in, &f->c, &f->bt, &f->host, &tally));
	assert_int_equal(tally.by_rule[RULE_CMPS_ORDER], 1);
	assert_int_equal(tally.by_rule[RULE_REP_FLAGS], 1);
}

/* LOCK VERW or another of its group, as if the prefix were not there. */
static void set_up_locked(struct fixture *f, const char *bytes, u64 operand)
{
	const u16 selector = 0x2b; /* data that can be written */

	memcpy(interpreter_memory(f->in), &selector, 2);
	prepare(f, bytes, 4);
	f->c.state.gpr[X86_RDI] = operand;
	run(f);
	assert_int_equal(f->bt.vector, VEC_UD);
	f->host.vector = NO_FAULT;
	f->host.state.rip = CODE_START + 4;
	f->host.state.flags |= FLAG_ZF;
}

static void test_verw_lock(void **state)
{
	struct fixture *f = *state;

	set_up_locked(f, "\xf0\x0f\x00\x2f", DATA);
	assert_true(explained(f, RULE_VERW_LOCK));
	f->host.state.flags &= ~(u32)FLAG_ZF;
	assert_false(explained(f, RULE_VERW_LOCK));
	f->host.state.flags |= FLAG_ZF;
	f->host.state.rip--;
	assert_false(explained(f, RULE_VERW_LOCK));
	set_up_locked(f, "\xf0\x0f\x00\x27", DATA); /* VERR */
	assert_false(explained(f, RULE_VERW_LOCK));
	set_up_locked(f, "\xf0\x0f\x00\xef", DATA); /* VERW of EDI */
	f->c.state.gpr[X86_RDI] = 0x2b;
	assert_false(explained(f, RULE_VERW_LOCK));
}

/* Its operand is not there: #PF at the prefix. */
static void test_verw_lock_fault(void **state)
{
	struct fixture *f = *state;

	set_up_locked(f, "\xf0\x0f\x00\x2f", DATA - 1);
	assert_false(explained(f, RULE_VERW_LOCK));
	f->host = f->bt;
	f->host.vector = VEC_PF;
	f->host.error = PF_U;
	f->host.cr2 = DATA - 1;
	assert_true(explained(f, RULE_VERW_LOCK));
	f->host.cr2 = DATA;
	assert_false(explained(f, RULE_VERW_LOCK));
}

static int set_up(void **state)
{
	static struct fixture fixture;

	*state = &fixture;
	return interpreter_create(&fixture.in, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cmps_order),
		cmocka_unit_test(test_cmps_one_side),
		cmocka_unit_test(test_rep_flags),
		cmocka_unit_test(test_two_rules),
		cmocka_unit_test(test_verw_lock),
		cmocka_unit_test(test_verw_lock_fault),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
