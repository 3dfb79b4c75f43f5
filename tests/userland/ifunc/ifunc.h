/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the test of a C library's indirect functions share. A
 * function's results go into a digest, which does not depend on the variant
 * that the dynamic loader chose: signs instead of differences, offsets instead
 * of addresses.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef void (*any_fn)(void);

struct digest {
	uint64_t val;
};

/* One call, or a few, with operands of len elements that end shift bytes before
 * the end of a page that another one does not follow. */
typedef void (*string_fn)(any_fn fn, struct digest *d, size_t len,
			  size_t shift);
typedef void (*math_fn)(any_fn fn, struct digest *d);

struct ifunc_case {
	const char *name;
	string_fn string;
	math_fn math;
};

void digest_word(struct digest *d, uint64_t word);
void digest_bytes(struct digest *d, const void *bytes, size_t len);

/* NULL if the name is none of the file's. */
const struct ifunc_case *string_case(const char *name);
const struct ifunc_case *math_case(const char *name);

/* Functions of libmvec, by the vector ABI's names; false if it is none that
 * can be called here. */
int vector_call(const char *name, any_fn fn, struct digest *d);

/* Names of all indirect functions that a loaded library exports, sorted, each
 * once; returns their number. */
size_t symbols_indirect(const char *library, const char **names, size_t max);
