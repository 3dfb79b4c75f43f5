/* SPDX-License-Identifier: Apache-2.0 */
/* MSRs, reserved bits, and the TSC. */
#include "cpu.h"

#include "smp.h"

enum {
	MSR_TSC = 0x10,
	MSR_TSC_ADJUST = 0x3b,
	MSR_SPEC_CTRL = 0x48,
	MSR_PAT = 0x277,
	MSR_TSC_AUX = 0xc0000103,
	ROUNDS = 2000,
};

static void try_write(u32 msr, u64 val)
{
	TRY("wrmsr",
	    :
	    : "c"(msr), "a"((u32)val), "d"((u32)(val >> 32))
	    : "memory");
}

/* [2] 2.2.1, 2.5, [1] WRMSR. */
static void test_reserved(void)
{
	/* No CPU's; then some that this host or its kernel may have, and that
	 * no CPU model of ours has: the SMI count, a machine check bank, VM
	 * extensions, KVM's and Hyper-V's that CPUID does not offer. */
	static const u32 unknown[] = {
		0x3,  0x7ff, 0x1fff,	 0x40000500, 0xc0001fff, 0xffffffff,
		0x34, 0x400, 0xc0010114, 0x4b564d02, 0x4b564d03, 0x40000000,
	};
	u64 efer = msr_read(MSR_EFER), pat = msr_read(MSR_PAT);
	ulong cr4 = cr4_read();

	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
		TRY("rdmsr", : : "c"(unknown[i]) : "eax", "edx");
		expect_fault(GP, 0);
		try_write(unknown[i], 0);
		expect_fault(GP, 0);
	}
	for (unsigned bit = 1; bit < 64; bit++) {
		/* SCE, LME, LMA, NXE; AMD: SVME to AIBRSE, as offered. */
		if (bit == 8 || (bit >= 10 && bit <= 21))
			continue;
		try_write(MSR_EFER, efer ^ BIT(bit));
		expect_fault(GP, 0);
	}
	expect_eq(msr_read(MSR_EFER), efer);
	for (unsigned bit = 24; bit < 64; bit++) {
		TRY("mov %0, %%cr4", : : "r"(cr4 | BIT(bit)) : "memory");
		/* 24 PKS, 25 UINTR, 28 LAM_SUP: whoever offers them. */
		if (bit == 24 || bit == 25 || bit == 28)
			cr4_write(cr4);
		else if (bit < 32 || !lax_fault("cr-high", NO_FAULT, 0, 0))
			expect_fault(GP, 0);
	}
	expect_eq(cr4_read(), cr4);
	for (unsigned bit = 32; bit < 64; bit++) {
		TRY("mov %0, %%cr0", : : "r"(cr0_read() | BIT(bit)));
		if (!lax_fault("cr-high", NO_FAULT, 0, 0))
			expect_fault(GP, 0);
	}
	/* [2] 12.12.2: memory types 2 and 3 are reserved. */
	try_write(MSR_PAT, (pat & ~0xffull) | 2);
	expect_fault(GP, 0);
	try_write(MSR_PAT, (pat & ~0xff00ull) | 0x300);
	expect_fault(GP, 0);
	try_write(MSR_PAT, pat);
	expect_no_fault();
	/* [1] RDPMC: no counter of that number. */
	TRY("rdpmc", : : "c"(0x1234) : "eax", "edx");
	expect_fault(GP, 0);
}

/* Intel SDM vol. 4 table 2-2, IA32_SPEC_CTRL: bit 10 is there if CPUID 7.2
 * EDX[4] says so. */
static void test_spec_ctrl(void)
{
	u64 before;

	if (!(cpuid(7, 0).edx & BIT(26)))
		return;
	before = msr_read(MSR_SPEC_CTRL);
	try_write(MSR_SPEC_CTRL, BIT(63));
	expect_fault(GP, 0);
	try_write(MSR_SPEC_CTRL, 1);
	expect_no_fault();
	expect_eq(msr_read(MSR_SPEC_CTRL), 1);
	if (cpuid(7, 0).eax >= 2 && cpuid(7, 2).edx & BIT(4)) {
		try_write(MSR_SPEC_CTRL, BIT(10) | 1);
		expect_no_fault();
		expect_eq(msr_read(MSR_SPEC_CTRL), BIT(10) | 1);
	}
	msr_write(MSR_SPEC_CTRL, before);
}

/* [2] 17.17.3 */
static void test_adjust(void)
{
	const u64 jump = 1ull << 40;
	u64 adjust, before, after;

	if (!(cpuid(7, 0).ebx & BIT(1))) {
		TRY("rdmsr", : : "c"(MSR_TSC_ADJUST) : "eax", "edx");
		expect_fault(GP, 0);
		return;
	}
	adjust = msr_read(MSR_TSC_ADJUST);
	before = tsc_read();
	msr_write(MSR_TSC_ADJUST, adjust + jump);
	after = tsc_read();
	expect(after - before >= jump && after - before < jump * 3 / 2);
	expect_eq(msr_read(MSR_TSC_ADJUST), adjust + jump);
	/* A write to the TSC moves it by as much as the TSC. */
	before = tsc_read();
	msr_write(MSR_TSC, before + jump);
	after = msr_read(MSR_TSC_ADJUST);
	expect(after <= adjust + 2 * jump);
	expect(after > adjust + jump + jump / 2);
	msr_write(MSR_TSC_ADJUST, adjust);
	expect(tsc_read() < before + jump);
}

static void test_rdtscp(void)
{
	u32 aux;

	if (!(cpuid(0x80000001, 0).edx & BIT(27))) {
		TRY("rdtscp", : "=c"(aux) : : "eax", "edx");
		expect_fault(UD, 0);
		return;
	}
	msr_write(MSR_TSC_AUX, 0x89abcdef);
	TRY("rdtscp", : "=c"(aux) : : "eax", "edx");
	expect_no_fault();
	expect_eq(aux, 0x89abcdef);
	/* The upper half: reserved by [1], and dropped by AMD's. */
	try_write(MSR_TSC_AUX, BIT(32) | 0x89abcdef);
	if (is_amd())
		expect_no_fault();
	else
		expect_fault(GP, 0);
	expect_eq(msr_read(MSR_TSC_AUX), 0x89abcdef);
	if (cpuid(7, 0).ecx & BIT(22)) {
		ulong id;

		TRY("rdpid %0", : "=a"(id));
		expect_eq(id, 0x89abcdef);
	}
}

static volatile u64 shared_tsc;
static volatile u32 turn, went_back;

/* In turns: what one CPU has read is in the past of the other. */
static void compare(unsigned index)
{
	unsigned count = smp_count();

	for (u32 i = 0; i < ROUNDS; i++) {
		u64 now;

		if (i % count != index)
			continue;
		while (turn != i)
			cpu_pause();
		__asm__ volatile("lfence" : : : "memory");
		now = tsc_read();
		if (now < shared_tsc)
			went_back++;
		shared_tsc = now;
		turn = i + 1;
	}
}

/* [2] 17.17.1: invariant and, as systems see to it, the same everywhere. */
static void test_monotonic(void)
{
	turn = 0;
	if (!smp_start(compare))
		return;
	compare(0);
	smp_wait();
	expect_eq(went_back, 0);
}

void test_msr(void)
{
	if (!lax("control-bits"))
		test_reserved();
	test_spec_ctrl();
	test_adjust();
	test_rdtscp();
	test_monotonic();
}
