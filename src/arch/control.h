/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bits of control registers a CPU policy's guests may set.
 *
 * References: [1] Intel SDM vol. 3A 2.5 (CR4), 2.2.1 (EFER). [2] AMD APM
 * vol. 2 3.1.7.
 */
#pragma once

#include "arch/cpuid.h"
#include "arch/x86.h"

/* All others are reserved: setting one is #GP. */
static inline u64 x86_cr4_bits(const struct cpu_policy *policy)
{
	static const struct {
		u8 feature;
		u64 bit;
	} optional[] = {
		{FEAT_UMIP, CR4_UMIP},	{FEAT_FSGSBASE, CR4_FSGSBASE},
		{FEAT_PCID, CR4_PCIDE}, {FEAT_XSAVE, CR4_OSXSAVE},
		{FEAT_SMEP, CR4_SMEP},	{FEAT_SMAP, CR4_SMAP},
	};
	u64 bits = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE |
		   CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT;

	for (unsigned k = 0; k < ARRAY_SIZE(optional); k++)
		if (cpu_has(policy, optional[k].feature))
			bits |= optional[k].bit;
	return bits;
}

/* LMA included, which only the processor sets. */
static inline u64 x86_efer_bits(const struct cpu_policy *policy)
{
	u64 bits = EFER_SCE | EFER_LME | EFER_LMA;

	if (cpu_has(policy, FEAT_NX))
		bits |= EFER_NXE;
	if (cpu_has(policy, FEAT_AUTOIBRS))
		bits |= EFER_AIBRSE;
	return bits;
}
