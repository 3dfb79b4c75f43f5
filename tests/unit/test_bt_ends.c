/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accesses at the end of memory. For each instruction with a memory operand the
 * host's CPU says how many bytes it touches: the last place before a page that
 * is not there at which it does not fault. There the interpreter and translated
 * code must do the same, and a byte further on they must fault; behind the
 * engine's copy of the page is one of the host's that nobody may touch.
 *
 * So the sizes in the opcode tables, on which the checks of translated code
 * stand, are the silicon's.
 */
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bt_host.h"
#include "bt_machine.h"
#include "bt_translation.h"
#include "bt_unit.h"
#include "engine/bt/decode.h"
#include "engine/bt/fpu.h"
#include "engine/bt/signals.h"
#include "fpu_fixture.h"

/* How the address and the other register are given, and the operand's size. */
struct variant {
	u8 base; /* register of the address */
	u8 reg;	 /* in ModRM.reg, where the row leaves it free */
	bool opsize, wide, l;
};

struct encoding {
	u8 bytes[40];
	unsigned len;
};

static void put(struct encoding *e, unsigned byte)
{
	e->bytes[e->len++] = (u8)byte;
}

static void put_vex(struct encoding *e, const struct bt_row *row,
		    const struct variant *v)
{
	unsigned vvvv = row->attrs & ROW_VVVV ? X86_RSI : 0;

	put(e, 0xc4);
	put(e, (v->reg < 8 ? 0x80u : 0) | 0x40u | (v->base < 8 ? 0x20u : 0) |
		       row->map);
	put(e, (v->wide ? 0x80u : 0) | (vvvv ^ 15u) << 3 | (v->l ? 4u : 0) |
		       (row->prefix > 0 ? (unsigned)row->prefix : 0));
}

static void put_prefixes(struct encoding *e, const struct bt_row *row,
			 const struct variant *v)
{
	static const u8 mandatory[] = {0, 0x66, 0xf3, 0xf2};

	if (v->opsize && row->prefix != 1)
		put(e, 0x66);
	if (row->prefix > 0)
		put(e, mandatory[row->prefix]);
	put(e, 0x40u | (v->wide ? 8u : 0) | (v->reg >= 8 ? 4u : 0) |
		       (v->base >= 8 ? 1u : 0));
	if (row->map)
		put(e, 0x0f);
	if (row->map > 1)
		put(e, row->map == 2 ? 0x38 : 0x3a);
}

static void encode(struct encoding *e, const struct bt_row *row,
		   const struct variant *v)
{
	unsigned reg = row->reg >= 0 ? (u8)row->reg : v->reg & 7;

	memset(e, 0, sizeof(*e));
	if (row->attrs & ROW_VEX)
		put_vex(e, row, v);
	else
		put_prefixes(e, row, v);
	put(e, row->opcode);
	put(e, reg << 3 | (v->base & 7));
	if ((v->base & 7) == X86_RSP)
		put(e, 0x24);
	/* Immediates are 1: a shift by 0 writes nothing. */
	put(e, 1);
	e->len = BT_MAX_INSN;
}

/* ---- one access -------------------------------------------------------- */

struct ends {
	struct machine *t;
	struct bt_translation x;
	struct encoding e;
	struct bt_insn i;
	const struct bt_row *row;
	struct variant v;
	unsigned runs;
};

static u8 *page_end(u8 *memory)
{
	return memory + BT_HOLE;
}

static void fill(u8 *memory)
{
	memset(page_end(memory) - 1024, 0, 1024);
}

static void set_registers(const struct ends *x, unsigned before)
{
	for (unsigned k = 0; k < 16; k++)
		bt_host.gpr[k] = 1;
	bt_host.gpr[X86_RDX] = 0;
	bt_host.gpr[x->v.base] = (u64)page_end(x->t->m.arena) - before;
	bt_host.flags = FLAG_1 | FLAG_IF;
	fill(x->t->m.arena);
}

static void run_host(struct ends *x, unsigned before)
{
	set_registers(x, before);
	bt_host_set_code(x->e.bytes, x->i.len);
	bt_unit_run_host(&x->t->unit);
}

