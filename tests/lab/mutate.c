/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads states that are damaged: bits, bytes and whole fields of good ones are
 * changed at random. An engine refuses such a state with a reason, or runs it,
 * whatever becomes of the guest; and what it saves afterwards it takes back.
 *
 *     mutate ENGINE [SEED [COUNT]]
 *
 * Exit status 0, 1 where an engine failed, 77 where there is none. A crash is
 * a failure by itself: each round prints its number where asked by VERBOSE.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arch/cpuid.h"
#include "arch/x86.h"
#include "arch/x86_state.h"
#include "engine/engine.h"
#include "vmm/vm.h"

enum {
	SKIP = 77,
	CODE = 0x4000,
	TABLES = 0x10000,
	RAM = 1 << 20,
	RUN_US = 300,
};

struct mutation {
	struct vm *vm;
	struct vcpu *vcpu;
	struct x86_state base[3], state;
	u64 random;
	unsigned accepted, refused, stopped, failures;
	_Atomic int kick; /* rounds that are to be ended */
	_Atomic bool over;
};

static u64 next_random(struct mutation *m)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return m->random;
}

/* ---- good states ------------------------------------------------------- */

/* Arithmetic, memory, a port, stack, privileged moves, and again. */
static const u8 code[] = {
	0x90, 0x40, 0x50, 0x58, /* nop; inc or REX; push; pop */
	0xe6, 0x80,		/* out 0x80, al */
	0x8b, 0x07,		/* mov (di), eax */
	0x0f, 0xa2,		/* cpuid */
	0x0f, 0x20, 0xc0,	/* mov cr0, eax */
	0xaa,			/* stosb */
	0xeb, 0xf0,		/* jmp back */
};

static void flat(struct x86_state *s, u16 code_attr)
{
	x86_state_reset(s);
	for (unsigned i = 0; i < X86_SEGS; i++)
		s->seg[i] = (struct x86_segment){
			.limit = 0xffffffff, .selector = 16, .attr = 0xc093};
	s->seg[X86_CS].selector = 8;
	s->seg[X86_CS].attr = code_attr;
	s->seg[X86_TR].attr = SEG_P | 0xb;
	s->seg[X86_TR].limit = 0x67;
	s->cr0 = CR0_PE | CR0_ET | CR0_NE;
	s->rip = CODE;
	s->gpr[X86_RSP] = 0x9000;
	s->gpr[X86_RDI] = 0xa000;
}

static void make_bases(struct mutation *m)
{
	struct x86_state *real = &m->base[0], *wide = &m->base[2];
	u64 table[3] = {(TABLES + 0x1000) | 7, (TABLES + 0x2000) | 7,
			0x87}; /* one page of 2 MiB */

	x86_state_reset(real);
	real->seg[X86_CS].selector = 0;
	real->seg[X86_CS].base = 0;
	real->rip = CODE;
	real->gpr[X86_RSP] = 0x9000;
	real->gpr[X86_RDI] = 0xa000;
	flat(&m->base[1], 0xc09b);
	flat(wide, 0xa09b);
	wide->cr0 |= CR0_PG;
	wide->cr4 = CR4_PAE | CR4_OSFXSR;
	wide->cr3 = TABLES;
	wide->msr.efer = EFER_LME | EFER_LMA;
	for (unsigned i = 0; i < 3; i++)
		mem_write(&m->vm->mem, TABLES + 0x1000 * i, &table[i], 8);
	mem_write(&m->vm->mem, CODE, code, sizeof(code));
}

/* ---- damage ------------------------------------------------------------ */

static u64 odd_value(struct mutation *m)
{
	static const u64 odd[] = {
		0,
		1,
		0xff,
		0xffff,
		0xffffffff,
		0x80000000,
		~0ull,
		1ull << 63,
		0x8000000000000000,
		0x800000000000,
		0xffff800000000000,
		0x7fffffffffff,
		RAM - 1,
		RAM,
		0xfee00000,
	};
	u64 choice = next_random(m);

	if (choice % 3)
		return odd[choice / 3 % ARRAY_SIZE(odd)];
	return next_random(m);
}

/* Half of all go to what is small and decides much. */
static size_t some_offset(struct mutation *m)
{
	const size_t first = offsetof(struct x86_state, rip);
	const size_t end = offsetof(struct x86_state, xsave);

	if (next_random(m) & 1)
		return first + next_random(m) % (end - first);
	return next_random(m) % sizeof(struct x86_state);
}

