/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a VM, with an engine that runs no instruction: a script decides
 * what each vCPU "executes".
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
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

/* ------------------------------------------------------------------------- */
/* The engine */

struct script {
	/* One "instruction"; true: run() returns with *exit. */
	bool (*step)(struct vcpu *vcpu, struct vcpu_exit *exit);
	int fail_vm, fail_vcpu, fail_state; /* -errno; fail_vcpu: of the last */
};

static struct script script;

struct fake_vcpu {
	_Atomic u64 steps, kicks, runs;
	_Atomic u32 taken; /* events seen, but for KICK */
	u8 mp_state;
};

struct fake_vm {
	unsigned vcpus;
};

static struct fake_vcpu *fake(struct vcpu *vcpu)
{
	return vcpu->engine;
}

static int fake_probe(struct err *err)
{
	return 0;
}

static int fake_vm_create(struct vm *vm, struct err *err)
{
	if (script.fail_vm)
		return err_set(err, script.fail_vm, "no VM today");
	vm->engine_vm = calloc(1, sizeof(struct fake_vm));
	return 0;
}

static void fake_vm_destroy(struct vm *vm)
{
	struct fake_vm *fvm = vm->engine_vm;

	if (fvm->vcpus)
		abort();
	free(fvm);
}

static int fake_vcpu_create(struct vcpu *vcpu, struct err *err)
{
	struct fake_vm *fvm = vcpu->vm->engine_vm;

	if (script.fail_vcpu && vcpu->id == 1)
		return script.fail_vcpu;
	vcpu->engine = calloc(1, sizeof(struct fake_vcpu));
	fvm->vcpus++;
	return 0;
}

static void fake_vcpu_destroy(struct vcpu *vcpu)
{
	struct fake_vm *fvm = vcpu->vm->engine_vm;

	fvm->vcpus--;
	free(vcpu->engine);
}

static void fake_run(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	struct fake_vcpu *f = fake(vcpu);

	atomic_fetch_add(&f->runs, 1);
	for (;;) {
		u32 events = atomic_load(&vcpu->events);

		exit->kind = VCPU_EXIT_KICK;
		if (events & VCPU_EV_KICK)
			return;
		atomic_fetch_or(&f->taken, events);
		atomic_fetch_and(&vcpu->events, ~events);
		atomic_fetch_add(&f->steps, 1);
		if (script.step(vcpu, exit))
			return;
	}
}

static void fake_kick(struct vcpu *vcpu)
{
	atomic_fetch_add(&fake(vcpu)->kicks, 1);
}

static int fake_get_state(struct vcpu *vcpu, struct x86_state *state)
{
	return 0;
}

static int fake_set_state(struct vcpu *vcpu, const struct x86_state *state,
			  struct err *err)
{
	if (script.fail_state)
		return script.fail_state;
	fake(vcpu)->mp_state = state->mp_state;
	return 0;
}

static const struct engine_ops engine_fake = {
	.name = "fake",
	.probe = fake_probe,
	.vm_create = fake_vm_create,
	.vm_destroy = fake_vm_destroy,
	.vcpu_create = fake_vcpu_create,
	.vcpu_destroy = fake_vcpu_destroy,
	.run = fake_run,
	.kick = fake_kick,
	.get_state = fake_get_state,
	.set_state = fake_set_state,
};

/* ------------------------------------------------------------------------- */
/* Scripts */

static bool step_spin(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	return false;
}

static bool step_halt(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	exit->kind = VCPU_EXIT_HALT;
	return true;
}

/* The BSP switches the VM off at its third instruction, as a device would. */
static bool step_poweroff(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	if (vcpu->id == 0 && fake(vcpu)->steps == 3)
		vm_stop(vcpu->vm, VM_STOP_POWEROFF, 0, "S5");
	return vcpu->id && step_halt(vcpu, exit);
}

static bool step_debug_exit(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	vm_stop(vcpu->vm, VM_STOP_DEBUG_EXIT, 33 + (int)fake(vcpu)->steps,
		"exit");
	return false;
}

static bool step_triple_fault(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	exit->kind = VCPU_EXIT_SHUTDOWN;
	strcpy(exit->message, "triple fault at rip 0x1234");
	return true;
}

