/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory and strings, as in C. The compiler calls some of these by itself, so
 * this file is compiled with -fno-builtin: a loop must not become a call of
 * the function that it is in.
 */
#include "internal.h"

/* By words: on a host that interprets the guest each step costs the same. */
void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
	void *at = to;
	size_t words = len / 8;

	len %= 8;
	__asm__ volatile("rep movsq"
			 : "+D"(at), "+S"(from), "+c"(words)
			 :
			 : "memory");
	__asm__ volatile("rep movsb"
			 : "+D"(at), "+S"(from), "+c"(len)
			 :
			 : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t len)
{
	const char *last = (const char *)from + len - 1;
	char *at = (char *)to + len - 1;

	if ((uintptr_t)to - (uintptr_t)from >= len)
		return memcpy(to, from, len);
	__asm__ volatile("std; rep movsb; cld"
			 : "+D"(at), "+S"(last), "+c"(len)
			 :
			 : "memory");
	return to;
}

void *memset(void *to, int value, size_t len)
{
	void *at = to;

	__asm__ volatile("rep stosb"
			 : "+D"(at), "+c"(len)
			 : "a"(value)
			 : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const unsigned char *p = a, *q = b;

	for (; len; len--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

size_t strlen(const char *text)
{
	const char *end = text;

	while (*end)
		end++;
	return (size_t)(end - text);
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t len)
{
	for (; len && *a && *a == *b; len--)
		a++, b++;
	return len ? (unsigned char)*a - (unsigned char)*b : 0;
}

char *strchr(const char *text, int c)
{
	for (; *text != (char)c; text++)
		if (!*text)
			return NULL;
	return (char *)text;
}
