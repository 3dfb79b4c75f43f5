/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saves, loads and saves again: a guest (tests/guest/state) is brought to a
 * point, its VM is saved on the engine that ran it, moved to another one,
 * saved there, given to that engine's kernel and taken back, saved once more,
 * and goes on there to its own checks. The saves are equal but for what
 * moves_compare.c lists.
 *
 *     moves FOLDER|IMAGE [POINTS|all] [ENGINES|all] [SEED [MOVES]]
 *
 * FOLDER has the guests' images; POINTS are names with commas between them,
 * ENGINES is two names, "bt-kvm". Exit status 0, 1 where something differs or a
 * guest failed, 2 for a usage error, 77 where there are no such engines.
 *
 * Theory of operation. The guest's write to POINT_PORT is held on the vCPU's
 * thread until the pause has kicked that vCPU, so that it stops right behind
 * the instruction.
 */
#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../guest/state/points.h"
#include "arch/cpuid.h"
#include "arch/x86.h"
#include "arch/xsave.h"
#include "board/board.h"
#include "boot/boot.h"
#include "engine/engine.h"
#include "moves.h"
#include "vmm/device.h"

enum { PASSED = 33, SKIP = 77, SAFETY_S = 100, KERNEL_DATA = 0x10 };

static const char *const point_names[POINT_COUNT] = {
	[POINT_PLAIN] = "plain",       [POINT_STI] = "sti",
	[POINT_MOVSS] = "movss",       [POINT_NMI] = "nmi",
	[POINT_NMI_MAIL] = "nmi-mail", [POINT_REP] = "rep",
	[POINT_HLT] = "hlt",	       [POINT_SIPI] = "sipi",
	[POINT_ONE_SHOT] = "one-shot", [POINT_PERIODIC] = "periodic",
	[POINT_DEADLINE] = "deadline", [POINT_PIT] = "pit",
	[POINT_FPU] = "fpu",	       [POINT_STEP] = "step",
	[POINT_WATCH] = "watch",       [POINT_REAL] = "real",
	[POINT_PAGING] = "paging",     [POINT_MSRS] = "msrs",
	[POINT_CHIPS] = "chips",       [POINT_PAIR] = "pair",
	[POINT_RANDOM] = "random",
};

struct run {
	struct vm *vm;
	const struct engine_ops *engines[2];
	enum point point;
	unsigned reached; /* times */
	unsigned failures;
	bool amd, kvm;
	u64 random;
	struct saved before, after;

	struct device dev; /* owns the regions; no type */
	sem_t event;	   /* a point, or the end */
	_Atomic bool ended;
	_Atomic unsigned reads; /* of POINT_PAGE */
	pthread_t waiter;
};

static struct cpu_policy policy;
static struct cpu_offer offer;
static struct clock_source guest_clock;

