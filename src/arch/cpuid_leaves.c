/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leaves of a CPU policy. Identity comes from the host, feature bits from
 * the policy, topology and caches are made up: one package, one thread a
 * core, private L1 and L2, one shared L3.
 *
 * References: [1] Intel SDM vol. 2A, CPUID. [2] AMD APM vol. 3 (24594),
 * appendix E. [3] Linux Documentation/virt/kvm/x86/cpuid.rst (0x40000000).
 *
 * Not offered: performance monitoring (0xa), thermal and power (6 but ARAT),
 * SGX, PT, RDT, nested virtualization, virtual-8086 extensions (VME).
 */
#include "arch/cpuid_internal.h"

#include <assert.h>
#include <string.h>

#include "arch/platform.h"

enum {
	MAX_BASIC = 0x16,
	LEAF1_EBX_CLFLUSH = 8 << 8, /* 64-byte lines */
	LEAF6_EAX_ARAT = 1 << 2,
	EXT7_EDX_INVARIANT_TSC = 1 << 8,
	LINEAR_BITS = 48,
	MAX_PHYS_BITS = 46,
};

/* [1] table 3-11, every 64-bit CPU: FPU DE PSE TSC MSR PAE MCE CX8 APIC SEP
 * MTRR PGE MCA CMOV PAT PSE36 MMX FXSR SSE SSE2. */
#define LEAF1_EDX_BASE 0x0783fbfdu
#define LEAF1_EDX_SS (1u << 27)	 /* Intel: self-snoop, no WBINVD for types */
#define LEAF1_EDX_HTT (1u << 28) /* more than one logical CPU */
#define LEAF1_ECX_HYPERVISOR (1u << 31)

#define EXT1_EDX_LM (1u << 29)
/* [2] E.4.2: AMD repeats bits of leaf 1, and adds MMX extensions. */
#define EXT1_EDX_AMD_SHARED 0x0183f3ffu
#define EXT1_EDX_MMXEXT (1u << 22)
#define EXT1_ECX_CMP_LEGACY (1u << 1)
#define EXT1_ECX_EXTAPIC (1u << 3)
#define EXT1_ECX_TOPOEXT (1u << 22)

/* [2] E.4.7 and E.4.17: "not affected by". */
#define EXT8_EBX_SSB_NO (1u << 26)
#define EXT8_EBX_BTC_NO (1u << 29)
#define EXT21_EAX_LFENCE_SERIALIZING (1u << 2)
#define EXT21_EAX_NULL_CLEARS_BASE (1u << 6)
#define EXT21_EAX_SRSO_NO (1u << 29)
#define EXT21_ECX_TSA_SQ_NO (1u << 1)
#define EXT21_ECX_TSA_L1_NO (1u << 2)

/* What a guest must know to defend itself, or need not to ([1] table 3-8, [2]
 * E.4.7, E.4.17); copied from an engine's offer. */
#define LEAF7_EDX_SECURITY 0xbc000400u
#define EXT8_EBX_SECURITY 0x750fd000u
#define EXT21_EAX_SECURITY 0x78000164u
#define EXT21_ECX_SECURITY 0x00000006u

/* [3], features */
#define KVM_BASE 0x40000000u
#define KVM_TIMING 0x40000010u
#define KVM_FEATURE_CLOCKSOURCE (1u << 0)
#define KVM_FEATURE_NOP_IO_DELAY (1u << 1)
#define KVM_FEATURE_CLOCKSOURCE2 (1u << 3)
#define KVM_FEATURE_PV_EOI (1u << 6)
#define KVM_FEATURE_CLOCKSOURCE_STABLE (1u << 24)

struct cache {
	u8 type; /* [1]: 1 data, 2 instruction, 3 unified */
	u8 level;
	u16 ways;
	u32 sets;
	bool shared;
};

#define CACHE_LINE 64

static const struct cache caches[] = {
	{1, 1, 8, 64, false},	 /* 32 KiB */
	{2, 1, 8, 64, false},	 /* 32 KiB */
	{3, 2, 16, 1024, false}, /* 1 MiB */
	{3, 3, 16, 16384, true}, /* 16 MiB */
};

