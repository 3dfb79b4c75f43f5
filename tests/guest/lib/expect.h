/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks. A failed one prints its place and is counted; the guest goes on.
 * Part that this CPU does not offer is skip()ped by name: the runner decides
 * whether that is allowed on this engine.
 */
#pragma once

#include "types.h"

bool expect_at(bool fine, const char *text, const char *file, int line);
bool expect_eq_at(u64 got, u64 want, const char *text, const char *file,
		  int line);

#define expect(cond) expect_at((cond), #cond, __FILE__, __LINE__)
#define expect_eq(got, want) \
	expect_eq_at((u64)(got), (u64)(want), #got, __FILE__, __LINE__)

void skip(const char *what);

/*
 * What runs the guest is known to differ from the manual here: the name is in
 * the command line's "lax=NAME,NAME,…". ../lax.cfg has the names, with places
 * and reasons. Such a check accepts one other outcome, and no third.
 */
bool lax(const char *name);
u64 lax_value(const char *name, u64 got, u64 want, u64 other);
#define expect_eq_lax(name, got, want, other)                                \
	expect_eq_at(lax_value(name, (u64)(got), (u64)(want), (u64)(other)), \
		     (u64)(want), #got, __FILE__, __LINE__)

/* irq_wait(); where an interrupt may come between its STI and its HLT, and
 * nobody would end that sleep (vmrun-shadow), without the sleep. */
void irq_wait_lax(void);

/* A multiboot command line entry "name=number"; val where it is not there. */
ulong option_number(const char *name, ulong val);

/* Zeroed pages from 16 MiB up, never freed; on a page boundary. */
void *page_alloc(void);
void *pages_alloc(unsigned count);

int main(void);
__attribute__((noreturn)) void lib_start(void);
