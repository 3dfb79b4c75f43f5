/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code in ring 3. It runs from a page of its own and is left by an exception,
 * which is then in `fault`:
 *
 *     BLOB(read_cr0, "mov %cr0, %rax");
 *     user_run(read_cr0, read_cr0_end, 0);
 *     expect_fault_ip(GP, 0, user_text());
 */
#pragma once

#include "fault.h"
#include "paging.h"
#include "types.h"

/* Position-independent code, not run where it stands. */
#define BLOB(name, text)                                              \
	__asm__(".pushsection .rodata\n.balign 16\n" #name ":\n" text \
		"\n" #name "_end:\n.byte 0xcc\n.popsection\n");       \
	extern const u8 name[], name##_end[]

/* The same for another width: 16 or 32. */
#define BLOB_CODE(name, width, text) \
	BLOB(name, ".code" #width "\n" text "\n.code" FOR_WIDTH("32", "64"))

/* arg is in rax and rdi (eax, edi). 64-bit builds: user_run32 is
 * compatibility mode. */
void user_run(const u8 *start, const u8 *end, ulong arg);
void user_run32(const u8 *start, const u8 *end, ulong arg);
/* With a code and a stack segment of the caller's. */
void user_run_in(const u8 *start, const u8 *end, ulong arg, u16 cs, u16 ss);

/* In a code segment with a base: ip is where it begins. */
void user_run_at(const u8 *start, const u8 *end, u16 cs, ulong ip);

/* Other tables than the first ones of a 64-bit build need this, too. */
void user_map(struct paging *paging);

/* Address of the first byte of the code, and first beyond its stack. */
ulong user_text(void);
ulong user_stack(void);

/* entry.S: what the above are made of. */
void user_enter(ulong ip, ulong sp, ulong arg, ulong cs_ss);

/* Flags that it starts with; reset to 2 (nothing set) by each run. */
extern ulong user_flags;
