/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM moves from one engine to another.
 *
 * Theory of operation. A paused VM's state is in three places: guest RAM,
 * which both engines share; devices and interrupt chips, which no engine keeps
 * while the VM is paused; and the engine's vCPUs, whose state is carried over
 * here. The new engine is built beside the old one, which is given up only when
 * every vCPU has arrived, so that a refusal costs nothing.
 *
 * Nobody may kick a vCPU while its engine is exchanged. Its thread is parked,
 * timers stand still, and whoever else posts events holds vm->lock (pause),
 * vm->stop_lock (stop) or the interrupt router's lock (devices): all three are
 * taken.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_state.h"
#include "engine/engine.h"
#include "util/log.h"
#include "vmm/doorbell.h"
#include "vmm/vm.h"

/* What of a VM is its engine's. */
struct engine_half {
	const struct engine_ops *ops;
	void *vm;
	void *vcpus[VM_MAX_VCPUS];
};

/* Put `half` into the VM, and what was there into `half`. */
static void half_swap(struct vm *vm, struct engine_half *half)
{
	struct engine_half old = {.ops = vm->engine, .vm = vm->engine_vm};

	vm->engine = half->ops;
	vm->engine_vm = half->vm;
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		old.vcpus[i] = vm->vcpus[i]->engine;
		vm->vcpus[i]->engine = half->vcpus[i];
	}
	*half = old;
}

/* Of whatever is in the VM now; half-built is fine. */
static void half_destroy(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpus[i]->engine)
			vm->engine->vcpu_destroy(vm->vcpus[i]);
	if (vm->engine_vm)
		vm->engine->vm_destroy(vm);
}

static int half_build(struct vm *vm, const struct x86_state *states,
		      struct err *err)
{
	int ret = vm->engine->vm_create(vm, err);

	if (!ret)
		ret = mem_commit(&vm->mem, err);
	for (unsigned i = 0; !ret && i < vm->vcpu_count; i++)
		ret = vm->engine->vcpu_create(vm->vcpus[i], err);
	for (unsigned i = 0; !ret && i < vm->vcpu_count; i++)
		ret = vm->engine->set_state(vm->vcpus[i], &states[i], err);
	return ret;
}

static int exchange(struct vm *vm, const struct engine_ops *engine,
		    const struct x86_state *states, struct err *err)
{
	struct engine_half half = {.ops = engine};
	int ret;

	half_swap(vm, &half);
	ret = half_build(vm, states, err);
	if (!ret)
		half_swap(vm, &half);
	half_destroy(vm);
	half_swap(vm, &half);
	if (!ret)
		doorbell_engine_changed(vm);
	return ret;
}

/* vm->lock is held, the VM is paused. */
static int move_vcpus(struct vm *vm, const struct engine_ops *engine,
		      struct err *err)
{
	struct x86_state *states;
	int ret = 0;

	states = aligned_alloc(64, vm->vcpu_count * sizeof(*states));
	if (!states)
		return err_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; !ret && i < vm->vcpu_count; i++)
		ret = vm->engine->get_state(vm->vcpus[i], &states[i]);
	if (ret) {
		err_set(err, ret, "cannot read the vCPUs: %s", strerror(-ret));
	} else {
		pthread_mutex_lock(&vm->irq.lock);
		pthread_mutex_lock(&vm->stop_lock);
		ret = exchange(vm, engine, states, err);
		pthread_mutex_unlock(&vm->stop_lock);
		pthread_mutex_unlock(&vm->irq.lock);
	}
	free(states);
	return ret;
}

int vm_hand_over(struct vm *vm, const struct engine_ops *engine,
		 struct err *err)
{
	const char *from = vm->engine->name;
	bool running = atomic_load(&vm->state) == VM_RUNNING;
	int ret = vm_pause(vm), resumed = 0;

	if (ret)
		return err_set(err, ret, "the VM cannot be paused: %s",
			       strerror(-ret));
	pthread_mutex_lock(&vm->lock);
	if (atomic_load(&vm->state) == VM_PAUSED)
		ret = move_vcpus(vm, engine, err);
	else
		ret = err_set(err, -ECANCELED, "the VM was stopped or resumed");
	pthread_mutex_unlock(&vm->lock);
	if (running)
		resumed = vm_resume(vm);
	if (!ret && resumed)
		ret = err_set(err, resumed, "the VM cannot go on: %s",
			      strerror(-resumed));
	if (!ret)
		log_msg(LOG_INFO, "moved from engine %s to %s", from,
			engine->name);
	return ret;
}
