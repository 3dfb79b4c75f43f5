/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's text protocol: a line is a command, its answer is one line.
 *
 *	set KEY VALUE    OK                      (VALUE: the rest of the line)
 *	get KEY          VALUE the value | NONE
 *	del KEY          OK | NONE
 *	count            COUNT keys
 *	keys             KEY a key, for each, then END
 *
 * What goes wrong is answered by ERROR and the reason.
 */
#pragma once

#include "store.h"

enum {
	COMMAND_LINE = 4096, /* bytes of a line, with its newline */
	COMMAND_REPLY = STORE_VALUE_MAX + 64,
};

/* What is left of an answer that has several lines. */
struct command_list {
	bool active;
	uint32_t cursor;
};

/*
 * Runs a line without its newline. The answer's length: at most COMMAND_REPLY
 * bytes, none where it is a list.
 */
size_t command_run(struct store *s, struct store_text line, char *reply,
		   struct command_list *list);

/* The next line of a list; clears `active` with its last. */
size_t command_next(struct store *s, struct command_list *list, char *reply);