static void load_engine(struct ends *x, unsigned before)
{
	struct bt_cpu *c = x->t->m.c;

	set_registers(x, before);
	fill(x->t->m.copy);
	memcpy(c->gpr, bt_host.gpr, sizeof(bt_host.gpr));
	c->gpr[16] = 0;
	c->gpr[17] = x->x.block->pa;
	c->eflags = FLAG_IF;
	bt_set_arith(c, 0);
	bt_fpu_set(c, x->t->unit.before.bytes);
	c->stat.host_faults = c->stat.blocks[INTERP_STACK] = 0;
}

/* A fault of the access: whatever else it raises, it has reached its operand.
 */
static bool is_access_fault(int vector)
{
	return vector == VEC_PF || vector == VEC_GP || vector == VEC_SS;
}

struct result {
	bool fault;
	u64 gpr[16];
	u32 flags;
	u8 memory[1024];
};

static void keep(struct result *r, bool fault, const u64 *gpr, const u8 *memory)
{
	r->fault = fault;
	memcpy(r->gpr, gpr, sizeof(r->gpr));
	memcpy(r->memory, memory + BT_HOLE - 1024, sizeof(r->memory));
}

static void keep_engine(struct result *r, const struct bt_machine *m,
			int vector)
{
	keep(r, is_access_fault(vector), m->c->gpr, m->copy);
	r->flags = vector < 0 ? bt_flags(m->c) & FLAG_ARITH : 0;
}

static void by_host(struct ends *x, unsigned before, struct result *r)
{
	run_host(x, before);
	keep(r, bt_host.signal == SIGSEGV, bt_host.gpr, x->t->m.arena);
	r->flags = bt_host.signal ? 0 : bt_host.flags & FLAG_ARITH;
}

static void by_interpreter(struct ends *x, unsigned before, struct result *r)
{
	struct bt_cpu *c = x->t->m.c;
	struct bt_insn i;
	int vector;

	load_engine(x, before);
	vector = bt_machine_run(&x->t->m, x->e.bytes, x->e.len, &i);
	bt_fpu_save(c);
	keep_engine(r, &x->t->m, vector);
}

static void by_translation(struct ends *x, unsigned before, bool plain,
			   struct result *r)
{
	struct bt_cpu *c = x->t->m.c;
	int vector = -1;

	assert_true(bt_translation_decode(&x->x, x->e.bytes, x->i.len));
	assert_true(bt_translation_make(&x->x, plain));
	/* The first time fills the TLB, where the window is looked up. */
	for (unsigned k = 0; k < 2; k++) {
		load_engine(x, before);
		vector = bt_translation_run(&x->x);
		bt_fpu_save(c);
	}
	keep_engine(r, &x->t->m, vector);
	if (!plain && !r->fault && c->stat.blocks[INTERP_STACK])
		fail_msg("%s %s is not done by the window", x->row->name,
			 x->row->operands);
	/* The unit's own errors and #DE come from the host, no access does. */
	if (c->stat.host_faults && vector != VEC_DE && vector != VEC_XM &&
	    vector != VEC_MF)
		fail_msg("%s %s touches memory that is not there", x->row->name,
			 x->row->operands);
}

/* ---- one encoding ------------------------------------------------------ */

static const unsigned sizes[] = {0, 1, 2, 4, 8, 10, 14, 16, 28, 32, 94, 108};

/* Bytes that the host touches, 0: none; -1: no such encoding there. */
static int host_size(struct ends *x)
{
	for (unsigned k = 0; k < ARRAY_SIZE(sizes); k++) {
		run_host(x, sizes[k]);
		if (bt_host.signal == SIGILL)
			return -1;
		if (bt_host.signal != SIGSEGV)
			return (int)sizes[k];
	}
	return -1;
}

static void report(const struct ends *x, const char *who, const char *what,
		   int before)
{
	print_error("%s %s, base %u, reg %u, %s%s%s: %s differs in %s, %d "
		    "bytes before the end:",
		    x->row->name, x->row->operands, x->v.base, x->v.reg,
		    x->v.opsize ? "66 " : "", x->v.wide ? "W " : "",
		    x->v.l ? "L " : "", who, what, before);
	for (unsigned k = 0; k < x->i.len; k++)
		print_error(" %02x", x->e.bytes[k]);
	print_error("\n");
}

