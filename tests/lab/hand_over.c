/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves a running guest from the software engine to KVM and back, many times;
 * the guest (tests/guest/handover) checks that it notices nothing.
 *
 *     hand_over IMAGE CPUS MOVES FIRST [GUEST-OPTIONS]
 *
 * FIRST is the engine it starts on, bt or kvm. Where the host's KVM refuses a
 * guest of bt's, that guest has to go on undisturbed.
 *
 * Exit status 0, 1 where the guest or a move failed, 77 without KVM or where it
 * refused.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arch/cpuid.h"
#include "arch/x86_state.h"
#include "board/board.h"
#include "boot/boot.h"
#include "engine/engine.h"
#include "vmm/vm.h"

enum { STOP = 0x600, PASSED = 33, SKIP = 77, FAILED = 1, SAFETY_S = 60 };

struct job {
	struct vm *vm;
	unsigned moves;
	atomic_uint done; /* moves */
	atomic_bool ended;
	bool failed, refused;
};

static void nap(unsigned ms)
{
	const struct timespec t = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&t, NULL);
}

/* Uneven naps: a move finds the guest anywhere. */
static void *move(void *arg)
{
	const struct engine_ops *to;
	struct job *job = arg;
	const u8 stop = 1;
	int ret = 0;

	for (unsigned i = 0; !ret && i < job->moves; i++) {
		struct err err = {0};

		to = job->vm->engine == &engine_bt ? &engine_kvm : &engine_bt;
		nap(20 + i * 37 % 50);
		ret = vm_hand_over(job->vm, to, &err);
		if (ret)
			printf("move %u: %s\n", i, err.msg);
		job->refused = ret == -ENOTSUP && !i;
		job->failed = ret && !job->refused;
		atomic_store(&job->done, i + 1);
	}
	nap(30);
	mem_write(&job->vm->mem, STOP, &stop, sizeof(stop));
	return NULL;
}

static int make_policy(struct cpu_policy *policy, unsigned cpus,
		       struct clock_source *clock, struct err *err)
{
	static struct cpu_offer offer;
	struct cpu_request request = {.vcpus = cpus, .offer = &offer};
	int ret = engine_kvm.cpu_offer(&offer, err);

	engine_kvm.clock_source(clock, NULL);
	request.tsc_khz = clock->tsc_khz;
	return ret ? ret : cpu_policy_init(policy, &request, err);
}

static int read_image(const char *path, struct boot_file *file)
{
	FILE *in = fopen(path, "rb");
	u8 *data = malloc(MIB(4));

	if (!in || !data)
		return -ENOENT;
	file->len = fread(data, 1, MIB(4), in);
	file->data = data;
	file->name = path;
	fclose(in);
	return 0;
}

static int build(struct vm *vm, const char *image, unsigned cpus,
		 const char *options, struct err *err)
{
	const struct board_config config = {.serials = 1,
					    .debug_exit = "port=0xf4"};
	static struct x86_state bsp;
	struct boot_config boot = {0};
	struct board board;
	char cmdline[128];
	int ret;

	snprintf(cmdline, sizeof(cmdline), "cpus=%u %s", cpus, options);
	boot.cmdline = cmdline;
	vm->consoles[0].out_fd = 1;
	ret = board_pc(vm, &config, &board, err);
	if (!ret)
		ret = read_image(image, &boot.kernel);
	boot.acpi_rsdp = board.acpi_rsdp;
	if (!ret)
		ret = boot_load(&vm->mem, &boot, &bsp, err);
	return ret ? ret : vm_start(vm, &bsp, err);
}

static void show_vcpu(struct vcpu *vcpu)
{
	struct x86_state state;

	if (vcpu->vm->engine->get_state(vcpu, &state)) {
		printf("vcpu %u: no state\n", vcpu->id);
		return;
	}
	printf("vcpu %u: rip %#llx flags %#llx mp_state %u intr_pending %u\n",
	       vcpu->id, (unsigned long long)state.rip,
	       (unsigned long long)state.rflags, state.mp_state,
	       state.intr_pending);
}

/* Says where a guest that hangs stands; nothing else could. */
static void *watch(void *arg)
{
	struct job *job = arg;

	for (unsigned ms = 0; ms < SAFETY_S * 1000; ms += 100) {
		if (atomic_load(&job->ended))
			return NULL;
		nap(100);
	}
	printf("it hangs after %u moves, on %s\n", atomic_load(&job->done),
	       job->vm->engine->name);
	fflush(stdout);
	if (!vm_pause(job->vm))
		for (unsigned i = 0; i < job->vm->vcpu_count; i++)
			show_vcpu(job->vm->vcpus[i]);
	fflush(stdout);
	_exit(FAILED);
}

static int run(struct job *job)
{
	pthread_t mover, watcher;

	if (pthread_create(&watcher, NULL, watch, job) ||
	    pthread_create(&mover, NULL, move, job))
		return FAILED;
	vm_wait(job->vm);
	pthread_join(mover, NULL);
	atomic_store(&job->ended, true);
	pthread_join(watcher, NULL);
	printf("%u moves, the guest's status is %d: %s\n", job->moves,
	       job->vm->stop_code, job->vm->stop_message);
	if (job->failed || job->vm->stop_reason != VM_STOP_DEBUG_EXIT ||
	    job->vm->stop_code != PASSED)
		return FAILED;
	return job->refused ? SKIP : 0;
}

int main(int argc, char **argv)
{
	static struct cpu_policy policy;
	struct vm_config config = {
		.ram_size = MIB(64),
		.cpu = &policy,
	};
	struct err err = {0};
	struct job job = {0};
	int status = FAILED;

	if (argc < 5)
		return 2;
	config.engine = strcmp(argv[4], "kvm") ? &engine_bt : &engine_kvm;
	config.cpus = (unsigned)atoi(argv[2]);
	job.moves = (unsigned)atoi(argv[3]);
	if (engine_kvm.probe(&err)) {
		puts(err.msg);
		return SKIP;
	}
	if (!make_policy(&policy, config.cpus, &config.clock, &err) &&
	    !vm_create(&config, &job.vm, &err) &&
	    !build(job.vm, argv[1], config.cpus, argc > 5 ? argv[5] : "", &err))
		status = run(&job);
	if (err.code)
		puts(err.msg);
	vm_destroy(job.vm);
	return status;
}
