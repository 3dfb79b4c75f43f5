/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Solo5 hvt images: headers, notes, manifest. The file is hostile; a header
 * is copied once and only the copy is looked at.
 *
 * References: [1] System V ABI, generic part, chapters 4 and 5.
 *             [2] include/vireo/hvt_image.h.
 */
#include "boot/hvt.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

/* ---- ELF header -------------------------------------------------------- */

static bool in_file(const struct boot_file *file, u64 off, u64 len)
{
	return off <= file->len && len <= file->len - off;
}

static bool read_at(const struct boot_file *file, u64 off, void *dst, u64 len)
{
	if (!in_file(file, off, len))
		return false;
	memcpy(dst, file->data + off, len);
	return true;
}

static bool is_elf64(const Elf64_Ehdr *h)
{
	return !memcmp(h->e_ident, ELFMAG, SELFMAG) &&
	       h->e_ident[EI_CLASS] == ELFCLASS64 &&
	       h->e_ident[EI_DATA] == ELFDATA2LSB;
}

/* OS and ABI version bytes are whatever the toolchain left there. */
static int check_header(const Elf64_Ehdr *h, const struct boot_file *file,
			struct err *err)
{
	if (!is_elf64(h))
		return err_set(err, -EINVAL,
			       "%s is no 64-bit little-endian ELF file",
			       file->name);
	if (h->e_version != EV_CURRENT)
		return err_set(err, -EINVAL, "%s: ELF version %u is unknown",
			       file->name, h->e_version);
	if (h->e_ehsize != sizeof(Elf64_Ehdr))
		return err_set(err, -EINVAL,
			       "%s: the ELF header has %u bytes, wanted %zu",
			       file->name, h->e_ehsize, sizeof(Elf64_Ehdr));
	if (h->e_phentsize != sizeof(Elf64_Phdr))
		return err_set(err, -EINVAL,
			       "%s: program headers of %u bytes, wanted %zu",
			       file->name, h->e_phentsize, sizeof(Elf64_Phdr));
	if (!h->e_phnum)
		return err_set(err, -EINVAL, "%s has no program headers",
			       file->name);
	if (h->e_type != ET_EXEC)
		return err_set(err, -EINVAL,
			       "%s is no executable with fixed addresses (ELF "
			       "type %u)",
			       file->name, h->e_type);
	if (h->e_machine != EM_X86_64)
		return err_set(err, -EINVAL,
			       "%s is built for another machine (ELF machine "
			       "%u, wanted %u)",
			       file->name, h->e_machine, EM_X86_64);
	if (!in_file(file, h->e_phoff, (u64)h->e_phnum * sizeof(Elf64_Phdr)))
		return err_set(err, -EINVAL,
			       "%s: %u program headers at %#lx reach beyond "
			       "the file's %lu bytes",
			       file->name, h->e_phnum, h->e_phoff, file->len);
	return 0;
}

static bool program_header(const struct boot_file *file, const Elf64_Ehdr *h,
			   unsigned i, Elf64_Phdr *ph)
{
	return read_at(file, h->e_phoff + (u64)i * sizeof(*ph), ph,
		       sizeof(*ph));
}

/* ---- segments ---------------------------------------------------------- */

static u32 segment_rights(const Elf64_Phdr *ph)
{
	u32 rights = ph->p_flags & PF_W ? MEM_W : 0;

	if (ph->p_flags & PF_X)
		rights |= MEM_X;
	/* As on the processors the interface was made for: what can be
	 * written or executed can be read. */
	if (rights || ph->p_flags & PF_R)
		rights |= MEM_R;
	return rights;
}

