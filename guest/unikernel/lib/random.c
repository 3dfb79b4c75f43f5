/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References:
 * [1] Intel SDM 325462-080, volume 1, 7.3.17: RDRAND, its CPUID bit, and that
 *     ten attempts in a row do not fail on a sound CPU
 */
#include "unikernel.h"

enum { CPUID_1_ECX_RDRAND = 1 << 30, ATTEMPTS = 10 };

static bool has_rdrand(void)
{
	uint32_t eax = 1, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return ecx & CPUID_1_ECX_RDRAND;
}

uint64_t random_number(void)
{
	uint64_t val = 0;
	uint32_t low, high;
	bool ok = false;

	for (int i = 0; i < ATTEMPTS && !ok && has_rdrand(); i++)
		__asm__ volatile("rdrand %0" : "=r"(val), "=@ccc"(ok));
	/* Neighbouring times far apart: an odd factor loses no bit. */
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return val ^ ((uint64_t)high << 32 | low) * 0x9e3779b97f4a7c15;
}