static struct cpuid_leaf *leaf_add(struct cpu_policy *policy, u32 leaf)
{
	struct cpuid_leaf *entry = &policy->leaves[policy->count++];

	assert(policy->count <= CPU_POLICY_LEAVES);
	*entry = (struct cpuid_leaf){.leaf = leaf};
	return entry;
}

static struct cpuid_leaf *subleaf_add(struct cpu_policy *policy, u32 leaf,
				      u32 subleaf)
{
	struct cpuid_leaf *entry = leaf_add(policy, leaf);

	entry->subleaf = subleaf;
	entry->indexed = true;
	return entry;
}

/* Bits of an APIC ID that number the cores of the package. */
static unsigned core_bits(const struct cpu_policy *policy)
{
	unsigned bits = 0;

	while (1u << bits < policy->max_vcpus)
		bits++;
	return bits;
}

enum cpu_vendor cpu_host_vendor(const struct cpu_host *host)
{
	struct cpuid_result zero;
	char name[12];

	cpu_host_cpuid(host, 0, 0, &zero);
	memcpy(name, &zero.ebx, 4);
	memcpy(name + 4, &zero.edx, 4);
	memcpy(name + 8, &zero.ecx, 4);
	if (!memcmp(name, "AuthenticAMD", 12) ||
	    !memcmp(name, "HygonGenuine", 12))
		return CPU_AMD;
	return CPU_INTEL;
}

static void add_identity(struct cpu_policy *policy, const struct cpu_host *host)
{
	const unsigned count = policy->max_vcpus;
	struct cpuid_result zero, one;
	struct cpuid_leaf *entry;

	cpu_host_cpuid(host, 0, 0, &zero);
	cpu_host_cpuid(host, 1, 0, &one);
	entry = leaf_add(policy, 0);
	entry->eax = MAX_BASIC;
	entry->ebx = zero.ebx;
	entry->ecx = zero.ecx;
	entry->edx = zero.edx;

	entry = leaf_add(policy, 1);
	entry->eax = one.eax; /* family, model, stepping */
	entry->ebx = count << 16 | LEAF1_EBX_CLFLUSH;
	entry->ecx = LEAF1_ECX_HYPERVISOR;
	entry->edx = LEAF1_EDX_BASE;
	if (cpu_host_vendor(host) == CPU_INTEL)
		entry->edx |= LEAF1_EDX_SS;
	if (count > 1)
		entry->edx |= LEAF1_EDX_HTT;
}

/* [1] leaf 4 and [2] leaf 0x8000001d have one layout. */
static void add_caches(struct cpu_policy *policy, u32 leaf, bool intel)
{
	const u32 ids = (1u << core_bits(policy)) - 1;

	for (unsigned i = 0; i < ARRAY_SIZE(caches); i++) {
		const struct cache *cache = &caches[i];
		struct cpuid_leaf *entry = subleaf_add(policy, leaf, i);

		entry->eax = cache->type | cache->level << 5 | 1 << 8;
		if (cache->shared)
			entry->eax |= ids << 14;
		if (intel)
			entry->eax |= (ids & 0x3f) << 26;
		entry->ebx = (u32)(cache->ways - 1) << 22 | (CACHE_LINE - 1);
		entry->ecx = cache->sets - 1;
	}
}

/* [1] table 3-12: 4-way and 1 GiB TLBs, prefetch of 64 bytes, and 0xff: the
 * caches are in leaf 4. */
static void add_intel_tlbs(struct cpu_policy *policy)
{
	struct cpuid_leaf *entry = leaf_add(policy, 2);

	entry->eax = 0x76036301;
	entry->ebx = 0x00f0b5ff;
	entry->edx = 0x00c30000;
}

/* [1] leaf 0xb: the thread level, then the core level. The engine-visible
 * level number and APIC ID are added at look-up. */
