/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FPU and SIMD state of the software engine: images and environments in memory
 * against the host's CPU, and that no pointer of the host's gets into them.
 *
 * Reference: [1] Intel SDM.
 */
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bt_host.h"
#include "bt_machine.h"
#include "bt_unit.h"
#include "fpu_fixture.h"
#include "engine/bt/decode.h"
#include "engine/bt/fpu.h"
#include "engine/bt/signals.h"
#include "engine/bt/vm.h"
#include "arch/xsave.h"

#define CASES 400
#define NO_FAULT (-1)

static struct xsave_legacy *own_legacy(struct machine *t)
{
	return (struct xsave_legacy *)(void *)t->m.c->xsave;
}

static int run(struct machine *t, const u8 *bytes, unsigned len)
{
	struct bt_insn insn;

	return bt_machine_run(&t->m, bytes, len, &insn);
}

/* ---- images against the host ------------------------------------------- */

struct image_case {
	const char *name;
	u8 code[4]; /* behind REX; memory at [RBX] */
	unsigned align;
	u8 feature;
	bool load;
	bool x87_env;
};

static const struct image_case image_cases[] = {
	{"fxsave", {0x0f, 0xae, 0x03}, 16, FEAT_BASE, false, false},
	{"fxrstor", {0x0f, 0xae, 0x0b}, 16, FEAT_BASE, true, false},
	{"xsave", {0x0f, 0xae, 0x23}, 64, FEAT_XSAVE, false, false},
	{"xrstor", {0x0f, 0xae, 0x2b}, 64, FEAT_XSAVE, true, false},
	{"xsaveopt", {0x0f, 0xae, 0x33}, 64, FEAT_XSAVEOPT, false, false},
	{"xsavec", {0x0f, 0xc7, 0x23}, 64, FEAT_XSAVEC, false, false},
	{"fnstenv", {0xd9, 0x33}, 1, FEAT_BASE, false, true},
	{"fldenv", {0xd9, 0x23}, 1, FEAT_BASE, true, true},
	{"fnsave", {0xdd, 0x33}, 1, FEAT_BASE, false, true},
	{"frstor", {0xdd, 0x23}, 1, FEAT_BASE, true, true},
	{"fninit", {0xdb, 0xe3}, 1, FEAT_BASE, false, true},
};

/* What a guest's image may look like, good and bad. */
static void random_area(struct machine *t, u8 *area)
{
	u64 *header = (u64 *)(void *)(area + XSAVE_LEGACY_BYTES);
	u64 all = t->unit.components;

	bt_unit_random(&t->unit);
	memcpy(area, t->unit.before.bytes, 1024);
	header[0] = rnd(t) & all;
	if (rnd(t) % 3 == 0 && cpu_has(&t->m.policy, FEAT_XSAVEC))
		header[1] = XSAVE_COMPACTED | header[0] | (rnd(t) & all);
	switch (rnd(t) % 20) {
	case 0:
		header[rnd(t) % 8] |= BIT(40);
		break;
	case 1:
		header[1] |= 1;
		break;
	case 2:
		area[27] = 1; /* a reserved bit of MXCSR */
		break;
	}
}

static u64 random_place(struct machine *t, const struct image_case *it)
{
	u64 at = (u64)t->m.arena + BT_AREA;

	if (rnd(t) % 3 == 0)
		at += 4096 - rnd(t) % 1000;
	if (rnd(t) % 8 == 0)
		at = (u64)t->m.arena + BT_HOLE - rnd(t) % 1000;
	at &= ~(u64)(it->align - 1);
	if (it->align > 1 && rnd(t) % 16 == 0)
		at += 8;
	return at;
}

/* Intel and AMD differ in what FIP, FDP and FOP are, and the host's would be
 * ours: the guest's own are there, and from here on the host's are the same. */
static void expect_pointers(struct machine *t, u64 off, bool wide)
{
	u8 *host = t->m.arena + off, *own = t->m.copy + off;
	u64 want[2] = {t->m.c->fip, t->m.c->fdp};

	if (!wide) {
		want[0] = (u32)want[0] | (u64)t->m.c->fcs << 32;
		want[1] = (u32)want[1] | (u64)t->m.c->fds << 32;
	}
	assert_memory_equal(own + 8, want, 16);
	assert_int_equal(own[6] | own[7] << 8, t->m.c->fop);
	memcpy(host + 6, own + 6, 18);
}

static void level_image(struct machine *t, u64 off, bool wide, bool x87)
{
	u32 mask = MXCSR_MASK;

	if (x87)
		expect_pointers(t, off, wide);
	/* AMD has a bit more, for a mode that guests are not told of. */
	if (memcmp(t->m.copy + off + 28, t->m.arena + off + 28, 4)) {
		assert_memory_equal(t->m.copy + off + 28, &mask, 4);
		memcpy(t->m.arena + off + 28, t->m.copy + off + 28, 4);
	}
}

