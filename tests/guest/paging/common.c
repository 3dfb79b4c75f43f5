/* SPDX-License-Identifier: Apache-2.0 */
/* What all kinds of page tables have in common; see paging_test.h. */
#include "paging_test.h"

BLOB(user_read, "mov (" FOR_WIDTH("%eax", "%rax") "), %ecx");
BLOB(user_write, "movl $1, (" FOR_WIDTH("%eax", "%rax") ")");
BLOB(user_jump, "jmp *" FOR_WIDTH("%eax", "%rax"));

void bench_init(struct bench *bench)
{
	bench->page_a = page_alloc();
	bench->page_b = page_alloc();
	*bench->page_a = WORD_A;
	*bench->page_b = WORD_B;
}

void bench_map(struct bench *bench, u64 bits)
{
	paging_map(&bench->paging, TEST_BASE, 1, (ulong)bench->page_a | bits);
}

u64 bench_entry(struct bench *bench)
{
	return paging_get(&bench->paging, TEST_BASE, 1);
}

/* [1] 4.8 */
void test_accessed_dirty(struct bench *bench)
{
	u64 table;

	bench_map(bench, PTE_P | PTE_W);
	table = paging_get(&bench->paging, TEST_BASE, 2);
	paging_map(&bench->paging, TEST_BASE, 2, table & ~PTE_A);
	expect_eq(bench_entry(bench) & (PTE_A | PTE_D), 0);
	expect_eq(*AT(TEST_BASE), WORD_A);
	expect_eq(bench_entry(bench) & (PTE_A | PTE_D), PTE_A);
	table = paging_get(&bench->paging, TEST_BASE, 2);
	expect_eq(table & (PTE_A | PTE_D), PTE_A);
	/* A translation that was made for reading does not hide the first
	 * write. */
	*AT(TEST_BASE) = WORD_A;
	expect_eq(bench_entry(bench) & (PTE_A | PTE_D), PTE_A | PTE_D);

	bench_map(bench, PTE_P | PTE_W);
	*AT(TEST_BASE) = WORD_A;
	expect_eq(bench_entry(bench) & (PTE_A | PTE_D), PTE_A | PTE_D);
	/* What is refused is not dirty. */
	bench_map(bench, PTE_P);
	WRITE(TEST_BASE);
	expect_page_fault(PF_P | PF_W, TEST_BASE);
	expect_eq(bench_entry(bench) & PTE_D, 0);
	/* A comparison that fails writes all the same, [1] 4.8 says "may";
	 * one that succeeds must be dirty. */
	bench_map(bench, PTE_P | PTE_W);
	TRY("lock cmpxchg %1, (%0)",
	    :
	    : "b"(TEST_BASE), "c"(WORD_A), "a"(WORD_A)
	    : "memory", "cc");
	expect_no_fault();
	expect_eq(bench_entry(bench) & PTE_D, PTE_D);
}

/* [1] 4.7: the bits of the error code, and CR2 to the byte. */
void test_not_present(struct bench *bench)
{
	bench_map(bench, 0);
	READ(TEST_BASE + 5);
	expect_page_fault(0, TEST_BASE + 5);
	WRITE(TEST_BASE + 9);
	expect_page_fault(PF_W, TEST_BASE + 9);
	TRY("addl $1, (%0)", : : "b"(TEST_BASE) : "memory", "cc");
	expect_page_fault_lax("rmw-read", 0, PF_W, TEST_BASE);
	TRY("cmpl $1, (%0)", : : "b"(TEST_BASE) : "memory", "cc");
	expect_page_fault(0, TEST_BASE);
	/* Across the boundary CR2 is where the missing page begins. */
	paging_map(&bench->paging, TEST_BASE - PAGE, 1,
		   (ulong)bench->page_b | PTE_P | PTE_W);
	READ(TEST_BASE - 2);
	expect_page_fault(0, TEST_BASE);
	WRITE(TEST_BASE - 1);
	expect_page_fault(PF_W, TEST_BASE);
	/* Nothing was written before the fault. */
	expect_eq(((volatile u8 *)bench->page_b)[PAGE - 1], 0);
	user_run(user_read, user_read_end, TEST_BASE);
	expect_eq(fault.vector, PF);
	expect_eq(fault.error, PF_U);
	expect_eq(fault.cr2, TEST_BASE);
	user_run(user_write, user_write_end, TEST_BASE);
	expect_eq(fault.error, PF_U | PF_W);
	/* An entry that is not present has no reserved bits. */
	bench_map(bench, ~0xfffull & ~PTE_P);
	READ(TEST_BASE);
	expect_page_fault(0, TEST_BASE);
}