static void add_topology(struct cpu_policy *policy)
{
	struct cpuid_leaf *entry = subleaf_add(policy, 0xb, 0);

	entry->ebx = 1;
	entry->ecx = 1 << 8;
	entry = subleaf_add(policy, 0xb, 1);
	entry->eax = core_bits(policy);
	entry->ebx = policy->max_vcpus;
	entry->ecx = 2 << 8;
}

/* [1] leaf 0xd; vol. 1, 13.4.3 for the place of the AVX state. */
static void add_xsave(struct cpu_policy *policy)
{
	struct cpuid_leaf *entry;

	if (!policy->xcr0_mask)
		return;
	entry = subleaf_add(policy, 0xd, 0);
	entry->eax = (u32)policy->xcr0_mask;
	entry->ebx = policy->xsave_size;
	entry->ecx = policy->xsave_size;
	entry = subleaf_add(policy, 0xd, 1);
	/* The same with AVX right behind the header, compacted or not. */
	if (cpu_has(policy, FEAT_XSAVEC))
		entry->ebx = policy->xsave_size;
	if (!cpu_has(policy, FEAT_AVX))
		return;
	entry = subleaf_add(policy, 0xd, 2);
	entry->eax = 256;
	entry->ebx = 512 + 64;
}

/*
 * Leaf 0x15: TSC = crystal * EBX / EAX, and the crystal also clocks the LAPIC
 * timer ([1] vol. 3A, 11.5.4). Guests are known to compute in kHz and 32 bits,
 * so the fraction's terms are bounded; what the best such fraction misses is
 * put on the crystal, since nobody keeps wall time by the LAPIC timer.
 */
static void add_frequency(struct cpu_policy *policy)
{
	const u64 nominal = PLAT_LAPIC_TIMER_KHZ;
	const u64 bound = UINT32_MAX / nominal - 4;
	const u64 khz = policy->tsc_khz;
	struct cpuid_leaf *entry = leaf_add(policy, 0x15);
	u64 best = UINT64_MAX;

	for (u64 den = 1; den <= bound; den++) {
		u64 num = (khz * den + nominal / 2) / nominal;
		u64 crystal, error;

		if (!num || num > bound)
			continue;
		crystal = (khz * den + num / 2) / num;
		error = crystal > nominal ? crystal - nominal
					  : nominal - crystal;
		if (error >= best)
			continue;
		best = error;
		entry->eax = (u32)den;
		entry->ebx = (u32)num;
		entry->ecx = (u32)crystal * 1000u;
	}

	entry = leaf_add(policy, 0x16);
	entry->eax = (u32)(policy->tsc_khz / 1000) & 0xffff;
	entry->ebx = entry->eax;
	entry->ecx = 100; /* bus reference, MHz */
}

/* [3]; the timing leaf is VMware's, which other monitors adopted. */
static void add_paravirt(struct cpu_policy *policy, const struct cpu_host *host)
{
	struct cpuid_leaf *entry = leaf_add(policy, KVM_BASE);
	struct cpuid_result offered;

	entry->eax = KVM_TIMING;
	memcpy(&entry->ebx, "KVMK", 4);
	memcpy(&entry->ecx, "VMKV", 4);
	memcpy(&entry->edx, "M\0\0\0", 4);

	entry = leaf_add(policy, KVM_BASE + 1);
	entry->eax = KVM_FEATURE_CLOCKSOURCE | KVM_FEATURE_NOP_IO_DELAY |
		     KVM_FEATURE_CLOCKSOURCE2 | KVM_FEATURE_PV_EOI |
		     KVM_FEATURE_CLOCKSOURCE_STABLE;
	if (host->offer) {
		cpu_host_cpuid(host, KVM_BASE + 1, 0, &offered);
		entry->eax &= offered.eax;
	}

	entry = leaf_add(policy, KVM_TIMING);
	entry->eax = (u32)policy->tsc_khz;
	entry->ebx = PLAT_LAPIC_TIMER_KHZ;
}

