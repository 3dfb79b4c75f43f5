/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the loaders share: where an image may go, how its bytes get there, and
 * the CPU states that the protocols start in. Sibling files only.
 *
 * Guest memory is fresh: it reads zero, so zero pages are not written and a
 * segment's bss costs nothing.
 */
#pragma once

#include "boot/boot.h"

#define BOOT_CMDLINE_ROOM KIB(64)
/* The lowest address an image may use: behind the loaders' own structures. */
#define BOOT_IMAGE_LOW (BOOT_CMDLINE + BOOT_CMDLINE_ROOM)
#define BOOT_EBDA 0x9fc00
#define BOOT_LOADER_NAME "Vireo"

/* Guest-physical [start, end). */
struct boot_range {
	gpa_t start, end;
};

/* Little-endian fields of a file; the caller has checked the bounds. */
u16 boot_le16(const u8 *p);
u32 boot_le32(const u8 *p);
u64 boot_le64(const u8 *p);

/* May an image occupy [gpa, gpa+len)? RAM below 4 GiB, none of it ours. */
bool boot_range_ok(const struct guest_mem *mem, gpa_t gpa, u64 len);

/*
 * Write image bytes, leaving out whole zero pages. Cheaper per page than
 * touching the mapping: goes through the backing file where that works.
 */
int boot_place(struct guest_mem *mem, gpa_t gpa, const void *src, u64 len,
	       struct err *err);

/* Write a structure of our own into the low area. */
int boot_put(struct guest_mem *mem, gpa_t gpa, const void *src, u64 len,
	     struct err *err);

/* The command line, NUL included, at BOOT_CMDLINE. `max` excludes the NUL. */
int boot_put_cmdline(struct guest_mem *mem, const char *cmdline, u64 max,
		     struct err *err);

/* Bytes of modules[i] in memory, for 0 with the tail behind it. */
u64 boot_module_size(const struct boot_config *config, unsigned i);
int boot_place_module(struct guest_mem *mem, const struct boot_config *config,
		      unsigned i, gpa_t gpa, struct err *err);
/*
 * All modules upward from the page behind `start`, each on its own page;
 * ranges[i] says where. -E2BIG when RAM ends first.
 */
int boot_place_modules(struct guest_mem *mem, const struct boot_config *config,
		       gpa_t start, struct boot_range *ranges, struct err *err);

/*
 * CPU states ([1] SDM vol. 3A 3.4, 4.5): flat 32-bit protected mode without
 * paging, or 64-bit mode over an identity map of the first 4 GiB. Both write
 * their GDT (code 0x10, data 0x18) to BOOT_GDT, and the BIOS data area.
 */
int boot_state_protected(struct guest_mem *mem, struct x86_state *state,
			 gpa_t entry, struct err *err);
int boot_state_long(struct guest_mem *mem, struct x86_state *state, gpa_t entry,
		    struct err *err);