static bool step_fail(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	exit->kind = VCPU_EXIT_FAIL;
	strcpy(exit->message, "cannot go on");
	return true;
}

/* ------------------------------------------------------------------------- */

static struct vm *create(unsigned cpus,
			 bool (*step)(struct vcpu *, struct vcpu_exit *))
{
	struct vm_config config = {
		.engine = &engine_fake,
		.ram_size = MIB(2),
		.cpus = cpus,
		.clock = {1000000, false, "test"},
	};
	struct err err = {0};
	struct vm *vm = NULL;

	memset(&script, 0, sizeof(script));
	script.step = step;
	if (vm_create(&config, &vm, &err))
		fail_msg("%s", err.msg);
	return vm;
}

static struct vm *start(unsigned cpus,
			bool (*step)(struct vcpu *, struct vcpu_exit *))
{
	struct vm *vm = create(cpus, step);
	struct x86_state bsp;

	x86_state_reset(&bsp);
	assert_int_equal(vm_start(vm, &bsp, NULL), 0);
	return vm;
}

static void sleep_ns(u64 ns)
{
	struct timespec ts = {0, (long)ns};

	nanosleep(&ts, NULL);
}

/* Up to 5 s until *word is at least val. */
static void await(_Atomic u64 *word, u64 val)
{
	for (unsigned i = 0; i < 5000 && atomic_load(word) < val; i++)
		sleep_ns(MSEC);
	assert_true(atomic_load(word) >= val);
}

static unsigned entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static unsigned threads(void)
{
	return entries("/proc/self/task");
}

/* A joined thread may still be on its way out of /proc. */
static void check_threads(unsigned before)
{
	for (unsigned i = 0; i < 1000 && threads() != before; i++)
		sleep_ns(MSEC);
	assert_int_equal(threads(), before);
}

/* ------------------------------------------------------------------------- */

static void test_start_stop(void **state)
{
	struct vm *vm = start(3, step_poweroff);

	assert_int_equal(fake(vm->vcpus[0])->mp_state, X86_MP_RUNNABLE);
	assert_int_equal(fake(vm->vcpus[1])->mp_state, X86_MP_WAIT_SIPI);
	assert_int_equal(fake(vm->vcpus[2])->mp_state, X86_MP_WAIT_SIPI);
	vm_wait(vm);
	assert_int_equal(vm->stop_reason, VM_STOP_POWEROFF);
	assert_string_equal(vm->stop_message, "S5");
	assert_int_equal(vm->state, VM_DEAD);
	/* The guest did not get past the instruction that stopped it. */
	assert_int_equal(fake(vm->vcpus[0])->steps, 3);
	assert_int_equal(vm_pause(vm), -EINVAL);
	assert_int_equal(vm_resume(vm), -EINVAL);
	assert_int_equal(vm_start(vm, NULL, NULL), -EINVAL);
	vm_destroy(vm);
	vm_destroy(NULL);
}

static void test_reasons(void **state)
{
	struct vm *vm = start(1, step_debug_exit);

	vm_wait(vm);
	assert_int_equal(vm->stop_reason, VM_STOP_DEBUG_EXIT);
	assert_int_equal(vm->stop_code, 34);
	vm_stop(vm, VM_STOP_FAIL, 1, "late");
	assert_int_equal(vm->stop_code, 34);
	vm_destroy(vm);

	vm = start(2, step_triple_fault);
	vm_wait(vm);
	assert_int_equal(vm->stop_reason, VM_STOP_TRIPLE_FAULT);
	assert_non_null(strstr(vm->stop_message, "rip 0x1234"));
	vm_destroy(vm);

	vm = start(2, step_fail);
	vm_wait(vm);
	assert_int_equal(vm->stop_reason, VM_STOP_FAIL);
	assert_non_null(strstr(vm->stop_message, "cannot go on"));
	vm_destroy(vm);

	/* As a signal handler does it. */
	vm = start(1, step_spin);
	loop_stop(&vm->loop);
	vm_wait(vm);
	assert_int_equal(vm->stop_reason, VM_STOP_REQUEST);
	vm_destroy(vm);
}

