/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board of Solo5 hvt images, for a VM without interrupt chips
 * (VM_IRQCHIP_NONE) of a multiple of HVT_MEM_STEP.
 */
#pragma once

#include "boot/hvt.h"

struct device;
struct vm;

/* A back end for the device that the manifest calls `name`. */
struct board_hvt_attach {
	char name[HVT_NAME_SIZE];
	u32 type;	    /* enum hvt_entry_type */
	const char *target; /* file, or interface or "@FD"; NULL: none yet */
	u16 block_size;	    /* power of two from 512; 0: 512 */
	bool has_mac;
	u8 mac[6];
};

struct board_hvt_config {
	struct hvt_image *image; /* its entries are filled in */
	const struct board_hvt_attach *attach;
	unsigned attach_count;
};

/*
 * Opens the back ends; -EINVAL for one too many or too few, -errno for one
 * that cannot be had. On failure vm is only good for vm_destroy().
 */
int board_hvt(struct vm *vm, const struct board_hvt_config *config,
	      struct device **calls, struct err *err);
