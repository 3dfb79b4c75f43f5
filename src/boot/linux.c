/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux from an unmodified bzImage.
 *
 * The packed kernel inside is unpacked here, at native speed, to the ELF file
 * that it is, and entered where the image's own unpacker would enter it. What
 * cannot be unpacked here (no payload announced, an unknown compression, a
 * 32-bit kernel) is loaded whole and unpacks itself in the guest. An ELF file
 * that offers no other protocol gets the same zero page.
 *
 * References: [1] Linux, Documentation/arch/x86/boot.rst, "32-bit Boot
 *                 Protocol", "64-bit Boot Protocol".
 *
 * Deliberately not there: loading above 4 GiB, the 16-bit entry.
 */
#include "boot/linux.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/unpack.h"

/* [1] the 64-bit entry lies this far behind the 32-bit one */
#define ENTRY_64 0x200
#define PAGE 4096
#define RELOCS_MAX MIB(16)

struct load {
	struct guest_mem *mem;
	const struct boot_config *config;
	struct boot_range initrd; /* empty at the end of its range: none */
};

/* ---- memory ------------------------------------------------------------ */

static int check_room(const struct linux_image *image,
		      const struct guest_mem *mem, struct err *err)
{
	u64 need = max_u64(image->init_size, image->code_len);
	u64 low = mem_low_end(mem);

	if (image->pref < MIB(1) || image->pref >= GIB(4))
		return err_set(err, -EINVAL,
			       "%s wants to lie at %#lx, outside of "
			       "1 MiB..4 GiB",
			       image->file->name, image->pref);
	if (image->pref + need > low)
		return err_set(err, -E2BIG,
			       "%s needs RAM up to %lu MiB, the guest has "
			       "%lu MiB below 4 GiB",
			       image->file->name,
			       (image->pref + need + MIB(1) - 1) >> 20,
			       low >> 20);
	return 0;
}

/* As high as the kernel allows, away from where it unpacks and allocates. */
static int place_initrd(struct load *load, const struct linux_image *image,
			struct err *err)
{
	const struct boot_config *config = load->config;
	u64 end = min_u64(mem_low_end(load->mem), (u64)image->initrd_max + 1);
	u64 kernel_end =
		image->pref + max_u64(image->init_size, image->code_len);
	u64 len = config->module_count ? boot_module_size(config, 0) : 0;

	load->initrd = (struct boot_range){end, end};
	if (config->module_count > 1)
		return err_set(err, -EINVAL,
			       "Linux takes one initrd, %u modules were given",
			       config->module_count);
	if (!len)
		return 0;
	end &= ~(u64)(PAGE - 1);
	if (kernel_end > end || len > end - kernel_end ||
	    ((end - len) & ~(u64)(PAGE - 1)) < kernel_end)
		return err_set(err, -E2BIG,
			       "the initrd (%s) has %lu bytes, only %lu are "
			       "free behind the kernel; give the guest more "
			       "memory",
			       config->modules[0].name, len,
			       kernel_end < end ? end - kernel_end : 0);
	load->initrd.start = (end - len) & ~(u64)(PAGE - 1);
	load->initrd.end = load->initrd.start + len;
	return boot_place_module(load->mem, config, 0, load->initrd.start, err);
}

/* ---- unpacking --------------------------------------------------------- */

/* The kernel's ELF file as it comes out of a decompressor. */
struct kernel_sink {
	struct unpack_sink sink; /* first */
	struct guest_mem *mem;
	struct linux_image *image;
	struct elf_image elf;
	struct kaslr kaslr;
	u8 *relocs; /* NULL: not wanted */
	u64 relocs_room, relocs_len;
};

static int start_elf(struct kernel_sink *k, const u8 *data, u64 len,
		     struct err *err)
{
	const struct boot_file head = {data, len, k->image->file->name};
	const struct linux_image *image = k->image;
	int ret = elf_parse(&k->elf, &head, k->sink.limit, err);

