/* SPDX-License-Identifier: Apache-2.0 */
/* The part that must leave the SIMD registers alone. */
#pragma once

#include "engine/bt/bt.h"

/* Runs the record; the vector it raised, or -1. */
int interpret_step(struct bt_cpu *c, const struct bt_insn *i);

struct bt_trans;
/* Runs the translation to the end of its block, likewise. */
int translate_step(struct bt_cpu *c, struct bt_trans *t);

struct bt_block;
/* Runs the block as check mode does. */
int check_step(struct bt_cpu *c, struct bt_block *b);
