/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPU threads.
 *
 * Theory of operation. `events` is a mailbox and, while the vCPU is halted,
 * the futex word its thread sleeps on. The one race is between a thread about
 * to sleep and one that posts:
 *
 *     sleeper                        poster
 *     sleeping = 1                   events |= bits
 *     futex_wait(events == 0)        if (sleeping) futex_wake
 *
 * Each side writes one word and then reads the other's, so both writes are
 * sequentially consistent: at least one side sees the other's. If the poster
 * reads sleeping == 0, the sleeper's later look at `events` (the kernel's, in
 * futex_wait, under its own lock) finds the bits and does not sleep. The wake
 * call is thus saved whenever nobody sleeps, which is nearly always.
 *
 * The same order makes kick unnecessary for a sleeper, and harmless.
 *
 * The LAPIC's timer is only ever armed by its vCPU's thread. While that sleeps
 * it takes the timer from the queue and waits for the deadline itself, so that
 * an idle guest's tick wakes one thread and not the event loop's as well. A
 * timer that the loop is just firing is not there to be taken; it posts.
 */
#include "vmm/vcpu.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch/cpuid.h"
#include "arch/x86_state.h"
#include "engine/engine.h"
#include "util/fd.h"
#include "vmm/device.h"
#include "vmm/trace.h"
#include "vmm/vm.h"

/* ------------------------------------------------------------------------- */
/* Mailbox */

/* At most so long, TIMER_NEVER: for ever. */
static void futex_wait_zero(_Atomic u32 *word, u64 ns)
{
	const struct timespec timeout = {
		.tv_sec = (time_t)(ns / NS_PER_SEC),
		.tv_nsec = (long)(ns % NS_PER_SEC),
	};

	/* Returns at once if *word is not 0; EINTR and spurious wakes are the
	 * caller's loop's business. */
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0,
		ns == TIMER_NEVER ? NULL : &timeout, NULL, 0);
}

static void futex_wake(_Atomic u32 *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void vcpu_post(struct vcpu *vcpu, u32 events)
{
	u32 before = atomic_fetch_or(&vcpu->events, events);

	/* All of them are already waiting, so whoever posted them first kicks,
	 * or has; and the taker, who takes them after our write, sees what the
	 * caller stored before it. */
	if ((before & events) == events)
		return;
	vcpu->vm->engine->kick(vcpu);
	switch (atomic_load(&vcpu->sleeping)) {
	case VCPU_SLEEPS:
		futex_wake(&vcpu->events);
		break;
	case VCPU_POLLS:
		eventfd_write(vcpu->wake_fd, 1);
		break;
	}
}

static void vcpu_sleep(struct vcpu *vcpu)
{
	struct timer *timer = &vcpu->lapic.timer;
	u64 deadline = timer_take(timer), now;

	atomic_store(&vcpu->sleeping, VCPU_SLEEPS);
	for (;;) {
		now = clock_ns(&vcpu->vm->clock);
		if (atomic_load(&vcpu->events) || now >= deadline)
			break;
		futex_wait_zero(&vcpu->events, deadline == TIMER_NEVER
						       ? TIMER_NEVER
						       : deadline - now);
	}
	atomic_store(&vcpu->sleeping, VCPU_AWAKE);
	if (now >= deadline)
		timer->fire(timer, now);
	else if (deadline != TIMER_NEVER)
		timer_arm(timer, deadline);
}

/* HLT or wait-for-SIPI: until someone posts or the LAPIC's timer expires. */
static void vcpu_halt(struct vcpu *vcpu)
{
	if (atomic_load(&vcpu->events))
		return;
	trace(TRACE_VCPU, "halt");
	atomic_fetch_add_explicit(&vcpu->halts, 1, memory_order_relaxed);
	vcpu_sleep(vcpu);
	trace(TRACE_VCPU, "wake, events %#x", atomic_load(&vcpu->events));
}

/* ------------------------------------------------------------------------- */
/* Waiting for a device's descriptors */

bool vcpu_wait(struct vcpu *vcpu, struct vcpu_wait *wait)
{
	if (vcpu->wait)
		return false;
	if (vcpu->wake_fd < 0)
		vcpu->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vcpu->wake_fd < 0)
		return false;
	vcpu->wait = wait;
	vcpu_post(vcpu, VCPU_EV_KICK);
	return true;
}

