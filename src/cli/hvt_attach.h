/* SPDX-License-Identifier: Apache-2.0 */
/* Back ends for the devices of a Solo5 image, as the command line names them.
 */
#pragma once

#include "board/hvt.h"

struct hvt_attach_list {
	struct board_hvt_attach items[HVT_ENTRIES_MAX - 1];
	unsigned count;
};

/*
 * The one of that type whose name is text's first `len` bytes, new if need be.
 * NULL with err set: too long a name, too many devices.
 */
struct board_hvt_attach *hvt_attach_get(struct hvt_attach_list *list, u32 type,
					const char *text, size_t len,
					struct err *err);

/* Strings point into argv. -EINVAL. */
int hvt_attach_target(struct board_hvt_attach *a, const char *target,
		      struct err *err);
int hvt_attach_block_size(struct board_hvt_attach *a, const char *text,
			  struct err *err);
int hvt_attach_mac(struct board_hvt_attach *a, const char *text,
		   struct err *err);

/* `vireo run`: NAME=FILE[,block-size=N] and NAME=tap=IF[,mac=ADDRESS]. Cuts
 * `text` at its commas. */
int hvt_attach_block_option(struct hvt_attach_list *list, char *text,
			    struct err *err);
int hvt_attach_net_option(struct hvt_attach_list *list, char *text,
			  struct err *err);
