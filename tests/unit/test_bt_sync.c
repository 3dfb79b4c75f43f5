/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs of the software engine and who waits for whom: the exclusive section,
 * and the flush of all blocks.
 */
#include "bt_guest.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "engine/bt/vm.h"
#include "vmm/bus.h"
#include "vmm/device.h"

/* A write by a device beside code, in its page, stops nobody; one to the code
 * does. */
static void test_write_beside_code(void **unused)
{
	struct guest *g = guest_create();
	struct bt_vm *bvm = bt_vm(g->vm);
	u8 zero[64] = {0};
	u64 before;

	RUN(g, "\x90\xf4");
	before = bvm->stat_exclusive;
	poke(g, CODE + 0x800, zero, sizeof(zero));
	poke(g, CODE - sizeof(zero), zero, sizeof(zero));
	assert_int_equal(bvm->stat_exclusive, before);
	poke(g, CODE + 1, zero, 1);
	assert_int_equal(bvm->stat_exclusive, before + 1);
	/* Over both pages, and the code in the second. */
	flat_state(&g->state);
	RUN(g, "\x90\xf4");
	before = bvm->stat_exclusive;
	poke(g, CODE - 1, zero, 2);
	assert_int_equal(bvm->stat_exclusive, before + 1);
	guest_destroy(g);
}

/* A device that keeps who reads it until it is told to let go. */
struct gate {
	struct device dev;
	atomic_bool entered, open;
};

static u64 gate_read(struct device *dev, u64 off, unsigned width)
{
	struct gate *gate = container_of(dev, struct gate, dev);

	atomic_store(&gate->entered, true);
	while (!atomic_load(&gate->open))
		usleep(100);
	return 0;
}

static void *run_first(void *arg)
{
	struct guest *g = arg;

	engine_bt.run(g->vcpu, &g->exit);
	return NULL;
}

/* Makes vCPU 1 decode a block with the cache full. */
static void flush(struct guest *g, struct vcpu_exit *exit)
{
	struct x86_state *s = &g->state;
	struct bt_vm *bvm = bt_vm(g->vm);
	u32 epoch = bvm->epoch;

	s->rip += 16;
	poke(g, s->rip, "\xf4", 1);
	bvm->arena_used = bvm->arena_size;
	assert_int_equal(engine_bt.set_state(g->vm->vcpus[1], s, NULL), 0);
	engine_bt.run(g->vm->vcpus[1], exit);
	assert_int_equal(exit->kind, VCPU_EXIT_HALT);
	assert_int_equal(bvm->epoch, epoch + 1);
}

struct waiter {
	struct guest *guest;
	atomic_bool done;
};

static void *run_second(void *arg)
{
	struct waiter *w = arg;
	struct vcpu_exit exit;

	flush(w->guest, &exit);
	atomic_store(&w->done, true);
	return NULL;
}

/*
 * The halves of the cache must not turn twice while a vCPU is in the middle of
 * an instruction: who wants to waits for it, asleep but for a look now and
 * then.
 */
static void test_flush_waits(void **unused)
{
	enum { WAIT_US = 50000, LOOK_US = 50 };
	struct guest *g = guest_create_cpus(2);
	struct gate gate = {.entered = false};
	const struct bus_region region = {
		.name = "gate",
		.space = BUS_MMIO,
		.base = MMIO,
		.size = 0x1000,
		.widths = BUS_W4,
		.dev = &gate.dev,
		.read = gate_read,
	};
	struct timespec start, end;
	struct waiter waiter = {.guest = g};
	struct vcpu_exit exit;
	pthread_t first, second;
	u64 sections, us;

	pthread_mutex_init(&gate.dev.lock, NULL);
	assert_int_equal(bus_add(&g->vm->bus, &region, NULL), 0);
	poke(g, CODE, "\xa1\x00\x00\x00\x40\xf4", 6); /* mov MMIO, %eax */
	assert_int_equal(engine_bt.set_state(g->vcpu, &g->state, NULL), 0);
	pthread_create(&first, NULL, run_first, g);
	while (!atomic_load(&gate.entered))
		usleep(100);
	g->state.rip = DATA;
	flush(g, &exit);
	clock_gettime(CLOCK_MONOTONIC, &start);
	sections = bt_vm(g->vm)->stat_exclusive;
	pthread_create(&second, NULL, run_second, &waiter);
	usleep(WAIT_US);
	assert_false(atomic_load(&waiter.done));
	atomic_store(&gate.open, true);
	pthread_join(first, NULL);
	pthread_join(second, NULL);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_int_equal(g->exit.kind, VCPU_EXIT_HALT);
	us = (u64)(end.tv_sec - start.tv_sec) * 1000000 +
	     (u64)(end.tv_nsec - start.tv_nsec) / 1000;
	sections = bt_vm(g->vm)->stat_exclusive - sections;
	/* A sleep never ends early; beside the looks a few pages are claimed.
	 */
	assert_true(sections <= us / LOOK_US + 10);
	bus_remove(&g->vm->bus, BUS_MMIO, MMIO);
	pthread_mutex_destroy(&gate.dev.lock);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_beside_code),
		cmocka_unit_test(test_flush_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
