/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PVH: an ELF image with a note that names its 32-bit entry point.
 *
 * References: [1] Xen, docs/misc/pvh.pandoc (state at entry).
 *             [2] Xen, public/arch-x86/hvm/start_info.h (the structures).
 *             [3] Xen, public/elfnote.h (XEN_ELFNOTE_PHYS32_ENTRY).
 */
#include "boot/pvh.h"

#include <errno.h>
#include <string.h>

#define PVH_NOTE_NAME "Xen"
#define PVH_NOTE_ENTRY 18 /* [3] */
#define PVH_MAGIC 0x336ec578u
#define PVH_VERSION 1

/* [2] */
struct pvh_start_info {
	u32 magic, version, flags, module_count;
	u64 modules, cmdline, rsdp;
	u64 map; /* since version 1 */
	u32 map_count, reserved;
};
struct pvh_module {
	u64 start, size, cmdline, reserved;
};
struct pvh_map_entry {
	u64 addr, size;
	u32 type, reserved;
};
_Static_assert(sizeof(struct pvh_start_info) == 56, "[2]");
_Static_assert(sizeof(struct pvh_module) == 32, "[2]");
_Static_assert(sizeof(struct pvh_map_entry) == 24, "[2]");

/* What lies at BOOT_START_INFO. */
struct pvh_block {
	struct pvh_start_info info;
	struct pvh_module modules[BOOT_MAX_MODULES];
	struct pvh_map_entry map[BOOT_E820_MAX];
};
_Static_assert(BOOT_START_INFO + sizeof(struct pvh_block) <= BOOT_ZERO_PAGE,
	       "room below the next structure");

/* The note's value is 4 bytes; some linkers' scripts make it 8. */
static bool find_entry(const struct elf_image *elf,
		       const struct boot_file *file, gpa_t *entry)
{
	u32 len;
	const u8 *desc =
		elf_note(elf, file, PVH_NOTE_NAME, PVH_NOTE_ENTRY, &len);

	if (!desc || (len != 4 && len != 8))
		return false;
	*entry = len == 4 ? boot_le32(desc) : boot_le64(desc);
	return true;
}

bool pvh_is(const struct boot_file *file)
{
	struct elf_image elf;
	gpa_t entry;

	return !elf_parse(&elf, file, file->len, NULL) &&
	       find_entry(&elf, file, &entry);
}

static int put_start_info(struct guest_mem *mem,
			  const struct boot_config *config,
			  const struct boot_range *modules, struct err *err)
{
	struct boot_e820 map[BOOT_E820_MAX];
	unsigned count = boot_e820(mem, map);
	struct pvh_block block = {
		.info =
			{
				.magic = PVH_MAGIC,
				.version = PVH_VERSION,
				.module_count = config->module_count,
				.cmdline = BOOT_CMDLINE,
				.rsdp = config->acpi_rsdp,
				.map = BOOT_START_INFO +
				       offsetof(struct pvh_block, map),
				.map_count = count,
			},
	};

	if (config->module_count)
		block.info.modules =
			BOOT_START_INFO + offsetof(struct pvh_block, modules);
	for (unsigned i = 0; i < config->module_count; i++) {
		block.modules[i].start = modules[i].start;
		block.modules[i].size = modules[i].end - modules[i].start;
	}
	for (unsigned i = 0; i < count; i++)
		block.map[i] = (struct pvh_map_entry){map[i].addr, map[i].size,
						      map[i].type, 0};
	return boot_put(mem, BOOT_START_INFO, &block, sizeof(block), err);
}

int pvh_load(struct guest_mem *mem, const struct boot_config *config,
	     struct x86_state *bsp, struct err *err)
{
	const struct boot_file *file = &config->kernel;
	const struct elf_chunk whole = {file->data, 0, file->len};
	struct boot_range modules[BOOT_MAX_MODULES];
	struct elf_image elf;
	gpa_t entry = 0;
	int ret = elf_parse(&elf, file, file->len, err);

	if (ret)
		return ret;
	if (!find_entry(&elf, file, &entry))
		return err_set(err, -EINVAL, "%s has no PVH entry note",
			       file->name);
	if (entry < elf.span.start || entry >= elf.span.end)
		return err_set(err, -EINVAL,
			       "%s: the PVH entry point %#lx is in none of "
			       "its segments",
			       file->name, entry);
	ret = elf_check_room(&elf, mem, 0, err);
	if (!ret)
		ret = boot_put_cmdline(mem, config->cmdline, BOOT_CMDLINE_ROOM,
				       err);
	if (!ret)
		ret = elf_place(&elf, mem, &whole, 0, err);
	if (!ret)
		ret = boot_place_modules(mem, config, elf.span.end, modules,
					 err);
	if (!ret)
		ret = put_start_info(mem, config, modules, err);
	if (!ret)
		ret = boot_state_protected(mem, bsp, entry, err);
	if (!ret)
		bsp->gpr[X86_RBX] = BOOT_START_INFO;
	return ret;
}
