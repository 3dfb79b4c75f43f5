/* SPDX-License-Identifier: Apache-2.0 */
/* Strings, numbers and messages, without a C library. */
#include "text.h"

#include <asm/errno.h>

#include "sys.h"

void *memset(void *dst, int val, size_t len)
{
	void *end = dst;

	__asm__ volatile("rep stosb"
			 : "+D"(end), "+c"(len)
			 : "a"(val)
			 : "memory");
	return dst;
}

void *memcpy(void *restrict dst, const void *restrict src, size_t len)
{
	void *end = dst;

	__asm__ volatile("rep movsb"
			 : "+D"(end), "+S"(src), "+c"(len)
			 :
			 : "memory");
	return dst;
}

size_t text_len(const char *s)
{
	size_t len = 0;

	while (s[len])
		len++;
	return len;
}

const char *text_after(const char *s, const char *prefix)
{
	while (*prefix) {
		if (*s++ != *prefix++)
			return NULL;
	}
	return s;
}

bool text_equal(const char *a, const char *b)
{
	const char *rest = text_after(a, b);

	return rest && !*rest;
}

bool text_has(const char *s, char c)
{
	for (; *s; s++) {
		if (*s == c)
			return true;
	}
	return false;
}

static unsigned digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
}

bool text_number(const char *s, unsigned base, unsigned long max,
		 unsigned long *val)
{
	unsigned long sum = 0;

	if (!*s)
		return false;
	for (; *s; s++) {
		unsigned digit = digit_value(*s);

		if (digit >= base || sum > (max - digit) / base)
			return false;
		sum = sum * base + digit;
	}
	*val = sum;
	return true;
}

static const char *error_name(long err)
{
	switch (-err) {
	case ENOENT:
	case ENOTDIR:
		return "not found";
	case EACCES:
		return "permission denied";
	case ENOEXEC:
		return "not an executable of this machine";
	case E2BIG:
		return "argument list too long";
	case ENOMEM:
		return "out of memory";
	case EINVAL:
		return "invalid";
	case EIO:
		return "input/output error";
	case EISDIR:
		return "is a directory";
	}
	return NULL;
}

/* Appends to a line of fixed size; what does not fit is left out. */
struct line {
	char text[256];
	size_t used;
};

static void line_add(struct line *line, const char *s)
{
	while (*s && line->used < sizeof(line->text) - 1)
		line->text[line->used++] = *s++;
}

static void line_add_number(struct line *line, unsigned long val)
{
	char digits[21];
	size_t at = sizeof(digits) - 1;

	digits[at] = 0;
	do {
		digits[--at] = (char)('0' + val % 10);
		val /= 10;
	} while (val);
	line_add(line, digits + at);
}

void text_error(const char *what, long err)
{
	const char *name = error_name(err);
	struct line line = {.used = 0};

	line_add(&line, "vireo: ");
	line_add(&line, what);
	line_add(&line, ": ");
	if (name) {
		line_add(&line, name);
	} else {
		line_add(&line, "error ");
		line_add_number(&line, (unsigned long)-err);
	}
	line.text[line.used++] = '\n';
	sys_write(2, line.text, line.used);
}
