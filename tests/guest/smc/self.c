/* SPDX-License-Identifier: Apache-2.0 */
/* Stores of all kinds to code that has run, by the CPU that runs it. */
#include "smc.h"

enum { ROUNDS = 500 };

#define VALUE(at) ((void *)((at) + MOV_VALUE))

/* [1] 9.1.3, option 1: store, jump (here: call), run. */
static void test_widths(void)
{
	for (u32 i = 0; i < ROUNDS; i++) {
		u32 val = i * 0x01020304;

		code_mov(code, val);
		expect_eq(code_run(code), val);
		*(volatile u8 *)VALUE(code) = 0x11;
		expect_eq(code_run(code), (val & ~0xffu) | 0x11);
		*(volatile u16 *)VALUE(code) = 0x2222;
		expect_eq(code_run(code), (val & ~0xffffu) | 0x2222);
		*(volatile u32 *)VALUE(code) = ~val;
		expect_eq(code_run(code), ~val);
	}
	/* As many bytes as an instruction has, at every place in a line. */
	for (unsigned at = 0; at < 128; at += 3) {
		code_mov(code + at, at);
		expect_eq(code_run(code + at), at);
		*(volatile u32 *)VALUE(code + at) = at + 1;
		expect_eq(code_run(code + at), at + 1);
	}
}

#define AX FOR_WIDTH("%%eax", "%%rax")
#define CX FOR_WIDTH("%%ecx", "%%rcx")

/* Runs, changed by an instruction, runs again: what[] are both results. */
#define CHANGE(old, new, text, ...)                  \
	do {                                         \
		code_mov(code + 64, old);            \
		expect_eq(code_run(code + 64), old); \
		__asm__ volatile(text __VA_ARGS__);  \
		expect_eq(code_run(code + 64), new); \
	} while (0)

static void test_instructions(void)
{
	u8 *at = code + 64;
	u32 *value = VALUE(at);
	u32 source = 0x55667788;
	ulong count = 4, from = (ulong)&source, to = (ulong)value;

	CHANGE(5, 6, "lock incl %0", : "+m"(*value) : : "cc", "memory");
	CHANGE(7, 9, "lock xaddl %1, %0",
	       : "+m"(*value)
	       : "r"(2)
	       : "cc", "memory");
	CHANGE(10, 20, "xchg %1, %0", : "+m"(*value) : "r"(20) : "memory");
	CHANGE(30, 40, "lock cmpxchg %1, %0",
	       : "+m"(*value)
	       : "r"(40), "a"(30)
	       : "cc", "memory");
	CHANGE(8, 9, "lock btsl $0, %0", : "+m"(*value) : : "cc", "memory");
	CHANGE(1, 0xfffffffe, "notl %0", : "+m"(*value) : : "memory");
	CHANGE(1, 0x101, "stc; setc %0",
	       : "+m"(((u8 *)value)[1])
	       :
	       : "memory", "cc");
	CHANGE(1, source, "rep movsb",
	       : "+c"(count), "+S"(from), "+D"(to)
	       :
	       : "memory");
	to = (ulong)value;
	CHANGE(1, 0x99999999, "stosl", : "+D"(to) : "a"(0x99999999) : "memory");
	to = (ulong)value;
	from = (ulong)&source;
	CHANGE(1, source, "movsl", : "+D"(to), "+S"(from) : : "memory");
	CHANGE(1, 0x77, "lock cmpxchg8b %0",
	       : "+m"(*(u64 *)value)
	       : "a"(1), "d"(((volatile u32 *)value)[1]), "b"(0x77),
		 "c"(((volatile u32 *)value)[1])
	       : "cc", "memory");
	CHANGE(1, 0x1234, "movd %1, %%xmm0; movd %%xmm0, %0",
	       : "=m"(*value)
	       : "r"(0x1234)
	       : "memory");
	CHANGE(1, 0x4321, "fninit; movl %2, %1; fildl %1; fistpl %0",
	       : "=m"(*value), "+m"(source)
	       : "i"(0x4321)
	       : "memory");
}

