/* SPDX-License-Identifier: Apache-2.0 */
/* Time: the TSC, whose frequency the host tells, and the host's clock. */
#include "internal.h"

#define SECOND 1000000000u
#define WAIT_MAX (3600ul * SECOND) /* far from any limit of a host's */

uint64_t time_monotonic(void)
{
	/* ns a tick, 32 bits of them behind the point: below 2^62 / 2^20 Hz */
	uint64_t scale = ((uint64_t)SECOND << 32) / (boot_info()->tsc_hz | 1);
	uint32_t low, high;

	/* Nothing before it may still be under way, [Intel SDM 17.17]. */
	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)(((unsigned __int128)((uint64_t)high << 32 | low) *
			   scale) >>
			  32);
}

uint64_t time_wall(void)
{
	struct hvt_walltime time = {0};

	hvt_call(HVT_CALL_WALLTIME, &time);
	return time.ns;
}

uint64_t wait_until(uint64_t deadline)
{
	for (;;) {
		uint64_t now = time_monotonic();
		uint64_t left = deadline > now ? deadline - now : 0;
		struct hvt_poll poll = {
			.timeout_ns = left < WAIT_MAX ? left : WAIT_MAX};

		hvt_call(HVT_CALL_POLL, &poll);
		if (poll.count || !left)
			return poll.count ? poll.ready : 0;
	}
}
