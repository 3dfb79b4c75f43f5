/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which SIMD and x87 encodings exist: the decoder and the host's CPU agree on
 * each opcode, prefix, form, VEX.L, W and vvvv, so no row is missing from the
 * tables and none takes what a CPU refuses.
 */
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bt_host.h"
#include "bt_machine.h"
#include "bt_unit.h"
#include "engine/bt/decode.h"

enum map { MAP_0F = 1, MAP_38, MAP_3A, MAP_V1, MAP_V2, MAP_V3 };

struct machine {
	struct bt_machine m;
	struct bt_unit unit;
	unsigned tried, bad;
};

/* What a host may have and guests are not offered. */
static const struct {
	u8 map, first, last;
	const char *why;
} not_offered[] = {
	{MAP_38, 0xd8, 0xd8, "Key Locker"},
	{MAP_38, 0xdc, 0xdf, "Key Locker, with F3"},
	{MAP_38, 0xf8, 0xf9, "MOVDIR64B, MOVDIRI"},
	{MAP_38, 0xfa, 0xfc, "Key Locker, RAO-INT"},
	{MAP_3A, 0xf0, 0xf0, "HRESET"},
	{MAP_V1, 0x41, 0x4b, "AVX-512 masks"},
	{MAP_V1, 0x90, 0x99, "AVX-512 masks"},
	{MAP_V2, 0x49, 0x4b, "AMX"},
	{MAP_V2, 0x50, 0x53, "AVX-VNNI"},
	{MAP_V2, 0x5c, 0x5f, "AMX"},
	{MAP_V2, 0x6c, 0x6c, "AMX"},
	{MAP_V2, 0x72, 0x72, "AVX-NE-CONVERT"},
	{MAP_V2, 0xb0, 0xb5, "AVX-NE-CONVERT, AVX-IFMA"},
	{MAP_V2, 0xcb, 0xcd, "SHA512"},
	{MAP_V2, 0xd2, 0xda, "AVX-VNNI-INT16, SM3, SM4"},
	{MAP_V2, 0xe0, 0xef, "CMPCCXADD"},
	{MAP_V3, 0x30, 0x33, "AVX-512 masks"},
	{MAP_V3, 0xde, 0xde, "SM3"},
	{MAP_V3, 0x00, 0x01,
	 "VPERMQ, VPERMPD: Zen ignores W, which the SDM "
	 "wants to be 1"},
};

static bool is_offered(enum map map, u8 opcode)
{
	for (unsigned k = 0; k < ARRAY_SIZE(not_offered); k++)
		if (not_offered[k].map == map &&
		    opcode >= not_offered[k].first &&
		    opcode <= not_offered[k].last)
			return false;
	return true;
}

/* A gather's #UD without SIB is found when it runs. */
static bool is_ours(const struct bt_insn *i)
{
	return !(bt_rows[i->row].attrs & ROW_VSIB);
}

static int setup(void **state)
{
	struct machine *t = aligned_alloc(64, align_up(sizeof(*t), 64));

	*state = t;
	memset(t, 0, sizeof(*t));
	t->unit.seed = 1;
	if (!bt_machine_init(&t->m))
		return -1;
	t->unit.components = t->m.policy.xcr0_mask;
	bt_unit_random(&t->unit);
	bt_unit_legacy(&t->unit.before)->fcw = FCW_INIT;
	bt_unit_legacy(&t->unit.before)->fsw = 0;
	bt_unit_legacy(&t->unit.before)->mxcsr = MXCSR_RESET;
	return 0;
}

static int teardown(void **state)
{
	struct machine *t = *state;

	bt_machine_fini(&t->m);
	free(t);
	return 0;
}

static bool host_refuses(struct machine *t, const u8 *bytes, unsigned len)
{
	for (unsigned k = 0; k < 16; k++)
		bt_host.gpr[k] = (u64)t->m.arena + BT_AREA;
	bt_host.flags = FLAG_1 | FLAG_IF;
	bt_host_set_code(bytes, len);
	bt_unit_run_host(&t->unit);
	return bt_host.signal == SIGILL;
}

/* NOPs follow: an immediate, or to be run. */
static void try(struct machine *t, enum map map, u8 opcode, const u8 bytes[15])
{
	struct bt_insn i;
	bool refuses = bt_decode(bytes, 15, W64, t->m.policy.features, &i,
				 NULL) != BT_DECODE_OK;

	t->tried++;
	if (host_refuses(t, bytes, 15) == refuses)
		return;
	if (refuses ? !is_offered(map, opcode) : !is_ours(&i))
		return;
	t->bad++;
	print_error("%s:", refuses ? "the host runs" : "the host refuses");
	for (unsigned k = 0; k < 8; k++)
		print_error(" %02x", bytes[k]);
	print_error(" (%s)\n", bt_rows[i.row].name);
}

