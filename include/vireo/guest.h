/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host tells the default guest, and how the guest answers.
 *
 * The host appends a small archive to the default guest's initramfs with one
 * file, GUEST_RUN_FILE: a sequence of "key=value" strings, each ended by a
 * NUL. Without an argument in it the guest starts a shell; without the file, a
 * shell on a terminal. Keys:
 *
 *   arg         one argument of the command, repeated, in order
 *   module      path of a kernel module to load, repeated, in order
 *   env         one "NAME=value" of its environment, repeated
 *   tty         1: the console is the command's terminal, cooked, with echo
 *               0 (default): plain bytes, see below
 *   rows, cols  size of the terminal, decimal
 *   stderr      name below /dev of the serial port for standard error;
 *               default: the same as standard output
 *   exit_port   hexadecimal port: the status is written there as one byte
 *               once all output has left; without it the guest powers off
 *   ready_port  hexadecimal port: one byte is written there when the console
 *               has its final settings and the command is about to start;
 *               input sent earlier may be echoed or lost
 *
 * Plain bytes (tty=0): output is not touched. Input is in canonical mode so
 * that it can end: GUEST_EOF after a newline (or twice after anything else)
 * is the end of input, GUEST_QUOTE takes the meaning from the byte after it.
 * A sender that quotes these two and the newline-free rest of long input, and
 * sends GUEST_EOF after at most GUEST_LINE_MAX bytes without a newline, gets
 * every byte through: within a line GUEST_EOF only hands over what came
 * before it.
 *
 * Where the port offers CTS the guest drives RTS, and input that arrives
 * while RTS is low is lost.
 */
#pragma once

#define GUEST_RUN_FILE "/vireo/run"
#define GUEST_MODULE_PATH "/vireo/%s.ko" /* of those that the host adds */

enum guest_console {
	GUEST_EOF = 4,
	GUEST_QUOTE = 22,
	GUEST_LINE_MAX = 1024,
};

/* Statuses that are not the command's own. */
enum guest_status {
	GUEST_STATUS_INIT = 125,     /* init itself failed */
	GUEST_STATUS_NOEXEC = 126,   /* found, cannot be executed */
	GUEST_STATUS_NOTFOUND = 127, /* no such command */
	GUEST_STATUS_SIGNAL = 128,   /* + signal number */
};
