/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIMD and x87 instructions of the software engine: each row of the opcode
 * tables, in random encodings and on random state, against the host's CPU.
 */
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bt_host.h"
#include "bt_machine.h"
#include "engine/bt/decode.h"
#include "engine/bt/fpu.h"
#include "engine/bt/signals.h"
#include "engine/bt/xsave.h"

#define CASES_PER_ROW 300
#define TRIES_PER_ROW 4000
#define OPERAND_PAGE 0x4000 /* of the arena; the operand is around its ends */
#define HOLE_PAGE 0x8000

struct fpu_image {
	u8 bytes[X86_XSAVE_AREA];
} __attribute__((aligned(64)));

struct machine {
	struct bt_machine m;
	struct fpu_image before, host;
	u64 seed;
};

static u64 rnd(struct machine *t)
{
	t->seed ^= t->seed << 13;
	t->seed ^= t->seed >> 7;
	t->seed ^= t->seed << 17;
	return t->seed;
}

static struct xsave_legacy *legacy(struct fpu_image *image)
{
	return (struct xsave_legacy *)(void *)image->bytes;
}

static int setup(void **state)
{
	struct machine *t = aligned_alloc(64, align_up(sizeof(*t), 64));

	*state = t;
	memset(t, 0, sizeof(*t));
	t->seed = 0x9e3779b97f4a7c15ull;
	return bt_machine_init(&t->m) ? 0 : -1;
}

/* Within a test, as cmocka puts its own handlers around it: the engine's stand
 * over those of bt_host. */
static void catch_signals(void)
{
	struct err err;

	if (!bt_host_init())
		skip();
	assert_int_equal(bt_signals_init(&err), 0);
}

static int teardown(void **state)
{
	struct machine *t = *state;

	bt_machine_fini(&t->m);
	free(t);
	return 0;
}

/* ---- the host with an FPU state ---------------------------------------- */

/* bt_host_enter() with the unit's state from and to an image. No C between:
 * the compiler might use the registers. */
static void run_host(struct machine *t)
{
	static const u32 mxcsr = MXCSR_RESET;
	register const u8 *before __asm__("r12") = t->before.bytes;
	register u8 *host __asm__("r13") = t->host.bytes;
	register const u32 *sane __asm__("r14") = &mxcsr;

	bt_host.signal = 0;
	__asm__ volatile(
		"mov %%ebx, %%eax\n\t"
		"xor %%edx, %%edx\n\t"
		"xrstor64 (%%r12)\n\t"
		"sub $128, %%rsp\n\t" /* the red zone */
		"call bt_host_enter\n\t"
		"add $128, %%rsp\n\t"
		"mov %%ebx, %%eax\n\t"
		"xor %%edx, %%edx\n\t"
		"xsave64 (%%r13)\n\t"
		"fninit\n\t"
		"ldmxcsr (%%r14)"
		:
		: "b"(t->m.policy.xcr0_mask), "r"(before), "r"(host), "r"(sane)
		: "memory", "cc", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9",
		  "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
		  "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
		  "xmm13", "xmm14", "xmm15");
}

/* ---- random state ------------------------------------------------------ */

static u64 rnd_double(struct machine *t)
{
	static const u64 special[] = {
		0,
		0x8000000000000000,
		0x3ff0000000000000, /* 1 */
		0x7ff0000000000000, /* infinity */
		0xfff0000000000000,
		0x7ff8000000000001, /* quiet NaN */
		0x7ff0000000000001, /* signaling NaN */
		0x000fffffffffffff, /* denormal */
		0x0010000000000000,
		0x7fefffffffffffff,
		0x4330000000000000,
		0x41dfffffffc00000,
		0x43e0000000000000,
	};
	u64 val = rnd(t);

	switch (val % 4) {
	case 0:
		return special[val / 4 % ARRAY_SIZE(special)];
	case 1: /* near one, so that sums and products stay in range */
		return (val & 0x800fffffffffffff) | (0x3f8 + (val >> 52 & 15))
							    << 52;
	default:
		return rnd(t);
	}
}

