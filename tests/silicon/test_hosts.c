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
	u8 before[DATA_BYTES], host_memory[DATA_BYTES];
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
	memcpy(f->before, interpreter_memory(f->in), DATA_BYTES);
	interpreter_run(f->in, &f->c, &f->bt);
	memcpy(f->host_memory, interpreter_memory(f->in), DATA_BYTES);
	f->host = f->bt;
}

static bool explain(struct fixture *f, struct tally *tally)
{
	const u8 *memory = interpreter_memory(f->in);
	const struct dispute d = {&f->c,     &f->bt, &f->host,
				  f->before, memory, f->host_memory};

	return hosts_explain(f->in, &d, tally);
}

/* Differs, and is explained by this rule alone. */
static bool explained(struct fixture *f, enum host_rule rule)
{
	const u8 *memory = interpreter_memory(f->in);
	struct tally tally = {0};
	bool ok;

	assert_true(compare_count(&f->c, &f->bt, &f->host) ||
		    memcmp(memory, f->host_memory, DATA_BYTES));
	ok = explain(f, &tally);
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
	assert_true(explain(f, &tally));
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

/* One of the bytes of which `f->host_memory` has what is foretold is another.
 */
static void spoil(struct fixture *f, u64 at)
{
	f->host_memory[at - DATA] ^= 1;
}

static void store(struct fixture *f, u64 at, const void *bytes, size_t len)
{
	memcpy(f->host_memory + (at - DATA), bytes, len);
}

/* Nothing left to do: the registers are cut, and only for MOVS both addresses.
 */
static void test_rep_count(void **state)
{
	struct fixture *f = *state;

	prepare(f, "\xf3\x67\x48\xab", 4); /* REP STOSQ */
	f->c.form.address = 1;
	f->c.state.gpr[X86_RCX] = 0x100000000;
	f->c.state.gpr[X86_RDI] = 0x900000000 | DATA;
	run(f);
	assert_int_equal(f->bt.vector, NO_FAULT);
	f->host.state.gpr[X86_RCX] = 0;
	assert_false(explained(f, RULE_REP_COUNT));
	f->host.state.gpr[X86_RDI] = DATA;
	assert_true(explained(f, RULE_REP_COUNT));
	f->host.state.gpr[X86_RDI]++;
	assert_false(explained(f, RULE_REP_COUNT));
}

/* PUSH ES of 32-bit code: what was above the two bytes is still there. */
static void test_push_half(void **state)
{
	static const u8 was[2] = {0x55, 0xaa};
	struct fixture *f = *state;
	const u64 sp = DATA + 0x100;

	memcpy(interpreter_memory(f->in) + 0xfe, was, 2);
	prepare(f, "\x90", 1);
	f->c.form.code = W32;
	f->c.bytes[0] = 0x06;
	assert_int_equal(interpreter_decode(f->in, &f->c), BT_DECODE_OK);
	f->c.form.row = f->c.insn.row;
	f->c.form.size = SIZE_PLAIN;
	f->c.state.gpr[X86_RSP] = sp;
	run(f);
	assert_int_equal(f->bt.vector, NO_FAULT);
	store(f, sp - 2, was, 2);
	assert_true(explained(f, RULE_PUSH_HALF));
	spoil(f, sp - 1);
	assert_false(explained(f, RULE_PUSH_HALF));
}

static void test_call_pushed(void **state)
{
	struct fixture *f = *state;
	const u64 sp = DATA + 0x100, next = CODE_START + 2;

	prepare(f, "\xff\xd3", 2); /* CALL RBX */
	f->c.state.gpr[X86_RBX] = 0x800000000000;
	f->c.state.gpr[X86_RSP] = sp;
	run(f);
	assert_int_equal(f->bt.vector, VEC_GP);
	store(f, sp - 8, &next, 8);
	assert_true(explained(f, RULE_CALL_PUSHED));
	spoil(f, sp - 8);
	assert_false(explained(f, RULE_CALL_PUSHED));
}

/* FSTP TBYTE PTR [RDI], two bytes of which are not there. */
static void test_tbyte_half(void **state)
{
	static const u8 one[8] = {0, 0, 0, 0, 0, 0, 0, 0x80};
	struct fixture *f = *state;
	struct xsave_legacy *x = (void *)f->c.state.xsave;
	const u64 at = DATA + DATA_WRITABLE - 8;

	prepare(f, "\xdb\x3f", 2);
	x->fcw = 0x37f;
	x->ftw = 1;
	memcpy(x->st[0], one, 8);
	x->st[0][8] = 0xff;
	x->st[0][9] = 0x3f;
	*xsave_header(f->c.state.xsave) = XCR0_X87;
	f->c.target = at;
	f->c.state.gpr[X86_RDI] = at;
	run(f);
	assert_int_equal(f->bt.vector, VEC_PF);
	store(f, at, one, 8);
	assert_true(explained(f, RULE_TBYTE_HALF));
	spoil(f, at + 7);
	assert_false(explained(f, RULE_TBYTE_HALF));
}

/* FSTP DWORD PTR of a page that is not there, with underflow unmasked. */
static void test_numeric_first(void **state)
{
	struct fixture *f = *state;
	struct xsave_legacy *x = (void *)f->c.state.xsave;
	struct xsave_legacy *y = (void *)f->host.state.xsave;

	prepare(f, "\xd9\x1f", 2);
	x->fcw = 0x36f;
	x->ftw = 1;
	x->st[0][7] = 0x80;
	x->st[0][8] = 1;
	*xsave_header(f->c.state.xsave) = XCR0_X87;
	f->c.state.gpr[X86_RDI] = f->c.target = DATA - 8;
	run(f);
	assert_int_equal(f->bt.vector, VEC_PF);
	f->host.vector = NO_FAULT;
	f->host.state.rip = CODE_START + 2;
	y->fsw |= 0x8090; /* busy, summary, underflow */
	assert_true(explained(f, RULE_NUMERIC_FIRST));
	y->fsw ^= 0x10;
	assert_false(explained(f, RULE_NUMERIC_FIRST));
}

static void test_masked(void **state)
{
	struct fixture *f = *state;
	struct xsave_legacy *x = (void *)f->c.state.xsave;
	const u64 at = DATA + DATA_WRITABLE - 6;

	prepare(f, "\x66\x0f\xf7\xce", 4); /* MASKMOVDQU XMM1, XMM6 */
	*xsave_header(f->c.state.xsave) = XCR0_SSE;
	memset(x->xmm[6], 0x80, 16);
	f->c.state.gpr[X86_RDI] = f->c.target = at;
	run(f);
	assert_int_equal(f->bt.vector, VEC_PF);
	f->host.cr2 = at + 8;
	assert_true(explained(f, RULE_MASKED_HALF));
	f->host.cr2++;
	assert_false(explained(f, RULE_MASKED_HALF));
	if (!(interpreter_features(f->in) & BIT(FEAT_AVX)))
		return;
	prepare(f, "\xc4\xe2\x49\x2e\x2f", 5); /* VMASKMOVPS [RDI], 6, 5 */
	memset(x->xmm[6], 0x80, 12);
	*xsave_header(f->c.state.xsave) = XCR0_SSE;
	f->c.state.gpr[X86_RDI] = f->c.target = at;
	run(f);
	assert_int_equal(f->bt.vector, VEC_PF);
	f->host.cr2 = at + 11;
	assert_true(explained(f, RULE_MASKED_LAST));
	f->host.cr2 = at + 12;
	assert_false(explained(f, RULE_MASKED_LAST));
}

/* MOVQ [RDI], MM0 of a page that is not there: TOP becomes 0. */
static void test_mmx_first(void **state)
{
	struct fixture *f = *state;
	struct xsave_legacy *x = (void *)f->c.state.xsave;
	struct xsave_legacy *y = (void *)f->host.state.xsave;

	prepare(f, "\x0f\x7f\x07", 3);
	x->fcw = 0x37f;
	x->fsw = 3 << 11;
	x->ftw = 0xff;
	x->st[0][0] = 0x77;
	*xsave_header(f->c.state.xsave) = XCR0_X87;
	f->c.state.gpr[X86_RDI] = f->c.target = DATA - 8;
	run(f);
	assert_int_equal(f->bt.vector, VEC_PF);
	y->fsw = 0;
	y->st[0][0] = 0;
	assert_false(explained(f, RULE_MMX_FIRST));
	y->st[3][0] = 0x77;
	assert_true(explained(f, RULE_MMX_FIRST));
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
		cmocka_unit_test(test_rep_count),
		cmocka_unit_test(test_push_half),
		cmocka_unit_test(test_call_pushed),
		cmocka_unit_test(test_tbyte_half),
		cmocka_unit_test(test_numeric_first),
		cmocka_unit_test(test_masked),
		cmocka_unit_test(test_mmx_first),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
