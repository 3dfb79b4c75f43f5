/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIMD and x87 instructions of the software engine: each row of the opcode
 * tables, in random encodings and on random state, against the host's CPU.
 */
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bt_host.h"
#include "bt_machine.h"
#include "bt_unit.h"
#include "fpu_fixture.h"
#include "engine/bt/decode.h"
#include "engine/bt/fpu.h"
#include "engine/bt/signals.h"
#include "arch/xsave.h"

#define CASES_PER_ROW 300
#define TRIES_PER_ROW 4000

/* ---- memory ------------------------------------------------------------- */

static void rnd_memory(struct machine *t)
{
	u8 *from = t->m.arena + BT_AREA - 4096;

	for (unsigned k = 0; k < 3 * 4096; k += 512) {
		bt_unit_bytes(&t->unit, from + k, 512);
	}
	memcpy(t->m.copy, t->m.arena, BT_HOLE);
	memcpy(t->m.copy + BT_HOLE + 4096, t->m.arena + BT_HOLE + 4096,
	       BT_ARENA - BT_HOLE - 4096);
}

/* ---- random encodings -------------------------------------------------- */

struct encoding {
	u8 bytes[32];
	unsigned len;
	bool mem;
};

static void put(struct encoding *e, unsigned byte)
{
	e->bytes[e->len++] = (u8)byte;
}

static void encode_vex(struct machine *t, const struct bt_row *row,
		       struct encoding *e)
{
	u8 vvvv = row->attrs & ROW_VVVV ? rnd(t) & 15 : 15;
	u8 last = (u8)((rnd(t) & 4) | vvvv << 3 | (u8)row->prefix);

	if (row->map == 1 && rnd(t) % 4 == 0) {
		put(e, 0xc5);
		put(e, (rnd(t) & 0x80) | last);
		return;
	}
	put(e, 0xc4);
	put(e, (e->mem ? 0x60 | (rnd(t) & 0x80) : rnd(t) & 0xe0) | row->map);
	put(e, (rnd(t) & 0x80) | last);
}

static void encode_legacy(struct machine *t, const struct bt_row *row,
			  struct encoding *e)
{
	static const u8 mandatory[] = {0, 0x66, 0xf3, 0xf2};
	static const u8 maps[] = {0, 0, 0x38, 0x3a};

	if (row->prefix > 1 && rnd(t) % 8 == 0)
		put(e, 0x66);
	if (row->prefix > 0)
		put(e, mandatory[row->prefix]);
	if (rnd(t) % 2)
		put(e, 0x40 | (rnd(t) & (e->mem ? 12 : 15)));
	if (row->map)
		put(e, 0x0f);
	if (row->map > 1)
		put(e, maps[row->map]);
}

/* Memory is at [RBX+disp], or [RBX+index*scale+disp] for gathers. */
static void encode_modrm(struct machine *t, const struct bt_row *row,
			 struct encoding *e)
{
	unsigned reg = row->reg >= 0 ? (u8)row->reg : rnd(t) & 7;
	unsigned rm = row->rm >= 0 ? (u8)row->rm : rnd(t) & 7;
	s32 disp = (s32)(rnd(t) % 256) - 128;

	if (!e->mem) {
		put(e, 0xc0 | reg << 3 | rm);
		return;
	}
	if (row->attrs & ROW_VSIB) {
		put(e, 0x84 | reg << 3);
		put(e, (rnd(t) & 0xf8) | X86_RBX);
	} else {
		put(e, 0x80 | reg << 3 | X86_RBX);
	}
	memcpy(e->bytes + e->len, &disp, 4);
	e->len += 4;
}

static void encode(struct machine *t, const struct bt_row *row,
		   struct encoding *e)
{
	*e = (struct encoding){0};
	e->mem = bt_decode_rules[row - bt_rows].modrm && row->mod != 3 &&
		 (row->mod == 0 || rnd(t) % 2);
	if (row->attrs & ROW_VEX)
		encode_vex(t, row, e);
	else
		encode_legacy(t, row, e);
	put(e, row->opcode);
	if (bt_decode_rules[row - bt_rows].modrm)
		encode_modrm(t, row, e);
	for (unsigned k = 0; k < 4; k++)
		put(e, (u8)rnd(t));
}

