/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_translate without libFuzzer.
 *
 *     translate [SEED [COUNT]]   the seeds, then random programs made of rows
 *                                of the opcode tables
 *     translate FILE...          inputs that were kept: a crash leaves its own
 *                                as translate-crash
 */
#include "fuzz.h"
#include "translate.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 12 /* instructions */

static u64 next(u64 *state)
{
	u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static unsigned put_vex(u8 *at, const struct bt_row *row, u64 r)
{
	at[0] = 0xc4;
	at[1] = (u8)((r & 0xe0) | row->map);
	at[2] = (u8)((r >> 8 & 0xfc) | (row->prefix > 0 ? row->prefix : 0));
	if (!(row->attrs & ROW_VVVV))
		at[2] |= 0x78;
	at[3] = (u8)row->opcode;
	return 4;
}

static unsigned put_legacy(u8 *at, const struct bt_row *row, u64 r)
{
	static const u8 mandatory[] = {0, 0x66, 0xf3, 0xf2};
	unsigned n = 0;

	if (row->prefix > 0)
		at[n++] = mandatory[row->prefix];
	else if (r % 8 == 0)
		at[n++] = 0x66;
	if (row->attrs & ROW_LOCK && r >> 4 & 1)
		at[n++] = 0xf0;
	if (r >> 8 & 1)
		at[n++] = (u8)(0x40 | (r >> 9 & 15));
	if (row->map)
		at[n++] = 0x0f;
	if (row->map > 1)
		at[n++] = row->map == 2 ? 0x38 : 0x3a;
	at[n++] = (u8)row->opcode;
	return n;
}

/* A piece: choices, an instruction of a row, bytes left over are immediates. */
static unsigned put_piece(u8 *at, u64 *state)
{
	const struct bt_row *row = &bt_rows[next(state) % bt_row_count];
	u64 r = next(state), tail = next(state);
	unsigned n = 1;

	at[0] = (u8)(r >> 56);
	/* Integer rows are few and run most. */
	while (row->attrs & (ROW_SIMD | ROW_PRIV | ROW_NOTEST) && r >> 20 & 7)
		row = &bt_rows[next(state) % bt_row_count];
	n += row->attrs & ROW_VEX ? put_vex(at + n, row, r)
				  : put_legacy(at + n, row, r);
	memcpy(at + n, &tail, 8);
	if (row->reg >= 0)
		at[n] = (u8)((at[n] & 0xc7) | row->reg << 3);
	/* Small displacements; memory operands more often than chance. */
	if (r >> 40 & 1)
		at[n] &= 0x3f;
	return n + 6;
}

static size_t make(u8 *input, u64 *state)
{
	unsigned count = 1 + (unsigned)(next(state) % MOST);
	size_t len = XL_HEADER;
	u64 r = next(state);

	memcpy(input, &r, XL_HEADER);
	/* Mostly in the middle of pages that are there. */
	if (r >> 40 & 3)
		input[0] &= (u8) ~(XL_PAGE2 | XL_AT_EDGE);
	while (count--)
		len += put_piece(input + len, state);
	return len;
}

static int run_file(const char *name)
{
	u8 input[4096];
	FILE *file = fopen(name, "rb");
	size_t len;

	if (!file) {
		perror(name);
		return 1;
	}
	len = fread(input, 1, sizeof(input), file);
	fclose(file);
	return LLVMFuzzerTestOneInput(input, len);
}

/* Of a crash the input is left. */
#define KEPT "translate-crash"
static void keep(const u8 *input, size_t len)
{
	static int fd = -1;

	if (fd < 0)
		fd = open(KEPT, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0666);
	if (fd < 0 || ftruncate(fd, (off_t)len) ||
	    pwrite(fd, input, len, 0) != (ssize_t)len)
		exit(1);
}

static void run_random(u64 state, u64 count)
{
	u8 input[XL_HEADER + MOST * 24];

	for (u64 k = 0; k < count; k++) {
		size_t len = make(input, &state);

		keep(input, len);
		LLVMFuzzerTestOneInput(input, len);
	}
	unlink(KEPT);
}

int main(int argc, char **argv)
{
	u64 seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	u64 count = argc > 2 ? strtoull(argv[2], NULL, 0) : 50000;

	if (!seed) {
		for (int k = 1; k < argc; k++)
			if (run_file(argv[k]))
				return 1;
		return 0;
	}
	for (unsigned k = 0; k < xl_seed_count; k++)
		LLVMFuzzerTestOneInput(xl_seeds[k].bytes, xl_seeds[k].len);
	run_random(seed, count);
	printf("%u seeds, %llu programs\n", xl_seed_count,
	       (unsigned long long)count);
	return 0;
}
