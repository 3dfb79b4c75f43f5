/* SPDX-License-Identifier: Apache-2.0 */
/* A bzImage's setup header, parsed and checked. Sibling files only. */
#pragma once

#include "boot/elf.h"

struct linux_image {
	const struct boot_file *file;
	u16 version;
	u8 header_end;	  /* of the setup header, from 0x202 */
	bool entry_64;	  /* the kernel offers its 64-bit entry */
	bool relocatable; /* at multiples of align */
	u32 align;
	u32 init_size; /* memory the kernel needs from where it lies */
	u32 cmdline_max;
	u32 initrd_max;	     /* highest address of an initrd's last byte */
	gpa_t pref;	     /* where it wants to lie */
	const u8 *code;	     /* the protected-mode part */
	u64 code_len;	     /* in the file */
	const u8 *payload;   /* inside code, NULL: none announced */
	u64 payload_len;     /* without the length behind it */
	u64 payload_out_len; /* what it unpacks to, says the file */
	bool kaslr;	     /* done: the kernel is to know */
};

bool linux_is(const struct boot_file *file);
int linux_parse(struct linux_image *image, const struct boot_file *file,
		struct err *err);

/* Fill the zero page; initrd may be empty (start == end). */
int linux_zero_page(struct guest_mem *mem, const struct linux_image *image,
		    const struct boot_config *config,
		    const struct boot_range *initrd, struct err *err);

int linux_load(struct guest_mem *mem, const struct boot_config *config,
	       struct x86_state *bsp, struct err *err);

/*
 * An ELF64 file, entered at its entry point as a Linux kernel's 64-bit entry
 * is: how Firecracker starts vmlinux files and unikernels that are made for it.
 */
int linux_load_elf(struct guest_mem *mem, const struct boot_config *config,
		   struct x86_state *bsp, struct err *err);

/* A setup header as a file would have it; cmdline_len without the NUL. */
#define LINUX_HEADER_LEN 0x290
#define LINUX_HEADER_2_10 (0x264 - 0x202) /* its length in protocol 2.10 */
#define LINUX_INITRD_MAX 0x7fffffff
void linux_make_header(u8 header[LINUX_HEADER_LEN], u64 cmdline_len);

/*
 * Address randomization, done here because the kernel's own unpacker, which
 * would do it, does not run.
 */
struct kaslr {
	u64 shift;	 /* physical: added to every p_paddr */
	u64 delta;	 /* virtual: added to every relocated address */
	const u8 *table; /* the relocations behind the ELF file */
	u64 table_len;
};

/* Choose shift and delta; the kernel may use [pref, end). */
int kaslr_choose(struct kaslr *kaslr, const struct linux_image *image,
		 gpa_t end, struct err *err);
/* Apply delta to the loaded kernel. *done: false if it has no relocations. */
int kaslr_relocate(const struct kaslr *kaslr, const struct elf_image *elf,
		   struct guest_mem *mem, bool *done, struct err *err);
