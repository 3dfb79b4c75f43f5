/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translations by hand, on a struct bt_machine: a few bytes of 64-bit code as a
 * block, its translation, and a run of that to the block's end.
 */
#pragma once

#include "bt_machine.h"
#include "engine/bt/jit.h"

/* Where code goes: offset into the arena, in a page of its own. */
#define BT_CODE_OFF 0xc100

struct bt_translation {
	struct bt_machine *m;
	struct bt_block *block;
	struct bt_trans *t;
};

/* Behind bt_machine_init(). False: no memory for code. */
bool bt_translation_init(struct bt_translation *x, struct bt_machine *m);
void bt_translation_fini(struct bt_translation *x);
/* Decode the bytes into x->block, as block.c does; false: not all of it. */
bool bt_translation_decode(struct bt_translation *x, const u8 *bytes,
			   unsigned len);
/* Translate x->block to x->t; false: refused. */
bool bt_translation_make(struct bt_translation *x, bool plain);
/*
 * Run x->t with the registers of m->c. The vector raised, or -1: the block has
 * been left at its end.
 */
int bt_translation_run(struct bt_translation *x);
