/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions, as data: run an instruction with TRY(), look at what it raised.
 *
 *     TRY("div %0", : : "r"(0) : "rax", "rdx");
 *     expect_fault(DE, 0);
 *
 * An exception inside TRY() or user_run() is recorded in `fault` and execution
 * goes on after it, on the stack and in the segments it had before, with the
 * general registers that the exception left. Anywhere else an exception ends
 * the run, unless handler_set() has a function for its vector. TRY() is for
 * the first CPU only.
 */
#pragma once

#include "expect.h"
#include "segment.h"
#include "types.h"
#include "x86.h"

/* What entry.S has on the stack; ss and sp only where the CPU pushed them:
 * always in 64-bit builds, from another ring in 32-bit builds. */
struct frame {
#ifdef __x86_64__
	ulong r15, r14, r13, r12, r11, r10, r9, r8;
#endif
	ulong di, si, bp, unused_sp, bx, dx, cx, ax;
	ulong vector, error;
	ulong ip, cs, flags, sp, ss;
};

struct fault {
	struct frame frame;
	int vector; /* NO_FAULT: none */
	ulong error, ip, cs, flags, cr2, dr6;
	unsigned count;
};

extern struct fault fault;

/* The last TRY(): address of its first instruction, and of what follows. */
extern ulong try_start, try_end;

/* TRY("instructions", : outputs : inputs : clobbers) */
#define TRY(text, ...)                                                 \
	do {                                                           \
		try_begin();                                           \
		__asm__ volatile(TRY_OPEN text TRY_CLOSE __VA_ARGS__); \
		try_finish();                                          \
	} while (0)

#define TRY_OPEN                                                      \
	FOR_WIDTH("movl %%esp, try_sp\n\t movl $771f, try_start\n\t"  \
		  "movl $772f, try_end\n\t movl $772f, try_resume\n", \
		  "movq %%rsp, try_sp\n\t movq $771f, try_start\n\t"  \
		  "movq $772f, try_end\n\t movq $772f, try_resume\n") \
	"771:	"
#define TRY_CLOSE "\n772:\n"

void try_begin(void);
void try_finish(void);

/* The last exception was of this kind, at the first instruction of TRY(). */
#define expect_fault(vector, error) \
	expect_fault_at(vector, error, try_start, __FILE__, __LINE__)
/* The same, reported after the instruction. */
#define expect_trap(vector, error) \
	expect_fault_at(vector, error, try_end, __FILE__, __LINE__)
#define expect_fault_ip(vector, error, ip) \
	expect_fault_at(vector, error, ip, __FILE__, __LINE__)
#define expect_no_fault() expect_fault_at(NO_FAULT, 0, 0, __FILE__, __LINE__)

bool expect_fault_at(int vector, ulong error, ulong ip, const char *file,
		     int line);

/* The last exception was this one, which lax.cfg has by that name: then it
 * counts as a check that went well. */
bool lax_fault(const char *name, int vector, ulong error, ulong ip);

/* Called with interrupts off; NULL takes it away again. */
typedef void handler_t(struct frame *frame);
void handler_set(int vector, handler_t *handler);

/* Interrupt gates, as the table holds them: low and, in 64-bit builds, high
 * half. */
enum gate_bits {
	GATE_INTERRUPT = 0x8e00,
	GATE_TRAP = 0x8f00,
	GATE_CALL = 0x8c00,
	GATE_DPL3 = 0x6000,
	GATE_NOT_PRESENT = 0x8000, /* taken out */
	GATE_LEN = FOR_WIDTH(8, 16),
};
void gate_set(int vector, u16 selector, ulong target, unsigned bits);
/* Back to the library's entry, with its bits. */
void gate_reset(int vector);
void gate_set_ist(int vector, int ist);

/* Called by entry.S. True: go on where TRY() ends. */
bool exception(struct frame *frame);

void faults_load(void);
void faults_load_ap(void);

/* Error code bits of a page fault, and of a selector's error. */
#define PF_P 1u
#define PF_W 2u
#define PF_U 4u
#define PF_RSVD 8u
#define PF_I 16u
#define ERROR_EXT 1u
#define ERROR_IDT 2u
