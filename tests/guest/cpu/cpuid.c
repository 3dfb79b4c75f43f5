/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A feature bit and the instruction behind it: #UD where it is clear, no #UD
 * where it is set. Both directions matter: kernels go by the bit, and what is
 * not offered must not exist after a move to another host.
 */
#include "cpu.h"

enum { EAX, EBX, ECX, EDX };

/* rax, rcx, rdx and rbx are pointers to 64 zero bytes, aligned. */
struct feature {
	const char *name;
	u32 leaf;
	u8 reg, bit, len;
	u8 code[10];
};

/* Encodings: [1]. Memory operands are (%rax). */
static const struct feature features[] = {
	{"sse3", 1, ECX, 0, 4, {0xf2, 0x0f, 0x7c, 0xc1}},
	{"pclmul", 1, ECX, 1, 6, {0x66, 0x0f, 0x3a, 0x44, 0xc1, 0}},
	{"monitor", 1, ECX, 3, 5, {0x31, 0xc9, 0x0f, 0x01, 0xc8}},
	{"ssse3", 1, ECX, 9, 5, {0x66, 0x0f, 0x38, 0x00, 0xc1}},
	{"fma", 1, ECX, 12, 5, {0xc4, 0xe2, 0xf1, 0x98, 0xc2}},
	{"cx16", 1, ECX, 13, 4, {0x48, 0x0f, 0xc7, 0x08}},
	{"sse41", 1, ECX, 19, 5, {0x66, 0x0f, 0x38, 0x17, 0xc1}},
	{"sse42", 1, ECX, 20, 5, {0x66, 0x0f, 0x38, 0x37, 0xc1}},
	{"movbe", 1, ECX, 22, 4, {0x0f, 0x38, 0xf0, 0x08}},
	{"popcnt", 1, ECX, 23, 4, {0xf3, 0x0f, 0xb8, 0xc9}},
	{"aes", 1, ECX, 25, 5, {0x66, 0x0f, 0x38, 0xdc, 0xc1}},
	{"avx", 1, ECX, 28, 4, {0xc5, 0xf0, 0x58, 0xc2}},
	{"f16c", 1, ECX, 29, 5, {0xc4, 0xe2, 0x79, 0x13, 0xc1}},
	{"rdrand", 1, ECX, 30, 3, {0x0f, 0xc7, 0xf1}},
	{"clflush", 1, EDX, 19, 3, {0x0f, 0xae, 0x38}},
	{"bmi1", 7, EBX, 3, 5, {0xc4, 0xe2, 0x70, 0xf2, 0xc9}},
	{"avx2", 7, EBX, 5, 4, {0xc5, 0xf5, 0xfe, 0xc2}},
	{"bmi2", 7, EBX, 8, 5, {0xc4, 0xe2, 0x71, 0xf7, 0xc9}},
	{"invpcid", 7, EBX, 10, 7, {0x31, 0xc9, 0x66, 0x0f, 0x38, 0x82, 0x08}},
	{"rdseed", 7, EBX, 18, 3, {0x0f, 0xc7, 0xf9}},
	{"adx", 7, EBX, 19, 5, {0x66, 0x0f, 0x38, 0xf6, 0xc9}},
	{"smap", 7, EBX, 20, 3, {0x0f, 0x01, 0xca}},
	{"clflushopt", 7, EBX, 23, 4, {0x66, 0x0f, 0xae, 0x38}},
	{"clwb", 7, EBX, 24, 4, {0x66, 0x0f, 0xae, 0x30}},
	{"sha", 7, EBX, 29, 4, {0x0f, 0x38, 0xc8, 0xc1}},
	{"gfni", 7, ECX, 8, 5, {0x66, 0x0f, 0x38, 0xcf, 0xc1}},
	{"rdpid", 7, ECX, 22, 4, {0xf3, 0x0f, 0xc7, 0xf9}},
	{"movdiri", 7, ECX, 27, 4, {0x0f, 0x38, 0xf9, 0x08}},
	{"serialize", 7, EDX, 14, 3, {0x0f, 0x01, 0xe8}},
	{"sse4a", 0x80000001, ECX, 6, 4, {0x66, 0x0f, 0x79, 0xc1}},
	{"xop", 0x80000001, ECX, 11, 5, {0x8f, 0xe9, 0x78, 0x80, 0xc1}},
	{"tbm", 0x80000001, ECX, 21, 5, {0x8f, 0xe9, 0x70, 0x01, 0xc9}},
	{"fma4", 0x80000001, ECX, 16, 6, {0xc4, 0xe3, 0xf1, 0x69, 0xc2, 0x30}},
	{"monitorx", 0x80000001, ECX, 29, 5, {0x31, 0xc9, 0x0f, 0x01, 0xfa}},
	{"3dnow", 0x80000001, EDX, 31, 4, {0x0f, 0x0f, 0xc1, 0x9e}},
	{"rdtscp", 0x80000001, EDX, 27, 3, {0x0f, 0x01, 0xf9}},
	{"clzero", 0x80000008, EBX, 0, 3, {0x0f, 0x01, 0xfc}},
};

