/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_decode without libFuzzer: decode_main [SEED [COUNT]]. Random bytes
 * rarely are long instructions; prefixes and escapes come more often here.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static u64 next(u64 *state)
{
	u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static unsigned put_escape(u8 *at, u64 r)
{
	static const struct {
		u8 len, bytes[2];
	} escapes[] = {{0, {0}},    {0, {0}},	       {1, {0x0f}},
		       {1, {0x0f}}, {2, {0x0f, 0x38}}, {2, {0x0f, 0x3a}},
		       {1, {0xc5}}};
	unsigned kind = r % 8;

	if (kind == 7) { /* VEX with a map that exists */
		at[0] = 0xc4;
		at[1] = (u8)((r >> 8 & 0xe0) | (1 + (r >> 16) % 3));
		return 2;
	}
	memcpy(at, escapes[kind].bytes, escapes[kind].len);
	return escapes[kind].len;
}

static void make(u64 *state, u8 input[16])
{
	static const u8 prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36,
				      0x64, 0x65, 0x48, 0x41, 0x4f, 0x40, 0x44};
	unsigned at = 1;
	u64 r;

	for (unsigned k = 0; k < 16; k += 8) {
		r = next(state);
		memcpy(input + k, &r, 8);
	}
	for (r = next(state); at < 4 && (r & 3) == 0; r >>= 12)
		input[at++] = prefixes[(r >> 8 & 0xff) % sizeof(prefixes)];
	put_escape(input + at, next(state));
	/* 0x80 asks for the costly check. */
	input[0] = (u8)(input[0] % 3 | (next(state) % 16 ? 0 : 0x81));
}

int main(int argc, char **argv)
{
	u64 state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	u64 count = argc > 2 ? strtoull(argv[2], NULL, 0) : 3000000;
	u8 input[16];

	for (u64 k = 0; k < count; k++) {
		make(&state, input);
		LLVMFuzzerTestOneInput(input, sizeof(input));
	}
	printf("%llu inputs\n", (unsigned long long)count);
	return 0;
}
