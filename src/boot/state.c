/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU as firmware would leave it, in the two modes that loaders start in.
 *
 * References: [1] Intel SDM vol. 3A: 3.4.5 (descriptors), 4.5 (4-level
 *                 paging), 12.11.2.1 (IA32_MTRR_DEF_TYPE).
 *             [2] Linux, Documentation/arch/x86/boot.rst, "32-bit Boot
 *                 Protocol", "64-bit Boot Protocol".
 *             [3] Multiboot Specification 0.6.96, 3.2 (machine state).
 *             [4] Xen, docs/misc/pvh.pandoc (PVH entry).
 */
#include "boot/image.h"

#include <string.h>

#include "arch/x86.h"

/* The selectors that [2] wants; the others leave the choice to us. */
enum boot_selector { BOOT_CS = 0x10, BOOT_DS = 0x18, BOOT_TSS = 0x20 };

enum boot_bda {
	BDA_EBDA_SEGMENT = 0x40e,
	BDA_BASE_MEMORY = 0x413, /* KiB */
};

/* [1] 12.11.2.1: MTRRs on, default type write-back. */
#define MTRR_ENABLED_WB (BIT(11) | 6)

static struct x86_segment segment(u16 selector, u16 attr)
{
	return (struct x86_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.attr = attr,
	};
}

/* [1] figure 3-8, for a segment of base 0 */
static u64 descriptor(const struct x86_segment *seg)
{
	u32 limit = seg->attr & SEG_G ? seg->limit >> 12 : seg->limit;

	return (limit & 0xffff) | (u64)seg->attr << 40 |
	       (u64)(limit >> 16 & 0xf) << 48;
}

/*
 * Registers and tables that both modes have in common. A guest that looks for
 * the RSDP or the size of base memory the BIOS way reads the BIOS data area.
 */
static int state_common(struct guest_mem *mem, struct x86_state *state,
			u16 code_attr, struct err *err)
{
	const u16 data =
		SEG_P | SEG_S | SEG_WRITABLE | SEG_ACCESSED | SEG_DB | SEG_G;
	const u16 ebda = BOOT_EBDA >> 4, base_kib = BOOT_EBDA >> 10;
	u64 gdt[6] = {0}; /* the TSS takes two in 64-bit mode */
	int ret;

	x86_state_reset(state);
	memset(state->gpr, 0, sizeof(state->gpr));
	/* No protocol promises a stack, but some kernels push at once. */
	state->gpr[X86_RSP] = BOOT_STACK;
	state->rflags = FLAG_1;
	state->mp_state = X86_MP_RUNNABLE;
	for (unsigned i = 0; i < X86_SEGS; i++)
		state->seg[i] = segment(BOOT_DS, data);
	state->seg[X86_CS] = segment(BOOT_CS, code_attr);
	state->seg[X86_TR] = (struct x86_segment){
		.limit = 0x67,
		.selector = BOOT_TSS,
		.attr = SEG_P | 0x0b, /* busy 32/64-bit TSS */
	};
	state->seg[X86_LDTR] = (struct x86_segment){.attr = SEG_UNUSABLE};
	state->msr.mtrr_def_type = MTRR_ENABLED_WB;

	gdt[BOOT_CS / 8] = descriptor(&state->seg[X86_CS]);
	gdt[BOOT_DS / 8] = descriptor(&state->seg[X86_DS]);
	gdt[BOOT_TSS / 8] = descriptor(&state->seg[X86_TR]);
	state->gdtr = (struct x86_table){BOOT_GDT, sizeof(gdt) - 1, {0}};
	state->idtr = (struct x86_table){0, 0, {0}};
	ret = boot_put(mem, BOOT_GDT, gdt, sizeof(gdt), err);
	if (!ret)
		ret = boot_put(mem, BDA_EBDA_SEGMENT, &ebda, 2, err);
	if (!ret)
		ret = boot_put(mem, BDA_BASE_MEMORY, &base_kib, 2, err);
	return ret;
}

int boot_state_protected(struct guest_mem *mem, struct x86_state *state,
			 gpa_t entry, struct err *err)
{
	const u16 code = SEG_P | SEG_S | SEG_CODE | SEG_READABLE |
			 SEG_ACCESSED | SEG_DB | SEG_G;

	int ret = state_common(mem, state, code, err);

	if (ret)
		return ret;
	state->cr0 = CR0_PE | CR0_ET;
	state->cr4 = 0;
	state->rip = entry;
	return 0;
}

/* One PML4, one PDPT, four page directories of 2 MiB pages ([1] 4.5). */
static int identity_map(struct guest_mem *mem, struct err *err)
{
	u64 table[6][512] = {0};

	table[0][0] = (BOOT_PAGE_TABLES + 0x1000) | PTE_P | PTE_W;
	for (u64 i = 0; i < 4; i++)
		table[1][i] = (BOOT_PAGE_TABLES + 0x2000 + i * 0x1000) | PTE_P |
			      PTE_W;
	for (u64 i = 0; i < 4 * 512; i++)
		table[2 + i / 512][i % 512] = i << 21 | PTE_P | PTE_W | PTE_PS;
	return boot_put(mem, BOOT_PAGE_TABLES, table, sizeof(table), err);
}

int boot_state_long(struct guest_mem *mem, struct x86_state *state, gpa_t entry,
		    struct err *err)
{
	const u16 code = SEG_P | SEG_S | SEG_CODE | SEG_READABLE |
			 SEG_ACCESSED | SEG_L | SEG_G;
	int ret = state_common(mem, state, code, err);

	if (!ret)
		ret = identity_map(mem, err);
	if (ret)
		return ret;
	state->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	state->cr3 = BOOT_PAGE_TABLES;
	state->cr4 = CR4_PAE;
	state->msr.efer = EFER_LME | EFER_LMA;
	state->rip = entry;
	return 0;
}