static void add_brand(struct cpu_policy *policy, const struct cpu_host *host)
{
	struct cpuid_result max, part;

	cpu_host_cpuid(host, 0x80000000u, 0, &max);
	for (u32 leaf = 0x80000002u; leaf <= 0x80000004u; leaf++) {
		struct cpuid_leaf *entry = leaf_add(policy, leaf);

		if (leaf > max.eax)
			continue;
		cpu_host_cpuid(host, leaf, 0, &part);
		entry->eax = part.eax;
		entry->ebx = part.ebx;
		entry->ecx = part.ecx;
		entry->edx = part.edx;
	}
}

static u8 host_phys_bits(const struct cpu_host *host)
{
	struct cpuid_result max, sizes;
	u8 bits = 36; /* [1]: where leaf 0x80000008 is missing */

	cpu_host_cpuid(host, 0x80000000u, 0, &max);
	if (max.eax >= 0x80000008u) {
		cpu_host_cpuid(host, 0x80000008u, 0, &sizes);
		bits = sizes.eax & 0xff;
	}
	return (u8)min_u64(bits, MAX_PHYS_BITS);
}

static void add_extended(struct cpu_policy *policy, const struct cpu_host *host,
			 bool amd)
{
	struct cpuid_leaf *entry = leaf_add(policy, 0x80000000u);
	struct cpuid_result one;

	entry->eax = amd ? 0x80000021u : 0x80000008u;
	if (amd) {
		entry->ebx = policy->leaves[0].ebx;
		entry->ecx = policy->leaves[0].ecx;
		entry->edx = policy->leaves[0].edx;
	}
	entry = leaf_add(policy, 0x80000001u);
	entry->edx = EXT1_EDX_LM;
	if (amd) {
		cpu_host_cpuid(host, 0x80000001u, 0, &one);
		entry->eax = one.eax;
		entry->ecx = EXT1_ECX_EXTAPIC | EXT1_ECX_TOPOEXT;
		if (policy->max_vcpus > 1)
			entry->ecx |= EXT1_ECX_CMP_LEGACY;
		entry->edx |= EXT1_EDX_MMXEXT |
			      (LEAF1_EDX_BASE & EXT1_EDX_AMD_SHARED);
	}
	add_brand(policy, host);
	entry = leaf_add(policy, 0x80000007u);
	entry->edx = EXT7_EDX_INVARIANT_TSC;

	policy->maxphyaddr = host_phys_bits(host);
	entry = leaf_add(policy, 0x80000008u);
	entry->eax = policy->maxphyaddr | LINEAR_BITS << 8;
	if (amd)
		entry->ecx = (policy->max_vcpus - 1) | core_bits(policy) << 12;
}

/* [2] E.4.4, E.4.5: sizes in KiB or 512 KiB, associativity 6: 8-way, 8: 16. */
static void add_legacy_caches(struct cpu_policy *policy, bool amd)
{
	struct cpuid_leaf *entry;

	if (amd) {
		entry = leaf_add(policy, 0x80000005u);
		entry->eax = 0xff40ff40; /* 64 entries each, any way */
		entry->ebx = 0xff40ff40;
		entry->ecx = 32u << 24 | 8 << 16 | 1 << 8 | CACHE_LINE;
		entry->edx = entry->ecx;
	}
	entry = leaf_add(policy, 0x80000006u);
	entry->ecx = 1024u << 16 | 8 << 12 | CACHE_LINE;
	if (amd) {
		entry->eax = 6u << 28 | 2048u << 16 | 6 << 12 | 1024;
		entry->ebx = entry->eax;
		entry->ecx |= 1 << 8;
		entry->edx = 32u << 18 | 8 << 12 | 1 << 8 | CACHE_LINE;
	}
}

/*
 * What AMD's CPUs say of themselves on speculation. With mitigations only what
 * the host says too. The two rules of 0x80000021 EAX are the engine's own.
 */
