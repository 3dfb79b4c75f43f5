/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Architectural constants, named as the manuals name them.
 *
 * References: [1] Intel SDM (253668) vol. 3A; section numbers beside the
 * groups. [2] AMD APM vol. 2 (24593).
 */
#pragma once

#include "util/types.h"

/* [1] 3.4.3, EFLAGS */
enum x86_flags {
	FLAG_CF = 1 << 0,
	FLAG_1 = 1 << 1,
	FLAG_PF = 1 << 2,
	FLAG_AF = 1 << 4,
	FLAG_ZF = 1 << 6,
	FLAG_SF = 1 << 7,
	FLAG_TF = 1 << 8,
	FLAG_IF = 1 << 9,
	FLAG_DF = 1 << 10,
	FLAG_OF = 1 << 11,
	FLAG_IOPL = 3 << 12,
	FLAG_NT = 1 << 14,
	FLAG_RF = 1 << 16,
	FLAG_VM = 1 << 17,
	FLAG_AC = 1 << 18,
	FLAG_VIF = 1 << 19,
	FLAG_VIP = 1 << 20,
	FLAG_ID = 1 << 21,
	FLAG_IOPL_SHIFT = 12,
	FLAG_ARITH = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF,
};

/* [1] 2.5, control registers */
#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR3_NOFLUSH BIT(63)
#define CR3_PCID 0xfffull

#define CR4_VME BIT(0)
#define CR4_PVI BIT(1)
#define CR4_TSD BIT(2)
#define CR4_DE BIT(3)
#define CR4_PSE BIT(4)
#define CR4_PAE BIT(5)
#define CR4_MCE BIT(6)
#define CR4_PGE BIT(7)
#define CR4_PCE BIT(8)
#define CR4_OSFXSR BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP BIT(11)
#define CR4_FSGSBASE BIT(16)
#define CR4_PCIDE BIT(17)
#define CR4_OSXSAVE BIT(18)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)

#define XCR0_X87 BIT(0)
#define XCR0_SSE BIT(1)
#define XCR0_AVX BIT(2)

/* [1] 2.2.1, IA32_EFER */
#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)
#define EFER_FFXSR BIT(14)
#define EFER_AIBRSE BIT(21) /* [2] 3.1.7 */

/* [1] 6.3.1, exceptions */
enum x86_vector {
	VEC_DE = 0,
	VEC_DB = 1,
	VEC_NMI = 2,
	VEC_BP = 3,
	VEC_OF = 4,
	VEC_BR = 5,
	VEC_UD = 6,
	VEC_NM = 7,
	VEC_DF = 8,
	VEC_TS = 10,
	VEC_NP = 11,
	VEC_SS = 12,
	VEC_GP = 13,
	VEC_PF = 14,
	VEC_MF = 16,
	VEC_AC = 17,
	VEC_MC = 18,
	VEC_XM = 19,
};

/* [1] 4.7, page-fault error code */
enum x86_pf {
	PF_P = 1,
	PF_W = 2,
	PF_U = 4,
	PF_RSVD = 8,
	PF_I = 16,
};

/* [1] 4.3-4.5, paging-structure entries */
#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_U BIT(2)
#define PTE_PWT BIT(3)
#define PTE_PCD BIT(4)
#define PTE_A BIT(5)
#define PTE_D BIT(6)
#define PTE_PS BIT(7)
#define PTE_G BIT(8)
#define PTE_NX BIT(63)

#define DR6_FIXED 0xffff0ff0u
#define DR6_BD BIT(13)
#define DR6_BS BIT(14)
#define DR7_FIXED 0x400u
#define DR7_GD BIT(13)

