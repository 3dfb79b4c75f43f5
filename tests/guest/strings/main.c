/* SPDX-License-Identifier: Apache-2.0 */
/* Strings without trouble, against a model; see strings.h. */
#include "strings.h"

enum { LEN = 256, MIDDLE = 120, LONGEST = 9 };

ulong string_ip;

static u8 memory[LEN] __attribute__((aligned(64)));
static u8 model[LEN];

static u8 pattern(unsigned i)
{
	return (u8)(i * 37 + 11);
}

static void fill(void)
{
	for (unsigned i = 0; i < LEN; i++)
		((volatile u8 *)memory)[i] = ((volatile u8 *)model)[i] =
			pattern(i);
}

static void expect_memory(unsigned width, int delta, unsigned count)
{
	for (unsigned i = 0; i < LEN; i++) {
		if (((volatile u8 *)memory)[i] == ((volatile u8 *)model)[i])
			continue;
		print("  width %u, distance %d, count %u, byte %u\n", width,
		      delta, count, i);
		expect_eq(memory[i], model[i]);
		return;
	}
	expect(true);
}

/* A value of `width` bytes of a buffer, whatever its alignment. */
static u64 get(const u8 *at, unsigned width)
{
	u64 val = 0;

	for (unsigned i = 0; i < width; i++)
		val |= (u64)((const volatile u8 *)at)[i] << 8 * i;
	return val;
}

static void put(u8 *at, unsigned width, u64 val)
{
	for (unsigned i = 0; i < width; i++)
		((volatile u8 *)at)[i] = (u8)(val >> 8 * i);
}

static void run_movs(unsigned width, struct string_regs *r)
{
	switch (width) {
	case 1:
		STRING("rep movsb", *r);
		break;
	case 2:
		STRING("rep movsw", *r);
		break;
	case 4:
		STRING("rep movsl", *r);
		break;
	default:
		STRING(FOR_WIDTH("", "rep movsq"), *r);
	}
	expect_no_fault();
}

static void run_stos(unsigned width, struct string_regs *r)
{
	switch (width) {
	case 1:
		STRING("rep stosb", *r);
		break;
	case 2:
		STRING("rep stosw", *r);
		break;
	case 4:
		STRING("rep stosl", *r);
		break;
	default:
		STRING(FOR_WIDTH("", "rep stosq"), *r);
	}
	expect_no_fault();
}

static void run_lods(unsigned width, struct string_regs *r)
{
	switch (width) {
	case 1:
		STRING("rep lodsb", *r);
		break;
	case 2:
		STRING("rep lodsw", *r);
		break;
	case 4:
		STRING("rep lodsl", *r);
		break;
	default:
		STRING(FOR_WIDTH("", "rep lodsq"), *r);
	}
	expect_no_fault();
}

static void run_cmps(unsigned width, bool equal, struct string_regs *r)
{
	switch (width * 2 + equal) {
	case 2:
		STRING("repne cmpsb", *r);
		break;
	case 3:
		STRING("repe cmpsb", *r);
		break;
	case 4:
		STRING("repne cmpsw", *r);
		break;
	case 5:
		STRING("repe cmpsw", *r);
		break;
	case 8:
		STRING("repne cmpsl", *r);
		break;
	case 9:
		STRING("repe cmpsl", *r);
		break;
	case 16:
		STRING(FOR_WIDTH("", "repne cmpsq"), *r);
		break;
	default:
		STRING(FOR_WIDTH("", "repe cmpsq"), *r);
	}
	expect_no_fault();
}

static void run_scas(unsigned width, bool equal, struct string_regs *r)
{
	switch (width * 2 + equal) {
	case 2:
		STRING("repne scasb", *r);
		break;
	case 3:
		STRING("repe scasb", *r);
		break;
	case 4:
		STRING("repne scasw", *r);
		break;
	case 5:
		STRING("repe scasw", *r);
		break;
	case 8:
		STRING("repne scasl", *r);
		break;
	case 9:
		STRING("repe scasl", *r);
		break;
	case 16:
		STRING(FOR_WIDTH("", "repne scasq"), *r);
		break;
	default:
		STRING(FOR_WIDTH("", "repe scasq"), *r);
	}
	expect_no_fault();
}

