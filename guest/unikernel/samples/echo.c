/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP echo server, which also answers ping.
 *
 *	vireo run echo.hvt --net service=tap=tap0 -- 10.0.0.2 [PORT [SECONDS]]
 *
 * PORT is 7 where none is given; with SECONDS it ends by itself after that
 * time and says how much it has echoed.
 */
#include <tcp.h>
#include <unikernel.h>

UNIKERNEL_DEVICES(UNIKERNEL_NET("service"));

static struct ip_host host;
static uint64_t bytes;

/* A connection takes in what its echo has room for. */
static void echo(struct tcp_connection *c)
{
	size_t len;
	const uint8_t *input = tcp_input(c, &len);

	len = tcp_send(c, input, len);
	bytes += len;
	tcp_take(c, len);
	if (tcp_at_end(c))
		tcp_close(c);
}

int main(int argc, char **argv)
{
	uint64_t port = 7, seconds = 0, end = UINT64_MAX;

	if (argc < 2 || argc > 4 ||
	    (argc > 2 && !parse_number(argv[2], 65535, &port)) ||
	    (argc > 3 && !parse_number(argv[3], 1000000, &seconds)) || !port) {
		print("usage: echo ADDRESS [PORT [SECONDS]]\n");
		return 2;
	}
	if (!ip_open(&host, "service", argv[1])) {
		print("echo: %s is no IPv4 address\n", argv[1]);
		return 2;
	}
	tcp_listen(&host, (uint16_t)port, echo);
	print("echo: %s port %lu\n", argv[1], port);
	if (seconds)
		end = time_monotonic() + seconds * 1000000000;
	ip_run(&host, end);
	print("echo: %lu bytes, %lu frames in, %lu out, %lu dropped\n", bytes,
	      host.received, host.sent, host.dropped);
	return 0;
}
