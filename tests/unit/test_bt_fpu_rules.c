/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FPU and SIMD of the software engine: the checks before an instruction, errors
 * of the unit, formats of other modes, and elements that fault.
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

#define RUN(t, ...) run(t, (u8[]){__VA_ARGS__}, sizeof((u8[]){__VA_ARGS__}))

/* ---- checks before anything -------------------------------------------- */

#define ON(vector, ...)                                            \
	{                                                          \
		vector, {__VA_ARGS__}, sizeof((u8[]){__VA_ARGS__}) \
	}

struct check_case {
	int vector;
	u8 bytes[8];
	unsigned len;
};

static void run_checks(struct machine *t, const struct check_case *cases,
		       unsigned count)
{
	for (unsigned k = 0; k < count; k++) {
		int vector;

		t->m.c->gpr[X86_RBX] = (u64)t->m.arena + BT_AREA;
		vector = run(t, cases[k].bytes, cases[k].len);
		bt_fpu_save(t->m.c);
		if (vector != cases[k].vector)
			fail_msg("%02x %02x %02x: vector %d, not %d",
				 cases[k].bytes[0], cases[k].bytes[1],
				 cases[k].bytes[2], vector, cases[k].vector);
	}
}

#define MOVAPS 0x0f, 0x28, 0xc1
#define PADDB 0x0f, 0xfc, 0xc1
#define CVTPI2PS 0x0f, 0x2a, 0xc1
#define FLD1 0xd9, 0xe8
#define FWAIT 0x9b
#define FNINIT 0xdb, 0xe3
#define FXSAVE 0x0f, 0xae, 0x03
#define XSAVE 0x0f, 0xae, 0x23
#define LDMXCSR 0x0f, 0xae, 0x13
#define STMXCSR 0x0f, 0xae, 0x1b
#define VADDPS 0xc5, 0xf0, 0x58, 0xc2
#define VGATHERDPS 0xc4, 0xe2, 0x69, 0x92, 0x04, 0x0b

#define CHECK(t, ...)                                     \
	run_checks(t, (struct check_case[]){__VA_ARGS__}, \
		   ARRAY_SIZE(((struct check_case[]){__VA_ARGS__})))

static void test_checks_of_cr0(void **state)
{
	struct machine *t = *state;
	struct bt_cpu *c = t->m.c;

	bt_machine_start(&t->m);
	c->cr0 |= CR0_EM;
	CHECK(t, ON(VEC_UD, MOVAPS), ON(VEC_UD, PADDB), ON(VEC_UD, CVTPI2PS),
	      ON(VEC_NM, FLD1), ON(VEC_NM, FNINIT), ON(VEC_NM, FXSAVE),
	      ON(VEC_UD, STMXCSR), ON(NO_FAULT, FWAIT));
	c->cr0 |= CR0_TS;
	CHECK(t, ON(VEC_UD, MOVAPS), ON(VEC_UD, PADDB), ON(VEC_NM, FLD1));
	c->cr0 &= ~(u64)CR0_EM;
	CHECK(t, ON(VEC_NM, MOVAPS), ON(VEC_NM, PADDB), ON(VEC_NM, CVTPI2PS),
	      ON(VEC_NM, FLD1), ON(VEC_NM, FNINIT), ON(VEC_NM, FXSAVE),
	      ON(VEC_NM, STMXCSR), ON(NO_FAULT, FWAIT));
	c->cr0 |= CR0_MP;
	CHECK(t, ON(VEC_NM, FWAIT));
	if (!cpu_has(c->policy, FEAT_AVX))
		return;
	CHECK(t, ON(VEC_NM, XSAVE), ON(VEC_NM, VADDPS));
	c->cr4 &= ~(u64)CR4_OSXSAVE;
	CHECK(t, ON(VEC_UD, XSAVE), ON(VEC_UD, VADDPS));
}

static void test_checks_of_cr4(void **state)
{
	struct machine *t = *state;
	struct bt_cpu *c = t->m.c;

	bt_machine_start(&t->m);
	c->cr4 &= ~(u64)CR4_OSFXSR;
	CHECK(t, ON(VEC_UD, MOVAPS), ON(VEC_UD, CVTPI2PS), ON(VEC_UD, STMXCSR),
	      ON(NO_FAULT, PADDB), ON(NO_FAULT, FLD1), ON(NO_FAULT, FXSAVE));
	if (!cpu_has(c->policy, FEAT_AVX2))
		skip();
	c->xcr0 = XCR0_X87 | XCR0_SSE;
	CHECK(t, ON(VEC_UD, VADDPS), ON(VEC_UD, VGATHERDPS),
	      ON(NO_FAULT, XSAVE));
	c->xcr0 |= XCR0_AVX;
	c->cr0 |= CR0_EM; /* nothing to AVX */
	CHECK(t, ON(NO_FAULT, VADDPS), ON(NO_FAULT, XSAVE));
}

