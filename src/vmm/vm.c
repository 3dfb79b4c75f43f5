/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a virtual machine.
 *
 * Theory of operation. vm->state is what vCPU threads look at between two
 * run()s. Whoever wants them out changes it first and then posts VCPU_EV_KICK
 * to each: a thread that misses the new state still has the kick to come, and
 * looks again after it. Pausing waits under vm->lock until each thread has
 * parked; stopping only records and kicks, as it may come from anywhere, and
 * vm_wait on its own thread does the waiting.
 */
#include "vmm/vm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86.h"
#include "arch/x86_state.h"
#include "engine/engine.h"
#include "vmm/device.h"
#include "vmm/trace.h"

/* ------------------------------------------------------------------------- */
/* Create, destroy */

/* As if every part had been created and failed: vm_destroy takes it. */
static struct vm *vm_alloc(const struct vm_config *config)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	vm->engine = config->engine;
	vm->bt_mode = config->bt_mode;
	vm->options = config->options;
	vm->cpu = config->cpu;
	vm->offer = config->offer;
	vm->irqchip = config->irqchip;
	vm->mem.fd = -1;
	vm->timers.fd = -1;
	vm->loop.epoll_fd = -1;
	vm->loop.stop.fd = -1;
	for (unsigned i = 0; i < VM_MAX_CONSOLES; i++)
		vm->consoles[i] =
			(struct vm_console){.in_fd = -1, .out_fd = -1};
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->stop_lock, NULL);
	pthread_mutex_init(&vm->doorbell_lock, NULL);
	pthread_cond_init(&vm->changed, NULL);
	bus_init(&vm->bus);
	irq_router_init(&vm->irq, vm);
	return vm;
}

static int vm_build(struct vm *vm, const struct vm_config *config,
		    struct err *err)
{
	struct clock_source source = config->clock;
	int ret;

	if (!source.tsc_khz)
		clock_probe(&source, NULL);
	clock_init(&vm->clock, &source);
	ret = config->irqchip == VM_IRQCHIP_NONE
		      ? mem_init_flat(&vm->mem, config->ram_size, err)
		      : mem_init(&vm->mem, config->ram_size, err);
	if (!ret)
		ret = timer_queue_init(&vm->timers, &vm->clock, err);
	if (!ret)
		ret = loop_init(&vm->loop, vm, err);
	if (!ret)
		ret = vm->engine->vm_create(vm, err);
	for (unsigned id = 0; !ret && id < config->cpus; id++) {
		ret = vcpu_create(vm, id, &vm->vcpus[id], err);
		vm->vcpu_count += !ret;
	}
	return ret;
}

int vm_create(const struct vm_config *config, struct vm **out, struct err *err)
{
	struct vm *vm;
	int ret;

	if (config->cpus < 1 || config->cpus > VM_MAX_VCPUS)
		return err_set(err, -EINVAL, "a VM has 1 to %d CPUs",
			       VM_MAX_VCPUS);
	if (config->irqchip == VM_IRQCHIP_NONE && config->cpus > 1)
		return err_set(err, -EINVAL, "this machine has one CPU");
	vm = vm_alloc(config);
	if (!vm)
		return err_set(err, -ENOMEM, "out of memory");
	ret = vm_build(vm, config, err);
	vm->offer = NULL;
	if (ret) {
		vm_destroy(vm);
		return err_set(err, ret, "cannot create the VM: %s",
			       strerror(-ret));
	}
	*out = vm;
	return 0;
}

/* Every thread of a stopped VM ends; none is left. */
static void vm_join(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	pthread_cond_broadcast(
		&vm->changed); /* parked ones look at the state */
	pthread_mutex_unlock(&vm->lock);
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_join(vm->vcpus[i]);
}

