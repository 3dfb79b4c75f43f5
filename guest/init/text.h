/* SPDX-License-Identifier: Apache-2.0 */
/* Strings, numbers and messages, without a C library. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

size_t text_len(const char *s);
bool text_equal(const char *a, const char *b);
bool text_has(const char *s, char c);

/* The rest of s after prefix, NULL where s does not start with it. */
const char *text_after(const char *s, const char *prefix);

/* Digits of base 10 or 16 up to the end of s; false if there is anything
 * else, nothing at all, or more than max. */
bool text_number(const char *s, unsigned base, unsigned long max,
		 unsigned long *val);

/* "vireo: what: why" on standard error; why may be a negative errno. */
void text_error(const char *what, long err);

/* The two functions that a compiler calls on its own. */
void *memset(void *dst, int val, size_t len);
void *memcpy(void *restrict dst, const void *restrict src, size_t len);
