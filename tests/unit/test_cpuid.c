/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU policy against made-up hosts of both vendors: what is offered, what
 * is not, and that nothing outside the allow-list shines through.
 *
 * References: [1] Intel SDM vol. 2A, CPUID. [2] AMD APM vol. 3, appendix E.
 */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/cpuid_internal.h"
#include "arch/x86.h"

/* A host with every bit of every leaf set, but for its identity. */
static void full_host(u32 leaf, u32 subleaf, const char *vendor,
		      struct cpuid_result *out)
{
	memset(out, 0xff, sizeof(*out));
	if (leaf == 0) {
		out->eax = 0x20;
		memcpy(&out->ebx, vendor, 4);
		memcpy(&out->edx, vendor + 4, 4);
		memcpy(&out->ecx, vendor + 8, 4);
	} else if (leaf == 0x80000000) {
		out->eax = 0x80000028;
	} else if (leaf == 1 || leaf == 0x80000001) {
		out->eax = 0x00a10f11;
	} else if (leaf == 0x80000008) {
		out->eax = 0x3934;
	} else if (leaf >= 0x80000002 && leaf <= 0x80000004) {
		memset(out, 'x', sizeof(*out));
	}
}

static void full_intel(u32 leaf, u32 subleaf, struct cpuid_result *out)
{
	full_host(leaf, subleaf, "GenuineIntel", out);
}

static void full_amd(u32 leaf, u32 subleaf, struct cpuid_result *out)
{
	full_host(leaf, subleaf, "AuthenticAMD", out);
}

/* A Westmere: no AVX and later. */
static void old_intel(u32 leaf, u32 subleaf, struct cpuid_result *out)
{
	full_intel(leaf, subleaf, out);
	if (leaf == 0)
		out->eax = 0xb;
	if (leaf == 1)
		out->ecx &= 0x02ffefff & ~(1u << 22); /* up to AES; no MOVBE */
	if (leaf == 0x80000000)
		out->eax = 0x80000008;
	if (leaf == 0x80000001)
		out->ecx &= 1;
}

static void no_popcnt(u32 leaf, u32 subleaf, struct cpuid_result *out)
{
	old_intel(leaf, subleaf, out);
	if (leaf == 1)
		out->ecx &= ~(1u << 23);
}

static const struct cpu_host intel = {.cpuid = full_intel, .xcr0 = 7};
static const struct cpu_host amd = {.cpuid = full_amd, .xcr0 = 7};
static const struct cpu_host old = {.cpuid = old_intel, .xcr0 = 0};
static const struct cpu_host older = {.cpuid = no_popcnt, .xcr0 = 0};

static struct cpu_policy *build(const struct cpu_host *host, const char *model,
				bool mitigations, unsigned vcpus)
{
	const struct cpu_request request = {.model = model,
					    .mitigations = mitigations,
					    .vcpus = vcpus,
					    .tsc_khz = 2596120};
	static struct cpu_policy policy;
	struct err err = {0};

	if (cpu_policy_build(&policy, &request, host, &err))
		fail_msg("%s", err.msg);
	return &policy;
}

static struct cpuid_result ask(const struct cpu_policy *policy, u32 leaf,
			       u32 subleaf)
{
	struct cpuid_result result;

	cpu_policy_cpuid(policy, 0, leaf, subleaf, &result);
	return result;
}

static bool all_zero(struct cpuid_result r)
{
	return !(r.eax | r.ebx | r.ecx | r.edx);
}

/* [1], [2]: leaves that a guest may see non-zero, and nothing else. */
static bool may_be_set(u32 leaf, bool is_amd)
{
	static const u32 common[] = {
		0,	    1,		6,	    7,		0xb,
		0xd,	    0x15,	0x16,	    0x40000000, 0x40000001,
		0x40000010, 0x80000000, 0x80000001, 0x80000002, 0x80000003,
		0x80000004, 0x80000006, 0x80000007, 0x80000008};
	static const u32 intel_only[] = {2, 4};
	static const u32 amd_only[] = {0x80000005, 0x8000001d, 0x8000001e,
				       0x80000021};

	for (unsigned i = 0; i < ARRAY_SIZE(common); i++)
		if (leaf == common[i])
			return true;
	for (unsigned i = 0; i < ARRAY_SIZE(intel_only) && !is_amd; i++)
		if (leaf == intel_only[i])
			return true;
	for (unsigned i = 0; i < ARRAY_SIZE(amd_only) && is_amd; i++)
		if (leaf == amd_only[i])
			return true;
	return false;
}

