/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States of the host's FPU and SIMD unit: random ones, and running one
 * instruction (bt_host.h) with one.
 */
#pragma once

#include "arch/x86_state.h"
#include "arch/xsave.h"

struct bt_unit_image {
	u8 bytes[X86_XSAVE_AREA];
} __attribute__((aligned(64)));

struct bt_unit {
	struct bt_unit_image before, host; /* in and out, standard format */
	u64 components;			   /* of them, as XCR0 */
	u64 seed;			   /* not 0 */
};

static inline struct xsave_legacy *bt_unit_legacy(struct bt_unit_image *image)
{
	return (struct xsave_legacy *)(void *)image->bytes;
}

u64 bt_unit_rnd(struct bt_unit *t);
/* Random bytes, doubles, floats or small integers. */
void bt_unit_bytes(struct bt_unit *t, u8 *out, unsigned len);
/* Fill `before`; errors that are due and unmasked ones come now and then. */
void bt_unit_random(struct bt_unit *t);
/* bt_host_run() with the unit's state from `before` and to `host`. */
void bt_unit_run_host(struct bt_unit *t);