/* [1] 7.3.9.1: element after element, overlap or not; DF counts down. */
static void check_movs(unsigned width, int delta, unsigned count, bool down)
{
	long step = down ? -(long)width : (long)width;
	ulong from = (ulong)memory + MIDDLE, to = from + (ulong)(long)delta;
	struct string_regs r = {count, from, to, 0x5a,
				2 | (down ? EFLAGS_DF : 0)};

	fill();
	for (unsigned i = 0; i < count; i++) {
		long at = (long)MIDDLE + step * (long)i;

		put(model + at + delta, width, get(model + at, width));
	}
	run_movs(width, &r);
	expect_eq(r.cx, 0);
	expect_eq(r.si, from + (ulong)(step * (long)count));
	expect_eq(r.di, to + (ulong)(step * (long)count));
	expect_eq(r.ax, 0x5a);
	expect_memory(width, delta, count);
}

static void test_movs(unsigned width)
{
	static const u8 counts[] = {0, 1, 2, 3, 7, LONGEST};

	for (int delta = -17; delta <= 17; delta++) {
		for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
			check_movs(width, delta, counts[i], false);
			check_movs(width, delta, counts[i], true);
		}
	}
}

static void test_stos(unsigned width, bool down)
{
	long step = down ? -(long)width : (long)width;
	ulong to = (ulong)memory + MIDDLE + 1;
	ulong value = FOR_WIDTH(0x89abcdeful, 0x0123456789abcdeful);

	for (unsigned count = 0; count <= LONGEST; count++) {
		struct string_regs r = {count, 1, to, value,
					2 | (down ? EFLAGS_DF : 0)};

		fill();
		for (unsigned i = 0; i < count; i++)
			put(model + MIDDLE + 1 + step * (long)i, width, value);
		run_stos(width, &r);
		expect_eq(r.cx, 0);
		expect_eq(r.si, 1);
		expect_eq(r.di, to + (ulong)(step * (long)count));
		expect_eq(r.ax, value);
		expect_memory(width, 0, count);
	}
}

/* [2] LODS: AL, AX, EAX (which clears the upper half) or RAX. */
static void test_lods(unsigned width, bool down)
{
	long step = down ? -(long)width : (long)width;
	ulong from = (ulong)memory + MIDDLE + 1;
	ulong mask = width < 4 ? (1ul << 8 * width) - 1 : ~0ul;

	fill();
	for (ulong count = 0; count <= 5; count++) {
		struct string_regs r = {count, from, 1, ~0ul,
					2 | (down ? EFLAGS_DF : 0)};
		const u8 *last = (u8 *)from + step * (long)(count - 1);
		ulong want = ~mask | (ulong)get(last, width);

		if (!count)
			want = ~0ul;
		run_lods(width, &r);
		expect_eq(r.cx, 0);
		expect_eq(r.si, from + (ulong)step * count);
		expect_eq(r.di, 1);
		expect_eq(r.ax, want);
	}
}

/* Flags of a comparison, by the CPU's own CMP of registers. */
static ulong compare(u64 a, u64 b, unsigned width)
{
	unsigned shift = (unsigned)sizeof(ulong) * 8 - width * 8;
	ulong flags;

	/* At the top end of a register all but AF and PF come out the same.
	 */
	__asm__ volatile("cmp %2, %1; pushf; pop %0"
			 : "=r"(flags)
			 : "r"((ulong)a << shift), "r"((ulong)b << shift)
			 : "cc");
	return flags & (EFLAGS_CF | EFLAGS_ZF | EFLAGS_OF | BIT(7));
}

/* [2] REPE, REPNE: ends after the element that ends it, with its flags. */
static void check_cmps(unsigned width, bool equal, unsigned odd, bool down)
{
	long step = down ? -(long)width : (long)width;
	u8 *a = memory + 60, *b = memory + 180;
	struct string_regs r = {LONGEST, (ulong)a, (ulong)b, 0x77,
				2 | (down ? EFLAGS_DF : 0)};
	unsigned done = odd < LONGEST ? odd + 1 : LONGEST;
	long last = step * (long)(done - 1);
	ulong flags;

	for (unsigned i = 0; i < LONGEST; i++) {
		long at = step * (long)i;

		put(a + at, width, 0x8070605040302010ull + i);
		put(b + at, width,
		    0x8070605040302010ull + i + (equal == (i == odd)) * 0x40);
	}
	flags = compare(get(a + last, width), get(b + last, width), width);
	run_cmps(width, equal, &r);
	expect_eq(r.cx, LONGEST - done);
	expect_eq(r.si, (ulong)(a + last + step));
	expect_eq(r.di, (ulong)(b + last + step));
	expect_eq(r.flags & (EFLAGS_CF | EFLAGS_ZF | EFLAGS_OF | BIT(7)),
		  flags);
	r = (struct string_regs){LONGEST, 1, (ulong)b,
				 (ulong)get(a, width) | 0x100,
				 2 | (down ? EFLAGS_DF : 0)};
	/* The same strings, scanned for the first element of one of them. */
	for (unsigned i = 0; i < LONGEST; i++)
		put(b + step * (long)i, width,
		    get(a, width) + (equal == (i == odd)) * 0x40);
	r.ax = (ulong)get(a, width);
	flags = compare(r.ax, get(b + last, width), width);
	run_scas(width, equal, &r);
	expect_eq(r.cx, LONGEST - done);
	expect_eq(r.si, 1);
	expect_eq(r.di, (ulong)(b + last + step));
	expect_eq(r.flags & (EFLAGS_CF | EFLAGS_ZF | EFLAGS_OF | BIT(7)),
		  flags);
}