static void nap_us(unsigned us)
{
	nanosleep(&(const struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

static unsigned next_random(struct run *run)
{
	run->random =
		run->random * 6364136223846793005ull + 1442695040888963407;
	return (unsigned)(run->random >> 33);
}

/* ---- the guest's side -------------------------------------------------- */

/* On the vCPU's thread, within its instruction. */
static void hold(struct run *run)
{
	struct vm *vm = run->vm;

	sem_post(&run->event);
	if (run->point == POINT_HLT || run->point == POINT_RANDOM)
		return;
	while (!(atomic_load(&vm->vcpus[0]->events) & VCPU_EV_KICK) &&
	       atomic_load(&vm->state) != VM_DEAD)
		nap_us(50);
}

static void port_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	hold(container_of(dev, struct run, dev));
}

static u64 page_read(struct device *dev, u64 off, unsigned width)
{
	struct run *run = container_of(dev, struct run, dev);
	u64 val = 0;

	for (unsigned i = 0; i < width; i++)
		val |= ((off + i) & 0xff) << (8 * i);
	if (atomic_fetch_add(&run->reads, width) == POINT_REP_AT)
		hold(run);
	return val;
}

static u64 ss_read(struct device *dev, u64 off, unsigned width)
{
	hold(container_of(dev, struct run, dev));
	return KERNEL_DATA;
}

static int add_regions(struct run *run, struct err *err)
{
	const struct bus_region regions[] = {
		{.name = "point",
		 .space = BUS_PIO,
		 .base = POINT_PORT,
		 .size = 1,
		 .widths = BUS_W1,
		 .write = port_write},
		{.name = "page",
		 .space = BUS_MMIO,
		 .base = POINT_PAGE,
		 .size = 4096,
		 .widths = BUS_W1 | BUS_W2 | BUS_W4 | BUS_W8,
		 .read = page_read},
		{.name = "ss",
		 .space = BUS_MMIO,
		 .base = POINT_SS,
		 .size = 4096,
		 .widths = BUS_W2,
		 .read = ss_read},
	};
	int ret = 0;

	for (unsigned i = 0; !ret && i < ARRAY_SIZE(regions); i++) {
		struct bus_region region = regions[i];

		region.dev = &run->dev;
		ret = bus_add(&run->vm->bus, &region, err);
	}
	return ret;
}

/* ---- the machine ------------------------------------------------------- */

/* QEMU's own CPU, on which KVM is less exact than on silicon. */
static bool is_emulated(void)
{
	u32 eax, ebx, ecx, edx;

	__cpuid(1, eax, ebx, ecx, edx);
	if (!(ecx >> 31))
		return false;
	__cpuid(0x40000000, eax, ebx, ecx, edx);
	return ebx == 0x54474354; /* "TCGT" */
}

static int read_image(const char *path, struct boot_file *file, struct err *err)
{
	FILE *in = fopen(path, "rb");
	u8 *data = malloc(MIB(4));

	if (!in || !data)
		return err_set(err, -ENOENT, "%s cannot be read", path);
	file->len = fread(data, 1, MIB(4), in);
	file->data = data;
	file->name = path;
	fclose(in);
	return 0;
}

static int load(struct run *run, const char *image, struct err *err)
{
	const struct board_config config = {.serials = 1,
					    .debug_exit = "port=0xf4"};
	static struct x86_state bsp;
	struct boot_config boot = {0};
	struct board board;
	char cmdline[128];
	int ret;

	snprintf(cmdline, sizeof(cmdline), "cpus=%u point=%d loose=%d",
		 run->vm->vcpu_count, run->point,
		 is_emulated() && run->engines[1] == &engine_kvm);
	boot.cmdline = cmdline;
	run->vm->consoles[0].out_fd = 1;
	ret = board_pc(run->vm, &config, &board, err);
	if (!ret)
		ret = add_regions(run, err);
	if (!ret)
		ret = read_image(image, &boot.kernel, err);
	boot.acpi_rsdp = board.acpi_rsdp;
	if (!ret)
		ret = boot_load(&run->vm->mem, &boot, &bsp, err);
	free((void *)(uintptr_t)boot.kernel.data);
	return ret ? ret : vm_start(run->vm, &bsp, err);
}

static void *wait_for_end(void *arg)
{
	struct run *run = arg;

	vm_wait(run->vm);
	atomic_store(&run->ended, true);
	sem_post(&run->event);
	return NULL;
}

/* ---- moves ------------------------------------------------------------- */

static void fail(struct run *run, const char *what, const char *why)
{
	printf("FAIL %s: %s\n", what, why);
	run->failures++;
}

/* What vm_resume() and vm_pause() do, without a vCPU in between. */
static int through_kernel(struct vm *vm, struct err *err)
{
	int ret = 0;

	clock_start(&vm->clock);
	if (vm->engine->resume)
		ret = vm->engine->resume(vm, err);
	clock_pause(&vm->clock);
	if (!ret && vm->engine->pause)
		ret = vm->engine->pause(vm, err);
	return ret;
}

static void save_and_compare(struct run *run, const char *engine, bool ran)
{
	const struct way way = {engine, ran, run->amd};

	if (saved_get(&run->after, run->vm))
		fail(run, "save", engine);
	run->failures += saved_compare(&run->before, &run->after, &way);
}

/* The VM is paused before and after. */
static void move(struct run *run)
{
	struct vm *vm = run->vm;
	const struct engine_ops *to = run->engines[++run->reached & 1];
	struct err err = {0};

	if (saved_get(&run->before, vm))
		fail(run, "save", vm->engine->name);
	if (vm_hand_over(vm, to, &err)) {
		fail(run, "hand over", err.msg);
		return;
	}
	save_and_compare(run, to->name, false);
	if (through_kernel(vm, &err))
		fail(run, "resume and pause", err.msg);
	save_and_compare(run, to->name, true);
}

/* ---- points ------------------------------------------------------------ */

/* As if the STI that is next had run. */
static void step_over_sti(struct run *run)
{
	struct vcpu *vcpu = run->vm->vcpus[0];
	struct x86_state *state = &run->before.cpu[0];
	struct err err = {0};
	u8 byte = 0;

	if (vcpu->vm->engine->get_state(vcpu, state))
		fail(run, "save", "at STI");
	if (state->shadow_sti)
		return;
	mem_read(&run->vm->mem, state->rip, &byte, 1);
	if (byte != 0xfb)
		fail(run, "point", "the next instruction is no STI");
	state->rip++;
	state->rflags |= FLAG_IF;
	state->shadow_sti = 1;
	if (vcpu->vm->engine->set_state(vcpu, state, &err))
		fail(run, "load", err.msg);
}

static void prepare(struct run *run)
{
	if (run->point == POINT_STI && !run->reached)
		step_over_sti(run);
	if ((run->point == POINT_MOVSS || run->point == POINT_NMI_MAIL) &&
	    !run->reached)
		vcpu_post(run->vm->vcpus[0], VCPU_EV_NMI);
}

static bool timer_is_due(const struct saved *s, u8 vector)
{
	const struct lapic_regs *l = &s->lapic[0];

	return l->timer_running || l->tsc_deadline ||
	       l->irr[vector / 32] >> (vector & 31) & 1;
}

/* Is it where it should be: a point that is not reached tests nothing. */
static bool is_there(const struct run *run)
{
	const struct saved *s = &run->before;
	const struct x86_state *cpu = &s->cpu[0];
	u32 mxcsr;

	memcpy(&mxcsr, cpu->xsave + 24, sizeof(mxcsr));
	switch (run->point) {
	case POINT_STI:
		return cpu->shadow_sti && cpu->rflags & FLAG_IF;
	case POINT_MOVSS:
		return cpu->shadow_movss && cpu->nmi_pending;
	case POINT_NMI:
		return cpu->nmi_masked && cpu->nmi_pending;
	case POINT_NMI_MAIL:
		return cpu->nmi_pending;
	case POINT_REP:
		return cpu->gpr[X86_RCX] && cpu->gpr[X86_RCX] < POINT_REP_BYTES;
	case POINT_HLT:
		return cpu->mp_state == X86_MP_HALTED;
	case POINT_SIPI:
		return run->reached == 2 || s->cpus < 2 ||
		       s->cpu[1].mp_state == X86_MP_WAIT_SIPI;
	case POINT_ONE_SHOT:
	case POINT_PERIODIC:
	case POINT_DEADLINE:
		return timer_is_due(s, 0x61);
	case POINT_FPU:
		return mxcsr == 0x7fa1;
	case POINT_REAL:
		return !(cpu->cr0 & CR0_PE) &&
		       cpu->seg[X86_GS].limit == 0x12345 &&
		       cpu->seg[X86_GS].base == 0x20000;
	default:
		return true;
	}
}

/* Until it sleeps: pauses find out. */
static void pause_asleep(struct run *run)
{
	struct vcpu *vcpu = run->vm->vcpus[0];
	struct x86_state *state = &run->before.cpu[0];

	while (!vm_pause(run->vm)) {
		if (!vcpu->vm->engine->get_state(vcpu, state) &&
		    state->mp_state == X86_MP_HALTED)
			return;
		vm_resume(run->vm);
		nap_us(2000);
	}
}

static void at_point(struct run *run)
{
	if (run->point == POINT_HLT)
		pause_asleep(run);
	else if (vm_pause(run->vm))
		fail(run, "pause", "the VM ended");
	if (atomic_load(&run->vm->state) != VM_PAUSED)
		return;
	prepare(run);
	move(run);
	if (!is_there(run))
		fail(run, "point", "it was not reached");
	if (run->point == POINT_HLT)
		vcpu_post(run->vm->vcpus[0], VCPU_EV_NMI);
	vm_resume(run->vm);
}

/* First while the other CPU is started, then for the rest. */
static void at_random(struct run *run, unsigned moves)
{
	const u8 stop = 1;
	bool first = !run->reached;

	if (first)
		moves /= 4;
	for (unsigned i = 0; i < moves && !run->ended && !run->failures; i++) {
		nap_us(next_random(run) % 8000);
		if (vm_pause(run->vm))
			break;
		move(run);
		vm_resume(run->vm);
	}
	if (!first || run->failures)
		mem_write(&run->vm->mem, POINT_STOP, &stop, sizeof(stop));
}

/* ---- one run ----------------------------------------------------------- */

static bool wait_event(struct run *run)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += SAFETY_S;
	while (sem_timedwait(&run->event, &until))
		if (errno == ETIMEDOUT) {
			fail(run, "guest", "it hangs");
			return false;
		}
	return !atomic_load(&run->ended);
}

static void drive(struct run *run, unsigned moves)
{
	while (wait_event(run)) {
		if (run->point == POINT_RANDOM)
			at_random(run, moves);
		else
			at_point(run);
	}
	vm_stop(run->vm, VM_STOP_REQUEST, 0, "the test is over");
	pthread_join(run->waiter, NULL);
	if (run->vm->stop_reason != VM_STOP_DEBUG_EXIT ||
	    run->vm->stop_code != PASSED)
		fail(run, "guest", run->vm->stop_message);
	if (!run->reached)
		fail(run, "guest", "it never reached its point");
	if (run->point == POINT_REP && run->reads != POINT_REP_BYTES)
		fail(run, "guest", "bytes were read twice or not at all");
}

static unsigned run_one(struct run *run, const char *path, unsigned moves)
{
	struct vm_config config = {
		.engine = run->engines[0],
		.ram_size = MIB(64),
		.cpus = MOVES_CPUS,
		.cpu = &policy,
		.clock = guest_clock,
	};
	struct err err = {0};

	pthread_mutex_init(&run->dev.lock, NULL);
	sem_init(&run->event, 0, 0);
	run->random ^= run->point;
	if (vm_create(&config, &run->vm, &err) || load(run, path, &err)) {
		fail(run, "set-up", err.msg);
	} else if (pthread_create(&run->waiter, NULL, wait_for_end, run)) {
		fail(run, "set-up", "no thread");
	} else {
		drive(run, moves);
	}
	vm_destroy(run->vm);
	printf("%s %s: %s %s-%s, %u moves\n", run->failures ? "FAIL" : "ok  ",
	       point_names[run->point], path, run->engines[0]->name,
	       run->engines[1]->name, run->reached);
	fflush(stdout);
	return run->failures;
}

/* ---- all runs ---------------------------------------------------------- */

struct pair {
	const char *name;
	const struct engine_ops *engines[2];
};

static const struct pair pairs[] = {
	{"bt-bt", {&engine_bt, &engine_bt}},
	{"kvm-kvm", {&engine_kvm, &engine_kvm}},
	{"bt-kvm", {&engine_bt, &engine_kvm}},
	{"kvm-bt", {&engine_kvm, &engine_bt}},
};

struct choice {
	const char *folder, *point, *engines;
	u64 seed;
	unsigned moves;
	bool kvm;
};

static bool is_image(const char *path)
{
	size_t len = strlen(path);

	return len > 4 && !strcmp(path + len - 4, ".elf");
}

static unsigned run_point(const struct choice *choice, enum point point,
			  const struct pair *pair)
{
	static const char *const guests[] = {"/state.elf", "/state32.elf"};
	bool one = is_image(choice->folder);
	struct cpuid_result id;
	unsigned failures = 0;

	cpu_policy_cpuid(&policy, 0, 0, 0, &id);
	for (unsigned i = 0; i < (one ? 1 : ARRAY_SIZE(guests)); i++) {
		char path[512];
		struct run *run;

		/* Its code for the FPU is for 64 bits. */
		if (point == POINT_FPU && i)
			continue;
		run = aligned_alloc(64, align_up(sizeof(*run), 64));
		memset(run, 0, sizeof(*run));
		memcpy(run->engines, pair->engines, sizeof(run->engines));
		run->point = point;
		run->random = choice->seed;
		run->amd = id.ebx == 0x68747541; /* "Auth" */
		snprintf(path, sizeof(path), "%s%s", choice->folder,
			 one ? "" : guests[i]);
		failures += run_one(run, path, choice->moves);
		free(run);
	}
	return failures;
}

static bool wanted(const char *choice, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = choice; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (!strncmp(p, name, len) && (p[len] == ',' || !p[len]))
			return true;
	}
	return !strcmp(choice, "all");
}

