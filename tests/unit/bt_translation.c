/* SPDX-License-Identifier: Apache-2.0 */
/* Translations by hand. */
#include "bt_translation.h"

#include <stdlib.h>
#include <string.h>

#include "engine/bt/decode.h"
#include "engine/bt/fpu.h"
#include "engine/bt/signals.h"
#include "engine/bt/sys.h"
#include "engine/engine.h"

enum { MAX_INSNS = 64 };

bool bt_translation_init(struct bt_translation *x, struct bt_machine *m)
{
	static const struct engine_options options = {.bt_verify = true};
	struct err err;

	memset(x, 0, sizeof(*x));
	x->m = m;
	x->block = calloc(1, sizeof(*x->block) +
				     MAX_INSNS * sizeof(struct bt_insn));
	m->bvm->vm->options = &options;
	m->c->mode = MMU_KERNEL_AC;
	if (!x->block || bt_code_init(m->bvm, &err) ||
	    bt_jit_init(m->bvm, &err))
		return false;
	/* Too many to be cleared one by one: all are prepared. */
	m->c->land_log[MMU_KERNEL_AC].count = BT_LANDING_LOG + 1;
	bt_jit_forget(m->c, MMU_KERNEL_AC);
	return true;
}

void bt_translation_fini(struct bt_translation *x)
{
	bt_jit_fini(x->m->bvm);
	bt_code_fini(x->m->bvm);
	free(x->block);
}

bool bt_translation_decode(struct bt_translation *x, const u8 *bytes,
			   unsigned len)
{
	struct bt_machine *m = x->m;
	struct bt_block *b = x->block;
	struct bt_parts parts;

	memcpy(m->copy + BT_CODE_OFF, bytes, len);
	*b = (struct bt_block){
		.pa = (u64)m->arena + BT_CODE_OFF,
		.pa2 = BT_NO_PAGE,
		.valid = 1,
		.code = W64,
		.heat = BT_JIT_HEAT,
	};
	while (b->bytes < len && b->count < MAX_INSNS) {
		struct bt_insn *i = &b->insn[b->count];

		if (bt_decode(bytes + b->bytes, len - b->bytes, W64,
			      m->policy.features, i, &parts) != BT_DECODE_OK)
			return false;
		if (bt_rows[i->row].attrs & ROW_SIMD &&
		    !bt_stub_attach(m->c, &parts, i)) {
			bt_stub_flush(m->bvm);
			if (!bt_stub_attach(m->c, &parts, i))
				return false;
		}
		b->count++;
		b->bytes = (u16)(b->bytes + i->len);
		if (bt_ends_block(i))
			break;
	}
	return b->bytes == len;
}

bool bt_translation_make(struct bt_translation *x, bool plain)
{
	struct bt_jit *jit = x->m->bvm->jit;
	u8 level = plain ? LEVEL_PLAIN : LEVEL_NARROW;
	bool full = false;

	x->m->c->gpr[17] = x->block->pa;
	x->t = bt_translate(x->m->c, x->block, level, 0, &full);
	if (full) {
		x->m->bvm->arena_used = 0;
		jit->count = 0;
		codebuf_reset(&jit->code, jit->thunks_end);
		x->t = bt_translate(x->m->c, x->block, level, 0, &full);
	}
	x->block->trans = x->t;
	return x->t != NULL;
}

int bt_translation_run(struct bt_translation *x)
{
	struct bt_cpu *c = x->m->c;
	const struct bt_jit *jit = x->m->bvm->jit;
	void (*enter)(struct bt_cpu * cpu, u64 target);
	volatile int vector = -1;

	enter = (void (*)(struct bt_cpu *, u64))(u64)jit->enter;
	c->gpr[17] = c->rip = x->block->pa;
	c->ip_page = c->gpr[17] & ~0xfffull;
	c->attention = ATTN_EVENTS; /* what leads on leads out */
	bt_live_cpu = c;
	if (bt_setjmp(c->jmp))
		vector = c->exc.vector;
	else
		enter(c, (u64)(jit->code.exec + x->t->code + x->t->body));
	bt_live_cpu = NULL;
	return vector;
}
