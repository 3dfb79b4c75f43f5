/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a multiboot loader to lib_start(): in 64-bit builds through a map of
 * the first 4 GiB onto themselves into long mode, in 32-bit builds as the
 * loader left it, without paging.
 *
 * References:
 * [1] Multiboot Specification 0.6.96, 3.1 (header), 3.2 (machine state)
 * [2] Intel SDM 325462-080, volume 3A, 10.8.5: entering IA-32e mode
 */
	.section .multiboot, "a"
	.align 4
	.long 0x1badb002
	.long 3                         /* page-aligned modules, memory map */
	.long -(0x1badb002 + 3)

	.bss
	.align 4096
	.globl boot_pml4
boot_pml4:	.skip 4096
boot_pdpt:	.skip 4096
boot_pd:	.skip 4096 * 4
	.skip 32768
boot_stack:
	.globl multiboot_magic, multiboot_info
multiboot_magic: .skip 4
multiboot_info:	.skip 4

	.data
	.align 8
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff        /* 0x08: 64-bit code */
	.quad 0x00cf93000000ffff        /* 0x10: data */
boot_gdt_end:
boot_gdtr:
	.word boot_gdt_end - boot_gdt - 1
	.long boot_gdt

	.text
	.code32
	.globl _start
_start:
	cli
	cld
	mov	$boot_stack, %esp
	mov	%eax, multiboot_magic
	mov	%ebx, multiboot_info
#ifdef __x86_64__
	movl	$boot_pdpt + 7, boot_pml4
	mov	$boot_pd + 7, %eax
	mov	$4, %ecx
	mov	$boot_pdpt, %edi
1:	mov	%eax, (%edi)
	add	$4096, %eax
	add	$8, %edi
	loop	1b
	mov	$0x83, %eax             /* present, writable, 2 MiB */
	mov	$2048, %ecx
	mov	$boot_pd, %edi
1:	mov	%eax, (%edi)
	add	$0x200000, %eax
	add	$8, %edi
	loop	1b

	mov	%cr4, %eax
	or	$0x620, %eax            /* PAE, OSFXSR, OSXMMEXCPT */
	mov	%eax, %cr4
	mov	$boot_pml4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx       /* EFER: LME, NXE */
	rdmsr
	or	$0x900, %eax
	wrmsr
	mov	$0x80010033, %eax       /* PG, WP, NE, ET, MP, PE */
	mov	%eax, %cr0
	lgdt	boot_gdtr
	ljmp	$0x08, $1f
	.code64
1:	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$boot_stack, %rsp
	call	lib_start
	ud2
#else
	mov	%cr4, %eax
	or	$0x600, %eax            /* OSFXSR, OSXMMEXCPT */
	mov	%eax, %cr4
	mov	%cr0, %eax
	or	$0x22, %eax             /* NE, MP */
	mov	%eax, %cr0
	call	lib_start
	ud2
#endif
	.section .note.GNU-stack, "", @progbits
