/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU that waits for a device's descriptors: what ends the wait, what
 * interrupts it, and that no instruction runs meanwhile.
 */
#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "arch/x86_state.h"
#include "engine/engine.h"
#include "vmm/device.h"
#include "vmm/vm.h"

#define MSEC 1000000ull

/* "Executes" one instruction a run: a call to the device below. */
struct caller {
	struct device dev;
	struct vcpu_wait wait;
	struct pollfd fds[2];
	int fd;
	u64 timeout; /* guest ns */
	_Atomic u64 calls, done;
	_Atomic u32 ready;
	u64 done_ns;
	u64 stop_after;
};

static struct caller *caller_of(struct vm *vm)
{
	return container_of(device_find(vm, "caller0"), struct caller, dev);
}

static void caller_done(struct vcpu_wait *wait)
{
	struct caller *c = container_of(wait, struct caller, wait);
	eventfd_t count;

	/* The core holds the lock, as for every callback. */
	assert_int_equal(pthread_mutex_trylock(&c->dev.lock), EBUSY);
	atomic_store(&c->ready, wait->count ? c->fds[0].revents : 0);
	if (atomic_load(&c->ready))
		assert_int_equal(eventfd_read(c->fd, &count), 0);
	c->done_ns = clock_ns(&c->dev.vm->clock);
	atomic_fetch_add(&c->done, 1);
}

static void call(struct vcpu *vcpu)
{
	struct caller *c = caller_of(vcpu->vm);

	if (atomic_load(&c->calls) == c->stop_after) {
		vm_stop(vcpu->vm, VM_STOP_DEBUG_EXIT, 3, "enough");
		return;
	}
	if (atomic_load(&c->calls) != atomic_load(&c->done))
		abort(); /* an instruction during the wait */
	atomic_fetch_add(&c->calls, 1);
	c->fds[0] = (struct pollfd){.fd = c->fd, .events = POLLIN};
	c->wait.count = c->fd >= 0;
	c->wait.deadline = c->timeout == TIMER_NEVER
				   ? TIMER_NEVER
				   : clock_ns(&vcpu->vm->clock) + c->timeout;
	assert_true(vcpu_wait(vcpu, &c->wait));
	assert_false(vcpu_wait(vcpu, &c->wait)); /* one at a time */
}

static int caller_create(struct device *dev, struct err *err)
{
	struct caller *c = container_of(dev, struct caller, dev);

	c->wait.dev = dev;
	c->wait.fds = c->fds;
	c->wait.done = caller_done;
	return 0;
}

static const struct device_type caller_type = {
	.name = "caller",
	.help = "waits",
	.size = sizeof(struct caller),
	.create = caller_create,
};
DEVICE_TYPE(caller_type);

static int nothing_vm(struct vm *vm, struct err *err)
{
	return 0;
}

static int nothing_vcpu(struct vcpu *vcpu, struct err *err)
{
	return 0;
}

static void nothing(struct vcpu *vcpu)
{
}

static void run(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	exit->kind = VCPU_EXIT_KICK;
	if (!(atomic_load(&vcpu->events) & VCPU_EV_KICK))
		call(vcpu);
}

static int set_state(struct vcpu *vcpu, const struct x86_state *state,
		     struct err *err)
{
	return 0;
}

static const struct engine_ops engine_calls = {
	.name = "calls",
	.vm_create = nothing_vm,
	.vcpu_create = nothing_vcpu,
	.vcpu_destroy = nothing,
	.run = run,
	.kick = nothing,
	.set_state = set_state,
};

static struct vm *create(int fd, u64 timeout)
{
	const struct vm_config config = {
		.engine = &engine_calls,
		.ram_size = MIB(2),
		.cpus = 1,
		.irqchip = VM_IRQCHIP_NONE,
		.clock = {1000000, false, "test"},
	};
	struct caller *c;
	struct vm *vm;

	assert_int_equal(vm_create(&config, &vm, NULL), 0);
	c = container_of(device_add(vm, "caller", NULL, NULL), struct caller,
			 dev);
	c->fd = fd;
	c->timeout = timeout;
	c->stop_after = UINT64_MAX;
	return vm;
}

static void start(struct vm *vm)
{
	struct x86_state bsp;

	x86_state_reset(&bsp);
	assert_int_equal(vm_start(vm, &bsp, NULL), 0);
}