static void check_allow_list(const struct cpu_host *host, bool is_amd)
{
	static const u32 starts[] = {0, 0x40000000, 0x80000000, 0xc0000000};
	struct cpu_policy *policy = build(host, "host", false, 3);

	for (unsigned i = 0; i < ARRAY_SIZE(starts); i++)
		for (u32 leaf = starts[i]; leaf < starts[i] + 0x100; leaf++)
			for (u32 sub = 0; sub < 8; sub++)
				if (!may_be_set(leaf, is_amd))
					assert_true(all_zero(
						ask(policy, leaf, sub)));
	assert_true(all_zero(ask(policy, 7, 1)));
	assert_true(all_zero(ask(policy, 0xd, 3)));
	assert_true(all_zero(ask(policy, 0xffffffff, 0)));
}

static void test_allow_list(void **unused)
{
	check_allow_list(&intel, false);
	check_allow_list(&amd, true);
}

/* A host of all ones: bits that we do not offer must be clear. */
static void test_reserved_bits(void **unused)
{
	struct cpu_policy *policy = build(&amd, "host", false, 3);
	struct cpuid_result r = ask(policy, 1, 0);

	assert_int_equal(r.ecx, 0xf7fa3203 & ~(1u << 27));
	assert_int_equal(r.edx, 0x178bfbfd);
	r = ask(policy, 7, 0);
	assert_int_equal(r.eax, 0);
	assert_int_equal(r.ebx, 0x219c07ab);
	assert_int_equal(r.ecx, 0x00400704);
	assert_int_equal(r.edx, 1 << 4);
	r = ask(policy, 0x80000001, 0);
	assert_int_equal(r.ecx, 0x0040016b);
	assert_int_equal(r.edx, 0x2dd3fbfd & ~(1u << 25));
	r = ask(policy, 0x80000008, 0);
	assert_int_equal(r.eax, 46 | 48 << 8);
	assert_int_equal(r.ebx, 1u << 26 | 1u << 29);
	assert_int_equal(r.ecx, 2 | 2 << 12);
	r = ask(policy, 0x80000021, 0);
	assert_int_equal(r.eax, 1u << 2 | 1u << 6 | 1u << 8 | 1u << 29);
	assert_int_equal(r.ecx, 1u << 1 | 1u << 2);
}

static void test_xsave_sizes(void **unused)
{
	struct cpu_policy *policy = build(&intel, "v3", false, 1);
	struct cpuid_result r = ask(policy, 0xd, 0);

	assert_int_equal(policy->xcr0_mask, 7);
	assert_int_equal(policy->xsave_size, 832);
	assert_int_equal(r.eax, 7);
	assert_int_equal(r.ecx, 832);
	r = ask(policy, 0xd, 2);
	assert_int_equal(r.eax + r.ebx, 832);
	assert_true(policy->xsave_size <= 4096);
	assert_int_equal(ask(policy, 0xd, 1).eax, 1); /* XSAVEOPT */

	policy = build(&intel, "host", false, 1);
	assert_int_equal(ask(policy, 0xd, 1).eax, 7);
	assert_int_equal(ask(policy, 0xd, 1).ebx, 832);

	policy = build(&intel, "v2", false, 1);
	assert_int_equal(policy->xcr0_mask, 0);
	assert_true(all_zero(ask(policy, 0xd, 0)));
	assert_false(cpu_has(policy, FEAT_AVX));
}

static void test_models(void **unused)
{
	assert_string_equal(build(&amd, NULL, false, 1)->model, "v3");
	assert_string_equal(build(&old, NULL, false, 1)->model, "v2");
	/* A model is the same wherever it runs. */
	assert_int_equal(cpu_model_features("v2"),
			 build(&old, "v2", true, 1)->features);
	assert_int_equal(cpu_model_features("v3"),
			 build(&amd, "v3", true, 1)->features);
	assert_true(cpu_has(build(&amd, "host", false, 1), FEAT_VAES));
	assert_false(cpu_has(build(&amd, "host", false, 1), FEAT_MWAIT));
}