static void test_failures(void **state)
{
	struct vm_config config = {
		.engine = &engine_fake, .ram_size = MIB(2), .cpus = 2};
	unsigned fds = entries("/proc/self/fd"), tasks = threads();
	struct x86_state bsp;
	struct err err = {0};
	struct vm *vm = NULL;

	memset(&script, 0, sizeof(script));
	script.fail_vm = -EACCES;
	assert_int_equal(vm_create(&config, &vm, &err), -EACCES);
	assert_string_equal(err.msg, "no VM today");
	script.fail_vm = 0;
	script.fail_vcpu = -EMFILE;
	err.code = 0;
	assert_int_equal(vm_create(&config, &vm, &err), -EMFILE);
	assert_non_null(strstr(err.msg, "vcpu1"));
	config.cpus = 0;
	assert_int_equal(vm_create(&config, &vm, NULL), -EINVAL);
	config.cpus = VM_MAX_VCPUS + 1;
	assert_int_equal(vm_create(&config, &vm, NULL), -EINVAL);
	config.cpus = 1;
	config.ram_size = 5;
	assert_int_equal(vm_create(&config, &vm, NULL), -EINVAL);
	assert_null(vm);

	vm = create(2, step_spin);
	script.fail_state = -EIO;
	x86_state_reset(&bsp);
	assert_int_equal(vm_start(vm, &bsp, NULL), -EIO);
	vm_destroy(vm);
	/* Never started, and started but never waited for. */
	vm_destroy(create(4, step_spin));
	vm_destroy(start(4, step_spin));
	assert_int_equal(entries("/proc/self/fd"), fds);
	check_threads(tasks);
}

/* ------------------------------------------------------------------------- */
/* Events and halting */

static void test_halt(void **state)
{
	struct vm *vm = start(1, step_halt);
	struct vcpu *vcpu = vm->vcpus[0];

	for (u64 i = 1; i < 500; i++) {
		u64 steps;

		await(&vcpu->halts, i);
		steps = fake(vcpu)->steps;
		assert_in_range(steps, i, i + 1);
		vcpu_post(vcpu, i % 2 ? VCPU_EV_INTR : VCPU_EV_TIMER);
		/* Mostly without the sleep of await: races with halting. */
		while (atomic_load(&fake(vcpu)->steps) <= steps &&
		       atomic_load(&vcpu->halts) <= i)
			;
	}
	assert_int_equal(fake(vcpu)->taken, VCPU_EV_INTR | VCPU_EV_TIMER);
	sleep_ns(20 * MSEC);
	assert_true(vcpu->sleeping);
	vm_stop(vm, VM_STOP_REQUEST, 0, "enough");
	vm_wait(vm);
	vm_destroy(vm);
}

/* Two vCPUs wake each other in turn; a lost wake-up hangs it. */
static bool step_ping_pong(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	struct fake_vcpu *f = fake(vcpu);

	if (vcpu->id == 0 && f->steps >= 5000)
		vm_stop(vcpu->vm, VM_STOP_POWEROFF, 0, "done");
	if (f->steps == 1 || atomic_exchange(&f->taken, 0))
		vcpu_notify(vcpu->vm->vcpus[!vcpu->id]);
	return step_halt(vcpu, exit);
}

static void test_ping_pong(void **state)
{
	struct vm *vm = start(2, step_ping_pong);

	vm_wait(vm);
	assert_true(fake(vm->vcpus[1])->steps > 1000);
	vm_destroy(vm);
}

/* A halted guest takes no CPU time. */
static void test_idle(void **state)
{
	struct vm *vm = start(4, step_halt);
	struct timespec before, after;

	for (unsigned i = 0; i < 4; i++)
		await(&vm->vcpus[i]->halts, 1);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	sleep_ns(100 * MSEC);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	assert_true(after.tv_sec == before.tv_sec
			    ? after.tv_nsec - before.tv_nsec < 10000000
			    : true);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vm->vcpus[i]->halts, 1);
	vm_destroy(vm);
}

/* Arms its LAPIC's timer for 2 ms later and halts. */
static bool step_tick(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	u64 deadline = clock_ns(&vcpu->vm->clock) + 2 * MSEC;

	if (vcpu->lapic.timer.index < 0)
		timer_arm(&vcpu->lapic.timer, deadline);
	return step_halt(vcpu, exit);
}

