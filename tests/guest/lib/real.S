/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to real mode and back.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, 10.9.1 and 10.9.2 (to and from
 *     protected mode), 10.8.5.4 (leaving IA-32e mode)
 */
#define LOW(label) (label - real_switch + 0x8000)

	.bss
	.align 8
saved_sp:	.skip 8
saved_cr0:	.skip 8
saved_idtr:	.skip 16

	.text
	.globl real_enter
real_enter:
#ifdef __x86_64__
	.code64
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, saved_sp
	mov	%cr0, %rax
	mov	%rax, saved_cr0
	sgdt	LOW(real_gdtr)
	sidt	saved_idtr
	/* Compatibility mode, with the map onto itself still on. */
	push	$0x38
	push	$leave_long
	lretq
	.code32
leave_long:
	mov	$0x10, %eax
	mov	%eax, %ss
	mov	%cr0, %eax
	and	$0x7fffffff, %eax
	mov	%eax, %cr0
	mov	$0xc0000080, %ecx
	rdmsr
	and	$~0x100, %eax
	wrmsr
#else
	push	%ebx
	push	%ebp
	push	%esi
	push	%edi
	mov	%esp, saved_sp
	mov	%cr0, %eax
	mov	%eax, saved_cr0
	sgdt	LOW(real_gdtr)
	sidt	saved_idtr
#endif
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	ljmp	$0x40, $LOW(in_16)

	/* real.S again: back in 32-bit protected mode. */
	.code32
back:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	%eax, %fs
	mov	%eax, %gs
#ifdef __x86_64__
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	saved_cr0, %eax
	mov	%eax, %cr0
	ljmp	$0x08, $1f
	.code64
1:	lidt	saved_idtr
	mov	saved_sp, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
#else
	mov	saved_cr0, %eax
	mov	%eax, %cr0
	lidt	saved_idtr
	mov	saved_sp, %esp
	pop	%edi
	pop	%esi
	pop	%ebp
	pop	%ebx
	ret
#endif

	.section .rodata
	.globl real_switch, real_switch_end
	.code16
real_switch:
in_16:
	mov	$0x48, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	%cr0, %eax
	and	$~1, %al
	mov	%eax, %cr0
	ljmp	$0, $LOW(in_real)
in_real:
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	lidtl	LOW(real_idtr)
	mov	$0x7e00, %sp
	popal
	popfl
	mov	$0x7000, %sp
	lcall	$0, $0x9000
	mov	$0x7e24, %sp
	pushfl
	cli
	cld
	pushal
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	LOW(real_gdtr)
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$0x38, $back
	.align 4
real_idtr:
	.word	0x3ff
	.long	0
	/* Stored by real_enter: up to ten bytes, of which six are used. */
real_gdtr:
	.skip	10
real_switch_end:
	.section .note.GNU-stack, "", @progbits