/* ---- registers and operands -------------------------------------------- */

/* Aligned, anywhere, over the end of a page, or into the hole. */
static u64 rnd_place(struct machine *t)
{
	u64 page = (u64)t->m.arena + BT_AREA, at = rnd(t) % 4096;

	switch (rnd(t) % 8) {
	case 0:
		return page + 4096 - rnd(t) % 40;
	case 1:
		return (u64)t->m.arena + BT_HOLE - rnd(t) % 40;
	case 2:
		return (u64)t->m.arena + BT_HOLE + 4096 - rnd(t) % 40;
	case 3:
	case 4:
		return page + at;
	default:
		return page + (at & ~63ull);
	}
}

static bool is_maskmov(const struct bt_row *row)
{
	return !strcmp(row->name, "maskmovq") ||
	       !strcmp(row->name, "maskmovdqu") ||
	       !strcmp(row->name, "vmaskmovdqu");
}

/* Indices of a gather stay near. */
static void tame_index(struct machine *t, const struct bt_row *row,
		       const struct bt_insn *i)
{
	unsigned n = i->x / 8, size = row->opcode & 1 ? 8 : 4;
	u8 *low = bt_unit_legacy(&t->unit.before)->xmm[n & 15];
	u8 *high = t->unit.before.bytes + XSAVE_AVX + 16 * (n & 15);

	for (unsigned k = 0; k < 32; k += size) {
		s64 index = (s64)(rnd(t) % 256) - 128;

		memcpy((k < 16 ? low : high) + k % 16, &index, size);
	}
}

static void rnd_registers(struct machine *t, const struct bt_row *row,
			  const struct bt_insn *i)
{
	for (unsigned k = 0; k < 16; k++)
		bt_host.gpr[k] = rnd(t) % 4 ? rnd(t) : rnd(t) % 32;
	bt_host.gpr[X86_RBX] = rnd_place(t) - (u64)(s64)i->disp;
	if (is_maskmov(row))
		bt_host.gpr[X86_RDI] = rnd_place(t);
	if (row->attrs & ROW_VSIB) {
		bt_host.gpr[X86_RBX] = (u64)t->m.arena + BT_AREA + 1024;
		tame_index(t, row, i);
	}
	bt_host.flags = FLAG_1 | FLAG_IF | (rnd(t) & FLAG_ARITH);
}

/* ---- comparing --------------------------------------------------------- */

static bool same_unit(struct machine *t, const u8 *own)
{
	const struct xsave_legacy *h = bt_unit_legacy(&t->unit.host);
	const struct xsave_legacy *x = (const void *)own;
	bool same = h->fcw == x->fcw && h->fsw == x->fsw && h->ftw == x->ftw &&
		    h->mxcsr == x->mxcsr;

	for (unsigned k = 0; k < 8; k++)
		same = same && !memcmp(h->st[k], x->st[k], 10);
	same = same && !memcmp(h->xmm, x->xmm, sizeof(x->xmm));
	if (t->m.policy.xcr0_mask & XCR0_AVX)
		same = same && !memcmp(t->unit.host.bytes + XSAVE_AVX,
				       own + XSAVE_AVX, 256);
	return same;
}

static bool same_memory(struct machine *t)
{
	const u8 *a = t->m.arena, *b = t->m.copy;
	const u64 behind = BT_HOLE + 4096;

	return !memcmp(a + BT_AREA - 4096, b + BT_AREA - 4096,
		       BT_HOLE - BT_AREA + 4096) &&
	       !memcmp(a + behind, b + behind, 4096);
}

