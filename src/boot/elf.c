/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF64 and ELF32 images of x86: program headers to guest memory.
 *
 * References: [1] System V ABI, generic part, chapter 4 (object files) and 5
 *                 (program loading).
 *             [2] System V ABI, AMD64 supplement 1.0.
 *
 * Deliberately not there: relocation of ET_DYN images (they are loaded where
 * they were linked), PN_XNUM, big-endian files.
 */
#include "boot/elf.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

bool elf_is(const u8 *data, u64 len)
{
	return len >= SELFMAG && !memcmp(data, ELFMAG, SELFMAG);
}

/* ---- headers ----------------------------------------------------------- */

/* The fields of both classes that matter, widened. */
struct elf_header {
	u16 type, machine, phentsize, phnum;
	u64 entry, phoff, shoff;
	u32 shentsize, shnum;
};

static void read_header(const u8 *p, bool is_64, struct elf_header *out)
{
	if (is_64) {
		Elf64_Ehdr h;

		memcpy(&h, p, sizeof(h));
		*out = (struct elf_header){
			h.e_type,  h.e_machine,	  h.e_phentsize,
			h.e_phnum, h.e_entry,	  h.e_phoff,
			h.e_shoff, h.e_shentsize, h.e_shnum};
	} else {
		Elf32_Ehdr h;

		memcpy(&h, p, sizeof(h));
		*out = (struct elf_header){
			h.e_type,  h.e_machine,	  h.e_phentsize,
			h.e_phnum, h.e_entry,	  h.e_phoff,
			h.e_shoff, h.e_shentsize, h.e_shnum};
	}
}

static void read_program_header(const u8 *p, bool is_64, Elf64_Phdr *out)
{
	Elf32_Phdr h;

	if (is_64) {
		memcpy(out, p, sizeof(*out));
		return;
	}
	memcpy(&h, p, sizeof(h));
	*out = (Elf64_Phdr){
		.p_type = h.p_type,
		.p_offset = h.p_offset,
		.p_vaddr = h.p_vaddr,
		.p_paddr = h.p_paddr,
		.p_filesz = h.p_filesz,
		.p_memsz = h.p_memsz,
	};
}

static int check_ident(const struct boot_file *head, struct err *err)
{
	const u8 *p = head->data;

	if (!elf_is(p, head->len))
		return err_set(err, -EINVAL, "%s is no ELF file", head->name);
	if (head->len < EI_NIDENT)
		return err_set(err, -EINVAL,
			       "%s: the ELF header is cut off after %lu bytes",
			       head->name, head->len);
	if (p[EI_CLASS] != ELFCLASS32 && p[EI_CLASS] != ELFCLASS64)
		return err_set(err, -EINVAL,
			       "%s: ELF class %u is neither 32 nor 64 bits",
			       head->name, p[EI_CLASS]);
	if (p[EI_DATA] != ELFDATA2LSB)
		return err_set(err, -EINVAL, "%s: not a little-endian ELF file",
			       head->name);
	if (p[EI_VERSION] != EV_CURRENT)
		return err_set(err, -EINVAL, "%s: ELF version %u is unknown",
			       head->name, p[EI_VERSION]);
	return 0;
}

static int check_header(const struct elf_header *h, bool is_64,
			const struct boot_file *head, struct err *err)
{
	const u16 machine = is_64 ? EM_X86_64 : EM_386;
	const u16 size = is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	if (h->machine != machine)
		return err_set(err, -EINVAL,
			       "%s is built for another machine (ELF machine "
			       "%u, wanted %u)",
			       head->name, h->machine, machine);
	if (h->type != ET_EXEC && h->type != ET_DYN)
		return err_set(err, -EINVAL,
			       "%s is no executable (ELF type %u)", head->name,
			       h->type);
	if (!h->phnum)
		return err_set(err, -EINVAL, "%s has no program headers",
			       head->name);
	if (h->phentsize != size)
		return err_set(err, -EINVAL,
			       "%s: program headers of %u bytes, wanted %u",
			       head->name, h->phentsize, size);
	if (h->phoff > head->len || h->phnum * (u64)size > head->len - h->phoff)
		return err_set(err, -EINVAL,
			       "%s: %u program headers at %#lx reach beyond "
			       "the %lu bytes of the file's beginning",
			       head->name, h->phnum, h->phoff, head->len);
	return 0;
}

/* ---- segments ---------------------------------------------------------- */