static void test_mxcsr(void **state)
{
	struct machine *t = *state;
	u32 *at = (u32 *)(void *)(t->m.copy + BT_AREA);

	bt_machine_start(&t->m);
	*at = 0x9fc0;
	CHECK(t, ON(NO_FAULT, LDMXCSR));
	*at = 0x20001f80; /* AMD's misaligned mode is bit 17; neither */
	CHECK(t, ON(VEC_GP, LDMXCSR));
	*at = 0x00021f80;
	CHECK(t, ON(VEC_GP, LDMXCSR));
	CHECK(t, ON(NO_FAULT, STMXCSR));
	assert_int_equal(*at, 0x9fc0);
}

/* Without OSFXSR the SSE half is neither written nor read. */
static void test_fxsave_without_osfxsr(void **state)
{
	struct machine *t = *state;
	u8 *area = t->m.copy + BT_AREA;

	bt_machine_start(&t->m);
	memset(area, 0xa5, 512);
	memset(own_legacy(t)->xmm, 0x11, 256);
	t->m.c->cr4 &= ~(u64)CR4_OSFXSR;
	CHECK(t, ON(NO_FAULT, FXSAVE));
	assert_int_equal(area[24], 0xa5);
	assert_int_equal(area[160], 0xa5);
	assert_int_not_equal(area[0], 0xa5);
	CHECK(t, ON(NO_FAULT, 0x0f, 0xae, 0x0b)); /* FXRSTOR, bad MXCSR */
	assert_int_equal(own_legacy(t)->xmm[0][0], 0x11);
	t->m.c->cr4 |= CR4_OSFXSR;
	CHECK(t, ON(VEC_GP, 0x0f, 0xae, 0x0b));
}

/* ---- errors of the unit ------------------------------------------------ */

/* Where the next instruction is; each is its own. */
static int at(struct machine *t, u64 ip, const struct check_case *one)
{
	t->m.c->gpr[17] = ip;
	return run(t, one->bytes, one->len);
}

#define AT(t, ip, ...) at(t, ip, &(struct check_case)ON(0, __VA_ARGS__))

/* 1/0 with ZE unmasked: told by the next instruction that waits, with the
 * pointers of the division, and no address of the host's anywhere. */
static void test_x87_error(void **state)
{
	struct machine *t = *state;
	struct bt_cpu *c = t->m.c;
	u32 *env = (u32 *)(void *)(t->m.copy + BT_AREA);
	u64 fdp = (u64)t->m.arena + BT_AREA;

	bt_machine_catch();
	bt_machine_start(&t->m);
	c->seg[X86_CS].selector = 0x33;
	c->seg[X86_DS].selector = 0x2b;
	*env = 0x37b;
	assert_int_equal(AT(t, 0x1000, FNINIT), NO_FAULT);
	assert_int_equal(AT(t, 0x1010, 0xd9, 0x2b), NO_FAULT); /* FLDCW */
	assert_int_equal(AT(t, 0x1020, FLD1), NO_FAULT);
	memset(env, 0, 8);
	assert_int_equal(AT(t, 0x1030, 0xdc, 0x33), NO_FAULT); /* FDIV m64 */
	assert_int_equal(AT(t, 0x1040, FLD1), VEC_MF);
	assert_int_equal(AT(t, 0x1040, 0xdd, 0x1b), VEC_MF); /* FSTP m64 */
	assert_int_equal(AT(t, 0x1050, FWAIT), VEC_MF);
	assert_int_equal(AT(t, 0x1050, PADDB), VEC_MF);
	assert_int_equal(AT(t, 0x1060, 0xd9, 0x33), NO_FAULT); /* FNSTENV */
	assert_int_equal(env[0], 0xffff037b);
	assert_int_equal(env[1] & 0x84, 0x84); /* ES, ZE */
	assert_int_equal(env[3], 0x1030);
	assert_int_equal(env[4], 0x33 | 0x433u << 16);
	assert_int_equal(env[5], fdp);
	assert_int_equal(env[6], 0xffff002b);
	/* It masks; the flag alone is no error. */
	assert_int_equal(AT(t, 0x1070, FLD1), NO_FAULT);
	assert_int_equal(AT(t, 0x1080, 0xdb, 0xe2), NO_FAULT); /* FNCLEX */
	bt_fpu_save(c);
	assert_int_equal(own_legacy(t)->fip, 0x1070);
	assert_int_equal(own_legacy(t)->fop, 0x1e8);
}

