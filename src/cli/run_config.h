/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vireo run`, second step: options that fit together, files that exist and
 * are in memory, the command line and the order to the guest written. What a
 * VM is built from, nothing of the VM itself.
 */
#pragma once

#include "boot/boot.h"
#include "cli/guest_find.h"
#include "cli/host_file.h"
#include "cli/run_options.h"

enum run_ports {
	RUN_EXIT_PORT = 0x5f4,	/* the default guest's status */
	RUN_READY_PORT = 0x5f8, /* its console is set */
};

struct run_config {
	const struct run_options *options;
	/* Our init runs in it: it gets an order and answers with a status. */
	bool order;
	bool tty; /* the console is a terminal on both sides */
	struct boot_config boot;

	/* What boot points to. */
	struct guest_paths paths;
	struct host_file kernel, modules[BOOT_MAX_MODULES];
	char *cmdline;
	u8 *tail;
};

/* The terminal's size travels with the order; 0, 0: unknown. */
struct run_size {
	unsigned rows, cols;
};

/* On failure everything is released. */
int run_config_make(struct run_config *config,
		    const struct run_options *options, bool tty,
		    struct run_size size, struct err *err);
/* Give back the files, once boot_load() has copied what it wants. */
void run_config_drop_files(struct run_config *config);
void run_config_free(struct run_config *config);
