/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Integer operations of the software engine: each row of the opcode table, in
 * random encodings, against the host's CPU; and by hand what a process cannot
 * run (other modes) or what the host does not show (restarts).
 */
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bt_decimal.h"
#include "bt_host.h"
#include "engine/bt/decode.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"
#include "engine/bt/vm.h"

#define CASES_PER_ROW 150
#define ARENA MIB(1)
#define MIDDLE (ARENA / 2)

/* The guest's memory is a copy of the host's arena, at the same linear
 * addresses. Four pages of tables map it, and nothing else. */
struct machine {
	u8 *arena, *copy;
	u64 (*tables)[512];
	struct bt_cpu *c;
	struct bt_vm *bvm;
	struct cpu_policy policy;
	u64 seed;
};

enum { TABLES_GPA = 0x1000 };

static u64 rnd(struct machine *m)
{
	m->seed ^= m->seed << 13;
	m->seed ^= m->seed >> 7;
	m->seed ^= m->seed << 17;
	return m->seed;
}

static u64 *leaf_of(struct machine *m, u64 va)
{
	return &m->tables[3][va >> 12 & 511];
}

/* Edge values turn up more often than chance would have them. */
static u64 rnd_value(struct machine *m)
{
	u64 val = rnd(m);

	switch (rnd(m) % 6) {
	case 0:
		return 0 - (val & 1);
	case 1:
		return BIT(val % 64) - (val >> 8 & 1);
	case 2:
		return (u64)(s8)val;
	default:
		return val;
	}
}

static void fill_arena(struct machine *m)
{
	memset(m->arena, 0, ARENA);
	for (unsigned k = 0; k < ARENA / 64; k++)
		m->arena[rnd(m) % ARENA] = (u8)rnd(m);
	memcpy(m->copy, m->arena, ARENA);
}

static void map_arena(struct machine *m)
{
	u64 va = (u64)m->arena;

	m->tables[0][va >> 39 & 511] = (TABLES_GPA + 0x1000) | 7;
	m->tables[1][va >> 30 & 511] = (TABLES_GPA + 0x2000) | 7;
	m->tables[2][va >> 21 & 511] = (TABLES_GPA + 0x3000) | 7;
	for (u64 off = 0; off < ARENA; off += 4096)
		*leaf_of(m, va + off) =
			(va + off) | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D;
}

static void add_ram(struct machine *m, gpa_t gpa, void *hva, u64 len)
{
	m->bvm->ram[m->bvm->ram_count++] =
		(struct bt_ram){.gpa = gpa,
				.len = len,
				.hva = hva,
				.lines = calloc(len >> 12, sizeof(u64)),
				.wear = calloc(len >> 12, sizeof(u32)),
				.writer = calloc(len >> 12, sizeof(u32)),
				.rights = MEM_R | MEM_W};
}

static void mode64(struct bt_cpu *c)
{
	c->code = W64;
	c->lin_mask = c->stack_mask = c->ip_mask = ~0ull;
}

static void mode32(struct bt_cpu *c, u64 stack_mask)
{
	c->code = W32;
	c->lin_mask = c->ip_mask = 0xffffffff;
	c->stack_mask = stack_mask;
}

static int setup(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));
	void *p = mmap(NULL, 2 * ARENA, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	*state = m;
	if (p == MAP_FAILED)
		return -1;
	m->seed = 0x9e3779b97f4a7c15ull;
	/* Within one page table: 2 MiB hold an aligned MiB. */
	m->arena = (u8 *)align_up((u64)p, ARENA);
	m->copy = aligned_alloc(4096, ARENA);
	m->tables = aligned_alloc(4096, 4 * 4096);
	memset(m->tables, 0, 4 * 4096);
	m->bvm = calloc(1, sizeof(*m->bvm));
	m->bvm->vm = calloc(1, sizeof(struct vm));
	bus_init(&m->bvm->vm->bus);
	m->c = aligned_alloc(64, align_up(sizeof(*m->c), 64));
	memset(m->c, 0, sizeof(*m->c));
	m->c->bvm = m->bvm;
	m->policy.maxphyaddr = 40;
	m->c->policy = &m->policy;
	m->c->cr0 = CR0_PE | CR0_PG;
	m->c->cr4 = CR4_PAE;
	m->c->cr3 = TABLES_GPA;
	m->c->msr.efer = EFER_LME | EFER_LMA;
	m->c->tlb = &m->c->mmu[MMU_KERNEL_AC];
	mode64(m->c);
	add_ram(m, TABLES_GPA, m->tables, 4 * 4096);
	add_ram(m, (u64)m->arena, m->copy, ARENA);
	map_arena(m);
	bt_tlb_init(m->c);
	fill_arena(m);
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	for (unsigned k = 0; k < m->bvm->ram_count; k++) {
		free(m->bvm->ram[k].lines);
		free(m->bvm->ram[k].wear);
		free(m->bvm->ram[k].writer);
	}
	bus_fini(&m->bvm->vm->bus);
	free(m->bvm->vm);
	free(m->bvm);
	free(m->c);
	free(m->tables);
	free(m->copy);
	free(m);
	return 0;
}