/* Once; a spurious return is the caller's loop's business. */
static int vcpu_poll_once(struct vcpu *vcpu, struct vcpu_wait *wait, u64 ns)
{
	const struct timespec timeout = {
		.tv_sec = (time_t)(ns / NS_PER_SEC),
		.tv_nsec = (long)(ns % NS_PER_SEC),
	};
	struct pollfd *wake = &wait->fds[wait->count];
	eventfd_t wakes;
	int ready = 0;

	*wake = (struct pollfd){.fd = vcpu->wake_fd, .events = POLLIN};
	atomic_store(&vcpu->sleeping, VCPU_POLLS);
	/* As in vcpu_sleep(); what wakes here is a kick, and no interrupt. */
	if (!(atomic_load(&vcpu->events) & VCPU_EV_KICK))
		ready = ppoll(wait->fds, wait->count + 1,
			      ns == TIMER_NEVER ? NULL : &timeout, NULL);
	atomic_store(&vcpu->sleeping, VCPU_AWAKE);
	if (ready > 0 && wake->revents) {
		eventfd_read(vcpu->wake_fd, &wakes);
		ready--;
	}
	return ready;
}

static void vcpu_poll(struct vcpu *vcpu)
{
	struct vcpu_wait *wait = vcpu->wait;
	u64 now = clock_ns(&vcpu->vm->clock);
	int ready;

	ready = vcpu_poll_once(vcpu, wait,
			       wait->deadline == TIMER_NEVER ? TIMER_NEVER
			       : wait->deadline > now ? wait->deadline - now
						      : 0);
	if (atomic_load(&vcpu->events) & VCPU_EV_KICK) {
		atomic_fetch_and(&vcpu->events, ~(u32)VCPU_EV_KICK);
		return;
	}
	if (ready <= 0 && clock_ns(&vcpu->vm->clock) < wait->deadline)
		return;
	vcpu->wait = NULL;
	pthread_mutex_lock(&wait->dev->lock);
	wait->done(wait);
	pthread_mutex_unlock(&wait->dev->lock);
}

/* ------------------------------------------------------------------------- */
/* The thread */

/* Wait until the VM runs. False: it never will again. */
static bool vcpu_may_run(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	enum vm_state state = atomic_load(&vm->state);

	if (likely(state == VM_RUNNING))
		return true;
	pthread_mutex_lock(&vm->lock);
	vcpu->parked = true;
	pthread_cond_broadcast(&vm->changed);
	while ((state = atomic_load(&vm->state)) != VM_RUNNING &&
	       state != VM_DEAD)
		pthread_cond_wait(&vm->changed, &vm->lock);
	/* A dead VM's vCPU stays parked: it will not enter the guest again. */
	vcpu->parked = state == VM_DEAD;
	pthread_mutex_unlock(&vm->lock);
	return state == VM_RUNNING;
}

static void note_entry(struct vm *vm)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	vm->entered_ns = (u64)now.tv_sec * NS_PER_SEC + (u64)now.tv_nsec;
}

/*
 * The exit loop. What a guest does with devices is handled inside run(); what
 * comes out here is rare.
 */
static void vcpu_loop(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	struct vcpu_exit exit;

	while (vcpu_may_run(vcpu)) {
		if (unlikely(vcpu->wait != NULL)) {
			vcpu_poll(vcpu);
			continue;
		}
		if (unlikely(!vcpu->id && !vm->entered_ns))
			note_entry(vm);
		vm->engine->run(vcpu, &exit);
		switch (exit.kind) {
		case VCPU_EXIT_KICK:
			/* Whoever kicked changed the VM's state before it. */
			atomic_fetch_and(&vcpu->events, ~(u32)VCPU_EV_KICK);
			break;
		case VCPU_EXIT_HALT:
			if (vm->irqchip == VM_IRQCHIP_NONE)
				vm_stop(vm, VM_STOP_GUEST, 0,
					"the guest executed HLT, and nothing "
					"could wake it");
			else
				vcpu_halt(vcpu);
			break;
		case VCPU_EXIT_SHUTDOWN:
			vm_stop(vm, VM_STOP_TRIPLE_FAULT, 0, "vcpu%u: %s",
				vcpu->id, exit.message);
			break;
		case VCPU_EXIT_DEBUG:
			vm_stop(vm, VM_STOP_FAIL, 0,
				"vcpu%u: debug stop at rip %#llx, but no "
				"debugger",
				vcpu->id, (unsigned long long)exit.rip);
			break;
		case VCPU_EXIT_GUEST:
			vm_stop(vm, VM_STOP_GUEST, 0, "vcpu%u: %s", vcpu->id,
				exit.message);
			break;
		case VCPU_EXIT_FAIL:
			vm_stop(vm, VM_STOP_FAIL, 0, "vcpu%u: %s", vcpu->id,
				exit.message);
			break;
		case VCPU_EXIT_BUG:
			vm_stop(vm, VM_STOP_BUG, 0, "vcpu%u: %s", vcpu->id,
				exit.message);
			break;
		}
	}
}

