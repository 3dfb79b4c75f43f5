/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One network device with one IPv4 address that answers: ARP, ping, and TCP
 * connections that others open (tcp.h). It opens none itself and therefore
 * knows no routes and asks no ARP: an answer goes to where the question came
 * from, which is right through a gateway as well.
 *
 * Deliberately not there: IPv6, UDP, DHCP, fragments (dropped and counted),
 * IP options (skipped).
 *
 * Everything happens inside ip_run(); there is one thread.
 */
#pragma once

#include "unikernel.h"

#define IP_MTU_MAX 9000
#define TCP_CONNECTIONS 32
#define TCP_BUFFER 16384 /* bytes each way of a connection */
#define TCP_SERVICES 4

struct tcp_connection;

/*
 * Something has changed: the connection is new, there is input, or room for
 * output, or the peer has closed. Also called for the last time when it is
 * gone (tcp_is_open() is false).
 */
typedef void tcp_ready_t(struct tcp_connection *c);

struct tcp_service {
	uint16_t port;
	tcp_ready_t *ready;
};

/* A queue of bytes. */
struct tcp_queue {
	uint32_t start, len;
	uint8_t data[TCP_BUFFER];
};

struct ip_peer {
	uint8_t mac[6];
	uint8_t address[4];
	uint16_t port;
};

struct tcp_connection {
	struct ip_host *host;
	const struct tcp_service *service;
	void *user; /* the program's; NULL at first */
	struct ip_peer peer;

	/* Sequence numbers: the first that the peer has not acknowledged, what
	 * we send next, the end of what we ever sent; what we expect next,
	 * the end of what we have told the peer that it may send. */
	uint32_t una, nxt, highest, expected, allowed;
	uint32_t window; /* what the peer takes beyond `una` */
	uint32_t mss;
	uint64_t retry_at; /* time_monotonic(); UINT64_MAX: nothing to repeat */
	uint64_t dead_at;  /* given up when no segment comes before */
	uint8_t state;	   /* tcp.c */
	uint8_t retries, duplicates;
	bool ack_due;	 /* the peer waits for a word of ours */
	bool peer_ended; /* its FIN has come, and all before it */
	bool closing;	 /* our FIN follows the last byte of `out` */
	bool fin_known;	 /* the peer has acknowledged it */

	struct tcp_queue in, out;
};

struct ip_host {
	struct net net;
	uint8_t address[4];
	uint64_t received, sent, dropped; /* frames */
	struct tcp_service services[TCP_SERVICES];
	struct tcp_connection connections[TCP_CONNECTIONS];
	uint8_t in[IP_MTU_MAX + NET_HEADER], out[IP_MTU_MAX + NET_HEADER];
};

/*
 * `host` is all zero before. Address as "10.0.0.2". False: no such device, or
 * that is no address.
 */
bool ip_open(struct ip_host *host, const char *device, const char *address);

/* Answers until time_monotonic() is `deadline`; UINT64_MAX: for ever. */
void ip_run(struct ip_host *host, uint64_t deadline);
