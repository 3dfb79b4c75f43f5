/* SPDX-License-Identifier: Apache-2.0 */
/* Which loader an image needs, by the image's own words. */
#include <errno.h>

#include "boot/linux.h"
#include "boot/multiboot.h"
#include "boot/pvh.h"

static int check_files(const struct guest_mem *mem,
		       const struct boot_config *config, struct err *err)
{
	if (config->module_count > BOOT_MAX_MODULES)
		return err_set(err, -EINVAL, "%u modules, at most %d go",
			       config->module_count, BOOT_MAX_MODULES);
	if (config->initrd_tail.len && !config->module_count)
		return err_set(err, -EINVAL,
			       "an initrd tail needs an initrd before it");
	/* Files come in whole: sums of a few of them cannot wrap. */
	for (unsigned i = 0; i < config->module_count; i++)
		if (config->modules[i].len > MEM_MAX_RAM)
			return err_set(err, -E2BIG, "%s is too big",
				       config->modules[i].name);
	if (config->initrd_tail.len > MEM_MAX_RAM)
		return err_set(err, -E2BIG, "%s is too big",
			       config->initrd_tail.name);
	if (mem_low_end(mem) <= MIB(1))
		return err_set(err, -EINVAL,
			       "no kernel fits into %lu KiB; give the guest "
			       "more memory",
			       mem_low_end(mem) >> 10);
	return 0;
}

int boot_load(struct guest_mem *mem, const struct boot_config *config,
	      struct x86_state *bsp, struct err *err)
{
	const struct boot_file *kernel = &config->kernel;
	int ret = check_files(mem, config, err);

	if (ret)
		return ret;
	if (linux_is(kernel))
		return linux_load(mem, config, bsp, err);
	if (pvh_is(kernel))
		return pvh_load(mem, config, bsp, err);
	if (multiboot_is(kernel))
		return multiboot_load(mem, config, bsp, err);
	if (elf_is(kernel->data, kernel->len))
		return linux_load_elf(mem, config, bsp, err);
	return err_set(err, -EINVAL,
		       "%s is no kernel that Vireo can start (Linux bzImage, "
		       "ELF with a PVH note, multiboot, ELF64)",
		       kernel->name);
}
