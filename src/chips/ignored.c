/* SPDX-License-Identifier: Apache-2.0 */
/* Ports that are ignored on purpose; the board has the list. */
#include "chips/ignored.h"

#include <errno.h>
#include <string.h>

#include "vmm/device.h"
#include "vmm/vm.h"

int ignored_add(struct device *dev, const struct ignored_port *table,
		struct err *err)
{
	for (; table->count; table++) {
		const struct bus_region region = {
			.name = table->reason,
			.space = BUS_PIO,
			.base = table->base,
			.size = table->count,
			.widths = BUS_W1 | BUS_W2 | BUS_W4,
			.dev = dev,
		};
		int ret = bus_add(&dev->vm->bus, &region, NULL);

		if (ret && ret != -EEXIST)
			return err_set(err, ret, "%s: %s: %s", dev->id,
				       table->reason, strerror(-ret));
	}
	return 0;
}

static const struct device_type ignored_type = {
	.name = "ignored",
	.help = "ports that guests probe and this board leaves empty",
	.size = sizeof(struct device),
};
DEVICE_TYPE(ignored_type);
