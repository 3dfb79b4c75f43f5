/* SPDX-License-Identifier: Apache-2.0 */
/* XCR0, XSAVE and XRSTOR, FXSAVE, and CR0's TS, EM and MP. */
#include "cpu.h"

enum {
	X87 = 1,
	SSE = 2,
	AVX = 4,
	HEADER = 512,
	XMM0 = 160,
	YMM0_HIGH = 576,
	MXCSR = 24,
};

static u8 area[4096] __attribute__((aligned(64)));

static void clear(u8 val)
{
	for (unsigned i = 0; i < sizeof(area); i++)
		((volatile u8 *)area)[i] = val;
}

static void set_xcr(u32 index, u64 val)
{
	TRY("xsetbv",
	    :
	    : "c"(index), "a"((u32)val), "d"((u32)(val >> 32))
	    : "memory");
}

static u64 get_xcr0(void)
{
	u32 low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (u64)high << 32 | low;
}

/* [2] volume 1, 13.3 */
static void test_xcr0(u64 offered)
{
	set_xcr(0, X87 | SSE);
	expect_no_fault();
	expect_eq(get_xcr0(), X87 | SSE);
	set_xcr(0, SSE); /* x87 is always on */
	expect_fault(GP, 0);
	set_xcr(0, X87 | AVX); /* AVX needs SSE */
	expect_fault(GP, 0);
	for (unsigned bit = 2; bit < 64; bit++) {
		if (offered & BIT(bit))
			continue;
		set_xcr(0, X87 | SSE | BIT(bit));
		expect_fault(GP, 0);
	}
	set_xcr(1, X87);
	expect_fault(GP, 0);
	expect_eq(get_xcr0(), X87 | SSE);
	if (offered & AVX) {
		set_xcr(0, X87 | SSE | AVX);
		expect_no_fault();
		/* The sizes of CPUID leaf 13 follow XCR0. */
		expect_eq(cpuid(0xd, 0).ebx, 832);
		set_xcr(0, X87 | SSE);
	}
	expect_eq(cpuid(0xd, 0).ebx, 576);
	cr4_write(cr4_read() & ~CR4_OSXSAVE);
	TRY("xgetbv", : : "c"(0) : "eax", "edx");
	expect_fault(UD, 0);
	set_xcr(0, 1);
	expect_fault(UD, 0);
	TRY("xsave %0", : "+m"(area) : "a"(1), "d"(0));
	expect_fault(UD, 0);
	cr4_write(cr4_read() | CR4_OSXSAVE);
}

static u64 header(unsigned word)
{
	return ((volatile u64 *)(area + HEADER))[word];
}

#define XSAVE(mask) TRY("xsave64 %0", : "+m"(area) : "a"(mask), "d"(0))
#define XRSTOR(mask) TRY("xrstor64 %0", : : "m"(area), "a"(mask), "d"(0))

static u32 xmm0(void)
{
	u32 val;

	__asm__ volatile("movd %%xmm0, %0" : "=r"(val));
	return val;
}

/* [2] volume 1, 13.7 to 13.9 */
static void test_save(void)
{
	clear(0xee);
	((volatile u64 *)(area + HEADER))[0] = 0;
	__asm__ volatile("movd %0, %%xmm0" : : "r"(0x12345678));
	XSAVE(SSE);
	expect_no_fault();
	expect_eq(*(volatile u32 *)(area + XMM0), 0x12345678);
	expect_eq(header(0), SSE);
	/* What was not asked for stays. */
	expect_eq(area[0], 0xee);
	expect_eq(header(1), 0xeeeeeeeeeeeeeeeeull);
	/* A header with what is reserved in it. */
	XRSTOR(SSE);
	expect_fault(GP, 0);
	for (unsigned i = 1; i < 8; i++)
		((volatile u64 *)(area + HEADER))[i] = 0;
	((volatile u64 *)(area + HEADER))[0] = SSE | BIT(62);
	XRSTOR(SSE);
	expect_fault(GP, 0);
	((volatile u64 *)(area + HEADER))[0] = SSE;
	__asm__ volatile("pxor %xmm0, %xmm0");
	XRSTOR(SSE);
	expect_no_fault();
	expect_eq(xmm0(), 0x12345678);
	/* Not in XSTATE_BV: its initial state. Not asked for: as it is. */
	((volatile u64 *)(area + HEADER))[0] = 0;
	XRSTOR(X87);
	expect_no_fault();
	expect_eq(xmm0(), 0x12345678);
	XRSTOR(SSE);
	expect_no_fault();
	expect_eq(xmm0(), 0);
	/* MXCSR's reserved bits, and alignment. */
	((volatile u64 *)(area + HEADER))[0] = SSE;
	*(volatile u32 *)(area + MXCSR) = 0xffff0000;
	XRSTOR(SSE);
	expect_fault(GP, 0);
	TRY("xsave (%1)", : "+m"(area) : "r"(area + 16), "a"(3), "d"(0));
	expect_fault(GP, 0);
}

