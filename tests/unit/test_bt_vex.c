/* SPDX-License-Identifier: Apache-2.0 */
/*
 * There is no VEX in real mode: every row of VEX-encoded instructions is #UD
 * there, with the code sizes that protected mode has too.
 *
 * References: [1] Intel SDM vol. 2A 2.4 (SIMD), 2.8 (general registers).
 */
#include "unit.h"

#include <string.h>

#include "bt_machine.h"
#include "bt_ops.h"
#include "engine/bt/decode.h"

/* Registers 0 or [RAX], whatever the row leaves open; zero immediates. */
static unsigned encode(const struct bt_row *row, u8 out[BT_MAX_INSN])
{
	u8 w = row->attrs & ROW_W1 ? 0x80 : 0;
	u8 l = row->attrs & ROW_L1 ? 4 : 0;
	u8 modrm = row->mod == 0 ? 0 : 0xc0;

	memset(out, 0, BT_MAX_INSN);
	if (row->reg > 0)
		modrm |= (u8)(row->reg << 3);
	if (row->attrs & ROW_VSIB)
		modrm |= 4;
	out[0] = 0xc4;
	out[1] = (u8)(0xe0 | row->map);
	out[2] = w | 0x78 | l | (u8)(row->prefix < 0 ? 0 : row->prefix);
	out[3] = (u8)row->opcode;
	out[4] = modrm;
	return BT_MAX_INSN;
}

static int run(struct bt_machine *m, const struct bt_row *row, u8 code, u64 cr0)
{
	u8 bytes[BT_MAX_INSN];
	struct bt_insn insn;

	bt_machine_start(m);
	m->c->code = code;
	m->c->cr0 = cr0;
	return bt_machine_run(m, bytes, encode(row, bytes), &insn);
}

static bool offered(const struct bt_machine *m, const struct bt_row *row)
{
	u8 feature = row->attrs & ROW_L1 && row->feature_l1 ? row->feature_l1
							    : row->feature;

	return feature == FEAT_BASE || m->policy.features & BIT(feature);
}

static void test_real_mode(void **unused)
{
	struct bt_machine m;
	unsigned general = 0;

	assert_true(bt_machine_init(&m));
	for (unsigned r = 0; r < bt_row_count; r++) {
		const struct bt_row *row = &bt_rows[r];
		u8 bytes[BT_MAX_INSN];
		struct bt_insn insn;

		if (!(row->attrs & ROW_VEX) || !offered(&m, row))
			continue;
		/* It is this row that is run, and a good encoding of it. */
		assert_int_equal(bt_decode(bytes, encode(row, bytes), W32,
					   m.policy.features, &insn, NULL),
				 BT_DECODE_OK);
		assert_int_equal(insn.row, r);
		assert_int_equal(run(&m, row, W16, CR0_ET), VEC_UD);
		assert_int_equal(run(&m, row, W32, CR0_ET), VEC_UD);
		if (row->attrs & (ROW_AVX | ROW_SIMD))
			continue;
		assert_int_equal(run(&m, row, W32, CR0_PE | CR0_ET), -1);
		general++;
	}
	if (cpu_has(&m.policy, FEAT_BMI2))
		assert_true(general >= 10);
	bt_machine_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
