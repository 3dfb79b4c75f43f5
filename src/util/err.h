/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a host problem travels up: a function that can fail returns 0 or a
 * negative errno and, where the cause is known, records one sentence in
 * struct err. Only cli prints it. The first record wins: whoever is deepest
 * knows most.
 *
 * Lives in util (not vmm) because arch and boot parsers need it too.
 */
#pragma once

#include "util/types.h"

struct err {
	int code;      /* negative errno of the recorded cause, 0: none */
	char msg[400]; /* one sentence, no newline, says what to do */
};

/*
 * Record a cause and return `code` (a negative errno), so that callers write
 * `return err_set(err, -EINVAL, "...")`. `err` may be NULL.
 */
int err_set(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
