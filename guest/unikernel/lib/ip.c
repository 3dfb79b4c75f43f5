/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet, ARP, IPv4 and ping.
 *
 * References:
 * [1] RFC 826: ARP
 * [2] RFC 791: IPv4, 3.1
 * [3] RFC 792: ICMP, "Echo or Echo Reply Message"
 * [4] RFC 1071: the Internet checksum
 */
#include "ip_internal.h"

enum {
	ETH_ARP = 0x0806,
	ETH_IPV4 = 0x0800,
	/* [1] offsets in a packet for Ethernet and IPv4 */
	ARP_OPERATION = 6,
	ARP_SENDER_MAC = 8,
	ARP_SENDER = 14,
	ARP_TARGET_MAC = 18,
	ARP_TARGET = 24,
	ARP_LEN = 28,
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
	/* [3] */
	ICMP_ECHO = 8,
	ICMP_HEADER = 8,
	/* Frames between two looks at the timers. */
	BURST = 64,
};

/* ---- checksum ---------------------------------------------------------- */

/*
 * [4] 2 (B): sums of swapped bytes are swapped sums. Hence four bytes at a
 * time as they lie there, and one swap at the end.
 */
uint32_t ip_sum(uint32_t sum, const uint8_t *data, size_t len)
{
	uint64_t wide = __builtin_bswap32(sum);
	uint32_t word;

	for (; len >= sizeof(word); len -= sizeof(word)) {
		__builtin_memcpy(&word, data, sizeof(word));
		wide += word;
		data += sizeof(word);
	}
	for (unsigned i = 0; i < len; i++)
		wide += (uint64_t)data[i] << 8 * i;
	wide = (wide & 0xffffffff) + (wide >> 32);
	wide = (wide & 0xffffffff) + (wide >> 32);
	return __builtin_bswap32((uint32_t)wide);
}

