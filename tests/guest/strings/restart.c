/* SPDX-License-Identifier: Apache-2.0 */
/* Strings that something happens to in the middle; see strings.h. */
#include "strings.h"

#include "apic.h"

enum {
	TIMER = 0x60,
	BIG = 4 << 20,
	CMOS_SPARE = 0x40,
	ROUNDS = 200,
	EDGE = PAGE, /* offset of the first byte that is not there */
};

#define AT(gva) ((volatile u8 *)(gva))

static struct paging paging;
static u8 *frames[4];

void areas_set_up(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(frames); i++)
		frames[i] = page_alloc();
	if (FOR_WIDTH(0, 1)) {
		paging_boot(&paging);
	} else {
		cr4_write(cr4_read() | CR4_PSE);
		paging_init(&paging, PAGING_2LEVEL);
		cr3_write(paging.root);
		cr0_write(cr0_read() | CR0_PG | CR0_WP);
	}
	area_set(TEST_BASE, PTE_P | PTE_W);
	area_set(TEST_BASE + PAGE, 0);
	area_set(AREA_B, PTE_P | PTE_W);
	area_set(AREA_B + PAGE, 0);
}

void area_set(ulong gva, u64 bits)
{
	unsigned index = (gva >= AREA_B) * 2 + (gva >> 12 & 1);

	paging_map(&paging, gva, 1, bits ? (ulong)frames[index] | bits : 0);
}

/* Both areas mapped and filled, then as the test wants them. */
static void prepare(u64 a_bits, u64 b_bits)
{
	area_set(TEST_BASE + PAGE, PTE_P | PTE_W);
	area_set(AREA_B + PAGE, PTE_P | PTE_W);
	for (unsigned i = 0; i < 2 * PAGE; i++) {
		AT(TEST_BASE)[i] = (u8)(i * 7 + 1);
		AT(AREA_B)[i] = 0xaa;
	}
	area_set(TEST_BASE + PAGE, a_bits);
	area_set(AREA_B + PAGE, b_bits);
}

/* A page fault of the string instruction, which has done what came before:
 * [3] 6.5; RF is set in the flags it leaves, 18.3.1.1. */
static void expect_stop(ulong error, ulong cr2)
{
	expect_fault_ip(PF, error, string_ip);
	expect_eq(fault.cr2, cr2);
	expect(fault.flags & EFLAGS_RF || lax("rf"));
}

#define expect_regs(r, count, source, dest)  \
	do {                                 \
		expect_eq((r).cx, (count));  \
		expect_eq((r).si, (source)); \
		expect_eq((r).di, (dest));   \
	} while (0)

static void expect_copied(ulong from, ulong to, unsigned len)
{
	for (unsigned i = 0; i < len; i++) {
		if (AT(from)[i] != AT(to)[i]) {
			expect_eq(AT(to)[i], AT(from)[i]);
			return;
		}
	}
	expect(true);
}

static void test_source(void)
{
	ulong from = TEST_BASE + EDGE - 12, to = AREA_B + 3;
	struct string_regs r = {10, from, to, 0, 2};

	prepare(0, PTE_P | PTE_W);
	STRING("rep movsl", r);
	expect_stop(0, TEST_BASE + EDGE);
	expect_regs(r, 7, from + 12, to + 12);
	expect_eq(AT(to)[12], 0xaa);
	area_set(TEST_BASE + PAGE, PTE_P | PTE_W);
	STRING("rep movsl", r);
	expect_no_fault();
	expect_regs(r, 0, from + 40, to + 40);
	expect_copied(from, to, 40);
	/* An element on both sides of the edge: whole or not at all. */
	prepare(0, PTE_P | PTE_W);
	from = TEST_BASE + EDGE - 10;
	r = (struct string_regs){10, from, to, 0, 2};
	STRING("rep movsl", r);
	expect_stop(0, TEST_BASE + EDGE);
	expect_regs(r, 8, from + 8, to + 8);
	expect_eq(AT(to)[8], 0xaa);
}

