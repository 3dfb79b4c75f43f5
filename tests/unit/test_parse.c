/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, switches and descriptor helpers of src/util. */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/parse.h"

static void test_numbers(void **state)
{
	static const struct {
		const char *text;
		int ret;
		u64 val;
	} cases[] = {
		{"0", 0, 0},
		{"1", 0, 1},
		{"0010", 0, 10},
		{"0x10", 0, 16},
		{"0XfF", 0, 255},
		{"64k", 0, 65536},
		{"96M", 0, MIB(96)},
		{"0x2g", 0, GIB(2)},
		{"1T", 0, GIB(1024)},
		{"18446744073709551615", 0, UINT64_MAX},
		{"0xffffffffffffffff", 0, UINT64_MAX},
		{"18446744073709551616", -ERANGE, 0},
		{"99999999999999999999999", -ERANGE, 0},
		{"16777216t", -ERANGE, 0},
		{"16777215t", 0, 16777215ull << 40},
		{"", -EINVAL, 0},
		{"k", -EINVAL, 0},
		{"0x", -EINVAL, 0},
		{"0xg", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{" 1", -EINVAL, 0},
		{"1 ", -EINVAL, 0},
		{"1kb", -EINVAL, 0},
		{"1.5g", -EINVAL, 0},
		{"12a", -EINVAL, 0},
		{"1*", -EINVAL, 0},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 val = 77;

		if (parse_u64(cases[i].text, &val) != cases[i].ret)
			fail_msg("'%s'", cases[i].text);
		assert_int_equal(val, cases[i].ret ? 77 : cases[i].val);
	}
}

static void test_switches(void **state)
{
	bool val = false;

	assert_int_equal(parse_bool("on", &val), 0);
	assert_true(val);
	assert_int_equal(parse_bool("no", &val), 0);
	assert_false(val);
	assert_int_equal(parse_bool("true", &val), 0);
	assert_true(val);
	assert_int_equal(parse_bool("0", &val), 0);
	assert_false(val);
	assert_int_equal(parse_bool("", &val), -EINVAL);
	assert_int_equal(parse_bool("onn", &val), -EINVAL);
}

static void test_descriptors(void **state)
{
	int ends[2];
	char buf[16];
	int closed;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(fd_write_all(ends[1], "hello", 5), 0);
	fd_close(&ends[1]);
	assert_int_equal(ends[1], -1);
	fd_close(&ends[1]);
	assert_int_equal(fd_read_full(ends[0], buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(fd_read_full(ends[0], buf, sizeof(buf)), 0);
	closed = ends[0];
	fd_close(&ends[0]);
	assert_int_equal(fd_write_all(closed, "x", 1), -EBADF);
	assert_int_equal(fd_read_full(closed, buf, 1), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_switches),
		cmocka_unit_test(test_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
