/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host's CPU has, from the C library, which asked as it started. Each
 * CPUID instruction leaves a virtual machine, for 20 to 70 us in all: what the
 * compiler's __builtin_cpu_supports() brings along executes ten at the start of
 * every process that has it, needed or not.
 *
 * References: [1] GNU C library manual, "X86" (platform-specific facilities).
 *             [2] AMD APM vol. 3 appendix E.3.1, CPUID Fn0000_0001_EAX.
 */
#pragma once

#include <stdbool.h>
#include <sys/platform/x86.h>

static inline bool host_cpu_is_virtual(void)
{
	const unsigned hypervisor = 1u << 31; /* of leaf 1's ECX */

	return __x86_get_cpuid_feature_leaf(CPUID_INDEX_1)->cpuid_array[2] &
	       hypervisor;
}

/* [2]: 0x17 are AMD's first two Zen. */
static inline unsigned host_cpu_family(void)
{
	unsigned eax =
		__x86_get_cpuid_feature_leaf(CPUID_INDEX_1)->cpuid_array[0];
	unsigned base = eax >> 8 & 0xf;

	return base == 0xf ? base + (eax >> 20 & 0xff) : base;
}

#define host_cpu_has(name) (!!x86_cpu_active(x86_cpu_##name))