static void test_destination(void)
{
	ulong from = TEST_BASE + 5, to = AREA_B + EDGE - 10;
	struct string_regs r = {10, from, to, 0, 2};

	prepare(PTE_P | PTE_W, 0);
	STRING("rep movsl", r);
	expect_stop(PF_W, AREA_B + EDGE);
	expect_regs(r, 8, from + 8, to + 8);
	expect_eq(AT(to)[7], AT(from)[7]);
	/* Of the element on the edge nothing is written. */
	expect_eq(AT(to)[8], 0xaa);
	expect_eq(AT(to)[9], 0xaa);
	area_set(AREA_B + PAGE, PTE_P);
	STRING("rep movsl", r);
	expect_stop(PF_P | PF_W, AREA_B + EDGE);
	expect_regs(r, 8, from + 8, to + 8);
	area_set(AREA_B + PAGE, PTE_P | PTE_W);
	STRING("rep movsl", r);
	expect_no_fault();
	expect_copied(from, to, 40);

	prepare(PTE_P, 0);
	r = (struct string_regs){100, 9, AREA_B + EDGE - 6, 0x4321, 2};
	STRING("rep stosw", r);
	expect_stop(PF_W, AREA_B + EDGE);
	expect_regs(r, 97, 9, AREA_B + EDGE);
	expect_eq(AT(AREA_B + EDGE)[-1], 0x43);
	/* Both missing: the source is read first. */
	prepare(0, 0);
	r = (struct string_regs){4, TEST_BASE + EDGE, AREA_B + EDGE, 0, 2};
	STRING("rep movsb", r);
	expect_stop(0, TEST_BASE + EDGE);
	expect_regs(r, 4, TEST_BASE + EDGE, AREA_B + EDGE);
}

/* Downwards, into the page below. */
static void test_down(void)
{
	ulong from = TEST_BASE + PAGE + 8, to = AREA_B + PAGE + 100;
	struct string_regs r = {10, from, to, 0, 2 | EFLAGS_DF};

	prepare(PTE_P | PTE_W, PTE_P | PTE_W);
	area_set(TEST_BASE, 0);
	STRING("rep movsl", r);
	expect_stop(0, TEST_BASE + PAGE - 4);
	expect_regs(r, 7, from - 12, to - 12);
	expect(fault.flags & EFLAGS_DF);
	area_set(TEST_BASE, PTE_P | PTE_W);
	r.flags = 2 | EFLAGS_DF;
	STRING("rep movsl", r);
	expect_no_fault();
	expect_regs(r, 0, from - 40, to - 40);
	expect_copied(from - 36, to - 36, 40);
	/* An element that begins in the page below. */
	area_set(TEST_BASE, 0);
	r = (struct string_regs){10, from - 2, to, 0, 2 | EFLAGS_DF};
	STRING("rep movsl", r);
	expect_stop(0, TEST_BASE + PAGE - 2);
	expect_regs(r, 8, from - 10, to - 8);
	area_set(TEST_BASE, PTE_P | PTE_W);
}

/* The count is exact, and a compare reads no further than it has to. */
static void test_compare(void)
{
	ulong at = AREA_B + EDGE - 8;
	struct string_regs r = {100, 7, at, 0xaaaa, 2 | EFLAGS_CF};

	prepare(PTE_P | PTE_W, 0);
	STRING("repe scasw", r);
	expect_stop(0, AREA_B + EDGE);
	expect_regs(r, 96, 7, AREA_B + EDGE);
	/* [2] REP: the flags are those from before the instruction. */
	expect_eq_lax("rep-flags", fault.flags & ARITHMETIC, EFLAGS_CF,
		      EFLAGS_PF | EFLAGS_ZF);
	for (unsigned i = 0; i < 8; i++)
		AT(TEST_BASE)[i] = 0xaa;
	r = (struct string_regs){50, TEST_BASE, at, 0, 2};
	STRING("repe cmpsb", r);
	expect_stop(0, AREA_B + EDGE);
	expect_regs(r, 42, TEST_BASE + 8, AREA_B + EDGE);
	r = (struct string_regs){50, at, TEST_BASE, 0, 2};
	STRING("repe cmpsb", r);
	expect_stop(0, AREA_B + EDGE);
	expect_regs(r, 42, AREA_B + EDGE, TEST_BASE + 8);
	r = (struct string_regs){9, at, 7, 0, 2};
	STRING("rep lodsw", r);
	expect_stop(0, AREA_B + EDGE);
	expect_regs(r, 5, AREA_B + EDGE, 7);
	expect_eq(r.ax, 0xaaaa);
	/* One that would end before the edge does not touch what is beyond. */
	AT(AREA_B + EDGE)[-1] = 0xbb;
	r = (struct string_regs){100, 7, at, 0xbb, 2};
	STRING("repne scasb", r);
	expect_no_fault();
	expect_regs(r, 92, 7, AREA_B + EDGE);
	expect(r.flags & EFLAGS_ZF);
}

