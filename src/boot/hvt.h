/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Solo5 hvt images: what they say of themselves, checked, and how they get
 * into memory. include/vireo/hvt_abi.h has the rules; each way to break one
 * has its own sentence in struct err, and nothing is written before all of
 * the image has been checked.
 */
#pragma once

#include "boot/boot.h"
#include "vireo/hvt_abi.h"

#define HVT_MEM_STEP MIB(2) /* the unit of guest memory: a large page */
#define HVT_SEGMENTS_MAX 8

struct hvt_segment {
	u64 off, file_len; /* in the file */
	gpa_t gpa;	   /* of the first byte */
	gpa_t start, end;  /* rounded to pages */
	u32 rights;	   /* enum mem_rights */
};

struct hvt_image {
	gpa_t entry;
	gpa_t end; /* of the last segment */
	unsigned segment_count;
	struct hvt_segment segments[HVT_SEGMENTS_MAX];
	/* The manifest as in the file, then as the board fills it in. */
	u32 count;
	struct hvt_manifest_entry entries[HVT_ENTRIES_MAX];
};

/*
 * An ELF file with one of Solo5's notes, whatever they are worth; not one for
 * its target "virtio", which is a PC's.
 */
bool hvt_is(const struct boot_file *file);

/* -EINVAL, -ENOTSUP (of another ABI or version), the reason in err. */
int hvt_parse(struct hvt_image *image, const struct boot_file *file,
	      struct err *err);

struct hvt_start {
	const struct hvt_image *image;
	const struct boot_file *file; /* that the image was parsed from */
	const char *cmdline;
	u64 tsc_hz;
	u64 mem_size; /* bytes from address 0 that the guest may use */
};

/*
 * Image, page tables, boot information to memory, rights to its regions, and
 * the CPU state it starts in. -E2BIG if it does not fit.
 */
int hvt_load(struct guest_mem *mem, const struct hvt_start *start,
	     struct x86_state *state, struct err *err);
