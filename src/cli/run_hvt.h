/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Solo5 hvt image from file to exit status: for `vireo run` and for the
 * command line of Solo5's own tender.
 */
#pragma once

#include "cli/host_file.h"
#include "cli/hvt_attach.h"
#include "cli/signals.h"
#include "engine/engine.h"
#include "vmm/vm.h"

struct run_hvt {
	/* what is wanted */
	const char *path;
	struct host_file file; /* given back once it is loaded */
	const struct hvt_attach_list *attach;
	char **args;	     /* the guest's command line by words; NULL: none */
	const char *cmdline; /* where there are no words; NULL: "" */
	const char *engine, *cpu_model;
	enum vm_bt_mode bt_mode;
	struct engine_options engine_options;
	bool mitigations, stats;
	u64 mem;	      /* bytes */
	const char *core_dir; /* for a core file if the guest aborts, or NULL */
	struct signals *signals;
	/* how it ended */
	enum vm_stop_reason reason;
	/* Before anything started: image, arguments or devices are wrong. */
	bool refused;
};

/* The exit status, as cli.h lists them; the reason in err. */
int run_hvt(struct run_hvt *run, struct err *err);