/* ---- running one on the engine ----------------------------------------- */

enum { NO_FAULT = -1 };

/* Decodes and runs; returns the vector raised or NO_FAULT. */
static int run(struct machine *m, const u8 *bytes, unsigned avail,
	       struct bt_insn *insn)
{
	struct bt_cpu *c = m->c;

	if (bt_decode(bytes, avail, c->code, ~0ull, insn, NULL) != BT_DECODE_OK)
		return VEC_UD;
	c->rip = c->gpr[17];
	c->gpr[17] += insn->len;
	c->end = insn + 1;
	if (bt_setjmp(c->jmp))
		return c->exc.vector;
	insn->fn(c, insn);
	return NO_FAULT;
}

#define RUN(m, ...)                                                  \
	({                                                           \
		const u8 bytes_[16] = {__VA_ARGS__};                 \
		struct bt_insn insn_;                                \
                                                                     \
		run(m, bytes_, sizeof((u8[]){__VA_ARGS__}), &insn_); \
	})

/* ---- against the host -------------------------------------------------- */

struct encoding {
	u8 bytes[32];
	unsigned len; /* upper bound: random bytes follow for immediates */
	bool mem;
};

static void put(struct encoding *e, u8 byte)
{
	e->bytes[e->len++] = byte;
}

static bool is_named(const struct bt_row *row, const char *list)
{
	const char *p = strstr(list, row->name);
	size_t len = strlen(row->name);

	return p && (p == list || p[-1] == ' ') && (!p[len] || p[len] == ' ');
}

static bool is_string(const struct bt_row *row)
{
	return is_named(row, "movs cmps stos lods scas");
}

/* Rows that a user process in 64-bit code can run one at a time. */
static bool is_testable(const struct bt_row *row)
{
	const u32 not = ROW_END | ROW_SIMD | ROW_PRIV | ROW_NOTEST | ROW_X87 |
			ROW_MMX | ROW_SSE | ROW_AVX;

	if (row->attrs & not || row->mode64 == 0)
		return false;
	/* Selectors are not the host's. */
	return !strstr(row->operands, "FS") && !strstr(row->operands, "GS") &&
	       !strstr(row->operands, "Sw");
}

static void encode_prefixes(struct machine *m, const struct bt_row *row,
			    struct encoding *e, u8 *rex)
{
	static const u8 mandatory[] = {0, 0x66, 0xf3, 0xf2};

	*rex = 0;
	if (rnd(m) % 8 == 0)
		put(e, 0x67);
	if (row->prefix != 0 && row->prefix != 1 && rnd(m) % 4 == 0)
		put(e, 0x66);
	if (row->prefix > 0)
		put(e, mandatory[row->prefix]);
	if (is_string(row) && rnd(m) % 2)
		put(e, rnd(m) % 2 ? 0xf2 : 0xf3);
	if (e->mem && row->attrs & ROW_LOCK && rnd(m) % 3 == 0)
		put(e, 0xf0);
	if (rnd(m) % 2) {
		*rex = 0x40 | (rnd(m) & 15);
		/* The base registers are the low ones. */
		if (e->mem)
			*rex &= 0x4c;
		put(e, *rex);
	}
}

static void encode_vex(struct machine *m, const struct bt_row *row,
		       struct encoding *e)
{
	u8 vvvv = row->attrs & ROW_VVVV ? rnd(m) & 15 : 15;
	u8 high = e->mem ? 0x60 | (rnd(m) & 0x80) : rnd(m) & 0xe0;