/* A halted vCPU waits for its timer itself: no event loop runs here. */
static void test_halt_until_timer(void **state)
{
	struct vm *vm = start(2, step_tick);
	struct vcpu *vcpu = vm->vcpus[1];

	for (u64 i = 1; i < 20; i++) {
		u64 before = clock_ns(&vm->clock), steps = fake(vcpu)->steps;

		await(&fake(vcpu)->steps, steps + 2);
		assert_true(clock_ns(&vm->clock) - before >= 2 * MSEC);
		assert_int_equal(fake(vcpu)->taken, VCPU_EV_TIMER);
	}
	vm_destroy(vm);
}

/* Woken by something else, or paused meanwhile, the timer is not lost. */
static bool step_tick_once(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	struct timer *timer = &vcpu->lapic.timer;

	if (fake(vcpu)->steps == 1)
		timer_arm(timer, clock_ns(&vcpu->vm->clock) + 100 * MSEC);
	return step_halt(vcpu, exit);
}

static void test_halt_keeps_timer(void **state)
{
	struct vm *vm = start(1, step_tick_once);
	struct vcpu *vcpu = vm->vcpus[0];

	for (u64 i = 1; i < 20; i++) {
		await(&vcpu->halts, i);
		if (i % 4 == 0) {
			assert_int_equal(vm_pause(vm), 0);
			assert_int_equal(vm_resume(vm), 0);
		} else {
			vcpu_notify(vcpu);
		}
	}
	while (!(fake(vcpu)->taken & VCPU_EV_TIMER))
		sleep_ns(MSEC);
	assert_true(clock_ns(&vm->clock) >= 100 * MSEC);
	vm_destroy(vm);
}

/* ------------------------------------------------------------------------- */
/* Threads */

static bool step_check_thread(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	char name[16];
	sigset_t mask;

	pthread_getname_np(pthread_self(), name, sizeof(name));
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	if (name[0] == 'v' && name[4] == '0' + (char)vcpu->id &&
	    sigismember(&mask, SIGTERM) && sigismember(&mask, SIGCHLD) &&
	    !sigismember(&mask, SIGSEGV) && !sigismember(&mask, SIGBUS) &&
	    !sigismember(&mask, SIGFPE) && !sigismember(&mask, SIGILL))
		vm_stop(vcpu->vm, VM_STOP_POWEROFF, 0, "as it should be");
	else
		vm_stop(vcpu->vm, VM_STOP_FAIL, 0, "name or mask is wrong");
	return false;
}

static void test_thread(void **state)
{
	struct vm *vm = start(1, step_check_thread);
	sigset_t mask;

	vm_wait(vm);
	assert_int_equal(vm->stop_reason, VM_STOP_POWEROFF);
	vm_destroy(vm);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	assert_false(sigismember(&mask, SIGTERM));
}

/* ------------------------------------------------------------------------- */
/* Pause and resume */

struct ticker {
	struct device dev;
	struct timer timer;
	_Atomic u64 fired;
	_Atomic u32 quiet, resumed;
};

static void ticker_fire(struct timer *t, u64 now_ns)
{
	struct ticker *ticker = container_of(t, struct ticker, timer);

	if (atomic_load(&ticker->quiet))
		abort();
	atomic_fetch_add(&ticker->fired, 1);
	timer_arm(t, now_ns + MSEC);
}

static int ticker_create(struct device *dev, struct err *err)
{
	struct ticker *ticker = container_of(dev, struct ticker, dev);

	timer_init(&ticker->timer, &dev->vm->timers, dev, ticker_fire);
	timer_arm(&ticker->timer, MSEC);
	return 0;
}

static void ticker_destroy(struct device *dev)
{
	timer_fini(&container_of(dev, struct ticker, dev)->timer);
}

static void ticker_quiesce(struct device *dev)
{
	atomic_store(&container_of(dev, struct ticker, dev)->quiet, 1);
}

static void ticker_resume(struct device *dev)
{
	struct ticker *ticker = container_of(dev, struct ticker, dev);

	atomic_store(&ticker->quiet, 0);
	atomic_fetch_add(&ticker->resumed, 1);
}

static const struct device_type ticker_type = {
	.name = "ticker",
	.help = "fires every millisecond",
	.size = sizeof(struct ticker),
	.create = ticker_create,
	.destroy = ticker_destroy,
	.quiesce = ticker_quiesce,
	.resume = ticker_resume,
};
DEVICE_TYPE(ticker_type);