static void test_avx(void)
{
	set_xcr(0, X87 | SSE | AVX);
	clear(0);
	__asm__ volatile("movd %0, %%xmm0; vinsertf128 $1, %%xmm0, %%ymm0, "
			 "%%ymm0"
			 :
			 : "r"(0x87654321));
	XSAVE(SSE | AVX);
	expect_eq(header(0), SSE | AVX);
	expect_eq(*(volatile u32 *)(area + YMM0_HIGH), 0x87654321);
	*(volatile u32 *)(area + YMM0_HIGH) = 0x1111;
	XRSTOR(AVX); /* the upper half alone */
	__asm__ volatile("movd %0, %%xmm1; vextractf128 $1, %%ymm0, %%xmm1"
			 :
			 : "r"(0));
	clear(0);
	XSAVE(SSE | AVX);
	expect_eq(*(volatile u32 *)(area + XMM0), 0x87654321);
	expect_eq(*(volatile u32 *)(area + XMM0 + 16), 0x1111);
	/* Off: AVX is #UD, SSE goes on. */
	set_xcr(0, X87 | SSE);
	TRY("vpxor %%xmm0, %%xmm0, %%xmm0", : : : "memory");
	expect_fault(UD, 0);
	TRY("pxor %%xmm0, %%xmm0", : : : "memory");
	expect_no_fault();
	set_xcr(0, X87 | SSE | AVX);
	__asm__ volatile("vzeroall");
	clear(0);
	XSAVE(SSE | AVX);
	for (unsigned i = 0; i < 16; i++)
		expect_eq(((volatile u8 *)area)[YMM0_HIGH + i], 0);
}

/* [2] table 2-2, [1] each: TS is #NM; EM is #UD for SSE, #NM for x87; WAIT
 * looks at TS only with MP. */
static void test_switched(void)
{
	ulong cr0 = cr0_read();

	cr0_write(cr0 | CR0_TS);
	TRY("fnop", : : : "memory");
	expect_fault(NM, 0);
	TRY("pxor %%xmm0, %%xmm0", : : : "memory");
	expect_fault(NM, 0);
	TRY("pxor %%mm0, %%mm0", : : : "memory");
	expect_fault(NM, 0);
	TRY("fxsave %0", : "+m"(area) : : "memory");
	expect_fault(NM, 0);
	TRY("stmxcsr %0", : "+m"(area) : : "memory");
	expect_fault(NM, 0);
	TRY("wait", : : : "memory");
	expect_fault(NM, 0);
	/* These are no SIMD: neither bit holds them back. */
	TRY("movnti %%eax, %0; sfence; prefetcht0 %0",
	    : "+m"(area)
	    :
	    : "memory");
	expect_no_fault();
	cr0_write((cr0 | CR0_TS) & ~CR0_MP);
	TRY("wait", : : : "memory");
	expect_no_fault();
	__asm__ volatile("clts");
	expect_eq(cr0_read() & CR0_TS, 0);
	TRY("fnop", : : : "memory");
	expect_no_fault();
	cr0_write(cr0 | CR0_EM);
	TRY("fnop", : : : "memory");
	expect_fault(NM, 0);
	TRY("pxor %%xmm0, %%xmm0", : : : "memory");
	expect_fault(UD, 0);
	TRY("pxor %%mm0, %%mm0", : : : "memory");
	expect_fault(UD, 0);
	cr0_write(cr0);
	cr4_write(cr4_read() & ~CR4_OSFXSR);
	TRY("pxor %%xmm0, %%xmm0", : : : "memory");
	expect_fault(UD, 0);
	/* FXSAVE is there all the same, [1]. */
	TRY("fxsave %0", : "+m"(area) : : "memory");
	expect_no_fault();
	cr4_write(cr4_read() | CR4_OSFXSR);
}

void test_xsave(void)
{
	u64 offered;

	test_switched();
	if (!(cpuid(1, 0).ecx & BIT(26))) {
		skip("xsave");
		return;
	}
	cr4_write(cr4_read() | CR4_OSXSAVE);
	offered = (u64)cpuid(0xd, 0).edx << 32 | cpuid(0xd, 0).eax;
	test_xcr0(offered);
	test_save();
	if (offered & AVX)
		test_avx();
}
