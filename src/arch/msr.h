/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which MSRs a guest has, on every engine: an allow-list. What is not in it,
 * or belongs to another vendor or to a feature that the VM's policy does not
 * offer, is #GP(0).
 *
 * References: [1] Intel SDM vol. 4 table 2-2; [2] AMD APM vol. 2 appendix A;
 *             [3] Linux Documentation/virt/kvm/x86/msr.rst.
 */
#pragma once

#include "arch/cpuid.h"
#include "util/types.h"

enum cpu_msr_vendor { CPU_MSR_ANY, CPU_MSR_INTEL, CPU_MSR_AMD };

/* `first` to `first + count - 1`. */
struct cpu_msr_row {
	u32 first;
	u16 count;
	u8 feature; /* enum cpu_feature; FEAT_BASE: always there */
	u8 vendor;  /* enum cpu_msr_vendor */
};

/* In order of how often guests use them. */
extern const struct cpu_msr_row cpu_msr_rows[];
extern const unsigned cpu_msr_row_count;

/* All rows lie in these: the three of the hardware's, and KVM's. */
struct cpu_msr_range {
	u32 first, count;
};
enum { CPU_MSR_RANGES = 4 };
extern const struct cpu_msr_range cpu_msr_ranges[CPU_MSR_RANGES];

/* Here, because bt calls nothing outside while guest SIMD state is live. */
static inline bool cpu_has_msr(const struct cpu_policy *policy, u32 msr)
{
	for (unsigned i = 0; i < cpu_msr_row_count; i++) {
		const struct cpu_msr_row *row = &cpu_msr_rows[i];

		if (msr - row->first >= row->count)
			continue;
		if (row->feature != FEAT_BASE && !cpu_has(policy, row->feature))
			return false;
		return row->vendor == CPU_MSR_ANY ||
		       (row->vendor == CPU_MSR_AMD) == cpu_is_amd(policy);
	}
	return false;
}