static void damage(struct mutation *m)
{
	u8 *bytes = (u8 *)&m->state;
	unsigned times = 1 + next_random(m) % 6;
	u64 val;

	m->state = m->base[next_random(m) % ARRAY_SIZE(m->base)];
	while (times--) {
		size_t at = some_offset(m);

		switch (next_random(m) % 3) {
		case 0:
			bytes[at] ^= (u8)(1u << (next_random(m) & 7));
			break;
		case 1:
			bytes[at] = (u8)next_random(m);
			break;
		default:
			at &= ~(size_t)7;
			val = odd_value(m);
			memcpy(bytes + at, &val, sizeof(val));
		}
	}
}

/* ---- rounds ------------------------------------------------------------ */

/* Ends each round after a while. */
static void *kicker(void *arg)
{
	const struct timespec while_ = {.tv_nsec = RUN_US * 1000};
	struct mutation *m = arg;

	while (!atomic_load(&m->over)) {
		nanosleep(&while_, NULL);
		if (atomic_load(&m->kick))
			vcpu_post(m->vcpu, VCPU_EV_KICK);
	}
	return NULL;
}

static void run(struct mutation *m)
{
	struct vcpu_exit exit;

	atomic_store(&m->kick, 1);
	m->vm->engine->run(m->vcpu, &exit);
	atomic_store(&m->kick, 0);
	atomic_fetch_and(&m->vcpu->events, ~(u32)VCPU_EV_KICK);
	m->stopped += exit.kind != VCPU_EXIT_KICK;
}

static void fail(struct mutation *m, unsigned number, const char *what,
		 const char *why)
{
	printf("FAIL round %u: %s: %s\n", number, what, why);
	m->failures++;
}

static void round_trip(struct mutation *m, unsigned number)
{
	const struct engine_ops *engine = m->vm->engine;
	struct err err = {0};

	damage(m);
	if (engine->set_state(m->vcpu, &m->state, &err)) {
		m->refused++;
		if (!err.msg[0])
			fail(m, number, "refused", "without a reason");
		return;
	}
	m->accepted++;
	run(m);
	if (engine->get_state(m->vcpu, &m->state))
		fail(m, number, "save", "failed");
	/* KVM has virtual-8086 mode, and other modes and bits it may have been
	 * given; whatever it is, its own state is good for itself. */
	else if (engine->set_state(m->vcpu, &m->state, &err))
		fail(m, number, "load of what was saved", err.msg);
}

static int start(struct mutation *m, const struct engine_ops *engine)
{
	static struct cpu_policy policy;
	static struct cpu_offer offer;
	struct cpu_request request = {.vcpus = 1};
	struct vm_config config = {
		.engine = engine, .ram_size = RAM, .cpus = 1, .cpu = &policy};
	struct err err = {0};
	int ret = engine->probe(&err);

	if (ret) {
		printf("no %s here: %s\n", engine->name, err.msg);
		return SKIP;
	}
	clock_probe_tsc(&config.clock, NULL);
	if (engine->cpu_offer) {
		ret = engine->cpu_offer(&offer, &err);
		request.offer = &offer;
	}
	request.tsc_khz = config.clock.tsc_khz;
	if (!ret)
		ret = cpu_policy_init(&policy, &request, &err);
	if (!ret)
		ret = vm_create(&config, &m->vm, &err);
	if (!ret)
		ret = mem_commit(&m->vm->mem, &err);
	if (ret) {
		puts(err.msg);
		return 1;
	}
	m->vcpu = m->vm->vcpus[0];
	make_bases(m);
	return 0;
}

static int rounds(struct mutation *m, unsigned count)
{
	bool verbose = getenv("VERBOSE");
	pthread_t thread;

	if (pthread_create(&thread, NULL, kicker, m))
		return 1;
	for (unsigned i = 0; i < count; i++) {
		if (verbose)
			fprintf(stderr, "round %u\n", i);
		round_trip(m, i);
	}
	atomic_store(&m->over, true);
	pthread_join(thread, NULL);
	printf("%u taken, %u refused, %u ended by themselves, %u failures\n",
	       m->accepted, m->refused, m->stopped, m->failures);
	return m->failures || !m->accepted || !m->refused;
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

int main(int argc, char **argv)
{
	struct mutation *m = aligned_alloc(64, align_up(sizeof(*m), 64));
	const struct engine_ops *engine = &engine_bt;
	int ret;

	if (argc < 2 || !m)
		return 2;
	if (!strcmp(argv[1], "kvm"))
		engine = &engine_kvm;
	memset(m, 0, sizeof(*m));
	block_signals();
	m->random = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	m->random = m->random * 0x9e3779b97f4a7c15 | 1;
	ret = start(m, engine);
	if (!ret)
		ret = rounds(m, argc > 3 ? (unsigned)atoi(argv[3]) : 3000);
	vm_destroy(m->vm);
	free(m);
	return ret;
}
