/* SPDX-License-Identifier: Apache-2.0 */
/*
 * String instructions: all widths and directions against a model (plain.c),
 * and what a fault, an interrupt or a port in the middle leaves (restart.c).
 *
 * References:
 * [1] Intel SDM 325462-080, volume 1, 7.3.9 (string instructions)
 * [2] Intel SDM, volume 2, CMPS, INS, LODS, MOVS, OUTS, REP, SCAS, STOS
 * [3] Intel SDM, volume 3A, 6.5 (fault: restartable), 6.6 (repeated strings),
 *     volume 3B, 18.3.1.1 (RF)
 */
#pragma once

#include "expect.h"
#include "fault.h"
#include "paging.h"
#include "print.h"

enum { PAGE = 4096, ARITHMETIC = 0x8d5 };

struct string_regs {
	ulong cx, si, di, ax, flags;
};

/* Where the last STRING() had its instruction. */
extern ulong string_ip;

/* One string instruction with these registers and flags. */
#define STRING(text, r)                                       \
	TRY(FOR_WIDTH("movl", "movq") " $773f, string_ip\n\t" \
				      "push %[f]\n\t"         \
				      "popf\n"                \
				      "773:\t" text "\n\t"    \
				      "pushf\n\t"             \
				      "pop %[f]\n\t"          \
				      "cld",                  \
	    : "+c"((r).cx), "+S"((r).si), "+D"((r).di),       \
	      "+a"((r).ax), [f] "+r"((r).flags)               \
	    :                                                 \
	    : "memory", "cc")

/* Pages of two test areas, each a mapped page before a hole; areas begin at
 * TEST_BASE and AREA_B. In 32-bit builds this turns paging on. */
#define AREA_B (TEST_BASE + 0x10000ul)
void areas_set_up(void);
/* Maps or takes away a page of the areas. */
void area_set(ulong gva, u64 bits);

void test_restart(void);
void test_interrupted(void);
void test_ports(void);
