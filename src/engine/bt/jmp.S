/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bt_setjmp and bt_longjmp, for the run loop. Signal mask,
 * MXCSR and x87 control word are left alone: they may be the guest's.
 *
 * References: [1] System V ABI, AMD64 supplement, 3.2.1 (callee-saved).
 *
 * jmp[0..7]: rbx rbp r12 r13 r14 r15 rsp rip
 */
	.text
	.globl	bt_setjmp
	.type	bt_setjmp, @function
bt_setjmp:
	mov	%rbx, (%rdi)
	mov	%rbp, 8(%rdi)
	mov	%r12, 16(%rdi)
	mov	%r13, 24(%rdi)
	mov	%r14, 32(%rdi)
	mov	%r15, 40(%rdi)
	lea	8(%rsp), %rdx
	mov	%rdx, 48(%rdi)
	mov	(%rsp), %rdx
	mov	%rdx, 56(%rdi)
	xor	%eax, %eax
	ret
	.size	bt_setjmp, . - bt_setjmp

	.globl	bt_longjmp
	.type	bt_longjmp, @function
bt_longjmp:
	mov	(%rdi), %rbx
	mov	8(%rdi), %rbp
	mov	16(%rdi), %r12
	mov	24(%rdi), %r13
	mov	32(%rdi), %r14
	mov	40(%rdi), %r15
	mov	48(%rdi), %rsp
	mov	$1, %eax
	jmp	*56(%rdi)
	.size	bt_longjmp, . - bt_longjmp

	.section .note.GNU-stack, "", @progbits
