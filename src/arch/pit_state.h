/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest-visible state of the 8254, as it is saved and as engines with an
 * in-kernel one convert it. Time is in PIT clock ticks of guest time (tick 0
 * is guest ns 0); counts are binary numbers of ticks even in BCD mode.
 */
#pragma once

#include "util/types.h"

#define PIT_CHANNELS 3

enum pit_phase {
	PIT_WAITING,  /* for a count, or in modes 1 and 5 for a trigger */
	PIT_COUNTING, /* since load_tick */
	PIT_STOPPED,  /* by the gate */
};

enum pit_latch_state { /* what a read of the counter's port gives next */
		       PIT_LATCH_NONE,
		       PIT_LATCH_LOW = 1,
		       PIT_LATCH_HIGH = 2,
		       PIT_LATCH_BOTH = 3,
};

struct pit_channel_state {
	u64 load_tick;	 /* the counter takes `period`; may be in the future */
	u64 elapsed;	 /* ticks since load_tick, while it does not count */
	u64 switch_tick; /* when a waiting `reload` becomes `period` */
	u32 period;	 /* ticks, 1..65536 */
	u32 reload;	 /* last count written, 0: none since the mode */
	u16 latch;
	u8 control; /* as written: RW 5:4, mode 3:1, BCD 0 */
	u8 phase;   /* enum pit_phase */
	u8 gate;
	u8 before_load;	   /* OUT until load_tick */
	u8 start_high;	   /* mode 3: OUT at load_tick */
	u8 null_count;	   /* `reload` waits for a trigger or switch_tick */
	u8 latched;	   /* enum pit_latch_state */
	u8 status_latched; /* status holds it */
	u8 status;
	u8 read_high;	/* next read of a low/high pair */
	u8 write_high;	/* next write of one */
	u8 write_latch; /* its low byte */
	u8 reserved[2];
};

struct pit_state {
	struct pit_channel_state channel[PIT_CHANNELS];
	u8 port61; /* bits 3:0 as written */
	u8 reserved[7];
};

_Static_assert(sizeof(struct pit_channel_state) == 48, "saved layout");
