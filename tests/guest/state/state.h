/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of this guest; see points.h. */
#pragma once

#include "apic.h"
#include "fault.h"
#include "points.h"
#include "smp.h"
#include "types.h"

/* The host pauses it here. */
static inline void reach(void)
{
	outb(POINT_PORT, 0);
}

struct paging;
struct msr_value {
	u32 msr;
	u64 val;
};
enum { MSRS_MAX = 16 };

/* General registers but rax and rdx, and the stack pointer; how one follows
 * from another. */
#ifdef __x86_64__
#define EACH_CLOBBER \
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc"
#define PLAIN_PUSH                  \
	"push %%rbx\n push %%rbp\n" \
	"movabs $0x123456789abcdef1, %%rax\n"
#define PLAIN_FLAGS "pop %%rdx\n"
#define PLAIN_POP "pop %%rbp\n pop %%rbx\n"
#define EACH(m)                                                             \
	m(rbx) m(rcx) m(rsi) m(rdi) m(rbp) m(r8) m(r9) m(r10) m(r11) m(r12) \
		m(r13) m(r14) m(r15)
#define NEXT "add %%rax, %%rdx\n rol $5, %%rdx\n"
#else
#define EACH_CLOBBER "memory", "cc"
#define PLAIN_PUSH "push %%ebx\n push %%ebp\n mov $0x12345679, %%eax\n"
#define PLAIN_FLAGS "pop %%edx\n"
#define PLAIN_POP "pop %%ebp\n pop %%ebx\n"
#define EACH(m) m(ebx) m(ecx) m(esi) m(edi) m(ebp)
#define NEXT "add %%eax, %%edx\n rol $5, %%edx\n"
#endif

/* shadow.c */
void state_movss(void);
void point_sti(void);
void point_movss(void);
void point_nmi(void);
void point_nmi_mail(void);
void point_hlt(void);
void point_step(void);
void point_watch(void);

/* timers.c */
void point_one_shot(void);
void point_periodic(void);
void point_deadline(void);
void point_pit(void);

/* registers.c */
void point_plain(void);
void point_rep(void);
void point_real(void);
void point_paging(void);
void point_chips(void);
/* Sets them, passes the point, and looks. */
void check_msrs(const struct msr_value *values, u32 count);

/* long.c, legacy.c */
void point_fpu(void);
void point_msrs(void);
void paging_start(struct paging *paging);

/* cpus.c */
void point_sipi(void);
void point_pair(void);
void point_random(void);
