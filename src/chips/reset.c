/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reset control register, port 0xcf9.
 *
 * References: [1] Intel 82371SB (PIIX3, 290550) 2.5.8, RC. [2] Intel ICH9 data
 * sheet (316972) 13.7.5, RST_CNT.
 *
 * Hard, soft and full resets are the same here: the VM ends with "reset", and
 * who started it decides whether to start it again.
 */
#include "chips/reset.h"

#include <errno.h>

#include "arch/platform.h"
#include "vmm/device.h"
#include "vmm/vm.h"

/* [2] */
enum reset_bits {
	RESET_HARD = 0x02,
	RESET_CPU = 0x04, /* rising: now */
	RESET_FULL = 0x08,
};

u8 reset_read(const struct reset_regs *regs)
{
	return regs->control;
}

void reset_write(struct reset_regs *regs, struct device *dev, u8 val)
{
	u8 rising = val & ~regs->control;

	regs->control = val & (RESET_HARD | RESET_CPU | RESET_FULL);
	if (rising & RESET_CPU)
		vm_stop(dev->vm, VM_STOP_RESET, 0, "reset by port 0xcf9");
}

struct reset {
	struct device dev;
	/* regs */
	struct reset_regs regs;
};

static u64 reset_port_read(struct device *dev, u64 off, unsigned width)
{
	return reset_read(&container_of(dev, struct reset, dev)->regs);
}

static void reset_port_write(struct device *dev, u64 off, unsigned width,
			     u64 val)
{
	reset_write(&container_of(dev, struct reset, dev)->regs, dev, (u8)val);
}

static void reset_reset(struct device *dev)
{
	container_of(dev, struct reset, dev)->regs.control = 0;
}

static int reset_create(struct device *dev, struct err *err)
{
	const struct bus_region region = {
		.name = dev->id,
		.space = BUS_PIO,
		.base = PLAT_RESET_PORT,
		.size = 1,
		.widths = BUS_W1,
		.dev = dev,
		.read = reset_port_read,
		.write = reset_port_write,
	};

	return bus_add(&dev->vm->bus, &region, err);
}

static const struct device_type reset_type = {
	.name = "reset",
	.help = "reset control register, for boards without PCI",
	.size = sizeof(struct reset),
	.save_version = 1,
	.regs_offset = offsetof(struct reset, regs),
	.regs_size = sizeof(struct reset_regs),
	.create = reset_create,
	.reset = reset_reset,
};
DEVICE_TYPE(reset_type);