	if (ret)
		return ret;
	if (!k->elf.is_64 || k->elf.span.start < image->pref ||
	    k->elf.span.end > image->pref + image->init_size)
		return err_set(err, -EINVAL,
			       "%s: the kernel inside lies at %#lx..%#lx, its "
			       "header says %#lx..%#lx",
			       head.name, k->elf.span.start, k->elf.span.end,
			       image->pref, image->pref + image->init_size);
	return elf_check_room(&k->elf, k->mem, k->kaslr.shift, err);
}

/* What follows the ELF file are the relocations. */
static void keep_relocs(struct kernel_sink *k, const u8 *data, u64 len)
{
	u64 from = max_u64(k->elf.sections, k->sink.total);
	u64 end = k->sink.total + len;

	if (!k->relocs || from >= end ||
	    end - from > k->relocs_room - k->relocs_len)
		return;
	memcpy(k->relocs + k->relocs_len, data + (from - k->sink.total),
	       end - from);
	k->relocs_len += end - from;
}

static int write_kernel(struct unpack_sink *sink, const u8 *data, u64 len,
			struct err *err)
{
	struct kernel_sink *k = container_of(sink, struct kernel_sink, sink);
	const struct elf_chunk chunk = {data, sink->total, len};
	int ret = sink->total ? 0 : start_elf(k, data, len, err);

	if (ret)
		return ret;
	keep_relocs(k, data, len);
	return elf_place(&k->elf, k->mem, &chunk, k->kaslr.shift, err);
}

static int randomize(struct kernel_sink *k, struct err *err)
{
	k->kaslr.table = k->relocs;
	k->kaslr.table_len = k->relocs_len;
	return kaslr_relocate(&k->kaslr, &k->elf, k->mem, &k->image->kaslr,
			      err);
}

static int unpack_kernel(struct kernel_sink *k,
			 const struct unpack_format *format, gpa_t *entry,
			 struct err *err)
{
	const struct linux_image *image = k->image;
	int ret;

	if (image->payload_out_len > image->init_size)
		return err_set(err, -EINVAL,
			       "%s: the kernel would unpack to %lu bytes, its "
			       "header grants %u",
			       image->file->name, image->payload_out_len,
			       image->init_size);
	ret = format->unpack(image->payload,
			     image->payload_len + format->length_inside,
			     &k->sink, err);
	if (ret)
		return ret;
	if (k->sink.total != image->payload_out_len)
		return err_set(err, -EINVAL,
			       "%s: the kernel unpacks to %lu bytes, its "
			       "trailer says %lu",
			       image->file->name, k->sink.total,
			       image->payload_out_len);
	ret = elf_check_length(&k->elf, k->sink.total, err);
	if (!ret && k->relocs)
		ret = randomize(k, err);
	if (!ret)
		ret = elf_entry(&k->elf, entry, err);
	if (!ret)
		*entry += k->kaslr.shift;
	return ret;
}

static bool has_word(const char *text, const char *word)
{
	u64 len = strlen(word);

	for (const char *p = text; p && (p = strstr(p, word)); p += len)
		if ((p == text || p[-1] == ' ') && (!p[len] || p[len] == ' '))
			return true;
	return false;
}

static int load_unpacked(const struct load *load, struct linux_image *image,
			 gpa_t *entry, struct err *err)
{
	struct kernel_sink k = {
		.sink = {image->payload_out_len, 0, write_kernel},
		.mem = load->mem,
		.image = image,
	};
	int ret = 0;

	if (load->config->kaslr && image->relocatable &&
	    !has_word(load->config->cmdline, "nokaslr")) {
		ret = kaslr_choose(&k.kaslr, image, load->initrd.start, err);
		k.relocs_room = min_u64(image->payload_out_len, RELOCS_MAX);
		k.relocs = malloc(k.relocs_room);
		if (!k.relocs)
			ret = err_set(err, -ENOMEM, "no memory for kaslr");
	}
	if (!ret)
		ret = unpack_kernel(
			&k, unpack_find(image->payload, image->payload_len),
			entry, err);
	free(k.relocs);
	return ret;
}

