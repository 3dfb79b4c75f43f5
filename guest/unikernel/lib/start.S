/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry, descriptor tables, and the exceptions' way into C.
 *
 * The tables are constant but for the busy bit of the TSS, so that a start
 * costs three instructions; the linker script cuts the addresses in them into
 * pieces. The segments that are loaded at entry (vireo/hvt_abi.h) keep their
 * selectors and mean the same in this table, hence need no reload.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A: 3.4.5 (segment descriptors), 6.14
 *     (64-bit gates, interrupt stack table), 7.2.3 and 7.7 (64-bit TSS);
 *     table 6-1 (vectors with an error code)
 */
	.set	TSS_SELECTOR, 0x18
	.set	VECTORS, 32
	.set	STUB, 16                /* bytes of one exception's stub */
	.set	FAULT_STACK, 4096

	.section .unikernel.interpreter, "a"
	.asciz	"nonexistent/unikernel"

	.text
	.globl	_start
_start:
	mov	$unikernel_stack_end, %esp
	xor	%ebp, %ebp
	lgdt	gdt_pointer(%rip)
	lidt	idt_pointer(%rip)
	mov	$TSS_SELECTOR, %eax
	ltr	%ax
	call	unikernel_start
	ud2

	/* Each vector's stub leaves vector and error code on the stack. */
	.balign	512
	.globl	unikernel_gates
unikernel_gates:
	.set	vector, 0
	.rept	VECTORS
	.balign	STUB
	.if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30
	push	$0
	.endif
	push	$vector
	jmp	common
	.set	vector, vector + 1
	.endr

	/* struct frame of fault.c. There is no way back. */
common:
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%r11
	push	%r10
	push	%r9
	push	%r8
	push	%rdi
	push	%rsi
	push	%rbp
	push	%rdx
	push	%rcx
	push	%rbx
	push	%rax
	cld
	mov	%rsp, %rdi
	call	unikernel_fault
	ud2

	.section .rodata
	.balign	8
unikernel_idt:
	.set	vector, 0
	.rept	VECTORS
	.short	unikernel_gates_low + vector * STUB
	.short	0x08
	.byte	1                       /* IST 1 */
	.byte	0x8e                    /* present, interrupt gate */
	.short	unikernel_gates_high
	.long	0, 0
	.set	vector, vector + 1
	.endr
	.balign	8
	.skip	6
idt_pointer:
	.short	VECTORS * 16 - 1
	.quad	unikernel_idt
	.balign	8
	.skip	6
gdt_pointer:
	.short	5 * 8 - 1
	.quad	unikernel_gdt

	.data
	.balign	8
unikernel_gdt:
	.quad	0
	.quad	0x00af9b000000ffff      /* code, 64 bits, accessed */
	.quad	0x00cf93000000ffff      /* data, accessed */
	.short	0x67                    /* TSS, free: LTR makes it busy */
	.short	unikernel_tss_low
	.byte	unikernel_tss_mid
	.byte	0x89, 0
	.byte	unikernel_tss_high
	.long	0, 0

	.section .rodata
	.balign	8
	.globl	unikernel_tss
	.skip	4                       /* 8-byte fields at 4 modulo 8 */
unikernel_tss:
	.long	0
	.quad	0, 0, 0                 /* RSP0 to RSP2 */
	.quad	0
	.quad	fault_stack_end         /* IST 1 */
	.quad	0, 0, 0, 0, 0, 0        /* IST 2 to 7 */
	.quad	0
	.short	0, 0x68                 /* no I/O bitmap */

	.bss
	.balign	16
	.skip	FAULT_STACK
fault_stack_end:

	.section .note.GNU-stack, "", @progbits
