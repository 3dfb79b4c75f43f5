/* SPDX-License-Identifier: Apache-2.0 */
/* Trace points: groups by name, one line each, nothing where off. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/fd.h"
#include "vmm/trace.h"

static void test_groups(void **state)
{
	assert_int_equal(trace_enable("", -1), -EINVAL);
	assert_int_equal(trace_enable("bus,,irq", -1), -EINVAL);
	assert_int_equal(trace_enable("bus,", -1), -EINVAL);
	assert_int_equal(trace_enable("bu", -1), -EINVAL);
	assert_int_equal(trace_enable("busy", -1), -EINVAL);
	assert_int_equal(trace_mask, 0);
	assert_int_equal(trace_enable("bus", -1), 0);
	assert_int_equal(trace_mask, TRACE_BUS);
	assert_int_equal(trace_enable("irq,msr", -1), 0);
	assert_int_equal(trace_mask, TRACE_IRQ | TRACE_MSR);
	assert_int_equal(trace_enable("all", -1), 0);
	assert_true(trace_on(TRACE_BUS) && trace_on(TRACE_BOOT));
}

static int counted(int *count)
{
	return ++*count;
}

static void test_lines(void **state)
{
	char text[2048] = "", thread[64], long_text[1000];
	const char *line;
	int ends[2], count = 0;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(trace_enable("irq", ends[1]), 0);
	trace(TRACE_BUS, "unseen %d", counted(&count));
	assert_int_equal(count, 0); /* arguments of a point that is off */
	trace(TRACE_IRQ, "line %d up", 4);
	memset(long_text, 'x', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\0';
	trace(TRACE_IRQ, "%s", long_text);
	close(ends[1]);
	assert_true(fd_read_full(ends[0], text, sizeof(text) - 1) > 0);
	close(ends[0]);
	assert_int_equal(sscanf(text, "%*u.%*u %63s irq: line 4 up", thread),
			 1);
	assert_non_null(strstr(text, " irq: line 4 up\n"));
	/* A line too long is cut, and still ends. */
	line = strchr(text, '\n') + 1;
	assert_in_range(strlen(line), 400, 512);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
