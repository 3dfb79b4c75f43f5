/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The translator's driver: one block, from its records to committed code. See
 * jit.h for what the code looks like.
 *
 * Layout: the head (a pointer to the struct bt_trans), entry by landing, the
 * body, the entry that polls, and the cold code, which calls thunks.
 */
#include "bt_ops.h"
#include "engine/bt/fpu.h"
#include "engine/bt/jit_show.h"
#include "engine/bt/jit_translate.h"

/* Longest host code of a guest instruction, cold part included; generous. */
#define ROOM_PER_INSN 256
#define ROOM_FIXED 512

const u8 *jit_thunk(const struct jit *j, const u8 *exec)
{
	return exec - j->to_exec;
}

void jit_data(struct jit *j, unsigned n)
{
	u64 dist = (u64)(j->e.at - j->head);

	em_bytes(&j->e, dist | (u64)n << 24, 4);
}

void jit_to_cold(struct jit *j, unsigned cc, const u8 *thunk, unsigned n)
{
	struct jit_cold *cold = &j->cold[j->colds];
	u8 *from = cc < 16 ? em_jcc(&j->e, cc) : em_jmp(&j->e);

	if (j->colds == JIT_COLD) {
		j->e.full = true;
		return;
	}
	*cold = (struct jit_cold){from, thunk, (u8)n, NULL};
	j->colds++;
}

void jit_to_cold_with(struct jit *j, unsigned cc, const u8 *thunk,
		      void (*before)(struct jit *j))
{
	jit_to_cold(j, cc, thunk, j->n);
	if (!j->e.full)
		j->cold[j->colds - 1].before = before;
}

void jit_align_patch(struct jit *j, unsigned opcode_bytes)
{
	u64 at = (u64)j->e.at + opcode_bytes;

	while ((at & 63) > 60) {
		em_byte(&j->e, 0x90);
		at++;
	}
}

void jit_patchable(struct jit *j)
{
	jit_align_patch(j, 1);
	em_jmp(&j->e);
}

void jit_count(struct jit *j, size_t field, unsigned by)
{
	struct em_rm rm =
		em_at(H_CPU, (s32)(offsetof(struct bt_cpu, stat) + field));

	if (likely(!j->jit->count_runs))
		return;
	em_insn(&j->e, OP_LOAD, H_C, rm);
	em_insn(&j->e, OP_LEA, H_C, em_at(H_C, (s32)by));
	em_insn(&j->e, OP_STORE, H_C, rm);
}

static void call_thunk(struct jit *j, const u8 *thunk, unsigned n)
{
	em_to(&j->e, em_call(&j->e), jit_thunk(j, thunk));
	jit_data(j, n);
}

void jit_by_function(struct jit *j)
{
	call_thunk(j, j->jit->exec_f, j->n);
}

static void emit_cold(struct jit *j)
{
	j->mode = j->t->mode; /* jumped to from the head */
	jit_poll_entries(j);
	for (unsigned k = 0; k < j->colds; k++) {
		em_to(&j->e, j->cold[k].from, j->e.at);
		j->n = j->cold[k].n;
		if (j->cold[k].before)
			j->cold[k].before(j);
		call_thunk(j, j->cold[k].thunk, j->cold[k].n);
	}
	j->t->lost = (u16)(j->e.at - j->head);
	call_thunk(j, j->jit->lost_f, 0);
}

static void emit_insn(struct jit *j)
{
	/* No instruction, whatever its row (bt_stub_attach). */
	if (jit_insn(j)->fn == bt_op_ud) {
		jit_by_function(j);
		return;
	}
	switch (jit_row(j)->jit_class) {
	case JIT_COPY:
	case JIT_SIMD:
		jit_copy(j);
		break;
	case JIT_NOP:
		break;
	case JIT_LEA:
		jit_lea(j);
		break;
	case JIT_PUSH:
		jit_push(j);
		break;
	case JIT_POP:
		jit_pop(j);
		break;
	case JIT_LEAVE:
		jit_leave(j);
		break;
	case JIT_PUSHF:
		jit_pushf(j);
		break;
	case JIT_STRING:
		jit_string(j);
		break;
	case JIT_SYS:
		jit_system(j);
		break;
	case JIT_JCC:
		jit_jcc(j);
		break;
	case JIT_JMP:
		jit_jmp(j);
		break;
	case JIT_CALL:
		jit_call(j);
		break;
	case JIT_RET:
		jit_ret(j);
		break;
	default:
		jit_by_function(j);
	}
}

