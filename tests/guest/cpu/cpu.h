/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What software asks a CPU about, and what it gets: system calls (syscall.c),
 * MSRs and the TSC (msr.c), CPUID against what executes (cpuid.c), XSAVE and
 * the bits that hold the FPU back (xsave.c). 64-bit builds.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 2, the instructions' pages
 * [2] Intel SDM, volume 3A, 2.5 (control registers), 5.8.7 and 5.8.8 (system
 *     calls), volume 3B, 17.17 (TSC), volume 1, chapter 13 (XSAVE)
 * [3] AMD64 Architecture Programmer's Manual volume 3, 24594: SYSCALL, SYSRET,
 *     SYSENTER where AMD's differ
 */
#pragma once

#include "expect.h"
#include "fault.h"
#include "print.h"
#include "user.h"

/* AMD's or Hygon's. */
bool is_amd(void);

void test_syscall(void);
void test_msr(void);
void test_cpuid(void);
void test_xsave(void);
