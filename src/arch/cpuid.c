/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU policy: choose a model, check that the host can carry it, and look
 * leaves up for guests.
 *
 * References: [1] Intel SDM vol. 2A, CPUID.
 */
#include "arch/cpuid_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86.h"

#define POLICY_VERSION 1
#define POLICY_MAX_VCPUS 254 /* 8-bit APIC IDs, 0xff is broadcast */

/* How a guest is told of speculation: no ability. */
static const u64 told_features = BIT(FEAT_ARCH_CAP) | BIT(FEAT_SPEC_CTRL) |
				 BIT(FEAT_AUTOIBRS) | BIT(FEAT_BHI_CTRL);

/* As many as fit the sentence. */
void cpu_feature_names(u64 features, char *names, size_t size)
{
	size_t len = 0;

	names[0] = 0;
	for (unsigned i = 0; i < FEAT_COUNT && len + 32 < size; i++)
		if (features & BIT(i))
			len += (size_t)snprintf(names + len, size - len, " %s",
						cpu_feature_bits[i].name);
}

static int refuse_model(const char *model, const struct cpu_offer *offer,
			u64 missing, struct err *err)
{
	char names[200];

	cpu_feature_names(missing, names, sizeof(names));
	return err_set(err, -ENOTSUP,
		       "CPU model '%s' needs what this host's %s lacks:%s",
		       model, offer ? offer->name : "CPU", names);
}

/*
 * Tell a guest that it needs no mitigation, in its vendor's terms. On bt this
 * is a choice, not a measurement: user/kernel speculation inside the guest is
 * not defended against unless the user asks for it.
 */
static void tell_not_affected(struct cpu_policy *policy, enum cpu_vendor vendor)
{
	if (vendor == CPU_AMD) {
		/* Its *_NO bits are plain leaves, see cpuid_leaves.c. */
		policy->features |= BIT(FEAT_AUTOIBRS);
		return;
	}
	/* Linux (6.15, and stable ones of that time) no longer believes BHI_NO
	 * and runs a loop on each entry, unless this bit will do. */
	policy->features |=
		BIT(FEAT_ARCH_CAP) | BIT(FEAT_SPEC_CTRL) | BIT(FEAT_BHI_CTRL);
	policy->arch_capabilities =
		ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL |
		ARCH_CAP_SKIP_L1DFL_VMENTRY | ARCH_CAP_SSB_NO |
		ARCH_CAP_MDS_NO | ARCH_CAP_IF_PSCHANGE_MC_NO | ARCH_CAP_TAA_NO |
		ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO | ARCH_CAP_PSDP_NO |
		ARCH_CAP_BHI_NO | ARCH_CAP_PBRSB_NO | ARCH_CAP_GDS_NO |
		ARCH_CAP_RFDS_NO | ARCH_CAP_ITS_NO;
}

static void set_xsave(struct cpu_policy *policy)
{
	if (!cpu_has(policy, FEAT_XSAVE))
		return;
	policy->xcr0_mask = XCR0_X87 | XCR0_SSE;
	policy->xsave_size = 512 + 64; /* [1] vol. 1, 13.4: legacy, header */
	if (!cpu_has(policy, FEAT_AVX))
		return;
	policy->xcr0_mask |= XCR0_AVX;
	policy->xsave_size += 256;
}

/* What runs guests has these features: its own, or the host's and its own. */
static u64 host_offers(const struct cpu_host *host)
{
	u64 has = cpu_host_features(host);

	return host->offer ? has : has | cpu_engine_features;
}

