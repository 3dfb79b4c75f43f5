/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP for servers: a program says which port it serves and is called when a
 * connection has news (tcp_ready_t in ip.h).
 *
 * RFC 9293 without what a server for few connections can do without: segments
 * that arrive out of order are dropped and asked for again, urgent data is
 * ordinary data, there are no window scaling, no SACK, no timestamps. At most
 * TCP_BUFFER bytes are under way to a peer, which is about what it may be sent
 * at first (RFC 6928); there is no further congestion control than that, a
 * doubling timer, and starting again from one segment when it runs out.
 */
#pragma once

#include "ip.h"

/* False: all TCP_SERVICES are taken. */
bool tcp_listen(struct ip_host *host, uint16_t port, tcp_ready_t *ready);

/* All below are for use inside of `ready` only. */

/* Input that is there; it stays until tcp_take() says how much is done with. */
const uint8_t *tcp_input(struct tcp_connection *c, size_t *len);
void tcp_take(struct tcp_connection *c, size_t len);

/* The peer will send no more, and all of it has been taken. */
bool tcp_at_end(const struct tcp_connection *c);

/* How much tcp_send() would take, and sending as much of it as goes. */
size_t tcp_room(const struct tcp_connection *c);
size_t tcp_send(struct tcp_connection *c, const void *data, size_t len);

/*
 * Nothing more will be sent, and input from now on is thrown away; it is gone
 * when the peer has closed as well.
 */
void tcp_close(struct tcp_connection *c);

/* False in the last call of `ready`: it is gone, however that came. */
bool tcp_is_open(const struct tcp_connection *c);
