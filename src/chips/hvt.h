/* SPDX-License-Identifier: Apache-2.0 */
/* The board's words with the "hvt-calls" device, before the VM starts. */
#pragma once

#include "util/err.h"
#include "util/types.h"

struct block;
struct device;
struct net;

/*
 * The device now owns the back end, which answers to `handle` (1 to 63, once).
 */
void hvt_attach_block(struct device *dev, unsigned handle, struct block *block);
void hvt_attach_net(struct device *dev, unsigned handle, struct net *net);

/* After the guest halted: the address of its post-mortem data, or 0. */
gpa_t hvt_halt_cookie(const struct device *dev);
