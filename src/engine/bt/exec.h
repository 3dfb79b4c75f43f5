/* SPDX-License-Identifier: Apache-2.0 */
/* The run loop, for engine.c. */
#pragma once

#include "engine/bt/bt.h"

/* The block at RIP, by the jump cache. Raises fetch faults. */
struct bt_block *bt_block_at(struct bt_cpu *c);
/* What the jump cache has for a linear address; NULL: nothing that is valid. */
struct bt_jump *bt_jump_find(struct bt_cpu *c, gva_t lin);
/* Interpret a block once; RIP is at its beginning. */
void bt_run_records(struct bt_cpu *c, struct bt_block *b);
/* Its first `count` instructions. */
void bt_run_first(struct bt_cpu *c, struct bt_block *b, unsigned count);
/* engine_ops.run */
void bt_run(struct vcpu *vcpu, struct vcpu_exit *exit);
