/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaders: put a guest image into fresh guest memory and say with which CPU
 * state the BSP starts. Images are hostile input: every size and offset is
 * checked against the file and against RAM before use, and each way to be
 * wrong has one clear sentence in struct err.
 *
 * boot_load() looks at the file's own magic: bzImage (64-bit Linux entry, or
 * 32-bit where the image offers no other), ELF with a PVH note, multiboot 1
 * (ELF or a.out-kludge header within 8 KiB), any other ELF64 (entered like
 * 64-bit Linux).
 */
#pragma once

#include "arch/x86_state.h"
#include "util/err.h"
#include "util/types.h"
#include "vmm/mem.h"

#define BOOT_MAX_MODULES 16

struct boot_file {
	const u8 *data; /* mapped or read by cli; borrowed */
	u64 len;
	const char *name; /* for messages and multiboot's module string */
};

struct boot_config {
	struct boot_file kernel;
	struct boot_file modules[BOOT_MAX_MODULES]; /* [0] is Linux's initrd */
	unsigned module_count;
	/* More initrd bytes, placed right behind modules[0] (cpio archives
	 * concatenate, each 4-byte aligned). len 0: none. */
	struct boot_file initrd_tail;
	const char *cmdline;
	gpa_t acpi_rsdp; /* 0: none */
	bool kaslr;	 /* place Linux at random, where it can be moved */
};

int boot_load(struct guest_mem *mem, const struct boot_config *config,
	      struct x86_state *bsp, struct err *err);

/*
 * The E820 map that every protocol hands over: RAM, the hole at 640 KiB,
 * the ACPI tables' page range as reserved. Returns the number of entries.
 */
struct boot_e820 {
	u64 addr, size;
	u32 type; /* 1 RAM, 2 reserved, 3 ACPI */
} __attribute__((packed));
#define BOOT_E820_MAX 16
unsigned boot_e820(const struct guest_mem *mem,
		   struct boot_e820 map[BOOT_E820_MAX]);

/* Guest-physical layout below 1 MiB, shared by the loaders. */
enum boot_layout {
	BOOT_GDT = 0x500,
	BOOT_START_INFO = 0x6000, /* PVH / multiboot info and its lists */
	BOOT_ZERO_PAGE = 0x7000,  /* Linux boot_params */
	BOOT_PAGE_TABLES =
		0x9000,		/* identity map of the first 4 GiB: 6 pages */
	BOOT_CMDLINE = 0x20000, /* up to 64 KiB */
	BOOT_STACK = 0x8ff0,
	BOOT_ACPI = 0xe0000, /* RSDP here, tables behind, up to 0xfffff */
	BOOT_ACPI_SIZE = 0x20000,
};
