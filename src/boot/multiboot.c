/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multiboot 1: ELF images and flat ones that give their addresses in the
 * header (the "a.out kludge").
 *
 * References: [1] Multiboot Specification version 0.6.96: 3.1 (header), 3.2
 *                 (machine state), 3.3 (information).
 *
 * ELF64 images are taken as well, as GRUB does; they too start in 32-bit mode.
 *
 * Deliberately not there: video modes (bit 2 is a wish that the machine, which
 * has no display, does not fulfil), symbols, drives, the APM and VBE tables.
 */
#include "boot/multiboot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* [1] 3.1 */
enum multiboot_header_flags {
	MB_PAGE_ALIGN = 1 << 0,
	MB_MEMORY_INFO = 1 << 1,
	MB_VIDEO_MODE = 1 << 2,
	MB_REQUIRED = 0xffff,
	MB_ADDRESSES = 1 << 16,
};
enum multiboot_header_layout {
	MB_SEARCH = 8192,
	MB_HEADER_LEN = 12,
	MB_HEADER_ADDRESSES_LEN = 32,
};
#define MB_HEADER_MAGIC 0x1badb002u
#define MB_LOADER_MAGIC 0x2badb002u

/* [1] 3.3 */
enum multiboot_info_flags {
	MBI_MEMORY = 1 << 0,
	MBI_CMDLINE = 1 << 2,
	MBI_MODULES = 1 << 3,
	MBI_MAP = 1 << 6,
	MBI_LOADER_NAME = 1 << 9,
};
struct multiboot_info {
	u32 flags, mem_lower, mem_upper, boot_device, cmdline;
	u32 module_count, modules;
	u32 symbols[4];
	u32 map_len, map;
	u32 drives_len, drives, config_table;
	u32 loader_name;
	u32 apm_table;
	u32 vbe[6], framebuffer[7];
};
struct multiboot_module {
	u32 start, end, string, reserved;
};
struct multiboot_map_entry {
	u32 size; /* of what follows */
	u64 addr, len;
	u32 type;
} __attribute__((packed));
_Static_assert(offsetof(struct multiboot_info, map_len) == 44, "[1] 3.3");
_Static_assert(offsetof(struct multiboot_info, loader_name) == 64, "[1] 3.3");
_Static_assert(sizeof(struct multiboot_map_entry) == 24, "[1] 3.3");

#define MB_NAME_LEN 64

/* What lies at BOOT_START_INFO. */
struct multiboot_block {
	struct multiboot_info info;
	struct multiboot_module modules[BOOT_MAX_MODULES];
	struct multiboot_map_entry map[BOOT_E820_MAX];
	char loader_name[sizeof(BOOT_LOADER_NAME)];
	char names[BOOT_MAX_MODULES][MB_NAME_LEN];
};
_Static_assert(BOOT_START_INFO + sizeof(struct multiboot_block) <=
		       BOOT_ZERO_PAGE,
	       "room below the next structure");

/* ---- header ------------------------------------------------------------ */

struct multiboot_header {
	u64 off; /* in the file */
	u32 flags;
	u32 header_addr, load_addr, load_end, bss_end, entry;
};

static bool find_header(const struct boot_file *file,
			struct multiboot_header *h)
{
	u64 end = min_u64(file->len, MB_SEARCH);

	for (u64 off = 0; off + MB_HEADER_LEN <= end; off += 4) {
		const u8 *p = file->data + off;

		if (boot_le32(p) != MB_HEADER_MAGIC ||
		    boot_le32(p) + boot_le32(p + 4) + boot_le32(p + 8))
			continue;
		*h = (struct multiboot_header){
			.off = off,
			.flags = boot_le32(p + 4),
		};
		return true;
	}
	return false;
}

bool multiboot_is(const struct boot_file *file)
{
	struct multiboot_header h;

	return find_header(file, &h);
}

