/* SPDX-License-Identifier: Apache-2.0 */
/* What the generator's files share. */
#pragma once

#include "encode.h"
#include "silicon.h"

struct builder {
	struct generator *g;
	struct random *r;
	struct test_case *c;
	struct choice choice;
	u64 fixed, fixed_before; /* bit per register whose value is settled */
};

bool row_is_stack(const struct bt_row *row);
bool row_is_string(const struct bt_row *row);
u64 pick_target(struct random *r, unsigned size);
void fix_address(struct builder *b, u8 reg, u64 val);
bool choose_address(struct builder *b);

/* prepare.c: what the instruction uses without naming it, and memory. */
void prepare_implicit(struct builder *b);
void prepare_fpu(struct builder *b);
void prepare_memory(struct builder *b);
