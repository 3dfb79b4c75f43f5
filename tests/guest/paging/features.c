/* SPDX-License-Identifier: Apache-2.0 */
/* SMEP, SMAP, UMIP, PCID; see paging_test.h. */
#include "paging_test.h"

enum { FEATURE_PCID = 17, FEATURE_INVPCID = 10, CR3_KEEP = 63 };

static bool offered(u64 bit)
{
	struct cpuid id = cpuid(7, 0);

	return (bit == CR4_SMEP && id.ebx & BIT(7)) ||
	       (bit == CR4_SMAP && id.ebx & BIT(20)) ||
	       (bit == CR4_UMIP && id.ecx & BIT(2));
}

/* What is not offered cannot be switched on. */
static bool start(u64 bit, const char *name)
{
	ulong with = cr4_read() | bit;

	if (offered(bit)) {
		cr4_write(with);
		return true;
	}
	skip(name);
	TRY("mov %0, %%cr4", : : "r"(with) : "memory");
	expect_fault(GP, 0);
	return false;
}

static void stop(u64 bit)
{
	cr4_write(cr4_read() & ~bit);
}

void test_smep(struct bench *bench)
{
	u64 efer = msr_read(MSR_EFER);

	*(volatile u8 *)bench->page_a = 0xc3; /* ret */
	bench_map(bench, PTE_P | PTE_U);
	CALL(TEST_BASE);
	expect_no_fault();
	if (start(CR4_SMEP, "smep")) {
		CALL(TEST_BASE);
		expect_fault_ip(PF, PF_P | PF_I, TEST_BASE);
		READ(TEST_BASE);
		expect_no_fault();
		bench_map(bench, PTE_P);
		CALL(TEST_BASE);
		expect_no_fault();
		/* [1] 4.7: I is reported with SMEP, too. */
		msr_write(MSR_EFER, efer & ~EFER_NXE);
		bench_map(bench, 0);
		CALL(TEST_BASE);
		expect_fault_ip(PF, PF_I, TEST_BASE);
		msr_write(MSR_EFER, efer);
		stop(CR4_SMEP);
	}
	*bench->page_a = WORD_A;
}

BLOB(user_stac, "stac");
BLOB(user_touch, "mov (%rax), %ecx\nmov %ecx, (%rax)");

void test_smap(struct bench *bench)
{
	bench_map(bench, PTE_P | PTE_W | PTE_U);
	if (!start(CR4_SMAP, "smap"))
		return;
	TRY("clac", : : : "memory", "cc");
	READ(TEST_BASE);
	expect_page_fault(PF_P, TEST_BASE);
	WRITE(TEST_BASE);
	expect_page_fault(PF_P | PF_W, TEST_BASE);
	TRY("stac; mov (%0), %%eax; mov %%eax, (%0); clac",
	    :
	    : "b"(TEST_BASE)
	    : "memory", "eax", "cc");
	expect_no_fault();
	/* Any way to set AC will do. */
	TRY("pushf; orl $0x40000, (%%rsp); popf; mov (%0), %%eax; clac",
	    :
	    : "b"(TEST_BASE)
	    : "memory", "eax", "cc");
	expect_no_fault();
	READ(TEST_BASE);
	expect_page_fault(PF_P, TEST_BASE);
	/* The kernel's pages, and the user's own business. */
	bench_map(bench, PTE_P | PTE_W);
	READ(TEST_BASE);
	expect_no_fault();
	bench_map(bench, PTE_P | PTE_W | PTE_U);
	user_run(user_touch, user_touch_end, TEST_BASE);
	expect_eq(fault.vector, BP);
	user_run(user_stac, user_stac_end, 0);
	expect_fault_ip(UD, 0, user_text());
	stop(CR4_SMAP);
	READ(TEST_BASE);
	expect_no_fault();
}

BLOB(user_sgdt, "sgdt -16(%rsp)");
BLOB(user_sidt, "sidt -16(%rsp)");
BLOB(user_sldt, "sldt %eax");
BLOB(user_str, "str %eax");
BLOB(user_smsw, "smsw %eax");

