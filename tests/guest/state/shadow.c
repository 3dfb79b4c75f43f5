/* SPDX-License-Identifier: Apache-2.0 */
/* Between two instructions: shadows, NMIs, sleep, debug traps. */
#include "state.h"

enum { IRQ = 0x60 };

static volatile u32 irqs, nmis, count_seen;
/* Counted by instructions, read by handlers. */
volatile u32 state_count;

#define COUNT "incl state_count\n"

static void irq(struct frame *frame)
{
	irqs++;
	count_seen = state_count;
	apic_eoi();
}

static void nmi(struct frame *frame)
{
	nmis++;
	count_seen = state_count;
}

/* STI holds it back for one instruction more. */
void point_sti(void)
{
	handler_set(IRQ, irq);
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_SELF | IRQ);
	expect_eq(irqs, 0);
	__asm__ volatile("outb %%al, %0\n"
			 "sti\n" COUNT COUNT COUNT "cli"
			 :
			 : "d"((u16)POINT_PORT)
			 : "memory", "cc");
	expect_eq(irqs, 1);
	/* Emulated hosts lose a shadow that they are to enter a guest with. */
	if (count_seen || !option_number("loose", 0))
		expect_eq(count_seen, 1);
	expect_eq(state_count, 3);
}

/*
 * The host pauses it behind the MOV and sends an NMI, which comes after the
 * instruction that sets the stack. The MOV ends a page: nothing that runs
 * instructions in groups groups it with the next one.
 */
__asm__(".pushsection .text\n"
	".balign 4096\n"
	".skip 4096 - 64\n"
	".globl state_movss\n"
	"state_movss:\n" FOR_WIDTH(
		"mov $0xfe001000, %ecx\n",
		"mov $0xfe001000, %ecx\n") ".skip 64 - 7, 0x90\n"
					   "mov (" FOR_WIDTH(
						   "%ecx",
						   "%rcx") "), %ss\n" COUNT
						   COUNT COUNT "ret\n"
							   ".popsection");
void point_movss(void)
{
	handler_set(NMI, nmi);
	__asm__ volatile("call *%0"
			 :
			 : "r"(state_movss)
			 : FOR_WIDTH("ecx", "rcx"), "memory", "cc");
	expect_eq(state_count, 3);
	/* No host, no NMI. */
	if (nmis)
		expect_eq(count_seen, 1);
	expect(nmis <= 1);
}

static void send_nmi(void)
{
	apic_send(0, ICR_NMI | ICR_ASSERT | ICR_SELF);
}

/* Masked until IRET; the second one waits meanwhile. */
static void nmi_twice(struct frame *frame)
{
	u32 before = ++nmis;

	if (before > 1)
		return;
	send_nmi();
	reach();
	for (u32 i = 0; i < 20; i++)
		cpu_pause();
	expect_eq(nmis, before);
}

void point_nmi(void)
{
	handler_set(NMI, nmi_twice);
	send_nmi();
	for (u32 i = 0; i < 20; i++)
		cpu_pause();
	expect_eq(nmis, 2);
	/* And open again. */
	send_nmi();
	for (u32 i = 0; i < 20; i++)
		cpu_pause();
	expect_eq(nmis, 3);
}

void point_nmi_mail(void)
{
	handler_set(NMI, nmi);
	reach();
	for (u32 i = 0; i < 20; i++)
		cpu_pause();
	expect(nmis <= 1);
	if (nmis)
		expect_eq(count_seen, 0);
}

/* Where nobody sends NMIs, a timer wakes it. */
void point_hlt(void)
{
	handler_set(NMI, nmi);
	handler_set(IRQ, irq);
	apic_write(APIC_TIMER_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, IRQ);
	reach();
	apic_write(APIC_TIMER_INITIAL, 4000000000u); /* 4 s */
	state_count = 1;
	__asm__ volatile("sti; hlt; cli" : : : "memory");
	expect_eq(nmis + irqs, 1);
	expect_eq(count_seen, 1);
}

/* ---- debug ------------------------------------------------------------- */

enum { TRAPS_MAX = 8 };

static volatile u32 traps;
static volatile ulong trap_ip[TRAPS_MAX], trap_dr6[TRAPS_MAX];

static void trap(struct frame *frame)
{
	if (traps < TRAPS_MAX) {
		trap_ip[traps] = frame->ip;
		trap_dr6[traps] = dr6_read();
	}
	traps++;
	dr6_write(0xffff0ff0);
}

/* A step behind each instruction, the paused one too. */
void point_step(void)
{
	ulong ips[4];

	handler_set(DB, trap);
	dr6_write(0xffff0ff0);
	__asm__ volatile(
		FOR_WIDTH(
			"pushf\n orl $0x100, (%%esp)\n popf\n",
			"pushf\n orl $0x100, (%%rsp)\n popf\n") "outb %%al, "
								"%4\n"
								"1: nop\n"
								"2: "
								"nop"
								"\n" FOR_WIDTH(
									"3: "
									"pushf"
									"\n 4: "
									"andl "
									"$~"
									"0x100,"
									" (%%"
									"esp)"
									"\n "
									"popf"
									"\n",
									"3: "
									"pushf"
									"\n 4: "
									"andl "
									"$~"
									"0x100,"
									" (%%"
									"rsp)"
									"\n "
									"popf"
									"\n")
									FOR_WIDTH(
										"mov $1b, %0\n mov $2b, %1\n mov $3b, %2\n"
										"mov $4b, %3\n",
										"mov $1b, %0\n mov $2b, %1\n mov $3b, %2\n"
										"mov $4b, %3\n")
		: "=&r"(ips[0]), "=&r"(ips[1]), "=&r"(ips[2]), "=&r"(ips[3])
		: "d"((u16)POINT_PORT)
		: "memory", "cc");
	expect_eq(traps, 6);
	for (u32 i = 0; i < ARRAY_SIZE(ips); i++) {
		expect_eq(trap_ip[i], ips[i]);
		expect_eq(trap_dr6[i] & 0xe00f, 0x4000);
	}
}

static volatile u32 watched;

/* Breakpoints stay where they were and go on to work. */
void point_watch(void)
{
	handler_set(DB, trap);
	dr6_write(0xffff0ff0);
	dr0_write((ulong)&watched);
	dr1_write(0x12345678);
	dr2_write(0x23456789);
	dr3_write(0x3456789a);
	dr7_write(0x400 | 2 | 0xd0000); /* 0: writes of four bytes */
	dr6_write(0xffff0ff0 | 0xa);
	reach();
	expect_eq(dr0_read(), (ulong)&watched);
	expect_eq(dr1_read(), 0x12345678);
	expect_eq(dr2_read(), 0x23456789);
	expect_eq(dr3_read(), 0x3456789a);
	expect_eq(dr7_read(), 0xd0402);
	expect_eq(dr6_read(), 0xffff0ffa);
	expect_eq(traps, 0);
	watched = 1;
	expect_eq(traps, 1);
	expect_eq(trap_dr6[0] & 0xf, 1);
	dr7_write(0x400);
	watched = 2;
	expect_eq(traps, 1);
}
