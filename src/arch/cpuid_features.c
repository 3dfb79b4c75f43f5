/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which CPUID bit announces which feature, what the host has of them, and the
 * fixed sets that the models consist of.
 *
 * References: [1] Intel SDM vol. 2A, CPUID. [2] AMD APM vol. 3 (24594),
 * appendix E. [3] x86-64 psABI, section 3.1.1 (micro-architecture levels).
 */
#include "arch/cpuid_internal.h"

#include <cpuid.h>
#include <string.h>

#include "arch/x86.h"

#define EXT1 0x80000001u

const struct cpu_feature_bit cpu_feature_bits[FEAT_COUNT] = {
	[FEAT_BASE] = {"x86-64", 0, 0, 0, 0},
	[FEAT_SSE3] = {"pni", 1, 0, CPUID_ECX, 0},
	[FEAT_PCLMUL] = {"pclmulqdq", 1, 0, CPUID_ECX, 1},
	[FEAT_MWAIT] = {"monitor", 1, 0, CPUID_ECX, 3},
	[FEAT_SSSE3] = {"ssse3", 1, 0, CPUID_ECX, 9},
	[FEAT_FMA] = {"fma", 1, 0, CPUID_ECX, 12},
	[FEAT_CX16] = {"cx16", 1, 0, CPUID_ECX, 13},
	[FEAT_PCID] = {"pcid", 1, 0, CPUID_ECX, 17},
	[FEAT_SSE41] = {"sse4_1", 1, 0, CPUID_ECX, 19},
	[FEAT_SSE42] = {"sse4_2", 1, 0, CPUID_ECX, 20},
	[FEAT_X2APIC] = {"x2apic", 1, 0, CPUID_ECX, 21},
	[FEAT_MOVBE] = {"movbe", 1, 0, CPUID_ECX, 22},
	[FEAT_POPCNT] = {"popcnt", 1, 0, CPUID_ECX, 23},
	[FEAT_TSC_DEADLINE] = {"tsc_deadline_timer", 1, 0, CPUID_ECX, 24},
	[FEAT_AES] = {"aes", 1, 0, CPUID_ECX, 25},
	[FEAT_XSAVE] = {"xsave", 1, 0, CPUID_ECX, 26},
	[FEAT_AVX] = {"avx", 1, 0, CPUID_ECX, 28},
	[FEAT_F16C] = {"f16c", 1, 0, CPUID_ECX, 29},
	[FEAT_RDRAND] = {"rdrand", 1, 0, CPUID_ECX, 30},
	[FEAT_CLFLUSH] = {"clflush", 1, 0, CPUID_EDX, 19},
	[FEAT_FSGSBASE] = {"fsgsbase", 7, 0, CPUID_EBX, 0},
	[FEAT_TSC_ADJUST] = {"tsc_adjust", 7, 0, CPUID_EBX, 1},
	[FEAT_BMI1] = {"bmi1", 7, 0, CPUID_EBX, 3},
	[FEAT_AVX2] = {"avx2", 7, 0, CPUID_EBX, 5},
	[FEAT_SMEP] = {"smep", 7, 0, CPUID_EBX, 7},
	[FEAT_BMI2] = {"bmi2", 7, 0, CPUID_EBX, 8},
	[FEAT_ERMS] = {"erms", 7, 0, CPUID_EBX, 9},
	[FEAT_INVPCID] = {"invpcid", 7, 0, CPUID_EBX, 10},
	[FEAT_RDSEED] = {"rdseed", 7, 0, CPUID_EBX, 18},
	[FEAT_ADX] = {"adx", 7, 0, CPUID_EBX, 19},
	[FEAT_SMAP] = {"smap", 7, 0, CPUID_EBX, 20},
	[FEAT_CLFLUSHOPT] = {"clflushopt", 7, 0, CPUID_EBX, 23},
	[FEAT_CLWB] = {"clwb", 7, 0, CPUID_EBX, 24},
	[FEAT_SHA] = {"sha_ni", 7, 0, CPUID_EBX, 29},
	[FEAT_UMIP] = {"umip", 7, 0, CPUID_ECX, 2},
	[FEAT_GFNI] = {"gfni", 7, 0, CPUID_ECX, 8},
	[FEAT_VAES] = {"vaes", 7, 0, CPUID_ECX, 9},
	[FEAT_VPCLMUL] = {"vpclmulqdq", 7, 0, CPUID_ECX, 10},
	[FEAT_RDPID] = {"rdpid", 7, 0, CPUID_ECX, 22},
	[FEAT_FSRM] = {"fsrm", 7, 0, CPUID_EDX, 4},
	[FEAT_SPEC_CTRL] = {"ibrs", 7, 0, CPUID_EDX, 26},
	[FEAT_ARCH_CAP] = {"arch_capabilities", 7, 0, CPUID_EDX, 29},
	[FEAT_XSAVEOPT] = {"xsaveopt", 0xd, 1, CPUID_EAX, 0},
	[FEAT_XSAVEC] = {"xsavec", 0xd, 1, CPUID_EAX, 1},
	[FEAT_XGETBV1] = {"xgetbv1", 0xd, 1, CPUID_EAX, 2},
	[FEAT_LAHF64] = {"lahf_lm", EXT1, 0, CPUID_ECX, 0},
	[FEAT_LZCNT] = {"abm", EXT1, 0, CPUID_ECX, 5},
	[FEAT_SSE4A] = {"sse4a", EXT1, 0, CPUID_ECX, 6},
	[FEAT_PREFETCHW] = {"3dnowprefetch", EXT1, 0, CPUID_ECX, 8},
	[FEAT_SYSCALL] = {"syscall", EXT1, 0, CPUID_EDX, 11},
	[FEAT_NX] = {"nx", EXT1, 0, CPUID_EDX, 20},
	[FEAT_PDPE1GB] = {"pdpe1gb", EXT1, 0, CPUID_EDX, 26},
	[FEAT_RDTSCP] = {"rdtscp", EXT1, 0, CPUID_EDX, 27},
	[FEAT_AUTOIBRS] = {"autoibrs", 0x80000021u, 0, CPUID_EAX, 8},
	[FEAT_BHI_CTRL] = {"bhi_ctrl", 7, 2, CPUID_EDX, 4},
};

