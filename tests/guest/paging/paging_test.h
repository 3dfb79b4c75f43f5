/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables: what is allowed, what is reported, what is remembered.
 *
 * References, for all files here:
 * [1] Intel SDM 325462-080, volume 3A, chapter 4
 */
#pragma once

#include "fault.h"
#include "paging.h"
#include "user.h"

enum { PAGE = 4096, LARGE = 2 << 20 };

/* The tables under test, and two pages of RAM whose words say which. */
struct bench {
	struct paging paging;
	volatile u32 *page_a, *page_b;
};

#define WORD_A 0xaaaa1111u
#define WORD_B 0xbbbb2222u
#define AT(addr) ((volatile u32 *)(ulong)(addr))

void bench_init(struct bench *bench);
/* page_a at TEST_BASE. */
void bench_map(struct bench *bench, u64 bits);
u64 bench_entry(struct bench *bench);

/* common.c: any kind of tables */
void test_accessed_dirty(struct bench *bench);
void test_not_present(struct bench *bench);
void test_write(struct bench *bench);
void test_user(struct bench *bench);
void test_rights(struct bench *bench);
void test_flush(struct bench *bench);
void test_global(struct bench *bench);
void test_no_execute(struct bench *bench);

/* features.c: 64-bit build */
void test_smep(struct bench *bench);
void test_smap(struct bench *bench);
void test_umip(struct bench *bench);
void test_pcid(struct bench *bench);

/* spaces.c: the same */
void test_spaces(struct bench *bench);

/* The access that TRY() makes. */
#define READ(addr) \
	TRY("mov (%0), %%eax", : : "b"((ulong)(addr)) : "memory", "eax")
#define WRITE(addr) TRY("movl $0x55, (%0)", : : "b"((ulong)(addr)) : "memory")
#define CALL(addr) TRY("call *%0", : : "b"((ulong)(addr)) : "memory")

/* Where a known bug makes it another error code. */
#define expect_page_fault_lax(name, other, code, addr)      \
	do {                                                \
		if (!lax_fault(name, PF, other, try_start)) \
			expect_fault(PF, code);             \
		expect_eq(fault.cr2, addr);                 \
	} while (0)
#define expect_reserved(code, addr)                             \
	expect_page_fault_lax("rsvd-present", (code) | PF_RSVD, \
			      (code) | PF_RSVD | PF_P, addr)

#define expect_page_fault(code, addr)       \
	do {                                \
		expect_fault(PF, code);     \
		expect_eq(fault.cr2, addr); \
	} while (0)