	put(e, 0xc4);
	put(e, high | row->map);
	put(e, (u8)((rnd(m) & 0x80) | vvvv << 3 | (u8)row->prefix));
}

static void encode_modrm(struct machine *m, const struct bt_row *row,
			 struct encoding *e)
{
	static const u8 bases[] = {X86_RBX, X86_RBP, X86_RSI, X86_RDI};
	u8 reg = row->reg >= 0 ? (u8)row->reg : rnd(m) & 7;
	u8 base = bases[rnd(m) % 4];
	u32 disp = (u32)(rnd(m) % 256) - 128;

	if (!e->mem) {
		put(e, 0xc0 | reg << 3 |
			       (row->rm >= 0 ? (u8)row->rm : rnd(m) & 7));
		return;
	}
	if (rnd(m) % 2) { /* RCX is small: an index */
		put(e, 0x84 | reg << 3);
		put(e, (u8)((rnd(m) & 0xc0) | X86_RCX << 3 | base));
	} else {
		put(e, 0x80 | reg << 3 | base);
	}
	memcpy(e->bytes + e->len, &disp, 4);
	e->len += 4;
}

static void encode(struct machine *m, const struct bt_row *row,
		   struct encoding *e)
{
	static const u8 maps[] = {0, 0, 0x38, 0x3a};
	const struct bt_decode_rule *rule = &bt_decode_rules[row - bt_rows];
	u64 moffs = (u64)m->arena + MIDDLE + rnd(m) % 256;
	u8 rex;

	*e = (struct encoding){0};
	e->mem = rule->modrm && row->mod != 3 && (row->mod == 0 || rnd(m) % 2);
	if (row->attrs & ROW_VEX) {
		encode_vex(m, row, e);
	} else {
		encode_prefixes(m, row, e, &rex);
		if (row->map)
			put(e, 0x0f);
		if (row->map > 1)
			put(e, maps[row->map]);
	}
	put(e, rule->operands == OP_Z ? (u8)row->opcode | (rnd(m) & 7)
				      : (u8)row->opcode);
	if (rule->modrm)
		encode_modrm(m, row, e);
	if (rule->operands == OP_MOFFS) {
		memcpy(e->bytes + e->len, &moffs, 8);
		e->len += 8;
	} else {
		for (unsigned k = 0; k < 8; k++)
			put(e, (u8)rnd(m));
	}
}

static void random_registers(struct machine *m, const struct bt_row *row)
{
	static const u8 pointers[] = {X86_RBX, X86_RSP, X86_RBP, X86_RSI,
				      X86_RDI};
	u64 *gpr = bt_host.gpr;

	for (unsigned k = 0; k < 16; k++)
		gpr[k] = rnd_value(m);
	gpr[X86_RCX] = rnd(m) % 300;
	for (unsigned k = 0; k < ARRAY_SIZE(pointers); k++)
		gpr[pointers[k]] = (u64)m->arena + MIDDLE + rnd(m) % 0x3000;
	gpr[X86_RSP] &= ~7ull;
	if (row->name[0] == 'c' && rnd(m) % 2) /* CMPXCHG that succeeds */
		gpr[X86_RAX] = gpr[X86_RDX] = 0;
	bt_host.flags = FLAG_1 | FLAG_IF | (rnd(m) & FLAG_ARITH);
	if (is_string(row) && rnd(m) % 4 == 0)
		bt_host.flags |= FLAG_DF;
}

/* BT with a register offset: a bit near the operand, unless the register is
 * a pointer. Returns false if this encoding is no good. */
static bool tame(struct machine *m, const struct bt_row *row,
		 const struct bt_insn *i)
{
	static const u64 pointers = BIT(X86_RBX) | BIT(X86_RSP) | BIT(X86_RBP) |
				    BIT(X86_RSI) | BIT(X86_RDI) | BIT(X86_RCX);

	if (!is_named(row, "bt bts btr btc") || !i->mem || row->reg >= 0)
		return true;
	if (pointers >> i->a / 8 & 1)
		return false;
	bt_host.gpr[i->a / 8] = (rnd(m) & ~0x1fffull) * (i->width != W64) +
				(u64)((s64)(rnd(m) % 8192) - 4096);
	if (i->width == W32)
		bt_host.gpr[i->a / 8] = (u64)(s64)((s64)(rnd(m) % 8192) - 4096);
	return true;
}

