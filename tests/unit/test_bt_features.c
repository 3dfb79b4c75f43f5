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

/* A host may have these; guests are not told of them: #UD, as [1] has it for
 * each without its bit. */
static void test_hosts_only(void **unused)
{
	static const u8 rows[][8] = {
		{2, 0xc7, 0xf8},		   /* xbegin */
		{2, 0xc6, 0xf8},		   /* xabort */
		{3, 0x0f, 0x01, 0xd5},		   /* xend */
		{3, 0x0f, 0x01, 0xd6},		   /* xtest */
		{3, 0x0f, 0x01, 0xe8},		   /* serialize */
		{4, 0xf2, 0x0f, 0x01, 0xe8},	   /* xsusldtrk */
		{4, 0xf2, 0x0f, 0x01, 0xe9},	   /* xresldtrk */
		{3, 0x0f, 0x01, 0xc8},		   /* monitor */
		{3, 0x0f, 0x01, 0xc9},		   /* mwait */
		{3, 0x0f, 0x01, 0xee},		   /* rdpkru */
		{3, 0x0f, 0x01, 0xef},		   /* wrpkru */
		{3, 0x0f, 0x01, 0xcf},		   /* encls */
		{3, 0x0f, 0x01, 0xd7},		   /* enclu */
		{4, 0x0f, 0x38, 0xf9, 0x03},	   /* movdiri */
		{5, 0x66, 0x0f, 0x38, 0xf8, 0x03}, /* movdir64b */
		{5, 0xf2, 0x0f, 0x38, 0xf8, 0x03}, /* enqcmd */
		{4, 0x66, 0x0f, 0xae, 0xf3},	   /* tpause */
		{4, 0xf3, 0x0f, 0xae, 0xf3},	   /* umonitor */
		{4, 0xf2, 0x0f, 0xae, 0xf3},	   /* umwait */
		{4, 0xf3, 0x0f, 0xae, 0x23},	   /* ptwrite */
		{4, 0xf3, 0x0f, 0xae, 0xeb},	   /* incssp */
		{3, 0x0f, 0xc7, 0x2b},		   /* xsaves [rbx] */
		{3, 0x0f, 0xc7, 0x1b},		   /* xrstors [rbx] */
		{5, 0xc4, 0xe2, 0x78, 0x49, 0xc0}, /* tilerelease */
		{5, 0xc4, 0xe2, 0x73, 0x5e, 0xd8}, /* tdpbssd */
		{5, 0xc4, 0xe2, 0x71, 0x50, 0xc2}, /* vpdpbusd, AVX-VNNI */
		{4, 0xc5, 0xf8, 0x90, 0xc9},	   /* kmovw */
		{7, 0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc1}, /* vaddps zmm */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(decode(rows[i] + 1, rows[i][0], ~0ull),
				 BT_ROW_UD);
}

/* Those that are to do no harm on a CPU without them do none. */
static void test_hints(void **unused)
{
	static const u8 nop[] = {0x0f, 0x1f, 0x03};
	static const u8 rows[][6] = {
		{4, 0xf3, 0x0f, 0x1e, 0xfa}, /* endbr64 */
		{4, 0xf3, 0x0f, 0x1e, 0xcb}, /* rdssp */
		{3, 0x0f, 0x1c, 0x03},	     /* cldemote */
		{4, 0xf3, 0x0f, 0x1b, 0x03}, /* bndmk */
	};
	unsigned row = decode(nop, sizeof(nop), 0);

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(
			bt_rows[decode(rows[i] + 1, rows[i][0], 0)].name,
			bt_rows[row].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts_become_scans),
		cmocka_unit_test(test_others_fault),
		cmocka_unit_test(test_hosts_only),
		cmocka_unit_test(test_hints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
