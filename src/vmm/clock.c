/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest time, derived from the host's TSC.
 *
 * References:
 *   [1] Intel SDM vol. 3B (253669), 18.17 "Time-stamp counter", 18.7.3
 *       "Determining the processor base frequency".
 *   [2] AMD APM vol. 3 (24594), appendix E.4.8, CPUID 8000_0007h.
 *   [3] Linux, Documentation/virt/kvm/x86/cpuid.rst; the frequency leaf
 *       4000_0010h is VMware's and is used by other hypervisors as well.
 *
 * The kernel knows the frequency better than a short measurement can, but says
 * it only through perf's mmap page, and the first perf event of a machine waits
 * for an RCU grace period (tens of milliseconds).
 */
#include "vmm/clock.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "util/host_cpu.h"

#define CLOCK_NOMINAL_KHZ 1000000ull
#define CLOCK_MEASURE_NS 250000ull
#define CLOCK_NOTE_TRIES 64

/* ------------------------------------------------------------------------- */
/* The host's TSC */

static u64 host_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (u64)ts.tv_sec * NS_PER_SEC + (u64)ts.tv_nsec;
}

/*
 * The kernel watches the TSC and gives it up where CPUs disagree. Hypervisors'
 * clock sources are TSC-based. No answer (no /sys) is no objection.
 */
static bool kernel_trusts_tsc(void)
{
	static const char path[] = "/sys/devices/system/clocksource/"
				   "clocksource0/current_clocksource";
	static const char *const good[] = {"tsc\n", "kvm-clock\n",
					   "hyperv_clocksource_tsc_page\n",
					   "xen\n"};
	char name[64];
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	len = read(fd, name, sizeof(name) - 1);
	close(fd);
	if (len <= 0)
		return true;
	name[len] = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
		if (!strcmp(name, good[i]))
			return true;
	return false;
}

/* [2]: bit 8, TscInvariant; [1] 18.17.1 is the same bit. */
static bool tsc_is_invariant(void)
{
	u32 eax, ebx, ecx, edx;

	if (!__get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx))
		return false;
	return (edx & BIT(8)) && kernel_trusts_tsc();
}

/* [1] 18.7.3: crystal (ECX, Hz) times EBX / EAX; 0 where not enumerated. */
static u64 tsc_khz_crystal(void)
{
	u32 eax, ebx, ecx, edx;

	if (!__get_cpuid(0x15, &eax, &ebx, &ecx, &edx))
		return 0;
	if (!eax || !ebx || !ecx)
		return 0;
	return (u64)ecx * ebx / eax / 1000;
}

/* [3]: EAX is the TSC frequency in kHz. */
static u64 tsc_khz_hypervisor(void)
{
	u32 eax, ebx, ecx, edx;

	if (!host_cpu_is_virtual())
		return 0;
	__cpuid(0x40000000, eax, ebx, ecx, edx);
	if (eax < 0x40000010 || eax > 0x400000ff)
		return 0;
	__cpuid(0x40000010, eax, ebx, ecx, edx);
	return eax;
}

/*
 * The narrowest of many tries (20 ns each), so that neither an interrupt nor a
 * cold cache falls between the readings and two moments err alike.
 */
void clock_note(struct clock_moment *moment)
{
	u64 narrowest = UINT64_MAX;

	for (int i = 0; i < CLOCK_NOTE_TRIES; i++) {
		u64 before = __rdtsc();
		u64 ns = host_ns(CLOCK_MONOTONIC_RAW);
		u64 after = __rdtsc();

		if (after - before < narrowest) {
			narrowest = after - before;
			moment->tsc = before + narrowest / 2;
			moment->ns = ns;
		}
	}
}

static u64 tsc_khz_measured(const struct clock_moment *since)
{
	struct clock_moment first, last;

	if (since)
		first = *since;
	else
		clock_note(&first);
	while (host_ns(CLOCK_MONOTONIC_RAW) - first.ns < CLOCK_MEASURE_NS)
		_mm_pause();
	clock_note(&last);
	return (u64)((unsigned __int128)(last.tsc - first.tsc) * 1000000 /
		     (last.ns - first.ns));
}