static void test_sse_error(void **state)
{
	struct machine *t = *state;
	struct bt_cpu *c = t->m.c;
	u32 one = 0x3f800000;

	bt_machine_catch();
	bt_machine_start(&t->m);
	memset(&t->unit.before, 0, sizeof(t->unit.before));
	*xsave_header(t->unit.before.bytes) = XCR0_X87 | XCR0_SSE;
	bt_unit_legacy(&t->unit.before)->fcw = FCW_INIT;
	bt_unit_legacy(&t->unit.before)->mxcsr = 0x1d80; /* ZE unmasked */
	memcpy(bt_unit_legacy(&t->unit.before)->xmm[0], &one, 4);
	bt_fpu_set(c, t->unit.before.bytes);
	/* DIVSS XMM0, XMM1 */
	assert_int_equal(RUN(t, 0xf3, 0x0f, 0x5e, 0xc1), VEC_XM);
	c->cr4 &= ~(u64)CR4_OSXMMEXCPT;
	assert_int_equal(RUN(t, 0xf3, 0x0f, 0x5e, 0xc1), VEC_UD);
	bt_fpu_save(c);
	assert_int_equal(own_legacy(t)->mxcsr, 0x1d84);
	assert_memory_equal(own_legacy(t)->xmm[0], &one, 4);
}

/* What C code expects after the guest has been at it. */
static void test_host_words(void **state)
{
	struct machine *t = *state;
	u32 *area = (u32 *)(void *)(t->m.copy + BT_AREA), mxcsr;
	u16 fcw, tags[14];

	bt_machine_start(&t->m);
	area[0] = 0x7f80; /* round to zero */
	CHECK(t, ON(NO_FAULT, LDMXCSR));
	area[0] = 0xc7f;
	assert_int_equal(RUN(t, 0xd9, 0x2b), NO_FAULT); /* FLDCW */
	assert_int_equal(RUN(t, FLD1), NO_FAULT);
	assert_true(t->m.c->fpu_live);
	bt_fpu_save(t->m.c);
	__asm__("stmxcsr %0; fnstcw %1; fnstenv %2"
		: "=m"(mxcsr), "=m"(fcw), "=m"(tags));
	assert_int_equal(mxcsr, MXCSR_RESET);
	assert_int_equal(fcw, FCW_INIT);
	assert_int_equal(tags[4], 0xffff); /* all empty */
	assert_int_equal(own_legacy(t)->mxcsr, 0x7f80);
	assert_int_equal(own_legacy(t)->fcw, 0xc7f);
}

/* A state from outside may hold anything, and is loaded all the same. */
static void test_hostile_state(void **state)
{
	struct machine *t = *state;

	bt_machine_start(&t->m);
	for (unsigned k = 0; k < 50; k++) {
		for (unsigned j = 0; j < X86_XSAVE_AREA; j++)
			t->unit.before.bytes[j] = (u8)rnd(t);
		bt_fpu_set(t->m.c, t->unit.before.bytes);
		assert_int_equal(RUN(t, MOVAPS), NO_FAULT);
		bt_fpu_save(t->m.c);
		if (*xsave_header(t->unit.before.bytes) & XCR0_X87)
			assert_int_equal(own_legacy(t)->fip,
					 bt_unit_legacy(&t->unit.before)->fip);
	}
}

/* ---- other modes ------------------------------------------------------- */

static void mode(struct machine *t, enum bt_width code, bool protected)
{
	t->m.c->code = code;
	t->m.c->cr0 = protected ? CR0_PE | CR0_PG : CR0_PG;
}

static void pointers_for_env(struct machine *t)
{
	t->m.c->fip = 0x12345678;
	t->m.c->fdp = 0x9abcdef0;
	t->m.c->fop = 0x5a5;
	t->m.c->fcs = 0x1000;
	t->m.c->fds = 0x2000;
	memset(t->m.copy + BT_AREA, 0, 32);
}

