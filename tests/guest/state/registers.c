/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What registers and MSRs hold.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 1, 10.5.1 (FXSAVE area); volume 3A, 3.4.3
 *     (hidden parts), 4.4 (PAE)
 */
#include "paging.h"
#include "real.h"
#include "state.h"
#include "user.h"

/* ---- general registers ------------------------------------------------- */

#define FILL(reg) NEXT "mov %%" FOR_WIDTH("edx", "rdx") ", %%" #reg "\n"
#define CHECK(reg) \
	NEXT "cmp %%" FOR_WIDTH("edx", "rdx") ", %%" #reg "\n jne 1f\n"

/* Each register another value, flags too: OF, SF, AF, PF, CF. */
void point_plain(void)
{
	u32 good = 0;

	__asm__ volatile(
		PLAIN_PUSH "xor %%edx, %%edx\n" EACH(
			FILL) "mov $0x1ee, %%edx\n"
			      "push $0x8d7\n popf\n"
			      "outb %%al, %%dx\n"
			      "pushf\n" PLAIN_FLAGS
			      "and $0x8d5, %%edx\n cmp $0x8d5, %%edx\n jne 1f\n"
			      "cld\n xor %%edx, %%edx\n" EACH(
				      CHECK) "mov $1, %%eax\n jmp 2f\n"
					     "1: xor %%eax, %%eax\n"
					     "2:" PLAIN_POP
		: "=a"(good)
		:
		: "ecx", "edx", "esi", "edi", EACH_CLOBBER);
	expect(good);
}

/* ---- in the middle of a repetition ------------------------------------- */

static u8 copied[POINT_REP_BYTES];

/* Each byte is read once: the host counts. */
void point_rep(void)
{
	const void *from = (void *)(ulong)POINT_PAGE;
	ulong len = POINT_REP_BYTES;
	void *to = copied;
	u32 wrong = 0;

	__asm__ volatile("rep movsb"
			 : "+S"(from), "+D"(to), "+c"(len)
			 :
			 : "memory");
	expect_eq(len, 0);
	expect_eq((ulong)from, (ulong)POINT_PAGE + POINT_REP_BYTES);
	expect_eq((ulong)to, (ulong)copied + POINT_REP_BYTES);
	for (u32 i = 0; i < POINT_REP_BYTES; i++)
		wrong += copied[i] != (u8)i;
	/* No host: nobody is there. */
	if (copied[0] != 0xff)
		expect_eq(wrong, 0);
}

/* ---- modes ------------------------------------------------------------- */

/* GS gets a limit of 0x12345 and a base, and keeps them in real mode. Vector
 * 13's handler is at 0x10: it notes, and goes on behind the access. */
REAL_BLOB(odd_limits, "jmp 1f\n"
		      ".org odd_limits + 0x10\n"
		      "add $6, %sp\n"
		      "or $0x100, %si\n"
		      "jmp 3f\n"
		      "1: mov %cr0, %eax\n"
		      "or $1, %al\n"
		      "mov %eax, %cr0\n"
		      "mov $0x60, %cx\n"
		      "mov %cx, %gs\n"
		      "and $~1, %al\n"
		      "mov %eax, %cr0\n"
		      "mov $0x1ee, %dx\n"
		      "xor %si, %si\n"
		      "outb %al, %dx\n"
		      "mov $0x12345, %ebx\n"
		      "movb %gs:(%ebx), %al\n"
		      "movl %fs:(%edi), %ecx\n"
		      "or $1, %si\n"
		      "inc %ebx\n"
		      "movb %gs:(%ebx), %ah\n"
		      "or $2, %si\n"
		      "3:");

void point_real(void)
{
	static volatile u32 high = 0x13572468;
	struct real_regs regs = {.eflags = 2, .edi = (u32)(ulong)&high};
	volatile u8 *base = (volatile u8 *)0x20000;

	gdt_set(SPARE, segment(0x20000, 0x12345, SEG_DATA));
	*real_vector(GP) = REAL_CODE + 0x10;
	base[0x12345] = 0xa5;
	real_run(odd_limits, odd_limits_end, &regs);
	expect_eq(regs.eax & 0xff, 0xa5);
	expect_eq(regs.ecx, 0x13572468);
	/* Emulated hosts check no limits. */
	if (regs.esi != 3 || !option_number("loose", 0))
		expect_eq(regs.esi & 0xffff, 0x101);
	*real_vector(GP) = 0;
}