/* [1] 4.6.1: WP decides for the kernel. */
void test_write(struct bench *bench)
{
	bench_map(bench, PTE_P);
	WRITE(TEST_BASE);
	expect_page_fault(PF_P | PF_W, TEST_BASE);
	READ(TEST_BASE);
	expect_no_fault();
	cr0_write(cr0_read() & ~CR0_WP);
	WRITE(TEST_BASE);
	expect_no_fault();
	expect_eq(bench_entry(bench) & PTE_D, PTE_D);
	/* Never for the user. */
	bench_map(bench, PTE_P | PTE_U);
	user_run(user_write, user_write_end, TEST_BASE);
	expect_eq(fault.vector, PF);
	expect_eq(fault.error, PF_P | PF_W | PF_U);
	cr0_write(cr0_read() | CR0_WP);
	WRITE(TEST_BASE);
	expect_page_fault(PF_P | PF_W, TEST_BASE);
	*bench->page_a = WORD_A;
}

void test_user(struct bench *bench)
{
	bench_map(bench, PTE_P | PTE_W);
	user_run(user_read, user_read_end, TEST_BASE);
	expect_fault_ip(PF, PF_P | PF_U, user_text());
	expect_eq(fault.cr2, TEST_BASE);
	user_run(user_write, user_write_end, TEST_BASE);
	expect_fault_ip(PF, PF_P | PF_W | PF_U, user_text());
	bench_map(bench, PTE_P | PTE_W | PTE_U);
	user_run(user_read, user_read_end, TEST_BASE);
	expect_eq(fault.vector, BP);
	expect_eq((u32)fault.frame.cx, WORD_A);
	user_run(user_write, user_write_end, TEST_BASE);
	expect_eq(fault.vector, BP);
	expect_eq(*AT(TEST_BASE), 1);
	*bench->page_a = WORD_A;
	expect_eq(*AT(TEST_BASE), WORD_A);
}

/* [1] 4.6: what the tables on the way refuse is refused. */
void test_rights(struct bench *bench)
{
	u64 table;

	bench_map(bench, PTE_P | PTE_W | PTE_U);
	table = paging_get(&bench->paging, TEST_BASE, 2);
	paging_map(&bench->paging, TEST_BASE, 2, table & ~PTE_W);
	WRITE(TEST_BASE);
	expect_page_fault(PF_P | PF_W, TEST_BASE);
	paging_map(&bench->paging, TEST_BASE, 2, table & ~PTE_U);
	user_run(user_read, user_read_end, TEST_BASE);
	expect_fault_ip(PF, PF_P | PF_U, user_text());
	WRITE(TEST_BASE);
	expect_no_fault();
	paging_map(&bench->paging, TEST_BASE, 2, table & ~PTE_P);
	READ(TEST_BASE);
	expect_page_fault(0, TEST_BASE);
	paging_map(&bench->paging, TEST_BASE, 2, table);
	*bench->page_a = WORD_A;
}

