/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of FPU and SIMD state share: a vCPU beside the host's unit. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "bt_machine.h"
#include "bt_unit.h"

struct machine {
	struct bt_machine m;
	struct bt_unit unit;
};

static inline u64 rnd(struct machine *t)
{
	return bt_unit_rnd(&t->unit);
}

static inline int setup(void **state)
{
	struct machine *t = aligned_alloc(64, align_up(sizeof(*t), 64));

	*state = t;
	memset(t, 0, sizeof(*t));
	t->unit.seed = 0x9e3779b97f4a7c15ull;
	if (!bt_machine_init(&t->m))
		return -1;
	t->unit.components = t->m.policy.xcr0_mask;
	return 0;
}

static inline int teardown(void **state)
{
	struct machine *t = *state;

	bt_machine_fini(&t->m);
	free(t);
	return 0;
}
