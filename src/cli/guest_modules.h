/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules of the default guest's kernel that its devices need. They lie beside
 * the kernel, a file each, and travel with the order (vireo/guest.h).
 */
#pragma once

#include "cli/host_file.h"
#include "util/types.h"

#define GUEST_MAX_MODULES 16

struct guest_modules {
	const char *names[GUEST_MAX_MODULES]; /* in the order of loading */
	struct host_file files[GUEST_MAX_MODULES];
	unsigned count;
};

/*
 * For devices "TYPE,OPTIONS", from this folder. Drivers that a kernel has
 * built in, or does without, are not there and left out. Cannot fail.
 */
void guest_modules_load(struct guest_modules *modules, const char *folder,
			const char *const *devices, unsigned count);
void guest_modules_free(struct guest_modules *modules);
