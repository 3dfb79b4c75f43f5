/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends and beginnings of blocks: jumps, calls, returns, chains, landings.
 *
 * References: [1] Intel SDM vol. 2, Jcc, JMP, CALL, RET.
 *
 * Within the page a jump leads straight to the other block: at first to cold
 * code that has it looked up (bt_jit_link()), then, patched, to its body, or
 * to the entry that looks at bt_cpu.attention if it leads backwards. All other
 * jumps put the target's address into H_A and twice the number of a landing
 * into H_B, and go where that leads. No flag changes on the way: a caller
 * cannot know whether they are live.
 *
 * So that every loop looks, the number of a landing is made with
 * bt_cpu.land_mask, which bt_call() clears: number 0 leads to C. Only a jump
 * that leads ahead and does not depend on anything has its number ready.
 */
#include "engine/bt/jit_translate.h"

/* Field of the landing, twice the number of which is in H_B. */
static struct em_rm landing(const struct jit *j, size_t field)
{
	struct em_rm rm = em_sum(H_CPU, H_B, 0);

	rm.scale = 3;
	rm.disp = (s32)(offsetof(struct bt_cpu, land) +
			bt_landing_base(j->mode) * sizeof(struct bt_landing) +
			field);
	return rm;
}
_Static_assert(sizeof(struct bt_landing) == 16, "a scale of 8, twice");

/* H_B *= 2 without a change of flags */
static void double_landing(struct jit *j)
{
	em_insn(&j->e, OP_LEA, H_B, em_sum(H_B, H_B, 0));
}

static unsigned landing_bits(const struct jit *j)
{
	return (unsigned)__builtin_ctz(bt_landings(j->mode));
}

/* ---- leaving ----------------------------------------------------------- */

/* jit_site tells bt_jit_miss() which instruction jumped, if it should not have:
 * an address that is not canonical faults there. */
static void land(struct jit *j)
{
	em_insn(&j->e, 0xc7, 0, JIT_FIELD(jit_site));
	em_bytes(&j->e, (u64)(j->e.at - j->jit->code.write), 4);
	em_insn(&j->e, OP_GROUP5, 4,
		landing(j, offsetof(struct bt_landing, code)));
}

/* pext H_B, reg, [land_mask] */
static void number_landing(struct jit *j, unsigned reg)
{
	em_insn(&j->e, EM_VEX | EM_F3 | EM_0F38 | EM_W | 0xf5 | reg << EM_VVVV,
		H_B,
		em_at(H_CPU,
		      (s32)(offsetof(struct bt_cpu, land_mask) + 8 * j->mode)));
	double_landing(j);
}

/* To the address in H_A. */
static void jump_indirect(struct jit *j)
{
	struct emit *e = &j->e;

	if (j->jit->fast_pext) {
		number_landing(j, H_A);
		land(j);
		return;
	}
	/* imul H_B, H_A, K; shr H_B, 32 - bits */
	jit_save_flags(j);
	em_insn(e, OP_IMUL_IMM, H_B, em_reg(H_A));
	em_bytes(e, 0x9e3779b1, 4);
	em_insn(e, OP_SHIFT_IMM, 5, em_reg(H_B));
	em_byte(e, 32 - landing_bits(j));
	jit_restore_flags(j);
	double_landing(j);
	land(j);
}

/* H_A = linear address of offset `off` of this page. */
static void page_address(struct jit *j, s64 off, unsigned reg)
{
	jit_page_base(j, reg, (s32)off);
}

/* An address whose landing has this number. */
static u32 spread(u32 number, u64 mask)
{
	u32 out = 0;

	for (u32 bit = 1; bit < mask; bit <<= 1) {
		if (!(mask & bit))
			continue;
		if (number & 1)
			out |= bit;
		number >>= 1;
	}
	return out;
}

/* To another page: each such place has a landing of its own, as far as there
 * are enough. */
static void jump_far(struct jit *j, s64 target)
{
	u32 hash = (u32)(j->b->pa + j->t->at[j->n].guest) * 0x9e3779b1u +
		   (u32)target * 0x85ebca6bu;
	u32 number = hash >> (32 - landing_bits(j));
	u64 mask = bt_landing_mask(j->mode);
	bool polls = target < 0 && j->jit->fast_pext;

	page_address(j, target, H_A);
	em_short(&j->e, 0xb8, H_B);
	em_bytes(&j->e, polls ? spread(number, mask) : number << 1, 4);
	if (polls)
		number_landing(j, H_B);
	land(j);
}