static int check_extent(const Elf64_Phdr *ph, const char *name, struct err *err)
{
	u64 align = ph->p_align;

	if (!align || align & (align - 1))
		return err_set(err, -EINVAL,
			       "%s: segment at %#lx: alignment %#lx is no "
			       "power of two",
			       name, ph->p_vaddr, align);
	if (ph->p_memsz < ph->p_filesz)
		return err_set(err, -EINVAL,
			       "%s: segment at %#lx has %#lx bytes in the "
			       "file but %#lx in memory",
			       name, ph->p_vaddr, ph->p_filesz, ph->p_memsz);
	if (ph->p_vaddr >= MEM_MAX_FLAT || ph->p_memsz > MEM_MAX_FLAT ||
	    align > MEM_MAX_FLAT)
		return err_set(err, -EINVAL,
			       "%s: segment at %#lx, %#lx bytes, reaches "
			       "beyond 4 GiB",
			       name, ph->p_vaddr, ph->p_memsz);
	if ((ph->p_flags & (PF_W | PF_X)) == (PF_W | PF_X))
		return err_set(err, -EINVAL,
			       "%s: segment at %#lx is both writable and "
			       "executable",
			       name, ph->p_vaddr);
	return 0;
}

static int check_place(const struct hvt_image *image,
		       const struct hvt_segment *seg, const char *name,
		       struct err *err)
{
	if (seg->start < HVT_IMAGE_LOW)
		return err_set(err, -EINVAL,
			       "%s: segment at %#lx lies below %#x, where the "
			       "host's data are",
			       name, seg->gpa, HVT_IMAGE_LOW);
	if (seg->start < image->end)
		return err_set(err, -EINVAL,
			       "%s: segment at %#lx overlaps the one before it "
			       "or is not in ascending order",
			       name, seg->gpa);
	if ((seg->start | seg->end) % HVT_PAGE)
		return err_set(err, -EINVAL,
			       "%s: segment at %#lx does not begin and end on "
			       "pages",
			       name, seg->gpa);
	return 0;
}

static int add_segment(struct hvt_image *image, const Elf64_Phdr *ph,
		       const struct boot_file *file, struct err *err)
{
	struct hvt_segment seg = {
		.off = ph->p_offset,
		.file_len = ph->p_filesz,
		.gpa = ph->p_vaddr,
		.rights = segment_rights(ph),
	};
	int ret = check_extent(ph, file->name, err);

	if (ret)
		return ret;
	if (!in_file(file, seg.off, seg.file_len))
		return err_set(err, -EINVAL,
			       "%s: segment at file offset %#lx, %#lx bytes, "
			       "reaches beyond the file's %#lx bytes",
			       file->name, seg.off, seg.file_len, file->len);
	seg.start = seg.gpa & ~(ph->p_align - 1);
	seg.end = align_up(seg.gpa + ph->p_memsz, ph->p_align);
	ret = check_place(image, &seg, file->name, err);
	if (ret)
		return ret;
	if (image->segment_count == HVT_SEGMENTS_MAX)
		return err_set(err, -EINVAL, "%s has more than %d segments",
			       file->name, HVT_SEGMENTS_MAX);
	image->segments[image->segment_count++] = seg;
	image->end = seg.end;
	return 0;
}

static int parse_segments(struct hvt_image *image, const Elf64_Ehdr *h,
			  const struct boot_file *file, struct err *err)
{
	Elf64_Phdr ph;
	int ret = 0;

	for (unsigned i = 0; !ret && i < h->e_phnum; i++)
		if (program_header(file, h, i, &ph) && ph.p_type == PT_LOAD &&
		    ph.p_filesz)
			ret = add_segment(image, &ph, file, err);
	if (ret)
		return ret;
	if (!image->segment_count)
		return err_set(err, -EINVAL, "%s has no segment to load",
			       file->name);
	image->entry = h->e_entry;
	if (image->entry < HVT_IMAGE_LOW || image->entry >= MEM_MAX_FLAT)
		return err_set(err, -EINVAL,
			       "%s: the entry point %#lx is not between %#x "
			       "and 4 GiB",
			       file->name, image->entry, HVT_IMAGE_LOW);
	return 0;
}

/* KVM would execute what is there all the same: zeroes. */
static int check_entry_point(const struct hvt_image *image,
			     const struct boot_file *file, struct err *err)
{
	for (unsigned i = 0; i < image->segment_count; i++) {
		const struct hvt_segment *seg = &image->segments[i];

		if (seg->rights & MEM_X && image->entry >= seg->start &&
		    image->entry < seg->end)
			return 0;
	}
	return err_set(err, -EINVAL,
		       "%s: the entry point %#lx is in no segment that can be "
		       "executed",
		       file->name, image->entry);
}

