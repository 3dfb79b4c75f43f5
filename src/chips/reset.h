/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reset control register at 0xcf9. It lies within the four ports of PCI's
 * configuration address, so there the PCI host serves it; a board without PCI
 * adds the device "reset".
 */
#pragma once

#include "util/types.h"

struct device;

struct reset_regs {
	u8 control;
};

u8 reset_read(const struct reset_regs *regs);
/* A rising reset bit resets the machine that dev belongs to. */
void reset_write(struct reset_regs *regs, struct device *dev, u8 val);
