/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random cases of a form.
 *
 * Order of choices: registers at random; those that the instruction uses
 * implicitly (string pointers, stack pointer, counts), which are then fixed;
 * the registers and the address it names; what lies in memory there.
 */
#include "generate.h"

#include <string.h>

static bool is_jump(const struct bt_row *row)
{
	return row->operands[0] == 'J';
}

bool row_is_stack(const struct bt_row *row)
{
	return row->map <= 1 && !(row->attrs & ROW_SIMD) &&
	       row_is(row, "push pop pushf popf pusha popa call ret enter "
			   "leave");
}

bool row_is_string(const struct bt_row *row)
{
	return row->map == 0 &&
	       row_is(row, "movs cmps stos lods scas ins outs");
}

static bool is_bit_string(const struct test_case *c)
{
	const struct bt_row *row = &bt_rows[c->form.row];

	return c->form.mem && row->reg < 0 && row_is(row, "bt bts btr btc");
}

/* ---- addresses --------------------------------------------------------- */

/* Somewhere in the data pages, at their edges, or beside them. */
u64 pick_target(struct random *r, unsigned size)
{
	u64 off = random_below(r, DATA_WRITABLE - 64);
	unsigned kind = random_below(r, 100);
	u64 near = random_below(r, size ? size : 1);

	if (kind < 50)
		return DATA + (off & ~(u64)(size - 1));
	if (kind < 80)
		return DATA + off;
	if (kind < 88) /* over an edge between two pages, both writable */
		return DATA + 0x1000 * (1 + random_below(r, 2)) - near;
	if (kind < 91) /* the last of what can be written */
		return DATA + DATA_WRITABLE - size;
	if (kind < 94) /* into what cannot */
		return DATA + DATA_WRITABLE - near;
	if (kind < 96) /* into what is not there */
		return DATA + DATA_BYTES - near;
	if (kind < 98)
		return DATA - near;
	return DATA + DATA_WRITABLE + (off & 0x7ff);
}

/* Not canonical, or half of it ([1] vol. 1 3.3.7.1). */
static u64 pick_bad_target(struct random *r)
{
	static const u64 bad[] = {0x0000800000000000, 0x0000900000000000,
				  0x8000000000000000, 0xffff7fffffffff00,
				  0x4000000000000000};

	return bad[random_below(r, ARRAY_SIZE(bad))] + 16 * random_below(r, 4);
}

/* Operands that lie elsewhere than the address, perhaps where the host has
 * something of its own. */
static bool may_be_bad(const struct test_case *c)
{
	return !is_bit_string(c) && !(bt_rows[c->form.row].attrs & ROW_VSIB) &&
	       !row_is(&bt_rows[c->form.row], "call");
}

unsigned operand_bytes(const struct test_case *c)
{
	const struct bt_row *row = &bt_rows[c->form.row];
	const struct bt_decode_rule *rule = &bt_decode_rules[c->form.row];
	unsigned size = c->form.vex_l ? row->mem_size_l1 : row->mem_size;

	if (row_is(row, "fldenv frstor"))
		return row_is(row, "frstor") ? 128 : 32;
	/* With 66 it is the vendor's affair (op_mov.c). */
	if (row_is(row, "movsxd"))
		return 4;
	if (row_is(row, "cmpxchg8b"))
		return c->form.size == SIZE_W ? 16 : 8;
	if (size)
		return size == 10 ? 16 : size;
	if (rule->width == WR_B)
		return 1;
	if (c->form.size == SIZE_W)
		return 8;
	return c->form.size == SIZE_66 ? 2 : 4;
}

static u64 value_of(const struct builder *b, u8 reg)
{
	return b->c->state.gpr[reg];
}

static bool is_fixed(const struct builder *b, u8 reg)
{
	return b->fixed >> reg & 1;
}

static void fix(struct builder *b, u8 reg, u64 val)
{
	b->c->state.gpr[reg] = val;
	b->fixed |= BIT(reg);
}

/* Upper halves are ignored with 32-bit addresses: anything. */
static u64 with_garbage(struct builder *b, u64 val)
{
	if (b->c->form.code == W64 && b->c->form.address)
		return (u32)val | random_u64(b->r) << 32;
	return b->c->form.code == W32 ? (u32)val : val;
}

void fix_address(struct builder *b, u8 reg, u64 val)
{
	fix(b, reg, with_garbage(b, val));
}

static bool fits(const struct builder *b, s64 disp)
{
	return disp == (s32)disp || b->c->form.code == W32 ||
	       b->c->form.address;
}

/* base == index: both are target / (1 + scale), disp makes up the rest. */
static bool solve_same(struct builder *b, struct address *a)
{
	u64 factor = 1 + (1u << a->scale), val = b->c->target / factor;

	if (is_fixed(b, a->base))
		return false;
	fix_address(b, a->base, val);
	a->disp = (s32)(b->c->target - val * factor);
	a->disp_bytes = 1;
	return true;
}