static void fail_case(const struct bt_row *row, const struct bt_insn *i,
		      const struct encoding *e, const char *what)
{
	print_error("%s %s: %s:", row->name, row->operands, what);
	for (unsigned k = 0; k < i->len; k++)
		print_error(" %02x", e->bytes[k]);
	print_error("\n");
}

static bool same_registers(struct bt_cpu *c)
{
	bool same = true;

	for (unsigned k = 0; k < 16; k++) {
		if (c->gpr[k] == bt_host.gpr[k])
			continue;
		print_error("register %u: %#lx, host %#lx\n", k,
			    (unsigned long)c->gpr[k],
			    (unsigned long)bt_host.gpr[k]);
		same = false;
	}
	return same;
}

static const int vector_signal[32] = {[VEC_DE] = SIGFPE, [VEC_GP] = SIGSEGV};

/*
 * Intel SDM vol. 2B and AMD APM vol. 3, ROL and ROR: OF is undefined for counts
 * other than 1. The engine has it as the host's rotate by CL. Intel's Sapphire
 * Rapids leaves OF alone where the count is an immediate: the host may have it
 * as it was, and then the engine's is taken instead.
 */
static void level_rotate(const struct machine *m, const struct bt_row *row,
			 const struct bt_insn *i, u64 before)
{
	u32 count = (u32)i->imm & (i->width == W64 ? 63 : 31);

	if (is_named(row, "rol ror") && strstr(row->operands, "Iu") &&
	    count > 1 && !((bt_host.flags ^ before) & FLAG_OF))
		bt_host.flags ^= (bt_host.flags ^ bt_flags(m->c)) & FLAG_OF;
}

static bool same_outcome(struct machine *m, const struct bt_row *row,
			 const struct bt_insn *i, const struct encoding *e,
			 int vector)
{
	const u32 care = FLAG_ARITH | FLAG_DF;
	int want = vector == NO_FAULT ? 0 : vector_signal[vector];
	const char *what = NULL;

	if (bt_host.signal != want)
		what = "fault";
	else if (!same_registers(m->c))
		what = "registers";
	else if (vector == NO_FAULT && (bt_flags(m->c) ^ bt_host.flags) & care)
		what = "flags";
	else if (vector == NO_FAULT && m->c->gpr[17] != bt_host.code + i->len)
		what = "next instruction";
	else if (memcmp(m->copy, m->arena, ARENA))
		what = "memory";
	if (what) {
		fail_case(row, i, e, what);
		print_error("signal %d vector %d flags %#x host %#lx\n",
			    bt_host.signal, vector, bt_flags(m->c),
			    (unsigned long)bt_host.flags);
	}
	return !what;
}

static bool try_encoding(struct machine *m, const struct bt_row *row)
{
	struct bt_cpu *c = m->c;
	struct bt_insn i, probe;
	struct encoding e;
	int vector;
	u64 before;

	encode(m, row, &e);
	if (bt_decode(e.bytes, e.len, W64, ~0ull, &probe, NULL) !=
		    BT_DECODE_OK ||
	    &bt_rows[probe.row] != row)
		return true; /* another row's, or L, W and the like */
	random_registers(m, row);
	if (!tame(m, row, &probe))
		return true;
	bt_host_set_code(e.bytes, probe.len);
	memcpy(c->gpr, bt_host.gpr, sizeof(bt_host.gpr));
	c->gpr[16] = 0;
	c->gpr[17] = bt_host.code;
	c->eflags = bt_host.flags & ~(u32)FLAG_ARITH;
	bt_set_arith(c, (u32)bt_host.flags);
	vector = run(m, e.bytes, e.len, &i);
	before = bt_host.flags;
	bt_host_run();
	level_rotate(m, row, &i, before);
	if (bt_host.signal == SIGILL && row->feature != FEAT_BASE)
		return true;
	return same_outcome(m, row, &i, &e, vector);
}

static void test_rows(void **state)
{
	struct machine *m = *state;
	unsigned rows = 0, bad = 0;

	if (!bt_host_init())
		skip();
	for (unsigned r = 0; r < bt_row_count; r++) {
		if (!is_testable(&bt_rows[r]))
			continue;
		rows++;
		fill_arena(m);
		for (unsigned k = 0; k < CASES_PER_ROW; k++)
			if (!try_encoding(m, &bt_rows[r])) {
				bad++;
				break;
			}
	}
	assert_true(rows > 200);
	assert_int_equal(bad, 0);
}

