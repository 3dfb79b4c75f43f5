/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A paused VM, with all that engines carry: every vCPU's state, its LAPIC, and
 * the interrupt chips. Two of them are compared byte for byte; what may differ
 * is in one table (moves_compare.c), each entry with its reason.
 */
#pragma once

#include "arch/ioapic_state.h"
#include "arch/pic_state.h"
#include "arch/pit_state.h"
#include "arch/x86_state.h"
#include "vmm/lapic.h"
#include "vmm/vm.h"

enum { MOVES_CPUS = 2 };

struct saved {
	unsigned cpus;
	u64 ns; /* of guest time */
	struct x86_state cpu[MOVES_CPUS];
	struct lapic_regs lapic[MOVES_CPUS];
	struct pic_state pic;
	struct ioapic_state ioapic;
	struct pit_state pit;
};

/* Of a paused VM. 0 or -errno. */
int saved_get(struct saved *s, struct vm *vm);

/* What lies between two saves: the later one is of `engine`, and where `ran`
 * is true its kernel had LAPICs, chips and time in between. */
struct way {
	const char *engine;
	bool ran;
	bool amd;
};

/* Tells each difference that is in no entry of the table; how many. */
unsigned saved_compare(const struct saved *before, const struct saved *after,
		       const struct way *way);
/* How often each entry of the table was needed, on standard output. */
void saved_tell_exempt(void);
