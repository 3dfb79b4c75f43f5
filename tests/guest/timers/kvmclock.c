/* SPDX-License-Identifier: Apache-2.0 */
/* kvmclock and its wall clock: [7]. */
#include "timers.h"

enum {
	LEAF_SIGNATURE = 0x40000000,
	LEAF_FEATURES = 0x40000001,
	FEATURE_CLOCK = 3, /* the MSRs of the second generation */
	MSR_WALL_CLOCK = 0x4b564d00,
	MSR_SYSTEM_TIME = 0x4b564d01,
	ENABLED = 1,
};

struct clock_page {
	u32 version;
	u32 pad0;
	u64 tsc_timestamp;
	u64 system_time;
	u32 mul;
	signed char shift;
	u8 flags;
	u8 pad[2];
};

struct wall_page {
	u32 version, sec, nsec;
};

static _Alignas(64) volatile struct clock_page page;
static _Alignas(64) volatile struct wall_page wall;

static bool has_clock(void)
{
	struct cpuid id = cpuid(LEAF_SIGNATURE, 0);

	return id.ebx == 0x4b4d564b && id.ecx == 0x564b4d56 && id.edx == 0x4d &&
	       cpuid(LEAF_FEATURES, 0).eax & BIT(FEATURE_CLOCK);
}

static u64 page_ns(void)
{
	u64 ns, delta;
	u32 version;

	do {
		version = page.version & ~1u;
		delta = tsc_read() - page.tsc_timestamp;
		delta = page.shift < 0 ? delta >> -page.shift
				       : delta << page.shift;
		/* 64 by 32 bits in two halves: only 96 bits of it can count. */
		ns = (delta >> 32) * page.mul +
		     ((delta & 0xffffffff) * page.mul >> 32) + page.system_time;
	} while (version != page.version);
	return ns;
}

void test_kvmclock(void)
{
	u64 first, ns;

	if (!has_clock()) {
		skip("kvmclock");
		return;
	}
	msr_write(MSR_SYSTEM_TIME, (ulong)&page | ENABLED);
	msr_write(MSR_WALL_CLOCK, (ulong)&wall);
	expect(page.version && !(page.version & 1));
	expect(page.mul != 0);
	/* 0 would be a page that nobody wrote. */
	expect(page.system_time != 0);
	expect(wall.version && !(wall.version & 1));
	expect(wall.sec != 0 && wall.nsec < 1000000000);
	first = page_ns();
	pit_wait(23864); /* 20 ms */
	ns = page_ns() - first;
	expect(ns >= 19900000);
	first = page_ns();
	for (unsigned i = 0; i < 1000; i++) {
		ns = page_ns();
		expect(ns >= first);
		first = ns;
	}
	msr_write(MSR_SYSTEM_TIME, 0);
}