static void add_amd_security(struct cpu_policy *policy,
			     const struct cpu_host *host)
{
	u32 ext8 = EXT8_EBX_SSB_NO | EXT8_EBX_BTC_NO;
	u32 srso = EXT21_EAX_SRSO_NO;
	u32 tsa = EXT21_ECX_TSA_SQ_NO | EXT21_ECX_TSA_L1_NO;
	struct cpuid_result max, result = {0};
	struct cpuid_leaf *entry;

	if (policy->mitigations) {
		cpu_host_cpuid(host, 0x80000000u, 0, &max);
		cpu_host_cpuid(host, 0x80000008u, 0, &result);
		ext8 &= max.eax >= 0x80000008u ? result.ebx : 0;
		cpu_host_cpuid(host, 0x80000021u, 0, &result);
		srso &= max.eax >= 0x80000021u ? result.eax : 0;
		tsa &= max.eax >= 0x80000021u ? result.ecx : 0;
	}
	for (unsigned i = 0; i < policy->count; i++)
		if (policy->leaves[i].leaf == 0x80000008u)
			policy->leaves[i].ebx |= ext8;
	entry = leaf_add(policy, 0x80000021u);
	entry->eax = srso | EXT21_EAX_LFENCE_SERIALIZING |
		     EXT21_EAX_NULL_CLEARS_BASE;
	entry->ecx = tsa;
}

static void set_feature_bit(struct cpu_policy *policy,
			    const struct cpu_feature_bit *bit)
{
	for (unsigned i = 0; i < policy->count; i++) {
		struct cpuid_leaf *entry = &policy->leaves[i];
		u32 *const regs[4] = {&entry->eax, &entry->ebx, &entry->ecx,
				      &entry->edx};

		if (entry->leaf == bit->leaf && entry->subleaf == bit->subleaf)
			*regs[bit->reg] |= 1u << bit->bit;
	}
}

static void add_offered_security(struct cpu_policy *policy,
				 const struct cpu_host *host)
{
	for (unsigned i = 0; i < policy->count; i++) {
		struct cpuid_leaf *entry = &policy->leaves[i];
		struct cpuid_result offered;

		cpu_host_cpuid(host, entry->leaf, entry->subleaf, &offered);
		switch (entry->leaf) {
		case 7:
			entry->edx |= offered.edx & LEAF7_EDX_SECURITY;
			break;
		case 0x80000008u:
			entry->ebx |= offered.ebx & EXT8_EBX_SECURITY;
			break;
		case 0x80000021u:
			entry->eax = offered.eax & EXT21_EAX_SECURITY;
			entry->ecx = offered.ecx & EXT21_ECX_SECURITY;
			break;
		}
	}
}

/* [1] leaf 7; the bits are set later. */
static void add_structured(struct cpu_policy *policy)
{
	struct cpuid_leaf *entry = subleaf_add(policy, 7, 0);

	if (!cpu_has(policy, FEAT_BHI_CTRL))
		return;
	entry->eax = 2; /* the highest subleaf */
	subleaf_add(policy, 7, 2);
}

void cpu_policy_leaves(struct cpu_policy *policy, const struct cpu_host *host)
{
	const bool amd = cpu_host_vendor(host) == CPU_AMD;

	add_identity(policy, host);
	if (!amd) {
		add_intel_tlbs(policy);
		add_caches(policy, 4, true);
	}
	leaf_add(policy, 6)->eax = LEAF6_EAX_ARAT;
	add_structured(policy);
	add_topology(policy);
	add_xsave(policy);
	add_frequency(policy);
	add_paravirt(policy, host);
	add_extended(policy, host, amd);
	add_legacy_caches(policy, amd);
	if (amd) {
		add_caches(policy, 0x8000001du, false);
		leaf_add(policy, 0x8000001eu);
		add_amd_security(policy, host);
	}
	if (host->offer)
		add_offered_security(policy, host);
	for (unsigned i = 0; i < FEAT_COUNT; i++)
		if (cpu_has(policy, i) && cpu_feature_bits[i].leaf)
			set_feature_bit(policy, &cpu_feature_bits[i]);
}
