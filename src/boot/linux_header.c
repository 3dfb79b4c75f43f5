/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Linux/x86 setup header of a bzImage, and the zero page (boot_params)
 * that a loader makes of it.
 *
 * References: [1] Linux, Documentation/arch/x86/boot.rst, "The Real-Mode
 *                 Kernel Header" and "Details of Header Fields".
 *             [2] Linux, Documentation/arch/x86/zero-page.rst.
 *
 * Deliberately not there: zImage (loaded low), protocols before 2.10 (Linux
 * 2.6.31), setup_data, EFI handover.
 */
#include "boot/linux.h"

#include <errno.h>
#include <string.h>

#include "arch/x86.h"

/* [1] offsets of header fields, in the file and in the zero page alike */
enum linux_header {
	HDR_SETUP_SECTS = 0x1f1,
	HDR_SYSSIZE = 0x1f4,
	HDR_VID_MODE = 0x1fa,
	HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP_LEN = 0x201,
	HDR_MAGIC = 0x202,
	HDR_VERSION = 0x206,
	HDR_LOADER = 0x210,
	HDR_LOADFLAGS = 0x211,
	HDR_CODE32_START = 0x214,
	HDR_RAMDISK_IMAGE = 0x218,
	HDR_RAMDISK_SIZE = 0x21c,
	HDR_CMDLINE_PTR = 0x228,
	HDR_INITRD_MAX = 0x22c,
	HDR_ALIGNMENT = 0x230,
	HDR_RELOCATABLE = 0x234,
	HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238,
	HDR_PAYLOAD_OFFSET = 0x248,
	HDR_PAYLOAD_LENGTH = 0x24c,
	HDR_PREF_ADDRESS = 0x258,
	HDR_INIT_SIZE = 0x260,
	HDR_END_2_10 = 0x264,
	HDR_END_MAX = LINUX_HEADER_LEN, /* [2] other fields follow */
};
enum linux_header_value {
	BOOT_FLAG = 0xaa55,
	VERSION_2_10 = 0x20a,
	VERSION_2_12 = 0x20c,
	LOADED_HIGH = 1 << 0,
	KASLR_FLAG = 1 << 1,
	QUIET_FLAG = 1 << 5,
	XLF_KERNEL_64 = 1 << 0,
	VID_MODE_NORMAL = 0xffff,
	LOADER_UNDEFINED = 0xff,
	SECTOR = 512,
};

_Static_assert(LINUX_HEADER_2_10 == HDR_END_2_10 - HDR_MAGIC, "[1]");

/* [2] */
enum zero_page {
	ZP_ACPI_RSDP = 0x70,
	ZP_E820_COUNT = 0x1e8,
	ZP_E820_TABLE = 0x2d0,
	ZP_SIZE = 4096,
};

static void put16(u8 *page, unsigned off, u16 val)
{
	memcpy(page + off, &val, sizeof(val));
}

static void put32(u8 *page, unsigned off, u64 val)
{
	u32 low = (u32)val;

	memcpy(page + off, &low, sizeof(low));
}

bool linux_is(const struct boot_file *file)
{
	return file->len >= HDR_VERSION &&
	       boot_le16(file->data + HDR_BOOT_FLAG) == BOOT_FLAG &&
	       !memcmp(file->data + HDR_MAGIC, "HdrS", 4);
}

static int check_header(const struct linux_image *image, struct err *err)
{
	const u8 *p = image->file->data;
	const char *name = image->file->name;

	if (image->version < VERSION_2_10)
		return err_set(err, -ENOTSUP,
			       "%s speaks Linux boot protocol %u.%u, at least "
			       "2.10 is needed",
			       name, image->version >> 8,
			       image->version & 0xff);
	if (HDR_MAGIC + image->header_end < HDR_END_2_10 ||
	    HDR_MAGIC + image->header_end > HDR_END_MAX)
		return err_set(err, -EINVAL,
			       "%s: a setup header of %u bytes cannot be", name,
			       image->header_end);
	if (!(p[HDR_LOADFLAGS] & LOADED_HIGH))
		return err_set(err, -ENOTSUP,
			       "%s is a zImage, which loads below 1 MiB; a "
			       "bzImage is needed",
			       name);
	if (!image->init_size)
		return err_set(err, -EINVAL,
			       "%s: the setup header says that the kernel "
			       "needs no memory",
			       name);
	if (image->relocatable &&
	    (!image->align || image->align & (image->align - 1)))
		return err_set(err, -EINVAL,
			       "%s: kernel alignment %#x is no power of two",
			       name, image->align);
	return 0;
}

/* Where the protected-mode code lies in the file. */
static int find_code(struct linux_image *image, struct err *err)
{
	const struct boot_file *file = image->file;
	unsigned sectors = file->data[HDR_SETUP_SECTS];
	u64 setup = (1u + (sectors ? sectors : 4u)) * SECTOR;
	u64 size = (u64)boot_le32(file->data + HDR_SYSSIZE) * 16;

	if (file->len <= setup)
		return err_set(err, -EINVAL,
			       "%s is cut off: %lu bytes, the setup code "
			       "alone has %lu",
			       file->name, file->len, setup);
	image->code = file->data + setup;
	image->code_len = file->len - setup;
	/* The size is in paragraphs, rounded up. */
	if (!size || size > align_up(image->code_len, 16))
		return err_set(err, -EINVAL,
			       "%s is cut off: the kernel has %lu bytes, its "
			       "header says %lu",
			       file->name, image->code_len, size);
	image->code_len = min_u64(image->code_len, size);
	return 0;
}

