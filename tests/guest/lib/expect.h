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

/* A multiboot command line entry "name=number"; val where it is not there. */
ulong option_number(const char *name, ulong val);

/* Zeroed pages from 16 MiB up, never freed; on a page boundary. */
void *page_alloc(void);
void *pages_alloc(unsigned count);

int main(void);
__attribute__((noreturn)) void lib_start(void);