/* ---- by hand ----------------------------------------------------------- */

enum { CODE_IP = 0x1000 };

/* Registers as in no other test; stack in the middle of the arena. */
static void start(struct machine *m)
{
	struct bt_cpu *c = m->c;

	memset(m->copy, 0, ARENA);
	for (unsigned k = 0; k < 16; k++)
		c->gpr[k] = 0x1111111111111111ull * k;
	c->gpr[X86_RSP] = (u64)m->arena + MIDDLE;
	c->gpr[16] = 0;
	c->gpr[17] = CODE_IP;
	c->eflags = FLAG_IF;
	bt_set_arith(c, 0);
	c->attention = 0;
}

static u32 peek32(struct machine *m, u64 va)
{
	u32 val;

	memcpy(&val, m->copy + (va - (u64)m->arena), 4);
	return val;
}

static void set_page(struct machine *m, u64 va, bool present)
{
	u64 *leaf = leaf_of(m, va);

	*leaf = present ? *leaf | PTE_P : *leaf & ~PTE_P;
	bt_tlb_flush(m->c);
}

static void test_decimal(void **state)
{
	struct machine *m = *state;

	for (unsigned k = 0; k < ARRAY_SIZE(decimal_cases); k++) {
		start(m);
		mode32(m->c, 0xffffffff);
		m->c->gpr[X86_RAX] = decimal_cases[k].before;
		bt_set_arith(m->c, decimal_cases[k].flags);
		assert_int_equal(RUN(m, decimal_cases[k].code[0],
				     decimal_cases[k].code[1]),
				 NO_FAULT);
		if (m->c->gpr[X86_RAX] != decimal_cases[k].after ||
		    (bt_flags(m->c) & FLAG_ARITH) !=
			    decimal_cases[k].flags_after)
			fail_msg("%02x %02x of %#x, %#x: %#lx, %#lx",
				 decimal_cases[k].code[0],
				 decimal_cases[k].code[1],
				 decimal_cases[k].before,
				 decimal_cases[k].flags,
				 (unsigned long)m->c->gpr[X86_RAX],
				 (unsigned long)bt_flags(m->c) & FLAG_ARITH);
	}
	start(m);
	assert_int_equal(RUN(m, 0xd4, 0), VEC_DE);
}

static void test_push_all(void **state)
{
	struct machine *m = *state;
	struct bt_cpu *c = m->c;
	u64 sp;

	start(m);
	mode32(c, 0xffffffff);
	sp = c->gpr[X86_RSP];
	assert_int_equal(RUN(m, 0x60), NO_FAULT); /* PUSHA */
	assert_int_equal(c->gpr[X86_RSP], sp - 32);
	assert_int_equal(peek32(m, sp - 4), (u32)c->gpr[X86_RAX]);
	assert_int_equal(peek32(m, sp - 20), (u32)sp);
	assert_int_equal(peek32(m, sp - 32), (u32)c->gpr[X86_RDI]);
	for (unsigned k = 0; k < 8; k++)
		if (k != X86_RSP)
			c->gpr[k] = 0;
	assert_int_equal(RUN(m, 0x61), NO_FAULT); /* POPA */
	assert_int_equal(c->gpr[X86_RSP], sp);
	assert_int_equal(c->gpr[X86_RCX], 0x11111111);
	assert_int_equal(c->gpr[X86_RDI], 0x77777777);

	/* All or nothing, from the page above into one that is not there. */
	c->gpr[X86_RSP] = sp + 16;
	set_page(m, sp - 1, false);
	assert_int_equal(RUN(m, 0x60), VEC_PF);
	assert_int_equal(c->gpr[X86_RSP], sp + 16);
	assert_int_equal(peek32(m, sp + 12), 0);
}