static bool solve_disp(struct builder *b, struct address *a, u64 sum)
{
	s64 disp = (s64)(b->c->target - sum);

	if (!fits(b, disp))
		return false;
	a->disp = (s32)disp;
	a->disp_bytes = 4;
	return true;
}

/* Registers and displacement so that the sum is the target. */
static bool solve(struct builder *b, struct address *a)
{
	bool vsib = bt_rows[b->c->form.row].attrs & ROW_VSIB;
	u64 index = 0;

	if (a->rip)
		return fits(b, (s64)(b->c->target - CODE_START));
	if (a->base == a->index && a->base != NO_REGISTER && !vsib)
		return solve_same(b, a);
	if (a->index != NO_REGISTER && !vsib) {
		if (!is_fixed(b, a->index))
			fix(b, a->index, with_garbage(b, random_value(b->r)));
		index = value_of(b, a->index) << a->scale;
	}
	if (a->base == NO_REGISTER) {
		if (a->index == NO_REGISTER || vsib)
			return solve_disp(b, a, 0);
		if (!(b->fixed_before >> a->index & 1)) {
			u64 val = (u64)(b->c->target - (u64)(s64)a->disp) >>
				  a->scale;

			fix_address(b, a->index, val);
			return solve_disp(b, a, val << a->scale);
		}
		return solve_disp(b, a, index);
	}
	if (is_fixed(b, a->base))
		return solve_disp(b, a, value_of(b, a->base) + index);
	fix_address(b, a->base, b->c->target - index - (u64)(s64)a->disp);
	return true;
}

static u8 pick_register(struct builder *b)
{
	return (u8)random_below(b->r, b->c->form.code == W64 ? 16 : 8);
}

static void pick_disp(struct builder *b, struct address *a)
{
	switch (random_below(b->r, 3)) {
	case 0:
		a->disp_bytes = (a->base & 7) == X86_RBP ? 1 : 0;
		a->disp = 0;
		break;
	case 1:
		a->disp_bytes = 1;
		a->disp = (s8)random_u64(b->r);
		break;
	default:
		a->disp_bytes = 4;
		a->disp = (s32)random_value(b->r);
	}
}

bool choose_address(struct builder *b)
{
	struct address *a = &b->choice.address;
	bool vsib = bt_rows[b->c->form.row].attrs & ROW_VSIB;
	unsigned kind = random_below(b->r, 16);

	*a = (struct address){.base = NO_REGISTER, .index = NO_REGISTER};
	a->gs = b->c->uses_gs;
	b->fixed_before = b->fixed;
	if (kind == 0 && !vsib && b->c->form.code == W64) {
		a->rip = true;
		return solve(b, a);
	}
	if (kind != 1)
		a->base = pick_register(b);
	if (kind >= 9 || kind == 2 || vsib) {
		do
			a->index = pick_register(b);
		while (a->index == X86_RSP && !vsib);
		a->scale = (u8)random_below(b->r, 4);
	}
	if (kind == 2)
		a->base = NO_REGISTER;
	pick_disp(b, a);
	return solve(b, a);
}

/* ---- immediates -------------------------------------------------------- */

/* Rows of fixed width have no immediate that grows with W. */
static u8 imm_length(const struct builder *b, u8 rule)
{
	unsigned size = b->c->form.size;
	const struct bt_row *row = &bt_rows[b->c->form.row];
	bool narrow =
		size == SIZE_66 && !(rule == IMM_Z && row->attrs & ROW_F64);

	return (u8)bt_imm_bytes(rule, narrow	       ? W16
				      : size == SIZE_W ? W64
						       : W32);
}

static void choose_immediates(struct builder *b)
{
	const struct bt_decode_rule *rule = &bt_decode_rules[b->c->form.row];
	struct choice *choice = &b->choice;

	choice->imm = random_value(b->r);
	if (random_chance(b->r, 30)) /* as a count */
		choice->imm = random_below(b->r, 70);
	choice->imm_bytes = imm_length(b, rule->imm[0]);
	choice->imm2 = random_below(b->r, 40);
	choice->imm2_bytes = imm_length(b, rule->imm[1]);
	if (rule->operands == OP_MOFFS) {
		choice->address.gs = b->c->uses_gs;
		choice->imm = b->c->target;
		choice->imm_bytes =
			b->c->form.code == W64 && !b->c->form.address ? 8 : 4;
	}
}

/* A jump ends on one of the INT3s around, or where nothing is; never in the
 * instruction itself, which would run for ever. */
static void choose_jump(struct builder *b)
{
	u8 bytes = b->choice.imm_bytes;
	s64 rel;

	do {
		if (bytes == 1)
			rel = (s8)random_u64(b->r);
		else if (bytes == 2 || random_chance(b->r, 70))
			rel = (s64)random_below(b->r, 0xf00) - 0x780;
		else
			rel = (s64)random_below(b->r, 0x300000) - 0x100000;
	} while (rel > -24 && rel < 0);
	b->choice.imm = (u64)rel;
}

/* ---- a case ------------------------------------------------------------ */

