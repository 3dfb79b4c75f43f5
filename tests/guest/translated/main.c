/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a translator could get wrong that an interpreter does not: each piece
 * of code runs often enough to be translated.
 *
 * References: [1] Intel SDM vol. 2 (PUSH, MULX), vol. 1 3.7.5.1
 *                 (RIP-relative addresses).
 */
#include "apic.h"
#include "expect.h"
#include "fault.h"
#include "paging.h"
#include "x86.h"

enum { TIMES = 16, BIT_BMI2 = 1 << 8 };

static u64 table[4] = {0x1111, 0x2222, 0x3333, 0x4444};

/* PUSH of [RSP + index]: the index counts. */
static u64 push_indexed(u64 index)
{
	u64 got;

	__asm__ volatile("push $7\n\t"
			 "push $6\n\t"
			 "push $5\n\t"
			 "push (%%rsp, %1, 8)\n\t"
			 "pop %0\n\t"
			 "add $24, %%rsp"
			 : "=&r"(got)
			 : "r"(index)
			 : "memory", "cc");
	return got;
}

/* PUSH of FS:[RSP + 16], with the base that makes that `place`. */
static u64 push_segment(const u64 *place)
{
	u64 got;

	__asm__ volatile("push $9\n\t"
			 "mov %1, %%rax\n\t"
			 "sub %%rsp, %%rax\n\t"
			 "sub $16, %%rax\n\t"
			 "mov %%rax, %%rdx\n\t"
			 "shr $32, %%rdx\n\t"
			 "mov %2, %%ecx\n\t"
			 "wrmsr\n\t"
			 "push %%fs:16(%%rsp)\n\t"
			 "pop %0\n\t"
			 "add $8, %%rsp"
			 : "=&r"(got)
			 : "r"(place), "i"(MSR_FS_BASE)
			 : "rax", "rcx", "rdx", "memory", "cc");
	return got;
}

static void test_push(void)
{
	for (unsigned n = 0; n < 3 * TIMES; n++)
		expect_eq(push_indexed(n % 3), 5 + n % 3);
	for (unsigned n = 0; n < TIMES; n++)
		expect_eq(push_segment(&table[n % 4]), table[n % 4]);
	msr_write(MSR_FS_BASE, 0);
}

/* RSP as the low result of MULX with a memory operand, then the stack. */
static u64 mulx_stack(u64 *place)
{
	static u64 factor = 1;
	u64 got;

	__asm__ volatile("mov %%rsp, %%r12\n\t"
			 "push %%rbx\n\t"
			 "mov %2, %%rdx\n\t"
			 "mulx %1, %%rsp, %%r13\n\t"
			 "push $0x5a\n\t"
			 "mov (%%rsp), %0\n\t"
			 "lea -8(%%r12), %%rsp\n\t"
			 "pop %%rbx"
			 : "=&r"(got)
			 : "m"(factor), "r"(place)
			 : "rdx", "r12", "r13", "memory", "cc");
	return got;
}

static u64 other_stack[1024] __attribute__((aligned(4096)));

static void test_mulx(void)
{
	volatile u64 *seen = other_stack;

	if (!(cpuid(7, 0).ebx & BIT_BMI2)) {
		skip("bmi2");
		return;
	}
	for (unsigned n = 1; n <= TIMES; n++) {
		expect_eq(mulx_stack(&other_stack[8 * n]), 0x5a);
		expect_eq(seen[8 * n - 1], 0x5a);
	}
}

/* R9 as the third operand, the second one on the stack. */
static u64 andn_stack(u64 a, u64 b)
{
	u64 got;

	__asm__ volatile("push %1\n\t"
			 "mov %2, %%r9\n\t"
			 "andn (%%rsp), %%r9, %%rax\n\t"
			 "mov %%rax, %%rdx\n\t"
			 "mulx (%%rsp), %%r9, %%r10\n\t"
			 "add %%r9, %%rax\n\t"
			 "add %%r10, %%rax\n\t"
			 "pop %%rdx\n\t"
			 "mov %%rax, %0"
			 : "=&r"(got)
			 : "r"(a), "r"(b)
			 : "rax", "rdx", "r9", "r10", "memory", "cc");
	return got;
}

