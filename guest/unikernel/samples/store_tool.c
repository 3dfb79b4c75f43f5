/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store without a network: commands (command.h) as arguments, separated by
 * commas; one word is one word, as the host passes no quotes on.
 *
 *	vireo run store_tool.hvt --block data=kv.img -- set color blue , keys
 *
 * Status 1 where an answer is an error.
 */
#include <unikernel.h>

#include "command.h"

UNIKERNEL_DEVICES(UNIKERNEL_BLOCK("data"));

static struct store store;

static bool run(struct store_text line)
{
	static char reply[COMMAND_REPLY];
	struct command_list list = {0};
	size_t len = command_run(&store, line, reply, &list);
	bool fine = len < 5 || memcmp(reply, "ERROR", 5);

	console_write(reply, len);
	while (list.active) {
		len = command_next(&store, &list, reply);
		console_write(reply, len);
	}
	return fine;
}

int main(int argc, char **argv)
{
	static char line[COMMAND_LINE];
	enum store_result result;
	struct block disk;
	size_t len = 0;
	int status = 0;

	block_open(&disk, "data");
	result = store_open(&store, &disk);
	if (result != STORE_OK) {
		print("store_tool: %s\n", store_error(result));
		return 1;
	}
	for (int i = 1; i <= argc; i++) {
		if (i == argc || !strcmp(argv[i], ",")) {
			if (len && !run((struct store_text){line, len}))
				status = 1;
			len = 0;
			continue;
		}
		len += format(line + len, sizeof(line) - len, "%s%s",
			      len ? " " : "", argv[i]);
		if (len >= sizeof(line)) {
			print("store_tool: a command is too long\n");
			return 2;
		}
	}
	return status;
}
