/* SPDX-License-Identifier: Apache-2.0 */
#include "ops_machine.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/cpuid.h"
#include "arch/x86.h"
#include "boot/image.h"

enum {
	VECTORS = 256,
	GATE = 16,
	HANDLER = 16,
	CODE_SELECTOR = 0x10,

	PATIENCE_S = 100
};

struct ops_group {
	const struct engine_ops *engine;
	struct cpu_policy policy;
	struct cpu_offer offer;
};

static struct ops_group group;

/* ---- the test's device ------------------------------------------------- */

static void say(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct ops_machine *m = container_of(dev, struct ops_machine, dev);

	m->said = (u8)val;
	vcpu_post(m->vcpu, VCPU_EV_KICK);
}

static void note(struct device *dev, u64 off, unsigned width, u64 val,
		 bool mmio)
{
	struct ops_machine *m = container_of(dev, struct ops_machine, dev);

	assert_true(m->write_count < OPS_MAX_WRITES);
	m->writes[m->write_count++] = (struct ops_write){mmio, off, val, width};
}

static void note_port(struct device *dev, u64 off, unsigned width, u64 val)
{
	note(dev, off, width, val, false);
}

static void note_mmio(struct device *dev, u64 off, unsigned width, u64 val)
{
	note(dev, off, width, val, true);
}

static void add_regions(struct ops_machine *m)
{
	const struct bus_region regions[] = {
		{.name = "say",
		 .space = BUS_PIO,
		 .base = OPS_PORT,
		 .size = 1,
		 .widths = BUS_W1,
		 .write = say},
		{.name = "ports",
		 .space = BUS_PIO,
		 .base = OPS_BELLS,
		 .size = OPS_BELLS_SIZE,
		 .widths = BUS_W1 | BUS_W2 | BUS_W4,
		 .write = note_port},
		{.name = "page",
		 .space = BUS_MMIO,
		 .base = OPS_MMIO,
		 .size = 4096,
		 .widths = BUS_W1 | BUS_W2 | BUS_W4 | BUS_W8,
		 .write = note_mmio},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(regions); i++) {
		struct bus_region region = regions[i];
		struct err err = {0};

		region.dev = &m->dev;
		if (bus_add(&m->vm->bus, &region, &err))
			fail_msg("%s", err.msg);
	}
}

/* Ring 0 is interpreted there, by an interpreter that lacks things. */
static bool is_interpreted(struct ops_machine *m)
{
	struct engine_speed speed;
	struct err err = {0};

	if (!m->engine->speed)
		return false;
	if (m->engine->speed(m->vm, &speed, &err))
		fail_msg("%s", err.msg);
	return speed.guest > 64 * speed.host;
}

/* ---- the machine ------------------------------------------------------- */

/* Signals do not end a vCPU's thread that a lost interrupt left asleep. */
static void *watch(void *arg)
{
	sleep(PATIENCE_S);
	fputs("the guest hangs\n", stderr);
	_exit(1);
}

static void start_watch(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, watch, NULL) ||
	    pthread_detach(thread))
		exit(1);
}

const struct engine_ops *ops_engine(int argc, char **argv)
{
	static const struct engine_ops *const engines[] = {&engine_bt,
							   &engine_kvm};
	struct err err = {0};

	for (unsigned i = 0; argc == 2 && i < ARRAY_SIZE(engines); i++) {
		if (strcmp(argv[1], engines[i]->name))
			continue;
		if (!engines[i]->probe(&err)) {
			start_watch();
			return group.engine = engines[i];
		}
		puts(err.msg);
		exit(OPS_SKIP);
	}
	fprintf(stderr, "usage: %s bt|kvm\n", argv[0]);
	exit(2);
}

