/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers, and values that instructions find hard. */
#include "silicon.h"

#include <string.h>

/* splitmix64 */
u64 random_u64(struct random *r)
{
	u64 z = r->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

unsigned random_below(struct random *r, unsigned limit)
{
	return (unsigned)(random_u64(r) % limit);
}

bool random_chance(struct random *r, unsigned percent)
{
	return random_below(r, 100) < percent;
}

u64 random_value(struct random *r)
{
	static const u64 sign[] = {0x80, 0x8000, 0x80000000,
				   0x8000000000000000ull};
	u64 val = random_u64(r);

	switch (random_below(r, 10)) {
	case 0:
		return 0;
	case 1:
		return ~0ull;
	case 2:
		return 1 + random_below(r, 3);
	case 3: /* sign bits and their neighbours, in each width at once */
		return sign[val & 3] - (val >> 2 & 1) + (val >> 3 & 1);
	case 4:
		return BIT(val & 63) - (val >> 8 & 1);
	case 5:
		return (u64)(s64)(s8)val;
	case 6:
		return val & 0x7f;
	default:
		return val;
	}
}

static u32 random_float32(struct random *r)
{
	static const u32 special[] = {
		0,	    0x80000000, 0x3f800000, 0xbf800000,
		0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001,
		0x00000001, 0x007fffff, 0x00800000, 0x7f7fffff,
		0x4f000000, 0xcf000000, 0x3effffff, 0x40000000};
	u32 bits = (u32)random_u64(r);

	if (random_chance(r, 30))
		return special[bits % ARRAY_SIZE(special)];
	if (random_chance(r, 60)) /* exponents near each other */
		return (bits & 0x807fffff) | (120 + (bits >> 23) % 16) << 23;
	return bits;
}

static u64 random_float64(struct random *r)
{
	static const u64 special[] = {
		0,
		0x8000000000000000,
		0x3ff0000000000000,
		0xbff0000000000000,
		0x7ff0000000000000,
		0xfff0000000000000,
		0x7ff8000000000000,
		0x7ff0000000000001,
		0x0000000000000001,
		0x000fffffffffffff,
		0x0010000000000000,
		0x7fefffffffffffff,
		0x41e0000000000000,
		0xc3e0000000000000,
		0x3fe0000000000000,
		0x36a0000000000000 /* a denormal as float32 */
	};
	u64 bits = random_u64(r);

	if (random_chance(r, 30))
		return special[bits % ARRAY_SIZE(special)];
	if (random_chance(r, 60))
		return (bits & 0x800fffffffffffff) | (1015 + (bits >> 52) % 32)
							     << 52;
	return bits;
}

void random_floats(struct random *r, void *dst, unsigned bytes)
{
	unsigned kind = random_below(r, 3);
	u8 *out = dst;

	for (unsigned k = 0; k < bytes; k += 8) {
		u64 val = kind == 0   ? random_float64(r)
			  : kind == 1 ? random_float32(r) |
						(u64)random_float32(r) << 32
				      : random_value(r);

		memcpy(out + k, &val, min_u64(8, bytes - k));
	}
}

/* 80 bits: numbers mostly, then all the odd encodings there are. */
void random_st(struct random *r, u8 st[16])
{
	static const u16 exponents[] = {0,	0x7fff, 0x3fff, 0xbfff, 0x8000,
					0xffff, 1,	0x7ffe, 0x403e, 0x4000};
	static const u64 mantissas[] = {0,
					0x8000000000000000,
					0xc000000000000000,
					0x8000000000000001,
					0x7fffffffffffffff,
					~0ull,
					1};
	u64 mantissa = random_u64(r) | BIT(63);
	u16 exponent = (u16)(0x3fff - 40 + random_below(r, 80));

	if (random_chance(r, 50))
		exponent |= 0x8000;
	if (random_chance(r, 20))
		exponent = exponents[random_below(r, ARRAY_SIZE(exponents))];
	if (random_chance(r, 20))
		mantissa = mantissas[random_below(r, ARRAY_SIZE(mantissas))];
	memset(st, 0, 16);
	memcpy(st, &mantissa, 8);
	memcpy(st + 8, &exponent, 2);
}
