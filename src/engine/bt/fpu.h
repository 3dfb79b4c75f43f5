/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's FPU and SIMD registers: in bt_cpu.xsave (standard XSAVE format,
 * components of the policy's xcr0_mask), or live in the host's own registers
 * while `fpu_live` is set. Code of engine/bt uses general registers only, so a
 * live state survives until something outside is called; bt_leave() saves it.
 */
#pragma once

#include "engine/bt/bt.h"

void bt_fpu_reset(struct bt_cpu *c, bool init); /* SDM table 10-1 */

/* X86_XSAVE_AREA bytes, as struct x86_state has them. An image from outside
 * may hold anything; what cannot be loaded is dropped. */
void bt_fpu_get(struct bt_cpu *c, u8 *image);
void bt_fpu_set(struct bt_cpu *c, const u8 *image);

void bt_fpu_load_slow(struct bt_cpu *c);
void bt_fpu_save_slow(struct bt_cpu *c);

/* Make the guest's registers live in the host's. */
static inline void bt_fpu_load(struct bt_cpu *c)
{
	if (!c->fpu_live)
		bt_fpu_load_slow(c);
}

/* Put them back to memory and give the host sane control words. */
static inline void bt_fpu_save(struct bt_cpu *c)
{
	if (unlikely(c->fpu_live))
		bt_fpu_save_slow(c);
}

/*
 * Decode-time: build (or find) the stub that runs a ROW_SIMD instruction on
 * the host's unit and complete the record: fn, and the stub's place in imm.
 * Returns false if the code memory is full: the caller flushes all blocks and
 * tries again.
 */
struct bt_parts;
bool bt_stub_attach(struct bt_cpu *c, const struct bt_parts *parts,
		    struct bt_insn *insn);
int bt_stub_init(struct bt_vm *bvm, struct err *err);
void bt_stub_fini(struct bt_vm *bvm);
/* All stubs die; called inside a flush of all blocks, under exclusion. */
void bt_stub_flush(struct bt_vm *bvm);