const char *cpu_feature_name(unsigned feature)
{
	return cpu_feature_bits[feature].name;
}

/* What an engine does by itself, whatever the host's CPU offers. */
const u64 cpu_engine_features =
	BIT(FEAT_BASE) | BIT(FEAT_PCID) | BIT(FEAT_INVPCID) | BIT(FEAT_X2APIC) |
	BIT(FEAT_TSC_DEADLINE) | BIT(FEAT_TSC_ADJUST) | BIT(FEAT_CLFLUSH) |
	BIT(FEAT_CLFLUSHOPT) | BIT(FEAT_PREFETCHW) | BIT(FEAT_FSGSBASE) |
	BIT(FEAT_SMEP) | BIT(FEAT_SMAP) | BIT(FEAT_UMIP) | BIT(FEAT_ERMS) |
	BIT(FEAT_FSRM) | BIT(FEAT_SYSCALL) | BIT(FEAT_NX) | BIT(FEAT_PDPE1GB) |
	BIT(FEAT_RDTSCP) | BIT(FEAT_RDPID) | BIT(FEAT_SPEC_CTRL) |
	BIT(FEAT_ARCH_CAP) | BIT(FEAT_AUTOIBRS) | BIT(FEAT_BHI_CTRL);

const u64 cpu_optional_features =
	BIT(FEAT_ADX) | BIT(FEAT_SHA) | BIT(FEAT_RDSEED) | BIT(FEAT_VAES) |
	BIT(FEAT_VPCLMUL) | BIT(FEAT_GFNI) | BIT(FEAT_CLWB) | BIT(FEAT_SSE4A) |
	BIT(FEAT_XSAVEC) | BIT(FEAT_XGETBV1);

/* [3] level 2, what its machines (2010 on) share beyond it, and what engines
 * do in software. Fixed for good: a change is a new version of the model. */
#define MODEL_V2                                                               \
	(BIT(FEAT_BASE) | BIT(FEAT_SSE3) | BIT(FEAT_SSSE3) | BIT(FEAT_SSE41) | \
	 BIT(FEAT_SSE42) | BIT(FEAT_POPCNT) | BIT(FEAT_CX16) |                 \
	 BIT(FEAT_LAHF64) | BIT(FEAT_AES) | BIT(FEAT_PCLMUL) |                 \
	 BIT(FEAT_PCID) | BIT(FEAT_INVPCID) | BIT(FEAT_X2APIC) |               \
	 BIT(FEAT_TSC_DEADLINE) | BIT(FEAT_TSC_ADJUST) | BIT(FEAT_CLFLUSH) |   \
	 BIT(FEAT_CLFLUSHOPT) | BIT(FEAT_PREFETCHW) | BIT(FEAT_FSGSBASE) |     \
	 BIT(FEAT_SMEP) | BIT(FEAT_SMAP) | BIT(FEAT_UMIP) | BIT(FEAT_ERMS) |   \
	 BIT(FEAT_FSRM) | BIT(FEAT_SYSCALL) | BIT(FEAT_NX) |                   \
	 BIT(FEAT_PDPE1GB) | BIT(FEAT_RDTSCP))

