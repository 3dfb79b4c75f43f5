/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP for servers; tcp.h says what is left out.
 *
 * Theory of operation. Everything is done when a segment arrives or a timer
 * runs out: what it says is noted in the connection, then the program's
 * `ready` is called, then send_due() sends what data, windows and its program
 * allow. `out` holds the bytes from `una` on, sent or not; our FIN has the
 * number behind its last byte. When a timer runs out, sending starts again
 * from `una`.
 *
 * References:
 * [1] RFC 9293: 3.1 (header), 3.4.1 (initial numbers), 3.10.7 (arriving
 *     segments)
 * [2] RFC 5961: 3.2, 4.2 (a wrong RST or SYN is answered by an ACK)
 * [3] RFC 6298: (2.1), (5.5): first timer 1 s, then doubled
 * [4] RFC 5681: 3.2 (three duplicates mean a loss)
 */
#include "tcp.h"

#include "ip_internal.h"

enum {
	/* [1] 3.1 */
	FIN = 1,
	SYN = 2,
	RST = 4,
	PSH = 8,
	ACK = 16,
	TCP_HEADER = 20,
	OPTION_END = 0,
	OPTION_NOP = 1,
	OPTION_MSS = 2,
	MSS_DEFAULT = 536,
	MSS_LEAST = 64,

	RETRIES = 8,
	RETRIES_SYN = 4,
	DUPLICATES = 3,
};
#define SECOND 1000000000ul
#define IDLE (600 * SECOND)  /* of a peer that has not closed */
#define LINGER (60 * SECOND) /* of one that has been closed to */
#define TIME_WAIT (10 * SECOND)
#define NEVER UINT64_MAX

enum state {
	STATE_FREE,
	STATE_SYN_RECEIVED,
	STATE_OPEN,	 /* both directions, or what is left of them */
	STATE_TIME_WAIT, /* gone, but its last ACK may have been lost */
};

struct segment {
	const struct ip_datagram *d;
	uint32_t seq, ack, window;
	uint16_t from, to;
	uint8_t flags;
	const uint8_t *options, *data;
	uint32_t len;
};

/* What a segment of ours says. */
struct reply {
	uint32_t seq, ack;
	uint16_t window;
	uint8_t flags;
	const uint8_t *data;
	uint32_t len, mss; /* mss 0: no option */
};

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* How far a sequence number lies behind another; negative: before. */
static int32_t distance(uint32_t from, uint32_t to)
{
	return (int32_t)(to - from);
}

/* ---- queues ------------------------------------------------------------ */

static uint32_t queue_add(struct tcp_queue *q, const void *data, size_t len)
{
	uint32_t room = TCP_BUFFER - q->len;

	if (len > room)
		len = room;
	if (q->start + q->len + len > TCP_BUFFER) {
		memmove(q->data, q->data + q->start, q->len);
		q->start = 0;
	}
	memcpy(q->data + q->start + q->len, data, len);
	q->len += (uint32_t)len;
	return (uint32_t)len;
}

static void queue_drop(struct tcp_queue *q, size_t len)
{
	uint32_t gone = len < q->len ? (uint32_t)len : q->len;

	q->start += gone;
	q->len -= gone;
	if (!q->len)
		q->start = 0;
}

/* ---- sending ----------------------------------------------------------- */

static uint32_t pseudo_sum(const struct ip_host *host,
			   const struct ip_peer *peer, uint32_t len)
{
	uint32_t sum = ip_sum(IP_PROTOCOL_TCP + len, host->address, 4);

	return ip_sum(sum, peer->address, 4);
}