/* [1] payload_offset, payload_length. The last 4 bytes hold its true size. */
static int find_payload(struct linux_image *image, struct err *err)
{
	const struct boot_file *file = image->file;
	u32 off = boot_le32(file->data + HDR_PAYLOAD_OFFSET);
	u32 len = boot_le32(file->data + HDR_PAYLOAD_LENGTH);

	if (!len)
		return 0;
	if (off > image->code_len || len > image->code_len - off || len < 8)
		return err_set(err, -EINVAL,
			       "%s: the packed kernel at %#x, %#x bytes, "
			       "reaches beyond the file's %#lx",
			       file->name, off, len, image->code_len);
	image->payload = image->code + off;
	image->payload_len = len - 4;
	image->payload_out_len = boot_le32(image->payload + len - 4);
	return 0;
}

int linux_parse(struct linux_image *image, const struct boot_file *file,
		struct err *err)
{
	const u8 *p = file->data;
	int ret;

	if (file->len < HDR_END_MAX)
		return err_set(err, -EINVAL,
			       "%s is cut off inside the setup header (%lu "
			       "bytes)",
			       file->name, file->len);
	*image = (struct linux_image){
		.file = file,
		.version = boot_le16(p + HDR_VERSION),
		.header_end = p[HDR_JUMP_LEN],
		.relocatable = p[HDR_RELOCATABLE],
		.align = boot_le32(p + HDR_ALIGNMENT),
		.init_size = boot_le32(p + HDR_INIT_SIZE),
		.cmdline_max = boot_le32(p + HDR_CMDLINE_SIZE),
		.initrd_max = boot_le32(p + HDR_INITRD_MAX),
		.pref = boot_le64(p + HDR_PREF_ADDRESS),
	};
	if (image->version >= VERSION_2_12)
		image->entry_64 = boot_le16(p + HDR_XLOADFLAGS) & XLF_KERNEL_64;
	ret = check_header(image, err);
	if (!ret)
		ret = find_code(image, err);
	if (!ret)
		ret = find_payload(image, err);
	return ret;
}

/*
 * What a bzImage with nothing to unpack would say: for kernels that are ELF
 * files, which have no setup header.
 */
void linux_make_header(u8 header[LINUX_HEADER_LEN], u64 cmdline_len)
{
	memset(header, 0, LINUX_HEADER_LEN);
	put16(header, HDR_BOOT_FLAG, BOOT_FLAG);
	header[HDR_JUMP_LEN] = LINUX_HEADER_2_10;
	memcpy(header + HDR_MAGIC, "HdrS", 4);
	put16(header, HDR_VERSION, VERSION_2_12);
	put16(header, HDR_XLOADFLAGS, XLF_KERNEL_64);
	put32(header, HDR_INITRD_MAX, LINUX_INITRD_MAX);
	/* Unikraft takes what a kernel can take for what it was given. */
	put32(header, HDR_CMDLINE_SIZE, cmdline_len + 1);
}

/* ---- zero page --------------------------------------------------------- */

int linux_zero_page(struct guest_mem *mem, const struct linux_image *image,
		    const struct boot_config *config,
		    const struct boot_range *initrd, struct err *err)
{
	const u8 *p = image->file->data;
	struct boot_e820 map[BOOT_E820_MAX];
	unsigned count = boot_e820(mem, map);
	u8 page[ZP_SIZE] = {0};

	/* [1] "64-bit Boot Protocol": zeroes, then the header as it is. */
	memcpy(page + HDR_SETUP_SECTS, p + HDR_SETUP_SECTS,
	       HDR_MAGIC + image->header_end - HDR_SETUP_SECTS);
	put16(page, HDR_VID_MODE, VID_MODE_NORMAL);
	page[HDR_LOADER] = LOADER_UNDEFINED;
	page[HDR_LOADFLAGS] = LOADED_HIGH | (p[HDR_LOADFLAGS] & QUIET_FLAG) |
			      (image->kaslr ? KASLR_FLAG : 0);
	put32(page, HDR_CODE32_START, image->pref);
	put32(page, HDR_CMDLINE_PTR, BOOT_CMDLINE);
	/* Everything lies below 4 GiB: the ext_ halves stay zero. */
	if (initrd->end > initrd->start) {
		put32(page, HDR_RAMDISK_IMAGE, initrd->start);
		put32(page, HDR_RAMDISK_SIZE, initrd->end - initrd->start);
	}
	memcpy(page + ZP_ACPI_RSDP, &config->acpi_rsdp, sizeof(u64));
	page[ZP_E820_COUNT] = (u8)count;
	memcpy(page + ZP_E820_TABLE, map, count * sizeof(map[0]));
	return boot_put(mem, BOOT_ZERO_PAGE, page, sizeof(page), err);
}
