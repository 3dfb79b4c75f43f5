/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the default guest lies. Looked for in this order, a kernel "vmlinuz"
 * and an "initramfs.cpio" each on its own:
 *
 *   $VIREO_GUEST_DIR            only there, if it is set
 *   guest/ beside the program   the build tree
 *   $XDG_CACHE_HOME/vireo       ~/.cache/vireo where that is not set
 *   ../share/vireo              from the program's folder, an installation
 *   /boot/vmlinuz-*             kernel only, the newest that can be read
 *
 * Modules are for the kernel beside which they lie.
 */
#pragma once

#include <limits.h>

#include "util/err.h"
#include "util/types.h"

struct guest_paths {
	char kernel[PATH_MAX];
	char initramfs[PATH_MAX];
	char modules[PATH_MAX]; /* the kernel's, a folder; "": none */
};

/* -ENOENT with what to do about it in err. The kernel may be not wanted. */
int guest_find(struct guest_paths *paths, bool want_kernel, struct err *err);
