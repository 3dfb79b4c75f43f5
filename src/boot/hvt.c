/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Solo5 hvt images: into memory, and the state they start in.
 *
 * References: [1] include/vireo/hvt_abi.h.
 *             [2] Intel SDM vol. 3A: 3.4.5 (descriptors), 4.5 (4-level
 *                 paging), 12.11.2.1 (IA32_MTRR_DEF_TYPE).
 *             [3] Intel SDM vol. 1: 8.1.5 (x87 FPU control word), table 9-1
 *                 (FNINIT beside reset), 13.4.1 (abridged tags).
 *
 *     0x1000   GDT: null, code, data
 *     0x2000   PML4    0x3000 PDPT    0x4000 to 0x7fff four directories
 *     0x8000   page table of the first 2 MiB: nothing below 0x10000, read-only
 *              up to 0x100000, then writable
 *     0x10000  struct hvt_boot_info, the manifest, the command line
 */
#include "boot/hvt.h"

#include <errno.h>
#include <string.h>

#include "arch/x86.h"
#include "boot/image.h"

enum hvt_layout {
	HVT_GDT = 0x1000,
	HVT_PML4 = 0x2000,
	HVT_PDPT = 0x3000,
	HVT_DIRECTORIES = 0x4000,
	HVT_FIRST_TABLE = 0x8000,
};

#define MTRR_ENABLED_WB (BIT(11) | 6)

enum { FCW_INIT = 0x37f, XSAVE_FTW = 4 };

/* ---- paging and descriptors -------------------------------------------- */

static void map_first(u64 table[512])
{
	for (u64 gpa = 0; gpa < MIB(2); gpa += HVT_PAGE) {
		if (gpa < HVT_BOOT_INFO)
			continue;
		table[gpa / HVT_PAGE] =
			gpa | PTE_P | (gpa < HVT_IMAGE_LOW ? 0 : PTE_W);
	}
}

/* One directory a GiB; only what has memory is mapped. */
static int put_page_tables(struct guest_mem *mem, u64 size, struct err *err)
{
	u64 pml4 = HVT_PDPT | PTE_P | PTE_W;
	u64 pdpt[4], table[512] = {0};
	int ret;

	for (u64 i = 0; i < 4; i++)
		pdpt[i] = (HVT_DIRECTORIES + i * HVT_PAGE) | PTE_P | PTE_W;
	ret = boot_put(mem, HVT_PML4, &pml4, sizeof(pml4), err);
	if (!ret)
		ret = boot_put(mem, HVT_PDPT, pdpt, sizeof(pdpt), err);
	for (u64 base = 0; !ret && base < size; base += GIB(1)) {
		const u64 end = min_u64(size, base + GIB(1));

		memset(table, 0, sizeof(table));
		for (u64 gpa = base; gpa < end; gpa += MIB(2))
			table[(gpa - base) >> 21] =
				gpa | PTE_P | PTE_W | PTE_PS;
		if (!base)
			table[0] = HVT_FIRST_TABLE | PTE_P | PTE_W;
		ret = boot_put(mem, HVT_DIRECTORIES + (base >> 30) * HVT_PAGE,
			       table, sizeof(table), err);
	}
	memset(table, 0, sizeof(table));
	map_first(table);
	return ret ? ret
		   : boot_put(mem, HVT_FIRST_TABLE, table, sizeof(table), err);
}

static struct x86_segment flat(u16 selector, u16 attr)
{
	return (struct x86_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.attr = attr | SEG_P | SEG_S | SEG_ACCESSED | SEG_G,
	};
}

/* [2] figure 3-8, for a flat segment. */
static u64 descriptor(const struct x86_segment *seg)
{
	return 0xffff | (u64)seg->attr << 40 | 0xfull << 48;
}

static int put_gdt(struct guest_mem *mem, const struct x86_state *state,
		   struct err *err)
{
	const u64 gdt[3] = {0, descriptor(&state->seg[X86_CS]),
			    descriptor(&state->seg[X86_DS])};

	return boot_put(mem, HVT_GDT, gdt, sizeof(gdt), err);
}

/* As FNINIT leaves it, [3], and not as reset does: exceptions are masked, and
 * the stack is empty, not full of zeroes. */
static void init_x87(struct x86_state *state)
{
	const u16 fcw = FCW_INIT;

	memcpy(state->xsave, &fcw, sizeof(fcw));
	state->xsave[XSAVE_FTW] = 0;
}

