/* SPDX-License-Identifier: Apache-2.0 */
/* Text to number, without the surprises of strtoull (sign, space, octal). */
#include "util/parse.h"

#include <errno.h>
#include <string.h>

static int digit_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	return 16;
}

static int suffix_shift(const char *suffix)
{
	static const char letters[] = "kmgt";
	const char *found;

	if (!*suffix)
		return 0;
	found = strchr(letters, suffix[0] | 0x20);
	if (!found || !*found || suffix[1])
		return -EINVAL;
	return 10 * (int)(found - letters + 1);
}

int parse_u64(const char *text, u64 *val)
{
	int base = 10, shift;
	bool overflow = false;
	const char *digits;
	u64 sum = 0;

	if (text[0] == '0' && (text[1] | 0x20) == 'x') {
		base = 16;
		text += 2;
	}
	for (digits = text; digit_value(*text) < base; text++) {
		u64 digit = (u64)digit_value(*text);

		overflow |= __builtin_mul_overflow(sum, (u64)base, &sum);
		overflow |= __builtin_add_overflow(sum, digit, &sum);
	}
	shift = suffix_shift(text);
	if (text == digits || shift < 0)
		return -EINVAL;
	if (overflow || (sum << shift) >> shift != sum)
		return -ERANGE;
	*val = sum << shift;
	return 0;
}

int parse_bool(const char *text, bool *val)
{
	static const char *const words[][2] = {
		{"off", "on"},
		{"no", "yes"},
		{"false", "true"},
		{"0", "1"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		for (unsigned j = 0; j < 2; j++) {
			if (!strcmp(text, words[i][j])) {
				*val = j;
				return 0;
			}
		}
	}
	return -EINVAL;
}