static bool fits(s64 target)
{
	return target == (s32)target;
}

/* The way to a block of the same page or, both being fixed, of another; cc 16:
 * always. */
static void chain(struct jit *j, unsigned cc, s32 target)
{
	struct bt_way *way = &j->t->way[j->ways];

	jit_align_patch(j, cc < 16 ? 2 : 1);
	jit_to_cold(j, cc, j->jit->link_f, j->ways++);
	way->disp = (u32)(j->e.at - 4 - j->jit->code.write);
	way->target = target;
	way->mode = j->mode;
}

static bool is_chained(const struct jit *j, s64 target)
{
	const struct bt_fixed *f = &j->c->bvm->fixed;
	u64 page = j->t->va & ~0xfffull;

	if (target >= 0 && target < 4096)
		return true;
	return j->t->va && page + (u64)target - f->va < f->len;
}

void jit_goto(struct jit *j, s64 target)
{
	if (is_chained(j, target))
		chain(j, 16, (s32)target);
	else
		jump_far(j, target);
}

/* To cold code that leaves if the run loop is called for; then the block has
 * not begun. With live flags left alone: JRCXZ looks at no flag. */
static void poll(struct jit *j)
{
	struct emit *e = &j->e;
	u8 *skip;

	if (!j->note[0].live) {
		em_insn(e, OP_GROUP1_8, 7, JIT_FIELD(attention));
		em_byte(e, 0);
		jit_to_cold(j, CC_NE, j->jit->poll_f, 0);
		return;
	}
	em_mov(e, H_A, X86_RCX);
	em_insn(e, OP_LOAD32, X86_RCX, JIT_FIELD(attention));
	em_bytes(e, 0x00e3, 2);
	skip = e->at;
	em_mov(e, X86_RCX, H_A);
	jit_to_cold(j, 16, j->jit->poll_f, 0);
	if (!e->full)
		skip[-1] = (u8)(e->at - skip);
	em_mov(e, X86_RCX, H_A);
}

/* ---- jumps ------------------------------------------------------------- */

static s64 relative(const struct jit *j)
{
	return (s64)jit_next_off(j) + jit_insn(j)->imm;
}

/* A loop of this block alone looks before it jumps. */
static void chain_to_self(struct jit *j, unsigned cc)
{
	u8 *over = em_jcc(&j->e, cc ^ 1);

	poll(j);
	em_to(&j->e, em_jmp(&j->e),
	      j->head + (!j->t->win_size || (j->t->sp_known && !j->t->sp)
				 ? j->t->at[0].host
				 : j->t->body));
	em_to(&j->e, over, j->e.at);
}

void jit_jcc(struct jit *j)
{
	s64 target = relative(j);
	unsigned cc = jit_row(j)->opcode & 15;
	u8 *over;

	if (!fits(target)) {
		jit_by_function(j);
		return;
	}
	if (target == j->t->page_off && j->mode == j->t->mode) {
		chain_to_self(j, cc);
	} else if (is_chained(j, target)) {
		chain(j, cc, (s32)target);
	} else {
		over = em_jcc(&j->e, cc ^ 1);
		jump_far(j, target);
		em_to(&j->e, over, j->e.at);
	}
	jit_goto(j, jit_next_off(j));
}

/* The target of an indirect jump into H_A. */
static void load_target(struct jit *j)
{
	const struct bt_insn *i = jit_insn(j);

	if (i->mem) {
		jit_address(j);
		jit_check(j, 8, false);
		em_insn(&j->e, OP_LOAD, H_A, em_at(H_A, 0));
	} else {
		em_mov(&j->e, H_A, jit_use(j, i->a / 8, H_A));
	}
}

void jit_jmp(struct jit *j)
{
	if (jit_row(j)->operands[0] == 'J') {
		if (fits(relative(j)))
			jit_goto(j, relative(j));
		else
			jit_by_function(j);
		return;
	}
	if (jit_insn(j)->width != W64) {
		jit_by_function(j);
		return;
	}
	load_target(j);
	jump_indirect(j);
}

/* ---- calls ------------------------------------------------------------- */

/*
 * The return address onto the stack; keeps H_A only in the window. A call that
 * is indirect or near the hole may turn out to lead nowhere, and then has
 * pushed nothing: what is overwritten is kept for bad_target().
 */