static void *wait_thread(void *arg)
{
	vm_wait(arg);
	return NULL;
}

static void check_frozen(struct vm *vm, struct ticker *ticker)
{
	u64 ns = clock_ns(&vm->clock), fired = ticker->fired;
	u64 steps = 0;

	for (unsigned i = 0; i < vm->vcpu_count; i++)
		steps += fake(vm->vcpus[i])->steps;
	sleep_ns(3 * MSEC);
	assert_int_equal(clock_ns(&vm->clock), ns);
	assert_int_equal(ticker->fired, fired);
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		steps -= fake(vm->vcpus[i])->steps;
	assert_int_equal(steps, 0);
}

static void check_pause(bool (*step)(struct vcpu *, struct vcpu_exit *))
{
	struct vm *vm = create(3, step);
	struct device *dev = device_add(vm, "ticker", NULL, NULL);
	struct ticker *ticker = container_of(dev, struct ticker, dev);
	struct x86_state bsp;
	pthread_t loop;

	x86_state_reset(&bsp);
	assert_int_equal(vm_pause(vm), -EINVAL); /* not started */
	assert_int_equal(vm_start(vm, &bsp, NULL), 0);
	pthread_create(&loop, NULL, wait_thread, vm);
	for (u64 i = 1; i <= 10; i++) {
		u64 runs = fake(vm->vcpus[0])->runs;

		await(&ticker->fired, i * 2);
		assert_int_equal(vm_pause(vm), 0);
		assert_int_equal(vm->state, VM_PAUSED);
		assert_int_equal(vm_pause(vm), 0); /* it is */
		/* An event while paused waits. */
		vcpu_post(vm->vcpus[0], VCPU_EV_INTR);
		check_frozen(vm, ticker);
		assert_int_equal(vm_resume(vm), 0);
		assert_int_equal(vm_resume(vm), 0);
		assert_int_equal(ticker->resumed, i);
		await(&fake(vm->vcpus[0])->runs, runs + 1);
	}
	vm_stop(vm, VM_STOP_REQUEST, 0, "enough");
	pthread_join(loop, NULL);
	vm_destroy(vm);
}

static void test_pause_running(void **state)
{
	check_pause(step_spin);
}

static void test_pause_halted(void **state)
{
	check_pause(step_halt);
}

static void test_stop_while_paused(void **state)
{
	struct vm *vm = start(2, step_spin);

	assert_int_equal(vm_pause(vm), 0);
	vm_stop(vm, VM_STOP_REQUEST, 0, "while paused");
	assert_int_equal(vm_resume(vm), -EINVAL);
	vm_wait(vm);
	assert_int_equal(vm->stop_reason, VM_STOP_REQUEST);
	vm_destroy(vm);
}

/* A pause meets a stop at every point of either; nobody hangs. */
static void *pause_thread(void *arg)
{
	struct vm *vm = arg;

	while (vm_pause(vm) == 0 && vm_resume(vm) == 0)
		;
	return NULL;
}

static bool step_stop_later(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	if (vcpu->id == 1 && fake(vcpu)->steps == 20000)
		vm_stop(vcpu->vm, VM_STOP_POWEROFF, 0, "off");
	return false;
}

static void test_pause_meets_stop(void **state)
{
	for (unsigned i = 0; i < 20; i++) {
		struct vm *vm = start(2, step_stop_later);
		pthread_t pauser;

		pthread_create(&pauser, NULL, pause_thread, vm);
		vm_wait(vm);
		pthread_join(pauser, NULL);
		assert_int_equal(vm->stop_reason, VM_STOP_POWEROFF);
		vm_destroy(vm);
	}
}

/* ------------------------------------------------------------------------- */
/* Stop from the loop; the loop's own rules */

struct watcher {
	struct loop_fd lfd, other;
	struct vm *vm;
	unsigned ready;
};

static void watcher_ready(struct loop_fd *lfd, u32 events)
{
	struct watcher *w = container_of(lfd, struct watcher, lfd);

	w->ready++;
	assert_true(events & EPOLLIN);
	/* The other one is ready as well, but gone now; so is this one. */
	loop_del(&w->vm->loop, &w->other);
	loop_del(&w->vm->loop, lfd);
	vm_stop(w->vm, VM_STOP_REQUEST, 0, "by descriptor %d", lfd->fd);
}

