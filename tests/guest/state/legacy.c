/* SPDX-License-Identifier: Apache-2.0 */
/* What 32-bit mode has of its own. */
#include "paging.h"
#include "state.h"
#include "user.h"

void point_fpu(void)
{
	reach();
	skip("fpu32");
}

/* ---- paging ------------------------------------------------------------ */

void paging_start(struct paging *paging)
{
	paging_init(paging, PAGING_PAE);
	cr4_write(cr4_read() | CR4_PAE);
	cr3_write(paging->root);
	cr0_write(cr0_read() | CR0_PG | CR0_WP);
}

/* ---- MSRs -------------------------------------------------------------- */

static const struct msr_value values[] = {
	{MSR_SYSENTER_CS, 0x1b},
	{MSR_SYSENTER_ESP, 0xc0001000},
	{MSR_SYSENTER_EIP, 0xc1000040},
	{0x277, 0x0007040600070406},
	{0x200, 0x80000006},
	{0x201, 0xff0000800},
	{0x250, 0x0606060606060606},
};

void point_msrs(void)
{
	check_msrs(values, ARRAY_SIZE(values));
}
