/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which MSRs guests have: the list of arch/msr.h, as for every engine. KVM
 * alone would let a guest have whatever the host's kernel knows.
 *
 * References: kvm.h [1] 4.97 (KVM_X86_SET_MSR_FILTER), 7.21
 * (KVM_CAP_X86_USER_SPACE_MSR).
 *
 * An access that the filter denies comes to us, is counted, told, and answered
 * with #GP. The LAPIC's registers as MSRs (0x800 to 0x8ff) are no filter's
 * matter. Before Linux 5.10 there is none: then guests have KVM's.
 */
#include "engine/kvm/kvm.h"

#include <string.h>

#include "arch/msr.h"
#include "util/log.h"

enum { BITMAP = 0x2000 / 8 };

struct bitmaps {
	u8 bytes[CPU_MSR_RANGES][BITMAP];
};

static void allow(struct bitmaps *bitmaps, u32 msr)
{
	for (unsigned i = 0; i < CPU_MSR_RANGES; i++) {
		u32 n = msr - cpu_msr_ranges[i].first;

		if (n < cpu_msr_ranges[i].count)
			bitmaps->bytes[i][n / 8] |= (u8)(1u << n % 8);
	}
}

/* By the list's rows: to ask for each number in the ranges, of which there are
 * 25,000, takes longer than all of KVM's calls for a small VM. */
static void fill(struct kvm_msr_filter *filter, struct bitmaps *bitmaps,
		 const struct cpu_policy *policy)
{
	memset(filter, 0, sizeof(*filter));
	memset(bitmaps, 0, sizeof(*bitmaps));
	filter->flags = KVM_MSR_FILTER_DEFAULT_DENY;
	for (unsigned i = 0; i < CPU_MSR_RANGES; i++)
		filter->ranges[i] = (struct kvm_msr_filter_range){
			.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			.nmsrs = cpu_msr_ranges[i].count,
			.base = cpu_msr_ranges[i].first,
			.bitmap = bitmaps->bytes[i],
		};
	for (unsigned i = 0; i < cpu_msr_row_count; i++) {
		const struct cpu_msr_row *row = &cpu_msr_rows[i];

		for (u32 n = 0; n < row->count; n++)
			if (cpu_has_msr(policy, row->first + n))
				allow(bitmaps, row->first + n);
	}
}

int kvm_filter_msrs(struct kvm_machine *m, struct err *err)
{
	struct kvm_enable_cap tell = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args = {KVM_MSR_EXIT_REASON_FILTER},
	};
	struct kvm_msr_filter filter;
	struct bitmaps bitmaps;
	int ret;

	if (!kvm_has_cap(m->kvm_fd, KVM_CAP_X86_MSR_FILTER) ||
	    !kvm_has_cap(m->kvm_fd, KVM_CAP_X86_USER_SPACE_MSR)) {
		log_msg(LOG_INFO, "this host's KVM has no MSR filter: guests "
				  "have the MSRs that it has");
		return 0;
	}
	fill(&filter, &bitmaps, m->vm->cpu);
	ret = kvm_ioctl(m->vm_fd, KVM_ENABLE_CAP, &tell);
	if (!ret)
		ret = kvm_ioctl(m->vm_fd, KVM_X86_SET_MSR_FILTER, &filter);
	return ret ? err_set(err, ret, "KVM refuses the MSR filter: %s",
			     strerror(-ret))
		   : 0;
}
