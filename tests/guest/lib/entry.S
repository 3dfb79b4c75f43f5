/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt entries, and the way into ring 3 and back.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, 6.12.1 and 6.14.2: what the CPU pushes;
 *     table 6-1: vectors with an error code
 */
	.text
	.balign 16
	.globl entries
entries:
	.set vector, 0
	.rept 256
	.balign 16
	/* 8, 10 to 14, 17 and 21 push an error code themselves. */
	.if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21
	push	$0
	.endif
	push	$vector
	jmp	common
	.set vector, vector + 1
	.endr

#ifdef __x86_64__
	.balign 16
common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rsp
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	cld
	mov	%rsp, %rdi
	mov	%rsp, %rbx
	and	$-16, %rsp
	call	exception
	mov	%rbx, %rsp
	test	%al, %al
	mov	$0x10, %eax
	jz	1f
	mov	%eax, %ds
	mov	%eax, %es
1:	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx            /* the stack pointer's slot */
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	lea	16(%rsp), %rsp
	jnz	resume
	iretq

resume:
	mov	try_sp, %rsp
	push	$0x10
	pushq	try_sp
	pushq	try_flags
	push	$0x08
	pushq	try_resume
	iretq

/*
 * void user_enter(ulong ip, ulong sp, ulong arg, ulong cs_ss): goes to another
 * ring and comes back when an exception is raised there. arg is in rax and
 * rdi.
 */
	.globl user_enter
user_enter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, try_sp
	movq	$1f, try_resume
	mov	%rcx, %rax
	shr	$16, %rax       /* ss */
	movzwl	%cx, %ecx       /* cs */
	mov	%eax, %ds
	mov	%eax, %es
	push	%rax
	push	%rsi
	pushq	user_flags
	push	%rcx
	push	%rdi
	mov	%rdx, %rdi
	mov	%rdx, %rax
	iretq
1:	movq	$0, try_resume
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
#else
	.balign 16
common:
	pusha
	mov	%esp, %ebx
	push	%ds
	push	%es
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	cld
	push	%ebx
	call	exception
	add	$4, %esp
	test	%al, %al
	jnz	1f
	pop	%es
	pop	%ds
	popa
	lea	8(%esp), %esp
	iret

1:	mov	%ebx, %esp
	popa
	mov	try_sp, %esp
	pushl	try_flags
	push	$0x08
	pushl	try_resume
	iret

	.globl user_enter
user_enter:
	push	%ebx
	push	%ebp
	push	%esi
	push	%edi
	mov	20(%esp), %eax  /* ip */
	mov	24(%esp), %ecx  /* sp */
	mov	28(%esp), %edi  /* arg */
	mov	32(%esp), %edx  /* ss, cs */
	mov	%esp, try_sp
	movl	$1f, try_resume
	movzwl	%dx, %ebx
	shr	$16, %edx
	mov	%edx, %ds
	mov	%edx, %es
	push	%edx
	push	%ecx
	pushl	user_flags
	push	%ebx
	push	%eax
	mov	%edi, %eax
	iret
1:	movl	$0, try_resume
	pop	%edi
	pop	%esi
	pop	%ebp
	pop	%ebx
	ret
#endif
	.section .note.GNU-stack, "", @progbits