/* ---- notes ------------------------------------------------------------- */

static bool is_ours(const struct hvt_note *note)
{
	return note->owner_size == sizeof(HVT_NOTE_OWNER) &&
	       !memcmp(note->owner, HVT_NOTE_OWNER, sizeof(HVT_NOTE_OWNER));
}

/* The note that begins the segment, if it is one of Solo5's. */
static bool read_note(const struct boot_file *file, const Elf64_Phdr *ph,
		      struct hvt_note *note)
{
	return ph->p_type == PT_NOTE && ph->p_filesz >= sizeof(*note) &&
	       read_at(file, ph->p_offset, note, sizeof(*note)) &&
	       is_ours(note);
}

/* For a PC: it has a multiboot header as well. */
static bool is_for_pc(const struct boot_file *file, const Elf64_Phdr *ph,
		      const struct hvt_note *note)
{
	struct hvt_abi_note abi;

	return note->type == HVT_NOTE_ABI &&
	       read_at(file, ph->p_offset, &abi, sizeof(abi)) &&
	       abi.target == HVT_TARGET_VIRTIO;
}

bool hvt_is(const struct boot_file *file)
{
	struct hvt_note note;
	bool found = false;
	Elf64_Ehdr h;
	Elf64_Phdr ph;

	if (!read_at(file, 0, &h, sizeof(h)) || !is_elf64(&h))
		return false;
	for (unsigned i = 0; i < h.e_phnum; i++) {
		if (!program_header(file, &h, i, &ph) ||
		    !read_note(file, &ph, &note))
			continue;
		if (is_for_pc(file, &ph, &note))
			return false;
		found = true;
	}
	return found;
}

struct found_note {
	u64 off; /* of struct hvt_note */
	u32 desc_size;
};

static int find_note(const struct boot_file *file, const Elf64_Ehdr *h,
		     enum hvt_note_type type, struct found_note *found,
		     struct err *err)
{
	struct hvt_note note;
	Elf64_Phdr ph;

	for (unsigned i = 0; i < h->e_phnum; i++) {
		if (!program_header(file, h, i, &ph) ||
		    !read_note(file, &ph, &note) || note.type != type)
			continue;
		if (!note.desc_size ||
		    note.desc_size > ph.p_filesz - sizeof(note) ||
		    !in_file(file, ph.p_offset + sizeof(note), note.desc_size))
			return err_set(err, -EINVAL,
				       "%s: note does not fall within valid "
				       "size: %u bytes in a segment of %lu",
				       file->name, note.desc_size, ph.p_filesz);
		*found = (struct found_note){ph.p_offset, note.desc_size};
		return 0;
	}
	return err_set(err, -EINVAL, "%s: no Solo5 %s found in executable",
		       file->name,
		       type == HVT_NOTE_ABI ? "ABI information" : "manifest");
}

static int check_abi(const struct boot_file *file, const Elf64_Ehdr *h,
		     struct err *err)
{
	struct found_note found;
	struct hvt_abi_note abi;
	int ret = find_note(file, h, HVT_NOTE_ABI, &found, err);

	if (ret)
		return ret;
	if (found.desc_size != sizeof(abi) - sizeof(abi.note) ||
	    !read_at(file, found.off, &abi, sizeof(abi)))
		return err_set(err, -EINVAL,
			       "%s: note does not fall within valid size: ABI "
			       "information of %u bytes",
			       file->name, found.desc_size);
	if (abi.target != HVT_TARGET_HVT)
		return err_set(err, -ENOTSUP,
			       "%s: Executable is not for the solo5-hvt target "
			       "(it is for target %u)",
			       file->name, abi.target);
	if (abi.version != HVT_ABI_VERSION)
		return err_set(err, -ENOTSUP,
			       "%s: Executable requests unsupported ABI "
			       "version %u (this is version %u)",
			       file->name, abi.version, HVT_ABI_VERSION);
	return 0;
}

