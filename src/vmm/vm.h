/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine: everything hangs from struct vm, nothing is global.
 *
 * Life: created -> running <-> paused -> dead. Order of use: vm_create, a
 * board adds devices and a loader fills memory, vm_start, vm_wait (runs the
 * event loop on the caller's thread), vm_destroy.
 *
 * `state` leaves VM_DEAD never, and whoever moves it does so by compare and
 * exchange, so that a stop from a vCPU or a device, which takes no lock but
 * stop_lock (a leaf), cannot be lost to a pause or a start under way.
 *
 * Lock order: vm > device > queue > interrupt chip > vcpu.
 */
#pragma once

#include <pthread.h>

#include "util/err.h"
#include "util/types.h"
#include "vmm/bus.h"
#include "vmm/clock.h"
#include "vmm/irq.h"
#include "vmm/loop.h"
#include "vmm/mem.h"
#include "vmm/timer.h"
#include "vmm/vcpu.h"

struct cpu_offer;
struct cpu_policy;
struct device;
struct doorbell;
struct engine_options;
struct engine_ops;
struct x86_state;

#define VM_MAX_VCPUS 64
#define VM_MAX_CONSOLES 4

enum vm_state { VM_CREATED, VM_RUNNING, VM_PAUSING, VM_PAUSED, VM_DEAD };

enum vm_stop_reason {
	VM_STOP_NONE,
	VM_STOP_POWEROFF,
	VM_STOP_RESET,
	VM_STOP_DEBUG_EXIT, /* stop_code: the process's exit status */
	VM_STOP_TRIPLE_FAULT,
	VM_STOP_GUEST,	 /* the guest broke its interface; stop_message */
	VM_STOP_FAIL,	 /* the engine cannot go on; stop_message */
	VM_STOP_BUG,	 /* the engine is wrong, and knows; stop_message */
	VM_STOP_HOST,	 /* the host failed us; stop_message */
	VM_STOP_REQUEST, /* the user asked: signal, Ctrl-A x */
};

enum vm_irqchip {
	VM_IRQCHIP_PC, /* a LAPIC a vCPU; 8259, IOAPIC, 8254 if the board
			  adds them */
	/*
	 * No PC, but what a unikernel's interface has: no interrupt at all, one
	 * CPU without LAPIC, RAM in one piece from 0, at most MEM_MAX_FLAT.
	 * HLT, from which nothing could wake, ends the VM.
	 */
	VM_IRQCHIP_NONE,
};

/* How the engine bt runs guest code; other engines do not look. */
enum vm_bt_mode {
	VM_BT_JIT,	  /* translated where it can be */
	VM_BT_INTERP,	  /* never */
	VM_BT_CHECK,	  /* both, and compared */
	VM_BT_CHECK_USER, /* the same, once there is code at CPL 3 */
};

struct vm_config {
	const struct engine_ops *engine;
	enum vm_bt_mode bt_mode;
	enum vm_irqchip irqchip;
	u64 ram_size; /* bytes */
	unsigned cpus;
	const struct cpu_policy *cpu;	      /* borrowed, outlives the VM */
	const struct engine_options *options; /* likewise; NULL: all zero */
	/* From clock_probe(), as given to cpu_policy_init; tsc_khz 0: vm_create
	 * probes. */
	struct clock_source clock;
	/* What the engine's cpu_offer() said, for vm_create() only, or NULL. */
	const struct cpu_offer *offer;
};

/* Where a console's bytes go; filled by cli before devices are added. */
struct vm_console {
	int in_fd;  /* -1: none */
	int out_fd; /* -1: discard */
	/*
	 * Sees input first (the terminal's escape key), also while the guest
	 * takes none; changes buf and *len in place and may lengthen by one
	 * byte. Called on the loop's thread; NULL: none.
	 */
	void (*filter)(void *arg, u8 *buf, size_t *len);
	void *filter_arg;
};

struct vm {
	const struct engine_ops *engine;
	const struct engine_options *options; /* NULL: all zero */
	void *engine_vm;		      /* the engine's private half */
	enum vm_bt_mode bt_mode;
	enum vm_irqchip irqchip;
	struct guest_mem mem;
	struct bus bus;
	struct irq_router irq;
	struct vm_clock clock;
	struct timer_queue timers;
	struct loop loop;
	const struct cpu_policy *cpu;
	const struct cpu_offer *offer; /* NULL after vm_create() */
	struct vm_console consoles[VM_MAX_CONSOLES];
	u64 entered_ns; /* CLOCK_MONOTONIC when vCPU 0 was first to run */
	unsigned vcpu_count;
	struct vcpu *vcpus[VM_MAX_VCPUS];
	struct device *devices;
	struct doorbell *doorbells;
	pthread_mutex_t doorbell_lock; /* a leaf, but for the engine's own */

	pthread_mutex_t lock;
	pthread_cond_t changed; /* of state and of parked vCPUs */
	_Atomic enum vm_state state;
	pthread_mutex_t stop_lock;	 /* of the three below, and of dying */
	enum vm_stop_reason stop_reason; /* first one wins */
	int stop_code;
	char stop_message[256];
};

int vm_create(const struct vm_config *config, struct vm **out, struct err *err);
void vm_destroy(struct vm *vm); /* stops it first; NULL is fine */

/* The BSP starts with `state` (from a loader); the others wait for SIPI. */
int vm_start(struct vm *vm, const struct x86_state *bsp, struct err *err);
/* Event loop until the VM stops; then all vCPU threads are out. */
void vm_wait(struct vm *vm);

/* Any thread, a vCPU's or a device's included; returns at once. */
void vm_stop(struct vm *vm, enum vm_stop_reason reason, int code,
	     const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/*
 * Returns when every vCPU is out of the guest, time stands still and devices
 * are quiet. Any thread but a vCPU's, with no device lock held. -EINVAL from a
 * state that has no such step, -ECANCELED if the VM stopped meanwhile.
 */
int vm_pause(struct vm *vm);
int vm_resume(struct vm *vm);

/*
 * Move the VM to another engine: pause it, carry every vCPU over, go on as
 * before (running or paused). Guest memory and devices stay as they are; the
 * interrupt chips' state is in their models while a VM is paused (irq.h).
 *
 * On failure the VM goes on with the engine it had, the reason in err:
 * -ENOTSUP where the other engine lacks what the CPU policy promised, -errno of
 * a host call. Any thread but a vCPU's, with no device lock held.
 */
int vm_hand_over(struct vm *vm, const struct engine_ops *engine,
		 struct err *err);