static u32 rnd_float(struct machine *t)
{
	static const u32 special[] = {
		0,	    0x80000000, 0x3f800000, 0x7f800000, 0xff800000,
		0x7fc00001, 0x7f800001, 0x007fffff, 0x00800000, 0x7f7fffff,
		0x4b000000, 0x4effffff, 0x5f000000, 0x00003c00, 0x00007c01,
	};
	u64 val = rnd(t);

	switch (val % 4) {
	case 0:
		return special[val / 4 % ARRAY_SIZE(special)];
	case 1:
		return (u32)((val & 0x807fffff) | (0x78 + (val >> 24 & 15))
							  << 23);
	default:
		return (u32)rnd(t);
	}
}

static void rnd_bytes(struct machine *t, u8 *out, unsigned len)
{
	unsigned kind = rnd(t) % 4;

	for (unsigned k = 0; k < len; k += 8) {
		u64 val = rnd(t);

		if (kind == 1)
			val = rnd_double(t);
		else if (kind == 2)
			val = rnd_float(t) | (u64)rnd_float(t) << 32;
		else if (kind == 3 && rnd(t) % 2)
			val = (u64)(s64)(s8)val;
		memcpy(out + k, &val, min_u64(8, len - k));
	}
}

static void rnd_extended(struct machine *t, u8 st[16])
{
	static const u16 exponents[] = {0, 0x3fff, 0x7fff, 0xbfff, 0xffff,
					1, 0x403e, 0x7ffe, 0x4002, 0x3ffe};
	u64 mantissa = rnd(t) % 8 ? rnd(t) | BIT(63) : rnd(t);
	u16 exponent = exponents[rnd(t) % ARRAY_SIZE(exponents)];

	if (rnd(t) % 3 == 0)
		exponent = (u16)(0x3ff8 + rnd(t) % 16);
	if (rnd(t) % 6 == 0)
		mantissa = rnd(t) % 2 ? BIT(63) : 0;
	memset(st, 0, 16);
	memcpy(st, &mantissa, 8);
	memcpy(st + 8, &exponent, 2);
}

/* Errors that are due, and unmasked ones, come about now and then. */
static void rnd_x87(struct machine *t, struct xsave_legacy *x)
{
	x->fcw = 0x37f & ~0xc00 & ~0x300;
	x->fcw |= (rnd(t) % 4) << 10 | (rnd(t) % 4 ? 3 : rnd(t) % 4) << 8;
	if (rnd(t) % 4 == 0)
		x->fcw &= (u16) ~(rnd(t) & 0x3f);
	x->fsw = (u16)(rnd(t) & 0x7f7f);
	if (rnd(t) % 8)
		x->fsw &= (u16)~0x3f;
	if (x->fsw & ~x->fcw & 0x3f)
		x->fsw |= 0x8080;
	x->ftw = rnd(t) % 3 ? 0xff : (u8)rnd(t);
	for (unsigned k = 0; k < 8; k++)
		rnd_extended(t, x->st[k]);
}

static void rnd_fpu(struct machine *t)
{
	struct xsave_legacy *x = legacy(&t->before);

	memset(&t->before, 0, sizeof(t->before));
	rnd_x87(t, x);
	x->mxcsr = 0x1f80u | (u32)(rnd(t) & 0x6000);
	if (rnd(t) % 4 == 0)
		x->mxcsr |= (u32)(rnd(t) & 0x8040);
	if (rnd(t) % 4 == 0)
		x->mxcsr &= ~(u32)(rnd(t) & 0x1f80);
	if (rnd(t) % 4 == 0)
		x->mxcsr |= rnd(t) & 0x3f;
	x->mxcsr_mask = 0xffff;
	for (unsigned k = 0; k < 16; k++) {
		rnd_bytes(t, x->xmm[k], 16);
		rnd_bytes(t, t->before.bytes + XSAVE_AVX + 16 * k, 16);
	}
	*xsave_header(t->before.bytes) = t->m.policy.xcr0_mask;
}

