/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest CPU contract: what CPUID says, and therefore which instructions,
 * MSRs and control bits exist. A model has a name and a version; snapshots
 * store both. Built once from the host's CPUID and the model, then const.
 *
 * Rules: vendor, family and model number are the host's. Allow-list: a bit or
 * leaf that is not named here reads zero. An instruction whose bit is clear is
 * #UD on bt. KVM paravirtual leaves are present on both engines.
 *
 * What a vendor's guests are told and the engine must therefore do: loading a
 * null selector clears the segment's base on either vendor, and LFENCE is
 * serializing.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"

/* Instruction sets, as the decoder asks for them (one bit each). */
enum cpu_feature {
	FEAT_BASE, /* always: x86-64 baseline incl. SSE2, FXSR, CX8, CMOV */
	FEAT_SSE3,
	FEAT_SSSE3,
	FEAT_SSE41,
	FEAT_SSE42,
	FEAT_POPCNT,
	FEAT_CX16,
	FEAT_LAHF64,
	FEAT_MOVBE,
	FEAT_BMI1,
	FEAT_BMI2,
	FEAT_LZCNT,
	FEAT_ADX,
	FEAT_XSAVE,
	FEAT_XSAVEOPT,
	FEAT_XSAVEC,
	FEAT_XGETBV1,
	FEAT_AVX,
	FEAT_AVX2,
	FEAT_F16C,
	FEAT_FMA,
	FEAT_AES,
	FEAT_PCLMUL,
	FEAT_SHA,
	FEAT_RDRAND,
	FEAT_RDSEED,
	FEAT_RDTSCP,
	FEAT_RDPID,
	FEAT_FSGSBASE,
	FEAT_SMEP,
	FEAT_SMAP,
	FEAT_UMIP,
	FEAT_PCID,
	FEAT_INVPCID,
	FEAT_ERMS,
	FEAT_FSRM,
	FEAT_NX,
	FEAT_PDPE1GB,
	FEAT_SYSCALL,
	FEAT_CLFLUSH,
	FEAT_CLFLUSHOPT,
	FEAT_CLWB,
	FEAT_PREFETCHW,
	FEAT_MWAIT,
	FEAT_VAES,
	FEAT_VPCLMUL,
	FEAT_GFNI,
	FEAT_SSE4A,
	FEAT_TSC_DEADLINE,
	FEAT_X2APIC,
	FEAT_TSC_ADJUST, /* MSR 0x3b */
	FEAT_SPEC_CTRL,	 /* MSRs 0x48 (bit 0 may be set) and 0x49: no effect */
	FEAT_ARCH_CAP,	 /* MSR 0x10a reads arch_capabilities */
	FEAT_AUTOIBRS,	 /* EFER.AIBRSE may be set: no effect */
	FEAT_BHI_CTRL,	 /* MSR 0x48, bit 10 may be set: no effect */
	FEAT_COUNT,
};

#define CPU_POLICY_LEAVES 64

struct cpuid_leaf {
	u32 leaf, subleaf;
	bool indexed; /* subleaf counts */
	u32 eax, ebx, ecx, edx;
};

struct cpu_policy {
	char model[16]; /* "v2", "v3", "host" */
	u32 version;
	bool mitigations; /* tell the guest it is vulnerable (honest host) */
	u64 features;	  /* BIT(enum cpu_feature) */
	u64 arch_capabilities; /* of MSR 0x10a, with FEAT_ARCH_CAP */
	u64 xcr0_mask;	       /* what XSETBV may set */
	u32 xsave_size;	       /* bytes for xcr0_mask, standard format */
	u32 max_vcpus;
	u64 tsc_khz;
	u8 maxphyaddr;
	unsigned count;
	struct cpuid_leaf leaves[CPU_POLICY_LEAVES];
};

_Static_assert(FEAT_COUNT <= 64, "features fit one word");

static inline bool cpu_has(const struct cpu_policy *policy, unsigned feature)
{
	return policy->features & BIT(feature);
}

/* AMD's, and what descends from it. */
static inline bool cpu_is_amd(const struct cpu_policy *policy)
{
	u32 name = policy->leaves[0].ebx; /* leaf 0 is the first */

	return name == 0x68747541 /* "Auth" */ ||
	       name == 0x6f677948 /* "Hygo" */;
}

/*
 * What an engine lets guests have that runs them on the CPU itself: its table
 * in place of the host's CPUID. Security bits are then the table's, all of
 * them, whatever `mitigations` says: the guest runs on the real thing.
 */
#define CPU_OFFER_LEAVES 256
struct cpu_offer {
	const char *name; /* of the engine, for messages */
	u64 extra;	  /* BIT(enum cpu_feature) beside the leaves' bits */
	u64 arch_capabilities;
	unsigned count;
	struct cpuid_leaf leaves[CPU_OFFER_LEAVES];
};

struct cpu_request {
	/* "v2", "v3", "host"; NULL: the better of v2 and v3. An engine's offer
	 * may lack a little of v2; the model is then "partial", what there is
	 * of it. */
	const char *model;
	const struct cpu_offer *offer; /* NULL: the software engine */
	bool mitigations;
	unsigned vcpus;
	u64 tsc_khz;
};

/*
 * Build the policy that is asked for. -EINVAL: no such model or number of
 * CPUs; -ENOTSUP: the host lacks something the model needs, named in err.
 */
int cpu_policy_init(struct cpu_policy *policy,
		    const struct cpu_request *request, struct err *err);

/* What of a policy's features an offer lacks. */
u64 cpu_policy_missing(const struct cpu_policy *policy,
		       const struct cpu_offer *offer);

/* "partial" aside, names of features, each with a blank before it. */
void cpu_feature_names(u64 features, char *names, size_t size);

/* As Linux's /proc/cpuinfo spells it. */
const char *cpu_feature_name(unsigned feature);

/*
 * CPUID as vCPU `apic_id` sees it, before the bits that depend on its control
 * registers (OSXSAVE, the XSAVE sizes), which the engine adds.
 */
struct cpuid_result {
	u32 eax, ebx, ecx, edx;
};
void cpu_policy_cpuid(const struct cpu_policy *policy, unsigned apic_id,
		      u32 leaf, u32 subleaf, struct cpuid_result *out);