static void refused(const struct cpu_host *host, const char *model,
		    unsigned vcpus, int code, const char *word)
{
	const struct cpu_request request = {
		.model = model, .vcpus = vcpus, .tsc_khz = 2000000};
	struct cpu_policy policy;
	struct err err = {0};

	assert_int_equal(cpu_policy_build(&policy, &request, host, &err), code);
	assert_int_equal(err.code, code);
	if (!strstr(err.msg, word))
		fail_msg("'%s' not in: %s", word, err.msg);
}

static void test_refusals(void **unused)
{
	refused(&intel, "v9", 1, -EINVAL, "v9");
	refused(&intel, "v3", 0, -EINVAL, "0 CPUs");
	refused(&intel, "v3", 255, -EINVAL, "255 CPUs");
	refused(&old, "v3", 1, -ENOTSUP, "avx2");
	refused(&old, "host", 1, -ENOTSUP, "rdrand");
	refused(&older, NULL, 1, -ENOTSUP, "popcnt");
	refused(&older, "v2", 1, -ENOTSUP, "popcnt");
}

/* AVX that the host's kernel has not switched on cannot be used. */
static void test_avx_needs_xcr0(void **unused)
{
	const struct cpu_host sse_only = {.cpuid = full_intel, .xcr0 = 3};
	const struct cpu_host no_xsave = {.cpuid = full_intel, .xcr0 = 0};

	refused(&sse_only, "v3", 1, -ENOTSUP, "avx");
	refused(&no_xsave, "v3", 1, -ENOTSUP, "xsave");
}

static void test_mitigations(void **unused)
{
	struct cpu_policy *policy = build(&intel, "v2", false, 1);

	assert_true(cpu_has(policy, FEAT_ARCH_CAP));
	assert_true(policy->arch_capabilities & ARCH_CAP_RDCL_NO);
	assert_true(ask(policy, 7, 0).edx & 1u << 29);
	assert_int_equal(ask(policy, 7, 0).eax, 2);
	assert_int_equal(ask(policy, 7, 1).edx, 0);
	assert_int_equal(ask(policy, 7, 2).edx, 1 << 4);
	policy = build(&intel, "v2", true, 1);
	assert_true(policy->mitigations);
	assert_int_equal(policy->arch_capabilities, 0);
	assert_int_equal(ask(policy, 7, 0).edx, 1 << 4);
	assert_int_equal(ask(policy, 7, 0).eax, 0);
	assert_int_equal(ask(policy, 7, 2).edx, 0);
	/* AMD: with mitigations, only what the host says of itself. */
	policy = build(&amd, "v2", true, 1);
	assert_false(cpu_has(policy, FEAT_AUTOIBRS));
	assert_int_equal(ask(policy, 0x80000021, 0).eax & 1u << 8, 0);
	assert_true(ask(policy, 0x80000021, 0).eax & 1u << 29);
}

static void check_topology(const struct cpu_host *host, unsigned count,
			   unsigned bits)
{
	struct cpu_policy *policy = build(host, "v2", false, count);
	struct cpuid_result r;

	for (unsigned id = 0; id < count; id++) {
		cpu_policy_cpuid(policy, id, 1, 0, &r);
		assert_int_equal(r.ebx, id << 24 | count << 16 | 8 << 8);
		assert_int_equal(r.edx >> 28 & 1, count > 1);
		cpu_policy_cpuid(policy, id, 0xb, 0, &r);
		assert_int_equal(r.eax, 0);
		assert_int_equal(r.ebx, 1);
		assert_int_equal(r.ecx, 0x100);
		assert_int_equal(r.edx, id);
		cpu_policy_cpuid(policy, id, 0xb, 1, &r);
		assert_int_equal(r.eax, bits);
		assert_int_equal(r.ebx, count);
		assert_int_equal(r.ecx, 0x201);
		cpu_policy_cpuid(policy, id, 0xb, 2, &r);
		assert_int_equal(r.ebx, 0);
		assert_int_equal(r.ecx, 2);
		assert_int_equal(r.edx, id);
	}
}

