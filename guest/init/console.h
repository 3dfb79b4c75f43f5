/* SPDX-License-Identifier: Apache-2.0 */
/* The serial ports that stand for the command's standard streams. */
#pragma once

#include "run_file.h"

#define CONSOLE_DEVICE "/dev/ttyS0"

/* Port to use for standard error, opened and set to plain bytes; or a
 * negative errno. */
long console_open_error(const char *name);

/* CONSOLE_DEVICE with the settings that run asks for; or a negative errno. It
 * does not become a controlling terminal here. */
long console_open(const struct run_file *run);

/* Returns when all output written to fd has left the port. */
void console_drain(int fd);