static void sleep_ms(unsigned ms)
{
	const struct timespec ts = {ms / 1000, ms % 1000 * (long)MSEC};

	nanosleep(&ts, NULL);
}

static void await(_Atomic u64 *word, u64 val)
{
	for (unsigned i = 0; i < 5000 && atomic_load(word) < val; i++)
		sleep_ms(1);
	assert_true(atomic_load(word) >= val);
}

static void test_deadline(void **state)
{
	struct vm *vm = create(-1, 2 * MSEC);
	struct caller *c = caller_of(vm);

	c->stop_after = 10;
	start(vm);
	vm_wait(vm);
	assert_int_equal(vm->stop_code, 3);
	assert_int_equal(c->done, 10);
	assert_true(c->done_ns >= 20 * MSEC);
	assert_int_equal(c->ready, 0);
	vm_destroy(vm);
}

static void test_descriptor(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct vm *vm = create(fd, TIMER_NEVER);
	struct caller *c = caller_of(vm);

	start(vm);
	for (u64 i = 1; i <= 200; i++) {
		await(&c->calls, i);
		assert_int_equal(c->done, i - 1);
		assert_int_equal(eventfd_write(fd, 1), 0);
		await(&c->done, i);
		assert_int_equal(c->ready, POLLIN);
	}
	vm_stop(vm, VM_STOP_REQUEST, 0, "enough");
	vm_wait(vm);
	vm_destroy(vm);
	close(fd);
}

/* A stop at any moment of a wait; nobody hangs. */
static void test_stop(void **state)
{
	for (unsigned i = 0; i < 100; i++) {
		struct vm *vm = create(-1, TIMER_NEVER);
		struct caller *c = caller_of(vm);

		start(vm);
		if (i % 2)
			await(&c->calls, 1);
		vm_stop(vm, VM_STOP_REQUEST, 0, "enough");
		vm_wait(vm);
		assert_int_equal(c->done, 0);
		vm_destroy(vm);
	}
}

static void *wait_thread(void *arg)
{
	vm_wait(arg);
	return NULL;
}

/* The clock stands still in a pause, and so does the deadline. */
static void test_pause(void **state)
{
	struct vm *vm = create(-1, 300 * MSEC);
	struct caller *c = caller_of(vm);
	pthread_t loop;
	u64 ns;

	c->stop_after = 1;
	start(vm);
	pthread_create(&loop, NULL, wait_thread, vm);
	await(&c->calls, 1);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(vm_pause(vm), 0);
		assert_true(vm->vcpus[0]->parked);
		ns = clock_ns(&vm->clock);
		sleep_ms(100);
		assert_int_equal(clock_ns(&vm->clock), ns);
		assert_int_equal(vm_resume(vm), 0);
	}
	pthread_join(loop, NULL);
	assert_int_equal(vm->stop_code, 3);
	assert_int_equal(c->done, 1);
	assert_true(c->done_ns >= 300 * MSEC);
	vm_destroy(vm);
}

/* Nothing could wake a bare machine's HLT. */
static void halt(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	exit->kind = VCPU_EXIT_HALT;
}

static void test_halt(void **state)
{
	struct engine_ops engine = engine_calls;
	struct vm *vm;

	engine.run = halt;
	vm = create(-1, 0);
	vm->engine = &engine;
	start(vm);
	vm_wait(vm);
	assert_int_equal(vm->stop_reason, VM_STOP_GUEST);
	vm_destroy(vm);
}

static void test_bare(void **state)
{
	struct vm_config config = {
		.engine = &engine_calls,
		.ram_size = GIB(4),
		.cpus = 1,
		.irqchip = VM_IRQCHIP_NONE,
		.clock = {1000000, false, "test"},
	};
	struct vm *vm;

	assert_int_equal(vm_create(&config, &vm, NULL), 0);
	assert_int_equal(vm->mem.count, 1);
	assert_false(vm->vcpus[0]->lapic.regs.apic_base & APIC_BASE_EN);
	vm_destroy(vm);
	config.cpus = 2;
	assert_int_equal(vm_create(&config, &vm, NULL), -EINVAL);
	config.cpus = 1;
	config.ram_size = GIB(4) + 4096;
	assert_int_equal(vm_create(&config, &vm, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_descriptor),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_halt),
		cmocka_unit_test(test_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