uint16_t ip_sum_end(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* ---- sending ----------------------------------------------------------- */

static void send_frame(struct ip_host *host, const uint8_t *mac, uint16_t type,
		       size_t len)
{
	memcpy(host->out, mac, 6);
	memcpy(host->out + 6, host->net.mac, 6);
	put16(host->out + ETH_TYPE, type);
	if (net_send(&host->net, host->out, NET_HEADER + len))
		host->sent++;
	else
		host->dropped++;
}

/* [2] 3.1: version 4, five words, not to be fragmented, 64 hops. */
void ip_send(struct ip_host *host, const struct ip_peer *to, uint8_t protocol,
	     size_t len)
{
	uint8_t *ip = host->out + FRAME_IP;

	memset(ip, 0, IP_HEADER);
	ip[0] = 0x45;
	put16(ip + 2, (uint32_t)(IP_HEADER + len));
	put16(ip + 6, 0x4000);
	ip[8] = 64;
	ip[9] = protocol;
	memcpy(ip + 12, host->address, 4);
	memcpy(ip + 16, to->address, 4);
	put16(ip + 10, ip_sum_end(ip_sum(0, ip, IP_HEADER)));
	send_frame(host, to->mac, ETH_IPV4, IP_HEADER + len);
}

/* ---- receiving: true where the frame was of use ------------------------ */

static bool receive_arp(struct ip_host *host, const uint8_t *p, size_t len)
{
	static const uint8_t kind[] = {0, 1, 8, 0, 6, 4, 0, ARP_REQUEST};
	uint8_t *reply = host->out + NET_HEADER;

	if (len < ARP_LEN || memcmp(p, kind, sizeof(kind)) ||
	    memcmp(p + ARP_TARGET, host->address, 4))
		return false;
	memcpy(reply, kind, sizeof(kind));
	reply[ARP_OPERATION + 1] = ARP_REPLY;
	memcpy(reply + ARP_SENDER_MAC, host->net.mac, 6);
	memcpy(reply + ARP_SENDER, host->address, 4);
	memcpy(reply + ARP_TARGET_MAC, p + ARP_SENDER_MAC, 10);
	send_frame(host, p + ARP_SENDER_MAC, ETH_ARP, ARP_LEN);
	return true;
}

static bool receive_icmp(struct ip_host *host, const struct ip_datagram *d)
{
	uint8_t *reply = host->out + FRAME_PAYLOAD;

	if (d->len < ICMP_HEADER || d->len + IP_HEADER > host->net.mtu ||
	    d->data[0] != ICMP_ECHO || ip_sum_end(ip_sum(0, d->data, d->len)))
		return false;
	memcpy(reply, d->data, d->len);
	reply[0] = 0;
	put16(reply + 2, 0);
	put16(reply + 2, ip_sum_end(ip_sum(0, reply, d->len)));
	ip_send(host, &d->from, IP_PROTOCOL_ICMP, d->len);
	return true;
}

static bool receive_ip(struct ip_host *host, const uint8_t *frame, size_t len)
{
	const uint8_t *ip = frame + NET_HEADER;
	struct ip_datagram d = {{{0}, {0}, 0}, NULL, 0};
	size_t header, total;

	if (len < IP_HEADER)
		return false;
	header = (ip[0] & 15u) * 4u;
	total = get16(ip + 2);
	/* Ethernet pads: what is behind `total` is not ours. */
	if (ip[0] >> 4 != 4 || header < IP_HEADER || total < header ||
	    total > len || ip_sum_end(ip_sum(0, ip, header)))
		return false;
	/* [2] 3.1: neither more fragments nor an offset */
	if (get16(ip + 6) & 0x3fff || memcmp(ip + 16, host->address, 4))
		return false;
	memcpy(d.from.mac, frame + 6, 6);
	memcpy(d.from.address, ip + 12, 4);
	d.data = ip + header;
	d.len = total - header;
	if (ip[9] == IP_PROTOCOL_ICMP)
		return receive_icmp(host, &d);
	if (ip[9] != IP_PROTOCOL_TCP)
		return false;
	tcp_receive(host, &d);
	return true;
}

static bool receive_frame(struct ip_host *host, const uint8_t *frame,
			  size_t len)
{
	static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};
	bool ours, useful = false;

	if (len < NET_HEADER)
		return false;
	ours = !memcmp(frame, host->net.mac, 6);
	if (get16(frame + ETH_TYPE) == ETH_ARP &&
	    (ours || !memcmp(frame, all, 6)))
		useful =
			receive_arp(host, frame + NET_HEADER, len - NET_HEADER);
	else if (get16(frame + ETH_TYPE) == ETH_IPV4 && ours)
		useful = receive_ip(host, frame, len - NET_HEADER);
	return useful;
}

/* ---- the host ---------------------------------------------------------- */

static bool parse_address(const char *text, uint8_t *address)
{
	for (int i = 0; i < 4; i++) {
		unsigned val = 0, digits = 0;

		for (; *text >= '0' && *text <= '9' && digits < 4; digits++)
			val = val * 10 + (unsigned)(*text++ - '0');
		if (!digits || val > 255 || *text++ != (i < 3 ? '.' : 0))
			return false;
		address[i] = (uint8_t)val;
	}
	return true;
}

bool ip_open(struct ip_host *host, const char *device, const char *address)
{
	if (!net_open(&host->net, device) ||
	    !parse_address(address, host->address) || host->net.mtu < 576)
		return false;
	if (host->net.mtu > IP_MTU_MAX)
		host->net.mtu = IP_MTU_MAX;
	return true;
}

void ip_run(struct ip_host *host, uint64_t deadline)
{
	for (;;) {
		uint64_t now = time_monotonic();
		uint64_t due = tcp_timers(host, now);
		size_t len = 0;

		if (now >= deadline)
			return;
		for (int i = 0; i < BURST; i++) {
			len = net_receive(&host->net, host->in,
					  sizeof(host->in));
			if (!len)
				break;
			host->received++;
			if (!receive_frame(host, host->in, len))
				host->dropped++;
		}
		if (!len)
			wait_until(due < deadline ? due : deadline);
	}
}