/* [3] level 3. */
#define MODEL_V3                                                             \
	(MODEL_V2 | BIT(FEAT_AVX) | BIT(FEAT_AVX2) | BIT(FEAT_BMI1) |        \
	 BIT(FEAT_BMI2) | BIT(FEAT_F16C) | BIT(FEAT_FMA) | BIT(FEAT_LZCNT) | \
	 BIT(FEAT_MOVBE) | BIT(FEAT_XSAVE) | BIT(FEAT_XSAVEOPT) |            \
	 BIT(FEAT_RDRAND) | BIT(FEAT_RDPID))

u64 cpu_model_features(const char *model)
{
	if (!strcmp(model, "v2"))
		return MODEL_V2;
	if (!strcmp(model, "v3") || !strcmp(model, "host"))
		return MODEL_V3;
	return 0;
}

static void native_cpuid(u32 leaf, u32 subleaf, struct cpuid_result *out)
{
	__cpuid_count(leaf, subleaf, out->eax, out->ebx, out->ecx, out->edx);
}

void cpu_host_native(struct cpu_host *host)
{
	const u32 osxsave = 1u << 27;
	struct cpuid_result one;
	u32 lo, hi;

	*host = (struct cpu_host){.cpuid = native_cpuid};
	native_cpuid(1, 0, &one);
	if (!(one.ecx & osxsave))
		return;
	__asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	host->xcr0 = (u64)hi << 32 | lo;
}

static const struct cpuid_leaf *offer_find(const struct cpu_offer *offer,
					   u32 leaf, u32 subleaf)
{
	for (unsigned i = 0; i < offer->count; i++) {
		const struct cpuid_leaf *entry = &offer->leaves[i];

		if (entry->leaf == leaf &&
		    (!entry->indexed || entry->subleaf == subleaf))
			return entry;
	}
	return NULL;
}

void cpu_host_cpuid(const struct cpu_host *host, u32 leaf, u32 subleaf,
		    struct cpuid_result *out)
{
	const struct cpuid_leaf *entry;

	if (!host->offer) {
		host->cpuid(leaf, subleaf, out);
		return;
	}
	memset(out, 0, sizeof(*out));
	entry = offer_find(host->offer, leaf, subleaf);
	if (entry)
		*out = (struct cpuid_result){entry->eax, entry->ebx, entry->ecx,
					     entry->edx};
}

void cpu_host_offered(struct cpu_host *host, const struct cpu_offer *offer)
{
	const struct cpuid_leaf *state = offer_find(offer, 0xd, 0);

	*host = (struct cpu_host){.offer = offer};
	if (state)
		host->xcr0 = (u64)state->edx << 32 | state->eax;
}

/* As cpu_host_cpuid(); zero where the host has no such leaf. */
static void read_leaf(const struct cpu_host *host, u32 leaf, u32 subleaf,
		      struct cpuid_result *out)
{
	cpu_host_cpuid(host, leaf & 0x80000000u, 0, out);
	if (leaf <= out->eax)
		cpu_host_cpuid(host, leaf, subleaf, out);
	else
		memset(out, 0, sizeof(*out));
}

u64 cpu_host_features(const struct cpu_host *host)
{
	const u64 ymm = BIT(FEAT_AVX) | BIT(FEAT_AVX2) | BIT(FEAT_F16C) |
			BIT(FEAT_FMA) | BIT(FEAT_VAES) | BIT(FEAT_VPCLMUL);
	const u64 xsave = BIT(FEAT_XSAVE) | BIT(FEAT_XSAVEOPT) |
			  BIT(FEAT_XSAVEC) | BIT(FEAT_XGETBV1);
	const u64 ymm_state = XCR0_SSE | XCR0_AVX;
	const struct cpu_feature_bit *last = NULL;
	struct cpuid_result result = {0};
	u64 features = BIT(FEAT_BASE);

	for (unsigned i = 0; i < FEAT_COUNT; i++) {
		const struct cpu_feature_bit *bit = &cpu_feature_bits[i];

		if (!bit->leaf)
			continue;
		/* In a VM each CPUID is an exit: one a leaf is enough, and
		 * the table goes leaf by leaf. */
		if (!last || last->leaf != bit->leaf ||
		    last->subleaf != bit->subleaf)
			read_leaf(host, bit->leaf, bit->subleaf, &result);
		last = bit;
		if (cpuid_get_reg(&result, bit->reg) >> bit->bit & 1)
			features |= BIT(i);
	}
	/* Only what the host's kernel has switched on can be executed. */
	if (!host->xcr0)
		features &= ~xsave;
	if ((host->xcr0 & ymm_state) != ymm_state)
		features &= ~ymm;
	if (host->offer)
		features |= host->offer->extra;
	return features;
}
