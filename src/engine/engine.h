/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine contract: what turns guest instructions into progress.
 *
 * Two engines implement it: kvm and bt. Neither knows a device, no device
 * knows an engine. Both call bus_read/bus_write themselves for ports and MMIO;
 * run() returns only for the kinds of enum vcpu_exit_kind.
 *
 * Threads: a vCPU's run, get_state and set_state are called by its own thread,
 * or by another while that one is parked. kick may come from anywhere, and is
 * sticky: the current run() or the next one returns.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"

struct vcpu;
struct vcpu_exit;
struct vm;
struct x86_state;

struct engine_ops {
	const char *name;
	/* 0 where this host can run it; else -errno with the reason in err. */
	int (*probe)(struct err *err);
	/* Registers a memory listener of its own with vm->mem. */
	int (*vm_create)(struct vm *vm, struct err *err);
	void (*vm_destroy)(struct vm *vm);
	int (*vcpu_create)(struct vcpu *vcpu, struct err *err);
	void (*vcpu_destroy)(struct vcpu *vcpu);
	void (*run)(struct vcpu *vcpu, struct vcpu_exit *exit);
	/* New bits in vcpu->events: look soon. Any thread, cheap, async-safe.
	 */
	void (*kick)(struct vcpu *vcpu);
	int (*get_state)(struct vcpu *vcpu, struct x86_state *state);
	int (*set_state)(struct vcpu *vcpu, const struct x86_state *state,
			 struct err *err);
	/* Text counters for --stats, one "name value" a line; may be NULL. */
	void (*stats)(struct vm *vm, char *buf, size_t len);
};

extern const struct engine_ops engine_bt;
