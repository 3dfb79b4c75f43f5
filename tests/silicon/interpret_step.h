/* SPDX-License-Identifier: Apache-2.0 */
/* The part that must leave the SIMD registers alone. */
#pragma once

#include "engine/bt/bt.h"

/* Runs the record; the vector it raised, or -1. */
int interpret_step(struct bt_cpu *c, const struct bt_insn *i);
