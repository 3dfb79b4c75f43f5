/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output to COM1, and the end of the run.
 *
 * References:
 * [1] National Semiconductor PC16550D data sheet, 8.4: line status
 */
#include "print.h"

#include <stdarg.h>

#include "x86.h"

enum { COM1 = 0x3f8, UART_LSR = 5, LSR_THRE = 0x20 };

static void put(char c)
{
	if (c == '\n')
		put('\r');
	while (!(inb(COM1 + UART_LSR) & LSR_THRE))
		cpu_pause();
	outb(COM1, (u8)c);
}

static void put_string(const char *s)
{
	while (*s)
		put(*s++);
}

static void put_hex(u64 val)
{
	int shift = 60;

	while (shift > 0 && !(val >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		put("0123456789abcdef"[val >> shift & 15]);
}

static void put_decimal(ulong val)
{
	char digits[24];
	int at = sizeof(digits) - 1;

	digits[at] = 0;
	do {
		digits[--at] = (char)('0' + val % 10);
		val /= 10;
	} while (val);
	put_string(digits + at);
}

static void put_signed(long val)
{
	if (val < 0)
		put('-');
	put_decimal(val < 0 ? 0 - (ulong)val : (ulong)val);
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		int longs = 0;

		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		while (*++fmt == 'l')
			longs++;
		if (*fmt == 's')
			put_string(va_arg(ap, const char *));
		else if (*fmt == 'c')
			put((char)va_arg(ap, int));
		else if (*fmt == 'd')
			put_signed(longs ? va_arg(ap, long) : va_arg(ap, int));
		else if (*fmt == 'u')
			put_decimal(longs ? va_arg(ap, ulong)
					  : va_arg(ap, unsigned));
		else if (*fmt == 'x' && longs == 2)
			put_hex(va_arg(ap, u64));
		else if (*fmt == 'x')
			put_hex(longs ? va_arg(ap, ulong)
				      : va_arg(ap, unsigned));
		else
			put(*fmt);
	}
	va_end(ap);
}

void guest_exit(u8 val)
{
	outb(EXIT_PORT, val);
	for (;;)
		__asm__ volatile("cli; hlt");
}
