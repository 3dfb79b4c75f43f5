/* SPDX-License-Identifier: Apache-2.0 */
/*
 * #DB: single steps over instructions of every kind (step.c), breakpoints on
 * code, data and ports (watch.c), system calls (long.c, legacy.c).
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3B, 18.2 (registers), 18.3.1 (conditions)
 * [2] Intel SDM, volume 2, INT, MOV, POP, POPF, REP, SYSCALL, SYSRET
 * [3] Intel SDM, volume 3A, 6.8.3 (MOV SS), 6.9 (priorities)
 */
#pragma once

#include "expect.h"
#include "fault.h"
#include "print.h"
#include "user.h"

enum {
	LIMIT = 32,
	DR6_B0 = 1,
	DR6_B1 = 2,
	DR6_B2 = 4,
	DR6_B3 = 8,
	DR6_BD = 1 << 13,
	DR6_BS = 1 << 14,
	DR6_BITS = 0xe00f,
	DR7_GD = 1 << 13,
};

#define SP FOR_WIDTH("%esp", "%rsp")
#define AX FOR_WIDTH("%eax", "%rax")
#define CX FOR_WIDTH("%ecx", "%rcx")
#define SI FOR_WIDTH("%esi", "%rsi")
#define DI FOR_WIDTH("%edi", "%rdi")

/* void name(void), assembly, keeping all registers but ax, cx, dx. */
#define SNIPPET(name, text)                                              \
	__asm__(".text\n.balign 16\n" #name ":\n push " SI "\n push " DI \
		"\n" text "\n pop " DI "\n pop " SI "\n ret\n");         \
	void name(void)
#define LABEL(name) extern const u8 name[]

/* Memory for the snippets. */
extern u8 buffer[64];

/* Every #DB, in order. */
struct debug_log {
	unsigned count;
	ulong ip[LIMIT], dr6[LIMIT], flags[LIMIT], cx[LIMIT];
};
extern struct debug_log debug_log;

/* Runs the snippet with TF set for its first instruction (false: not), and
 * with the log empty. Sets RF for what a breakpoint on code reported. */
void debug_run(void (*snippet)(void), bool step);

/* main.c's: calls what is in ax, under TF. */
void step_call(void);

/* The log has `count` entries; entry n is of this address and cause. */
#define expect_count(n) expect_eq(debug_log.count, n)
#define expect_debug(n, address, cause)                          \
	do {                                                     \
		expect_eq(debug_log.ip[n], (ulong)(address));    \
		expect_eq(debug_log.dr6[n] & DR6_BITS, (cause)); \
	} while (0)

void test_steps(void);
/* What only a build of this width has: long.c, legacy.c. */
void test_width(void);
void test_watch(void);
