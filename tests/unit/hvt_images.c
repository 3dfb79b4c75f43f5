/* SPDX-License-Identifier: Apache-2.0 */
/* A good Solo5 hvt image. */
#include "hvt_images.h"

#include <string.h>

static Elf64_Phdr load(u64 off, u64 gpa, u64 mem_len, u32 flags)
{
	return (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_flags = flags,
		.p_offset = off,
		.p_vaddr = gpa,
		.p_paddr = gpa,
		.p_filesz = 64,
		.p_memsz = mem_len,
		.p_align = 0x1000,
	};
}

static Elf64_Phdr note(u64 off, u64 len)
{
	return (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_flags = PF_R,
		.p_offset = off,
		.p_filesz = len,
		.p_memsz = len,
		.p_align = 4,
	};
}

static struct hvt_note solo5(u32 type, u32 desc_size)
{
	return (struct hvt_note){sizeof(HVT_NOTE_OWNER), desc_size, type,
				 HVT_NOTE_OWNER};
}

static void fill_headers(struct hvt_test_image *i)
{
	static const u8 ident[EI_NIDENT] = {ELFMAG0,   ELFMAG1,	   ELFMAG2,
					    ELFMAG3,   ELFCLASS64, ELFDATA2LSB,
					    EV_CURRENT};

	memcpy(i->elf.e_ident, ident, sizeof(ident));
	i->elf.e_type = ET_EXEC;
	i->elf.e_machine = EM_X86_64;
	i->elf.e_version = EV_CURRENT;
	i->elf.e_entry = 0x100010;
	i->elf.e_phoff = offsetof(struct hvt_test_image, headers);
	i->elf.e_ehsize = sizeof(i->elf);
	i->elf.e_phentsize = sizeof(Elf64_Phdr);
	i->elf.e_phnum = HVT_IMAGE_HEADERS;
	i->headers[0] = load(offsetof(struct hvt_test_image, code), 0x100000,
			     64, PF_R | PF_X);
	i->headers[1] = load(offsetof(struct hvt_test_image, data), 0x102000,
			     0x1800, PF_R | PF_W);
	i->headers[2] = note(offsetof(struct hvt_test_image, decoy),
			     sizeof(i->decoy) + 4);
	i->headers[3] =
		note(offsetof(struct hvt_test_image, abi), sizeof(i->abi));
	i->headers[4] = note(offsetof(struct hvt_test_image, manifest),
			     sizeof(i->manifest));
}

void hvt_test_image(struct hvt_test_image *i)
{
	memset(i, 0, sizeof(*i));
	fill_headers(i);
	i->decoy = (struct hvt_note){8, 4, 1, "OpenBSD"};
	i->abi.note = solo5(HVT_NOTE_ABI, 16);
	i->abi.target = HVT_TARGET_HVT;
	i->abi.version = HVT_ABI_VERSION;
	i->manifest.note = solo5(HVT_NOTE_MANIFEST,
				 sizeof(i->manifest) - sizeof(struct hvt_note));
	i->manifest.version = HVT_MANIFEST_VERSION;
	i->manifest.count = 3;
	i->manifest.entries[0].type = HVT_ENTRY_FIRST;
	strcpy(i->manifest.entries[1].name, "disk");
	i->manifest.entries[1].type = HVT_ENTRY_BLOCK;
	strcpy(i->manifest.entries[2].name, "service");
	i->manifest.entries[2].type = HVT_ENTRY_NET;
	memset(i->code, 0x90, sizeof(i->code));
	memset(i->data, 0xda, sizeof(i->data));
}
