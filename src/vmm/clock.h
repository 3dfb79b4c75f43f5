/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest time. One sample ties host TSC, host ns, guest TSC and guest ns
 * together; the TSC, kvmclock and every chip derive from it, so that a guest's
 * clocks never disagree. Guest ns starts at 0 with the VM and stands still
 * while the VM is paused.
 *
 * Where the host's TSC is not invariant, guest TSC and ns both come from
 * CLOCK_MONOTONIC at a nominal frequency.
 *
 * Threads: clock_* readers from any thread. Timers are armed from any thread
 * and fire on the event loop's.
 */
#pragma once

#include <pthread.h>

#include "util/err.h"
#include "util/types.h"

struct device;

struct vm_clock {
	u64 tsc_khz;	    /* of the guest's TSC; equals the host's on bt */
	bool tsc_native;    /* guest TSC = host TSC + tsc_offset */
	u64 tsc_offset;	    /* wraps */
	u64 tsc_base;	    /* guest TSC when guest ns was ns_base */
	u64 ns_base;	    /* guest ns */
	u64 ns_to_tsc_mult; /* tsc = ns * mult >> 32 */
	u64 tsc_to_ns_mult; /* ns = tsc * mult >> 32 */
	u64 wall_offset_ns; /* CLOCK_REALTIME - guest ns, at start */
	bool paused;
};

int clock_init(struct vm_clock *clock, struct err *err);
void clock_start(struct vm_clock *clock);
void clock_pause(struct vm_clock *clock);

u64 clock_tsc(const struct vm_clock *clock); /* guest TSC now */
u64 clock_ns(const struct vm_clock *clock);  /* guest ns now */
u64 clock_tsc_to_ns(const struct vm_clock *clock, u64 tsc);
u64 clock_ns_to_tsc(const struct vm_clock *clock, u64 ns);
/* Wall time (ns since the epoch) as the guest's RTC shows it. */
u64 clock_wall_ns(const struct vm_clock *clock);