void vm_destroy(struct vm *vm)
{
	if (!vm)
		return;
	vm_stop(vm, VM_STOP_REQUEST, 0, "destroyed");
	vm_join(vm);
	device_destroy_all(vm);
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_destroy(vm->vcpus[i]);
	if (vm->engine_vm)
		vm->engine->vm_destroy(vm);
	loop_fini(&vm->loop);
	timer_queue_fini(&vm->timers);
	bus_fini(&vm->bus);
	irq_router_fini(&vm->irq);
	mem_fini(&vm->mem);
	pthread_cond_destroy(&vm->changed);
	pthread_mutex_destroy(&vm->doorbell_lock);
	pthread_mutex_destroy(&vm->stop_lock);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

/* ------------------------------------------------------------------------- */
/* Start, stop */

/* False if the VM is in another state than `from`; it may have died. */
static bool vm_move(struct vm *vm, enum vm_state from, enum vm_state to)
{
	return atomic_compare_exchange_strong(&vm->state, &from, to);
}

/* Power-on: the BSP as the loader left it, the others wait for a SIPI. */
static int vm_load_vcpus(struct vm *vm, const struct x86_state *bsp,
			 struct err *err)
{
	struct x86_state ap;
	int ret = vm->engine->set_state(vm->vcpus[0], bsp, err);

	if (vm->vcpu_count == 1)
		return ret;
	x86_state_reset(&ap);
	ap.mp_state = X86_MP_WAIT_SIPI;
	ap.msr.apic_base &= ~APIC_BASE_BSP;
	/* The loader stands in for firmware, which gives all the same: memory
	 * types are one for all CPUs (SDM vol. 3A 11.11.8). */
	ap.msr.pat = bsp->msr.pat;
	ap.msr.mtrr_def_type = bsp->msr.mtrr_def_type;
	memcpy(ap.msr.mtrr_fixed, bsp->msr.mtrr_fixed,
	       sizeof(ap.msr.mtrr_fixed));
	memcpy(ap.msr.mtrr_base, bsp->msr.mtrr_base, sizeof(ap.msr.mtrr_base));
	memcpy(ap.msr.mtrr_mask, bsp->msr.mtrr_mask, sizeof(ap.msr.mtrr_mask));
	for (unsigned i = 1; !ret && i < vm->vcpu_count; i++)
		ret = vm->engine->set_state(vm->vcpus[i], &ap, err);
	return ret;
}

/* The engine's own clock and chips go on too; false: the VM is dead. */
static bool vm_resume_engine(struct vm *vm)
{
	struct err err = {0};

	if (!vm->engine->resume || !vm->engine->resume(vm, &err))
		return true;
	vm_stop(vm, VM_STOP_HOST, 0, "%s", err.msg);
	return false;
}

/* vm->lock is held. Wall time first, which devices ask for as they resume,
 * then the clock, then the guest. */
static bool vm_go(struct vm *vm, enum vm_state from)
{
	clock_read_wall(&vm->clock);
	if (from == VM_PAUSED)
		device_resume_all(vm);
	clock_start(&vm->clock);
	timer_queue_sync(&vm->timers);
	if (!vm_resume_engine(vm) || !vm_move(vm, from, VM_RUNNING))
		return false;
	pthread_cond_broadcast(&vm->changed);
	return true;
}

int vm_start(struct vm *vm, const struct x86_state *bsp, struct err *err)
{
	bool running;
	int ret;

	if (atomic_load(&vm->state) != VM_CREATED)
		return err_set(err, -EINVAL, "the VM was started before");
	trace(TRACE_BOOT, "vcpu0 starts at rip %#llx, rsi %#llx, cr0 %#llx",
	      (unsigned long long)bsp->rip,
	      (unsigned long long)bsp->gpr[X86_RSI],
	      (unsigned long long)bsp->cr0);
	ret = mem_commit(&vm->mem, err);
	if (!ret)
		ret = vm_load_vcpus(vm, bsp, err);
	for (unsigned i = 0; !ret && i < vm->vcpu_count; i++)
		ret = vcpu_start(vm->vcpus[i], err);
	if (ret) {
		vm_stop(vm, VM_STOP_HOST, 0, "it did not start");
		vm_join(vm);
		return err_set(err, ret, "cannot start the VM: %s",
			       strerror(-ret));
	}
	bus_reclaim(&vm->bus);
	pthread_mutex_lock(&vm->lock);
	running = vm_go(vm, VM_CREATED);
	pthread_mutex_unlock(&vm->lock);
	/* Stopped before it ran is for vm_wait to say, not a failed start. */
	if (!running)
		vm_join(vm);
	return 0;
}

void vm_stop(struct vm *vm, enum vm_stop_reason reason, int code,
	     const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&vm->stop_lock);
	if (vm->stop_reason == VM_STOP_NONE) {
		vm->stop_reason = reason;
		vm->stop_code = code;
		va_start(ap, fmt);
		vsnprintf(vm->stop_message, sizeof(vm->stop_message), fmt, ap);
		va_end(ap);
	}
	atomic_store(&vm->state, VM_DEAD);
	/* A guest does not get past the instruction that switched it off. The
	 * lock keeps the engine where it is meanwhile (handover.c). */
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_post(vm->vcpus[i], VCPU_EV_KICK);
	pthread_mutex_unlock(&vm->stop_lock);
	loop_stop(&vm->loop);
}

void vm_wait(struct vm *vm)
{
	loop_run(&vm->loop);
	/* A signal handler calls loop_stop() alone, and that is all it can. */
	vm_stop(vm, VM_STOP_REQUEST, 0, "stopped by request");
	vm_join(vm);
}

/* ------------------------------------------------------------------------- */
/* Pause, resume */

static bool vm_all_parked(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		if (!vm->vcpus[i]->parked)
			return false;
	return true;
}

/* vm->lock is held. */
static int vm_pause_locked(struct vm *vm)
{
	struct err err = {0};
	int ret;

	if (!vm_move(vm, VM_RUNNING, VM_PAUSING))
		return atomic_load(&vm->state) == VM_PAUSED ? 0 : -EINVAL;
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_post(vm->vcpus[i], VCPU_EV_KICK);
	while (!vm_all_parked(vm))
		pthread_cond_wait(&vm->changed, &vm->lock);
	clock_pause(&vm->clock);
	timer_queue_sync(&vm->timers);
	ret = vm->engine->pause ? vm->engine->pause(vm, &err) : 0;
	if (ret) {
		vm_stop(vm, VM_STOP_HOST, 0, "%s", err.msg);
		return ret;
	}
	device_quiesce_all(vm);
	bus_reclaim(&vm->bus);
	return vm_move(vm, VM_PAUSING, VM_PAUSED) ? 0 : -ECANCELED;
}

int vm_pause(struct vm *vm)
{
	int ret;

	pthread_mutex_lock(&vm->lock);
	ret = vm_pause_locked(vm);
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

int vm_resume(struct vm *vm)
{
	int ret = 0;

	pthread_mutex_lock(&vm->lock);
	if (atomic_load(&vm->state) == VM_PAUSED) {
		ret = vm_go(vm, VM_PAUSED) ? 0 : -ECANCELED;
	} else if (atomic_load(&vm->state) != VM_RUNNING) {
		ret = -EINVAL;
	}
	pthread_mutex_unlock(&vm->lock);
	return ret;
}
