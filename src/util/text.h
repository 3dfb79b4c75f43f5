/* SPDX-License-Identifier: Apache-2.0 */
/* Text that is put together in a buffer of a fixed size. */
#pragma once

#include <stddef.h>

/* `used` may end up beyond `len`: then the text was cut there, and what was
 * meant to be written is counted up to the piece that did not fit. */
struct text {
	char *buf; /* the caller's; terminated if len is not 0 */
	size_t len, used;
};

void __attribute__((format(printf, 2, 3)))
text_put(struct text *t, const char *format, ...);