static void test_three_operands(void)
{
	if (!(cpuid(7, 0).ebx & BIT_BMI2))
		return;
	for (u64 n = 1; n <= TIMES; n++) {
		u64 a = n * 0x0123456789abcdefull, b = n * 0x1000100010001ull;
		u64 c = a & ~b;
		unsigned __int128 product = (unsigned __int128)c * a;

		expect_eq(andn_stack(a, b),
			  c + (u64)product + (u64)(product >> 64));
	}
}

/* RIP-relative with the largest displacement: 64 bits are added. */
static u64 far_ahead(void)
{
	u64 got, next;

	__asm__ volatile("lea 1f(%%rip), %1\n\t"
			 ".byte 0x48, 0x8d, 0x05\n\t" /* lea rax, [rip+x] */
			 ".long 0x7fffffff\n"
			 "1:"
			 : "=&a"(got), "=&r"(next));
	return got - next;
}

static void test_relative(void)
{
	for (unsigned n = 0; n < TIMES; n++)
		expect_eq(far_ahead(), 0x7fffffff);
}

/* Stack accesses on both sides of an instruction that is not emitted, and of
 * one that misses the TLB every time: the stack is where it was. */
static u64 stack_around(volatile u32 *device, u64 val)
{
	u64 got;

	__asm__ volatile("push %2\n\t"
			 "mov %2, %%r9\n\t"
			 "push %%r9\n\t"
			 "xor %%eax, %%eax\n\t"
			 "xor %%ecx, %%ecx\n\t"
			 "cpuid\n\t"
			 "add %%r9, (%%rsp)\n\t"
			 "mov %1, %%eax\n\t"
			 "mov 8(%%rsp), %%r10\n\t"
			 "add %%r10, (%%rsp)\n\t"
			 "pop %0\n\t"
			 "pop %%r9\n\t"
			 "add %%r9, %0"
			 : "=&r"(got)
			 : "m"(*device), "r"(val)
			 : "rax", "rbx", "rcx", "rdx", "r9", "r10", "memory",
			   "cc");
	return got;
}

static void test_stack_around(void)
{
	volatile u32 *lapic_id = (volatile u32 *)0xfee00020;

	for (u64 n = 0; n < TIMES; n++)
		expect_eq(stack_around(lapic_id, n << 33 | 5),
			  4 * (n << 33 | 5));
}

/* ---- a stack of two pages ---------------------------------------------- */

/*
 * Blocks that follow each other with accesses through RSP, in a loop: pushes,
 * a frame, a call of a neighbour, pops. What it returns depends on all of them.
 */
__attribute__((naked, noinline)) static u64 frames(u64 sp, u64 val)
{
	__asm__("push %rbx\n\t"
		"push %rbp\n\t"
		"mov %rsp, %rbp\n\t"
		"mov %rdi, %rsp\n\t"
		"push %rsi\n\t"
		"sub $40, %rsp\n\t"
		"xor %eax, %eax\n\t"
		"mov %rax, 8(%rsp)\n\t"
		"mov $3, %ebx\n"
		"1: test $1, %ebx\n\t"
		"jz 2f\n\t"
		"add 40(%rsp), %rax\n\t"
		"mov %rax, 16(%rsp)\n\t"
		"call 4f\n\t"
		"jmp 3f\n"
		"2: push %rax\n\t"
		"addq $5, 16(%rsp)\n\t"
		"pop %rax\n"
		"3: mov %rax, 32(%rsp)\n\t"
		"dec %ebx\n\t"
		"jnz 1b\n\t"
		"add 8(%rsp), %rax\n\t"
		"add $40, %rsp\n\t"
		"pop %rdx\n\t"
		"add %rdx, %rax\n\t"
		"mov %rbp, %rsp\n\t"
		"pop %rbp\n\t"
		"pop %rbx\n\t"
		"ret\n"
		"4: push %rax\n\t"
		"mov 24(%rsp), %rax\n\t"
		"add %rax, (%rsp)\n\t"
		"pop %rax\n\t"
		"lea 1(%rax), %rax\n\t"
		"ret");
}

