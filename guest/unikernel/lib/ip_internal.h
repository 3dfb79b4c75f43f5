/* SPDX-License-Identifier: Apache-2.0 */
/* What ip.c and tcp.c share. Frames are bytes: nothing in them is aligned. */
#pragma once

#include "ip.h"

enum {
	ETH_TYPE = 12,
	IP_HEADER = 20,
	IP_PROTOCOL_ICMP = 1,
	IP_PROTOCOL_TCP = 6,
	/* Where our own frames' parts are: we send no IP options. */
	FRAME_IP = NET_HEADER,
	FRAME_PAYLOAD = NET_HEADER + IP_HEADER,
};

/* One datagram for us, its header checked. */
struct ip_datagram {
	struct ip_peer from;
	const uint8_t *data; /* behind the IP header */
	size_t len;
};

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static inline void put16(uint8_t *p, uint32_t val)
{
	p[0] = (uint8_t)(val >> 8);
	p[1] = (uint8_t)val;
}

static inline void put32(uint8_t *p, uint32_t val)
{
	put16(p, val >> 16);
	put16(p + 2, val);
}

/* RFC 1071: the sum so far and its last step. */
uint32_t ip_sum(uint32_t sum, const uint8_t *data, size_t len);
uint16_t ip_sum_end(uint32_t sum);

/* Sends what lies at host->out + FRAME_PAYLOAD. */
void ip_send(struct ip_host *host, const struct ip_peer *to, uint8_t protocol,
	     size_t len);

void tcp_receive(struct ip_host *host, const struct ip_datagram *d);
/* What is due by now; when the next thing will be. */
uint64_t tcp_timers(struct ip_host *host, uint64_t now);
