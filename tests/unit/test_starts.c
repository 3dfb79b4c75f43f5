/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thousand VMs in one process, one after the other, in each way that a VM's
 * life can go: nothing is left of them, be it a descriptor, a thread, a child,
 * a mapping or memory.
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "arch/cpuid.h"
#include "arch/x86_state.h"
#include "board/board.h"
#include "boot/boot.h"
#include "engine/engine.h"
#include "vmm/vm.h"

enum { STARTS = 1000, KVM_STARTS = 25, WARM_UP = 20, EXIT_STATUS = 33 };

/* What may be more after a thousand VMs than before: less than a byte a VM, and
 * less than a page for each tenth one. */
enum { HEAP_SLACK = 512, RESIDENT_SLACK_KIB = 400 };

/* ---- what there is ------------------------------------------------------ */

struct inventory {
	unsigned descriptors, threads, mappings;
	bool children;
	size_t heap;
	long resident_kib;
};

static unsigned entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* Lines of the file, and the number behind the last `word` that begins one. */
static unsigned lines(const char *path, const char *word, long *number)
{
	FILE *in = fopen(path, "r");
	char line[512];
	unsigned count = 0;

	assert_non_null(in);
	for (; fgets(line, sizeof(line), in); count++)
		if (word && !strncmp(line, word, strlen(word)))
			*number = strtol(line + strlen(word), NULL, 10);
	fclose(in);
	return count;
}

static struct inventory take_inventory(void)
{
	struct inventory have = {0};

	have.descriptors = entries("/proc/self/fd");
	have.threads = entries("/proc/self/task");
	have.children = waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD;
	malloc_trim(0);
	have.heap = mallinfo2().uordblks;
	lines("/proc/self/status", "RssAnon:", &have.resident_kib);
	have.mappings = lines("/proc/self/maps", NULL, NULL);
	return have;
}

static void check_same(const struct inventory *before,
		       const struct inventory *after)
{
	assert_int_equal(after->descriptors, before->descriptors);
	assert_int_equal(after->threads, before->threads);
	assert_int_equal(after->children, before->children);
	assert_in_range(after->mappings, 1, before->mappings);
	assert_in_range(after->heap, 1, before->heap + HEAP_SLACK);
	assert_in_range(after->resident_kib, 1,
			before->resident_kib + RESIDENT_SLACK_KIB);
}

/* ---- a life ------------------------------------------------------------- */

enum life {
	LIFE_GUEST_ENDS, /* by the debug-exit port */
	LIFE_NOT_STARTED,
	LIFE_STOPPED, /* at once */
	LIFE_PAUSED,
	LIFE_REFUSED, /* its image is none */
	LIVES,
};

/* Multiboot by the header's own addresses, then code: mov al, 16; out 0xf4, al
 * and a loop; and one that is but the loop. */
#define HEADER                                                             \
	0x1badb002u, 0x10000u, (u32) - (0x1badb002 + 0x10000), BASE, BASE, \
		BASE + sizeof(u32) * 10, BASE + sizeof(u32) * 10,          \
		BASE + sizeof(u32) * 8
#define BASE 0x100000u
static const u32 ends[10] = {HEADER, 0xf4e610b0, 0x0000feeb};
static const u32 loops[10] = {HEADER, 0x0000feeb, 0};
static const u32 garbage[10] = {0x1badb002u, 0x10000u, 0};

struct world {
	const struct engine_ops *engine;
	struct cpu_policy policy;
	struct clock_source clock;
	struct cpu_offer offer;
};

static void make_world(struct world *w, const struct engine_ops *engine)
{
	struct cpu_request request = {.vcpus = 2};
	struct err err = {0};

	memset(w, 0, sizeof(*w));
	w->engine = engine;
	if (engine->cpu_offer) {
		assert_int_equal(engine->cpu_offer(&w->offer, &err), 0);
		request.offer = &w->offer;
	}
	if (engine->clock_source)
		engine->clock_source(&w->clock, NULL);
	else
		clock_probe(&w->clock, NULL);
	request.tsc_khz = w->clock.tsc_khz;
	assert_int_equal(cpu_policy_init(&w->policy, &request, &err), 0);
}

static struct vm *make_vm(struct world *w, unsigned cpus, struct board *board)
{
	const struct vm_config config = {
		.engine = w->engine,
		.ram_size = MIB(16),
		.cpus = cpus,
		.cpu = &w->policy,
		.clock = w->clock,
	};
	const struct board_config pc = {.serials = 1,
					.debug_exit = "port=0xf4"};
	struct err err = {0};
	struct vm *vm = NULL;

	if (vm_create(&config, &vm, &err) || board_pc(vm, &pc, board, &err))
		fail_msg("%s", err.msg);
	return vm;
}

static void live(struct world *w, enum life life, unsigned cpus)
{
	const void *image = life == LIFE_REFUSED      ? garbage
			    : life == LIFE_GUEST_ENDS ? ends
						      : loops;
	struct boot_config boot = {.kernel = {image, sizeof(ends), "image"},
				   .cmdline = ""};
	static struct x86_state bsp;
	struct err err = {0};
	struct board board;
	struct vm *vm = make_vm(w, cpus, &board);
	int ret;

	boot.acpi_rsdp = board.acpi_rsdp;
	ret = boot_load(&vm->mem, &boot, &bsp, &err);
	assert_int_equal(!ret, life != LIFE_REFUSED);
	if (life != LIFE_NOT_STARTED && life != LIFE_REFUSED) {
		assert_int_equal(vm_start(vm, &bsp, &err), 0);
		if (life == LIFE_PAUSED) {
			assert_int_equal(vm_pause(vm), 0);
			assert_int_equal(vm_resume(vm), 0);
		}
		if (life != LIFE_GUEST_ENDS)
			vm_stop(vm, VM_STOP_REQUEST, 0, "enough");
		vm_wait(vm);
		if (life == LIFE_GUEST_ENDS)
			assert_int_equal(vm->stop_code, EXIT_STATUS);
	}
	vm_destroy(vm);
}

static void live_many(struct world *w, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		live(w, i % LIVES, 1 + i / LIVES % 2);
}

static void check_engine(const struct engine_ops *engine, unsigned count)
{
	static struct world w;
	struct inventory before, after;

	make_world(&w, engine);
	/* What the C library keeps for later: stacks, buffers, small chunks. */
	take_inventory();
	live_many(&w, WARM_UP);
	before = take_inventory();
	live_many(&w, count);
	after = take_inventory();
	print_message("%s: heap %zu to %zu, resident %ld to %ld KiB\n",
		      engine->name, before.heap, after.heap,
		      before.resident_kib, after.resident_kib);
	check_same(&before, &after);
}

static void test_bt(void **state)
{
	check_engine(&engine_bt, STARTS);
}

static void test_kvm(void **state)
{
	struct err err = {0};

	if (engine_kvm.probe(&err)) {
		print_message("%s\n", err.msg);
		skip();
	}
	check_engine(&engine_kvm, KVM_STARTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bt),
		cmocka_unit_test(test_kvm),
	};

	/* Each new one would be a mapping. */
	mallopt(M_ARENA_MAX, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