/* Opcodes of map 0F that are SIMD; the others are run elsewhere. */
static bool is_simd(u8 opcode)
{
	return (opcode >= 0x10 && opcode <= 0x17) ||
	       (opcode >= 0x28 && opcode <= 0x2f) ||
	       (opcode >= 0x50 && opcode <= 0x7f) || opcode == 0xc2 ||
	       (opcode >= 0xc4 && opcode <= 0xc6) ||
	       (opcode >= 0xd0 && opcode < 0xff);
}

/* ModRM.reg chooses the instruction. */
static bool is_group(enum map map, u8 opcode)
{
	if (map == MAP_V2)
		return opcode == 0xf3;
	return (map == MAP_0F || map == MAP_V1) &&
	       ((opcode >= 0x71 && opcode <= 0x73) || opcode == 0x78 ||
		opcode == 0xae);
}

/* [RBX] or register 1, with each reg that matters. */
static void try_forms(struct machine *t, enum map map, u8 opcode,
		      const u8 *head, unsigned len)
{
	unsigned regs = is_group(map, opcode) ? 8 : 1;

	for (unsigned k = 0; k < regs; k++) {
		u8 bytes[15];

		memset(bytes, 0x90, sizeof(bytes));
		memcpy(bytes, head, len);
		bytes[len] = (u8)(k << 3 | 3);
		try(t, map, opcode, bytes);
		bytes[len] = (u8)(0xc0 | k << 3 | 1);
		try(t, map, opcode, bytes);
	}
}

static void try_legacy(struct machine *t, enum map map, u8 opcode)
{
	static const u8 mandatory[] = {0, 0x66, 0xf3, 0xf2};
	static const u8 escape[] = {0, 0, 0x38, 0x3a};

	for (unsigned k = 0; k < 4; k++) {
		u8 head[5];
		unsigned len = 0;

		if (k)
			head[len++] = mandatory[k];
		head[len++] = 0x0f;
		if (map > MAP_0F)
			head[len++] = escape[map];
		head[len++] = opcode;
		try_forms(t, map, opcode, head, len);
	}
}

/* All of L, W and pp, with vvvv used and not. */
static void try_vex(struct machine *t, enum map map, u8 opcode)
{
	for (unsigned k = 0; k < 16; k++) {
		u8 bits = (k & 8) << 4 | (k & 7);
		u8 select = (u8)(0xe0 | (map - MAP_V1 + 1));
		u8 free[] = {0xc4, select, bits | 0x78, opcode};
		u8 used[] = {0xc4, select, bits | 0x50, opcode};

		try_forms(t, map, opcode, free, 4);
		try_forms(t, map, opcode, used, 4);
	}
}

static void test_simd(void **state)
{
	struct machine *t = *state;

	if (!cpu_has(&t->m.policy, FEAT_AVX2))
		skip();
	bt_machine_catch();
	for (unsigned opcode = 0; opcode < 256; opcode++) {
		if (is_simd((u8)opcode))
			try_legacy(t, MAP_0F, (u8)opcode);
		try_legacy(t, MAP_38, (u8)opcode);
		try_legacy(t, MAP_3A, (u8)opcode);
		for (enum map map = MAP_V1; map <= MAP_V3; map++)
			try_vex(t, map, (u8)opcode);
	}
	assert_true(t->tried > 40000);
	assert_int_equal(t->bad, 0);
}

static void test_x87(void **state)
{
	struct machine *t = *state;

	bt_machine_catch();
	for (unsigned opcode = 0xd8; opcode < 0xe0; opcode++)
		for (unsigned modrm = 0; modrm < 256; modrm++) {
			u8 bytes[15];

			memset(bytes, 0x90, sizeof(bytes));
			bytes[0] = (u8)opcode;
			bytes[1] = (u8)modrm;
			if (modrm >= 0xc0 || (modrm & 0xc7) == 3)
				try(t, 0, 0, bytes);
		}
	assert_int_equal(t->tried, 8 * (64 + 8));
	assert_int_equal(t->bad, 0);
}

/* PREFETCHW of a register is the vendor's affair. */
static void test_prefetch(void **state)
{
	struct machine *t = *state;

	bt_machine_catch();
	bt_machine_start(&t->m);
	for (unsigned modrm = 0xc0; modrm < 0x100; modrm++) {
		const u8 bytes[15] = {0x0f, 0x0d, (u8)modrm};
		bool refuses = host_refuses(t, bytes, 3);
		struct bt_insn i;

		assert_int_equal(bt_machine_run(&t->m, bytes, 3, &i),
				 refuses ? VEC_UD : -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_simd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_x87, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prefetch, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