static u8 scratch[64] __attribute__((aligned(64)));

static bool offered(const struct feature *f)
{
	struct cpuid id = {0, 0, 0, 0};
	u32 words[4];

	if (cpuid(f->leaf & 0x80000000, 0).eax >= f->leaf)
		id = cpuid(f->leaf, 0);
	words[EAX] = id.eax;
	words[EBX] = id.ebx;
	words[ECX] = id.ecx;
	words[EDX] = id.edx;
	return words[f->reg] >> f->bit & 1;
}

static void run(const u8 *code)
{
	TRY("mov %1, %%rcx; mov %1, %%rdx; mov %1, %%rbx; call *%0",
	    :
	    : "r"(code), "a"(scratch)
	    : "rcx", "rdx", "rbx", "memory", "cc");
}

/* All of AVX's state enabled where there is any. */
static void enable_avx(void)
{
	if (!(cpuid(1, 0).ecx & BIT(26)))
		return;
	cr4_write(cr4_read() | CR4_OSXSAVE);
	__asm__ volatile("xsetbv"
			 :
			 : "c"(0), "a"(cpuid(0xd, 0).eax & 7), "d"(0));
}

void test_cpuid(void)
{
	volatile u8 *code = page_alloc();

	__asm__ volatile("fninit");
	enable_avx();
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		const struct feature *f = &features[i];
		bool fine;

		if (!offered(f) && lax("not-offered"))
			continue;
		for (unsigned byte = 0; byte < f->len; byte++)
			code[byte] = f->code[byte];
		code[f->len] = 0xc3;
		cpuid(0, 0);
		run((const u8 *)code);
		if (offered(f))
			fine = expect(fault.vector != UD);
		else
			fine = expect_eq(fault.vector, UD);
		if (!fine)
			print("  %s is %s\n", f->name,
			      offered(f) ? "offered" : "not offered");
	}
	/* [1] CPUID: beyond the last basic leaf. 0x80000000 and up count for
	 * themselves, and agree with the basic ones on what is in both. */
	expect(cpuid(0, 0).eax >= 0xd);
	expect(cpuid(0x80000000, 0).eax >= 0x80000008);
	expect_eq(cpuid(1, 0).ecx >> 27 & 1, cr4_read() / CR4_OSXSAVE & 1);
	cr4_write(cr4_read() & ~CR4_OSXSAVE);
	expect_eq(cpuid(1, 0).ecx >> 27 & 1, 0);
	/* [2] 11.4.4: CPUID's initial APIC ID. */
	expect_eq(cpuid(1, 0).ebx >> 24, *(volatile u32 *)0xfee00020ul >> 24);
}