/* `frames` in C. */
static u64 frames_in_c(u64 val)
{
	u64 rax = 0, at_8 = 0;

	for (unsigned n = 3; n; n--) {
		if (n & 1) {
			rax += val;
			rax += at_8 + 1;
		} else {
			at_8 += 5;
		}
	}
	return rax + at_8 + val;
}

/* Neighbours that are not neighbours in memory, so that an access that runs
 * over the edge of a page without a look goes astray. */
static void test_stack_edge(void)
{
	enum { FLAGS = PTE_P | PTE_W };
	static struct paging paging;
	u8 *pages = pages_alloc(4);

	paging_boot(&paging);
	paging_map(&paging, TEST_BASE, 1, (ulong)pages | FLAGS);
	paging_map(&paging, TEST_BASE + 0x1000, 1,
		   (ulong)(pages + 0x3000) | FLAGS);
	for (ulong at = 512; at <= 0x2000; at += 8) {
		u64 val = 0x123456789ull * at;

		expect_eq(frames(TEST_BASE + at, val), frames_in_c(val));
	}
	for (ulong at = 0x2000 - 3; at >= 512; at -= 37)
		expect_eq(frames(TEST_BASE + at, at), frames_in_c(at));
	for (unsigned n = 0x1000; n < 0x3000; n += 8)
		if (*(volatile u64 *)(pages + n))
			expect_eq(n, 0);
}

/* ---- loops ------------------------------------------------------------- */

enum { TIMER = 0x70 };

static volatile u32 ticked;

static void tick(struct frame *frame)
{
	ticked = 1;
	apic_eoi();
}

/* RAX is where the loop goes on, unless the timer has ticked. */
#define LOOP(jump)                                           \
	__asm__ volatile("lea 2f(%%rip), %%rdx\n\t"          \
			 "1: lea 1b(%%rip), %%rax\n\t"       \
			 "cmpl $0, %0\n\t"                   \
			 "cmovne %%rdx, %%rax\n\t" jump "\n" \
			 "2:"                                \
			 :                                   \
			 : "m"(ticked)                       \
			 : "rax", "rdx", "rcx", "memory", "cc")

static void loop_by_jump(void)
{
	LOOP("jmp *%%rax");
}

static void loop_by_return(void)
{
	LOOP("push %%rax; ret");
}

static void loop_by_call(void)
{
	__asm__ volatile("mov %%rsp, %%rbx\n\t"
			 "lea 2f(%%rip), %%rdx\n\t"
			 "1: lea 1b(%%rip), %%rax\n\t"
			 "cmpl $0, %0\n\t"
			 "cmovne %%rdx, %%rax\n\t"
			 "mov %%rbx, %%rsp\n\t"
			 "call *%%rax\n"
			 "2: mov %%rbx, %%rsp"
			 :
			 : "m"(ticked)
			 : "rax", "rbx", "rdx", "memory", "cc");
}

/* Back to another page. */
static void loop_far(void)
{
	__asm__ volatile("1: jmp 2f\n\t"
			 ".skip 5000\n"
			 "2: cmpl $0, %0\n\t"
			 "je 1b"
			 :
			 : "m"(ticked)
			 : "memory", "cc");
}

/* One block, with flags that are live where it begins. */
static void loop_alone(void)
{
	__asm__ volatile("stc\n"
			 "1: mov %0, %%eax\n\t"
			 "inc %%eax\n\t"
			 "dec %%eax\n\t"
			 "jz 1b\n\t"
			 "jc 2f\n\t"
			 "ud2\n"
			 "2:"
			 :
			 : "m"(ticked)
			 : "eax", "memory", "cc");
}

