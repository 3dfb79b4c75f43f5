/* SPDX-License-Identifier: Apache-2.0 */
/* What the decoder makes of instructions that the CPU model does not have. */
#include "unit.h"

#include "arch/cpuid.h"
#include "engine/bt/decode.h"
#include "bt_ops.h"
#include "util/types.h"

/* The instruction's opcode row, BT_ROW_UD where it is #UD. */
static unsigned decode(const u8 *bytes, unsigned len, u64 features)
{
	u8 padded[BT_MAX_INSN] = {0};
	struct bt_insn insn;

	for (unsigned i = 0; i < len; i++)
		padded[i] = bytes[i];
	bt_decode(padded, sizeof(padded), W64, features, &insn, NULL);
	if (insn.row != BT_ROW_UD)
		assert_int_equal(insn.len, len);
	return insn.row;
}

/* [1] Intel SDM vol. 2B, TZCNT and LZCNT: else they run as BSF and BSR. */
static void test_counts_become_scans(void **unused)
{
	static const u8 tzcnt[] = {0xf3, 0x48, 0x0f, 0xbc, 0xd2};
	static const u8 lzcnt[] = {0xf3, 0x0f, 0xbd, 0x48, 0x10};
	const u64 both = BIT(FEAT_BMI1) | BIT(FEAT_LZCNT);

	assert_int_equal(decode(tzcnt, 5, 0), decode(tzcnt + 1, 4, 0));
	assert_int_equal(decode(lzcnt, 5, 0), decode(lzcnt + 1, 4, 0));
	assert_int_equal(decode(tzcnt, 5, BIT(FEAT_LZCNT)),
			 decode(tzcnt + 1, 4, 0));
	assert_int_not_equal(decode(tzcnt, 5, both),
			     decode(tzcnt + 1, 4, both));
	assert_int_not_equal(decode(lzcnt, 5, both),
			     decode(lzcnt + 1, 4, both));
	assert_int_not_equal(decode(tzcnt, 5, 0), BT_ROW_UD);
}

/* The others are #UD without their bit, and only then. */
static void test_others_fault(void **unused)
{
	static const struct {
		u8 bytes[6];
		u8 len, feature;
	} rows[] = {
		{{0xf3, 0x0f, 0xb8, 0xc1}, 4, FEAT_POPCNT},
		{{0x0f, 0x38, 0xf0, 0x00}, 4, FEAT_MOVBE},
		{{0xc4, 0xe2, 0x70, 0xf2, 0xc2}, 5, FEAT_BMI1}, /* andn */
		{{0xc4, 0xe2, 0x68, 0xf5, 0xc1}, 5, FEAT_BMI2}, /* bzhi */
		{{0x0f, 0xc7, 0xf0}, 3, FEAT_RDRAND},
		{{0xc5, 0xfc, 0x58, 0xc1}, 4, FEAT_AVX}, /* vaddps */
		{{0x66, 0x0f, 0x38, 0xdc, 0xc1}, 5, FEAT_AES},
		{{0x0f, 0x01, 0xd0}, 3, FEAT_XSAVE}, /* xgetbv */
	};
	const u64 all = ~0ull;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const u64 without = all & ~BIT(rows[i].feature);

		assert_int_equal(decode(rows[i].bytes, rows[i].len, without),
				 BT_ROW_UD);
		assert_int_not_equal(decode(rows[i].bytes, rows[i].len, all),
				     BT_ROW_UD);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts_become_scans),
		cmocka_unit_test(test_others_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
