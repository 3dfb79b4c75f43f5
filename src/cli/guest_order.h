/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order to the default guest: what to run, as vireo/guest.h defines it,
 * packed into a small archive that goes behind the initramfs.
 */
#pragma once

#include "cli/guest_modules.h"
#include "util/err.h"
#include "util/types.h"

struct guest_order {
	char *const *argv;	/* NULL or empty: a shell */
	const char *const *env; /* "NAME=value", NULL-terminated; may be NULL */
	bool tty;
	unsigned rows, cols;	/* 0: unknown */
	const char *err_device; /* NULL: with standard output */
	u16 exit_port;
	u16 ready_port;			     /* 0: none */
	const struct guest_modules *modules; /* NULL: none */
};

/* The archive, to be freed by the caller. -ENOMEM. */
int guest_order_pack(const struct guest_order *order, u8 **data, size_t *len,
		     struct err *err);