/* Not the host's: selectors, and FIP and its kin (28 bytes and more). */
static bool tells_another_state(const struct bt_row *row, int before)
{
	return before >= 28 || strchr(row->operands, 'S');
}

static bool same(const struct ends *x, const char *who, const struct result *a,
		 const struct result *b, int before)
{
	const char *what = NULL;

	if (a->fault != b->fault)
		what = "whether it faults";
	else if (memcmp(a->gpr, b->gpr, sizeof(a->gpr)))
		what = "registers";
	else if ((a->flags ^ b->flags) & ~(u32)x->row->flags_undef)
		what = "flags";
	else if (!tells_another_state(x->row, before) &&
		 memcmp(a->memory, b->memory, sizeof(a->memory)))
		what = "memory";
	if (what)
		report(x, who, what, before);
	return !what;
}

/*
 * Ten bytes may be stored in two accesses, and what the first has stored be
 * seen when the second one faults (Intel SDM vol. 3A 9.1.1, "Guaranteed Atomic
 * Operations"; 8.1.1 in older ones). Intel's CPUs store the low eight bytes
 * first; AMD's and the engine store nothing. If the host has done exactly that
 * it is taken back.
 */
static void undo_first_access(struct ends *x, unsigned before,
			      struct result *host)
{
	u8 *at = host->memory + sizeof(host->memory) - before;
	struct result whole;

	if (!host->fault || before != 9 ||
	    (strcmp(x->row->name, "fstp") && strcmp(x->row->name, "fbstp")))
		return;
	by_interpreter(x, 10, &whole);
	if (!whole.fault &&
	    !memcmp(at, whole.memory + sizeof(whole.memory) - 10, 8))
		memset(at, 0, 8);
}

static bool try_at(struct ends *x, int before)
{
	struct result host, engine;
	bool good;

	x->runs++;
	by_host(x, (unsigned)before, &host);
	undo_first_access(x, (unsigned)before, &host);
	by_interpreter(x, (unsigned)before, &engine);
	good = same(x, "the interpreter", &host, &engine, before);
	by_translation(x, (unsigned)before, true, &engine);
	good &= same(x, "the translation", &host, &engine, before);
	if (x->v.base != X86_RSP)
		return good;
	by_translation(x, (unsigned)before, false, &engine);
	return good & same(x, "the stack window", &host, &engine, before);
}

/* False: there is something wrong with it. */
static bool try_variant(struct ends *x, const struct variant *v, bool *found)
{
	int size;

	x->v = *v;
	encode(&x->e, x->row, v);
	if (bt_decode(x->e.bytes, x->e.len, W64, x->t->m.policy.features, &x->i,
		      NULL) != BT_DECODE_OK ||
	    &bt_rows[x->i.row] != x->row || !x->i.mem)
		return true;
	size = host_size(x);
	if (size < 0)
		return true;
	*found = true;
	return try_at(x, size) && (size < 1 || try_at(x, size - 1));
}

static bool try_row(struct ends *x, bool *found)
{
	static const u8 bases[] = {X86_RBX, X86_R9, X86_RSP, X86_RBX};
	static const u8 regs[] = {X86_RSI, X86_R10, X86_R11, X86_RSP};
	bool good = true;

	for (unsigned k = 0; k < 8 * ARRAY_SIZE(bases) && good; k++) {
		const struct variant v = {
			.base = bases[k / 8],
			.reg = regs[k / 8],
			.opsize = k & 1,
			.wide = k & 2,
			.l = k & 4,
		};

		if (v.l && !(x->row->attrs & ROW_VEX))
			continue;
		if (v.opsize && x->row->attrs & ROW_VEX)
			continue;
		good = try_variant(x, &v, found);
	}
	return good;
}

/* Pushes and jumps go elsewhere; test_stack has them. */
static bool is_testable(struct machine *t, const struct bt_row *row)
{
	if (row->attrs & (ROW_NOTEST | ROW_END | ROW_VSIB | ROW_D64 | ROW_F64))
		return false;
	if (row->mod == 3 || row->mode64 == 0)
		return false;
	return row->feature == FEAT_BASE || cpu_has(&t->m.policy, row->feature);
}

static void guard(struct machine *t, bool on)
{
	bt_machine_hole(&t->m, BT_HOLE, on);
	assert_int_equal(mprotect(page_end(t->m.copy), 4096,
				  on ? PROT_NONE : PROT_READ | PROT_WRITE),
			 0);
}

