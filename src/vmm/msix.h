/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X: a function's table of messages, one a vector, in a BAR of its own,
 * each of which can be masked; a masked one is remembered as pending and sent
 * when its mask goes.
 *
 * Order: the device's create calls msix_add() before pci_function_plug(), has a
 * BAR of MSIX_BAR_SIZE whose callbacks lead to msix_bar_read() and
 * msix_bar_write(), and calls msix_config_written() from its pci_config_ops;
 * reset and loaded follow those of the function.
 *
 * Threads: with the device's lock held, all of them.
 *
 * Reference: PCI Local Bus Specification 3.0, 6.8.2.
 */
#pragma once

#include "vmm/pci.h"

#define MSIX_MAX_VECTORS 64
#define MSIX_BAR_SIZE 4096

struct msix_entry {
	u64 addr;
	u32 data;
	u32 control; /* bit 0: masked */
};

struct msix_regs {
	struct msix_entry table[MSIX_MAX_VECTORS];
	u64 pending; /* one bit a vector */
};

struct msix {
	/* config */
	struct pci_function *fn;
	unsigned count;
	u8 capability; /* its offset in configuration space */
	/* regs, in the device's group */
	struct msix_regs *regs;
};

/* 1 to MSIX_MAX_VECTORS vectors, the table in this BAR. */
void msix_add(struct msix *msix, struct pci_function *fn, unsigned bar,
	      unsigned count);
void msix_reset(struct msix *msix);
/* -EINVAL for what no guest can have made of it. */
int msix_loaded(const struct msix *msix, struct err *err);

u64 msix_bar_read(const struct msix *msix, u64 off, unsigned width);
void msix_bar_write(struct msix *msix, u64 off, unsigned width, u64 val);
#define MSIX_BAR_WIDTHS BUS_W4 /* [1]: dwords and qwords, which are split */
void msix_config_written(struct msix *msix, u64 off, unsigned width);

/* Has the guest switched it on? The pin is silent then. */
bool msix_is_on(const struct msix *msix);
/* Send a vector's message, or remember it. No such vector: nothing. */
void msix_raise(struct msix *msix, unsigned vector);
