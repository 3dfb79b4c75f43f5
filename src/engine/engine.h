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
 *
 * State is read only after run() has returned; whatever an access to a device
 * left unfinished is done by then. While a VM is not running, the registers of
 * its LAPICs and interrupt chips are in vcpu->lapic and in the models of
 * src/chips, and time is vm->clock's: an engine that keeps any of them itself
 * takes them in resume() and gives them back in pause().
 *
 * Optional operations may be NULL; only their presence says that an engine has
 * them.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"

struct clock_moment;
struct clock_source;
struct cpu_offer;
struct vcpu;
struct vcpu_exit;
struct vm;
struct x86_state;

/* For a debugger; enforced until changed. */
struct vcpu_debug {
	bool step;	  /* VCPU_EXIT_DEBUG after each instruction */
	bool breakpoints; /* and at INT3, before the guest sees it */
	/* Hardware breakpoints in place of the guest's own; len 0: unused.
	 * kind as in DR7: 0 execution, 1 write, 3 access. */
	struct {
		gva_t addr;
		u8 kind, len; /* bytes: 1, 2, 4, 8 */
	} watch[4];
};

/* A doorbell: a guest's write that signals an eventfd, without an exit. */
struct engine_doorbell {
	bool mmio; /* else a port */
	u64 addr;
	u8 len;	    /* bytes the write has: 1, 2, 4, 8; 0: any */
	bool match; /* only where the value is `value` */
	u64 value;
	int fd; /* eventfd */
};

/* A guest loop in ring 0 and the same one here, in TSC ticks. */
struct engine_speed {
	u64 guest, host;
};

/* Bounds of engine_options.bt_code. */
#define ENGINE_BT_CODE_MIN KIB(512)
#define ENGINE_BT_CODE_MAX GIB(1)

/* How an engine does its work; what is zero is the engine's own choice. */
struct engine_options {
	u64 bt_code;	     /* bytes of memory for translated code */
	const char *bt_dump; /* "LETTERS[,FILE]": passes to show; NULL: none */
	bool bt_perf_map;    /* write /tmp/perf-PID.map */
	bool bt_count;	     /* translated code counts what it runs */
	bool bt_verify;	     /* emitted code is verified: a wrong one aborts */
};

struct engine_ops {
	const char *name;
	/* 0 where this host can run it; else -errno with the reason in err. */
	int (*probe)(struct err *err);
	/* Registers a memory listener of its own with vm->mem. */
	int (*vm_create)(struct vm *vm, struct err *err);
	void (*vm_destroy)(struct vm *vm);
	/* -ENOTSUP where vm->cpu promises what the engine cannot do. */
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

	/* ---- optional ---- */

	/* The VM's clock runs again, its vCPUs will in a moment. */
	int (*resume)(struct vm *vm, struct err *err);
	/* No vCPU runs any more, the clock stands still. */
	int (*pause)(struct vm *vm, struct err *err);

	/* Where the CPU itself runs the guest: what it lets a guest have, for
	 * struct cpu_request, and the clock that guests then see. */
	int (*cpu_offer)(struct cpu_offer *offer, struct err *err);
	void (*clock_source)(struct clock_source *source,
			     const struct clock_moment *since);
	/* How fast ring 0 is in this VM, before its first set_state; one page
	 * of guest RAM is used and cleared again. */
	int (*speed)(struct vm *vm, struct engine_speed *speed,
		     struct err *err);

	int (*set_debug)(struct vcpu *vcpu, const struct vcpu_debug *debug);

	/* Let events reach the guest, and the guest's writes reach an eventfd,
	 * without us. `gsi`: a line, or what msi_route() returned. What is
	 * signalled while the VM is paused arrives when it goes on. They are
	 * taken back before their descriptor is closed, and are gone with the
	 * engine after vm_hand_over(). */
	int (*irqfd)(struct vm *vm, int fd, unsigned gsi, bool on);
	int (*msi_route)(struct vm *vm, u64 addr, u32 data); /* gsi, -errno */
	int (*msi_unroute)(struct vm *vm, unsigned gsi);
	int (*doorbell)(struct vm *vm, const struct engine_doorbell *bell,
			bool on);

	/* Which pages a vCPU wrote since the last look. `bits`: one a page of
	 * the region at gpa, set ones are OR-ed in. */
	int (*dirty_log)(struct vm *vm, bool on);
	int (*dirty_get)(struct vm *vm, gpa_t gpa, u64 *bits);
};

extern const struct engine_ops engine_bt;
extern const struct engine_ops engine_kvm;