static void test_stack_sizes(void **state)
{
	struct machine *m = *state;
	struct bt_cpu *c = m->c;
	u64 sp;

	/* A 16-bit stack pointer wraps and leaves the rest of ESP. */
	start(m);
	sp = c->gpr[X86_RSP];
	mode32(c, 0xffff);
	c->seg_base[X86_SS] = sp & ~0xffffull;
	c->gpr[X86_RSP] = 0xabcd0002;
	assert_int_equal(RUN(m, 0x50), NO_FAULT); /* PUSH EAX */
	assert_int_equal(c->gpr[X86_RSP], 0xabcdfffe);
	c->seg_base[X86_SS] = 0;

	/* POP [RSP+8]: the address counts from the new RSP. */
	start(m);
	mode64(c);
	m->copy[MIDDLE] = 0x5a;
	assert_int_equal(RUN(m, 0x8f, 0x44, 0x24, 0x08), NO_FAULT);
	assert_int_equal(c->gpr[X86_RSP], sp + 8);
	assert_int_equal(m->copy[MIDDLE + 16], 0x5a);
	/* ...and a fault there leaves RSP. */
	c->gpr[X86_RAX] = 0;
	assert_int_equal(RUN(m, 0x8f, 0x00), VEC_PF);
	assert_int_equal(c->gpr[X86_RSP], sp + 8);
}

static void test_branches(void **state)
{
	struct machine *m = *state;
	struct bt_cpu *c = m->c;
	u64 sp;

	start(m);
	sp = c->gpr[X86_RSP];
	assert_int_equal(RUN(m, 0xe8, 0xfb, 0x0f, 0, 0), NO_FAULT); /* CALL */
	assert_int_equal(c->gpr[17], 0x2000);
	assert_int_equal(peek32(m, sp - 8), 0x1005);
	assert_int_equal(RUN(m, 0xc2, 0x10, 0), NO_FAULT); /* RET 16 */
	assert_int_equal(c->gpr[17], 0x1005);
	assert_int_equal(c->gpr[X86_RSP], sp + 16);

	/* No push for a target that is none. */
	c->gpr[X86_RAX] = 0x8000000000000000ull;
	assert_int_equal(RUN(m, 0xff, 0xd0), VEC_GP); /* CALL RAX */
	assert_int_equal(c->gpr[X86_RSP], sp + 16);

	start(m);
	bt_set_arith(c, FLAG_SF);
	assert_int_equal(RUN(m, 0x7c, 0xfe), NO_FAULT); /* JL to itself */
	assert_int_equal(c->gpr[17], CODE_IP);
	assert_int_equal(RUN(m, 0x7d, 0xfe), NO_FAULT); /* JGE */
	assert_int_equal(c->gpr[17], CODE_IP + 2);
	c->gpr[X86_RCX] = 0xffffffff00000001ull;
	assert_int_equal(RUN(m, 0x67, 0xe2, 0x10), NO_FAULT); /* LOOP, ECX */
	assert_int_equal(c->gpr[X86_RCX], 0);
	assert_int_equal(c->gpr[17], CODE_IP + 5);

	/* 16-bit operands clear the upper half of EIP. */
	mode32(c, 0xffffffff);
	c->gpr[17] = 0x1fffd;
	assert_int_equal(RUN(m, 0x66, 0xeb, 0x02), NO_FAULT); /* JMP */
	assert_int_equal(c->gpr[17], 2);
}

static void test_bound(void **state)
{
	struct machine *m = *state;
	static const s32 bounds[2] = {-5, 5};

	for (s32 index = -7; index < 8; index++) {
		start(m);
		memcpy(m->copy + MIDDLE, bounds, sizeof(bounds));
		mode32(m->c, 0xffffffff);
		m->c->gpr[X86_RAX] = (u32)index;
		assert_int_equal(RUN(m, 0x62, 0x04, 0x24),
				 index < -5 || index > 5 ? VEC_BR : NO_FAULT);
	}
}

