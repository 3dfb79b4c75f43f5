/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest time. There is one clock, the guest's TSC; guest ns are computed from
 * it by one multiplication, so that the TSC, kvmclock and every chip agree to
 * the last bit. Both start at 0 with the VM and stand still while it is paused.
 *
 *     guest TSC = host TSC + tsc_offset
 *     guest ns  = ns_base + ((guest TSC - tsc_base) * tsc_to_ns_mult >> 32)
 *
 * The second line is what a kvmclock page says with shift 0 (TSC of 1 GHz and
 * more). Where the host's TSC is not to be trusted, CLOCK_MONOTONIC's ns take
 * the place of the host TSC, at a nominal 1 GHz.
 *
 * A fixed clock is for engines that cannot give a guest a TSC of its own: its
 * offset is 0 for ever. Guest ns stand still in a pause as ever, the guest's
 * TSC goes on, and clock_start() finds a new base for the two.
 *
 * Threads: readers from any thread. clock_start and clock_pause are called
 * while no vCPU runs; a reader on another thread then sees the time before or
 * after.
 */
#pragma once

#include "util/types.h"

/* What the host's TSC is good for; the guest's CPUID says the same kHz. */
struct clock_source {
	u64 tsc_khz;
	bool native;	 /* the host's TSC; else CLOCK_MONOTONIC, 1 GHz */
	const char *how; /* where tsc_khz comes from, for people */
};

/* One moment by the host's TSC and by CLOCK_MONOTONIC_RAW. */
struct clock_moment {
	u64 tsc, ns;
};
void clock_note(struct clock_moment *moment);

/*
 * Ask CPUID, else measure over 0.25 ms: good to a few parts in a million. Of
 * that time, what has passed since a moment that the caller noted need not be
 * waited for; `since` may be NULL.
 */
void clock_probe(struct clock_source *source, const struct clock_moment *since);
/*
 * The same for guests that see the host's TSC whatever it is worth, as on an
 * engine that runs them on the CPU itself.
 */
void clock_probe_tsc(struct clock_source *source,
		     const struct clock_moment *since);

struct vm_clock {
	u64 tsc_khz;	 /* of the guest's TSC; equals the host's on bt */
	bool tsc_native; /* guest TSC = host TSC + tsc_offset */
	bool tsc_fixed;	 /* tsc_offset is 0 */
	_Atomic u64 tsc_offset; /* wraps; constant while a vCPU runs */
	u64 tsc_base;		/* guest TSC when guest ns was ns_base */
	u64 ns_base;
	u64 tsc_to_ns_mult;	    /* ns = tsc * mult >> 32 */
	_Atomic u64 paused_tsc;	    /* guest TSC while paused */
	_Atomic u64 wall_offset_ns; /* CLOCK_REALTIME - guest ns */
	_Atomic bool paused;
};

/* Paused at 0. */
void clock_init(struct vm_clock *clock, const struct clock_source *source);
/* Wall time is the host's anew: a real-time clock has a battery. Before
 * clock_start, so that devices which resume between the two see it. */
void clock_read_wall(struct vm_clock *clock);
/* Go on where clock_pause stopped. */
void clock_start(struct vm_clock *clock);
void clock_pause(struct vm_clock *clock);

/*
 * The guest's TSC is the host's from now on. -EBUSY where the clock has run
 * with another one. While paused.
 */
int clock_fix_tsc(struct vm_clock *clock);

/*
 * While paused: guest time is `ns` or later from now on. For an engine whose
 * guests read a clock that runs by another factor than ours (kvmclock with the
 * kernel's), so that neither clock ever goes back.
 */
void clock_advance(struct vm_clock *clock, u64 ns);

u64 clock_tsc(const struct vm_clock *clock); /* guest TSC now */
u64 clock_ns(const struct vm_clock *clock);  /* guest ns now */
/* Both saturate: before the base reads as the base, too far as UINT64_MAX. */
u64 clock_tsc_to_ns(const struct vm_clock *clock, u64 tsc);
/* The first TSC value whose clock_tsc_to_ns() is ns or more. */
u64 clock_ns_to_tsc(const struct vm_clock *clock, u64 ns);
/* Wall time (ns since the epoch) as the guest's RTC shows it. */
u64 clock_wall_ns(const struct vm_clock *clock);