static int signal_of(int vector)
{
	switch (vector) {
	case -1:
		return 0;
	case VEC_UD:
		return SIGILL;
	case VEC_MF:
	case VEC_XM:
		return SIGFPE;
	default:
		return SIGSEGV;
	}
}

/*
 * Where the manuals leave room or silicon (Zen) goes its own way: masked-out
 * bytes of MASKMOVDQU may fault, MASKMOVQ may have entered MMX state when it
 * does, and SHA's operand is not checked for alignment there, which both
 * vendors' manuals ask for.
 */
static bool is_excused(const struct bt_row *row, int vector)
{
	if (is_maskmov(row))
		return bt_host.signal == SIGSEGV || vector == VEC_PF;
	return row->feature == FEAT_SHA && vector == VEC_GP && !bt_host.signal;
}

static const char *difference(struct machine *t, int vector,
			      const struct bt_insn *i)
{
	if (is_excused(&bt_rows[i->row], vector)) {
		rnd_memory(t);
		return NULL;
	}
	if (bt_host.signal != signal_of(vector))
		return "fault";
	if (memcmp(t->m.c->gpr, bt_host.gpr, sizeof(bt_host.gpr)))
		return "registers";
	if (vector < 0 && (bt_flags(t->m.c) ^ bt_host.flags) & FLAG_ARITH)
		return "flags";
	if (!same_unit(t, t->m.c->xsave))
		return "unit";
	if (!same_memory(t))
		return "memory";
	if (vector < 0 && t->m.c->gpr[17] != bt_host.code + i->len)
		return "next instruction";
	return NULL;
}

static void report(struct machine *t, const struct encoding *e,
		   const struct bt_insn *i, const char *what, int vector)
{
	const struct bt_row *row = &bt_rows[i->row];
	struct xsave_legacy *h = bt_unit_legacy(&t->unit.host);
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)t->m.c->xsave;

	print_error("fcw %x %x fsw %x %x ftw %x %x mxcsr %x %x\n", x->fcw,
		    h->fcw, x->fsw, h->fsw, x->ftw, h->ftw, x->mxcsr, h->mxcsr);
	print_error("%s %s: %s (vector %d, signal %d) rbx+disp %#lx:",
		    row->name, row->operands, what, vector, bt_host.signal,
		    (unsigned long)(bt_host.gpr[X86_RBX] + (u64)(s64)i->disp -
				    (u64)t->m.arena));
	for (unsigned k = 0; k < i->len; k++)
		print_error(" %02x", e->bytes[k]);
	print_error("\n");
}

static void load_engine(struct machine *t)
{
	struct bt_cpu *c = t->m.c;

	memcpy(c->gpr, bt_host.gpr, sizeof(bt_host.gpr));
	c->gpr[16] = 0;
	c->gpr[17] = bt_host.code;
	c->eflags = (u32)bt_host.flags & ~(u32)FLAG_ARITH;
	bt_set_arith(c, (u32)bt_host.flags);
	bt_fpu_set(c, t->unit.before.bytes);
}

static int run_engine(struct machine *t, const struct encoding *e,
		      struct bt_insn *i)
{
	int vector;

	load_engine(t);
	vector = bt_machine_run(&t->m, e->bytes, e->len, i);
	bt_fpu_save(t->m.c);
	return vector;
}

/* ---- where CPUs differ ------------------------------------------------- */

/*
 * What else a host may make of a store whose operand is not there. Each rule
 * belongs to some rows and foretells one outcome in full, from what the engine
 * does without the operand (`t->m.c`) and with it (`whole`). Seen on Intel's
 * Sapphire Rapids; AMD's CPUs do as the engine.
 *
 * References: [1] Intel SDM vol. 3A 6.9: exceptions within a class of table
 *                 6-2, to which page faults and those of SIMD belong, are
 *                 taken in an order that varies among processors.
 *             [2] the same, 9.1.1 "Guaranteed Atomic Operations" (8.1.1 in
 *                 older ones): x87 and SSE instructions may store more than a
 *                 quadword in several accesses, some of which may be complete,
 *                 and be seen, when another one faults.
 */
