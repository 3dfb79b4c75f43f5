/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames through a tap interface of the host.
 *
 * References: [1] Linux, Documentation/networking/tuntap.rst.
 */
#include "backend/net.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"

#define ETHERNET_MTU 1500

struct net_tap {
	struct net net;
	bool borrowed;
};

static int tap_send(struct net *net, const void *frame, u64 len)
{
	if (len < NET_HEADER || len > UINT16_MAX)
		return -EINVAL;
	while (write(net->fd, frame, len) < 0) {
		if (errno == EINVAL)
			return -EINVAL;
		/* Down, or full: what a cable does. */
		if (errno != EINTR)
			return -EAGAIN;
	}
	return 0;
}

static s64 tap_receive(struct net *net, void *buf, u64 len)
{
	for (;;) {
		ssize_t got = read(net->fd, buf, len);

		if (got > 0)
			return got;
		if (!got)
			return -EAGAIN;
		if (errno != EINTR)
			return errno == EIO ? -EAGAIN : -errno;
	}
}

static void tap_close(struct net *net)
{
	struct net_tap *tap = container_of(net, struct net_tap, net);

	if (!tap->borrowed)
		fd_close(&net->fd);
	free(tap);
}

static const struct net_ops tap_ops = {
	.send = tap_send,
	.receive = tap_receive,
	.close = tap_close,
};

/* ---- setting up -------------------------------------------------------- */

static int copy_name(struct ifreq *ifr, const char *name)
{
	memset(ifr, 0, sizeof(*ifr));
	if (!*name || strlen(name) >= IFNAMSIZ)
		return -ENAMETOOLONG;
	memcpy(ifr->ifr_name, name, strlen(name));
	return 0;
}

/* Opening the tap would make an interface that is not there: look first. */
static int check_up(int sock, const char *name)
{
	struct ifreq ifr;
	int ret = copy_name(&ifr, name);

	if (ret)
		return ret;
	if (ioctl(sock, SIOCGIFFLAGS, &ifr))
		return errno == ENODEV ? -ENOENT : -errno;
	return ifr.ifr_flags & IFF_UP ? 0 : -ENETDOWN;
}

static int attach(const char *name)
{
	struct ifreq ifr;
	int fd, ret = copy_name(&ifr, name);

	if (ret)
		return ret;
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI;
	ret = ioctl(fd, TUNSETIFF, &ifr) ? -errno : 0;
	/* A pattern such as "tap%d" would have made one. */
	if (!ret && strcmp(ifr.ifr_name, name) != 0)
		ret = -EINVAL;
	if (ret)
		close(fd);
	return ret ? ret : fd;
}

static u32 mtu_of(int sock, const char *name)
{
	struct ifreq ifr;

	if (copy_name(&ifr, name) || ioctl(sock, SIOCGIFMTU, &ifr))
		return ETHERNET_MTU;
	return (u32)ifr.ifr_mtu;
}

/* A guest takes frames, not bursts glued together: best effort. */
static void no_bursts(int sock, const char *name)
{
	static const u32 commands[] = {ETHTOOL_SGRO, ETHTOOL_SGSO};

	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		struct ethtool_value off = {.cmd = commands[i]};
		struct ifreq ifr;

		if (copy_name(&ifr, name))
			return;
		ifr.ifr_data = (void *)&off;
		ioctl(sock, SIOCETHTOOL, &ifr);
	}
}

static int open_named(struct net *net, int sock, const char *name)
{
	int ret = check_up(sock, name);

	if (!ret)
		ret = attach(name);
	if (ret < 0)
		return ret;
	net->fd = ret;
	net->mtu = mtu_of(sock, name);
	no_bursts(sock, name);
	return 0;
}

static int open_number(struct net *net, int sock, const char *text)
{
	struct ifreq ifr = {0};
	char *end;
	long fd;

	errno = 0;
	fd = strtol(text, &end, 10);
	if (errno || *end || end == text || fd < 0 || fd > INT_MAX)
		return -EINVAL;
	if (fcntl((int)fd, F_SETFL, O_NONBLOCK))
		return -errno;
	net->fd = (int)fd;
	net->mtu = ETHERNET_MTU;
	if (!ioctl(net->fd, TUNGETIFF, &ifr))
		net->mtu = mtu_of(sock, ifr.ifr_name);
	return 0;
}

int net_open_tap(struct net **out, const char *name, struct err *err)
{
	struct net_tap *tap = calloc(1, sizeof(*tap));
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret = tap ? 0 : -ENOMEM;

	if (!ret && sock < 0)
		ret = -errno;
	if (!ret) {
		tap->net.ops = &tap_ops;
		tap->borrowed = name[0] == '@';
		ret = tap->borrowed ? open_number(&tap->net, sock, name + 1)
				    : open_named(&tap->net, sock, name);
	}
	fd_close(&sock);
	if (ret) {
		free(tap);
		return err_set(
			err, ret, "Could not attach interface: %s: %s", name,
			ret == -ENOENT ? "no such interface" : strerror(-ret));
	}
	*out = &tap->net;
	return 0;
}