static void fill_state(struct x86_state *state, const struct hvt_start *start)
{
	x86_state_reset(state);
	init_x87(state);
	memset(state->gpr, 0, sizeof(state->gpr));
	state->mp_state = X86_MP_RUNNABLE;
	for (unsigned i = 0; i < X86_SEGS; i++)
		state->seg[i] = flat(HVT_DS, SEG_WRITABLE | SEG_DB);
	state->seg[X86_CS] = flat(HVT_CS, SEG_CODE | SEG_READABLE | SEG_L);
	state->seg[X86_TR] = (struct x86_segment){
		.limit = 0x67, .attr = SEG_P | 0x0b, /* busy 64-bit TSS */
	};
	state->seg[X86_LDTR] = (struct x86_segment){.attr = SEG_UNUSABLE};
	state->gdtr = (struct x86_table){HVT_GDT, 3 * 8 - 1, {0}};
	state->idtr = (struct x86_table){0, 0, {0}};
	state->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	state->cr3 = HVT_PML4;
	state->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	state->msr.efer = EFER_LME | EFER_LMA;
	state->msr.mtrr_def_type = MTRR_ENABLED_WB;
	state->msr.apic_base &= ~(u64)APIC_BASE_EN;
	state->rflags = FLAG_1;
	state->rip = start->image->entry;
	state->gpr[X86_RSP] = start->mem_size - 8;
	state->gpr[X86_RDI] = HVT_BOOT_INFO;
}

/* ---- boot information -------------------------------------------------- */

static int put_boot_info(struct guest_mem *mem, const struct hvt_start *start,
			 struct err *err)
{
	const struct hvt_image *image = start->image;
	const struct hvt_manifest head = {HVT_MANIFEST_VERSION, image->count};
	const u64 entries_size = image->count * sizeof(image->entries[0]);
	const u64 cmdline_size = strlen(start->cmdline) + 1;
	const struct hvt_boot_info info = {
		.mem_size = start->mem_size,
		.image_end = image->end,
		.tsc_hz = start->tsc_hz,
		.manifest = HVT_BOOT_INFO + sizeof(info),
		.cmdline = HVT_BOOT_INFO + sizeof(info) + sizeof(head) +
			   entries_size,
	};
	int ret;

	if (cmdline_size > HVT_CMDLINE_MAX)
		return err_set(err, -E2BIG,
			       "Guest command line too long (max=%d "
			       "characters)",
			       HVT_CMDLINE_MAX - 1);
	ret = boot_put(mem, HVT_BOOT_INFO, &info, sizeof(info), err);
	if (!ret)
		ret = boot_put(mem, info.manifest, &head, sizeof(head), err);
	if (!ret)
		ret = boot_put(mem, info.manifest + sizeof(head),
			       image->entries, entries_size, err);
	if (!ret)
		ret = boot_put(mem, info.cmdline, start->cmdline, cmdline_size,
			       err);
	return ret;
}

/* ---- image ------------------------------------------------------------- */

static int check_fit(const struct hvt_start *start, struct err *err)
{
	const struct hvt_image *image = start->image;

	if (start->mem_size % HVT_MEM_STEP || !start->mem_size ||
	    start->mem_size > MEM_MAX_FLAT)
		return err_set(err, -EINVAL,
			       "this guest's memory must be 2 MiB to 4 GiB, in "
			       "steps of 2 MiB");
	if (image->end > start->mem_size)
		return err_set(err, -E2BIG,
			       "%s ends at %#lx, beyond the guest's memory of "
			       "%lu MiB",
			       start->file->name, image->end,
			       start->mem_size >> 20);
	return 0;
}

/* No code but what the image says is code. */
static int protect(struct guest_mem *mem, const struct hvt_start *start,
		   struct err *err)
{
	int ret = mem_protect(mem, 0, start->mem_size, MEM_R | MEM_W);

	for (unsigned i = 0; !ret && i < start->image->segment_count; i++) {
		const struct hvt_segment *seg = &start->image->segments[i];

		ret = mem_protect(mem, seg->start, seg->end - seg->start,
				  seg->rights);
	}
	return ret ? err_set(err, ret,
			     "cannot protect the guest's segments: %s",
			     strerror(-ret))
		   : 0;
}

int hvt_load(struct guest_mem *mem, const struct hvt_start *start,
	     struct x86_state *state, struct err *err)
{
	int ret = check_fit(start, err);

	for (unsigned i = 0; !ret && i < start->image->segment_count; i++) {
		const struct hvt_segment *seg = &start->image->segments[i];

		ret = boot_place(mem, seg->gpa, start->file->data + seg->off,
				 seg->file_len, err);
	}
	if (!ret)
		ret = put_page_tables(mem, start->mem_size, err);
	if (!ret)
		ret = put_boot_info(mem, start, err);
	if (ret)
		return ret;
	fill_state(state, start);
	ret = put_gdt(mem, state, err);
	return ret ? ret : protect(mem, start, err);
}
