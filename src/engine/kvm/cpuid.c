/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID: what this host's KVM offers, and the policy's leaves into a vCPU.
 *
 * References: kvm.h [1] 4.46 (KVM_GET_SUPPORTED_CPUID), 4.20 (KVM_SET_CPUID2).
 *
 * The bits that follow control registers (OSXSAVE, the sizes of leaf 0xd) are
 * KVM's to keep up to date.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86.h"

struct cpuid_buffer {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[CPU_OFFER_LEAVES];
};

static void *entries_of(struct cpuid_buffer *buf)
{
	return buf->head.entries;
}

/* The host's value of a feature MSR, 0 where KVM does not say. */
static u64 feature_msr(int kvm_fd, u32 msr)
{
	union {
		struct kvm_msrs head;
		u8 bytes[sizeof(struct kvm_msrs) +
			 sizeof(struct kvm_msr_entry)];
	} arg = {.head = {.nmsrs = 1}};

	arg.head.entries[0].index = msr;
	if (!kvm_has_cap(kvm_fd, KVM_CAP_GET_MSR_FEATURES) ||
	    kvm_ioctl(kvm_fd, KVM_GET_MSRS, &arg) != 1)
		return 0;
	return arg.head.entries[0].data;
}

static void take_offer(struct cpu_offer *offer, struct cpuid_buffer *buf)
{
	const struct kvm_cpuid_entry2 *from = entries_of(buf);

	offer->count = (unsigned)min_u64(buf->head.nent, CPU_OFFER_LEAVES);
	for (unsigned i = 0; i < offer->count; i++)
		offer->leaves[i] = (struct cpuid_leaf){
			.leaf = from[i].function,
			.subleaf = from[i].index,
			.indexed =
				from[i].flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = from[i].eax,
			.ebx = from[i].ebx,
			.ecx = from[i].ecx,
			.edx = from[i].edx,
		};
}

int kvm_read_offer(int kvm_fd, struct cpu_offer *offer, struct err *err)
{
	struct cpuid_buffer *buf = calloc(1, sizeof(*buf));
	int ret;

	if (!buf)
		return err_set(err, -ENOMEM, "out of memory");
	buf->head.nent = CPU_OFFER_LEAVES;
	ret = kvm_ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, buf);
	memset(offer, 0, sizeof(*offer));
	if (!ret)
		take_offer(offer, buf);
	free(buf);
	if (ret)
		return err_set(err, ret, "KVM_GET_SUPPORTED_CPUID: %s",
			       strerror(-ret));
	offer->name = "KVM";
	/* Emulated in the kernel's LAPIC; the table leaves it to the caller. */
	if (kvm_has_cap(kvm_fd, KVM_CAP_TSC_DEADLINE_TIMER))
		offer->extra |= BIT(FEAT_TSC_DEADLINE);
	offer->arch_capabilities = feature_msr(kvm_fd, MSR_ARCH_CAPABILITIES);
	return 0;
}

static void fill_entry(struct kvm_cpuid_entry2 *entry,
		       const struct cpu_policy *policy, unsigned apic_id,
		       const struct cpuid_leaf *leaf)
{
	struct cpuid_result result;

	cpu_policy_cpuid(policy, apic_id, leaf->leaf, leaf->subleaf, &result);
	*entry = (struct kvm_cpuid_entry2){
		.function = leaf->leaf,
		.index = leaf->subleaf,
		.flags = leaf->indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
		.eax = result.eax,
		.ebx = result.ebx,
		.ecx = result.ecx,
		.edx = result.edx,
	};
}

int kvm_set_cpuid(struct kvm_cpu *k, struct err *err)
{
	const struct cpu_policy *policy = k->vcpu->vm->cpu;
	u64 missing = cpu_policy_missing(policy, k->machine->offer);
	struct kvm_cpuid_entry2 *entries;
	struct cpuid_buffer *buf;
	char names[200];
	int ret;

	if (missing) {
		cpu_feature_names(missing, names, sizeof(names));
		return err_set(err, -ENOTSUP,
			       "the VM's CPU model '%s' has what this host's "
			       "KVM lacks:%s",
			       policy->model, names);
	}
	buf = calloc(1, sizeof(*buf));
	if (!buf)
		return err_set(err, -ENOMEM, "out of memory");
	entries = entries_of(buf);
	buf->head.nent = policy->count;
	for (unsigned i = 0; i < policy->count; i++)
		fill_entry(&entries[i], policy, k->vcpu->id,
			   &policy->leaves[i]);
	ret = kvm_ioctl(k->fd, KVM_SET_CPUID2, buf);
	free(buf);
	return ret ? err_set(err, ret, "KVM refuses the CPU model '%s': %s",
			     policy->model, strerror(-ret))
		   : 0;
}