/* [1] 4.10.4: what must be forgotten, and when. */
void test_flush(struct bench *bench)
{
	u64 to_b = (ulong)bench->page_b | PTE_P | PTE_W;

	bench_map(bench, PTE_P | PTE_W);
	expect_eq(*AT(TEST_BASE), WORD_A);
	paging_set(&bench->paging, TEST_BASE, 1, to_b);
	page_flush(AT(TEST_BASE));
	expect_eq(*AT(TEST_BASE), WORD_B);
	bench_map(bench, PTE_P | PTE_W);
	expect_eq(*AT(TEST_BASE), WORD_A);
	paging_set(&bench->paging, TEST_BASE, 1, to_b);
	cr3_write(cr3_read());
	expect_eq(*AT(TEST_BASE), WORD_B);
	/* INVLPG anywhere in the page will do. */
	paging_set(&bench->paging, TEST_BASE, 1, (ulong)bench->page_a | PTE_P);
	page_flush(AT(TEST_BASE + PAGE - 1));
	expect_eq(*AT(TEST_BASE), WORD_A);
	/* A write that faults because of an old translation is tried again
	 * with the tables: more rights need no flush, [1] 4.10.4.3. */
	paging_set(&bench->paging, TEST_BASE, 1,
		   (ulong)bench->page_a | PTE_P | PTE_W);
	page_flush(AT(TEST_BASE));
	WRITE(TEST_BASE);
	expect_no_fault();
	*bench->page_a = WORD_A;
}

/* [1] 4.10.2.4: CR3 spares what is global, INVLPG and CR4.PGE do not. */
void test_global(struct bench *bench)
{
	u64 to_b = (ulong)bench->page_b | PTE_P | PTE_W | PTE_G;
	ulong cr4 = cr4_read();

	cr4_write(cr4 | CR4_PGE);
	bench_map(bench, PTE_P | PTE_W | PTE_G);
	expect_eq(*AT(TEST_BASE), WORD_A);
	paging_set(&bench->paging, TEST_BASE, 1, to_b);
	page_flush(AT(TEST_BASE));
	expect_eq(*AT(TEST_BASE), WORD_B);
	bench_map(bench, PTE_P | PTE_W | PTE_G);
	expect_eq(*AT(TEST_BASE), WORD_A);
	paging_set(&bench->paging, TEST_BASE, 1, to_b);
	cr4_write(cr4);
	expect_eq(*AT(TEST_BASE), WORD_B);
	bench_map(bench, PTE_P | PTE_W);
}

/* [1] 4.6.2 and 4.7: I is reported only where execution can be refused. */
void test_no_execute(struct bench *bench)
{
	u64 efer = msr_read(MSR_EFER);

	*(volatile u8 *)bench->page_a = 0xc3; /* ret */
	bench_map(bench, PTE_P);
	CALL(TEST_BASE);
	expect_no_fault();
	bench_map(bench, PTE_P | PTE_NX);
	CALL(TEST_BASE);
	expect_fault_ip(PF, PF_P | PF_I, TEST_BASE);
	expect_eq(fault.cr2, TEST_BASE);
	READ(TEST_BASE);
	expect_no_fault();
	bench_map(bench, PTE_P | PTE_U | PTE_NX);
	user_run(user_jump, user_jump_end, TEST_BASE);
	expect_fault_ip(PF, PF_P | PF_U | PF_I, TEST_BASE);
	bench_map(bench, PTE_NX);
	CALL(TEST_BASE);
	expect_fault_ip(PF, PF_I, TEST_BASE);
	/* An instruction across the boundary: CR2 is the second page. */
	paging_map(&bench->paging, TEST_BASE - PAGE, 1,
		   (ulong)bench->page_b | PTE_P);
	((volatile u8 *)bench->page_b)[PAGE - 1] = 0xb8; /* mov eax, */
	CALL(TEST_BASE - 1);
	expect_fault_ip(PF, PF_I, TEST_BASE - 1);
	expect_eq(fault.cr2, TEST_BASE);

	msr_write(MSR_EFER, efer & ~EFER_NXE);
	bench_map(bench, PTE_P | PTE_NX);
	READ(TEST_BASE);
	expect_reserved(0, TEST_BASE);
	bench_map(bench, 0);
	CALL(TEST_BASE);
	expect_fault_ip(PF, 0, TEST_BASE);
	msr_write(MSR_EFER, efer);
	*bench->page_a = WORD_A;
}
