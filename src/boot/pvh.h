/* SPDX-License-Identifier: Apache-2.0 */
/* The protocols that start an ELF or flat image in 32-bit mode. */
#pragma once

#include "boot/elf.h"

/* Has the ELF file a PVH entry note? */
bool pvh_is(const struct boot_file *file);
int pvh_load(struct guest_mem *mem, const struct boot_config *config,
	     struct x86_state *bsp, struct err *err);
