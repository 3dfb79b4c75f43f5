/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that changes: written by its own CPU in every way there is (self.c),
 * by another one (cross.c), and by changing what is mapped (remap.c).
 *
 * A CPU need not see a store to the very next instructions before a jump or a
 * serializing instruction ([1] 9.1.3); all since the P6 do as long as the store
 * and the code have the same linear address, and systems count on it. So does
 * self.c where it says so.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, 9.1.3 (self- and cross-modifying code),
 *     9.3 (serializing instructions), 4.10.4 (invalidation)
 * [2] Intel SDM, volume 3A, 4.7 (page faults), 6.15 #PF
 */
#pragma once

#include "expect.h"
#include "fault.h"
#include "paging.h"
#include "print.h"

enum { PAGE = 4096 };

/* Two pages of code, on a page boundary. */
extern u8 *code;

/* At `at`: mov $val, %eax; ret. 6 bytes, the value in bytes 1 to 4. */
enum { MOV_LEN = 6, MOV_VALUE = 1 };
void code_mov(u8 *at, u32 val);
/* Calls it. */
u32 code_run(const void *at);

static inline void serialize(void)
{
	cpuid(0, 0);
}

/* 32-bit builds: turns paging on. */
extern struct paging paging;

void test_self(void);
void test_remap(void);
void test_cross(void);
