/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key-value server: command.h by TCP, store.h on a disk.
 *
 *	truncate -s 64M kv.img
 *	vireo run kv.hvt --block data=kv.img --net service=tap=tap0 \
 *		-- 10.0.0.2 [PORT]
 *	printf 'set color blue\nget color\n' | nc -N 10.0.0.2 7070
 */
#include <tcp.h>
#include <unikernel.h>

#include "command.h"

UNIKERNEL_DEVICES(UNIKERNEL_BLOCK("data"), UNIKERNEL_NET("service"));

static struct ip_host host;
static struct store store;
static struct command_list lists[TCP_CONNECTIONS];

static struct command_list *list_of(const struct tcp_connection *c)
{
	return &lists[c - host.connections];
}

/* False: the input has no whole line. */
static bool run_line(struct tcp_connection *c)
{
	char reply[COMMAND_REPLY];
	size_t len, end = 0;
	const char *input = (const char *)tcp_input(c, &len);

	while (end < len && input[end] != '\n')
		end++;
	if (end >= COMMAND_LINE) {
		len = format(reply, sizeof(reply), "ERROR line too long\n");
		tcp_send(c, reply, len);
		tcp_close(c);
		return false;
	}
	if (end == len)
		return false;
	len = command_run(&store, (struct store_text){input, end}, reply,
			  list_of(c));
	tcp_send(c, reply, len);
	tcp_take(c, end + 1);
	return true;
}

static bool run_list(struct tcp_connection *c)
{
	char reply[COMMAND_REPLY];
	size_t len = command_next(&store, list_of(c), reply);

	tcp_send(c, reply, len);
	return true;
}

static void serve(struct tcp_connection *c)
{
	struct command_list *list = list_of(c);
	bool more = true;
	size_t left;

	/* What is left when a peer goes is nobody's. */
	if (!tcp_is_open(c)) {
		list->active = false;
		return;
	}
	while (more && tcp_room(c) >= COMMAND_REPLY)
		more = list->active ? run_list(c) : run_line(c);
	tcp_input(c, &left);
	/* A last line without its newline is no command. */
	if (!more && c->peer_ended)
		tcp_take(c, left);
	if (tcp_at_end(c) && !list->active)
		tcp_close(c);
}

int main(int argc, char **argv)
{
	uint64_t port = 7070;
	enum store_result result;
	struct block disk;

	if (argc < 2 || argc > 3 ||
	    (argc > 2 && !parse_number(argv[2], 65535, &port)) || !port) {
		print("usage: kv ADDRESS [PORT]\n");
		return 2;
	}
	if (!ip_open(&host, "service", argv[1])) {
		print("kv: %s is no IPv4 address\n", argv[1]);
		return 2;
	}
	block_open(&disk, "data");
	result = store_open(&store, &disk);
	if (result != STORE_OK) {
		print("kv: %s\n", store_error(result));
		return 1;
	}
	tcp_listen(&host, (uint16_t)port, serve);
	print("kv: %u keys, %s port %lu\n", store.count, argv[1], port);
	ip_run(&host, UINT64_MAX);
	return 0;
}
