/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU: one host thread, one LAPIC, and a mailbox of events from others.
 * What its registers hold is the engine's.
 *
 * A thread is in one of four places: in engine->run(), asleep in a halt
 * (`sleeping`), waiting for what a device asked it to (`wait`), or waiting for
 * the VM to run (`parked`). Signals other than
 * faults are blocked; an engine that kicks by signal unblocks its own in run().
 */
#pragma once

#include <pthread.h>

#include "util/err.h"
#include "util/types.h"
#include "vmm/lapic.h"

struct device;
struct pollfd;
struct vm;
struct x86_state;

/*
 * Posted by any thread, taken by the engine at an instruction boundary. It
 * clears a bit first and looks at what the bit stands for after: while a bit
 * is set, posting it again neither kicks nor wakes. VCPU_EXIT_HALT is returned
 * with all bits taken, or the thread does not sleep. VCPU_EV_KICK stays set;
 * the thread's loop clears it after run().
 */
enum vcpu_event {
	VCPU_EV_INTR = 1, /* look at the LAPIC and the 8259 */
	VCPU_EV_NMI = 2,
	VCPU_EV_INIT = 4,
	VCPU_EV_SIPI = 8,   /* vector in sipi_vector */
	VCPU_EV_TIMER = 16, /* LAPIC timer expired */
	VCPU_EV_KICK = 32,  /* run() returns VCPU_EXIT_KICK */
};

/* Why engine->run() returned. */
enum vcpu_exit_kind {
	VCPU_EXIT_KICK,	    /* asked to, by engine->kick() */
	VCPU_EXIT_HALT,	    /* HLT or wait-for-SIPI: block until an event */
	VCPU_EXIT_SHUTDOWN, /* triple fault */
	VCPU_EXIT_DEBUG,    /* guest debugging asked for it */
	VCPU_EXIT_GUEST,    /* the guest broke its machine's rules: message */
	VCPU_EXIT_FAIL,	    /* cannot go on: message says why */
	VCPU_EXIT_BUG,	    /* the engine caught itself in an error */
};

struct vcpu_exit {
	enum vcpu_exit_kind kind;
	u64 rip;	   /* SHUTDOWN, DEBUG, FAIL, BUG */
	char message[200]; /* SHUTDOWN, FAIL, BUG: one sentence with RIP and
			      bytes */
};

/*
 * For interfaces whose calls sleep: the instruction that made the call ends,
 * but the vCPU executes no other until a descriptor is ready or time is up. A
 * pause of the VM interrupts the wait and a resume takes it up again.
 */
struct vcpu_wait {
	struct device *dev; /* its lock is held in done() */
	/* `count` descriptors, and room for one more, which is the vCPU's. */
	struct pollfd *fds;
	unsigned count;
	u64 deadline; /* guest ns, TIMER_NEVER: none */
	/* `fds` say what is ready; on the vCPU's thread. */
	void (*done)(struct vcpu_wait *wait);
};

enum vcpu_sleep { VCPU_AWAKE, VCPU_SLEEPS, VCPU_POLLS };

struct vcpu {
	struct vm *vm;
	unsigned id; /* also its APIC ID; 0 is the BSP */
	pthread_t thread;
	bool started; /* thread exists */
	void *engine; /* the engine's private half */
	struct lapic lapic;

	_Atomic u32 events; /* OR of enum vcpu_event; also the futex word */
	_Atomic u32 sipi_vector;
	_Atomic u32 sleeping;	/* enum vcpu_sleep: may be in futex_wait on
				   `events`, or in poll with wake_fd */
	struct vcpu_wait *wait; /* by its own thread */
	int wake_fd;		/* eventfd, made when first needed */
	bool parked; /* waits because the VM is not running; by vm->lock */
	_Atomic u64 halts; /* times it slept in HLT */
};

int vcpu_create(struct vm *vm, unsigned id, struct vcpu **out, struct err *err);
void vcpu_destroy(struct vcpu *vcpu);
/* Start the thread; it waits until the VM runs. */
int vcpu_start(struct vcpu *vcpu, struct err *err);
/* Make the thread of a stopped VM end, and wait for it. */
void vcpu_join(struct vcpu *vcpu);
/*
 * In a bus callback, on the vCPU's thread: do so after this instruction. False
 * if it is to wait already, or the host has no descriptor left.
 */
bool vcpu_wait(struct vcpu *vcpu, struct vcpu_wait *wait);
/* Post events and make the vCPU look, halted or running. Any thread. */
void vcpu_post(struct vcpu *vcpu, u32 events);
static inline void vcpu_notify(struct vcpu *vcpu)
{
	vcpu_post(vcpu, VCPU_EV_INTR);
}
/*
 * For an engine's get_state: what others posted and run() has not taken yet is
 * part of the state. Takes NMI, INIT and SIPI out of the mailbox, and what the
 * LAPIC has in its own; returns them.
 */
u32 vcpu_take_pending(struct vcpu *vcpu);
/*
 * INIT and SIPI of these events happen to a state that was just read. True: it
 * is another one now, and is to be loaded again.
 */
bool vcpu_take_init(struct vcpu *vcpu, u32 events, struct x86_state *state);