struct whole {
	int vector;
	u8 stored[16];
	bool stores; /* not what was there */
	struct bt_unit_image unit;
};

struct other {
	int signal;
	unsigned stored; /* bytes of the operand */
	struct bt_unit_image unit;
};

typedef bool other_fn(const struct whole *whole, u64 off, struct other *o);

/* No manual says that an MMX store that faults has made TOP 0, tags being what
 * they were. The image has ST(0) first. */
static bool mmx_top(const struct whole *whole, u64 off, struct other *o)
{
	struct xsave_legacy *x = bt_unit_legacy(&o->unit), old = *x;
	unsigned top = old.fsw >> 11 & 7;

	(void)whole;
	(void)off;
	x->fsw &= (u16)~0x3800;
	for (unsigned k = 0; k < 8; k++)
		memcpy(x->st[k], old.st[(k - top) & 7], sizeof(x->st[k]));
	return true;
}

/* [1]: the conversion comes first, with its flags and its exception. */
static bool converts_first(const struct whole *whole, u64 off, struct other *o)
{
	(void)off;
	if (whole->vector == VEC_XM)
		o->signal = SIGFPE;
	bt_unit_legacy(&o->unit)->mxcsr =
		((const struct xsave_legacy *)(const void *)whole->unit.bytes)
			->mxcsr;
	return true;
}

/* An unmasked error of the unit keeps the result from being stored, so that
 * there is no access to fault: the error is due, as if all had been well. */
static bool stores_nothing(const struct whole *whole, u64 off, struct other *o)
{
	const struct xsave_legacy *x = (const void *)whole->unit.bytes;

	(void)off;
	if (whole->vector >= 0 || whole->stores || !(x->fsw & FSW_ES))
		return false;
	o->signal = 0;
	o->unit = whole->unit;
	return true;
}

/* [2] */
static bool stores_eight(const struct whole *whole, u64 off, struct other *o)
{
	(void)whole;
	if (off + 8 > BT_HOLE)
		return false;
	o->stored = 8;
	return true;
}

static const struct {
	const char *rows;
	other_fn *other;
} others[] = {
	{" movd Ey,Pq; movq Ey,Pq; movq Qq,Pq; movntq Mq,Pq;", mmx_top},
	{" vcvtps2ph Wx,Vx,Iu;", converts_first},
	{" fst Md; fstp Md; fst Mq; fstp Mq; fist Mw; fistp Mw; fist Md;"
	 " fistp Md; fistp Mq; fisttp Mw; fisttp Md; fisttp Mq; fstp M; fbstp "
	 "M;",
	 stores_nothing},
	{" fstp M; fbstp M;", stores_eight},
};

static bool has_other(const struct bt_row *row, unsigned n)
{
	char name[40];

	snprintf(name, sizeof(name), " %s %s;", row->name, row->operands);
	return strstr(others[n].rows, name);
}

/* The engine with all memory there; nothing stays of it. */
static void run_whole(struct machine *t, const struct encoding *e, u64 off,
		      struct whole *whole)
{
	u8 *at = t->m.copy + off, old[sizeof(whole->stored)];
	struct bt_insn i;

	memcpy(old, at, sizeof(old));
	bt_machine_hole(&t->m, BT_HOLE, false);
	whole->vector = run_engine(t, e, &i);
	bt_machine_hole(&t->m, BT_HOLE, true);
	memcpy(whole->unit.bytes, t->m.c->xsave, sizeof(whole->unit));
	memcpy(whole->stored, at, sizeof(old));
	whole->stores = memcmp(old, at, sizeof(old));
	memcpy(at, old, sizeof(old));
}

