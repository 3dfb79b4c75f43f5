/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace points of the engine. Call them under trace_on(GROUP): they go outside
 * and back, so no pointer into guest memory or to a block survives the call
 * unchecked.
 */
#pragma once

#include "engine/bt/bt.h"

void bt_trace_block(struct bt_cpu *c, const struct bt_block *b);
/* The first instruction of the block. */
void bt_trace_insn(struct bt_cpu *c, const struct bt_block *b);
/* An exception or interrupt about to be delivered. */
void bt_trace_event(struct bt_cpu *c, u8 vector, u32 error);
void bt_trace_msr(struct bt_cpu *c, bool write, u32 msr, u64 val);
