/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Indirect functions on bytes and wide characters.
 */
#include "ifunc.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <wchar.h>

enum { ROOM = 128 * 1024, PAGE = 4096, MARGIN = 80, ABSENT = 0x80 };

enum area { SOURCE, SECOND, TARGET, AREAS };

/* len bytes that end shift bytes before a page which cannot be touched. */
static char *place(enum area area, size_t len, size_t shift)
{
	static char *base;

	if (!base) {
		base = mmap(NULL, AREAS * (ROOM + PAGE), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (base == MAP_FAILED)
			abort();
		for (size_t i = 1; i <= AREAS; i++)
			if (mprotect(base + i * (ROOM + PAGE) - PAGE, PAGE,
				     PROT_NONE))
				abort();
	}
	return base + area * (ROOM + PAGE) + ROOM - shift - len;
}

/* No zeros, never ABSENT, letters of both cases among them. */
static void fill(char *to, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		to[i] = (char)(seed >> 24);
		if (!to[i] || to[i] == (char)ABSENT)
			to[i] = 'a';
		if (seed & 0x800000)
			to[i] = (char)('A' + (to[i] & 15) + (seed >> 10 & 32));
	}
}

static char *text(enum area area, size_t len, size_t shift)
{
	char *s = place(area, len + 1, shift);

	fill(s, len, (uint32_t)len);
	s[len] = 0;
	return s;
}

static void put_offset(struct digest *d, const void *from, const void *found)
{
	digest_word(d, found ? (uintptr_t)found - (uintptr_t)from : UINT64_MAX);
}

static void put_sign(struct digest *d, int ret)
{
	digest_word(d, (uint64_t)((ret > 0) - (ret < 0)));
}

static void length(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	digest_word(d, ((size_t(*)(const char *))fn)(text(SOURCE, len, shift)));
}

static void length_max(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	size_t (*call)(const char *, size_t) =
		(size_t(*)(const char *, size_t))fn;
	char *s = text(SOURCE, len, shift);

	digest_word(d, call(s, len + 1));
	digest_word(d, call(s, len / 2));
	digest_word(d, call(s, SIZE_MAX));
	fill(s, len + 1, 7); /* no end at all */
	digest_word(d, call(s, len + 1));
}

static void find_char(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	char *(*call)(const char *, int) = (char *(*)(const char *, int))fn;
	const char *s = text(SOURCE, len, shift);

	put_offset(d, s, call(s, s[0]));
	put_offset(d, s, call(s, s[len / 2]));
	put_offset(d, s, call(s, s[len ? len - 1 : 0]));
	put_offset(d, s, call(s, 0));
	put_offset(d, s, call(s, ABSENT));
}

static void find_certain(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	char *(*call)(const char *, int) = (char *(*)(const char *, int))fn;
	const char *s = text(SOURCE, len, shift);

	put_offset(d, s, call(s, 0));
	put_offset(d, s, call(s, s[len / 2]));
}

static void find_byte(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	void *(*call)(const void *, int, size_t) =
		(void *(*)(const void *, int, size_t))fn;
	char *s = place(SOURCE, len, shift);

	fill(s, len, 3);
	put_offset(d, s, call(s, ABSENT, len));
	put_offset(d, s, call(s, len ? s[len / 2] : 1, len));
	put_offset(d, s, call(s, len ? s[len - 1] : 1, len / 2));
	if (len)
		put_offset(d, s, call(s, s[len - 1], len));
}

/* The second text: equal, of other cases, another byte, shorter. */
static char *second(size_t len, size_t shift, int kind)
{
	char *s = text(SECOND, len, shift * 5 % 67);

	for (size_t i = 0; kind == 1 && i < len; i++)
		s[i] ^= s[i] >= 'A' && s[i] < 'P' ? 32 : 0;
	if (kind == 2 && len)
		s[len - 1] ^= 3;
	if (kind == 3)
		s[len / 2] = 0;
	if (kind == 4)
		s[len / 2] = (char)ABSENT;
	return s;
}