/* A fault on the third page: two are done, and it goes on from there. */
static void test_restart(void **state)
{
	struct machine *m = *state;
	struct bt_cpu *c = m->c;
	u64 to = (u64)m->arena + MIDDLE + 8, from = (u64)m->arena + 0x1ff8;

	start(m);
	c->gpr[X86_RDI] = to;
	c->gpr[X86_RSI] = from;
	c->gpr[X86_RCX] = 0x3000 / 8;
	memset(m->copy + 0x1ff8, 0x77, 0x3000);
	set_page(m, to + 0x2000, false);
	assert_int_equal(RUN(m, 0xf3, 0x48, 0xa5), VEC_PF); /* REP MOVSQ */
	assert_int_equal(c->cr2, to + 0x2000 - 8);
	assert_int_equal(c->gpr[X86_RCX], (0x1000 + 8) / 8);
	assert_int_equal(c->gpr[X86_RDI], to + 0x2000 - 8);
	assert_int_equal(c->gpr[X86_RSI], from + 0x2000 - 8);
	set_page(m, to + 0x2000, true);
	assert_int_equal(RUN(m, 0xf3, 0x48, 0xa5), NO_FAULT);
	assert_int_equal(c->gpr[X86_RCX], 0);
	assert_memory_equal(m->copy + MIDDLE + 8, m->copy + 0x1ff8, 0x3000);

	/* SCASB that faults leaves the flags from before it. */
	start(m);
	memset(m->copy + MIDDLE, 0x77, 0x3000);
	bt_set_arith(c, FLAG_CF | FLAG_OF);
	c->gpr[X86_RAX] = 0x77;
	c->gpr[X86_RDI] = to;
	c->gpr[X86_RCX] = 0x3000;
	set_page(m, to + 0x2000, false);
	assert_int_equal(RUN(m, 0xf3, 0xae), VEC_PF);
	assert_int_equal(bt_flags(c) & FLAG_ARITH, FLAG_CF | FLAG_OF);
	assert_int_equal(c->gpr[X86_RDI], to + 0x2000 - 8);
	set_page(m, to + 0x2000, true);
}

static void test_attention(void **state)
{
	struct machine *m = *state;
	struct bt_cpu *c = m->c;
	u64 to = (u64)m->arena + MIDDLE + 8;

	start(m);
	c->gpr[X86_RDI] = to;
	c->gpr[X86_RCX] = 0x2000;
	c->attention = ATTN_EVENTS;
	assert_int_equal(RUN(m, 0xf3, 0xaa), NO_FAULT); /* REP STOSB */
	assert_int_equal(c->gpr[17], CODE_IP);
	assert_null(c->end);
	assert_int_equal(c->gpr[X86_RCX], 0x2000 - (0x1000 - 8));

	/* One unit at a time for a debugger; the last one moves on. */
	start(m);
	c->gpr[X86_RDI] = to;
	c->gpr[X86_RCX] = 2;
	c->attention = ATTN_STEP;
	assert_int_equal(RUN(m, 0xf3, 0xaa), NO_FAULT);
	assert_int_equal(c->gpr[17], CODE_IP);
	assert_int_equal(c->gpr[X86_RCX], 1);
	assert_int_equal(RUN(m, 0xf3, 0xaa), NO_FAULT);
	assert_int_equal(c->gpr[17], CODE_IP + 2);
	assert_int_equal(c->gpr[X86_RCX], 0);
}

/* Where RAM is no plain RAM: across pages, and where code was decoded. */
static void test_slow_locked(void **state)
{
	struct machine *m = *state;
	struct bt_cpu *c = m->c;
	u64 at = (u64)m->arena + MIDDLE;

	start(m);
	c->gpr[X86_RDI] = at + 0x1000 - 2;
	memset(m->copy + MIDDLE + 0x1000 - 2, 0xff, 4);
	c->gpr[X86_RAX] = 3;
	assert_int_equal(RUN(m, 0xf0, 0x01, 0x07), NO_FAULT); /* ADD */
	assert_int_equal(peek32(m, at + 0x1000 - 2), 2);
	assert_int_equal(bt_flags(c) & FLAG_CF, FLAG_CF);
	assert_int_equal(m->bvm->exclusive_depth, 0);

	start(m);
	m->bvm->ram[1].lines[MIDDLE >> 12] = BIT(63);
	bt_tlb_flush(c);
	c->gpr[X86_RDI] = at + 8;
	/* LOCK CMPXCHG16B */
	assert_int_equal(RUN(m, 0xf0, 0x48, 0x0f, 0xc7, 0x0f), VEC_GP);
	c->gpr[X86_RDI] = at;
	c->gpr[X86_RDX] = c->gpr[X86_RAX] = 1;
	assert_int_equal(RUN(m, 0xf0, 0x48, 0x0f, 0xc7, 0x0f), NO_FAULT);
	assert_int_equal(bt_flags(c) & FLAG_ZF, 0);
	assert_int_equal(c->gpr[X86_RAX] | c->gpr[X86_RDX], 0);
	assert_int_equal(RUN(m, 0xf0, 0x48, 0x0f, 0xc7, 0x0f), NO_FAULT);
	assert_int_equal(bt_flags(c) & FLAG_ZF, FLAG_ZF);
	assert_int_equal(peek32(m, at), 0x33333333);
	assert_int_equal(peek32(m, at + 8), 0x11111111);
	assert_int_equal(m->bvm->exclusive_depth, 0);
	m->bvm->ram[1].lines[MIDDLE >> 12] = 0;
}

