/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM on the engine that was asked for, or on the one that suits this host.
 *
 * `auto` takes KVM where it runs ring 0 at the CPU's speed, measured in the VM
 * that is then used, and the software engine everywhere else: no KVM, one that
 * may not be opened, one that fails, one whose kernel interprets.
 */
#pragma once

#include "arch/cpuid.h"
#include "vmm/vm.h"

struct engine_wish {
	const char *engine; /* "auto", "kvm", "bt" */
	enum vm_bt_mode bt_mode;
	const struct engine_options *options; /* as in struct vm_config */
	const char *cpu_model;
	bool mitigations;
	enum vm_irqchip irqchip;
	u64 ram_size;
	unsigned cpus;
};

/* Room for one sentence that says why an engine was chosen. */
#define ENGINE_WHY 500

/*
 * Creates the VM; *policy must outlive it. `why` is filled in either case. On
 * failure -errno with the reason in err.
 */
int engine_create_vm(const struct engine_wish *wish, struct cpu_policy *policy,
		     struct vm **vm, char why[ENGINE_WHY], struct err *err);