static void test_compare(unsigned width)
{
	for (unsigned odd = 0; odd <= LONGEST; odd++) {
		for (unsigned way = 0; way < 4; way++)
			check_cmps(width, way & 1, odd, way & 2);
	}
}

/* [2] REP: a count of 0 does nothing at all, not even to the flags. */
static void test_zero(void)
{
	const ulong flags = 2 | ARITHMETIC;
	struct string_regs r = {0, 1, 3, 5, flags};

	STRING("repe cmpsb", r);
	expect_no_fault();
	expect_eq(r.flags & ARITHMETIC, ARITHMETIC);
	STRING("repne scasl", r);
	STRING("rep movsw", r);
	STRING("rep stosl", r);
	STRING("rep lodsl", r);
	STRING("rep insb", r);
	STRING("rep outsl", r);
	expect_no_fault();
	expect_eq(r.flags & ARITHMETIC, ARITHMETIC);
	expect_eq(r.cx, 0);
	expect_eq(r.si, 1);
	expect_eq(r.di, 3);
	expect_eq(r.ax, 5);
}

/* [2] REP: the address size chooses the counter and the index registers. */
static void test_address_size(void)
{
	ulong high = FOR_WIDTH(0xabcd0000ul, 0x1234567800000000ul);
	ulong at = (ulong)memory + 32;
	struct string_regs r = {high | 3, 7, high | at, 0xee, 2};

	fill();
	if (FOR_WIDTH(0, 1)) {
		STRING("addr32 rep stosb", r);
		expect_eq(r.cx, 0);
		expect_eq(r.di, at + 3);
	} else {
		/* DI is 16 bits wide: memory below 64 KiB. */
		at = 0xa000;
		*(volatile u32 *)at = 0;
		r.di = high | at;
		STRING("addr16 rep stosb", r);
		expect_eq(r.cx, high);
		expect_eq(r.di, high | (at + 3));
	}
	expect_no_fault();
	expect_eq(r.si, 7);
	expect_eq(*(volatile u32 *)at & 0xffffff, 0xeeeeee);
}

/* [1] 7.3.9: a segment override is for the source only. */
static void test_segment(void)
{
	struct string_regs r = {4, 0, (ulong)memory, 0, 2};

	fill();
	if (FOR_WIDTH(0, 1)) {
		msr_write(MSR_FS_BASE, (ulong)memory + 64);
	} else {
		gdt_set(SPARE, segment((u32)(ulong)memory + 64, 0xfffff,
				       SEG_DATA | SEG_D | SEG_G));
		__asm__ volatile("mov %w0, %%fs" : : "r"(SPARE));
	}
	STRING("rep movsb %%fs:(%%" FOR_WIDTH(
		       "esi", "rsi") "), %%es:(%%" FOR_WIDTH("edi", "rdi") ")",
	       r);
	expect_no_fault();
	expect_eq(get(memory, 4), get(model + 64, 4));
	r = (struct string_regs){1, 2, 0, 0, 2};
	STRING("lodsb %%fs:(%%" FOR_WIDTH("esi", "rsi") ")", r);
	expect_eq(r.ax, pattern(66));
	__asm__ volatile("mov %w0, %%fs" : : "r"(0));
}

int main(void)
{
	for (unsigned width = 1; width <= sizeof(ulong); width *= 2) {
		test_movs(width);
		test_stos(width, false);
		test_stos(width, true);
		test_lods(width, false);
		test_lods(width, true);
		test_compare(width);
	}
	test_zero();
	test_address_size();
	test_segment();
	areas_set_up();
	test_restart();
	test_interrupted();
	test_ports();
	return 0;
}