/* Loops of all kinds are interrupted. */
static void test_loops(void)
{
	static void (*const loops[])(void) = {
		loop_by_jump, loop_by_return, loop_by_call,
		loop_far,     loop_alone,
	};

	pic_mask_all();
	apic_enable();
	handler_set(TIMER, tick);
	apic_write(APIC_TIMER_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, TIMER);
	for (unsigned n = 0; n < 5; n++) {
		ticked = 0;
		apic_write(APIC_TIMER_INITIAL, 3000000);
		irq_enable();
		loops[n]();
		irq_disable();
		expect_eq(ticked, 1);
	}
	apic_write(APIC_LVT_TIMER, 0x10000);
	handler_set(TIMER, NULL);
}

/* ---- strings over pages ------------------------------------------------ */

enum { STRING_BYTES = 5 * 4096 + 264 };

static u8 from_bytes[STRING_BYTES + 64] __attribute__((aligned(4096)));
static u8 to_bytes[STRING_BYTES + 64] __attribute__((aligned(4096)));

struct string {
	u64 count;
	u8 *from, *to;
};

static void move(struct string *s, unsigned width)
{
#define MOVE(name)                                                    \
	__asm__ volatile("rep " name                                  \
			 : "+c"(s->count), "+S"(s->from), "+D"(s->to) \
			 :                                            \
			 : "memory")
	switch (width) {
	case 0:
		MOVE("movsb");
		break;
	case 1:
		MOVE("movsw");
		break;
	case 2:
		MOVE("movsl");
		break;
	default:
		MOVE("movsq");
	}
}

static void store(struct string *s, unsigned width, u64 val)
{
#define STORE(name)                                    \
	__asm__ volatile("rep " name                   \
			 : "+c"(s->count), "+D"(s->to) \
			 : "a"(val)                    \
			 : "memory")
	switch (width) {
	case 0:
		STORE("stosb");
		break;
	case 1:
		STORE("stosw");
		break;
	case 2:
		STORE("stosl");
		break;
	default:
		STORE("stosq");
	}
}

static bool is_moved(unsigned from, unsigned to, u64 bytes)
{
	for (u64 k = 0; k < bytes; k++)
		if (to_bytes[to + k] != (u8)((from + k) * 7))
			return false;
	return to_bytes[to + bytes] == 0xee &&
	       (!to || to_bytes[to - 1] == 0xee);
}

static bool is_stored(unsigned to, unsigned width, u64 bytes, u64 val)
{
	u64 mask = (1u << width) - 1;

	for (u64 k = 0; k < bytes; k++)
		if (to_bytes[to + k] != (u8)(val >> (k & mask) * 8))
			return false;
	return to_bytes[to + bytes] == 0xee &&
	       (!to || to_bytes[to - 1] == 0xee);
}

static void clear_bytes(void)
{
	for (unsigned k = 0; k < sizeof(to_bytes); k++)
		to_bytes[k] = 0xee;
}

/* Several pages, which end on the two sides at different places, with and
 * without a unit that lies across such an end. */
static void test_strings(void)
{
	const u64 val = 0x8877665544332211;

	for (unsigned k = 0; k < sizeof(from_bytes); k++)
		from_bytes[k] = (u8)(k * 7);
	for (unsigned n = 0; n < 4 * TIMES; n++) {
		unsigned width = n & 3, from = n % 5 * 8,
			 to = n % 7 * 4 + n / 48;
		u64 count = (STRING_BYTES >> width) - n;
		struct string s = {count, from_bytes + from, to_bytes + to};

		clear_bytes();
		move(&s, width);
		expect_eq(s.count, 0);
		expect_eq(s.from - from_bytes, from + (count << width));
		expect_eq(s.to - to_bytes, to + (count << width));
		expect(is_moved(from, to, count << width));
		s = (struct string){count, NULL, to_bytes + to};
		clear_bytes();
		store(&s, width, val);
		expect_eq(s.count, 0);
		expect_eq(s.to - to_bytes, to + (count << width));
		expect(is_stored(to, width, count << width, val));
	}
}

int main(void)
{
	test_three_operands();
	test_strings();
	test_loops();
	test_stack_edge();
	test_stack_around();
	test_push();
	test_mulx();
	test_relative();
	return 0;
}
