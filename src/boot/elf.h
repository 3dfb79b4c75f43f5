/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one ELF loader, for whole files and for kernels that arrive in chunks
 * from a decompressor: parse the headers once, then hand every chunk to
 * elf_place(), which copies what belongs to a segment.
 */
#pragma once

#include "boot/image.h"

#define ELF_MAX_SEGMENTS 32
#define ELF_MAX_NOTES 8
#define ELF_HEADER_ROOM KIB(64) /* headers lie in a file's first 64 KiB */

struct elf_segment {
	u64 off, file_len; /* in the file */
	gpa_t gpa;	   /* p_paddr */
	u64 va;		   /* p_vaddr */
	u64 mem_len;
};

struct elf_note_range {
	u64 off, len;
};

struct elf_image {
	bool is_64;
	u64 entry;    /* as in the header */
	u64 sections; /* where the section header table ends, 0: none */
	unsigned segment_count, note_count;
	struct elf_segment segments[ELF_MAX_SEGMENTS];
	struct elf_note_range notes[ELF_MAX_NOTES];
	struct boot_range span; /* of all segments */
};

bool elf_is(const u8 *data, u64 len);

/*
 * Parse and check headers. `head` is the file's beginning; file_len, at least
 * head_len, is what it may have in all (an upper bound if it is unpacked
 * later: then call elf_check_length() at the end).
 */
int elf_parse(struct elf_image *elf, const struct boot_file *head, u64 file_len,
	      struct err *err);
int elf_check_length(const struct elf_image *elf, u64 file_len,
		     struct err *err);

/* Do all segments, moved by `shift`, fit into RAM? They never overlap. */
int elf_check_room(const struct elf_image *elf, const struct guest_mem *mem,
		   u64 shift, struct err *err);

/* Where the entry point lies physically; fails if in no segment. */
int elf_entry(const struct elf_image *elf, gpa_t *entry, struct err *err);

/* Copy the parts of file bytes [off, off+len) that segments hold. */
struct elf_chunk {
	const u8 *data;
	u64 off, len;
};
int elf_place(const struct elf_image *elf, struct guest_mem *mem,
	      const struct elf_chunk *chunk, u64 shift, struct err *err);

/*
 * Find note `type` of owner `name` in a whole file. Returns its descriptor
 * and length, or NULL. Malformed notes end the search.
 */
const u8 *elf_note(const struct elf_image *elf, const struct boot_file *file,
		   const char *name, u32 type, u32 *len);
