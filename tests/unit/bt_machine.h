/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU of the software engine with memory at the same linear addresses as
 * the host's: what an instruction does to `arena` on the host's CPU it must do
 * to `copy` on the engine. Four pages of tables map the arena in 64-bit mode,
 * and nothing else; a page can be taken away on both sides.
 */
#pragma once

#include "engine/bt/bt.h"

#define BT_ARENA KIB(64)
#define BT_AREA 0x4000 /* offset of a place for operands */
#define BT_HOLE 0x8000 /* of a page that tests take away */

struct bt_machine {
	u8 *arena, *copy;
	u64 (*tables)[512];
	struct bt_cpu *c;
	struct bt_vm *bvm;
	struct cpu_policy policy; /* the host's */
};

bool bt_machine_init(struct bt_machine *m);
void bt_machine_fini(struct bt_machine *m);
/* No access to the page at `off` of the arena, neither here nor there. */
void bt_machine_hole(struct bt_machine *m, u64 off, bool hole);
/* Decode in 64-bit code, attach the stub and run; the vector raised or -1.
 * -2: no room for stubs, which cannot be. */
int bt_machine_run(struct bt_machine *m, const u8 *bytes, unsigned avail,
		   struct bt_insn *insn);

/* Registers as in no other test, RBX at BT_AREA, everything switched on. */
void bt_machine_start(struct bt_machine *m);

/* The engine's signal handlers, over those of bt_host.h for the rest. Within a
 * test: cmocka puts its own around each. Skips the test if the host has no
 * page for code. */
void bt_machine_catch(void);