static int read_addresses(const struct boot_file *file,
			  struct multiboot_header *h, struct err *err)
{
	const u8 *p = file->data + h->off;

	if (h->off + MB_HEADER_ADDRESSES_LEN > file->len)
		return err_set(err, -EINVAL,
			       "%s is cut off inside its multiboot header",
			       file->name);
	h->header_addr = boot_le32(p + 12);
	h->load_addr = boot_le32(p + 16);
	h->load_end = boot_le32(p + 20);
	h->bss_end = boot_le32(p + 24);
	h->entry = boot_le32(p + 28);
	return 0;
}

/* ---- images ------------------------------------------------------------ */

/* What was loaded: where it starts, and where free memory begins. */
struct loaded {
	gpa_t entry, end;
};

/* [1] 3.1.3: text and data are one piece of the file, bss follows. */
static int load_flat(struct guest_mem *mem, const struct boot_file *file,
		     const struct multiboot_header *h, struct loaded *out,
		     struct err *err)
{
	u64 back = (u64)h->header_addr - h->load_addr;
	u64 off, len, mem_len;

	if (h->header_addr < h->load_addr || back > h->off)
		return err_set(err, -EINVAL,
			       "%s: the multiboot header at file offset %#lx "
			       "says it lies %#lx bytes into the image",
			       file->name, h->off, back);
	off = h->off - back;
	len = h->load_end ? (u64)h->load_end - h->load_addr : file->len - off;
	if ((h->load_end && h->load_end < h->load_addr) ||
	    len > file->len - off)
		return err_set(err, -EINVAL,
			       "%s: the multiboot header wants %#x..%#x "
			       "loaded, the file has %#lx bytes for it",
			       file->name, h->load_addr, h->load_end,
			       file->len - off);
	mem_len = h->bss_end ? (u64)h->bss_end - h->load_addr : len;
	if ((h->bss_end && h->bss_end < h->load_addr) || mem_len < len)
		return err_set(err, -EINVAL,
			       "%s: the multiboot header's bss ends at %#x, "
			       "inside the loaded data",
			       file->name, h->bss_end);
	if ((u64)h->load_addr + mem_len > mem_low_end(mem))
		return err_set(err, -E2BIG,
			       "%s: the image at %#x, %#lx bytes, lies beyond "
			       "RAM; give the guest more memory",
			       file->name, h->load_addr, mem_len);
	if (!boot_range_ok(mem, h->load_addr, mem_len))
		return err_set(err, -EINVAL,
			       "%s: the image at %#x, %#lx bytes, lies in "
			       "memory that the loader or the platform uses",
			       file->name, h->load_addr, mem_len);
	if (h->entry < h->load_addr || h->entry - h->load_addr >= mem_len)
		return err_set(err, -EINVAL,
			       "%s: the entry point %#x is outside of the "
			       "image",
			       file->name, h->entry);
	*out = (struct loaded){h->entry, h->load_addr + mem_len};
	return boot_place(mem, h->load_addr, file->data + off, len, err);
}

static int load_elf(struct guest_mem *mem, const struct boot_file *file,
		    struct loaded *out, struct err *err)
{
	const struct elf_chunk whole = {file->data, 0, file->len};
	struct elf_image elf;
	int ret = elf_parse(&elf, file, file->len, err);

	if (!ret)
		ret = elf_check_room(&elf, mem, 0, err);
	if (!ret)
		ret = elf_entry(&elf, &out->entry, err);
	if (!ret)
		ret = elf_place(&elf, mem, &whole, 0, err);
	out->end = elf.span.end;
	return ret;
}

static int load_image(struct guest_mem *mem, const struct boot_file *file,
		      struct loaded *out, struct err *err)
{
	const u32 known = MB_PAGE_ALIGN | MB_MEMORY_INFO | MB_VIDEO_MODE;
	struct multiboot_header h;
	int ret;