/* Nothing has changed after a page fault, whatever the instruction. */
static void test_faults_change_nothing(void **state)
{
	static const u8 codes[][4] = {
		{0x48, 0x01, 0x07}, /* ADD [RDI], RAX */
		{0x48, 0x03, 0x07}, /* ADD RAX, [RDI] */
		{0x48, 0x87, 0x07}, /* XCHG */
		{0x48, 0xff, 0x07}, /* INC */
		{0x48, 0xd3, 0x27}, /* SHL CL */
		{0x48, 0xf7, 0x27}, /* MUL */
		{0x0f, 0xc1, 0x07}, /* XADD */
		{0x0f, 0xb1, 0x07}, /* CMPXCHG */
		{0x0f, 0xc7, 0x0f}, /* CMPXCHG8B */
		{0x0f, 0xab, 0x07}, /* BTS */
		{0xff, 0x37},	    /* PUSH */
		{0x8f, 0x07},	    /* POP */
		{0xff, 0x17},	    /* CALL */
		{0xff, 0x27},	    /* JMP */
		{0x0f, 0x9f, 0x07}, /* SETG */
		{0xa4},		    /* MOVSB */
		{0xaa},		    /* STOSB */
		{0x6c},		    /* INSB */
	};
	struct machine *m = *state;
	struct bt_cpu *c = m->c;
	u64 before[16];

	for (unsigned k = 0; k < ARRAY_SIZE(codes); k++) {
		struct bt_insn insn;

		start(m);
		bt_set_arith(c, FLAG_CF | FLAG_ZF);
		c->gpr[X86_RDI] = 0x10;
		c->gpr[X86_RSI] = c->gpr[X86_RSP];
		memcpy(before, c->gpr, sizeof(before));
		assert_int_equal(run(m, codes[k], 4, &insn), VEC_PF);
		assert_memory_equal(before, c->gpr, sizeof(before));
		assert_int_equal(bt_flags(c) & FLAG_ARITH, FLAG_CF | FLAG_ZF);
	}
}

/* Ports that nobody owns. */
static void test_ports(void **state)
{
	struct machine *m = *state;
	struct bt_cpu *c = m->c;

	start(m);
	c->gpr[X86_RDX] = 0x1234;
	assert_int_equal(RUN(m, 0xed), NO_FAULT); /* IN EAX, DX */
	assert_int_equal(c->gpr[X86_RAX], 0xffffffff);
	assert_int_equal(RUN(m, 0xe6, 0x80), NO_FAULT); /* OUT 80h, AL */
	c->gpr[X86_RDI] = (u64)m->arena + MIDDLE + 0x1000 - 5;
	c->gpr[X86_RCX] = 5;
	assert_int_equal(RUN(m, 0xf3, 0x66, 0x6d), NO_FAULT); /* REP INSW */
	assert_int_equal(c->gpr[X86_RCX], 0);
	assert_int_equal(c->gpr[X86_RDI], (u64)m->arena + MIDDLE + 0x1005);
	for (unsigned k = 0; k < 10; k++)
		assert_int_equal(m->copy[MIDDLE + 0x1000 - 5 + k], 0xff);
	c->gpr[X86_RSI] = (u64)m->arena + MIDDLE;
	c->gpr[X86_RCX] = 5000;
	assert_int_equal(RUN(m, 0xf3, 0x6e), NO_FAULT); /* REP OUTSB */
	assert_int_equal(c->gpr[X86_RSI], (u64)m->arena + MIDDLE + 5000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_rows),	TEST(test_decimal),
		TEST(test_push_all),	TEST(test_stack_sizes),
		TEST(test_branches),	TEST(test_bound),
		TEST(test_restart),	TEST(test_attention),
		TEST(test_slow_locked), TEST(test_faults_change_nothing),
		TEST(test_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
