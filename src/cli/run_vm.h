/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vireo run`, third step: build the VM that a run_config describes, run it to
 * its end, and say how it ended.
 */
#pragma once

#include "arch/cpuid.h"
#include "cli/input_pump.h"
#include "cli/run_config.h"
#include "cli/signals.h"
#include "cli/terminal.h"

struct run_vm {
	struct run_config *config; /* its files go once they are loaded */
	struct cpu_policy cpu;
	struct vm *vm;
	struct device *power; /* the power button's chip */
	struct terminal *terminal;
	struct signals *signals;
	struct input_pump pump;
};

/* Counters of devices and engine, to standard error. */
void run_print_stats(struct vm *vm);

/*
 * Returns the exit status and, where that is not the guest's own word, the
 * reason in err.
 */
int run_vm(struct run_vm *run, struct err *err);