/* ---- manifest ---------------------------------------------------------- */

static int check_entry(const struct hvt_image *image, u32 i, const char *name,
		       struct err *err)
{
	const struct hvt_manifest_entry *e = &image->entries[i];

	if (e->name[HVT_NAME_SIZE - 1])
		return err_set(err, -EINVAL,
			       "%s: Solo5 manifest is invalid: the name of "
			       "entry %u does not end",
			       name, i);
	if (e->attached)
		return err_set(err, -EINVAL,
			       "%s: Solo5 manifest is invalid: entry %u is "
			       "attached already",
			       name, i);
	if (!i && (e->type != HVT_ENTRY_FIRST || e->name[0]))
		return err_set(err, -EINVAL,
			       "%s: Solo5 manifest is invalid: entry 0 is "
			       "not empty",
			       name);
	if (!i)
		return 0;
	if (e->type != HVT_ENTRY_BLOCK && e->type != HVT_ENTRY_NET)
		return err_set(err, -EINVAL,
			       "%s: Solo5 manifest is invalid: entry %u is of "
			       "unknown type %#x",
			       name, i, e->type);
	if (!e->name[0])
		return err_set(err, -EINVAL,
			       "%s: Solo5 manifest is invalid: entry %u has "
			       "no name",
			       name, i);
	for (u32 k = 1; k < i; k++)
		if (!strcmp(image->entries[k].name, e->name))
			return err_set(err, -EINVAL,
				       "%s: Solo5 manifest is invalid: two "
				       "devices of the name '%s'",
				       name, e->name);
	return 0;
}

static int parse_manifest(struct hvt_image *image, const struct boot_file *file,
			  const Elf64_Ehdr *h, struct err *err)
{
	struct hvt_manifest_note note;
	struct found_note found;
	int ret = find_note(file, h, HVT_NOTE_MANIFEST, &found, err);

	if (ret)
		return ret;
	if (found.desc_size < HVT_MANIFEST_DESC_SIZE(0) ||
	    !read_at(file, found.off, &note, sizeof(note)))
		return err_set(err, -EINVAL,
			       "%s: note does not fall within valid size: a "
			       "manifest of %u bytes",
			       file->name, found.desc_size);
	if (note.version != HVT_MANIFEST_VERSION)
		return err_set(err, -EINVAL,
			       "%s: Solo5 manifest is invalid: version %u",
			       file->name, note.version);
	if (!note.count || note.count > HVT_ENTRIES_MAX)
		return err_set(err, -EINVAL,
			       "%s: Solo5 manifest is invalid: %u entries, "
			       "not 1 to %u",
			       file->name, note.count, HVT_ENTRIES_MAX);
	if (found.desc_size != HVT_MANIFEST_DESC_SIZE(note.count) ||
	    !read_at(file, found.off + sizeof(note), image->entries,
		     note.count * sizeof(image->entries[0])))
		return err_set(err, -EINVAL,
			       "%s: note does not fall within valid size: "
			       "%u bytes for a manifest of %u entries",
			       file->name, found.desc_size, note.count);
	image->count = note.count;
	for (u32 i = 0; !ret && i < image->count; i++)
		ret = check_entry(image, i, file->name, err);
	return ret;
}

int hvt_parse(struct hvt_image *image, const struct boot_file *file,
	      struct err *err)
{
	Elf64_Ehdr h;
	int ret;

	memset(image, 0, sizeof(*image));
	if (!read_at(file, 0, &h, sizeof(h)))
		return err_set(err, -EINVAL,
			       "%s: the ELF header is cut off after %lu bytes",
			       file->name, file->len);
	ret = check_header(&h, file, err);
	if (!ret)
		ret = check_abi(file, &h, err);
	if (!ret)
		ret = parse_manifest(image, file, &h, err);
	if (!ret)
		ret = parse_segments(image, &h, file, err);
	return ret ? ret : check_entry_point(image, file, err);
}
