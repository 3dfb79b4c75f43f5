/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 8254's counting, as functions of the tick (pit_count.c). pit.c adds
 * ports, time and the interrupt line.
 *
 * Every function takes the present tick and first lets a count that waited for
 * the end of a cycle take its place. Ticks never run backwards.
 */
#pragma once

#include "arch/pit_state.h"

#define PIT_NEVER UINT64_MAX

enum pit_control { /* control word, [1] figure 7 */
		   PIT_BCD = 1 << 0,
		   PIT_MODE_SHIFT = 1,
		   PIT_RW_SHIFT = 4,
		   PIT_SELECT_SHIFT = 6,
};

unsigned pit_mode(const struct pit_channel_state *c);

/* A control word other than a latch or read-back command. */
void pit_set_control(struct pit_channel_state *c, u8 control);
/* A byte for the channel's port: one or both halves of a new count. */
void pit_write_count(struct pit_channel_state *c, u64 tick, u8 val);
u8 pit_read_count(struct pit_channel_state *c, u64 tick);
void pit_latch_count(struct pit_channel_state *c, u64 tick);
void pit_latch_status(struct pit_channel_state *c, u64 tick);
void pit_set_gate(struct pit_channel_state *c, u64 tick, bool gate);

bool pit_out(struct pit_channel_state *c, u64 tick);
/* The count as a read returns it, BCD or binary. */
u16 pit_count(struct pit_channel_state *c, u64 tick);
/* The first tick after `tick` at which OUT may rise, or PIT_NEVER. */
u64 pit_next_rise(struct pit_channel_state *c, u64 tick);