static void rnd_memory(struct machine *t)
{
	u8 *from = t->m.arena + OPERAND_PAGE - 4096;

	for (unsigned k = 0; k < 3 * 4096; k += 512) {
		rnd_bytes(t, from + k, 512);
	}
	memcpy(t->m.copy, t->m.arena, HOLE_PAGE);
	memcpy(t->m.copy + HOLE_PAGE + 4096, t->m.arena + HOLE_PAGE + 4096,
	       BT_ARENA - HOLE_PAGE - 4096);
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
	u64 page = (u64)t->m.arena + OPERAND_PAGE, at = rnd(t) % 4096;

	switch (rnd(t) % 8) {
	case 0:
		return page + 4096 - rnd(t) % 40;
	case 1:
		return (u64)t->m.arena + HOLE_PAGE - rnd(t) % 40;
	case 2:
		return (u64)t->m.arena + HOLE_PAGE + 4096 - rnd(t) % 40;
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
	u8 *low = legacy(&t->before)->xmm[n & 15];
	u8 *high = t->before.bytes + XSAVE_AVX + 16 * (n & 15);

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
		bt_host.gpr[X86_RBX] = (u64)t->m.arena + OPERAND_PAGE + 1024;
		tame_index(t, row, i);
	}
	bt_host.flags = FLAG_1 | FLAG_IF | (rnd(t) & FLAG_ARITH);
}

/* ---- comparing --------------------------------------------------------- */

static bool same_fpu(struct machine *t)
{
	struct xsave_legacy *h = legacy(&t->host);
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)t->m.c->xsave;
	const u8 *ymm = t->m.c->xsave + XSAVE_AVX;
	bool same = h->fcw == x->fcw && h->fsw == x->fsw && h->ftw == x->ftw &&
		    h->mxcsr == x->mxcsr;

	if (!same)
		print_error("fcw %x %x fsw %x %x ftw %x %x mxcsr %x %x\n",
			    x->fcw, h->fcw, x->fsw, h->fsw, x->ftw, h->ftw,
			    x->mxcsr, h->mxcsr);
	for (unsigned k = 0; k < 8; k++)
		same = same && !memcmp(h->st[k], x->st[k], 10);
	same = same && !memcmp(h->xmm, x->xmm, sizeof(x->xmm));
	if (t->m.policy.xcr0_mask & XCR0_AVX)
		same = same && !memcmp(t->host.bytes + XSAVE_AVX, ymm, 256);
	return same;
}

static bool same_memory(struct machine *t)
{
	const u8 *a = t->m.arena, *b = t->m.copy;
	const u64 behind = HOLE_PAGE + 4096;

	return !memcmp(a + OPERAND_PAGE - 4096, b + OPERAND_PAGE - 4096,
		       HOLE_PAGE - OPERAND_PAGE + 4096) &&
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
		return bt_host.signal == SIGSEGV;
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
	if (!same_fpu(t))
		return "unit";
	if (!same_memory(t))
		return "memory";
	if (vector < 0 && t->m.c->gpr[17] != bt_host.code + i->len)
		return "next instruction";
	return NULL;
}

static void report(const struct machine *t, const struct encoding *e,
		   const struct bt_insn *i, const char *what, int vector)
{
	const struct bt_row *row = &bt_rows[i->row];

	print_error("%s %s: %s (vector %d, signal %d) rbx+disp %#lx:",
		    row->name, row->operands, what, vector, bt_host.signal,
		    (unsigned long)(bt_host.gpr[X86_RBX] + (u64)(s64)i->disp -
				    (u64)t->m.arena));
	for (unsigned k = 0; k < i->len; k++)
		print_error(" %02x", e->bytes[k]);
	print_error("\n");
}

enum outcome { OTHER_ROW, SAME, DIFFERENT };

static void load_engine(struct machine *t)
{
	struct bt_cpu *c = t->m.c;

	memcpy(c->gpr, bt_host.gpr, sizeof(bt_host.gpr));
	c->gpr[16] = 0;
	c->gpr[17] = bt_host.code;
	c->eflags = (u32)bt_host.flags & ~(u32)FLAG_ARITH;
	bt_set_arith(c, (u32)bt_host.flags);
	bt_fpu_set(c, t->before.bytes);
}

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
	rnd_fpu(t);
	rnd_registers(t, row, &i);
	bt_host_set_code(e.bytes, i.len);
	load_engine(t);
	vector = bt_machine_run(&t->m, e.bytes, e.len, &i);
	bt_fpu_save(t->m.c);
	run_host(t);
	what = difference(t, vector, &i);
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

	catch_signals();
	bt_machine_hole(&t->m, HOLE_PAGE, true);
	for (unsigned r = 0; r < bt_row_count; r++) {
		if (!is_testable(t, &bt_rows[r]))
			continue;
		rows++;
		rnd_memory(t);
		bad += !try_row(t, &bt_rows[r]);
	}
	bt_machine_hole(&t->m, HOLE_PAGE, false);
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