static void send_reply(struct ip_host *host, const struct ip_peer *to,
		       uint16_t port, const struct reply *r)
{
	uint8_t *tcp = host->out + FRAME_PAYLOAD;
	uint32_t header = TCP_HEADER + (r->mss ? 4 : 0);
	uint32_t len = header + r->len;

	memset(tcp, 0, header);
	put16(tcp, port);
	put16(tcp + 2, to->port);
	put32(tcp + 4, r->seq);
	put32(tcp + 8, r->ack);
	tcp[12] = (uint8_t)(header / 4 << 4);
	tcp[13] = r->flags;
	put16(tcp + 14, r->window);
	if (r->mss) {
		put16(tcp + 20, OPTION_MSS << 8 | 4);
		put16(tcp + 22, r->mss);
	}
	if (r->len)
		memcpy(tcp + header, r->data, r->len);
	put16(tcp + 16,
	      ip_sum_end(ip_sum(pseudo_sum(host, to, len), tcp, len)));
	ip_send(host, to, IP_PROTOCOL_TCP, len);
}

/* From `seq` on, `len` bytes of `out` and what `flags` adds. */
static void send_part(struct tcp_connection *c, uint32_t seq, uint32_t len,
		      uint8_t flags)
{
	uint32_t window = TCP_BUFFER - c->in.len;
	struct reply r = {
		.seq = seq,
		.ack = c->expected,
		.window = (uint16_t)window,
		.flags = flags | ACK,
		.data = c->out.data + c->out.start + (seq - c->una),
		.len = len,
		.mss = flags & SYN ? (uint32_t)c->host->net.mtu - IP_HEADER -
					     TCP_HEADER
				   : 0,
	};

	c->allowed = c->expected + window;
	c->ack_due = false;
	send_reply(c->host, &c->peer, c->service->port, &r);
}

static void expect_answer(struct tcp_connection *c)
{
	/* [3] (5.5) */
	c->retry_at = time_monotonic() + (SECOND << c->retries);
}

/* The next segment from `nxt` on, `most` bytes at most; false: there is none.
 */
static bool send_next(struct tcp_connection *c, uint32_t most)
{
	uint32_t under_way = c->nxt - c->una, len;
	uint8_t flags = PSH;

	if (under_way > c->out.len || c->fin_known)
		return false; /* the FIN is out as well */
	len = min32(min32(c->out.len - under_way, most), c->mss);
	if (c->closing && under_way + len == c->out.len)
		flags |= FIN;
	if (!len && !(flags & FIN))
		return false;
	send_part(c, c->nxt, len, flags);
	c->nxt += len + (flags & FIN ? 1 : 0);
	if (distance(c->highest, c->nxt) > 0)
		c->highest = c->nxt;
	if (c->retry_at == NEVER)
		expect_answer(c);
	return true;
}

/* What `in` has room for now and the peer does not know of. */
static uint32_t window_grown(const struct tcp_connection *c)
{
	return c->expected + TCP_BUFFER - c->in.len - c->allowed;
}

static void send_due(struct tcp_connection *c)
{
	uint32_t under_way;

	do
		under_way = c->nxt - c->una;
	while (under_way < c->window && send_next(c, c->window - under_way));
	/* A closed window is asked about by the timer. */
	if (c->retry_at == NEVER &&
	    (c->out.len || (c->closing && !c->fin_known)))
		expect_answer(c);
	if (c->ack_due || window_grown(c) >= TCP_BUFFER / 2)
		send_part(c, c->nxt, 0, 0);
}

/* [1] 3.10.7.1: to whoever speaks to a connection that is not there. */
static void refuse(struct ip_host *host, const struct segment *s)
{
	struct reply r = {.seq = s->ack, .flags = RST};
	struct ip_peer peer = s->d->from;

	if (s->flags & RST)
		return;
	if (!(s->flags & ACK)) {
		r.seq = 0;
		r.ack = s->seq + s->len + (s->flags & SYN ? 1 : 0) +
			(s->flags & FIN ? 1 : 0);
		r.flags = RST | ACK;
	}
	peer.port = s->from;
	send_reply(host, &peer, s->to, &r);
}

/* ---- life -------------------------------------------------------------- */

/* The program's last call. */
static void leave(struct tcp_connection *c, enum state state)
{
	bool known = c->state == STATE_OPEN;

	c->state = (uint8_t)state;
	c->retry_at = NEVER;
	c->dead_at = time_monotonic() + TIME_WAIT;
	if (known)
		c->service->ready(c);
}