	if (!find_header(file, &h))
		return err_set(err, -EINVAL, "%s has no multiboot header",
			       file->name);
	if (h.flags & MB_REQUIRED & ~known)
		return err_set(err, -ENOTSUP,
			       "%s requires multiboot features that Vireo "
			       "lacks (header flags %#x)",
			       file->name, h.flags);
	if (!(h.flags & MB_ADDRESSES))
		return load_elf(mem, file, out, err);
	ret = read_addresses(file, &h, err);
	return ret ? ret : load_flat(mem, file, &h, out, err);
}

/* ---- information ------------------------------------------------------- */

/*
 * The command line begins with the image's name, as GRUB's and QEMU's do:
 * kernels skip the first word.
 */
static int put_cmdline(struct guest_mem *mem, const struct boot_config *config,
		       struct err *err)
{
	const char *args = config->cmdline ? config->cmdline : "";
	char *line;
	int ret;

	if (asprintf(&line, "%s%s%s", config->kernel.name, *args ? " " : "",
		     args) < 0)
		return err_set(err, -ENOMEM, "no memory for a command line");
	ret = boot_put_cmdline(mem, line, BOOT_CMDLINE_ROOM, err);
	free(line);
	return ret;
}

#define AT(field) (BOOT_START_INFO + offsetof(struct multiboot_block, field))

static void fill_modules(struct multiboot_block *block,
			 const struct boot_config *config,
			 const struct boot_range *modules)
{
	for (unsigned i = 0; i < config->module_count; i++) {
		block->modules[i] = (struct multiboot_module){
			.start = (u32)modules[i].start,
			.end = (u32)modules[i].end,
			.string = (u32)(AT(names) + i * MB_NAME_LEN),
		};
		snprintf(block->names[i], MB_NAME_LEN, "%s",
			 config->modules[i].name);
	}
}

static int put_info(struct guest_mem *mem, const struct boot_config *config,
		    const struct boot_range *modules, struct err *err)
{
	struct boot_e820 map[BOOT_E820_MAX];
	unsigned count = boot_e820(mem, map);
	struct multiboot_block block = {
		.info =
			{
				.flags = MBI_MEMORY | MBI_CMDLINE |
					 MBI_MODULES | MBI_MAP |
					 MBI_LOADER_NAME,
				.mem_lower = BOOT_EBDA / 1024,
				.mem_upper = (u32)((mem_low_end(mem) - MIB(1)) /
						   1024),
				.cmdline = BOOT_CMDLINE,
				.module_count = config->module_count,
				.modules = AT(modules),
				.map_len = (u32)(count * sizeof(block.map[0])),
				.map = AT(map),
				.loader_name = AT(loader_name),
			},
		.loader_name = BOOT_LOADER_NAME,
	};

	fill_modules(&block, config, modules);
	for (unsigned i = 0; i < count; i++)
		block.map[i] = (struct multiboot_map_entry){
			sizeof(block.map[0]) - sizeof(u32), map[i].addr,
			map[i].size, map[i].type};
	return boot_put(mem, BOOT_START_INFO, &block, sizeof(block), err);
}

int multiboot_load(struct guest_mem *mem, const struct boot_config *config,
		   struct x86_state *bsp, struct err *err)
{
	struct boot_range modules[BOOT_MAX_MODULES];
	struct loaded loaded = {0};
	int ret = load_image(mem, &config->kernel, &loaded, err);

	if (!ret)
		ret = put_cmdline(mem, config, err);
	if (!ret)
		ret = boot_place_modules(mem, config, loaded.end, modules, err);
	if (!ret)
		ret = put_info(mem, config, modules, err);
	if (!ret)
		ret = boot_state_protected(mem, bsp, loaded.entry, err);
	if (ret)
		return ret;
	bsp->gpr[X86_RAX] = MB_LOADER_MAGIC;
	bsp->gpr[X86_RBX] = BOOT_START_INFO;
	return 0;
}