static void compare(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	int (*call)(const char *, const char *) =
		(int (*)(const char *, const char *))fn;
	const char *s = text(SOURCE, len, shift);

	for (int kind = 0; kind < 5; kind++) {
		put_sign(d, call(s, second(len, shift, kind)));
		put_sign(d, call(second(len, shift, kind), s));
	}
}

static void compare_max(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	int (*call)(const char *, const char *, size_t) =
		(int (*)(const char *, const char *, size_t))fn;
	const char *s = text(SOURCE, len, shift);

	for (int kind = 0; kind < 5; kind++) {
		put_sign(d, call(s, second(len, shift, kind), len));
		put_sign(d, call(second(len, shift, kind), s, len / 2));
		put_sign(d, call(s, second(len, shift, kind), SIZE_MAX));
	}
}

static locale_t plain_locale(void)
{
	static locale_t locale;

	if (!locale)
		locale = newlocale(LC_ALL_MASK, "C", NULL);
	return locale;
}

static void compare_locale(any_fn fn, struct digest *d, size_t len,
			   size_t shift)
{
	int (*call)(const char *, const char *, locale_t) =
		(int (*)(const char *, const char *, locale_t))fn;
	const char *s = text(SOURCE, len, shift);

	for (int kind = 0; kind < 5; kind++)
		put_sign(d, call(s, second(len, shift, kind), plain_locale()));
}

static void compare_locale_max(any_fn fn, struct digest *d, size_t len,
			       size_t shift)
{
	int (*call)(const char *, const char *, size_t, locale_t) =
		(int (*)(const char *, const char *, size_t, locale_t))fn;
	const char *s = text(SOURCE, len, shift);

	for (int kind = 0; kind < 5; kind++)
		put_sign(d, call(s, second(len, shift, kind), len,
				 plain_locale()));
}

static void compare_bytes(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	int (*call)(const void *, const void *, size_t) =
		(int (*)(const void *, const void *, size_t))fn;
	char *a = place(SOURCE, len, shift);
	char *b = place(SECOND, len, shift * 5 % 67);

	fill(a, len, 11);
	fill(b, len, 11);
	put_sign(d, call(a, b, len));
	for (size_t i = 1; len && i <= 3; i++) {
		b[(len - 1) / i] ^= 0x55;
		put_sign(d, call(a, b, len));
		put_sign(d, call(b, a, len));
	}
}

/* Of these only zero or not is said. */
static void differ(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	int (*call)(const void *, const void *, size_t) =
		(int (*)(const void *, const void *, size_t))fn;
	char *a = place(SOURCE, len, shift);
	char *b = place(SECOND, len, shift * 5 % 67);

	fill(a, len, 11);
	fill(b, len, 11);
	digest_word(d, call(a, b, len) != 0);
	if (len)
		b[len / 2] ^= 1;
	digest_word(d, call(a, b, len) != 0);
}

static const char *const sets[] = {
	"",
	"a",
	"Ab",
	"ABCDEFGH",
	"abcdefghijklmno",
	"ABCDEFGHIJKLMNOPabcdefghijklmnop0123456789",
};

static void span(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	size_t (*call)(const char *, const char *) =
		(size_t(*)(const char *, const char *))fn;
	const char *s = text(SOURCE, len, shift);

	for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++)
		digest_word(d, call(s, sets[i]));
}

static void find_set(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	char *(*call)(const char *, const char *) =
		(char *(*)(const char *, const char *))fn;
	const char *s = text(SOURCE, len, shift);

	for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++)
		put_offset(d, s, call(s, sets[i]));
}

static void find_text(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	static const size_t sizes[] = {1, 2, 3, 7, 20, 40};
	char *(*call)(const char *, const char *) =
		(char *(*)(const char *, const char *))fn;
	const char *s = text(SOURCE, len, shift);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t size = sizes[i] < len ? sizes[i] : len;
		char *what = place(SECOND, size + 1, shift);

		memcpy(what, s + len - size, size + 1);
		put_offset(d, s, call(s, what));
		if (size)
			what[size - 1] = (char)ABSENT;
		put_offset(d, s, call(s, what));
	}
}

