/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network link as devices see it: whole Ethernet frames, without checksum,
 * out and in. Nothing blocks.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"

struct net;

#define NET_HEADER 14 /* of an Ethernet frame */

struct net_ops {
	/* 0; -EINVAL for what is no frame; -EAGAIN: no room, it is lost. */
	int (*send)(struct net *net, const void *frame, u64 len);
	/* Bytes, cut off at len; -EAGAIN: none there; other -errno: broken. */
	s64 (*receive)(struct net *net, void *buf, u64 len);
	void (*close)(struct net *net);
};

struct net {
	const struct net_ops *ops;
	int fd;	 /* readable when a frame waits */
	u32 mtu; /* bytes behind the header */
};

/*
 * A tap interface that exists and is up, or "@N": descriptor N, which the
 * caller opened and which stays the caller's to close.
 */
int net_open_tap(struct net **out, const char *name, struct err *err);
static inline void net_close(struct net *net)
{
	if (net)
		net->ops->close(net);
}
