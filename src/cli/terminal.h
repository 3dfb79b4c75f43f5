/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's terminal while a guest has it: raw, with one key for ourselves.
 *
 * Its settings come back on every way out: return, signals, and crashes, but
 * for SIGKILL. One per process, since a process has one terminal.
 */
#pragma once

#include <termios.h>

#include "util/err.h"
#include "util/types.h"

#define TERMINAL_KEY 1 /* Ctrl-A */

struct terminal {
	int fd; /* -1: none */
	bool raw;
	bool key_seen; /* Ctrl-A was pressed, the next key says what for */
	struct termios saved, wanted;
	/* Called from terminal_filter(). */
	void (*leave)(void *arg);
	void (*power_button)(void *arg);
	void *arg;
};

/* fd is a terminal, or -1 where there is none (the rest then does nothing). */
int terminal_open(struct terminal *terminal, int fd, struct err *err);
/* Raw again, after a stop and SIGCONT. */
void terminal_resume(struct terminal *terminal);
/* Idempotent. */
void terminal_restore(struct terminal *terminal);

/* 0, 0 where unknown. */
void terminal_size(int fd, unsigned *rows, unsigned *cols);

/*
 * A vm_console's filter: takes our own keys out of the input. May lengthen it
 * by one byte (a Ctrl-A that turns out to be the guest's).
 */
void terminal_filter(void *terminal, u8 *buf, size_t *len);