/* [SDM vol. 1] figures 8-9 to 8-12. */
static void test_env_formats(void **state)
{
	struct machine *t = *state;
	u32 *dwords = (u32 *)(void *)(t->m.copy + BT_AREA);
	u16 *words = (u16 *)(void *)(t->m.copy + BT_AREA);

	bt_machine_start(&t->m);
	pointers_for_env(t);
	mode(t, W32, true);
	assert_int_equal(RUN(t, 0xd9, 0x33), NO_FAULT);
	assert_int_equal(dwords[3], 0x12345678);
	assert_int_equal(dwords[4], 0x05a51000);
	assert_int_equal(dwords[5], 0x9abcdef0);
	assert_int_equal(dwords[6], 0xffff2000);
	assert_int_equal(RUN(t, 0x66, 0xd9, 0x33), NO_FAULT);
	assert_int_equal(words[3], 0x5678);
	assert_int_equal(words[4], 0x1000);
	assert_int_equal(words[5], 0xdef0);
	assert_int_equal(words[6], 0x2000);
	mode(t, W16, false); /* pointers become linear */
	assert_int_equal(RUN(t, 0x66, 0x67, 0xd9, 0x33), NO_FAULT);
	assert_int_equal(dwords[3] & 0xffff, 0x5678);
	assert_int_equal(dwords[4], 0x012355a5);
	assert_int_equal(dwords[5] & 0xffff, 0xdef0);
	assert_int_equal(dwords[6], 0x09abe000);
	assert_int_equal(RUN(t, 0x67, 0xd9, 0x33), NO_FAULT);
	assert_int_equal(words[3], 0x5678);
	assert_int_equal(words[4], 0x55a5);
	assert_int_equal(words[5], 0xdef0);
	assert_int_equal(words[6], 0xe000);
	/* And back: FLDENV. */
	assert_int_equal(RUN(t, 0x67, 0xd9, 0x23), NO_FAULT);
	assert_int_equal(t->m.c->fip, 0x55678);
	assert_int_equal(t->m.c->fdp, 0xedef0);
	assert_int_equal(t->m.c->fop, 0x5a5);
	assert_int_equal(t->m.c->fcs, 0);
}

/* Outside 64-bit code: W does not widen, and registers 8 to 15 are not
 * there, not even to XSAVE. */
static void test_32bit(void **state)
{
	struct machine *t = *state;
	struct bt_cpu *c = t->m.c;
	u8 *area = t->m.copy + BT_AREA;

	if (!cpu_has(c->policy, FEAT_AVX))
		skip();
	bt_machine_start(&t->m);
	mode(t, W32, true);
	memset(own_legacy(t)->xmm, 0x22, 256);
	memset(c->xsave + XSAVE_AVX, 0x33, 256);
	*xsave_header(c->xsave) |= XCR0_SSE | XCR0_AVX;
	c->gpr[X86_RCX] = 0xffffffff12345678;
	/* VMOVD XMM1, ECX with W set */
	assert_int_equal(RUN(t, 0xc4, 0xe1, 0xf9, 0x6e, 0xc9), NO_FAULT);
	bt_fpu_save(c);
	assert_int_equal(*(u32 *)(void *)(own_legacy(t)->xmm[1] + 4), 0);
	/* VBLENDVPS XMM0, XMM0, XMM1, mask 9: XMM1, not XMM9 */
	own_legacy(t)->xmm[1][3] = 0x80;
	own_legacy(t)->xmm[9][3] = 0x01;
	assert_int_equal(RUN(t, 0xc4, 0xe3, 0x79, 0x4a, 0xc1, 0x90), NO_FAULT);
	bt_fpu_save(c);
	assert_int_equal(own_legacy(t)->xmm[0][3], 0x80);

	memset(area, 0xa5, 1024);
	memset(area + 512, 0, 64);
	c->gpr[X86_RAX] = 7;
	c->gpr[X86_RDX] = 0;
	CHECK(t, ON(NO_FAULT, XSAVE));
	assert_int_equal(area[160 + 7 * 16], 0x22);
	assert_int_equal(area[160 + 8 * 16], 0xa5);
	assert_int_equal(area[576 + 7 * 16], 0x33);
	assert_int_equal(area[576 + 8 * 16], 0xa5);
	area[512] = 0; /* all initial; the upper eight stay */
	CHECK(t, ON(NO_FAULT, 0x0f, 0xae, 0x2b)); /* XRSTOR */
	bt_fpu_load(c);
	bt_fpu_save(c);
	assert_int_equal(own_legacy(t)->xmm[7][0], 0);
	assert_int_equal(own_legacy(t)->xmm[8][0], 0x22);
	assert_int_equal(c->xsave[XSAVE_AVX], 0);
	assert_int_equal(c->xsave[XSAVE_AVX + 128], 0x33);
}

/* ---- elements that fault ----------------------------------------------- */

