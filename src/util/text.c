/* SPDX-License-Identifier: Apache-2.0 */
#include "util/text.h"

#include <stdarg.h>
#include <stdio.h>

void text_put(struct text *t, const char *format, ...)
{
	va_list list;
	int n;

	if (t->used >= t->len)
		return;
	va_start(list, format);
	n = vsnprintf(t->buf + t->used, t->len - t->used, format, list);
	va_end(list);
	t->used += n > 0 ? (size_t)n : 0;
}
