/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"

void console_write(const void *data, size_t len)
{
	struct hvt_puts puts = {(uintptr_t)data, len};

	if (len)
		hvt_call(HVT_CALL_PUTS, &puts);
}

void print(const char *fmt, ...)
{
	char text[256];
	size_t len;
	va_list list;

	va_start(list, fmt);
	len = format_list(text, sizeof(text), fmt, list);
	va_end(list);
	console_write(text, len < sizeof(text) ? len : sizeof(text) - 1);
}
