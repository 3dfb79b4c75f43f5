/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every exception: vector, error code, and whether RIP is that of the
 * instruction (fault) or of the next (trap). Expected values are the manual's,
 * at each group.
 *
 * References, for all files here:
 * [1] Intel SDM 325462-080, volume 3A, chapter 6
 * [2] the same, volume 2, exceptions of the instruction
 */
#pragma once

#include "fault.h"
#include "user.h"

#define SP FOR_WIDTH("%%esp", "%%rsp")

/* system.c */
void test_segments(void);
void test_control(void);
void test_gates(void);
void test_privileged(void);
/* arithmetic.c */
void test_divide(void);
void test_fpu(void);
void test_simd(void);
/* debug.c */
void test_debug(void);
void debug_target(void);
/* long.c or legacy.c: what only this width has */
void test_width(void);
