/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptor table and task state.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, 3.4.5 (descriptors), 8.2 (32-bit task
 *     state), 8.7 (64-bit task state)
 */
#include "segment.h"

#include "x86.h"

enum { TSS_WORDS = 26, TSS_TYPE_FREE = 9 };

static u64 gdt[GDT_SIZE / 8] __attribute__((aligned(16)));
static u32 tss[TSS_WORDS] __attribute__((aligned(16)));

u64 segment(u32 base, u32 limit, u64 bits)
{
	return bits | (limit & 0xffff) | (u64)(limit & 0xf0000) << 32 |
	       (u64)(base & 0xffffff) << 16 | (u64)(base >> 24) << 56;
}

void gdt_set(u16 selector, u64 descriptor)
{
	*(volatile u64 *)&gdt[selector / 8] = descriptor;
}

u64 gdt_get(u16 selector)
{
	return *(volatile u64 *)&gdt[selector / 8];
}

/* 64-bit: rsp0 is at byte 4, the rest follow, ist1 at byte 36. 32-bit: esp0
 * at 4, ss0 at 8, and so on. */
void task_set_stack(int ring, ulong top)
{
	tss[1 + ring * 2] = (u32)top;
	if (sizeof(ulong) == 8)
		tss[2 + ring * 2] = (u32)((u64)top >> 32);
}

void task_set_stack_segment(int ring, u16 selector)
{
	tss[2 + ring * 2] = selector;
}

void task_set_ist(int n, ulong top)
{
	tss[7 + n * 2] = (u32)top;
	tss[8 + n * 2] = (u32)((u64)top >> 32);
}

static void load_registers(void)
{
	struct table_pointer pointer = {sizeof(gdt) - 1, (ulong)gdt};

	__asm__ volatile("lgdt %0\n\t"
			 "mov %w1, %%ds\n\t"
			 "mov %w1, %%es\n\t"
			 "mov %w1, %%ss\n\t"
			 "mov %w1, %%fs\n\t"
			 "mov %w1, %%gs\n\t"
			 "push %2\n\t"
			 "push $1f\n\t" FOR_WIDTH("lret", "lretq") "\n"
								   "1:"
			 :
			 : "m"(pointer), "r"(KERNEL_DATA),
			   "r"((ulong)KERNEL_CODE)
			 : "memory");
}

void task_load(void)
{
	gdt_set(TASK, segment((u32)(ulong)tss, sizeof(tss) - 1,
			      SEG_P | (u64)TSS_TYPE_FREE << 40));
	__asm__ volatile("ltr %w0" : : "r"(TASK));
}

void segments_load(void)
{
	u64 flat = SEG_FLAT | SEG_G;
	bool wide = sizeof(ulong) == 8;

	gdt_set(KERNEL_CODE, flat | SEG_EXEC | (wide ? SEG_L : SEG_D));
	gdt_set(KERNEL_DATA, flat | SEG_DATA | SEG_D);
	gdt_set(USER_CODE32, flat | SEG_EXEC | SEG_D | SEG_DPL(3));
	gdt_set(USER_DATA, flat | SEG_DATA | SEG_D | SEG_DPL(3));
	gdt_set(USER_CODE64, flat | SEG_EXEC | SEG_L | SEG_DPL(3));
	gdt_set(USER_DATA64, flat | SEG_DATA | SEG_D | SEG_DPL(3));
	gdt_set(KERNEL_CODE32, flat | SEG_EXEC | SEG_D);
	gdt_set(KERNEL_CODE16, segment(0, 0xffff, SEG_EXEC));
	gdt_set(KERNEL_DATA16, segment(0, 0xffff, SEG_DATA));
	/* No I/O permission map: its offset is beyond the limit. */
	tss[TSS_WORDS - 1] = sizeof(tss) << 16;
	if (!wide) {
		task_set_stack_segment(0, KERNEL_DATA);
		task_set_stack_segment(1, KERNEL_DATA);
	}
	load_registers();
	task_load();
}

void segments_load_ap(void)
{
	load_registers();
}
