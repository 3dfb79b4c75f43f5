/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls every function of the C library that the dynamic loader chooses by the
 * CPU's features, over sizes and alignments, and prints a digest of what each
 * returned and wrote: ifunc [STEP]. Beyond 64 bytes only every STEPth size is
 * tried. A function that this program does not know is named.
 */
#include "ifunc.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_NAMES = 1024, SMALL = 64, MEDIUM = 600 };

static const size_t shifts[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63};
static const size_t large[] = {1023, 1024, 2049, 4095, 4096, 4097, 9000, 20000};

void digest_word(struct digest *d, uint64_t word)
{
	d->val = (d->val ^ word) * 0x9e3779b97f4a7c15;
	d->val ^= d->val >> 29;
}

void digest_bytes(struct digest *d, const void *bytes, size_t len)
{
	const unsigned char *byte = bytes;

	for (size_t i = 0; i < len; i++)
		digest_word(d, byte[i]);
}

static void all_sizes(string_fn call, any_fn fn, struct digest *d, size_t step)
{
	const size_t count = sizeof(shifts) / sizeof(*shifts);

	for (size_t len = 0; len <= SMALL; len++)
		for (size_t i = 0; i<count; i += step> 50 ? 3 : 1)
			call(fn, d, len, shifts[i]);
	for (size_t len = SMALL; len < MEDIUM; len += step)
		call(fn, d, len, shifts[len % count]);
	for (size_t i = 0; i < sizeof(large) / sizeof(*large); i++)
		call(fn, d, large[i], shifts[i % count]);
}

/* What is called by its name only; a hidden old version has none. */
static int call(void *library, const char *name, struct digest *d, size_t step)
{
	const struct ifunc_case *c = string_case(name);
	any_fn fn = (any_fn)dlsym(library, name);

	if (!fn)
		return 0;
	if (c) {
		all_sizes(c->string, fn, d, step);
		return 1;
	}
	c = math_case(name);
	if (c)
		c->math(fn, d);
	return c || vector_call(name, fn, d);
}

static void run(const char *name, size_t step)
{
	static const char *names[MAX_NAMES];
	void *library = dlopen(name, RTLD_NOW);
	size_t count, unknown = 0;

	if (!library) {
		printf("%s: not there\n", name);
		return;
	}
	count = symbols_indirect(name, names, MAX_NAMES);
	for (size_t i = 0; i < count; i++) {
		struct digest d = {1};

		if (call(library, names[i], &d, step)) {
			printf("%s %016llx\n", names[i],
			       (unsigned long long)d.val);
		} else {
			printf("%s not called\n", names[i]);
			unknown++;
		}
		fflush(stdout);
	}
	printf("%s: %zu indirect functions, %zu not called\n", name, count,
	       unknown);
}

int main(int argc, char **argv)
{
	size_t step = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;

	run("libc.so.6", step);
	run("libm.so.6", step);
	run("libmvec.so.1", step);
	return 0;
}