static bool is_other(struct machine *t, const struct whole *whole,
		     const struct other *o, u64 off)
{
	u8 *at = t->m.copy + off, old[sizeof(whole->stored)];
	bool same;

	if (bt_host.signal != o->signal || !same_unit(t, o->unit.bytes))
		return false;
	memcpy(old, at, sizeof(old));
	memcpy(at, whole->stored, o->stored);
	same = same_memory(t);
	memcpy(at, old, sizeof(old));
	/* From here on there is what the host has stored. */
	if (same)
		memcpy(at, whole->stored, o->stored);
	return same;
}

/* The engine ended with `vector`, the host in another way: by a rule? */
static bool is_foretold(struct machine *t, const struct encoding *e,
			const struct bt_insn *i, int vector)
{
	u64 off = bt_host.gpr[X86_RBX] + (u64)(s64)i->disp - (u64)t->m.arena;
	struct other o = {.signal = signal_of(vector)};
	struct bt_unit_image unit;
	struct whole whole;
	bool found = false;

	if (vector != VEC_PF || !i->mem ||
	    memcmp(t->m.c->gpr, bt_host.gpr, sizeof(bt_host.gpr)))
		return false;
	memcpy(unit.bytes, t->m.c->xsave, sizeof(unit));
	for (unsigned n = 0; n < ARRAY_SIZE(others) && !found; n++) {
		if (!has_other(&bt_rows[i->row], n))
			continue;
		run_whole(t, e, off, &whole);
		o = (struct other){.signal = SIGSEGV, .unit = unit};
		found = others[n].other(&whole, off, &o) &&
			is_other(t, &whole, &o, off);
	}
	memcpy(t->m.c->xsave, unit.bytes, sizeof(unit));
	return found;
}

/* ---- one encoding, one row --------------------------------------------- */

enum outcome { OTHER_ROW, SAME, DIFFERENT };

static enum outcome try_encoding(struct machine *t, const struct bt_row *row)
{
	struct bt_insn i;
	struct encoding e;
	const char *what;
	int vector;

	encode(t, row, &e);
	if (bt_decode(e.bytes, e.len, W64, t->m.policy.features, &i, NULL) !=
		    BT_DECODE_OK ||
	    &bt_rows[i.row] != row)
		return OTHER_ROW;
	bt_unit_random(&t->unit);
	rnd_registers(t, row, &i);
	bt_host_set_code(e.bytes, i.len);
	vector = run_engine(t, &e, &i);
	bt_unit_run_host(&t->unit);
	what = difference(t, vector, &i);
	if (what && is_foretold(t, &e, &i, vector))
		what = NULL;
	if (what)
		report(t, &e, &i, what, vector);
	return what ? DIFFERENT : SAME;
}

static bool try_row(struct machine *t, const struct bt_row *row)
{
	unsigned cases = 0;

	for (unsigned k = 0; k < TRIES_PER_ROW && cases < CASES_PER_ROW; k++) {
		enum outcome outcome = try_encoding(t, row);

		if (outcome == DIFFERENT)
			return false;
		cases += outcome == SAME;
	}
	if (!cases)
		print_error("%s %s: no encoding found\n", row->name,
			    row->operands);
	return cases > 0;
}

static bool is_testable(struct machine *t, const struct bt_row *row)
{
	const u32 unit = ROW_SIMD | ROW_X87 | ROW_MMX | ROW_SSE | ROW_AVX;

	if (row->feature != FEAT_BASE && !cpu_has(&t->m.policy, row->feature))
		return false;
	return row->attrs & unit && !(row->attrs & ROW_NOTEST);
}

static void test_rows(void **state)
{
	struct machine *t = *state;
	unsigned rows = 0, bad = 0;

	bt_machine_catch();
	bt_machine_hole(&t->m, BT_HOLE, true);
	for (unsigned r = 0; r < bt_row_count; r++) {
		if (!is_testable(t, &bt_rows[r]))
			continue;
		rows++;
		rnd_memory(t);
		bad += !try_row(t, &bt_rows[r]);
	}
	bt_machine_hole(&t->m, BT_HOLE, false);
	assert_true(rows > 400);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
