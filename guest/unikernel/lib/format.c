/* SPDX-License-Identifier: Apache-2.0 */
/* printf's commonest conversions, which unikernel.h lists, and numbers. */
#include "internal.h"

enum { DIGITS = 24 };

struct out {
	char *to;
	size_t room, len;
};

struct spec {
	size_t width, precision;
	bool left, zero, prefix, is_long, is_negative;
};

static void put(struct out *o, char c)
{
	if (o->len + 1 < o->room)
		o->to[o->len] = c;
	o->len++;
}

static void fill(struct out *o, char c, size_t count)
{
	while (count--)
		put(o, c);
}

/* `sign` goes before zeroes and behind blanks. */
static void put_field(struct out *o, const struct spec *s, const char *sign,
		      const char *text, size_t len)
{
	size_t all = len + strlen(sign);
	size_t missing = s->width > all ? s->width - all : 0;

	if (!s->left && !s->zero)
		fill(o, ' ', missing);
	while (*sign)
		put(o, *sign++);
	if (!s->left && s->zero)
		fill(o, '0', missing);
	for (size_t i = 0; i < len; i++)
		put(o, text[i]);
	if (s->left)
		fill(o, ' ', missing);
}

static void put_number(struct out *o, const struct spec *s, uint64_t val,
		       unsigned base)
{
	char digits[DIGITS];
	size_t at = DIGITS;
	const char *sign = s->is_negative ? "-" : s->prefix ? "0x" : "";

	do
		digits[--at] = "0123456789abcdef"[val % base];
	while (val /= base);
	put_field(o, s, sign, digits + at, DIGITS - at);
}

static size_t parse_digits(const char **fmt)
{
	size_t val = 0;

	while (**fmt >= '0' && **fmt <= '9' && val < 100000)
		val = val * 10 + (size_t)(*(*fmt)++ - '0');
	return val;
}

static struct spec parse_spec(const char **fmt)
{
	struct spec s = {.precision = SIZE_MAX};

	for (;; (*fmt)++) {
		if (**fmt == '-')
			s.left = true;
		else if (**fmt == '0')
			s.zero = true;
		else if (**fmt == '#')
			s.prefix = true;
		else
			break;
	}
	s.width = parse_digits(fmt);
	if (**fmt == '.') {
		(*fmt)++;
		s.precision = parse_digits(fmt);
	}
	while (**fmt == 'l' || **fmt == 'z') {
		s.is_long = true;
		(*fmt)++;
	}
	return s;
}

static void put_text(struct out *o, const struct spec *s, const char *text)
{
	size_t len = 0;

	text = text ? text : "(null)";
	while (len < s->precision && text[len])
		len++;
	put_field(o, s, "", text, len);
}

/* A va_list that is passed on must not be used again, but through a pointer. */
struct arguments {
	va_list list;
};

static void put_integer(struct out *o, struct spec *s, struct arguments *args,
			char kind)
{
	bool is_signed = kind == 'd' || kind == 'i';
	uint64_t val;

	if (s->is_long)
		val = va_arg(args->list, uint64_t);
	else if (is_signed)
		val = (uint64_t)(int64_t)va_arg(args->list, int);
	else
		val = va_arg(args->list, unsigned);
	s->is_negative = is_signed && (int64_t)val < 0;
	s->prefix = s->prefix && kind == 'x';
	put_number(o, s, s->is_negative ? -val : val, kind == 'x' ? 16 : 10);
}

static void convert(struct out *o, const char **fmt, struct arguments *args)
{
	struct spec s = parse_spec(fmt);
	char c, kind = **fmt;

	if (!kind)
		return;
	(*fmt)++;
	switch (kind) {
	case 's':
		put_text(o, &s, va_arg(args->list, const char *));
		break;
	case 'c':
		c = (char)va_arg(args->list, int);
		put_field(o, &s, "", &c, 1);
		break;
	case 'p':
		s.prefix = true;
		put_number(o, &s, (uintptr_t)va_arg(args->list, void *), 16);
		break;
	case 'd':
	case 'i':
	case 'u':
	case 'x':
		put_integer(o, &s, args, kind);
		break;
	default:
		put(o, kind);
	}
}

size_t format_list(char *to, size_t room, const char *fmt, va_list list)
{
	struct out o = {to, room, 0};
	struct arguments args;

	va_copy(args.list, list);
	while (*fmt) {
		char c = *fmt++;

		if (c == '%')
			convert(&o, &fmt, &args);
		else
			put(&o, c);
	}
	va_end(args.list);
	if (room)
		to[o.len < room ? o.len : room - 1] = 0;
	return o.len;
}

size_t format(char *to, size_t room, const char *fmt, ...)
{
	va_list list;
	size_t len;

	va_start(list, fmt);
	len = format_list(to, room, fmt, list);
	va_end(list);
	return len;
}

bool parse_number(const char *text, uint64_t max, uint64_t *val)
{
	uint64_t sum = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		uint64_t digit = (uint64_t)(*text - '0');

		if (digit > 9 || sum > (max - digit) / 10 || digit > max)
			return false;
		sum = sum * 10 + digit;
	}
	*val = sum;
	return true;
}
