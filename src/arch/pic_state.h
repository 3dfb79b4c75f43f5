/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest-visible state of the 8259A pair, as it is saved and as engines with an
 * in-kernel pair convert it. Bit n of each set is IR input n.
 */
#pragma once

#include "util/types.h"

enum pic_chip { PIC_MASTER, PIC_SLAVE, PIC_CHIPS };

struct pic_chip_state {
	u8 lines; /* levels of the IR inputs */
	u8 irr;
	u8 imr;
	u8 isr;
	u8 elcr; /* 1: level-triggered */
	u8 vector_base;
	u8 icw1, icw4;
	u8 next_icw; /* 2..4: the initialization word expected; 0: none */
	u8 lowest;   /* IR input with the lowest priority */
	u8 read_isr; /* a read of port 0 gives ISR, else IRR */
	u8 poll;     /* the next read is a poll */
	u8 special_mask;
	u8 rotate_on_aeoi;
	u8 reserved[2];
};

struct pic_state {
	struct pic_chip_state chip[PIC_CHIPS];
};

_Static_assert(sizeof(struct pic_state) == 32, "saved layout");