/* [1] 2.5, UMIP */
void test_umip(struct bench *bench)
{
	const struct {
		const u8 *start, *end;
	} blobs[] = {
		{user_sgdt, user_sgdt_end}, {user_sidt, user_sidt_end},
		{user_sldt, user_sldt_end}, {user_str, user_str_end},
		{user_smsw, user_smsw_end},
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(blobs); i++) {
		user_run(blobs[i].start, blobs[i].end, 0);
		expect_eq(fault.vector, BP);
	}
	if (!start(CR4_UMIP, "umip"))
		return;
	for (i = 0; i < ARRAY_SIZE(blobs); i++) {
		user_run(blobs[i].start, blobs[i].end, 0);
		expect_fault_ip(GP, 0, user_text());
	}
	TRY("sldt %%eax", : : : "eax", "memory");
	expect_no_fault();
	stop(CR4_UMIP);
}

static void invpcid(ulong type, u64 pcid, u64 addr)
{
	const u64 descriptor[2] = {pcid, addr};

	TRY("invpcid %0, %1", : : "m"(descriptor), "r"(type) : "memory");
}

/* [1] 4.10.4.1: INVPCID in the other space, seen after a switch that keeps. */
static void test_invpcid(struct bench *bench, struct paging *other)
{
	const ulong one = bench->paging.root | 1;
	const ulong two = other->root | 2;
	const u64 to_a = (ulong)bench->page_a | PTE_P;
	const u64 to_b = (ulong)bench->page_b | PTE_P;

	if (!(cpuid(7, 0).ebx & BIT(FEATURE_INVPCID))) {
		skip("invpcid");
		return;
	}
	for (ulong type = 0; type < 4; type++) {
		cr3_write(two);
		paging_set(other, TEST_BASE, 1, to_b);
		page_flush(AT(TEST_BASE));
		expect_eq(*AT(TEST_BASE), WORD_B);
		cr3_write(one | BIT(CR3_KEEP));
		paging_set(other, TEST_BASE, 1, to_a);
		invpcid(type, type < 2 ? 2 : 0, type ? 0 : TEST_BASE);
		expect_no_fault();
		cr3_write(two | BIT(CR3_KEEP));
		expect_eq(*AT(TEST_BASE), WORD_A);
	}
	invpcid(4, 0, 0);
	expect_fault(GP, 0);
	invpcid(0, 0x1000, 0);
	expect_fault(GP, 0);
	invpcid(0, 1, 0x0000800000000000ull);
	expect_fault(GP, 0);
}

void test_pcid(struct bench *bench)
{
	struct paging other;
	ulong root = bench->paging.root, with = cr4_read() | CR4_PCIDE;

	if (!(cpuid(1, 0).ecx & BIT(FEATURE_PCID))) {
		skip("pcid");
		TRY("mov %0, %%cr4", : : "r"(with) : "memory");
		expect_fault(GP, 0);
		return;
	}
	/* [1] 4.10.1: only from PCID 0. */
	cr3_write(root | 8);
	TRY("mov %0, %%cr4", : : "r"(with) : "memory");
	expect_fault(GP, 0);
	cr3_write(root);
	cr4_write(with);

	paging_init(&other, PAGING_4LEVEL);
	paging_set(&other, TEST_BASE, 1, (ulong)bench->page_b | PTE_P);
	bench_map(bench, PTE_P | PTE_W);
	for (int i = 0; i < 3; i++) {
		ulong keep = i ? BIT(CR3_KEEP) : 0;

		cr3_write(root | 1 | keep);
		expect_eq(cr3_read(), root | 1);
		expect_eq(*AT(TEST_BASE), WORD_A);
		cr3_write(other.root | 2 | keep);
		expect_eq(*AT(TEST_BASE), WORD_B);
	}
	/* Without bit 63 the space is forgotten. */
	paging_set(&bench->paging, TEST_BASE, 1, (ulong)bench->page_b | PTE_P);
	cr3_write(root | 1);
	expect_eq(*AT(TEST_BASE), WORD_B);
	bench_map(bench, PTE_P | PTE_W);
	test_invpcid(bench, &other);
	/* Off again, all are forgotten. */
	cr3_write(root | 1);
	expect_eq(*AT(TEST_BASE), WORD_A);
	paging_set(&bench->paging, TEST_BASE, 1, (ulong)bench->page_b | PTE_P);
	cr3_write(root);
	cr4_write(cr4_read() & ~CR4_PCIDE);
	expect_eq(*AT(TEST_BASE), WORD_B);
	bench_map(bench, PTE_P | PTE_W);
}
