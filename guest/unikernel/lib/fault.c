/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An exception is the program's end: what happened, the registers, and
 * HVT_STATUS_ABORT.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A: table 6-1 (exceptions), 4.7 (error code
 *     of a page fault)
 */
#include "internal.h"

/* As start.S and the CPU leave it on the fault stack. */
struct frame {
	uint64_t rax, rbx, rcx, rdx, rbp, rsi, rdi;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

enum { PAGE_FAULT = 14, PAGE_FAULT_WRITE = 2, PAGE_FAULT_FETCH = 16 };

__attribute__((noreturn)) void unikernel_fault(const struct frame *f);

/* [1] table 6-1 */
static const char *const names[] = {
	[0] = "divide error",
	[1] = "debug exception",
	[2] = "NMI",
	[3] = "breakpoint",
	[4] = "overflow",
	[5] = "bound range exceeded",
	[6] = "invalid opcode",
	[7] = "no FPU",
	[8] = "double fault",
	[10] = "invalid TSS",
	[11] = "segment not present",
	[12] = "stack-segment fault",
	[13] = "general protection",
	[PAGE_FAULT] = "page fault",
	[16] = "x87 error",
	[17] = "alignment check",
	[18] = "machine check",
	[19] = "SIMD error",
	[21] = "control protection",
};

static bool on_stack(uint64_t at)
{
	return at >= (uintptr_t)unikernel_stack_low &&
	       at < (uintptr_t)unikernel_stack_end;
}

static void explain_page_fault(const struct frame *f)
{
	const char *what = f->error & PAGE_FAULT_FETCH	 ? "a jump to"
			   : f->error & PAGE_FAULT_WRITE ? "a write to"
							 : "a read from";
	const char *where = "";
	uint64_t at;

	__asm__ volatile("mov %%cr2, %0" : "=r"(at));
	if (at < HVT_BOOT_INFO)
		where = ": a null pointer?";
	else if (at < (uintptr_t)unikernel_stack_low &&
		 (f->rsp < (uintptr_t)unikernel_stack_low + 4096))
		where = ": stack overflow";
	else if (at >= boot_info()->mem_size)
		where = ": beyond memory";
	print("  %s %#lx%s\n", what, at, where);
}

static void print_stack(const struct frame *f)
{
	const uint64_t *word = (const uint64_t *)(f->rsp & -8ul);

	for (int i = 0; i < 8 && on_stack((uintptr_t)(word + i)); i++)
		print(i % 4 ? " %016lx" : "\n  stack %016lx", word[i]);
	print("\n");
}

void unikernel_fault(const struct frame *f)
{
	static bool again;
	const char *name = "exception";

	/* A fault while telling of one: its frame lies where the first did. */
	if (again)
		abort();
	again = true;
	if (f->vector < sizeof(names) / sizeof(names[0]) && names[f->vector])
		name = names[f->vector];
	print("panic: %s (vector %lu, error %#lx) at %#lx\n", name, f->vector,
	      f->error, f->rip);
	if (f->vector == PAGE_FAULT)
		explain_page_fault(f);
	print("  rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", f->rax, f->rbx,
	      f->rcx, f->rdx);
	print("  rsi %016lx rdi %016lx rbp %016lx rsp %016lx\n", f->rsi, f->rdi,
	      f->rbp, f->rsp);
	print("  r8  %016lx r9  %016lx r10 %016lx r11 %016lx\n", f->r8, f->r9,
	      f->r10, f->r11);
	print("  r12 %016lx r13 %016lx r14 %016lx r15 %016lx\n", f->r12, f->r13,
	      f->r14, f->r15);
	print("  rip %016lx flags %08lx", f->rip, f->rflags);
	print_stack(f);
	abort();
}