/* The target with what is around it, which nobody may touch. */
static char *target(size_t len, size_t shift)
{
	char *to = place(TARGET, len, shift);

	memset(to - MARGIN, 0x5a, len + MARGIN + shift);
	return to;
}

static void put_target(struct digest *d, const char *to, size_t len,
		       size_t shift)
{
	digest_bytes(d, to - MARGIN, len + MARGIN + shift);
}

static void copy(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	char *(*call)(void *, const void *, size_t, size_t) =
		(char *(*)(void *, const void *, size_t, size_t))fn;
	char *from = place(SOURCE, len, shift * 3 % 65);
	char *to = target(len, shift);

	fill(from, len, 5);
	/* The checking ones have a fourth argument: the room there is. */
	put_offset(d, to, call(to, from, len, len));
	put_target(d, to, len, shift);
}

static void move(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	char *(*call)(void *, const void *, size_t, size_t) =
		(char *(*)(void *, const void *, size_t, size_t))fn;
	size_t room = len + 2 * shift;

	copy(fn, d, len, shift);
	for (int down = 0; down < 2; down++) {
		char *to = target(room, 0);

		fill(to, room, 9);
		put_offset(d, to,
			   call(to + (down ? 0 : shift),
				to + (down ? shift : 0), len, len));
		put_target(d, to, room, 0);
	}
}

static void set(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	char *(*call)(void *, int, size_t, size_t) =
		(char *(*)(void *, int, size_t, size_t))fn;
	char *to = target(len, shift);

	put_offset(d, to, call(to, 0x1c3, len, len));
	put_target(d, to, len, shift);
}

static void copy_text(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	char *(*call)(char *, const char *) =
		(char *(*)(char *, const char *))fn;
	char *to = target(len + 1, shift);

	put_offset(d, to, call(to, text(SOURCE, len, shift * 3 % 65)));
	put_target(d, to, len + 1, shift);
}

static void copy_text_max(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	char *(*call)(char *, const char *, size_t) =
		(char *(*)(char *, const char *, size_t))fn;
	const size_t sizes[] = {len / 2, len, len + 1, len + 40};

	for (size_t i = 0; i < 4; i++) {
		char *to = target(len + 40, shift);

		put_offset(
			d, to,
			call(to, text(SOURCE, len, shift * 3 % 65), sizes[i]));
		put_target(d, to, len + 40, shift);
	}
}

static void append(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	char *(*call)(char *, const char *) =
		(char *(*)(char *, const char *))fn;

	for (size_t have = 0; have < 40; have += 13) {
		char *to = target(len + have + 1, shift);

		fill(to, have, 2);
		to[have] = 0;
		put_offset(d, to, call(to, text(SOURCE, len, shift * 3 % 65)));
		put_target(d, to, len + have + 1, shift);
	}
}

static void append_max(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	char *(*call)(char *, const char *, size_t) =
		(char *(*)(char *, const char *, size_t))fn;
	char *to = target(len + 20, shift);

	memcpy(to, "start", 6);
	put_offset(d, to, call(to, text(SOURCE, len, shift * 3 % 65), len / 2));
	put_target(d, to, len + 20, shift);
}

/* Wide characters are aligned. */
static wchar_t *wide(enum area area, size_t len, size_t shift)
{
	wchar_t *s =
		(wchar_t *)place(area, (len + 1) * sizeof(*s), shift & ~3ul);

	for (size_t i = 0; i < len; i++)
		s[i] = (wchar_t)(0x10001 + i * 7919 % 251);
	s[len] = 0;
	return s;
}

static void wide_length(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	wchar_t *s = wide(SOURCE, len, shift);

	/* wcsnlen() looks at the second argument. */
	digest_word(d, ((size_t(*)(const wchar_t *, size_t))fn)(s, len + 1));
	digest_word(d, ((size_t(*)(const wchar_t *, size_t))fn)(s, SIZE_MAX));
}

static void wide_find(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	wchar_t *(*call)(const wchar_t *, wchar_t, size_t) =
		(wchar_t * (*)(const wchar_t *, wchar_t, size_t)) fn;
	const wchar_t *s = wide(SOURCE, len, shift);

	/* wmemchr() looks at the third argument. */
	put_offset(d, s, call(s, s[len / 2], len + 1));
	put_offset(d, s, call(s, 0, len + 1));
	put_offset(d, s, call(s, 1, len + 1));
}

