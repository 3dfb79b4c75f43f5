/* SPDX-License-Identifier: Apache-2.0 */
/* What 64-bit mode has of its own. Reference: [1] Intel SDM 325462-080,
 * volume 1, 10.5.1 (FXSAVE area). */
#include "paging.h"
#include "state.h"
#include "user.h"

/* ---- FPU and SIMD ------------------------------------------------------ */

enum {
	BEFORE = 0, /* offsets in the user's stack page */
	AFTER = 512,
	UPPER = 1024,
	WIDE = 2048,
	REGISTERS = 16,
	FOP = 6, /* [1]: to DP's end, see docs/engine-kvm.md */
	MXCSR = 24,
	FX_END = 416,
};

#define FPU_FILL                                          \
	"fninit\n"                                        \
	"pushq $0x0a7f\n fldcw (%rsp)\n" /* up, double */ \
	"fld1\n fldpi\n fldl2e\n fldz\n fld1\n fdivp\n"   \
	"ffree %st(1)\n fldln2\n"                         \
	"movl $0x7fa1, (%rsp)\n ldmxcsr (%rsp)\n pop %rax\n"
#define POINT "mov $0x1ee, %edx\n outb %al, %dx\n"

BLOB(fpu_sse, FPU_FILL ".set n, 0\n"
		       ".irp r, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
		       "movups 2048 + 32 * \\r(%rdi), %xmm\\r\n"
		       ".endr\n"
		       "fxsave64 (%rdi)\n" POINT "fxsave64 512(%rdi)\n");
BLOB(fpu_avx, FPU_FILL ".irp r, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
		       "vmovups 2048 + 32 * \\r(%rdi), %ymm\\r\n"
		       ".endr\n"
		       "fxsave64 (%rdi)\n" POINT "fxsave64 512(%rdi)\n"
		       ".irp r, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
		       "vmovups %ymm\\r, 1024 + 32 * \\r(%rdi)\n"
		       ".endr\n");

static bool avx_on(void)
{
	const u32 both = BIT(26) | BIT(28);

	if ((cpuid(1, 0).ecx & both) != both)
		return false;
	cr4_write(cr4_read() | CR4_OSXSAVE);
	TRY("xsetbv", : : "a"(7), "d"(0), "c"(0));
	return fault.vector == NO_FAULT;
}

void point_fpu(void)
{
	bool avx = avx_on();
	volatile u8 *page;
	u32 wrong = 0;

	page = (volatile u8 *)(user_stack() - 4096);
	for (u32 i = 0; i < 32 * REGISTERS; i++)
		page[WIDE + i] = (u8)(i * 37 + 11);
	user_flags = 2 | 3 << 12; /* IOPL: it may write to ports */
	if (avx)
		user_run(fpu_avx, fpu_avx_end, (ulong)page);
	else
		user_run(fpu_sse, fpu_sse_end, (ulong)page);
	expect_eq(fault.vector, BP);
	expect_eq(*(volatile u16 *)(page + AFTER), 0x0a7f);
	expect_eq(*(volatile u32 *)(page + AFTER + MXCSR), 0x7fa1);
	for (u32 i = 0; i < FX_END; i++)
		if (i < FOP || i >= MXCSR)
			wrong += page[BEFORE + i] != page[AFTER + i];
	expect_eq(wrong, 0);
	for (u32 i = 0; avx && i < 32 * REGISTERS; i++)
		wrong += page[UPPER + i] != page[WIDE + i];
	expect_eq(wrong, 0);
	if (!avx)
		skip("avx");
}

/* ---- paging ------------------------------------------------------------ */

void paging_start(struct paging *paging)
{
	paging_boot(paging);
	if (cpuid(1, 0).ecx & BIT(17)) {
		cr4_write(cr4_read() | CR4_PCIDE);
		cr3_write(paging->root | 5);
	}
}

/* ---- MSRs -------------------------------------------------------------- */

static const struct msr_value values[] = {
	{MSR_STAR, 0x0023001000000000},
	{MSR_LSTAR, 0xffffffff81234560},
	{MSR_CSTAR, 0xffffffff81234570},
	{MSR_SFMASK, 0x47700},
	{MSR_SYSENTER_CS, 0x1b},
	{MSR_SYSENTER_ESP, 0x7fff1000},
	{MSR_SYSENTER_EIP, 0x81000040},
	{MSR_FS_BASE, 0xffff888000001000},
	{MSR_GS_BASE, 0x00007fff12345678},
	{MSR_KERNEL_GS_BASE, 0xffffffff82000000},
	{0x277, 0x0007040600070406}, /* PAT */
	{0x200, 0x80000006},	     /* MTRR */
	{0x201, 0xff0000800},
	{0x250, 0x0606060606060606},
	{0xc0000103, 0x87654321}, /* TSC_AUX */
};

void point_msrs(void)
{
	check_msrs(values, ARRAY_SIZE(values));
}