/* A page of the test's own; PAE's four pointers are registers in the 32-bit
 * build, PCID 5 is current in the other one where there are PCIDs. */
void point_paging(void)
{
	volatile u32 *page = page_alloc();
	struct paging paging;

	paging_start(&paging);
	paging_map(&paging, TEST_BASE, 1, (ulong)page | PTE_P | PTE_W | PTE_G);
	*page = 0x24681357;
	cr2_write(0x1234567);
	reach();
	expect_eq(cr2_read(), 0x1234567);
	expect_eq(*(volatile u32 *)TEST_BASE, 0x24681357);
	*(volatile u32 *)TEST_BASE = 1;
	expect_eq(*page, 1);
	paging_map(&paging, TEST_BASE, 1, (ulong)page | PTE_P);
	TRY("movl $2, (%0)", : : "r"(TEST_BASE) : "memory");
	expect_fault(PF, PF_P | PF_W);
	expect_eq(fault.cr2, TEST_BASE);
}

/* ---- MSRs -------------------------------------------------------------- */

void check_msrs(const struct msr_value *values, u32 count)
{
	bool there[MSRS_MAX];

	for (u32 i = 0; i < count; i++) {
		TRY("wrmsr",
		    :
		    : "c"(values[i].msr), "a"((u32)values[i].val),
		      "d"((u32)(values[i].val >> 32))
		    : "memory");
		there[i] = fault.vector == NO_FAULT;
	}
	reach();
	for (u32 i = 0; i < count; i++)
		if (there[i])
			expect_eq(msr_read(values[i].msr), values[i].val);
}

/* ---- interrupt chips --------------------------------------------------- */

enum { IRQ = 0x71, LOW_IRQ = 0x41, PIN = 20 };

static volatile u32 irqs, low_irqs;

static void irq(struct frame *frame)
{
	irqs++;
	/* In service at the point; a lower one waits. */
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_SELF | LOW_IRQ);
	reach();
	expect_eq(apic_read(APIC_ISR + 0x30) >> (IRQ & 31) & 1, 1);
	expect_eq(apic_read(APIC_IRR + 0x20) >> (LOW_IRQ & 31) & 1, 1);
	expect_eq(low_irqs, irqs - 1);
	apic_eoi();
}

static void irqs_let_in(void)
{
	irq_enable();
	for (u32 i = 0; i < 20; i++)
		cpu_pause();
	irq_disable();
}

static void low_irq(struct frame *frame)
{
	low_irqs++;
	apic_eoi();
}

void point_chips(void)
{
	handler_set(IRQ, irq);
	handler_set(LOW_IRQ, low_irq);
	/* An 8259 whose set-up is half done: ICW1 and ICW2 are written. */
	outb(0x20, 0x11);
	outb(0x21, 0x28);
	ioapic_route(PIN, 0x0200000000018000ull | 0x55); /* masked, level */
	ioapic_write(0, 0x0a000000);
	apic_write(APIC_LVT_ERROR, 0x47);
	apic_write(APIC_LDR, 0x02000000);
	apic_write(APIC_TPR, 0x20);
	reach();
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0x21, 0xfb);
	expect_eq(inb(0x21), 0xfb);
	expect_eq(ioapic_read(0x10 + 2 * PIN), 0x18055);
	expect_eq(ioapic_read(0x11 + 2 * PIN), 0x02000000);
	expect_eq(apic_read(APIC_LVT_ERROR), 0x47);
	expect_eq(apic_read(APIC_LDR), 0x02000000);
	expect_eq(apic_read(APIC_TPR), 0x20);
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_SELF | IRQ);
	irqs_let_in();
	expect_eq(irqs, 1);
	expect_eq(low_irqs, 1);
	if (!apic_set_x2(true))
		return;
	apic_write(APIC_TPR, 0x20);
	reach();
	expect_eq(apic_read(APIC_TPR), 0x20);
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_SELF | IRQ);
	irqs_let_in();
	expect_eq(irqs, 2);
	expect_eq(low_irqs, 2);
}
