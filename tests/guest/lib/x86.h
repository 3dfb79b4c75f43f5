/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that C has no words for, and the bits they take.
 *
 * References:
 * [1] Intel 64 and IA-32 Architectures Software Developer's Manual (SDM),
 *     order number 325462-080, volume 3A, 2.5 (control registers), 2.2.1
 *     (EFER), 18.2 (debug registers)
 */
#pragma once

#include "types.h"

/* [1] 2.5 */
#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)
#define CR4_PSE BIT(4)
#define CR4_PAE BIT(5)
#define CR4_DE BIT(3)
#define CR4_TSD BIT(2)
#define CR4_PGE BIT(7)
#define CR4_OSFXSR BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP BIT(11)
#define CR4_FSGSBASE BIT(16)
#define CR4_PCIDE BIT(17)
#define CR4_OSXSAVE BIT(18)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)

#define EFLAGS_CF BIT(0)
#define EFLAGS_PF BIT(2)
#define EFLAGS_ZF BIT(6)
#define EFLAGS_TF BIT(8)
#define EFLAGS_IF BIT(9)
#define EFLAGS_DF BIT(10)
#define EFLAGS_OF BIT(11)
#define EFLAGS_NT BIT(14)
#define EFLAGS_RF BIT(16)
#define EFLAGS_VM BIT(17)
#define EFLAGS_AC BIT(18)

#define MSR_APIC_BASE 0x1b
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_CSTAR 0xc0000083
#define MSR_SFMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

enum vector {
	DE = 0,
	DB = 1,
	NMI = 2,
	BP = 3,
	OF = 4,
	BR = 5,
	UD = 6,
	NM = 7,
	DF = 8,
	TS = 10,
	NP = 11,
	SS = 12,
	GP = 13,
	PF = 14,
	MF = 16,
	AC = 17,
	MC = 18,
	XM = 19,
	NO_FAULT = 256,
};

struct __attribute__((packed)) table_pointer {
	u16 limit;
	ulong base;
};

static inline void outb(u16 port, u8 val)
{
	__asm__ volatile("outb %0, %1" : : "a"(val), "Nd"(port));
}

static inline void outw(u16 port, u16 val)
{
	__asm__ volatile("outw %0, %1" : : "a"(val), "Nd"(port));
}

static inline void outl(u16 port, u32 val)
{
	__asm__ volatile("outl %0, %1" : : "a"(val), "Nd"(port));
}

static inline u8 inb(u16 port)
{
	u8 val;

	__asm__ volatile("inb %1, %0" : "=a"(val) : "Nd"(port));
	return val;
}

static inline u16 inw(u16 port)
{
	u16 val;

	__asm__ volatile("inw %1, %0" : "=a"(val) : "Nd"(port));
	return val;
}

static inline u32 inl(u16 port)
{
	u32 val;

	__asm__ volatile("inl %1, %0" : "=a"(val) : "Nd"(port));
	return val;
}

#define X86_REGISTER(name)                                                    \
	static inline ulong name##_read(void)                                 \
	{                                                                     \
		ulong val;                                                    \
                                                                              \
		__asm__ volatile("mov %%" #name ", %0" : "=r"(val));          \
		return val;                                                   \
	}                                                                     \
                                                                              \
	static inline void name##_write(ulong val)                            \
	{                                                                     \
		__asm__ volatile("mov %0, %%" #name : : "r"(val) : "memory"); \
	}

X86_REGISTER(cr0)
X86_REGISTER(cr2)
X86_REGISTER(cr3)
X86_REGISTER(cr4)
X86_REGISTER(dr0)
X86_REGISTER(dr1)
X86_REGISTER(dr2)
X86_REGISTER(dr3)
X86_REGISTER(dr6)
X86_REGISTER(dr7)

static inline u64 msr_read(u32 msr)
{
	u32 low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (u64)high << 32 | low;
}

static inline void msr_write(u32 msr, u64 val)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((u32)val), "d"((u32)(val >> 32))
			 : "memory");
}

static inline u64 tsc_read(void)
{
	u32 low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (u64)high << 32 | low;
}

static inline ulong flags_read(void)
{
	ulong val;

	__asm__ volatile("pushf; pop %0" : "=r"(val) : : "memory");
	return val;
}

static inline void flags_write(ulong val)
{
	__asm__ volatile("push %0; popf" : : "r"(val) : "memory", "cc");
}

struct cpuid {
	u32 eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(u32 leaf, u32 subleaf)
{
	struct cpuid id;

	__asm__ volatile("cpuid"
			 : "=a"(id.eax), "=b"(id.ebx), "=c"(id.ecx),
			   "=d"(id.edx)
			 : "a"(leaf), "c"(subleaf));
	return id;
}

static inline void page_flush(const volatile void *addr)
{
	__asm__ volatile("invlpg (%0)" : : "r"(addr) : "memory");
}

static inline void irq_enable(void)
{
	__asm__ volatile("sti" : : : "memory");
}

static inline void irq_disable(void)
{
	__asm__ volatile("cli" : : : "memory");
}

/* Sleeps until an interrupt came; none is lost between the two. */
static inline void irq_wait(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

static inline void cpu_pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}
