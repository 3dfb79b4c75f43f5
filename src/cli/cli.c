/* SPDX-License-Identifier: Apache-2.0 */
/* What the sub-commands share. */
#include "cli/cli.h"

#include <stdio.h>
#include <time.h>

/* Of the process: written once, before there is a second thread. */
static struct cli_start start;

static u64 clock_read(clockid_t id)
{
	struct timespec ts = {0};

	clock_gettime(id, &ts);
	return (u64)ts.tv_sec * NS_PER_SEC + (u64)ts.tv_nsec;
}

void cli_note_start(void)
{
	start.before_ns = clock_read(CLOCK_PROCESS_CPUTIME_ID);
	start.at_ns = clock_read(CLOCK_MONOTONIC);
	clock_note(&start.moment);
}

struct cli_start cli_start(void)
{
	return start;
}

int cli_fail(const struct err *err, int status)
{
	fprintf(stderr, "vireo: %s\n", err->msg);
	return status;
}
