/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace points: one readable line each to the trace file. Off they cost one
 * predictable branch on a cold global; on, a lock and a write.
 *
 * `vireo run --trace irq,bus` switches groups on.
 */
#pragma once

#include "util/types.h"

enum trace_group {
	TRACE_BUS = 1,
	TRACE_IRQ = 2,
	TRACE_LAPIC = 4,
	TRACE_TIMER = 8,
	TRACE_VCPU = 16,
	TRACE_FAULT = 32,
	TRACE_MSR = 64,
	TRACE_BLOCK = 128,
	TRACE_INSN = 256,
	TRACE_BOOT = 512,
};

extern u32 trace_mask; /* set once before the VM starts */

/* -EINVAL if a name in the comma-separated list is unknown ("all" is known) */
int trace_enable(const char *groups, int fd);
void trace_emit(const char *group, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define trace_on(group) __builtin_expect(trace_mask &(group), 0)
#define trace(group, ...)                                \
	do {                                             \
		if (trace_on(group))                     \
			trace_emit(#group, __VA_ARGS__); \
	} while (0)