static void *vcpu_main(void *arg)
{
	struct vcpu *vcpu = arg;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", vcpu->id);
	pthread_setname_np(pthread_self(), name);
	/* Timeouts as exact as the event loop's timerfd. */
	prctl(PR_SET_TIMERSLACK, 1);
	vcpu_loop(vcpu);
	return NULL;
}

/* Signals are the loop thread's; a synchronous fault is handled where it is. */
static void vcpu_signal_mask(sigset_t *mask)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

	sigfillset(mask);
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(mask, faults[i]);
}

int vcpu_start(struct vcpu *vcpu, struct err *err)
{
	sigset_t mask, before;
	int ret;

	/* The thread inherits the mask: no signal finds it without. */
	vcpu_signal_mask(&mask);
	pthread_sigmask(SIG_SETMASK, &mask, &before);
	ret = pthread_create(&vcpu->thread, NULL, vcpu_main, vcpu);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret)
		return err_set(err, -ret, "cannot start vcpu%u: %s", vcpu->id,
			       strerror(ret));
	vcpu->started = true;
	return 0;
}

void vcpu_join(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	vcpu_post(vcpu, VCPU_EV_KICK);
	pthread_join(vcpu->thread, NULL);
	vcpu->started = false;
}

/* ------------------------------------------------------------------------- */
/* Saving */

u32 vcpu_take_pending(struct vcpu *vcpu)
{
	const u32 mine = VCPU_EV_NMI | VCPU_EV_INIT | VCPU_EV_SIPI;

	lapic_settle(&vcpu->lapic);
	return atomic_fetch_and(&vcpu->events, ~mine) & mine;
}

/* The BSP starts over at the reset vector. */
static void vcpu_init_state(struct vcpu *vcpu, struct x86_state *state)
{
	x86_state_init(state);
	if (vcpu->id == 0)
		state->mp_state = X86_MP_RUNNABLE;
	lapic_reset(&vcpu->lapic, true);
	lapic_to_state(&vcpu->lapic, state);
}

bool vcpu_take_init(struct vcpu *vcpu, u32 events, struct x86_state *state)
{
	const struct cpu_policy *cpu = vcpu->vm->cpu;
	struct cpuid_result id;
	bool taken = false;

	if (events & VCPU_EV_INIT) {
		vcpu_init_state(vcpu, state);
		taken = true;
	}
	if (events & VCPU_EV_SIPI && state->mp_state == X86_MP_WAIT_SIPI) {
		cpu_policy_cpuid(cpu, vcpu->id, 1, 0, &id);
		x86_state_sipi(state, vcpu->sipi_vector & 0xff, id.eax);
		taken = true;
	}
	return taken;
}

/* ------------------------------------------------------------------------- */

int vcpu_create(struct vm *vm, unsigned id, struct vcpu **out, struct err *err)
{
	struct vcpu *vcpu = calloc(1, sizeof(*vcpu));
	int ret;

	if (!vcpu)
		return err_set(err, -ENOMEM, "out of memory");
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->wake_fd = -1;
	ret = lapic_init(&vcpu->lapic, vcpu);
	if (ret) {
		free(vcpu);
		return err_set(err, ret, "cannot create vcpu%u's APIC: %s", id,
			       strerror(-ret));
	}
	ret = vm->engine->vcpu_create(vcpu, err);
	if (ret) {
		lapic_fini(&vcpu->lapic);
		free(vcpu);
		return err_set(err, ret, "cannot create vcpu%u: %s", id,
			       strerror(-ret));
	}
	*out = vcpu;
	return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (!vcpu)
		return;
	vcpu->vm->engine->vcpu_destroy(vcpu);
	lapic_fini(&vcpu->lapic);
	fd_close(&vcpu->wake_fd);
	free(vcpu);
}
