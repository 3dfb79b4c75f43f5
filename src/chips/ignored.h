/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports that a board has nothing at, and knows why guests touch them: they
 * answer as an empty bus does (all-ones, writes are dropped), but are not
 * counted as accesses that nobody expected.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"

struct device;

struct ignored_port {
	u16 base;
	u16 count;	    /* 0 ends a table */
	const char *reason; /* what a PC has there, who looks */
};

/*
 * Add a table, which stays the caller's, to a device of type "ignored". Ranges
 * that another device has are passed over, so this comes last.
 */
int ignored_add(struct device *dev, const struct ignored_port *table,
		struct err *err);