static void reset(struct tcp_connection *c)
{
	struct reply r = {
		.seq = c->nxt, .ack = c->expected, .flags = RST | ACK};

	send_reply(c->host, &c->peer, c->service->port, &r);
	leave(c, STATE_FREE);
}

static struct tcp_connection *find(struct ip_host *host,
				   const struct segment *s)
{
	for (int i = 0; i < TCP_CONNECTIONS; i++) {
		struct tcp_connection *c = &host->connections[i];

		if (c->state != STATE_FREE && c->peer.port == s->from &&
		    c->service->port == s->to &&
		    !memcmp(c->peer.address, s->d->from.address, 4))
			return c;
	}
	return NULL;
}

/* A free one, else the one that is least missed: strangers that have only
 * said SYN must not keep others out. */
static struct tcp_connection *find_room(struct ip_host *host)
{
	struct tcp_connection *best = NULL;

	for (int i = 0; i < TCP_CONNECTIONS; i++) {
		struct tcp_connection *c = &host->connections[i];

		if (c->state == STATE_FREE)
			return c;
		if (c->state != STATE_OPEN &&
		    (!best || c->dead_at < best->dead_at))
			best = c;
	}
	return best;
}

static const struct tcp_service *find_service(const struct ip_host *host,
					      uint16_t port)
{
	for (int i = 0; i < TCP_SERVICES; i++)
		if (host->services[i].ready && host->services[i].port == port)
			return &host->services[i];
	return NULL;
}

/* The peer's maximum segment size, [1] 3.2 and 3.7.1. */
static uint32_t read_mss(const struct segment *s)
{
	const uint8_t *p = s->options;

	while (p < s->data && *p != OPTION_END) {
		if (*p == OPTION_NOP) {
			p++;
			continue;
		}
		if (s->data - p < 2 || p[1] < 2 || p[1] > s->data - p)
			break;
		if (*p == OPTION_MSS && p[1] == 4)
			return get16(p + 2);
		p += p[1];
	}
	return MSS_DEFAULT;
}

static void open(struct ip_host *host, const struct segment *s)
{
	const struct tcp_service *service = find_service(host, s->to);
	struct tcp_connection *c = service ? find_room(host) : NULL;
	uint32_t own_mss = (uint32_t)host->net.mtu - IP_HEADER - TCP_HEADER;

	if (!c) {
		refuse(host, s);
		return;
	}
	memset(c, 0, offsetof(struct tcp_connection, in));
	c->in.start = c->in.len = c->out.start = c->out.len = 0;
	c->host = host;
	c->service = service;
	c->peer = s->d->from;
	c->peer.port = s->from;
	c->state = STATE_SYN_RECEIVED;
	c->mss = min32(read_mss(s), own_mss);
	if (c->mss < MSS_LEAST)
		c->mss = MSS_LEAST;
	c->window = s->window;
	c->expected = s->seq + 1;
	c->una = (uint32_t)random_number();
	c->dead_at = time_monotonic() + IDLE;
	send_part(c, c->una, 0, SYN);
	c->nxt = c->highest = c->una + 1;
	expect_answer(c);
}

/* ---- arriving ---------------------------------------------------------- */

/* [1] 3.10.7.4, fifth. True where there is news for the program. */
static bool take_ack(struct tcp_connection *c, const struct segment *s)
{
	int32_t gone = distance(c->una, s->ack);
	uint32_t was = c->window;

	if (gone < 0 || distance(s->ack, c->highest) < 0) {
		c->ack_due = c->ack_due || gone >= 0;
		return false;
	}
	c->window = s->window;
	if (!gone) {
		/* A peer that keeps its window closed, but answers, lives. */
		if (!c->window)
			c->retries = (uint8_t)min32(c->retries, RETRIES / 2);
		/* [4] 2, "duplicate acknowledgment" */
		if (s->len || c->nxt == c->una || s->window != was)
			return false;
		if (++c->duplicates == DUPLICATES) {
			uint32_t nxt = c->nxt;

			c->nxt = c->una;
			send_next(c, c->mss);
			c->nxt = nxt;
		}
		return false;
	}
	if ((uint32_t)gone > c->out.len)
		c->fin_known = true; /* a FIN's number is no byte */
	queue_drop(&c->out, (uint32_t)gone);
	c->una = s->ack;
	if (distance(c->nxt, c->una) > 0)
		c->nxt = c->una;
	c->retries = c->duplicates = 0;
	c->retry_at = NEVER;
	if (c->nxt != c->una)
		expect_answer(c);
	return true;
}