static unsigned run_all(const struct choice *choice, unsigned *runs)
{
	unsigned failures = 0;

	for (unsigned p = 0; p < ARRAY_SIZE(pairs); p++) {
		if (!wanted(choice->engines, pairs[p].name) ||
		    (!choice->kvm && strcmp(pairs[p].name, "bt-bt") != 0))
			continue;
		for (unsigned i = 0; i < POINT_COUNT; i++) {
			if (!wanted(choice->point, point_names[i]))
				continue;
			++*runs;
			failures += run_point(choice, i, &pairs[p]);
		}
	}
	return failures;
}

static int make_policy(bool kvm, struct err *err)
{
	struct cpu_request request = {.vcpus = MOVES_CPUS};
	int ret = 0;

	clock_probe_tsc(&guest_clock, NULL);
	if (kvm) {
		ret = engine_kvm.cpu_offer(&offer, err);
		request.offer = &offer;
	}
	request.tsc_khz = guest_clock.tsc_khz;
	return ret ? ret : cpu_policy_init(&policy, &request, err);
}

int main(int argc, char **argv)
{
	struct choice choice = {
		.folder = argc > 1 ? argv[1] : NULL,
		.point = argc > 2 ? argv[2] : "all",
		.engines = argc > 3 ? argv[3] : "all",
		.seed = argc > 4 ? strtoull(argv[4], NULL, 0) : 1,
		.moves = argc > 5 ? (unsigned)atoi(argv[5]) : 40,
	};
	unsigned failures, runs = 0;
	struct err err = {0};

	if (!choice.folder) {
		fputs("usage: moves FOLDER [POINT] [ENGINES] [SEED [MOVES]]\n",
		      stderr);
		return 2;
	}
	choice.kvm = !engine_kvm.probe(&err);
	if (!choice.kvm)
		printf("without KVM: %s\n", err.msg);
	if (make_policy(choice.kvm, &err)) {
		puts(err.msg);
		return 1;
	}
	failures = run_all(&choice, &runs);
	saved_tell_exempt();
	printf("%u runs, %u failures, seed %llu\n", runs, failures,
	       (unsigned long long)choice.seed);
	if (!runs)
		return SKIP;
	return failures != 0;
}
