/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real VM with an engine that does nothing and a clock that stands still:
 * one TSC tick is one ns, fixture_time() moves it and fires the timers that
 * come due, each at its own deadline.
 */
#pragma once

#include <stdatomic.h>

#include "arch/cpuid.h"
#include "engine/engine.h"
#include "vmm/device.h"
#include "vmm/vm.h"

static int fixture_vm_create(struct vm *vm, struct err *err)
{
	return 0;
}

static int fixture_vcpu_create(struct vcpu *vcpu, struct err *err)
{
	return 0;
}

static void fixture_vcpu_nothing(struct vcpu *vcpu)
{
}

static const struct engine_ops fixture_engine = {
	.name = "none",
	.vm_create = fixture_vm_create,
	.vcpu_create = fixture_vcpu_create,
	.vcpu_destroy = fixture_vcpu_nothing,
	.kick = fixture_vcpu_nothing,
};

static const struct cpu_policy fixture_cpu = {
	.features = BIT(FEAT_X2APIC) | BIT(FEAT_TSC_DEADLINE),
	.maxphyaddr = 40,
};

static inline struct vm *fixture_vm(unsigned cpus)
{
	struct vm_config config = {
		.engine = &fixture_engine,
		.ram_size = MIB(1),
		.cpus = cpus,
		.cpu = &fixture_cpu,
		.clock = {1000000, false, "test"},
	};
	struct err err = {0};
	struct vm *vm = NULL;

	if (vm_create(&config, &vm, &err))
		fail_msg("%s", err.msg);
	return vm;
}

static inline struct device *fixture_device(struct vm *vm, const char *type,
					    const char *options)
{
	struct err err = {0};
	struct device *dev = device_add(vm, type, options, &err);

	if (!dev)
		fail_msg("%s", err.msg);
	return dev;
}

static inline void fixture_time(struct vm *vm, u64 ns)
{
	struct timer_queue *q = &vm->timers;
	struct timer *t;

	while (q->count && q->heap[0]->deadline_ns <= ns) {
		t = q->heap[0];
		vm->clock.paused_tsc =
			max_u64(vm->clock.paused_tsc, t->deadline_ns);
		timer_disarm(t);
		if (t->dev)
			pthread_mutex_lock(&t->dev->lock);
		t->fire(t, clock_ns(&vm->clock));
		if (t->dev)
			pthread_mutex_unlock(&t->dev->lock);
	}
	vm->clock.paused_tsc = ns;
}

static inline void fixture_outb(struct vm *vm, u16 port, u8 val)
{
	bus_write(&vm->bus, BUS_PIO, port, 1, 1, &val);
}

static inline u8 fixture_inb(struct vm *vm, u16 port)
{
	u8 val = 0;

	bus_read(&vm->bus, BUS_PIO, port, 1, 1, &val);
	return val;
}

static inline void fixture_write32(struct vm *vm, u64 gpa, u32 val)
{
	bus_write(&vm->bus, BUS_MMIO, gpa, 4, 1, &val);
}

static inline u32 fixture_read32(struct vm *vm, u64 gpa)
{
	u32 val = 0;

	bus_read(&vm->bus, BUS_MMIO, gpa, 4, 1, &val);
	return val;
}

/* Events posted to a vCPU since the last call. */
static inline u32 fixture_events(struct vm *vm, unsigned id)
{
	return atomic_exchange(&vm->vcpus[id]->events, 0);
}

/* The same numbers in every run (xorshift). */
static inline u32 fixture_random(u32 *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}
