/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnostics to stderr. Messages a guest can provoke go through
 * log_guest(), which is limited to a few a second per call site and counts
 * what it swallowed, so that a guest cannot flood its host. They are for who
 * wants to know: kernels probe for what is not there, and cope.
 */
#pragma once

#include "util/types.h"

enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Process-wide threshold, set once by cli. Default LOG_WARN. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

void log_msg(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Rate state of one call site: at most LOG_GUEST_BURST lines a second. */
struct log_limit {
	_Atomic u64 window_ns;
	_Atomic u32 used;
	_Atomic u32 dropped;
};
#define LOG_GUEST_BURST 4

bool log_limit_pass(struct log_limit *limit);

#define log_guest(...)                                                \
	do {                                                          \
		static struct log_limit limit_;                       \
		if (log_enabled(LOG_INFO) && log_limit_pass(&limit_)) \
			log_msg(LOG_INFO, "guest: " __VA_ARGS__);     \
	} while (0)
