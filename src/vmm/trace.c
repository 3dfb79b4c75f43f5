/* SPDX-License-Identifier: Apache-2.0 */
/* Trace points: one line each, "seconds thread group: text". */
#include "vmm/trace.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "util/fd.h"

u32 trace_mask;
static int trace_fd = -1;

static const struct {
	const char *name;
	u32 bit;
} trace_groups[] = {
	{"bus", TRACE_BUS},	{"irq", TRACE_IRQ},	{"lapic", TRACE_LAPIC},
	{"timer", TRACE_TIMER}, {"vcpu", TRACE_VCPU},	{"fault", TRACE_FAULT},
	{"msr", TRACE_MSR},	{"block", TRACE_BLOCK}, {"insn", TRACE_INSN},
	{"boot", TRACE_BOOT},	{"all", UINT32_MAX},
};

static u32 trace_group_bits(const char *name, size_t len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(trace_groups); i++)
		if (strlen(trace_groups[i].name) == len &&
		    !memcmp(trace_groups[i].name, name, len))
			return trace_groups[i].bit;
	return 0;
}

int trace_enable(const char *groups, int fd)
{
	u32 mask = 0;

	for (;;) {
		size_t len = strcspn(groups, ",");
		u32 bits = trace_group_bits(groups, len);

		if (!bits)
			return -EINVAL;
		mask |= bits;
		if (!groups[len])
			break;
		groups += len + 1;
	}
	trace_fd = fd;
	trace_mask = mask;
	return 0;
}

/* "TRACE_IRQ", as the macro spells it, is shown as its option's name. */
static const char *trace_group_name(const char *group)
{
	static const char prefix[] = "TRACE_";

	if (strncmp(group, prefix, sizeof(prefix) - 1))
		return group;
	group += sizeof(prefix) - 1;
	for (unsigned i = 0; i < ARRAY_SIZE(trace_groups); i++)
		if (!strcasecmp(group, trace_groups[i].name))
			return trace_groups[i].name;
	return group;
}

/* One write a line, so that lines of several threads do not mix. */
void trace_emit(const char *group, const char *fmt, ...)
{
	char line[512], thread[16] = "";
	struct timespec ts;
	va_list ap;
	int len, body;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	prctl(PR_GET_NAME, thread);
	len = snprintf(line, sizeof(line),
		       "%lld.%06ld %s %s: ", (long long)ts.tv_sec,
		       ts.tv_nsec / 1000, thread, trace_group_name(group));
	va_start(ap, fmt);
	body = vsnprintf(line + len, sizeof(line) - (size_t)len - 1, fmt, ap);
	va_end(ap);
	if (body < 0)
		return;
	len = (int)strlen(line);
	line[len++] = '\n';
	fd_write_all(trace_fd, line, (size_t)len);
}
