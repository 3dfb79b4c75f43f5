/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other CPUs. They start in the mode and with the tables that the first
 * one has at that moment, without a task state: they cannot enter ring 3.
 */
#pragma once

#include "types.h"

enum { CPUS_MAX = 64 };

/* Runs on another CPU, with a stack of 4 KiB and interrupts off. index is
 * from 1 up, in order of arrival. When it returns, its CPU is halted. */
typedef void cpu_main_t(unsigned index);

/* Starts all CPUs of the command line's "cpus=" and waits until they have
 * arrived; false, and a failed check, where not all did. */
bool smp_start(cpu_main_t *cpu_main);
unsigned smp_count(void);

/* How many have returned from cpu_main; and waiting for all of them. */
unsigned smp_returned(void);
void smp_wait(void);

/* Called by ap.S. */
__attribute__((noreturn)) void ap_main(unsigned index);
extern const u8 ap_code[], ap_code_end[];
