/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vireo run`, first step: argv into plain fields. Nothing is looked up or
 * opened here; strings point into argv, but for those of devices.
 */
#pragma once

#include <stdio.h>

#include "boot/boot.h"
#include "cli/hvt_attach.h"
#include "engine/engine.h"
#include "util/err.h"
#include "util/types.h"
#include "vmm/vm.h"

#define RUN_MAX_DEVICES 31

struct run_options {
	const char *kernel; /* NULL: the default guest */
	bool is_word;	    /* it came without --kernel in front */
	const char *initrd;
	const char *modules[BOOT_MAX_MODULES];
	unsigned module_count;
	const char *cmdline;
	struct hvt_attach_list attach; /* for Solo5 images */
	const char *core_dir;	       /* NULL: no core files */
	u64 cpus;
	u64 mem; /* bytes */
	const char *engine;
	enum vm_bt_mode bt_mode;
	struct engine_options engine_options;
	const char *cpu_model; /* NULL: the best that is portable */
	bool mitigations;
	s64 debug_exit; /* port, -1: none */
	const char *trace;
	bool stats, verbose;
	bool help;
	char *devices[RUN_MAX_DEVICES]; /* on PCI, "TYPE,OPTIONS" */
	unsigned device_count;
	const char *help_device; /* its type, NULL: none */
	char **command;		 /* NULL-terminated, NULL: none */
	char model_buf[16];
};

/* 0, or -EINVAL with the reason in err. */
int run_options_parse(struct run_options *options, int argc, char **argv,
		      struct err *err);
void run_options_free(struct run_options *options);
void run_options_help(FILE *out);
/* The options of a device. */
void run_options_help_device(FILE *out, const char *type);