static struct ends *start(struct machine *t)
{
	struct ends *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	x->t = t;
	bt_machine_catch();
	assert_true(bt_translation_init(&x->x, &t->m));
	bt_machine_start(&t->m);
	memset(&t->unit.before, 0, sizeof(t->unit.before));
	bt_unit_legacy(&t->unit.before)->fcw = 0x37f;
	bt_unit_legacy(&t->unit.before)->mxcsr = 0x1f80;
	bt_unit_legacy(&t->unit.before)->mxcsr_mask = 0xffff;
	*xsave_header(t->unit.before.bytes) = t->unit.components;
	guard(t, true);
	return x;
}

static void stop(struct ends *x)
{
	guard(x->t, false);
	bt_translation_fini(&x->x);
	free(x);
}

static void test_rows(void **state)
{
	struct ends *x = start(*state);
	unsigned rows = 0, bad = 0;

	for (unsigned r = 0; r < bt_row_count; r++) {
		bool found = false;

		x->row = &bt_rows[r];
		if (!is_testable(x->t, x->row))
			continue;
		bad += !try_row(x, &found);
		rows += found;
	}
	print_message("%u rows, %u places\n", rows, x->runs);
	assert_true(rows > 600);
	assert_int_equal(bad, 0);
	stop(x);
}

/* ---- the stack --------------------------------------------------------- */

/* Code with RBX, RBP and RSP at places before the end, with a window and
 * without: at `good` it runs, a byte further on it faults. */
static void check_stack(struct ends *x, const char *what, const u8 *bytes,
			unsigned len, unsigned good)
{
	struct bt_cpu *c = x->t->m.c;

	memcpy(x->e.bytes, bytes, len);
	x->e.len = len;
	x->i.len = len & 15;
	for (unsigned k = 0; k < 4; k++) {
		unsigned before = good - (k & 1);
		int vector = -1;

		assert_true(bt_translation_decode(&x->x, bytes, len));
		assert_true(bt_translation_make(&x->x, k & 2));
		for (unsigned n = 0; n < 2; n++) {
			load_engine(x, before);
			c->gpr[X86_RSP] = c->gpr[X86_RBP] = c->gpr[X86_RBX] =
				(u64)page_end(x->t->m.arena) - before;
			vector = bt_translation_run(&x->x);
		}
		if ((k & 1 ? VEC_PF : -1) != vector)
			fail_msg("%s: vector %d, %u bytes before the end", what,
				 vector, before);
		assert_int_equal(c->stat.host_faults, 0);
		x->runs++;
	}
}

#define STACK(what, good, ...)                          \
	check_stack(x, what, (const u8[]){__VA_ARGS__}, \
		    sizeof((const u8[]){__VA_ARGS__}), good)

static void test_stack(void **state)
{
	struct ends *x = start(*state);

	x->v.base = X86_RBX;
	STACK("pop rax", 8, 0x58);
	STACK("pop r9", 8, 0x41, 0x59);
	STACK("pop rsp", 8, 0x5c);
	STACK("pop, pop", 16, 0x58, 0x59);
	STACK("leave", 8, 0xc9);
	STACK("ret", 8, 0xc3);
	STACK("ret 8", 8, 0xc2, 8, 0);
	/* A push goes down: the page before would have to be missing. Here it
	 * is the operand that counts. */
	STACK("push [rbx]", 8, 0xff, 0x33);
	STACK("push [rsp]", 8, 0xff, 0x34, 0x24);
	STACK("push [rsp+8]", 16, 0xff, 0x74, 0x24, 0x08);
	STACK("call [rbx]", 8, 0xff, 0x13);
	STACK("jmp [rbx]", 8, 0xff, 0x23);
	STACK("add rsp, 16; mov al, [rsp-1]", 16, 0x48, 0x83, 0xc4, 0x10, 0x8a,
	      0x44, 0x24, 0xff);
	STACK("mov eax, [rsp]; mov rdx, [rsp+4]", 12, 0x8b, 0x04, 0x24, 0x48,
	      0x8b, 0x54, 0x24, 0x04);
	assert_true(x->runs > 50);
	stop(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stack, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