static void level_env(struct machine *t, u64 off, bool words)
{
	u8 *host = t->m.arena + off, *own = t->m.copy + off;
	u16 want16[4] = {(u16)t->m.c->fip, t->m.c->fcs, (u16)t->m.c->fdp,
			 t->m.c->fds};
	u32 want32[4] = {(u32)t->m.c->fip, t->m.c->fcs | (u32)t->m.c->fop << 16,
			 (u32)t->m.c->fdp, 0xffff0000u | t->m.c->fds};

	if (words) {
		assert_memory_equal(own + 6, want16, 8);
		memcpy(host + 6, own + 6, 8);
	} else {
		assert_memory_equal(own + 12, want32, 16);
		memcpy(host + 12, own + 12, 16);
	}
}

/* The pointers in the guest's terms before an instruction that clears them. */
struct pointers {
	u64 fip, fdp;
	u16 fop, fcs, fds;
};

static struct pointers get_pointers(const struct bt_cpu *c)
{
	return (struct pointers){c->fip, c->fdp, c->fop, c->fcs, c->fds};
}

static void set_pointers(struct bt_cpu *c, const struct pointers *p)
{
	c->fip = p->fip;
	c->fdp = p->fdp;
	c->fop = p->fop;
	c->fcs = p->fcs;
	c->fds = p->fds;
}

static bool same_unit(struct machine *t)
{
	struct xsave_legacy *h = bt_unit_legacy(&t->unit.host);
	struct xsave_legacy *x = own_legacy(t);

	if (h->fcw != x->fcw || h->fsw != x->fsw || h->ftw != x->ftw ||
	    h->mxcsr != x->mxcsr)
		return false;
	for (unsigned k = 0; k < 8; k++)
		if (memcmp(h->st[k], x->st[k], 10))
			return false;
	return !memcmp(h->xmm, x->xmm, sizeof(x->xmm)) &&
	       !memcmp(t->unit.host.bytes + XSAVE_AVX,
		       t->m.c->xsave + XSAVE_AVX, 256);
}

static void fail_unit(struct machine *t, const struct image_case *it,
		      int vector)
{
	struct xsave_legacy *h = bt_unit_legacy(&t->unit.host);
	struct xsave_legacy *x = own_legacy(t);

	fail_msg("%s: vector %d, fcw %x %x fsw %x %x ftw %x %x mxcsr %x %x",
		 it->name, vector, x->fcw, h->fcw, x->fsw, h->fsw, x->ftw,
		 h->ftw, x->mxcsr, h->mxcsr);
}

struct prepared {
	u8 bytes[8];
	unsigned len;
	bool wide, words;
	u64 place;
};

static void prepare(struct machine *t, const struct image_case *it,
		    struct prepared *p)
{
	p->len = 0;
	p->words = it->x87_env && rnd(t) % 2;
	p->wide = rnd(t) % 2 && !p->words;
	p->place = random_place(t, it);
	if (p->words)
		p->bytes[p->len++] = 0x66;
	if (p->wide)
		p->bytes[p->len++] = 0x48;
	memcpy(p->bytes + p->len, it->code, 4);
	p->len += 3;
	for (unsigned k = 0; k < 16; k++)
		bt_host.gpr[k] = rnd(t);
	bt_host.gpr[X86_RBX] = p->place;
	bt_host.gpr[X86_RAX] &= 7;
	bt_host.gpr[X86_RDX] = 0;
	bt_host.flags = FLAG_1 | FLAG_IF;
}

static void fill_place(struct machine *t, const struct image_case *it,
		       u64 place)
{
	static u8 area[1024] __attribute__((aligned(64)));
	u64 off = place - (u64)t->m.arena, len;

	random_area(t, area);
	if (it->x87_env) { /* an environment of any contents but tags */
		memcpy(area + 16, area + 200, 12);
		memcpy(area, &bt_unit_legacy(&t->unit.before)->fcw, 2);
	}
	len = off < BT_HOLE ? min_u64(sizeof(area), BT_HOLE - off) : 0;
	memcpy(t->m.arena + off, area, len);
	memcpy(t->m.copy + off, area, len);
}

/*
 * [1] vol. 3A 6.5 has a fault leave the state from before. Intel's Sapphire
 * Rapids checks the MXCSR of a compacted image late: x87 and XMM registers are
 * loaded or initialized by then, and further components are if they were to be
 * initialized. AMD's CPUs and the engine have changed nothing; nobody can tell
 * once the image is mended. What such a CPU leaves is what the engine leaves of
 * an image with the present MXCSR, asked for no more than that.
 */
