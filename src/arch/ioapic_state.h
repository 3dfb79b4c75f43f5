/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest-visible state of the IOAPIC, as it is saved and as engines with an
 * in-kernel one convert it.
 */
#pragma once

#include "util/types.h"

#define IOAPIC_PINS 24

struct ioapic_state {
	u32 id;	   /* register 0, bits 27:24 */
	u32 index; /* IOREGSEL */
	u32 lines; /* levels of the inputs */
	u32 reserved;
	u64 rte[IOAPIC_PINS]; /* redirection table */
};

_Static_assert(sizeof(struct ioapic_state) == 208, "saved layout");
