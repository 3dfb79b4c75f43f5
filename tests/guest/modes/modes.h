/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modes of the CPU, the ways between them, and what each makes of the same
 * bytes.
 *
 * References, for all files here:
 * [1] Intel SDM 325462-080, volume 3A, 5.8 (control transfers), chapter 21
 *     (real mode), volume 1, chapter 3 (modes)
 */
#pragma once

#include "fault.h"
#include "real.h"
#include "user.h"

void test_real(void);
/* legacy.c or long.c */
void test_width(void);

/* Assembler beside the tests that name them. */
void gate_target(void);
void conforming_target(void);
void syscall_entry(void);
