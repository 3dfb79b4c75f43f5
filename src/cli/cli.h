/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sub-commands share: their table row and the exit statuses.
 *
 * Only this folder parses argv, prints for people and exits.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"
#include "vmm/clock.h"

/*
 * Exit statuses of vireo, also listed in vireo(1). What the guest says by
 * itself (a command's status, the debug-exit port) is passed through and may
 * be any of them; 128 + n is death by signal n, of vireo or of the command.
 */
enum cli_exit {
	EXIT_OK = 0,	      /* the guest powered off or reset */
	EXIT_USAGE = 2,	      /* wrong arguments */
	EXIT_BUG = 120,	      /* the engine found an error of its own */
	EXIT_TRIPLE = 121,    /* triple fault */
	EXIT_STUCK = 122,     /* the engine cannot execute the guest further */
	EXIT_LOST = 123,      /* reset before the command's status was known */
	EXIT_GUEST = 124,     /* the guest broke the rules of its interface */
	EXIT_HOST = 125,      /* vireo or its host failed */
	EXIT_NOEXEC = 126,    /* command found, but cannot be executed */
	EXIT_NOT_FOUND = 127, /* no such command in the guest */
	EXIT_SIGNAL = 128,    /* + signal number */
};

struct cli_command {
	const char *name;
	const char *summary;
	/* argv[0] is the sub-command's name; returns the exit status. */
	int (*main)(int argc, char **argv);
};

int cli_run(int argc, char **argv);
int cli_doctor(int argc, char **argv);
/* The whole command line, under the name solo5-hvt. */
int cli_solo5(int argc, char **argv);

/*
 * How main() began. What came before it (our half of fork, exec, the dynamic
 * linker) is known as CPU time only: no clock tells when a process was made to
 * better than 10 ms.
 */
struct cli_start {
	u64 before_ns; /* CPU time of the process until then */
	u64 at_ns;     /* CLOCK_MONOTONIC */
	struct clock_moment moment;
};

void cli_note_start(void);
struct cli_start cli_start(void);

/* "vireo: <err->msg>" to stderr; returns `status` for the caller to return. */
int cli_fail(const struct err *err, int status);