static void random_state(struct builder *b)
{
	struct machine_state *s = &b->c->state;
	u64 mask = b->c->form.code == W64 ? ~0ull : 0xffffffff;

	for (unsigned k = 0; k < 16; k++)
		s->gpr[k] = random_value(b->r) & mask;
	for (unsigned k = 8; b->c->form.code == W32 && k < 16; k++)
		s->gpr[k] = 0;
	s->rip = CODE_START;
	s->flags = FLAG_1 | FLAG_IF | (random_u64(b->r) & FLAG_ARITH);
	s->gs_base = 0;
}

static void choose_registers(struct builder *b)
{
	const struct bt_row *row = &bt_rows[b->c->form.row];
	const struct bt_decode_rule *rule = &bt_decode_rules[b->c->form.row];
	struct choice *choice = &b->choice;
	bool free_w = rule->width == WR_B ||
		      (row->attrs & ROW_SIMD && !strchr(row->operands, 'y'));

	*choice = (struct choice){.opcode = (u8)row->opcode};
	choice->reg = row->reg >= 0 ? (u8)row->reg : pick_register(b);
	choice->rm = row->rm >= 0 ? (u8)row->rm : pick_register(b);
	choice->vvvv = pick_register(b);
	choice->order = (u8)random_below(b->r, 6);
	choice->rex = random_chance(b->r, 25);
	choice->rex_w = free_w && b->c->form.size == SIZE_PLAIN &&
			random_chance(b->r, 10);
	if (random_chance(b->r, 20) && b->c->form.code == W64)
		choice->idle_bits = (u8)random_below(b->r, 8);
	choice->short_vex = random_chance(b->r, 50);
	choice->vex_l = b->c->form.vex_l_free ? random_chance(b->r, 50)
					      : b->c->form.vex_l;
	if (rule->operands == OP_Z) {
		choice->opcode |= choice->rm & 7;
		choice->reg = 0;
	}
	if (rule->operands == OP_FIXED && !rule->modrm)
		choice->reg = choice->rm = 0;
}

/*
 * Where CPUs differ among themselves. ARPL that has nothing to change: AMD's
 * read only, others may check that they could write.
 */
static bool is_good_target(const struct test_case *c)
{
	const struct bt_row *row = &bt_rows[c->form.row];

	return !row_is(row, "arpl") ||
	       (c->target >= DATA && c->target <= DATA + DATA_WRITABLE - 4);
}

static void choose_target(struct builder *b)
{
	unsigned size = operand_bytes(b->c);

	do
		b->c->target = pick_target(b->r, size);
	while (!is_good_target(b->c));
	if (b->c->form.code == W64 && !b->c->form.address && b->c->form.mem &&
	    random_chance(b->r, 2) && may_be_bad(b->c))
		b->c->target = pick_bad_target(b->r);
	b->c->uses_gs = b->c->form.code == W64 && b->c->form.mem &&
			random_chance(b->r, 4);
	if (b->c->uses_gs) {
		b->c->state.gs_base = random_below(b->r, 0x100) * 16;
		b->c->target -= b->c->state.gs_base;
	}
}

static bool build(struct builder *b)
{
	const struct bt_row *row = &bt_rows[b->c->form.row];

	b->fixed = 0;
	b->c->uses_gs = false;
	b->c->flush = random_chance(b->r, 10);
	random_state(b);
	choose_target(b);
	prepare_implicit(b);
	choose_registers(b);
	if (b->c->form.mem && bt_decode_rules[b->c->form.row].modrm &&
	    !choose_address(b))
		return false;
	choose_immediates(b);
	if (is_jump(row))
		choose_jump(b);
	if (is_bit_string(b->c)) {
		if (b->fixed >> b->choice.reg & 1)
			return false;
		b->c->state.gpr[b->choice.reg] =
			(u64)((s64)random_below(b->r, 0x10000) - 0x8000);
	}
	if (b->c->form.code == W32)
		for (unsigned k = 0; k < 8; k++)
			b->c->state.gpr[k] = (u32)b->c->state.gpr[k];
	encode(b->c, &b->choice);
	return true;
}

bool generate_case(struct generator *g, const struct form *form,
		   struct test_case *c, const char **why)
{
	struct builder b = {.g = g, .r = &g->random, .c = c};
	enum bt_decode_status status;

	c->form = *form;
	for (unsigned tries = 0; tries < 50; tries++) {
		if (!build(&b))
			continue;
		status = interpreter_decode(g->interpreter, c);
		if (status == BT_DECODE_OK && c->insn.row != form->row) {
			*why = bt_rows[c->insn.row].name;
			continue; /* 90 is NOP, not XCHG: other registers */
		}
		if (status != BT_DECODE_OK &&
		    !(status == BT_DECODE_UD && form->invalid)) {
			*why = "it does not decode";
			continue;
		}
		if (status == BT_DECODE_OK &&
		    (c->insn.len != c->len || c->insn.mem != form->mem)) {
			*why = "it decodes to another length or form";
			return false;
		}
		prepare_fpu(&b);
		prepare_memory(&b);
		return true;
	}
	return false;
}
