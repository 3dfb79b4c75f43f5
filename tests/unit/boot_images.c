/* SPDX-License-Identifier: Apache-2.0 */
/* Well-formed images, byte by byte. */
#include "boot_images.h"

#include <elf.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096

void guarded_create(struct guarded *g, const void *data, u64 len)
{
	g->len = len;
	g->map_len = align_up(len, PAGE) + PAGE;
	g->map = mmap(NULL, g->map_len, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g->map == MAP_FAILED ||
	    mprotect(g->map + g->map_len - PAGE, PAGE, PROT_NONE))
		abort();
	g->data = g->map + g->map_len - PAGE - len;
	memcpy(g->data, data, len);
}

void guarded_destroy(struct guarded *g)
{
	munmap(g->map, g->map_len);
}

void image_put16(u8 *image, u64 off, u16 val)
{
	memcpy(image + off, &val, sizeof(val));
}

void image_put32(u8 *image, u64 off, u32 val)
{
	memcpy(image + off, &val, sizeof(val));
}

void image_put64(u8 *image, u64 off, u64 val)
{
	memcpy(image + off, &val, sizeof(val));
}

/* ---- ELF --------------------------------------------------------------- */

/* Both classes have the same layout of the file. */
enum elf_layout {
	ELF_TEXT = 0x1000,
	ELF_DATA = 0x2000,
	ELF_NOTE = 0x3000,
	ELF_NOTE_LEN = 20,
	ELF_LEN = ELF_NOTE + ELF_NOTE_LEN,
};

static void put_contents(u8 *image)
{
	const u32 note[] = {4, 4, 18, 0x6e6558 /* "Xen" */, IMAGE_ENTRY};

	memcpy(image + ELF_TEXT, IMAGE_TEXT, sizeof(IMAGE_TEXT));
	memcpy(image + ELF_DATA, IMAGE_DATA, sizeof(IMAGE_DATA));
	memcpy(image + ELF_NOTE, note, sizeof(note));
}

static u64 build_elf64(u8 *image)
{
	const Elf64_Ehdr header = {
		.e_ident = ELFMAG "\2\1\1", /* 64 bits, little endian */
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = IMAGE_ENTRY,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_shoff = ELF_LEN, /* no sections: the file's end */
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 3,
	};
	const Elf64_Phdr ph[] = {
		{.p_type = PT_LOAD,
		 .p_offset = ELF_TEXT,
		 .p_vaddr = 0xffffffff80000000 + IMAGE_BASE,
		 .p_paddr = IMAGE_BASE,
		 .p_filesz = 0x1000,
		 .p_memsz = 0x1000},
		{.p_type = PT_LOAD,
		 .p_offset = ELF_DATA,
		 .p_vaddr = 0xffffffff80000000 + IMAGE_DATA_GPA,
		 .p_paddr = IMAGE_DATA_GPA,
		 .p_filesz = 0x1000,
		 .p_memsz = IMAGE_DATA_MEM},
		{.p_type = PT_NOTE,
		 .p_offset = ELF_NOTE,
		 .p_filesz = ELF_NOTE_LEN},
	};

	memset(image, 0, IMAGE_MAX);
	memcpy(image, &header, sizeof(header));
	memcpy(image + sizeof(header), ph, sizeof(ph));
	put_contents(image);
	return ELF_LEN;
}

static u64 build_elf32(u8 *image)
{
	const Elf32_Ehdr header = {
		.e_ident = ELFMAG "\1\1\1",
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_version = EV_CURRENT,
		.e_entry = IMAGE_ENTRY,
		.e_phoff = sizeof(Elf32_Ehdr),
		.e_ehsize = sizeof(Elf32_Ehdr),
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = 3,
	};
	const Elf32_Phdr ph[] = {
		{.p_type = PT_LOAD,
		 .p_offset = ELF_TEXT,
		 .p_paddr = IMAGE_BASE,
		 .p_filesz = 0x1000,
		 .p_memsz = 0x1000},
		{.p_type = PT_LOAD,
		 .p_offset = ELF_DATA,
		 .p_paddr = IMAGE_DATA_GPA,
		 .p_filesz = 0x1000,
		 .p_memsz = IMAGE_DATA_MEM},
		{.p_type = PT_NOTE,
		 .p_offset = ELF_NOTE,
		 .p_filesz = ELF_NOTE_LEN},
	};

	memset(image, 0, IMAGE_MAX);
	memcpy(image, &header, sizeof(header));
	memcpy(image + sizeof(header), ph, sizeof(ph));
	put_contents(image);
	return ELF_LEN;
}

u64 image_elf64_pvh(u8 *image)
{
	return build_elf64(image);
}

u64 image_elf32_pvh(u8 *image)
{
	return build_elf32(image);
}

u64 image_elf64_linux(u8 *image)
{
	u64 len = build_elf64(image);

	memset(image + ELF_NOTE, 0, ELF_NOTE_LEN);
	return len;
}

/* ---- multiboot --------------------------------------------------------- */

