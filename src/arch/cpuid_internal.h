/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the files that make a CPU policy: where each feature sits in CPUID,
 * what the host says, and the request that cpu_policy_init() turns into
 * leaves. Tests put a host of their own in struct cpu_host.
 */
#pragma once

#include "arch/cpuid.h"

enum cpuid_reg { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

/* The bit that announces a feature. leaf 0: none does (FEAT_BASE). */
struct cpu_feature_bit {
	const char *name; /* as Linux's /proc/cpuinfo spells it */
	u32 leaf;
	u8 subleaf;
	u8 reg; /* enum cpuid_reg */
	u8 bit;
};
extern const struct cpu_feature_bit cpu_feature_bits[FEAT_COUNT];

struct cpu_host {
	void (*cpuid)(u32 leaf, u32 subleaf, struct cpuid_result *out);
	const struct cpu_offer *offer; /* not NULL: in place of cpuid() */
	u64 xcr0; /* 0 where the host kernel uses no XSAVE */
};

void cpu_host_cpuid(const struct cpu_host *host, u32 leaf, u32 subleaf,
		    struct cpuid_result *out);

/* This process's CPU. */
void cpu_host_native(struct cpu_host *host);
/* What an engine makes of it for its guests. */
void cpu_host_offered(struct cpu_host *host, const struct cpu_offer *offer);
/* What programs may execute on it: BIT(enum cpu_feature). */
u64 cpu_host_features(const struct cpu_host *host);

/* The fixed sets; what of a set runs on the host's own unit must be there. */
u64 cpu_model_features(const char *model); /* 0: no such model */
extern const u64 cpu_engine_features;	   /* done in software, any host */
extern const u64 cpu_optional_features;	   /* "host" adds these if present */

enum cpu_vendor { CPU_INTEL, CPU_AMD };

/* The policy's features, model and flags are set; fill in its leaves. */
void cpu_policy_leaves(struct cpu_policy *policy, const struct cpu_host *host);
enum cpu_vendor cpu_host_vendor(const struct cpu_host *host);

int cpu_policy_build(struct cpu_policy *policy,
		     const struct cpu_request *request,
		     const struct cpu_host *host, struct err *err);

static inline u32 cpuid_get_reg(const struct cpuid_result *result, u8 reg)
{
	const u32 regs[4] = {result->eax, result->ebx, result->ecx,
			     result->edx};

	return regs[reg & 3];
}
