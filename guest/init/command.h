/* SPDX-License-Identifier: Apache-2.0 */
/* The one command that the VM was started for. */
#pragma once

#include "run_file.h"

/* Open ports; err may equal out. */
struct streams {
	int out, err;
};

/* Runs the command in a session of its own and waits for it, taking in
 * orphans meanwhile. Returns the status for the host, 0 to 255. */
int command_run(const struct run_file *run, const struct streams *streams);
