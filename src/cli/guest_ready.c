/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default guest's word that its console is set (vireo/guest.h,
 * ready_port): a write to the port becomes readable on an eventfd.
 */
#include "cli/guest_ready.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "util/fd.h"
#include "vmm/device.h"
#include "vmm/vm.h"

struct guest_ready {
	struct device dev;
	/* config */
	u64 port;
	/* host */
	int fd;
};

static void ready_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct guest_ready *ready = container_of(dev, struct guest_ready, dev);
	const u64 one = 1;

	fd_write_all(ready->fd, &one, sizeof(one));
}

static int ready_create(struct device *dev, struct err *err)
{
	struct guest_ready *ready = container_of(dev, struct guest_ready, dev);
	const struct bus_region region = {
		.name = dev->id,
		.space = BUS_PIO,
		.base = ready->port,
		.size = 1,
		.widths = BUS_W1,
		.dev = dev,
		.write = ready_write,
	};

	/* Non-blocking: a guest that writes 2^64 times must not hang us. */
	ready->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ready->fd < 0)
		return err_set(err, -errno, "eventfd: %s", strerror(errno));
	return bus_add(&dev->vm->bus, &region, err);
}

static void ready_destroy(struct device *dev)
{
	struct guest_ready *ready = container_of(dev, struct guest_ready, dev);

	if (ready->fd > 0)
		fd_close(&ready->fd);
}

int guest_ready_fd(struct device *dev)
{
	return container_of(dev, struct guest_ready, dev)->fd;
}

static const struct device_option ready_options[] = {
	{"port", OPT_NUM, offsetof(struct guest_ready, port), "0x5f8",
	 "the port"},
	{0},
};

static const struct device_type guest_ready_type = {
	.name = "guest-ready",
	.help = "port where the default guest says that its console is set",
	.size = sizeof(struct guest_ready),
	.options = ready_options,
	.create = ready_create,
	.destroy = ready_destroy,
};
DEVICE_TYPE(guest_ready_type);