/* What is new of the segment's bytes, in order. True where there is news. */
static bool take_data(struct tcp_connection *c, const struct segment *s)
{
	int32_t known = distance(s->seq, c->expected);
	uint32_t fin = s->flags & FIN ? 1 : 0, fresh, taken;

	if (!s->len && !fin)
		return false;
	c->ack_due = true;
	if (known < 0 || (uint32_t)known >= s->len + fin || c->peer_ended)
		return false;
	fresh = s->len - (uint32_t)known;
	/* What a program does not want to hear is heard out all the same. */
	taken = c->closing ? fresh : queue_add(&c->in, s->data + known, fresh);
	c->expected += taken;
	if (fin && taken == fresh) {
		c->expected++;
		c->peer_ended = true;
	}
	return true;
}

/* [1] 3.10.7.4, first: anything of it in the window, or exactly at its
 * start. */
static bool in_window(const struct tcp_connection *c, const struct segment *s)
{
	return distance(s->seq, c->allowed) >= 0 &&
	       distance(c->expected, s->seq + s->len) >= 0;
}

/* False: that is all there is to it. */
static bool check_segment(struct tcp_connection *c, const struct segment *s)
{
	if (s->flags & RST) {
		if (s->seq == c->expected)
			leave(c, STATE_FREE);
		else if (in_window(c, s))
			send_part(c, c->nxt, 0, 0); /* [2] 3.2 */
		return false;
	}
	if (s->flags & SYN && c->state == STATE_SYN_RECEIVED &&
	    s->seq + 1 == c->expected) {
		send_part(c, c->una, 0, SYN);
		return false;
	}
	if (s->flags & SYN || !in_window(c, s)) {
		send_part(c, c->nxt, 0, 0); /* [2] 4.2, [1] 3.10.7.4 */
		return false;
	}
	return s->flags & ACK;
}

static bool establish(struct tcp_connection *c, const struct segment *s)
{
	if (c->state != STATE_SYN_RECEIVED)
		return true;
	if (s->ack != c->nxt) {
		refuse(c->host, s);
		return false;
	}
	c->una = c->nxt;
	c->state = STATE_OPEN;
	c->window = s->window;
	c->retries = 0;
	c->retry_at = NEVER;
	c->service->ready(c);
	return true;
}

/* Our FIN is acknowledged, theirs has come: who was first must stay around
 * for the case that the last ACK is lost, [1] 3.3.2. */
static void close_when_done(struct tcp_connection *c, bool ended_before)
{
	if (c->state == STATE_OPEN && c->fin_known && c->peer_ended)
		leave(c, ended_before ? STATE_FREE : STATE_TIME_WAIT);
}

static void receive(struct tcp_connection *c, const struct segment *s)
{
	bool ended_before = c->peer_ended, news;

	if (!check_segment(c, s))
		return;
	if (c->state == STATE_TIME_WAIT) {
		send_part(c, c->nxt, 0, 0);
		return;
	}
	if (!establish(c, s))
		return;
	memcpy(c->peer.mac, s->d->from.mac, sizeof(c->peer.mac));
	c->dead_at = time_monotonic() + (c->closing ? LINGER : IDLE);
	news = take_ack(c, s);
	news = take_data(c, s) || news;
	if (news)
		c->service->ready(c);
	send_due(c);
	close_when_done(c, ended_before);
}

static bool parse(const struct ip_host *host, const struct ip_datagram *d,
		  struct segment *s)
{
	const uint8_t *p = d->data;
	uint32_t header;