/* As a vCPU's thread has it: an engine lets its own signal in. */
static void block_signals(void)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
	sigset_t mask;

	sigfillset(&mask);
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&mask, faults[i]);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static int create(struct ops_machine *m, struct err *err)
{
	struct cpu_request request = {.vcpus = 1};
	struct vm_config config = {.engine = m->engine,
				   .ram_size = OPS_RAM,
				   .cpus = 1,
				   .cpu = &group.policy};
	int ret = 0;

	clock_probe_tsc(&config.clock, NULL);
	if (m->engine->cpu_offer) {
		ret = m->engine->cpu_offer(&group.offer, err);
		request.offer = &group.offer;
	}
	request.tsc_khz = config.clock.tsc_khz;
	if (!ret)
		ret = cpu_policy_init(&group.policy, &request, err);
	if (!ret)
		ret = vm_create(&config, &m->vm, err);
	if (!ret)
		ret = mem_commit(&m->vm->mem, err);
	if (!ret)
		ret = boot_state_long(&m->vm->mem, &m->state, OPS_CODE, err);
	return ret;
}

static void put_handlers(struct ops_machine *m)
{
	for (unsigned v = 0; v < VECTORS; v++) {
		const u32 at = OPS_HANDLERS + v * HANDLER;
		const u8 handler[HANDLER] = {
			0xc7, 0x83,	0xb0, 0x00, 0x00, 0x00,
			0x00, 0x00,	0x00, 0x00, /* mov dword [rbx+0xb0], 0
						     */
			0xb0, (u8)v,		    /* mov al, v */
			0xe6, OPS_PORT,		    /* out OPS_PORT, al */
			0x48, 0xcf,		    /* iretq */
		};
		const u16 gate[GATE / 2] = {(u16)at, CODE_SELECTOR, 0x8e00,
					    (u16)(at >> 16)};

		assert_true(
			mem_write(&m->vm->mem, at, handler, sizeof(handler)));
		assert_true(mem_write(&m->vm->mem, OPS_IDT + v * GATE, gate,
				      sizeof(gate)));
	}
	m->state.idtr.base = OPS_IDT;
	m->state.idtr.limit = VECTORS * GATE - 1;
}

int ops_setup(void **state)
{
	struct ops_machine *m = aligned_alloc(64, align_up(sizeof(*m), 64));
	struct err err = {0};

	assert_non_null(m);
	memset(m, 0, sizeof(*m));
	*state = m;
	block_signals();
	m->engine = group.engine;
	pthread_mutex_init(&m->dev.lock, NULL);
	if (create(m, &err))
		fail_msg("%s", err.msg);
	m->vcpu = m->vm->vcpus[0];
	m->interpreted = is_interpreted(m);
	add_regions(m);
	put_handlers(m);
	m->state.gpr[X86_RBX] = OPS_LAPIC;
	/* A LAPIC that is off takes nothing. */
	m->vcpu->lapic.regs.svr = 0x1ff;
	/* The VM runs as far as the engine knows; what a thread of the VM's
	 * would do the tests do. */
	clock_start(&m->vm->clock);
	if (m->engine->set_state(m->vcpu, &m->state, &err) ||
	    (m->engine->resume && m->engine->resume(m->vm, &err)))
		fail_msg("%s", err.msg);
	return 0;
}

int ops_teardown(void **state)
{
	struct ops_machine *m = *state;

	vm_destroy(m->vm);
	pthread_mutex_destroy(&m->dev.lock);
	free(m);
	return 0;
}

void ops_load(struct ops_machine *m, const void *code, size_t size)
{
	struct err err = {0};

	assert_true(mem_write(&m->vm->mem, OPS_CODE, code, size));
	if (m->engine->set_state(m->vcpu, &m->state, &err))
		fail_msg("%s", err.msg);
}

enum vcpu_exit_kind ops_run(struct ops_machine *m)
{
	m->said = 0;
	m->write_count = 0;
	atomic_fetch_and(&m->vcpu->events, ~(u32)VCPU_EV_KICK);
	m->engine->run(m->vcpu, &m->exit);
	if (m->exit.kind == VCPU_EXIT_FAIL || m->exit.kind == VCPU_EXIT_BUG ||
	    m->exit.kind == VCPU_EXIT_SHUTDOWN)
		fail_msg("%s", m->exit.message);
	return m->exit.kind;
}

u8 ops_run_to_word(struct ops_machine *m)
{
	assert_int_equal(ops_run(m), VCPU_EXIT_KICK);
	return m->said;
}

u64 ops_rip(struct ops_machine *m)
{
	static struct x86_state now;

	assert_int_equal(m->engine->get_state(m->vcpu, &now), 0);
	return now.rip;
}