/* ---- the whole --------------------------------------------------------- */

static int load_kernel(const struct load *load, struct linux_image *image,
		       gpa_t *entry, struct err *err)
{
	if (image->entry_64 && image->payload &&
	    unpack_find(image->payload, image->payload_len))
		return load_unpacked(load, image, entry, err);
	*entry = image->pref + (image->entry_64 ? ENTRY_64 : 0);
	return boot_place(load->mem, image->pref, image->code, image->code_len,
			  err);
}

int linux_load(struct guest_mem *mem, const struct boot_config *config,
	       struct x86_state *bsp, struct err *err)
{
	struct load load = {.mem = mem, .config = config};
	struct linux_image image;
	gpa_t entry = 0;
	int ret = linux_parse(&image, &config->kernel, err);

	if (!ret)
		ret = check_room(&image, mem, err);
	if (!ret)
		ret = boot_put_cmdline(mem, config->cmdline, image.cmdline_max,
				       err);
	if (!ret)
		ret = place_initrd(&load, &image, err);
	if (!ret)
		ret = load_kernel(&load, &image, &entry, err);
	if (!ret)
		ret = linux_zero_page(mem, &image, config, &load.initrd, err);
	if (ret)
		return ret;
	ret = image.entry_64 ? boot_state_long(mem, bsp, entry, err)
			     : boot_state_protected(mem, bsp, entry, err);
	bsp->gpr[X86_RSI] = BOOT_ZERO_PAGE;
	return ret;
}

/* ---- ELF files --------------------------------------------------------- */

static int check_elf(const struct elf_image *elf, const struct boot_file *file,
		     struct err *err)
{
	if (!elf->is_64)
		return err_set(err, -EINVAL,
			       "%s has neither a PVH note nor a multiboot "
			       "header: no way to start a 32-bit ELF file",
			       file->name);
	if (elf->span.start < MIB(1))
		return err_set(err, -EINVAL,
			       "%s wants to lie at %#lx, below 1 MiB",
			       file->name, elf->span.start);
	return 0;
}

int linux_load_elf(struct guest_mem *mem, const struct boot_config *config,
		   struct x86_state *bsp, struct err *err)
{
	const char *cmdline = config->cmdline ? config->cmdline : "";
	const struct boot_file *file = &config->kernel;
	const struct elf_chunk whole = {file->data, 0, file->len};
	struct load load = {.mem = mem, .config = config};
	u8 header[LINUX_HEADER_LEN];
	const struct boot_file header_file = {header, sizeof(header),
					      file->name};
	struct linux_image image;
	struct elf_image elf;
	gpa_t entry = 0;
	int ret = elf_parse(&elf, file, file->len, err);

	if (!ret)
		ret = check_elf(&elf, file, err);
	if (!ret)
		ret = elf_check_room(&elf, mem, 0, err);
	if (!ret)
		ret = elf_entry(&elf, &entry, err);
	if (!ret)
		ret = boot_put_cmdline(mem, cmdline, BOOT_CMDLINE_ROOM, err);
	if (ret)
		return ret;
	linux_make_header(header, strlen(cmdline));
	image = (struct linux_image){
		.file = &header_file,
		.header_end = LINUX_HEADER_2_10,
		.entry_64 = true,
		.pref = elf.span.start,
		.init_size = (u32)(elf.span.end - elf.span.start),
		.initrd_max = LINUX_INITRD_MAX,
	};
	ret = place_initrd(&load, &image, err);
	if (!ret)
		ret = elf_place(&elf, mem, &whole, 0, err);
	if (!ret)
		ret = linux_zero_page(mem, &image, config, &load.initrd, err);
	if (!ret)
		ret = boot_state_long(mem, bsp, entry, err);
	bsp->gpr[X86_RSI] = BOOT_ZERO_PAGE;
	return ret;
}