static void test_crossing(void)
{
	u8 *edge = code + PAGE;
	u8 *stack_page = edge - 64;

	/* One store to both pages, and an instruction in both. */
	code_mov(edge - 2, 0x11111111);
	expect_eq(code_run(edge - 2), 0x11111111);
	*(volatile u32 *)(edge - 1) = 0x22222222;
	expect_eq(code_run(edge - 2), 0x22222222);
	*(volatile u8 *)(edge + 2) = 0x33;
	expect_eq(code_run(edge - 2), 0x33222222);
	*(volatile u16 *)(edge - 1) = 0x4444;
	expect_eq(code_run(edge - 2), 0x33224444);
	/* Code behind the edge, changed by a store that begins before it. */
	code_mov(edge, 1);
	expect_eq(code_run(edge), 1);
	*(volatile u32 *)(edge - 2) = 0x05b80000;
	expect_eq(code_run(edge), 5);
	/* PUSH and CALL as stores. */
	code_mov(stack_page, 0x1111);
	expect_eq(code_run(stack_page), 0x1111);
	__asm__ volatile(
		"mov %%" FOR_WIDTH(
			"esp", "rsp") ", " CX "\n"
				      "mov %0, %%" FOR_WIDTH(
					      "esp",
					      "rsp") "\n"
						     "push %1\n"
						     "mov " CX ", %%" FOR_WIDTH(
							     "esp", "rsp")
		:
		: "r"((ulong)stack_page + 1 + sizeof(ulong)),
		  "r"(FOR_WIDTH(0x2222ul, 0x000000c300002222ul))
		: FOR_WIDTH("ecx", "rcx"), "memory");
	expect_eq(code_run(stack_page), 0x2222);
}

/*
 * An instruction that changes the next one, which may have been fetched: see
 * smc.h. In the same block and line, before it and behind it.
 */
static void test_next(void)
{
	/* movb $7, (%ecx); mov $1, %eax; ret: ecx points to the 1. */
	static const u8 text[] = {0xc6, 0x01, 7, 0xb8, 1, 0, 0, 0, 0xc3};
	u32 val;

	for (unsigned offset = 0; offset < 130; offset += 13) {
		u8 *at = code + 512 + offset;

		for (unsigned i = 0; i < sizeof(text); i++)
			((volatile u8 *)at)[i] = text[i];
		for (u8 round = 0; round < 20; round++) {
			((volatile u8 *)at)[2] = round;
			__asm__ volatile("call *%1"
					 : "=a"(val)
					 : "r"(at), "c"(at + 4)
					 : "memory");
			expect_eq(val, round);
		}
	}
	/* rep stosb over the code that follows it: mov $0x01010101 becomes
	 * five one-byte instructions "inc %ebx"; 0x40 to 0x4f are prefixes in
	 * 64-bit mode, where NOP has to do. */
	for (unsigned i = 0; i < 20; i++)
		((volatile u8 *)code)[i] = 0x90;
	((volatile u8 *)code)[0] = 0xf3;
	((volatile u8 *)code)[1] = 0xaa;
	code_mov(code + 2, 0x01010101);
	__asm__ volatile("call *%1"
			 : "=a"(val)
			 : "r"(code), "0"(0x90), "D"(code + 2), "c"(5)
			 : "memory");
	expect_eq(val, 0x90);
}

/* A loop that counts by an instruction which it changes each time round. */
static void test_loop(void)
{
	/* 0: add $1, %eax   (83 c0 ib)
	 * 3: incb 2(%edx)   (fe 42 02)
	 * 6: dec %ecx       (ff c9)
	 * 8: jnz 0          (75 f6)
	 * 10: ret */
	static const u8 text[] = {0x83, 0xc0, 1,    0xfe, 0x42, 2,
				  0xff, 0xc9, 0x75, 0xf6, 0xc3};
	u32 val;
	ulong count = 100;

	for (unsigned i = 0; i < sizeof(text); i++)
		((volatile u8 *)code)[i] = text[i];
	__asm__ volatile("call *%2"
			 : "=a"(val), "+c"(count)
			 : "r"(code), "0"(0), "d"(code)
			 : "memory", "cc");
	expect_eq(val, 5050);
}

/* Data in the line of code that runs all the time. */
static void test_data(void)
{
	/* incl (%edx); loop; ret */
	static const u8 text[] = {0xff, 0x02, 0xe2, 0xfc, 0xc3};
	volatile u32 *counter = (u32 *)(code + 32);
	ulong count = 100000;

	for (unsigned i = 0; i < sizeof(text); i++)
		((volatile u8 *)code)[i] = text[i];
	*counter = 0;
	__asm__ volatile("call *%1"
			 : "+c"(count)
			 : "r"(code), "d"(counter)
			 : "memory", "cc");
	expect_eq(*counter, 100000);
	expect_eq(code[0], 0xff);
}

void test_self(void)
{
	test_widths();
	test_instructions();
	test_crossing();
	test_next();
	test_loop();
	test_data();
}
