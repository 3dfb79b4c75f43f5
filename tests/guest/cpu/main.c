/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU's interfaces to systems; see cpu.h. */
#include "cpu.h"

bool is_amd(void)
{
	u32 ebx = cpuid(0, 0).ebx;

	return ebx == 0x68747541 || ebx == 0x6f677948; /* Auth, Hygo */
}

int main(void)
{
	test_syscall();
	test_msr();
	test_cpuid();
	test_xsave();
	return 0;
}