	if (d->len < TCP_HEADER)
		return false;
	header = p[12] >> 4 << 2;
	if (header < TCP_HEADER || header > d->len ||
	    ip_sum_end(ip_sum(pseudo_sum(host, &d->from, (uint32_t)d->len), p,
			      d->len)))
		return false;
	*s = (struct segment){
		.d = d,
		.from = get16(p),
		.to = get16(p + 2),
		.seq = get32(p + 4),
		.ack = get32(p + 8),
		.flags = p[13],
		.window = get16(p + 14),
		.options = p + TCP_HEADER,
		.data = p + header,
		.len = (uint32_t)d->len - header,
	};
	return true;
}

void tcp_receive(struct ip_host *host, const struct ip_datagram *d)
{
	struct tcp_connection *c;
	struct segment s;
	bool fresh;

	if (!parse(host, d, &s)) {
		host->dropped++;
		return;
	}
	c = find(host, &s);
	fresh = (s.flags & (SYN | ACK | RST | FIN)) == SYN;
	/* [1] 3.10.7.4: a new connection may take the place of one that only
	 * waits for stragglers. */
	if (c && c->state == STATE_TIME_WAIT && fresh &&
	    distance(c->expected, s.seq) > 0) {
		c->state = STATE_FREE;
		c = NULL;
	}
	if (c)
		receive(c, &s);
	else if (fresh)
		open(host, &s);
	else
		refuse(host, &s);
}

/* ---- timers ------------------------------------------------------------ */

static void retry(struct tcp_connection *c)
{
	uint8_t most = c->state == STATE_SYN_RECEIVED ? RETRIES_SYN : RETRIES;

	if (c->retries >= most) {
		reset(c);
		return;
	}
	c->retries++;
	expect_answer(c);
	if (c->state == STATE_SYN_RECEIVED) {
		send_part(c, c->una, 0, SYN);
		return;
	}
	c->nxt = c->una;
	send_next(c, c->window ? c->window : 1);
}

uint64_t tcp_timers(struct ip_host *host, uint64_t now)
{
	uint64_t next = NEVER;

	for (int i = 0; i < TCP_CONNECTIONS; i++) {
		struct tcp_connection *c = &host->connections[i];

		if (c->state == STATE_FREE)
			continue;
		if (c->state == STATE_TIME_WAIT && now >= c->dead_at)
			c->state = STATE_FREE;
		else if (now >= c->dead_at)
			reset(c);
		else if (now >= c->retry_at)
			retry(c);
		if (c->state == STATE_FREE)
			continue;
		if (c->retry_at < next)
			next = c->retry_at;
		if (c->dead_at < next)
			next = c->dead_at;
	}
	return next;
}

/* ---- the program's side ------------------------------------------------ */

bool tcp_listen(struct ip_host *host, uint16_t port, tcp_ready_t *ready)
{
	for (int i = 0; i < TCP_SERVICES; i++) {
		if (host->services[i].ready)
			continue;
		host->services[i] = (struct tcp_service){port, ready};
		return true;
	}
	return false;
}

const uint8_t *tcp_input(struct tcp_connection *c, size_t *len)
{
	*len = c->in.len;
	return c->in.data + c->in.start;
}

void tcp_take(struct tcp_connection *c, size_t len)
{
	queue_drop(&c->in, len);
}

bool tcp_at_end(const struct tcp_connection *c)
{
	return c->peer_ended && !c->in.len;
}

size_t tcp_room(const struct tcp_connection *c)
{
	return c->state == STATE_OPEN && !c->closing ? TCP_BUFFER - c->out.len
						     : 0;
}

size_t tcp_send(struct tcp_connection *c, const void *data, size_t len)
{
	return tcp_room(c) ? queue_add(&c->out, data, len) : 0;
}

void tcp_close(struct tcp_connection *c)
{
	c->closing = true;
	queue_drop(&c->in, c->in.len);
}

bool tcp_is_open(const struct tcp_connection *c)
{
	return c->state == STATE_OPEN;
}