/* VGATHERDPS YMM0, [RBX+YMM1*4], YMM2: element 3 is not there. */
static void test_gather_fault(void **state)
{
	static const u8 gather[] = {0xc4, 0xe2, 0x6d, 0x92, 0x04, 0x8b};
	struct machine *t = *state;
	struct bt_cpu *c = t->m.c;
	u32 *ymm[3][2], *memory = (u32 *)(void *)(t->m.copy + BT_AREA);

	if (!cpu_has(c->policy, FEAT_AVX2))
		skip();
	bt_machine_start(&t->m);
	*xsave_header(c->xsave) |= XCR0_SSE | XCR0_AVX;
	for (unsigned k = 0; k < 3; k++) {
		ymm[k][0] = (u32 *)(void *)own_legacy(t)->xmm[k];
		ymm[k][1] = (u32 *)(void *)(c->xsave + XSAVE_AVX + 16 * k);
	}
	for (unsigned k = 0; k < 8; k++) {
		memory[k] = 100 + k;
		ymm[0][k / 4][k % 4] = 7;
		ymm[1][k / 4][k % 4] = k;
		ymm[2][k / 4][k % 4] = k == 1 ? 1 : 0x80000000 + k;
	}
	ymm[1][0][3] = (BT_HOLE - BT_AREA) / 4;
	bt_machine_hole(&t->m, BT_HOLE, true);
	assert_int_equal(run(t, gather, sizeof(gather)), VEC_PF);
	assert_int_equal(ymm[0][0][0], 100);
	assert_int_equal(ymm[0][0][1], 7);
	assert_int_equal(ymm[0][0][2], 102);
	assert_int_equal(ymm[0][0][3], 7);
	assert_int_equal(ymm[2][0][0], 0);
	assert_int_equal(ymm[2][0][2], 0);
	assert_int_equal(ymm[2][0][3], 0xffffffff);
	assert_int_equal(ymm[2][1][3], 0xffffffff);
	bt_machine_hole(&t->m, BT_HOLE, false);
	*(u32 *)(void *)(t->m.copy + BT_HOLE) = 555;
	assert_int_equal(run(t, gather, sizeof(gather)), NO_FAULT);
	assert_int_equal(ymm[0][0][3], 555);
	assert_int_equal(ymm[0][1][3], 107);
	assert_int_equal(ymm[0][0][0], 100);
	assert_int_equal(ymm[2][1][3], 0);
	/* Two registers the same; no SIB. */
	assert_int_equal(RUN(t, 0xc4, 0xe2, 0x75, 0x92, 0x04, 0x8b), VEC_UD);
	assert_int_equal(RUN(t, 0xc4, 0xe2, 0x6d, 0x92, 0x03), VEC_UD);
}

/* VMASKMOVPS [RBX], XMM1, XMM0 over the end of a page that is the last. */
static void test_masked_store(void **state)
{
	static const u8 move[] = {0xc4, 0xe2, 0x71, 0x2e, 0x03};
	struct machine *t = *state;
	struct bt_cpu *c = t->m.c;
	u32 *memory = (u32 *)(void *)(t->m.copy + BT_HOLE - 8);

	if (!cpu_has(c->policy, FEAT_AVX))
		skip();
	bt_machine_start(&t->m);
	bt_machine_hole(&t->m, BT_HOLE, true);
	*xsave_header(c->xsave) |= XCR0_SSE;
	memset(own_legacy(t)->xmm[0], 0x44, 16);
	memory[0] = memory[1] = 0;
	c->gpr[X86_RBX] = (u64)t->m.arena + BT_HOLE - 8;
	own_legacy(t)->xmm[1][7] = 0x80;
	assert_int_equal(run(t, move, sizeof(move)), NO_FAULT);
	assert_int_equal(memory[0], 0);
	assert_int_equal(memory[1], 0x44444444);
	memory[1] = 0;
	bt_fpu_save(c);
	own_legacy(t)->xmm[1][15] = 0x80;
	assert_int_equal(run(t, move, sizeof(move)), VEC_PF);
	assert_int_equal(memory[1], 0);
	assert_int_equal(c->cr2, (u64)t->m.arena + BT_HOLE + 4);
	bt_machine_hole(&t->m, BT_HOLE, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {

		TEST(test_checks_of_cr0), TEST(test_checks_of_cr4),
		TEST(test_mxcsr),	  TEST(test_x87_error),
		TEST(test_sse_error),	  TEST(test_host_words),
		TEST(test_hostile_state), TEST(test_env_formats),
		TEST(test_32bit),	  TEST(test_gather_fault),
		TEST(test_masked_store),  TEST(test_fxsave_without_osfxsr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
