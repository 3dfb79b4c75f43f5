/* SPDX-License-Identifier: Apache-2.0 */
/* #DE, and what the x87 and SSE units raise: #NM, #MF, #XM, #UD, #GP. */
#include "exceptions.h"

void test_divide(void)
{
	TRY("div %b0", : : "c"(0), "a"(1) : "cc");
	expect_fault(DE, 0);
	TRY("div %w0", : : "c"(0), "a"(1), "d"(0) : "cc");
	expect_fault(DE, 0);
	TRY("div %k0", : : "c"(0), "a"(1), "d"(0) : "cc");
	expect_fault(DE, 0);
	/* The quotient does not fit. */
	TRY("div %k0", : : "c"(1), "a"(0), "d"(1) : "cc");
	expect_fault(DE, 0);
	TRY("idiv %k0", : : "c"(-1), "a"(0x80000000), "d"(-1) : "cc");
	expect_fault(DE, 0);
	TRY("idiv %b0", : : "c"(-1), "a"(0xff80) : "cc");
	expect_fault(DE, 0);
	/* Nothing is changed by the fault. */
	expect_eq((u16)fault.frame.ax, 0xff80);
}

/* [1] 2.5, table 2-2 and 6.15, #NM: what EM, MP and TS do to x87 and WAIT. */
static void test_device_not_available(void)
{
	ulong cr0 = cr0_read();

	cr0_write(cr0 | CR0_TS);
	TRY("fnop", : : : "memory");
	expect_fault(NM, 0);
	TRY("fwait", : : : "memory");
	expect_fault(NM, 0);
	TRY("movups %%xmm0, %%xmm0", : : : "memory");
	expect_fault(NM, 0);
	cr0_write((cr0 | CR0_TS) & ~CR0_MP);
	TRY("fwait", : : : "memory");
	expect_no_fault();
	TRY("clts; fnop", : : : "memory");
	expect_no_fault();
	expect_eq(cr0_read(), cr0 & ~CR0_MP);

	cr0_write(cr0 | CR0_EM);
	TRY("fnop", : : : "memory");
	expect_fault(NM, 0);
	TRY("movups %%xmm0, %%xmm0", : : : "memory");
	expect_fault(UD, 0);
	TRY("fwait", : : : "memory");
	expect_no_fault();
	cr0_write(cr0);
}

/* [1] 6.15, #MF: at the next waiting instruction after the one that did it. */
static void test_math_fault(void)
{
	static const u16 unmasked = 0x37b; /* all but zero divide masked */
	u16 status;

	__asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp"
			 :
			 : "m"(unmasked));
	TRY("fnop", : : : "memory");
	expect_fault(MF, 0);
	__asm__ volatile("fnstsw %0" : "=a"(status));
	expect_eq(status & 0x84, 0x84); /* ES, ZE */
	TRY("fwait", : : : "memory");
	expect_fault(MF, 0);
	TRY("fnclex; fwait", : : : "memory");
	expect_no_fault();
	__asm__ volatile("fninit");
}

void test_fpu(void)
{
	test_device_not_available();
	test_math_fault();
}

/* [1] 6.15, #XM; without OSXMMEXCPT the same is #UD. */
static void test_simd_exception(void)
{
	static const float one[4] __attribute__((aligned(16))) = {1, 1, 1, 1};
	static const u32 masked = 0x1f80, unmasked = 0x1d80;
	ulong cr4 = cr4_read();
	u32 after;

	__asm__ volatile("ldmxcsr %0; movaps %1, %%xmm0; xorps %%xmm1, %%xmm1"
			 :
			 : "m"(unmasked), "m"(one));
	TRY("divps %%xmm1, %%xmm0", : : : "memory");
	if (!lax_fault("xm", NO_FAULT, 0, 0))
		expect_fault(XM, 0);
	__asm__ volatile("stmxcsr %0" : "=m"(after));
	expect_eq(after, unmasked | 4);
	cr4_write(cr4 & ~CR4_OSXMMEXCPT);
	TRY("divps %%xmm1, %%xmm0", : : : "memory");
	if (!lax_fault("xm", NO_FAULT, 0, 0))
		expect_fault(UD, 0);
	cr4_write(cr4);
	__asm__ volatile("ldmxcsr %0" : : "m"(masked));
	TRY("divps %%xmm1, %%xmm0", : : : "memory");
	expect_no_fault();
}

void test_simd(void)
{
	static u8 data[600] __attribute__((aligned(64)));
	static const u32 reserved = 0x11f80;
	ulong cr4 = cr4_read();

	test_simd_exception();
	/* [2] MOVAPS, FXSAVE: not on a boundary of 16. */
	TRY("movaps %0, %%xmm0", : : "m"(data[8]) : "memory");
	expect_fault(GP, 0);
	TRY("movups %0, %%xmm0", : : "m"(data[8]) : "memory");
	expect_no_fault();
	TRY("paddb %0, %%xmm0", : : "m"(data[1]) : "memory");
	expect_fault(GP, 0);
	TRY("fxsave %0", : "=m"(data[8]) : : "memory");
	expect_fault(GP, 0);
	TRY("ldmxcsr %0", : : "m"(reserved) : "memory");
	if (!lax_fault("mxcsr", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
	/* [1] 2.5: without OSFXSR there is no SSE. */
	cr4_write(cr4 & ~CR4_OSFXSR);
	TRY("movups %%xmm0, %%xmm0", : : : "memory");
	expect_fault(UD, 0);
	cr4_write(cr4);
}
