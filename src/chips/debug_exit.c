/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug exit: a write to its ports ends the VM, the value is the status.
 *
 * No real chip: test kernels and unikernels look for it under the name
 * isa-debug-exit, most at port 0xf4 or 0x501. Reads are not answered.
 */
#include <errno.h>

#include "vmm/device.h"
#include "vmm/vm.h"

struct debug_exit {
	struct device dev;
	/* config */
	u64 port, size;
	bool raw;
};

/* The status of a process has 8 bits; the usual mapping leaves 0 to others. */
static void debug_exit_write(struct device *dev, u64 off, unsigned width,
			     u64 val)
{
	struct debug_exit *d = container_of(dev, struct debug_exit, dev);
	int code = (int)((d->raw ? val : val * 2 + 1) & 0xff);

	vm_stop(dev->vm, VM_STOP_DEBUG_EXIT, code,
		"the guest wrote %#llx to its debug exit port",
		(unsigned long long)val);
}

static int debug_exit_create(struct device *dev, struct err *err)
{
	struct debug_exit *d = container_of(dev, struct debug_exit, dev);
	const struct bus_region region = {
		.name = dev->id,
		.space = BUS_PIO,
		.base = d->port,
		.size = d->size,
		.widths = BUS_W1 | BUS_W2 | BUS_W4,
		.dev = dev,
		.write = debug_exit_write,
	};

	return bus_add(&dev->vm->bus, &region, err);
}

static const struct device_option debug_exit_options[] = {
	{"port", OPT_NUM, offsetof(struct debug_exit, port), "0xf4",
	 "first port"},
	{"size", OPT_NUM, offsetof(struct debug_exit, size), "4",
	 "number of ports"},
	{"raw", OPT_BOOL, offsetof(struct debug_exit, raw), "off",
	 "exit status is the value, not value * 2 + 1"},
	{0},
};

static const struct device_type debug_exit_type = {
	.name = "debug-exit",
	.help = "port that ends the VM with an exit status (isa-debug-exit)",
	.size = sizeof(struct debug_exit),
	.options = debug_exit_options,
	.create = debug_exit_create,
};
DEVICE_TYPE(debug_exit_type);