/* Often enough to be translated. */
void test_restart(void)
{
	for (unsigned n = 0; n < 8; n++) {
		test_source();
		test_destination();
		test_down();
		test_compare();
	}
}

/* ---- interrupts -------------------------------------------------------- */

static unsigned ticks, inside, wrong;
static ulong big_from, big_to;
static bool no_rf;

/* [3] 6.6: between two iterations, with registers that fit each other. */
static void tick(struct frame *frame)
{
	ulong done = BIG - frame->cx;

	ticks++;
	if (frame->ip == string_ip && frame->cx != BIG && frame->cx) {
		inside++;
		wrong += frame->si != big_from + done ||
			 frame->di != big_to + done;
		wrong += !(frame->flags & EFLAGS_RF || no_rf);
	}
	apic_eoi();
}

void test_interrupted(void)
{
	struct string_regs r;

	/* Nothing of the image or of the tables is so high. */
	big_from = 32 << 20;
	big_to = big_from + BIG + 64;
	for (ulong i = 0; i < BIG; i += sizeof(ulong))
		*(volatile ulong *)(big_from + i) = i * 0x9e3779b1ul;
	no_rf = lax("rf");
	pic_mask_all();
	apic_enable();
	handler_set(TIMER, tick);
	apic_write(APIC_TIMER_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, TIMER | 0x20000);
	apic_write(APIC_TIMER_INITIAL, 100000);
	for (unsigned i = 0; i < ROUNDS && inside < 20; i++) {
		r = (struct string_regs){BIG, big_from, big_to, 0,
					 2 | EFLAGS_IF};
		STRING("rep movsb", r);
		irq_disable();
		expect_no_fault();
		expect_regs(r, 0, big_from + BIG, big_to + BIG);
	}
	apic_write(APIC_LVT_TIMER, 0x10000);
	apic_write(APIC_TIMER_INITIAL, 0);
	irq_enable();
	__asm__ volatile("nop; nop");
	irq_disable();
	handler_set(TIMER, NULL);
	expect(inside > 0);
	expect_eq(wrong, 0);
	expect_copied(big_from, big_to, BIG);
}

/* ---- ports ------------------------------------------------------------- */

/* [2] INS, OUTS; the RTC's memory is a port without side effects. */
void test_ports(void)
{
	struct string_regs r = {3, TEST_BASE + 1, 99, 0, 2};
	u8 first, second;

	prepare(PTE_P | PTE_W, 0);
	outb(0x70, CMOS_SPARE);
	__asm__ volatile("" : : : "memory");
	TRY("rep outsb", : "+c"(r.cx), "+S"(r.si) : "d"(0x71) : "memory");
	expect_no_fault();
	expect_regs(r, 0, TEST_BASE + 4, 99);
	expect_eq(inb(0x71), AT(TEST_BASE)[3]);
	r = (struct string_regs){3, 99, AREA_B + 20, 0, 2};
	TRY("rep insb", : "+c"(r.cx), "+D"(r.di) : "d"(0x71) : "memory");
	expect_no_fault();
	expect_regs(r, 0, 99, AREA_B + 23);
	for (unsigned i = 20; i < 23; i++)
		expect_eq(AT(AREA_B)[i], AT(TEST_BASE)[3]);
	expect_eq(AT(AREA_B)[23], 0xaa);
	/* A latched counter shows what has been read: one byte for one, and
	 * none by an INS that faults. */
	outb(0x61, inb(0x61) & ~3);
	outb(0x43, 0xb0);
	outb(0x42, 0x34);
	outb(0x42, 0x12);
	outb(0x43, 0x80);
	r = (struct string_regs){2, 99, AREA_B + EDGE - 1, 0, 2};
	TRY("rep insb", : "+c"(r.cx), "+D"(r.di) : "d"(0x42) : "memory");
	expect_fault(PF, PF_W);
	expect_eq(fault.cr2, AREA_B + EDGE);
	expect_regs(r, 1, 99, AREA_B + EDGE);
	first = AT(AREA_B + EDGE)[-1];
	second = inb(0x42);
	if (!lax("pit-gate"))
		expect_eq(first | second << 8, 0x1234);
}