static int check_segment(const Elf64_Phdr *ph, u64 file_len, const char *name,
			 struct err *err)
{
	if (ph->p_offset > file_len || ph->p_filesz > file_len - ph->p_offset)
		return err_set(err, -EINVAL,
			       "%s: segment at file offset %#lx, %#lx bytes, "
			       "reaches beyond the file's %#lx bytes",
			       name, ph->p_offset, ph->p_filesz, file_len);
	if (ph->p_type != PT_LOAD)
		return 0;
	if (ph->p_filesz > ph->p_memsz)
		return err_set(err, -EINVAL,
			       "%s: segment at %#lx has %#lx bytes in the "
			       "file but %#lx in memory",
			       name, ph->p_paddr, ph->p_filesz, ph->p_memsz);
	if (ph->p_paddr + ph->p_memsz < ph->p_paddr)
		return err_set(err, -EINVAL,
			       "%s: segment at %#lx, %#lx bytes, wraps "
			       "around the address space",
			       name, ph->p_paddr, ph->p_memsz);
	return 0;
}

static int check_overlap(const struct elf_image *elf, const Elf64_Phdr *ph,
			 const char *name, struct err *err)
{
	for (unsigned i = 0; i < elf->segment_count; i++) {
		const struct elf_segment *seg = &elf->segments[i];

		if (ph->p_paddr < seg->gpa + seg->mem_len &&
		    seg->gpa < ph->p_paddr + ph->p_memsz)
			return err_set(err, -EINVAL,
				       "%s: segments at %#lx and %#lx "
				       "overlap in memory",
				       name, seg->gpa, ph->p_paddr);
	}
	return 0;
}

static int add_segment(struct elf_image *elf, const Elf64_Phdr *ph,
		       const char *name, struct err *err)
{
	gpa_t end = ph->p_paddr + ph->p_memsz;
	int ret;

	if (!ph->p_memsz)
		return 0;
	if (elf->segment_count == ELF_MAX_SEGMENTS)
		return err_set(err, -EINVAL, "%s has more than %d segments",
			       name, ELF_MAX_SEGMENTS);
	ret = check_overlap(elf, ph, name, err);
	if (ret)
		return ret;
	if (!elf->segment_count || ph->p_paddr < elf->span.start)
		elf->span.start = ph->p_paddr;
	elf->span.end = max_u64(elf->span.end, end);
	elf->segments[elf->segment_count++] = (struct elf_segment){
		.off = ph->p_offset,
		.file_len = ph->p_filesz,
		.gpa = ph->p_paddr,
		.va = ph->p_vaddr,
		.mem_len = ph->p_memsz,
	};
	return 0;
}

static int add_program_header(struct elf_image *elf, const Elf64_Phdr *ph,
			      u64 file_len, const char *name, struct err *err)
{
	int ret;

	if (ph->p_type != PT_LOAD && ph->p_type != PT_NOTE)
		return 0;
	ret = check_segment(ph, file_len, name, err);
	if (ret)
		return ret;
	if (ph->p_type == PT_LOAD)
		return add_segment(elf, ph, name, err);
	if (elf->note_count < ELF_MAX_NOTES)
		elf->notes[elf->note_count++] =
			(struct elf_note_range){ph->p_offset, ph->p_filesz};
	return 0;
}

int elf_parse(struct elf_image *elf, const struct boot_file *head, u64 file_len,
	      struct err *err)
{
	struct elf_header h;
	int ret = check_ident(head, err);