/* The model's name and features, the first into policy. 0: an error. */
static int choose_model(struct cpu_policy *policy, const char *model,
			const struct cpu_host *host, struct err *err)
{
	const u64 has = host_offers(host);
	u64 features;

	if (!model) {
		model = cpu_model_features("v3") & ~has ? "v2" : "v3";
		features = cpu_model_features(model);
		if (host->offer && features & ~has) {
			model = "partial";
			features &= has;
		}
	} else {
		features = cpu_model_features(model);
	}
	if (!features)
		return err_set(err, -EINVAL,
			       "no CPU model '%s' (there are v2, v3, host)",
			       model);
	if (features & ~has)
		return refuse_model(model, host->offer, features & ~has, err);
	if (!strcmp(model, "host"))
		features |= has & cpu_optional_features;
	snprintf(policy->model, sizeof(policy->model), "%s", model);
	policy->features = features;
	return 0;
}

static void choose_security(struct cpu_policy *policy,
			    const struct cpu_host *host)
{
	if (host->offer) {
		policy->mitigations = true;
		policy->features |= cpu_host_features(host) & told_features;
		policy->arch_capabilities = host->offer->arch_capabilities;
	} else if (!policy->mitigations) {
		tell_not_affected(policy, cpu_host_vendor(host));
	}
}

int cpu_policy_build(struct cpu_policy *policy,
		     const struct cpu_request *request,
		     const struct cpu_host *host, struct err *err)
{
	int ret;

	memset(policy, 0, sizeof(*policy));
	ret = choose_model(policy, request->model, host, err);
	if (ret)
		return ret;
	if (!request->vcpus || request->vcpus > POLICY_MAX_VCPUS)
		return err_set(err, -EINVAL, "%u CPUs, not 1 to %u",
			       request->vcpus, POLICY_MAX_VCPUS);
	policy->version = POLICY_VERSION;
	policy->mitigations = request->mitigations;
	policy->max_vcpus = request->vcpus;
	policy->tsc_khz = request->tsc_khz;
	choose_security(policy, host);
	set_xsave(policy);
	cpu_policy_leaves(policy, host);
	return 0;
}

int cpu_policy_init(struct cpu_policy *policy,
		    const struct cpu_request *request, struct err *err)
{
	struct cpu_host host;

	if (request->offer)
		cpu_host_offered(&host, request->offer);
	else
		cpu_host_native(&host);
	return cpu_policy_build(policy, request, &host, err);
}

u64 cpu_policy_missing(const struct cpu_policy *policy,
		       const struct cpu_offer *offer)
{
	struct cpu_host host;

	cpu_host_offered(&host, offer);
	return policy->features & ~cpu_host_features(&host) & ~told_features;
}

static const struct cpuid_leaf *find_leaf(const struct cpu_policy *policy,
					  u32 leaf, u32 subleaf)
{
	for (unsigned i = 0; i < policy->count; i++) {
		const struct cpuid_leaf *entry = &policy->leaves[i];

		if (entry->leaf != leaf)
			continue;
		if (!entry->indexed || entry->subleaf == subleaf)
			return entry;
	}
	return NULL;
}

/* The three places that name the asking CPU. */
static void personalize(const struct cpu_policy *policy, unsigned apic_id,
			u32 leaf, u32 subleaf, struct cpuid_result *out)
{
	switch (leaf) {
	case 1:
		out->ebx |= apic_id << 24;
		break;
	case 0xb:
		/* [1]: ECX[7:0] and EDX are valid for every subleaf. */
		out->ecx |= subleaf & 0xff;
		out->edx = apic_id;
		break;
	case 0x8000001e:
		if (!find_leaf(policy, leaf, 0))
			break;
		out->eax = apic_id;
		out->ebx |= apic_id & 0xff;
		break;
	}
}

void cpu_policy_cpuid(const struct cpu_policy *policy, unsigned apic_id,
		      u32 leaf, u32 subleaf, struct cpuid_result *out)
{
	const struct cpuid_leaf *entry = find_leaf(policy, leaf, subleaf);

	memset(out, 0, sizeof(*out));
	if (entry) {
		out->eax = entry->eax;
		out->ebx = entry->ebx;
		out->ecx = entry->ecx;
		out->edx = entry->edx;
	}
	personalize(policy, apic_id, leaf, subleaf, out);
}