static void test_topology(void **unused)
{
	static const struct {
		unsigned count, bits;
	} rows[] = {{1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {64, 6}, {254, 8}};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		check_topology(&intel, rows[i].count, rows[i].bits);
		check_topology(&amd, rows[i].count, rows[i].bits);
	}
}

static u64 cache_size(struct cpuid_result r)
{
	return (u64)((r.ebx >> 22) + 1) * ((r.ebx >> 12 & 0x3ff) + 1) *
	       ((r.ebx & 0xfff) + 1) * ((u64)r.ecx + 1);
}

static void test_caches_agree(void **unused)
{
	struct cpu_policy *policy = build(&amd, "v3", false, 4);

	assert_int_equal(cache_size(ask(policy, 0x8000001d, 0)), KIB(32));
	assert_int_equal(ask(policy, 0x80000005, 0).ecx >> 24, 32);
	assert_int_equal(cache_size(ask(policy, 0x8000001d, 2)), MIB(1));
	assert_int_equal(ask(policy, 0x80000006, 0).ecx >> 16, 1024);
	assert_int_equal(cache_size(ask(policy, 0x8000001d, 3)), MIB(16));
	assert_int_equal((ask(policy, 0x80000006, 0).edx >> 18) * 512, 16384);
	assert_int_equal(ask(policy, 0x8000001d, 3).eax >> 14 & 0xfff, 3);
	assert_true(all_zero(ask(policy, 0x8000001d, 4)));
	policy = build(&intel, "v3", false, 4);
	assert_int_equal(cache_size(ask(policy, 4, 3)), MIB(16));
	assert_int_equal(ask(policy, 4, 3).eax >> 26, 3);
	assert_true(all_zero(ask(policy, 4, 4)));
}

/* 0x15 must give the TSC frequency back, in the 32 bits that guests use. */
static void test_frequency(void **unused)
{
	for (u64 khz = 800000; khz < 6000000; khz += 12347) {
		const struct cpu_request request = {
			.model = "v2", .vcpus = 1, .tsc_khz = khz};
		struct cpu_policy policy;
		struct cpuid_result r;
		u64 crystal_khz, product, got;

		assert_int_equal(
			cpu_policy_build(&policy, &request, &intel, NULL), 0);
		r = ask(&policy, 0x15, 0);
		crystal_khz = r.ecx / 1000;
		product = crystal_khz * r.ebx;
		assert_true(product <= UINT32_MAX);
		got = product / r.eax;
		assert_true(got >= khz - 4 && got <= khz + 4);
		assert_int_equal(ask(&policy, 0x40000010, 0).eax, khz);
		assert_int_equal(ask(&policy, 0x40000010, 0).ebx, 1000000);
		assert_in_range(crystal_khz, 999800, 1000200);
	}
}

static void test_paravirt(void **unused)
{
	struct cpu_policy *policy = build(&amd, "v2", false, 1);
	struct cpuid_result r = ask(policy, 0x40000000, 0);

	assert_memory_equal(&r.ebx, "KVMKVMKVM\0\0\0", 12);
	assert_true(r.eax >= 0x40000010);
	assert_int_equal(ask(policy, 0x40000001, 0).eax, 0x0100004b);
}

/* The host under the test can carry at least one model. */
static void test_this_host(void **unused)
{
	const struct cpu_request request = {.vcpus = 2, .tsc_khz = 2000000};
	struct cpu_policy policy;
	struct err err = {0};

	if (cpu_policy_init(&policy, &request, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(ask(&policy, 0, 0).eax, 0x16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allow_list),
		cmocka_unit_test(test_reserved_bits),
		cmocka_unit_test(test_xsave_sizes),
		cmocka_unit_test(test_models),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_avx_needs_xcr0),
		cmocka_unit_test(test_mitigations),
		cmocka_unit_test(test_topology),
		cmocka_unit_test(test_caches_agree),
		cmocka_unit_test(test_frequency),
		cmocka_unit_test(test_paravirt),
		cmocka_unit_test(test_this_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
