/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM for tests of an engine's operations, by struct engine_ops alone: one
 * vCPU in 64-bit mode, all memory mapped at its address, no device but the
 * test's own, which notes the writes that come out. The test's thread is the
 * vCPU's.
 */
#pragma once

#include "unit.h"

#include "arch/x86_state.h"
#include "engine/engine.h"
#include "vmm/device.h"
#include "vmm/vm.h"

enum {
	OPS_SKIP = 77,
	OPS_RAM = MIB(4),
	OPS_PORT = 0x10,  /* a byte here is the guest's word; run() returns */
	OPS_BELLS = 0x30, /* and more ports, */
	OPS_BELLS_SIZE = 0x10,
	OPS_MMIO = 0xe0000000u, /* and a page of MMIO */
	OPS_LAPIC = 0xfee00000u,
	OPS_IDT = 0x20000,
	OPS_HANDLERS = 0x24000, /* 16 bytes each: EOI, say the vector, IRETQ */
	OPS_CODE = 0x30000,
	OPS_DATA = 0x100000,
	OPS_MAX_WRITES = 32,
};

struct ops_machine {
	const struct engine_ops *engine;
	struct vm *vm;
	struct vcpu *vcpu;
	struct x86_state state; /* what ops_load() starts with */
	struct vcpu_exit exit;
	bool interpreted; /* ring 0, by the host's kernel */
	u8 said;	  /* to OPS_PORT */

	/* To OPS_BELLS and OPS_MMIO, as they came. */
	struct ops_write {
		bool mmio;
		u64 off, val;
		unsigned width;
	} writes[OPS_MAX_WRITES];
	unsigned write_count;

	struct device dev;
};

/* By name, or the program ends: 2 for no such engine, OPS_SKIP where the host
 * cannot run it. */
const struct engine_ops *ops_engine(int argc, char **argv);

/* cmocka's set-up and tear-down of a test; its state is the engine's name in
 * the group's, the machine in the test's. */
int ops_setup(void **state);
int ops_teardown(void **state);

/* RBX is OPS_LAPIC, all other registers are m->state's. */
void ops_load(struct ops_machine *m, const void *code, size_t size);
enum vcpu_exit_kind ops_run(struct ops_machine *m);
/* Until the guest says a byte: that one. */
u8 ops_run_to_word(struct ops_machine *m);
/* Where it stopped. */
u64 ops_rip(struct ops_machine *m);
