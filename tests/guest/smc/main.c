/* SPDX-License-Identifier: Apache-2.0 */
/* Code that changes; see smc.h. */
#include "smc.h"

u8 *code;
struct paging paging;

void code_mov(u8 *at, u32 val)
{
	volatile u8 *out = at;

	*out++ = 0xb8;
	for (unsigned i = 0; i < 4; i++)
		*out++ = (u8)(val >> 8 * i);
	*out = 0xc3;
}

u32 code_run(const void *at)
{
	u32 val;

	__asm__ volatile("call *%1"
			 : "=a"(val)
			 : "r"(at)
			 : "ecx", "edx", "memory", "cc");
	return val;
}

static void paging_on(void)
{
	if (FOR_WIDTH(0, 1)) {
		paging_boot(&paging);
		return;
	}
	cr4_write(cr4_read() | CR4_PSE);
	paging_init(&paging, PAGING_2LEVEL);
	cr3_write(paging.root);
	cr0_write(cr0_read() | CR0_PG | CR0_WP);
}

int main(void)
{
	code = pages_alloc(2);
	paging_on();
	test_self();
	test_remap();
	test_cross();
	return 0;
}
