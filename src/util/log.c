/* SPDX-License-Identifier: Apache-2.0 */
/* Levelled diagnostics to stderr, rate-limited where a guest is the cause. */
#include "util/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

static enum log_level log_threshold = LOG_WARN;

void log_set_level(enum log_level level)
{
	log_threshold = level;
}

bool log_enabled(enum log_level level)
{
	return level <= log_threshold;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	static const char *const prefix[] = {
		[LOG_ERR] = "error: ",
		[LOG_WARN] = "warning: ",
		[LOG_INFO] = "",
		[LOG_DEBUG] = "debug: ",
	};
	char line[512];
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fprintf(stderr, "vireo: %s%s\n", prefix[level], line);
}

bool log_limit_pass(struct log_limit *limit)
{
	struct timespec ts;
	u64 now, start = limit->window_ns;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (u64)ts.tv_sec * NS_PER_SEC + (u64)ts.tv_nsec;
	if (now - start > NS_PER_SEC) {
		u32 dropped = limit->dropped;

		limit->window_ns = now;
		limit->used = 0;
		limit->dropped = 0;
		if (dropped)
			log_msg(LOG_INFO, "(%u similar messages dropped)",
				dropped);
	}
	if (limit->used++ < LOG_GUEST_BURST)
		return true;
	limit->dropped++;
	return false;
}