static void wide_compare(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	int (*call)(const wchar_t *, const wchar_t *, size_t) =
		(int (*)(const wchar_t *, const wchar_t *, size_t))fn;
	const wchar_t *a = wide(SOURCE, len, shift);
	wchar_t *b = wide(SECOND, len, shift * 5 % 67);

	put_sign(d, call(a, b, len + 1));
	for (int i = 1; len && i <= 3; i++) {
		b[(len - 1) / (size_t)i] -= 9;
		put_sign(d, call(a, b, len + 1));
		put_sign(d, call(b, a, len / 2));
	}
}

static void wide_copy(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	size_t bytes = (len + 1) * sizeof(wchar_t);
	char *to = target(bytes, shift & ~3ul);

	put_offset(d, to,
		   ((void *(*)(void *, const wchar_t *))fn)(
			   to, wide(SOURCE, len, shift)));
	put_target(d, to, bytes, shift & ~3ul);
}

static void wide_set(any_fn fn, struct digest *d, size_t len, size_t shift)
{
	size_t bytes = len * sizeof(wchar_t);
	char *to = target(bytes, shift & ~3ul);

	put_offset(d, to,
		   ((void *(*)(void *, wchar_t, size_t, size_t))fn)(to, 0x12345,
								    len, len));
	put_target(d, to, bytes, shift & ~3ul);
}

static const struct ifunc_case cases[] = {
	{"__memcmpeq", .string = differ},
	{"__memcpy_chk", .string = copy},
	{"__memmove_chk", .string = move},
	{"__mempcpy", .string = copy},
	{"__mempcpy_chk", .string = copy},
	{"__memset_chk", .string = set},
	{"__rawmemchr", .string = find_certain},
	{"__stpcpy", .string = copy_text},
	{"__stpncpy", .string = copy_text_max},
	{"__strcasecmp", .string = compare},
	{"__strcasecmp_l", .string = compare_locale},
	{"__strncasecmp_l", .string = compare_locale_max},
	{"__wmemset_chk", .string = wide_set},
	{"bcmp", .string = differ},
	{"index", .string = find_char},
	{"memchr", .string = find_byte},
	{"memcmp", .string = compare_bytes},
	{"memcpy", .string = copy},
	{"memmove", .string = move},
	{"mempcpy", .string = copy},
	{"memrchr", .string = find_byte},
	{"memset", .string = set},
	{"rawmemchr", .string = find_certain},
	{"rindex", .string = find_char},
	{"stpcpy", .string = copy_text},
	{"stpncpy", .string = copy_text_max},
	{"strcasecmp", .string = compare},
	{"strcasecmp_l", .string = compare_locale},
	{"strcat", .string = append},
	{"strchr", .string = find_char},
	{"strchrnul", .string = find_char},
	{"strcmp", .string = compare},
	{"strcpy", .string = copy_text},
	{"strcspn", .string = span},
	{"strlen", .string = length},
	{"strncasecmp", .string = compare_max},
	{"strncasecmp_l", .string = compare_locale_max},
	{"strncat", .string = append_max},
	{"strncmp", .string = compare_max},
	{"strncpy", .string = copy_text_max},
	{"strnlen", .string = length_max},
	{"strpbrk", .string = find_set},
	{"strrchr", .string = find_char},
	{"strspn", .string = span},
	{"strstr", .string = find_text},
	{"wcschr", .string = wide_find},
	{"wcscmp", .string = wide_compare},
	{"wcscpy", .string = wide_copy},
	{"wcslen", .string = wide_length},
	{"wcsncmp", .string = wide_compare},
	{"wcsnlen", .string = wide_length},
	{"wcsrchr", .string = wide_find},
	{"wmemchr", .string = wide_find},
	{"wmemcmp", .string = wide_compare},
	{"wmemset", .string = wide_set},
};

const struct ifunc_case *string_case(const char *name)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (!strcmp(cases[i].name, name))
			return &cases[i];
	return NULL;
}