static void other_ready(struct loop_fd *lfd, u32 events)
{
	struct watcher *w = container_of(lfd, struct watcher, other);

	w->ready++;
	loop_del(&w->vm->loop, &w->lfd);
	loop_del(&w->vm->loop, lfd);
	vm_stop(w->vm, VM_STOP_REQUEST, 0, "by descriptor %d", lfd->fd);
}

static void test_loop(void **state)
{
	struct vm *vm = start(2, step_halt);
	struct watcher w = {.vm = vm};
	int fd = eventfd(1, EFD_CLOEXEC), dup_fd = dup(fd);

	w.lfd = (struct loop_fd){LOOP_FD, fd, NULL, watcher_ready};
	w.other = (struct loop_fd){LOOP_FD, dup_fd, NULL, other_ready};
	assert_int_equal(loop_add(&vm->loop, &w.lfd, EPOLLIN), 0);
	assert_int_equal(loop_add(&vm->loop, &w.lfd, EPOLLIN), -EEXIST);
	assert_int_equal(loop_add(&vm->loop, &w.other, 0), 0);
	assert_int_equal(loop_mod(&vm->loop, &w.other, EPOLLIN), 0);
	vm_wait(vm);
	assert_int_equal(w.ready, 1);
	assert_int_equal(vm->stop_reason, VM_STOP_REQUEST);
	assert_non_null(strstr(vm->stop_message, "by descriptor"));
	vm_destroy(vm);
	close(fd);
	close(dup_fd);
}

/* The loop's own thread may pause and resume. */
static void pauser_ready(struct loop_fd *lfd, u32 events)
{
	struct watcher *w = container_of(lfd, struct watcher, lfd);

	loop_del(&w->vm->loop, lfd);
	if (!vm_pause(w->vm) && w->vm->state == VM_PAUSED && !vm_resume(w->vm))
		w->ready++;
	vm_stop(w->vm, VM_STOP_REQUEST, 0, "seen enough");
}

static void test_pause_from_loop(void **state)
{
	struct vm *vm = start(2, step_spin);
	struct watcher w = {.vm = vm};
	int fd = eventfd(1, EFD_CLOEXEC);

	w.lfd = (struct loop_fd){LOOP_FD, fd, NULL, pauser_ready};
	assert_int_equal(loop_add(&vm->loop, &w.lfd, EPOLLIN), 0);
	vm_wait(vm);
	assert_int_equal(w.ready, 1);
	vm_destroy(vm);
	close(fd);
}

/* ------------------------------------------------------------------------- */

static void stop_timer(struct timer *t, u64 now_ns)
{
	struct vm *vm = container_of(t->queue, struct vm, timers);

	vm_stop(vm, VM_STOP_REQUEST, 0, "by timer");
}

static void test_200_lives(void **state)
{
	static bool (*const steps[])(struct vcpu *, struct vcpu_exit *) = {
		step_poweroff, step_halt, step_spin, step_triple_fault};
	unsigned fds = entries("/proc/self/fd"), tasks = threads();

	for (unsigned i = 0; i < 200; i++) {
		struct vm *vm = start(1 + i % 3, steps[i % 4]);
		struct timer timer;

		timer_init(&timer, &vm->timers, NULL, stop_timer);
		timer_arm(&timer, i * 10000);
		if (i % 5 == 4) {
			int ret = vm_pause(vm);

			assert_true(!ret || ret == -ECANCELED ||
				    ret == -EINVAL);
			vm_resume(vm);
		}
		vm_wait(vm);
		assert_true(vm->stop_reason != VM_STOP_NONE);
		timer_fini(&timer);
		vm_destroy(vm);
	}
	assert_int_equal(entries("/proc/self/fd"), fds);
	check_threads(tasks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start_stop),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_halt),
		cmocka_unit_test(test_halt_until_timer),
		cmocka_unit_test(test_halt_keeps_timer),
		cmocka_unit_test(test_ping_pong),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_thread),
		cmocka_unit_test(test_pause_running),
		cmocka_unit_test(test_pause_halted),
		cmocka_unit_test(test_stop_while_paused),
		cmocka_unit_test(test_pause_meets_stop),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_pause_from_loop),
		cmocka_unit_test(test_200_lives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