/* [1] vol. 4, MSRs */
enum x86_msr {
	MSR_TSC = 0x10,
	MSR_PLATFORM_ID = 0x17,
	MSR_APIC_BASE = 0x1b,
	MSR_TSC_ADJUST = 0x3b,
	MSR_SPEC_CTRL = 0x48,
	MSR_PRED_CMD = 0x49,
	MSR_BIOS_UPDT = 0x79,
	MSR_BIOS_SIGN_ID = 0x8b,
	MSR_PMC0 = 0xc1,
	MSR_PLATFORM_INFO = 0xce,
	MSR_MTRRCAP = 0xfe,
	MSR_ARCH_CAPABILITIES = 0x10a,
	MSR_SYSENTER_CS = 0x174,
	MSR_SYSENTER_ESP = 0x175,
	MSR_SYSENTER_EIP = 0x176,
	MSR_MCG_CAP = 0x179,
	MSR_MCG_STATUS = 0x17a,
	MSR_PERFEVTSEL0 = 0x186,
	MSR_PERF_STATUS = 0x198,
	MSR_MISC_ENABLE = 0x1a0,
	MSR_DEBUGCTL = 0x1d9,
	MSR_MTRR_BASE0 = 0x200,
	MSR_MTRR_FIX64K = 0x250,
	MSR_MTRR_FIX16K_8 = 0x258,
	MSR_MTRR_FIX16K_A = 0x259,
	MSR_MTRR_FIX4K_C0 = 0x268,
	MSR_PAT = 0x277,
	MSR_MTRR_DEF_TYPE = 0x2ff,
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_X2APIC_FIRST = 0x800,
	MSR_X2APIC_LAST = 0x8ff,
	MSR_XSS = 0xda0,
	MSR_KVM_WALL_CLOCK = 0x4b564d00,
	MSR_KVM_SYSTEM_TIME = 0x4b564d01,
	MSR_KVM_ASYNC_PF = 0x4b564d02,
	MSR_KVM_STEAL_TIME = 0x4b564d03,
	MSR_KVM_PV_EOI = 0x4b564d04,
	MSR_KVM_POLL_CONTROL = 0x4b564d05,
	MSR_KVM_WALL_CLOCK_OLD = 0x11,
	MSR_KVM_SYSTEM_TIME_OLD = 0x12,
};
/* AMD [2] appendix A; above INT_MAX, so no enum. */
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_SFMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX 0xc0000103u
#define MSR_K7_HWCR 0xc0010015u
#define MSR_K7_EVNTSEL0 0xc0010000u
#define MSR_AMD64_SYSCFG 0xc0010010u
#define MSR_AMD64_NB_CFG 0xc001001fu
#define MSR_AMD64_NB_CFG 0xc001001fu
#define MSR_AMD64_PATCH_LOADER 0xc0010020u
#define MSR_AMD64_DE_CFG 0xc0011029u

#define SPEC_CTRL_BHI_DIS_S BIT(10) /* [1] vol. 4 table 2-2 */

/* MSR_ARCH_CAPABILITIES, [1] vol. 4 table 2-2 */
#define ARCH_CAP_RDCL_NO BIT(0)
#define ARCH_CAP_IBRS_ALL BIT(1)
#define ARCH_CAP_SKIP_L1DFL_VMENTRY BIT(3)
#define ARCH_CAP_SSB_NO BIT(4)
#define ARCH_CAP_MDS_NO BIT(5)
#define ARCH_CAP_IF_PSCHANGE_MC_NO BIT(6)
#define ARCH_CAP_TAA_NO BIT(8)
#define ARCH_CAP_SBDR_SSDP_NO BIT(13)
#define ARCH_CAP_FBSDP_NO BIT(14)
#define ARCH_CAP_PSDP_NO BIT(15)
#define ARCH_CAP_BHI_NO BIT(20)
#define ARCH_CAP_PBRSB_NO BIT(24)
#define ARCH_CAP_GDS_NO BIT(26)
#define ARCH_CAP_RFDS_NO BIT(27)
#define ARCH_CAP_ITS_NO BIT(62) /* set by hypervisors only */

#define APIC_BASE_BSP BIT(8)
#define APIC_BASE_EXTD BIT(10)
#define APIC_BASE_EN BIT(11)
#define APIC_DEFAULT_BASE 0xfee00000ull

/* Canonical with 48-bit linear addresses ([1] 3.3.7.1). */
static inline bool x86_is_canonical(gva_t va)
{
	return (u64)((s64)(va << 16) >> 16) == va;
}
