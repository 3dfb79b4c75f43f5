/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where another CPU starts, copied to 0x8000: from real mode to the mode of
 * the first, then to ap_main(index).
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, 10.9.1 (to protected mode), 10.8.5
 *     (to IA-32e mode)
 */
#define LOW(label) (label - ap_code + 0x8000)

	.section .rodata
	.globl ap_code, ap_code_end
	.code16
ap_code:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	LOW(ap_gdtr)
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$0x08, $ap_protected
	.balign 8
ap_gdt:
	.quad	0
	.quad	0x00cf9b000000ffff      /* 32-bit code */
	.quad	0x00cf93000000ffff      /* data */
	.quad	0x00af9b000000ffff      /* 64-bit code */
ap_gdtr:
	.word	ap_gdtr - ap_gdt - 1
	.long	LOW(ap_gdt)
ap_code_end:

	.text
	.code32
ap_protected:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	ap_cr4, %eax
	mov	%eax, %cr4
	mov	ap_cr3, %eax
	mov	%eax, %cr3
	mov	ap_efer, %eax
	test	%eax, %eax
	jz	1f
	mov	$0xc0000080, %ecx
	xor	%edx, %edx
	wrmsr
1:	mov	ap_cr0, %eax
	mov	%eax, %cr0
	mov	$1, %eax
	lock xadd %eax, ap_arrived
	inc	%eax
	mov	%eax, %edi
	shl	$12, %eax
	add	ap_stacks, %eax
	mov	%eax, %esp
#ifdef __x86_64__
	ljmp	$0x18, $1f
	.code64
1:	mov	%esp, %esp
	call	ap_main
#else
	push	%edi
	call	ap_main
#endif
	ud2
	.section .note.GNU-stack, "", @progbits