static bool is_late_mxcsr(struct machine *t, const struct image_case *it,
			  const struct prepared *p, int vector)
{
	u8 *area = t->m.copy + (p->place - (u64)t->m.arena);
	const u64 legacy = XCR0_X87 | XCR0_SSE;
	u64 bv = *xsave_header(area), rfbm = bt_host.gpr[X86_RAX];
	u32 *mxcsr = (u32 *)(void *)(area + 24), old;

	if (strcmp(it->name, "xrstor") || vector != VEC_GP ||
	    p->place - (u64)t->m.arena > BT_HOLE - 576 || p->place % 64)
		return false;
	old = *mxcsr;
	if (!(xsave_header(area)[1] & XSAVE_COMPACTED) ||
	    !(rfbm & bv & XCR0_SSE) || !(old & ~MXCSR_MASK))
		return false;
	*mxcsr = own_legacy(t)->mxcsr;
	t->m.c->gpr[X86_RAX] = rfbm & (legacy | ~bv);
	vector = run(t, p->bytes, p->len);
	*mxcsr = old;
	bt_fpu_save(t->m.c);
	return vector == NO_FAULT && same_unit(t);
}

static void compare_case(struct machine *t, const struct image_case *it,
			 const struct prepared *p, const struct pointers *old,
			 int vector)
{
	static const int signals[] = {[VEC_UD] = SIGILL,
				      [VEC_GP] = SIGSEGV,
				      [VEC_PF] = SIGSEGV,
				      [VEC_MF] = SIGFPE};
	struct pointers now = get_pointers(t->m.c);
	u64 off = p->place - (u64)t->m.arena;
	u32 which = (u32)bt_host.gpr[X86_RAX];

	if (bt_host.signal != (vector < 0 ? 0 : signals[vector]))
		fail_msg("%s: vector %d, signal %d", it->name, vector,
			 bt_host.signal);
	if (vector < 0 && !it->load && it->code[0] != 0xdb) {
		set_pointers(t->m.c, old);
		if (it->x87_env)
			level_env(t, off, p->words);
		else
			level_image(t, off, p->wide,
				    it->align == 16 || which & 1);
		set_pointers(t->m.c, &now);
	}
	if (!same_unit(t) && !is_late_mxcsr(t, it, p, vector))
		fail_unit(t, it, vector);
	if (memcmp(t->m.arena + BT_AREA, t->m.copy + BT_AREA,
		   BT_HOLE - BT_AREA)) {
		for (u64 k = BT_AREA; k < BT_HOLE; k++)
			if (t->m.arena[k] != t->m.copy[k])
				print_error("%ld: %x, host %x\n",
					    (long)(k - off), t->m.copy[k],
					    t->m.arena[k]);
		fail_msg("%s: memory, mask %x, wide %d", it->name, which,
			 p->wide);
	}
}

static void image_case(struct machine *t, const struct image_case *it)
{
	struct bt_cpu *c = t->m.c;
	struct pointers old;
	struct prepared p;
	int vector;

	prepare(t, it, &p);
	fill_place(t, it, p.place);
	bt_unit_random(&t->unit);
	bt_machine_start(&t->m);
	memcpy(c->gpr, bt_host.gpr, sizeof(bt_host.gpr));
	/* What a CPU calls in use may be more than need be, and change by the
	 * way: only where no memory tells. */
	if (it->load)
		*xsave_header(t->unit.before.bytes) &= rnd(t);
	bt_fpu_set(c, t->unit.before.bytes);
	old = (struct pointers){rnd(t), rnd(t), rnd(t) & 0x7ff, (u16)rnd(t),
				(u16)rnd(t)};
	set_pointers(c, &old);
	if (rnd(t) % 2)
		bt_fpu_load(c);
	vector = run(t, p.bytes, p.len);
	bt_fpu_save(c);
	bt_host_set_code(p.bytes, p.len - (it->code[2] == 0));
	bt_unit_run_host(&t->unit);
	compare_case(t, it, &p, &old, vector);
}

static void test_images(void **state)
{
	struct machine *t = *state;

	bt_machine_catch();
	bt_machine_hole(&t->m, BT_HOLE, true);
	for (unsigned k = 0; k < ARRAY_SIZE(image_cases); k++) {
		const struct image_case *it = &image_cases[k];

		if (it->feature && !cpu_has(&t->m.policy, it->feature))
			continue;
		for (unsigned n = 0; n < CASES; n++)
			image_case(t, it);
	}
	bt_machine_hole(&t->m, BT_HOLE, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_images, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
