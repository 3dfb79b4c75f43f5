/* SPDX-License-Identifier: Apache-2.0 */
/* Every exception; see exceptions.h. */
#include "exceptions.h"

/* [1] 6.15, #UD: reserved opcodes, and LOCK where it is not allowed. */
static void test_undefined(void)
{
	TRY("ud2", : : : "memory");
	expect_fault(UD, 0);
	TRY(".byte 0x0f, 0xb9, 0xc0", : : : "memory"); /* ud1 */
	expect_fault(UD, 0);
	TRY(".byte 0xf0, 0x90", : : : "memory"); /* lock nop */
	expect_fault(UD, 0);
	TRY(".byte 0xf0, 0x01, 0xc0", : : : "memory"); /* lock add eax, eax */
	expect_fault(UD, 0);
	TRY(".byte 0x8e, 0xc8", : : : "memory"); /* mov cs, eax */
	expect_fault(UD, 0);
	TRY(".byte 0x0f, 0x20, 0xc8", : : : "memory", "eax"); /* mov eax, cr1 */
	expect_fault(UD, 0);
}

/* [1] 6.15, #BP: a trap, RIP is the next instruction's. */
static void test_breakpoint(void)
{
	TRY("int3", : : : "memory");
	expect_trap(BP, 0);
	TRY(".byte 0xcd, 3", : : : "memory"); /* int 3, two bytes */
	expect_trap(BP, 0);
}

/* [2] limits: more than 15 bytes are #GP(0). */
static void test_length(void)
{
	TRY(".fill 14, 1, 0x26; nop", : : : "memory");
	expect_no_fault();
	TRY(".fill 15, 1, 0x26; nop", : : : "memory");
	expect_fault(GP, 0);
}

int main(void)
{
	test_undefined();
	test_breakpoint();
	test_length();
	test_divide();
	test_fpu();
	test_simd();
	test_debug();
	test_segments();
	test_control();
	test_gates();
	test_privileged();
	test_width();
	return 0;
}
