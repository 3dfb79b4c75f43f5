/* SPDX-License-Identifier: Apache-2.0 */
/* #DB; see debug.h. */
#include "debug.h"

struct debug_log debug_log;
u8 buffer[64] __attribute__((aligned(64)));

/* Where debug_run() starts and stops, so that its own steps are not logged. */
extern const u8 step_first[], step_last[];

__asm__(".text\n"
	"step_call:\n" /* the snippet is in ax */
	"	pushf\n"
	"	orl $0x100, (" SP ")\n"
	"	popf\n"
	"step_first: call *" AX "\n"
	"	pushf\n"
	"	andl $~0x100, (" SP ")\n"
	"	popf\n"
	"step_last: ret\n");

/* [1] 18.3.1.1: after a breakpoint on code the handler sets RF. */
static void log_debug(struct frame *frame)
{
	unsigned n = debug_log.count;
	ulong dr6 = dr6_read();
	bool own = frame->ip > (ulong)step_first &&
		   frame->ip <= (ulong)step_last && !(dr6 & 0xf);

	dr6_write(0xffff0ff0);
	if (dr6 & 0xf)
		frame->flags |= EFLAGS_RF;
	if (own)
		return;
	if (n < LIMIT) {
		debug_log.ip[n] = frame->ip;
		debug_log.dr6[n] = dr6;
		debug_log.flags[n] = frame->flags;
		debug_log.cx[n] = frame->cx;
	}
	debug_log.count++;
}

void debug_run(void (*snippet)(void), bool step)
{
	debug_log.count = 0;
	dr6_write(0xffff0ff0);
	handler_set(DB, log_debug);
	if (step)
		__asm__ volatile("call step_call"
				 :
				 : "a"(snippet)
				 : "ecx", "edx", "memory", "cc");
	else
		__asm__ volatile("call *%0"
				 :
				 : "a"(snippet)
				 : "ecx", "edx", "memory", "cc");
	handler_set(DB, NULL);
	expect(debug_log.count <= LIMIT);
}

int main(void)
{
	test_steps();
	test_width();
	test_watch();
	return 0;
}