	memset(elf, 0, sizeof(*elf));
	if (ret)
		return ret;
	elf->is_64 = head->data[EI_CLASS] == ELFCLASS64;
	if (head->len < (elf->is_64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
		return err_set(err, -EINVAL,
			       "%s: the ELF header is cut off after %lu bytes",
			       head->name, head->len);
	read_header(head->data, elf->is_64, &h);
	ret = check_header(&h, elf->is_64, head, err);
	for (unsigned i = 0; !ret && i < h.phnum; i++) {
		Elf64_Phdr ph;

		read_program_header(head->data + h.phoff + i * h.phentsize,
				    elf->is_64, &ph);
		ret = add_program_header(elf, &ph, file_len, head->name, err);
	}
	if (ret)
		return ret;
	if (!elf->segment_count)
		return err_set(err, -EINVAL, "%s has no segment to load",
			       head->name);
	elf->entry = h.entry;
	if (h.shoff && h.shoff <= file_len)
		elf->sections = h.shoff + (u64)h.shnum * h.shentsize;
	return 0;
}

int elf_check_length(const struct elf_image *elf, u64 file_len, struct err *err)
{
	for (unsigned i = 0; i < elf->segment_count; i++) {
		const struct elf_segment *seg = &elf->segments[i];

		if (seg->off + seg->file_len > file_len)
			return err_set(err, -EINVAL,
				       "the unpacked kernel ends at %#lx, its "
				       "segment at %#lx needs %#lx bytes",
				       file_len, seg->gpa,
				       (seg->off + seg->file_len));
	}
	return 0;
}

int elf_check_room(const struct elf_image *elf, const struct guest_mem *mem,
		   u64 shift, struct err *err)
{
	for (unsigned i = 0; i < elf->segment_count; i++) {
		const struct elf_segment *seg = &elf->segments[i];
		gpa_t gpa = seg->gpa + shift;

		if (gpa >= MIB(1) && gpa + seg->mem_len > mem_low_end(mem))
			return err_set(err, -E2BIG,
				       "the kernel's segment at %#lx, %#lx "
				       "bytes, lies beyond RAM (%#lx below "
				       "4 GiB); give the guest more memory",
				       gpa, seg->mem_len, mem_low_end(mem));
		if (!boot_range_ok(mem, gpa, seg->mem_len))
			return err_set(err, -EINVAL,
				       "the kernel's segment at %#lx, %#lx "
				       "bytes, lies in memory that the loader "
				       "or the platform uses",
				       gpa, seg->mem_len);
	}
	return 0;
}

int elf_entry(const struct elf_image *elf, gpa_t *entry, struct err *err)
{
	for (unsigned i = 0; i < elf->segment_count; i++) {
		const struct elf_segment *seg = &elf->segments[i];

		if (elf->entry - seg->gpa < seg->mem_len) {
			*entry = elf->entry;
			return 0;
		}
	}
	/* Linked for its later virtual addresses: translate. */
	for (unsigned i = 0; i < elf->segment_count; i++) {
		const struct elf_segment *seg = &elf->segments[i];

		if (elf->entry - seg->va < seg->mem_len) {
			*entry = elf->entry - seg->va + seg->gpa;
			return 0;
		}
	}
	return err_set(err, -EINVAL,
		       "the kernel's entry point %#lx is in none of its "
		       "segments",
		       elf->entry);
}

int elf_place(const struct elf_image *elf, struct guest_mem *mem,
	      const struct elf_chunk *chunk, u64 shift, struct err *err)
{
	for (unsigned i = 0; i < elf->segment_count; i++) {
		const struct elf_segment *seg = &elf->segments[i];
		u64 start = max_u64(seg->off, chunk->off);
		u64 end = min_u64(seg->off + seg->file_len,
				  chunk->off + chunk->len);
		int ret;

		if (start >= end)
			continue;
		ret = boot_place(mem, seg->gpa + shift + (start - seg->off),
				 chunk->data + (start - chunk->off),
				 end - start, err);
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- notes ------------------------------------------------------------- */

/* Name and descriptor are padded to 4 bytes; sums stay far below 2^64. */
static const u8 *find_note(const u8 *p, u64 len, const char *name, u32 type,
			   u32 *desc_len)
{
	Elf64_Nhdr h; /* the same in both classes */
	u64 off = 0;

	while (len - off >= sizeof(h)) {
		u64 desc, next;

		memcpy(&h, p + off, sizeof(h));
		desc = off + sizeof(h) + align_up(h.n_namesz, 4);
		next = desc + align_up(h.n_descsz, 4);
		if (desc > len || h.n_descsz > len - desc)
			return NULL;
		if (h.n_type == type && h.n_namesz == strlen(name) + 1 &&
		    !memcmp(p + off + sizeof(h), name, h.n_namesz)) {
			*desc_len = h.n_descsz;
			return p + desc;
		}
		if (next > len)
			return NULL;
		off = next;
	}
	return NULL;
}

const u8 *elf_note(const struct elf_image *elf, const struct boot_file *file,
		   const char *name, u32 type, u32 *len)
{
	for (unsigned i = 0; i < elf->note_count; i++) {
		const struct elf_note_range *range = &elf->notes[i];
		const u8 *desc;

		if (range->off > file->len ||
		    range->len > file->len - range->off)
			continue;
		desc = find_note(file->data + range->off, range->len, name,
				 type, len);
		if (desc)
			return desc;
	}
	return NULL;
}
