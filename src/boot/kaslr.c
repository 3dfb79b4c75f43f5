/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address randomization of an unpacked Linux kernel.
 *
 * Behind the kernel's ELF file lie tables of 32-bit words, each the
 * sign-extended link address of a place to change, each table preceded by a
 * zero word ([1]):
 *
 *     0, 64-bit places, [0, 32-bit places to subtract from,] 0, 32-bit places
 *
 * Kernels since 6.15 have no table of places to subtract from.
 *
 * References: [1] Linux, arch/x86/boot/compressed/misc.c, handle_relocations,
 *                 and arch/x86/tools/relocs.c (the format).
 *             [2] Linux, Documentation/arch/x86/x86_64/mm.rst (1 GiB of
 *                 kernel text mapping from 0xffffffff80000000).
 *
 * Deliberately not there: slots above 4 GiB; avoiding "mem=" and "memmap="
 * ranges, which only the guest's own unpacker reads.
 */
#include "boot/linux.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "util/log.h"

#define KERNEL_MAP 0xffffffff80000000ull /* [2] */
#define KERNEL_MAP_SIZE GIB(1)
#define SLOT_MIN MIB(2) /* a large page: what startup_64 can move by */

/* A slot in [0, count); the bias of 2^64 mod count is below 2^-32. */
static int random_slot(u64 count, u64 *slot, struct err *err)
{
	u64 val;

	if (getrandom(&val, sizeof(val), 0) != sizeof(val))
		return err_set(err, -errno, "getrandom: %s", strerror(errno));
	*slot = val % count;
	return 0;
}

int kaslr_choose(struct kaslr *kaslr, const struct linux_image *image,
		 gpa_t end, struct err *err)
{
	u64 align = max_u64(image->align, SLOT_MIN);
	u64 top = image->pref + image->init_size;
	u64 slot;
	int ret;

	*kaslr = (struct kaslr){0};
	if (top > KERNEL_MAP_SIZE || image->pref % align || end < top)
		return 0; /* no room to move */
	ret = random_slot((end - top) / align + 1, &slot, err);
	if (ret)
		return ret;
	kaslr->shift = slot * align;
	ret = random_slot((KERNEL_MAP_SIZE - top) / align + 1, &slot, err);
	if (!ret)
		kaslr->delta = slot * align;
	return ret;
}

/* The loaded kernel, as the tables speak of it. */
struct target {
	u8 *host;
	u64 start, len; /* link addresses, physical */
	u64 delta;
};

enum reloc_kind { RELOC_64, RELOC_32, RELOC_32_NEG };

/* False if the place is outside of the kernel. */
static bool relocate(const struct target *t, enum reloc_kind kind, u32 word)
{
	u64 width = kind == RELOC_64 ? 8 : 4;
	u64 off = (u64)(s64)(s32)word - KERNEL_MAP - t->start;
	u64 val = 0;

	if (off >= t->len || t->len - off < width)
		return false;
	memcpy(&val, t->host + off, width);
	val += kind == RELOC_32_NEG ? -t->delta : t->delta;
	memcpy(t->host + off, &val, width);
	return true;
}

/* 3 or 2 tables, told by their zero words; 0: not the format we know. */
static unsigned count_tables(const struct kaslr *kaslr)
{
	unsigned zeros = 0;

	if (kaslr->table_len < 4 || kaslr->table_len % 4 ||
	    boot_le32(kaslr->table))
		return 0;
	for (u64 off = 0; off < kaslr->table_len; off += 4)
		zeros += !boot_le32(kaslr->table + off);
	return zeros == 2 || zeros == 3 ? zeros : 0;
}

int kaslr_relocate(const struct kaslr *kaslr, const struct elf_image *elf,
		   struct guest_mem *mem, bool *done, struct err *err)
{
	static const enum reloc_kind kinds[2][3] = {
		{RELOC_64, RELOC_32},
		{RELOC_64, RELOC_32_NEG, RELOC_32},
	};
	unsigned tables = count_tables(kaslr), table = 0;
	struct target t = {
		.start = elf->span.start,
		.len = elf->span.end - elf->span.start,
		.delta = kaslr->delta,
	};

	*done = false;
	if (!tables) {
		log_msg(LOG_WARN, "the kernel has no relocations that Vireo "
				  "knows: it runs where it was linked");
		return 0;
	}
	t.host = mem_ptr(mem, t.start + kaslr->shift, t.len);
	if (!t.host)
		return err_set(err, -EFAULT, "the kernel is not in RAM");
	for (u64 off = 4; off < kaslr->table_len; off += 4) {
		u32 word = boot_le32(kaslr->table + off);

		if (!word)
			table++;
		else if (!relocate(&t, kinds[tables - 2][table], word))
			return err_set(err, -EINVAL,
				       "a relocation of the kernel points "
				       "outside of it (%#x)",
				       word);
	}
	*done = true;
	return 0;
}
