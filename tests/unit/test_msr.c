/* SPDX-License-Identifier: Apache-2.0 */
/* The list of MSRs, arch/msr.h. */
#include "unit.h"

#include "arch/msr.h"
#include "arch/x86.h"

static struct cpu_policy policy_of(u64 features, u32 vendor)
{
	struct cpu_policy policy = {.features = features, .count = 1};

	policy.leaves[0].ebx = vendor;
	return policy;
}

enum { AUTH = 0x68747541, HYGO = 0x6f677948, GENU = 0x756e6547 };

/* What a filter by ranges does not cover would be denied in spite of it. */
static void test_ranges(void **state)
{
	for (unsigned i = 0; i < cpu_msr_row_count; i++) {
		const struct cpu_msr_row *row = &cpu_msr_rows[i];
		unsigned covered = 0;

		assert_true(row->count);
		for (unsigned n = 0; n < CPU_MSR_RANGES; n++) {
			const struct cpu_msr_range *range = &cpu_msr_ranges[n];

			if (row->first >= range->first &&
			    row->first + row->count <=
				    range->first + range->count)
				covered++;
		}
		assert_int_equal(covered, 1);
	}
}

/* An MSR in two rows would have two answers. */
static void test_once(void **state)
{
	for (unsigned i = 0; i < cpu_msr_row_count; i++)
		for (unsigned j = 0; j < i; j++) {
			const struct cpu_msr_row *a = &cpu_msr_rows[i];
			const struct cpu_msr_row *b = &cpu_msr_rows[j];

			assert_true(a->first >= b->first + b->count ||
				    b->first >= a->first + a->count);
		}
}

static void test_features(void **state)
{
	struct cpu_policy none = policy_of(0, AUTH);
	struct cpu_policy some = policy_of(BIT(FEAT_TSC_DEADLINE), AUTH);

	assert_true(cpu_has_msr(&none, MSR_EFER));
	assert_true(cpu_has_msr(&none, MSR_SFMASK));
	assert_false(cpu_has_msr(&none, MSR_SFMASK + 1));
	assert_true(cpu_has_msr(&none, MSR_X2APIC_LAST));
	assert_false(cpu_has_msr(&none, MSR_X2APIC_LAST + 1));
	assert_false(cpu_has_msr(&none, MSR_TSC_DEADLINE));
	assert_true(cpu_has_msr(&some, MSR_TSC_DEADLINE));
	assert_false(cpu_has_msr(&some, MSR_SPEC_CTRL));
	assert_false(cpu_has_msr(&some, MSR_KVM_ASYNC_PF));
	assert_false(cpu_has_msr(&some, 0xffffffff));
	assert_false(cpu_has_msr(&some, 0));
}

static void test_vendors(void **state)
{
	struct cpu_policy amd = policy_of(0, AUTH);
	struct cpu_policy hygon = policy_of(0, HYGO);
	struct cpu_policy intel = policy_of(0, GENU);

	assert_true(cpu_has_msr(&amd, MSR_K7_HWCR));
	assert_true(cpu_has_msr(&hygon, MSR_K7_HWCR));
	assert_false(cpu_has_msr(&intel, MSR_K7_HWCR));
	assert_true(cpu_has_msr(&intel, MSR_MISC_ENABLE));
	assert_false(cpu_has_msr(&amd, MSR_MISC_ENABLE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_vendors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