void clock_probe_tsc(struct clock_source *source,
		     const struct clock_moment *since)
{
	source->native = true;
	source->how = "CPUID 0x15";
	source->tsc_khz = tsc_khz_crystal();
	if (source->tsc_khz)
		return;
	source->how = "CPUID 0x40000010";
	source->tsc_khz = tsc_khz_hypervisor();
	if (source->tsc_khz)
		return;
	source->how = "measured against CLOCK_MONOTONIC_RAW";
	source->tsc_khz = tsc_khz_measured(since);
}

void clock_probe(struct clock_source *source, const struct clock_moment *since)
{
	*source = (struct clock_source){
		.tsc_khz = CLOCK_NOMINAL_KHZ,
		.how = "nominal: the host's TSC is not invariant",
	};
	if (tsc_is_invariant())
		clock_probe_tsc(source, since);
}

/* ------------------------------------------------------------------------- */
/* The guest's clock */

static u64 clock_host_tsc(const struct vm_clock *clock)
{
	return clock->tsc_native ? __rdtsc() : host_ns(CLOCK_MONOTONIC);
}

void clock_init(struct vm_clock *clock, const struct clock_source *source)
{
	memset(clock, 0, sizeof(*clock));
	clock->tsc_khz = source->tsc_khz;
	clock->tsc_native = source->native;
	clock->tsc_to_ns_mult = (1000000ull << 32) / source->tsc_khz;
	clock->paused = true;
}

void clock_read_wall(struct vm_clock *clock)
{
	clock->wall_offset_ns = host_ns(CLOCK_REALTIME) - clock_ns(clock);
}

int clock_fix_tsc(struct vm_clock *clock)
{
	if (!clock->tsc_fixed && clock->paused_tsc)
		return -EBUSY;
	clock->tsc_fixed = true;
	return 0;
}

void clock_start(struct vm_clock *clock)
{
	if (!clock->paused)
		return;
	if (clock->tsc_fixed) {
		clock->ns_base = clock_ns(clock);
		clock->tsc_base = clock_host_tsc(clock);
		clock->paused_tsc = clock->tsc_base;
	}
	clock->tsc_offset = clock->paused_tsc - clock_host_tsc(clock);
	clock->paused = false;
}

void clock_pause(struct vm_clock *clock)
{
	if (clock->paused)
		return;
	clock->paused_tsc = clock_tsc(clock);
	clock->paused = true;
}

void clock_advance(struct vm_clock *clock, u64 ns)
{
	if (ns <= clock_ns(clock))
		return;
	clock->tsc_base = clock->paused_tsc;
	clock->ns_base = ns;
}

u64 clock_tsc(const struct vm_clock *clock)
{
	if (unlikely(
		    atomic_load_explicit(&clock->paused, memory_order_acquire)))
		return atomic_load_explicit(&clock->paused_tsc,
					    memory_order_relaxed);
	return clock_host_tsc(clock) +
	       atomic_load_explicit(&clock->tsc_offset, memory_order_relaxed);
}

/* A time before the base (that of a restore) is past: it reads as the base. */
u64 clock_tsc_to_ns(const struct vm_clock *clock, u64 tsc)
{
	unsigned __int128 ns;

	if (tsc < clock->tsc_base)
		return clock->ns_base;
	ns = (unsigned __int128)(tsc - clock->tsc_base) * clock->tsc_to_ns_mult;
	ns = (ns >> 32) + clock->ns_base;
	return ns > UINT64_MAX ? UINT64_MAX : (u64)ns;
}

/* Division, not a second multiplier: the exact inverse. */
u64 clock_ns_to_tsc(const struct vm_clock *clock, u64 ns)
{
	u64 mult = clock->tsc_to_ns_mult;
	unsigned __int128 tsc;

	if (ns < clock->ns_base)
		return clock->tsc_base;
	tsc = (unsigned __int128)(ns - clock->ns_base) << 32;
	tsc = (tsc + mult - 1) / mult + clock->tsc_base;
	return tsc > UINT64_MAX ? UINT64_MAX : (u64)tsc;
}

u64 clock_ns(const struct vm_clock *clock)
{
	return clock_tsc_to_ns(clock, clock_tsc(clock));
}

u64 clock_wall_ns(const struct vm_clock *clock)
{
	return clock_ns(clock) + atomic_load_explicit(&clock->wall_offset_ns,
						      memory_order_relaxed);
}
