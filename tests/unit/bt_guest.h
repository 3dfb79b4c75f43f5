/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small VM on the software engine: 1 MiB, flat 32-bit segments, a handler of
 * one HLT for each vector. A few bytes of code run until HLT or shutdown, on
 * the test's own thread.
 */
#pragma once

#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "arch/cpuid.h"
#include "arch/x86.h"
#include "arch/x86_state.h"
#include "engine/engine.h"
#include "vmm/vm.h"

enum {
	GDT = 0x1000,
	IDT = 0x2000,
	CODE = 0x4000,
	HANDLERS = 0x5000, /* one HLT per vector, 16 bytes apart */
	STACK = 0x8000,
	DATA = 0x9000,
	MMIO = 0x40000000,
	CODE_SEL = 8,
	DATA_SEL = 16,
};

struct guest {
	struct cpu_policy policy;
	struct vm *vm;
	struct vcpu *vcpu;
	struct x86_state state;
	struct vcpu_exit exit;
};

static inline void poke(struct guest *g, gpa_t gpa, const void *src, size_t len)
{
	assert_true(mem_write(&g->vm->mem, gpa, src, len));
}

static inline u32 peek(struct guest *g, gpa_t gpa)
{
	u32 val;

	assert_true(mem_read(&g->vm->mem, gpa, &val, sizeof(val)));
	return val;
}

static inline void set_gate(struct guest *g, unsigned vector, u32 off)
{
	u32 gate[2] = {CODE_SEL << 16 | (off & 0xffff),
		       (off & 0xffff0000) | 0x8e00};

	poke(g, IDT + 8 * vector, gate, sizeof(gate));
}

static inline void flat_state(struct x86_state *s)
{
	x86_state_reset(s);
	for (unsigned k = 0; k < X86_SEGS; k++) {
		s->seg[k].base = 0;
		s->seg[k].limit = 0xffffffff;
		s->seg[k].selector = DATA_SEL;
		s->seg[k].attr = 0xc093;
	}
	s->seg[X86_CS].selector = CODE_SEL;
	s->seg[X86_CS].attr = 0xc09b;
	s->cr0 = CR0_PE | CR0_ET | CR0_NE;
	s->gdtr.base = GDT;
	s->gdtr.limit = 0xff;
	s->idtr.base = IDT;
	s->idtr.limit = 0x7ff;
	s->rip = CODE;
	s->gpr[X86_RSP] = STACK;
}

static inline struct guest *guest_create_cpus(unsigned cpus)
{
	static const u64 gdt[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff};
	const struct clock_source clock = {1000000, false, "test"};
	struct guest *g = aligned_alloc(64, align_up(sizeof(*g), 64));
	struct vm_config config = {
		.engine = &engine_bt,
		.ram_size = MIB(1),
		.cpus = cpus,
		.clock = clock,
	};
	const struct cpu_request request = {
		.model = "v2", .vcpus = cpus, .tsc_khz = 1000000};
	const u8 hlt = 0xf4;
	struct err err = {0};

	memset(g, 0, sizeof(*g));
	config.cpu = &g->policy;
	if (cpu_policy_init(&g->policy, &request, &err) ||
	    vm_create(&config, &g->vm, &err))
		fail_msg("%s", err.msg);
	g->vcpu = g->vm->vcpus[0];
	poke(g, GDT, gdt, sizeof(gdt));
	for (unsigned v = 0; v < 256; v++) {
		set_gate(g, v, HANDLERS + 16 * v);
		poke(g, HANDLERS + 16 * v, &hlt, 1);
	}
	flat_state(&g->state);
	return g;
}

static inline struct guest *guest_create(void)
{
	return guest_create_cpus(1);
}

static inline void guest_destroy(struct guest *g)
{
	vm_destroy(g->vm);
	free(g);
}

/* Load g->state with this code, run it, read g->state back. */
static inline void run_code(struct guest *g, const void *code, size_t len)
{
	poke(g, CODE, code, len);
	assert_int_equal(engine_bt.set_state(g->vcpu, &g->state, NULL), 0);
	engine_bt.run(g->vcpu, &g->exit);
	assert_int_equal(engine_bt.get_state(g->vcpu, &g->state), 0);
}
#define RUN(g, bytes) run_code(g, bytes, sizeof(bytes) - 1)

/* The vector whose HLT was reached; -1: another HLT. */
static inline int halted_in(const struct guest *g)
{
	u64 off = g->state.rip - 1 - HANDLERS;

	assert_int_equal(g->exit.kind, VCPU_EXIT_HALT);
	return off < 256 * 16 && !(off & 15) ? (int)(off / 16) : -1;
}