static void put_multiboot(u8 *image, u64 off, u32 flags)
{
	image_put32(image, off, 0x1badb002);
	image_put32(image, off + 4, flags);
	image_put32(image, off + 8, -(0x1badb002 + flags));
}

u64 image_elf32_multiboot(u8 *image)
{
	u64 len = build_elf32(image);

	memset(image + ELF_NOTE, 0, ELF_NOTE_LEN);
	put_multiboot(image, ELF_TEXT + 0x40, 3);
	return len;
}

u64 image_elf64_multiboot(u8 *image)
{
	u64 len = build_elf64(image);

	memset(image + ELF_NOTE, 0, ELF_NOTE_LEN);
	put_multiboot(image, ELF_TEXT + 0x40, 3);
	return len;
}

u64 image_flat_multiboot(u8 *image)
{
	const u64 start = 0x100, header = 0x120;

	memset(image, 0, IMAGE_MAX);
	memcpy(image + start, "at the start", 12);
	put_multiboot(image, header, 1u << 16 | 3);
	image_put32(image, header + 12, IMAGE_FLAT_BASE + 0x20);
	image_put32(image, header + 16, IMAGE_FLAT_BASE);
	image_put32(image, header + 20, IMAGE_FLAT_BASE + 0x1000);
	image_put32(image, header + 24, IMAGE_FLAT_BASE + 0x4000);
	image_put32(image, header + 28, IMAGE_FLAT_BASE + 0x80);
	return start + 0x1000;
}

/* ---- bzImage ----------------------------------------------------------- */

u64 image_bz(u8 *image, const struct image_bz *bz)
{
	memset(image, 0, IMAGE_MAX);
	image[0x1f1] = IMAGE_SETUP / 512 - 1;
	image_put32(image, 0x1f4, (bz->code_len + 15) / 16);
	image_put16(image, 0x1fe, 0xaa55);
	image[0x200] = 0xeb;
	image[0x201] = 0x6a; /* as Linux 6.1 has it */
	memcpy(image + 0x202, "HdrS", 4);
	image_put16(image, 0x206, 0x20f);
	image[0x211] = 1; /* LOADED_HIGH */
	image_put32(image, 0x214, 0x100000);
	image_put32(image, 0x22c, 0x7fffffff);
	image_put32(image, 0x230, 0x200000);
	image[0x234] = 1;
	image_put16(image, 0x236, bz->xloadflags);
	image_put32(image, 0x238, IMAGE_CMDLINE_MAX);
	image_put32(image, 0x248, bz->payload_off);
	image_put32(image, 0x24c, bz->payload_len);
	image_put64(image, 0x258, IMAGE_BASE);
	image_put32(image, 0x260, IMAGE_INIT_SIZE);
	memcpy(image + IMAGE_SETUP, bz->code, bz->code_len);
	return IMAGE_SETUP + bz->code_len;
}

/*
 * Relocations: one 64-bit place in the data, one to subtract from and one to
 * add to in the text, in the order that kaslr.c draws.
 */
static u64 put_relocs(u8 *kernel, u64 len)
{
	const u32 map = 0x80000000;
	const u32 relocs[] = {
		0, map + IMAGE_DATA_GPA + 0x100, 0, map + IMAGE_BASE + 0x80,
		0, map + IMAGE_BASE + 0x84,
	};

	image_put64(kernel, ELF_DATA + 0x100, 0xffffffff81000000);
	image_put32(kernel, ELF_TEXT + 0x80, 0x40000000);
	image_put32(kernel, ELF_TEXT + 0x84, 0x81000000);
	memcpy(kernel + len, relocs, sizeof(relocs));
	return len + sizeof(relocs);
}

u64 image_bz_lz4(u8 *image)
{
	static const u32 magic = 0x184c2102;
	u8 *kernel = malloc(IMAGE_MAX), *code = malloc(IMAGE_MAX);
	struct image_bz bz = {
		.code = code,
		.payload_off = 0x10,
		.xloadflags = 1,
	};
	u64 len;
	int packed;

	if (!kernel || !code)
		abort();
	len = put_relocs(kernel, build_elf64(kernel));
	memset(code, 0, IMAGE_MAX);
	packed = LZ4_compress_default((char *)kernel, (char *)code + 0x18,
				      (int)len, IMAGE_MAX / 2);
	image_put32(code, 0x10, magic);
	image_put32(code, 0x14, (u32)packed);
	image_put32(code, 0x18 + (u64)packed, (u32)len);
	bz.payload_len = 4 + 4 + (u32)packed + 4;
	bz.code_len = bz.payload_off + bz.payload_len;
	len = image_bz(image, &bz);
	free(kernel);
	free(code);
	return len;
}

image_builder image_builder_at(unsigned index)
{
	static const image_builder builders[] = {
		image_elf64_pvh,       image_elf32_pvh,
		image_elf32_multiboot, image_elf64_multiboot,
		image_flat_multiboot,  image_bz_lz4,
		image_elf64_linux,
	};

	return index < ARRAY_SIZE(builders) ? builders[index] : NULL;
}
