/* SPDX-License-Identifier: Apache-2.0 */
/* Multiboot 1 images. Sibling files only. */
#pragma once

#include "boot/elf.h"

/* Has the file a valid multiboot header in its first 8 KiB? */
bool multiboot_is(const struct boot_file *file);
int multiboot_load(struct guest_mem *mem, const struct boot_config *config,
		   struct x86_state *bsp, struct err *err);