/*
 * Is it the record that the block has? All of it: what one of the two is asked
 * for decides how another one's answer is to be read, sizes before all. For
 * SIMD, bt_stub_attach() has put other things into width, v and imm.
 */
static bool is_same(const struct bt_insn *i, const struct bt_insn *again,
		    const struct bt_parts *p)
{
	u32 attrs = bt_rows[i->row].attrs;
	bool same = again->row == i->row && again->len == i->len &&
		    again->mem == i->mem && again->a == i->a &&
		    again->b == i->b && again->x == i->x &&
		    again->scale == i->scale && again->seg == i->seg &&
		    again->disp == i->disp && again->lock == i->lock &&
		    again->asize == i->asize && again->rexw == i->rexw &&
		    again->rep == i->rep;

	if (attrs & ROW_SIMD)
		return same && p->vex_l == i->width &&
		       (attrs & ROW_X87 ? p->modrm : again->v) == i->v;
	return same && again->width == i->width && again->v == i->v &&
	       again->imm64 == i->imm64;
}

/*
 * The parts of the n-th instruction: the record leaves some out. Another vCPU
 * may have written to it and wait for the exclusive section to tell us: then
 * the block is as good as dead. False: the bytes are another instruction's.
 */
static bool decode_again(struct jit *j)
{
	const struct bt_insn *i = jit_insn(j);
	u8 bytes[BT_MAX_INSN];
	struct bt_insn again;

	for (unsigned k = 0; k < i->len; k++)
		bytes[k] = *(const volatile u8 *)(j->bytes +
						  j->t->at[j->n].guest + k);
	if (bt_decode(bytes, i->len, W64, j->c->policy->features, &again,
		      &j->parts) != BT_DECODE_OK)
		return i->row == BT_ROW_UD;
	return is_same(i, &again, &j->parts);
}

/*
 * Once a block, before the look at the stack: nothing but the end of a block
 * takes the unit away for good (bt_jit_exec()), so a chained block that needs
 * no more than the one before does not look. Of code that may not use it the
 * instructions ahead are run by the interpreter.
 */
static void check_fpu(struct jit *j)
{
	bool live = j->note[0].live;

	if (!j->t->fpu)
		return;
	j->n = 0;
	if (live)
		jit_save_flags(j);
	em_insn(&j->e, OP_LOAD32, H_C, JIT_FIELD(fpu_ready));
	em_insn(&j->e, OP_GROUP1_8, 4, em_reg(H_C));
	em_byte(&j->e, j->t->fpu);
	em_insn(&j->e, OP_GROUP1_8, 7, em_reg(H_C));
	em_byte(&j->e, j->t->fpu);
	jit_to_cold(j, CC_NE, j->jit->fpu, 0);
	if (live)
		jit_restore_flags(j);
}

/* Behind the look at the stack, which chained blocks spare themselves. */
static void count_block(struct jit *j)
{
	jit_count(j, offsetof(struct bt_stats, run_blocks), 1);
	jit_count(j, offsetof(struct bt_stats, run_insns), j->b->count);
}

static bool emit_body(struct jit *j)
{
	check_fpu(j);
	jit_window_check(j);
	for (j->n = 0; j->n < j->b->count; j->n++) {
		j->t->at[j->n].host = (u16)(j->e.at - j->head);
		j->t->at[j->n].held = j->held;
		j->t->at[j->n].mode = j->mode;
		if (j->n == 0)
			count_block(j);
		if (!decode_again(j))
			return false;
		emit_insn(j);
	}
	j->t->at[j->n].host = (u16)(j->e.at - j->head);
	j->t->at[j->n].held = j->held;
	j->t->at[j->n].mode = j->mode;
	j->n--;
	if (!bt_ends_block(jit_insn(j)))
		jit_goto(j, jit_next_off(j));
	return true;
}