static void push_return(struct jit *j, bool keep)
{
	struct em_rm place;

	if (j->note[j->n].window) {
		place = jit_window_place(j, -8);
	} else {
		em_insn(&j->e, OP_LEA, H_A, em_at(H_SP, -8));
		jit_check(j, 8, true);
		place = em_at(H_A, 0);
	}
	if (keep) {
		em_insn(&j->e, OP_LOAD, H_C, place);
		em_insn(&j->e, OP_STORE, H_C, JIT_FIELD(jit_pushed_on));
	}
	page_address(j, jit_next_off(j), H_C);
	em_insn(&j->e, OP_STORE, H_C, place);
	em_insn(&j->e, OP_LEA, H_SP, em_at(H_SP, -8));
}

static void call_indirect(struct jit *j)
{
	load_target(j);
	if (!j->note[j->n].window)
		em_insn(&j->e, OP_STORE, H_A, JIT_FIELD(jit_value));
	push_return(j, true);
	if (!j->note[j->n].window)
		em_insn(&j->e, OP_LOAD, H_A, JIT_FIELD(jit_value));
	jump_indirect(j);
}

void jit_call(struct jit *j)
{
	bool direct = jit_row(j)->operands[0] == 'J';

	if (jit_insn(j)->width != W64 || (direct && !fits(relative(j)))) {
		jit_by_function(j);
		return;
	}
	if (!direct) {
		call_indirect(j);
		return;
	}
	push_return(j, j->t->edge);
	jit_goto(j, relative(j));
}

void jit_ret(struct jit *j)
{
	const struct bt_insn *i = jit_insn(j);
	s32 extra = jit_row(j)->operands[0] == 'I' ? (u16)i->imm : 0;

	if (i->width != W64) {
		jit_by_function(j);
		return;
	}
	if (j->note[j->n].window) {
		em_insn(&j->e, OP_LOAD, H_A, jit_window_place(j, 0));
	} else {
		em_mov(&j->e, H_A, H_SP);
		jit_check(j, 8, false);
		em_insn(&j->e, OP_LOAD, H_A, em_at(H_A, 0));
	}
	em_insn(&j->e, OP_LEA, H_SP, em_at(H_SP, 8 + extra));
	jump_indirect(j);
}

/* ---- arriving ---------------------------------------------------------- */

/* H_A is the address that was meant, H_B twice the landing's number; flags are
 * the guest's. H_A plus the key is zero if it is this block that was meant. */
static void verify(struct jit *j)
{
	struct emit *e = &j->e;
	u8 *skip;

	em_mov(e, H_C, X86_RCX);
	em_insn(e, OP_LOAD, X86_RCX,
		landing(j, offsetof(struct bt_landing, key)));
	em_insn(e, OP_LEA, X86_RCX, em_sum(X86_RCX, H_A, 0));
	em_bytes(e, 0x00e3, 2); /* jrcxz */
	skip = e->at;
	em_mov(e, X86_RCX, H_C);
	em_to(e, em_jmp(e), jit_thunk(j, j->jit->miss));
	if (!e->full)
		skip[-1] = (u8)(e->at - skip);
	em_mov(e, X86_RCX, H_C);
	if (j->t->va)
		return;
	em_insn(e, OP_LEA, H_C, em_at(H_A, -(s32)j->t->page_off));
	em_insn(e, OP_STORE, H_C, JIT_FIELD(ip_page));
	jit_count(j, offsetof(struct bt_stats, landings), 1);
}

/* `ind`: reached by a landing; then the body. */
void jit_entries(struct jit *j)
{
	j->t->ind = (u16)(j->e.at - j->head);
	verify(j);
	if (!j->jit->fast_pext)
		poll(j);
	j->t->body = (u16)(j->e.at - j->head);
}

static u16 poll_entry(struct jit *j, u16 target)
{
	u16 at = (u16)(j->e.at - j->head);

	poll(j);
	em_to(&j->e, em_jmp(&j->e), j->head + target);
	return at;
}

/* Reached backwards from this page. */
void jit_poll_entries(struct jit *j)
{
	j->t->poll = j->t->poll_in = poll_entry(j, j->t->body);
	if (j->t->at[0].host != j->t->body)
		j->t->poll_in = poll_entry(j, j->t->at[0].host);
}
