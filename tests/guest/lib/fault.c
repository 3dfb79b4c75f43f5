/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions, as data.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, 6.11 (gates), 6.13 (error codes),
 *     6.14 (64-bit mode)
 */
#include "fault.h"

#include "print.h"

enum { VECTORS = 256, STACK = 4096 };

struct gate {
	u32 word[GATE_LEN / 4];
};

struct fault fault = {.vector = NO_FAULT};
ulong try_start, try_end, try_resume, try_sp, try_flags;

static struct gate idt[VECTORS] __attribute__((aligned(16)));
static handler_t *handlers[VECTORS];
static u8 double_fault_stack[STACK] __attribute__((aligned(16)));
static u8 ring0_stack[4 * STACK] __attribute__((aligned(16)));

/* entry.S: one entry a vector, 16 bytes apart. */
extern u8 entries[];

void try_begin(void)
{
	fault.vector = NO_FAULT;
	fault.count = 0;
	dr6_write(0xffff0ff0);
	try_flags = flags_read();
}

void try_finish(void)
{
	try_resume = 0;
}

static void show(const char *what, int vector, ulong error, ulong ip)
{
	if (vector == NO_FAULT)
		print("  %s: none\n", what);
	else
		print("  %s: vector %d, error %lx, ip %lx\n", what, vector,
		      error, ip);
}

static bool was(int vector, ulong error, ulong ip)
{
	return fault.vector == vector &&
	       (vector == NO_FAULT || (fault.error == error && fault.ip == ip));
}

bool lax_fault(const char *name, int vector, ulong error, ulong ip)
{
	return was(vector, error, ip) && lax(name) &&
	       expect_at(true, name, __FILE__, __LINE__);
}

bool expect_fault_at(int vector, ulong error, ulong ip, const char *file,
		     int line)
{
	bool fine = was(vector, error, ip);

	fine = expect_at(fine, "exception as the manual says", file, line);
	if (!fine) {
		show("want", vector, error, ip);
		show("have", fault.vector, fault.error, fault.ip);
		print("  cr2 %lx, dr6 %lx, cs %lx, flags %lx\n", fault.cr2,
		      fault.dr6, fault.cs, fault.flags);
	}
	return fine;
}

static void record(const struct frame *frame)
{
	fault.vector = (int)frame->vector;
	fault.error = frame->error;
	fault.ip = frame->ip;
	fault.cs = frame->cs;
	fault.flags = frame->flags;
	fault.cr2 = cr2_read();
	fault.dr6 = dr6_read();
	fault.frame = *frame;
	fault.count++;
}

bool exception(struct frame *frame)
{
	if (handlers[frame->vector]) {
		handlers[frame->vector](frame);
		return false;
	}
	if (try_resume) {
		record(frame);
		return true;
	}
	print("FAIL: unexpected vector %ld, error %lx, cs %lx, ip %lx, "
	      "flags %lx, cr2 %lx\n",
	      (long)frame->vector, frame->error, frame->cs, frame->ip,
	      frame->flags, cr2_read());
	guest_exit(GUEST_CRASHED);
}

void handler_set(int vector, handler_t *handler)
{
	handlers[vector] = handler;
}

void gate_set(int vector, u16 selector, ulong target, unsigned bits)
{
	volatile u32 *word = idt[vector].word;

	word[0] = (u32)(target & 0xffff) | (u32)selector << 16;
	word[1] = (u32)(target & 0xffff0000) | bits;
	if (GATE_LEN == 16)
		word[GATE_LEN / 4 - 2] = (u32)((u64)target >> 32);
}

void gate_reset(int vector)
{
	/* Ring 3 may end itself by int3, see user.h. */
	gate_set(vector, KERNEL_CODE, (ulong)entries + (ulong)vector * 16,
		 GATE_INTERRUPT | (vector == BP ? GATE_DPL3 : 0));
	if (vector == DF && GATE_LEN == 16)
		gate_set_ist(DF, 1);
}

void gate_set_ist(int vector, int ist)
{
	volatile u32 *word = idt[vector].word;

	word[1] = (word[1] & ~7u) | (u32)ist;
}

void faults_load_ap(void)
{
	struct table_pointer pointer = {sizeof(idt) - 1, (ulong)idt};

	__asm__ volatile("lidt %0" : : "m"(pointer));
}

void faults_load(void)
{
	for (int i = 0; i < VECTORS; i++)
		gate_reset(i);
	if (GATE_LEN == 16)
		task_set_ist(1, (ulong)double_fault_stack + STACK);
	task_set_stack(0, (ulong)ring0_stack + sizeof(ring0_stack));
	faults_load_ap();
}