static void set_places(struct jit *j)
{
	u16 guest = 0;

	for (unsigned n = 0; n < j->b->count; n++) {
		j->t->at[n].guest = guest;
		guest = (u16)(guest + j->b->insn[n].len);
	}
	j->t->at[j->b->count].guest = guest;
}

/* Bytes of the block in the host's memory; those that run into a second page
 * are copied together. */
static const u8 *block_bytes(struct jit *j, u8 *edge)
{
	struct bt_block *b = j->b;
	const struct bt_ram *ram = bt_ram_find(j->c->bvm, b->pa);
	const struct bt_ram *ram2;
	unsigned here = 4096 - (b->pa & 0xfff);

	if (!ram)
		return NULL;
	if (b->pa2 == BT_NO_PAGE)
		return ram->hva + (b->pa - ram->gpa);
	ram2 = bt_ram_find(j->c->bvm, b->pa2);
	if (!ram2 || b->bytes > BT_MAX_INSN)
		return NULL;
	for (unsigned k = 0; k < b->bytes; k++)
		edge[k] = k < here ? ram->hva[b->pa - ram->gpa + k]
				   : ram2->hva[b->pa2 - ram2->gpa + k - here];
	return edge;
}

/* Our own error, if there is one: it does not come back. */
static void verify(struct jit *j)
{
	const struct jit_suspect s = {
		.jit = j->jit,
		.t = j->t,
		.bytes = j->head,
		.at = j->t->code,
		.size = j->t->size,
		.ways = j->ways,
	};
	struct jit_verdict verdict = jit_verify(&s, j->jit->marks);

	if (likely(!verdict.why))
		return;
	bt_fpu_save(j->c);
	jit_show_rejected(j, &verdict);
}

static void commit(struct jit *j)
{
	struct bt_jit *jit = j->jit;

	j->t->code = (u32)(j->head - jit->code.write);
	j->t->size = (u32)(j->e.at - j->head);
	if (jit->marks)
		verify(j);
	codebuf_commit(&jit->code, j->t->size);
	jit->list[jit->count++] = j->t;
}

struct bt_trans *bt_translate(struct bt_cpu *c, struct bt_block *b, u8 level,
			      u64 va, bool *full)
{
	struct bt_vm *bvm = c->bvm;
	struct jit *j = bvm->jit->work;
	u64 size = sizeof(struct bt_trans) +
		   (b->count + 1u) * sizeof(struct bt_place);
	u64 room = ROOM_FIXED + b->count * ROOM_PER_INSN;
	u8 edge[BT_MAX_INSN];

	j->t = bt_arena_alloc(bvm, align_up(size, 8));
	j->head = codebuf_reserve(&bvm->jit->code, room);
	*full = !j->t || !j->head || bvm->jit->count == bvm->jit->most;
	if (*full)
		return NULL;
	*j->t = (struct bt_trans){
		.block = b,
		.page_off = (u16)(b->pa & 0xfff),
		.mode = c->mode,
		.level = level,
		.va = va,
		.edge = bt_jit_near_hole(c->gpr[17]),
	};
	j->e = (struct emit){j->head, j->head + room, false};
	j->c = c;
	j->jit = bvm->jit;
	j->b = b;
	j->to_exec = bvm->jit->code.exec - bvm->jit->code.write;
	j->level = level;
	j->held = HELD_NOTHING;
	j->mode = c->mode;
	j->colds = j->ways = 0;
	j->bytes = block_bytes(j, edge);
	if (!j->bytes)
		return NULL;
	set_places(j);
	jit_analyse(j);
	em_bytes(&j->e, (u64)j->t, 8);
	j->n = 0;
	jit_entries(j);
	if (!emit_body(j))
		return NULL;
	emit_cold(j);
	/* Too long for its room: it stays with the interpreter. */
	if (j->e.full)
		return NULL;
	commit(j);
	if (unlikely(bvm->jit->show)) {
		bt_fpu_save(c); /* that is libc */
		jit_show_made(j);
	}
	return j->t;
}
