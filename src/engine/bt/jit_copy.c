/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that are emitted as they are, but for the registers and the
 * memory operand: integer ones, SIMD and x87.
 *
 * References: [1] Intel SDM vol. 2A chapter 2.
 */
#include "engine/bt/fpu.h"
#include "engine/bt/jit_translate.h"

/* A general register of the instruction: where it is while this runs. */
struct field {
	bool used, read, write;
	u8 guest, host;
};

enum { FIELD_G, FIELD_E, FIELD_V, FIELDS };

/* The instruction again: opcode and prefixes, fields, immediate bytes. */
struct copy {
	u32 op;
	unsigned reg;
	struct em_rm rm;
	unsigned imm; /* bytes of immediates */
	struct field field[FIELDS];
};

static u32 opcode_of(const struct jit *j)
{
	const struct bt_parts *p = &j->parts;
	const struct bt_row *row = jit_row(j);
	u32 op = p->opcode;

	if (p->rex & 8)
		op |= EM_W;
	if (p->map >= 4) {
		static const u32 pp[] = {0, EM_66, EM_F3, EM_F2};

		op |= EM_VEX | (u32)(p->map - 3) << 8 | pp[p->prefix];
		op |= (u32)p->vvvv << EM_VVVV;
		if (p->vex_w)
			op |= EM_W;
		return p->vex_l ? op | EM_L : op;
	}
	op |= (u32)p->map << 8;
	if (p->opsize)
		op |= EM_66;
	/* F2 and F3 without a meaning are left out. */
	if (row->prefix == 2 || (row->jit_class == JIT_SIMD && p->prefix == 2))
		op |= EM_F3;
	if (row->prefix == 3 || (row->jit_class == JIT_SIMD && p->prefix == 3))
		op |= EM_F2;
	if (p->lock)
		op |= EM_LOCK;
	if (p->rex)
		op |= EM_REX;
	return op;
}

/* ---- registers --------------------------------------------------------- */

static unsigned reg_field(const struct bt_parts *p)
{
	return (p->modrm >> 3 & 7) | (p->rex & 4u) << 1;
}

static unsigned rm_field(const struct bt_parts *p)
{
	return ((p->has_modrm ? p->modrm : p->opcode) & 7) | (p->rex & 1u) << 3;
}

/* Without REX, byte registers 4 to 7 are AH, CH, DH, BH ([1] table 2-2). */
static bool names_high_byte(const struct jit *j)
{
	const struct bt_decode_rule *rule = &bt_decode_rules[jit_insn(j)->row];
	const struct bt_parts *p = &j->parts;
	u8 ops = jit_row(j)->jit_ops;

	if (p->rex || jit_row(j)->jit_class != JIT_COPY)
		return false;
	if (ops & (JIT_G_R | JIT_G_W) && rule->reg == REG_BYTE &&
	    reg_field(p) >= 4)
		return true;
	return !jit_insn(j)->mem && ops & (JIT_E_R | JIT_E_W) &&
	       rule->rm == REG_BYTE && rm_field(p) >= 4;
}

static void set_field(struct jit *j, struct copy *k, unsigned which,
		      unsigned guest, u8 ops)
{
	/* A memory operand is [H_A], or [RSP + H_B]; H_C is free behind the
	 * check. E and memory exclude each other. */
	static const u8 scratch[FIELDS] = {H_C, H_A, H_B};
	struct field *f = &k->field[which];

	f->read = ops & 1;
	f->write = ops & 2;
	f->used = f->read || f->write;
	f->guest = (u8)guest;
	f->host = (u8)guest;
	if (guest == X86_RSP)
		f->host = H_SP;
	else if (jit_in_memory(guest))
		f->host = scratch[which];
	/* One register in two fields is one register here, too. */
	for (unsigned n = 0; f->used && n < which; n++)
		if (k->field[n].used && k->field[n].guest == guest)
			f->host = k->field[n].host;
	if (f->used && f->host == H_B)
		j->held = HELD_NOTHING;
}

static void assign_registers(struct jit *j, struct copy *k)
{
	const struct bt_parts *p = &j->parts;
	u8 ops = jit_row(j)->jit_ops;
	bool mem = jit_insn(j)->mem;

	k->reg = reg_field(p);
	k->rm = em_reg(rm_field(p));
	set_field(j, k, FIELD_G, k->reg, ops & 3);
	set_field(j, k, FIELD_E, k->rm.base, mem ? 0 : ops >> 2 & 3);
	set_field(j, k, FIELD_V, p->vvvv, ops >> 4 & 3);
	if (k->field[FIELD_G].used)
		k->reg = k->field[FIELD_G].host;
	if (k->field[FIELD_E].used)
		k->rm.base = k->field[FIELD_E].host;
	if (k->field[FIELD_V].used) {
		k->op &= ~(15u << EM_VVVV);
		k->op |= (u32)k->field[FIELD_V].host << EM_VVVV;
	}
}

/* A narrow write keeps the rest of its register, so it is loaded too. */
static void load_registers(struct jit *j, const struct copy *k)
{
	bool narrow =
		jit_insn(j)->width < W32 && jit_row(j)->jit_class == JIT_COPY;
	unsigned loaded = 0;

	for (unsigned n = 0; n < FIELDS; n++) {
		const struct field *f = &k->field[n];

		if (!f->used || !jit_in_memory(f->guest) ||
		    !(f->read || narrow) || loaded >> f->guest & 1)
			continue;
		em_insn(&j->e, OP_LOAD, f->host, jit_gpr(f->guest));
		loaded |= 1u << f->guest;
	}
}

/* V before G: of MULX's two results into one register the high one stays. */
static void store_registers(struct jit *j, const struct copy *k)
{
	for (unsigned n = FIELDS; n-- > 0;) {
		const struct field *f = &k->field[n];

		if (f->used && f->write && jit_in_memory(f->guest))
			em_insn(&j->e, OP_STORE, f->host, jit_gpr(f->guest));
	}
}

/* ---- the instruction itself -------------------------------------------- */

static void put_itself(struct jit *j, const struct copy *k)
{
	const struct bt_parts *p = &j->parts;

	if (p->has_modrm)
		em_insn(&j->e, k->op, k->reg, k->rm);
	else if (k->field[FIELD_E].used)
		em_short(&j->e, k->op & ~7u, k->rm.base);
	else
		em_short(&j->e, k->op & ~7u, p->opcode & 7);
	for (unsigned n = 0; n < k->imm; n++)
		em_byte(&j->e, p->bytes[p->len - k->imm + n]);
}

/* An address with the addend in it becomes H_A if H_B is wanted otherwise. */
static void free_addend(struct jit *j, struct copy *k)
{
	const struct field *v = &k->field[FIELD_V];

	if (!v->used || v->host != H_B)
		return;
	em_insn(&j->e, OP_LEA, H_A, k->rm);
	k->rm = em_at(H_A, 0);
	j->held = HELD_NOTHING;
}

static void find_memory(struct jit *j, struct copy *k)
{
	if (j->note[j->n].window) {
		k->rm = jit_window_place(j, jit_insn(j)->disp);
		free_addend(j, k);
		return;
	}
	jit_address(j);
	jit_check(j, jit_operand_size(jit_insn(j)),
		  jit_row(j)->jit_ops & JIT_M_W);
	k->rm = em_at(H_A, 0);
}

/* ---- FPU pointers ------------------------------------------------------ */

/* [1] vol. 1 8.1.8: FIP, FDP and FOP, as op_simd.c's note_pointers(). */
static void note_pointers(struct jit *j)
{
	const struct bt_row *row = jit_row(j);
	struct emit *e = &j->e;

	if ((row->attrs & (ROW_X87 | ROW_CONTROL)) != ROW_X87)
		return;
	jit_page_base(j, H_C, jit_off(j));
	em_insn(e, OP_STORE, H_C, JIT_FIELD(fip));
	em_insn(e, OP_MOVZX16, H_C, JIT_FIELD(seg[X86_CS].selector));
	em_insn(e, OP_STORE16, H_C, JIT_FIELD(fcs));
	em_insn(e, EM_66 | 0xc7, 0, JIT_FIELD(fop));
	em_bytes(e, (row->opcode & 7u) << 8 | j->parts.modrm, 2);
}

static void note_data_pointer(struct jit *j)
{
	const struct bt_insn *i = jit_insn(j);
	const struct bt_row *row = jit_row(j);

	if ((row->attrs & (ROW_X87 | ROW_CONTROL)) != ROW_X87)
		return;
	/* The offset: x87 instructions change no register of an address. */
	jit_address_offset(j);
	em_insn(&j->e, OP_STORE, H_A, JIT_FIELD(fdp));
	em_insn(&j->e, OP_MOVZX16, H_C,
		em_at(H_CPU, (s32)(offsetof(struct bt_cpu, seg) +
				   i->seg * sizeof(struct x86_segment) +
				   offsetof(struct x86_segment, selector))));
	em_insn(&j->e, OP_STORE16, H_C, JIT_FIELD(fds));
}

/* ---- the whole --------------------------------------------------------- */

/* A bit offset in a register reaches beyond the operand. */
static bool is_bit_string(const struct jit *j)
{
	const struct bt_row *row = jit_row(j);

	return row->map == 1 && jit_insn(j)->mem &&
	       (row->opcode == 0xa3 || row->opcode == 0xab ||
		row->opcode == 0xb3 || row->opcode == 0xbb);
}

/*
 * BT, BTS, BTR, BTC of a bit string: H_A is the operand that holds the bit, H_B
 * the bit's number in it. ZF stays as it was, and the address needs flags.
 */
static void copy_bit_string(struct jit *j, struct copy *k)
{
	bool wide = jit_insn(j)->width == W64;
	bool live = j->note[j->n].live;
	unsigned guest = reg_field(&j->parts), reg;
	struct emit *e = &j->e;

	if (jit_insn(j)->width == W16 || jit_insn(j)->asize != W64) {
		jit_by_function(j);
		return;
	}
	if (live)
		jit_save_flags(j);
	jit_address(j);
	reg = jit_use(j, guest, H_C);
	if (wide)
		em_mov(e, H_C, reg);
	else
		em_insn(e, EM_W | 0x63, H_C, em_reg(reg)); /* movsxd */
	em_insn(e, EM_W | OP_SHIFT_IMM, 7, em_reg(H_C));
	em_byte(e, wide ? 6 : 5);
	em_insn(e, OP_LEA, H_A,
		(struct em_rm){true, H_A, H_C, wide ? 3 : 2, 0});
	jit_check_flagless(j, wide ? 8 : 4, jit_row(j)->jit_ops & JIT_M_W);
	reg = jit_use(j, guest, H_B);
	em_insn(e, OP_LOAD32, H_B, em_reg(reg));
	em_insn(e, OP_GROUP1_8, 4, em_reg(H_B));
	em_byte(e, wide ? 63 : 31);
	j->held = HELD_NOTHING;
	if (live)
		jit_restore_flags(j);
	em_insn(e, k->op, H_B, em_at(H_A, 0));
}

/* High bytes stay where they are, which has no encoding with REX: with R8 to
 * R11, memory (at H_A) or RSP as the other operand, the function does it. */
static void copy_high(struct jit *j, struct copy *k)
{
	const struct bt_decode_rule *rule = &bt_decode_rules[jit_insn(j)->row];

	k->reg = reg_field(&j->parts);
	k->rm = em_reg(rm_field(&j->parts));
	if (jit_insn(j)->mem || (rule->reg == REG_GPR && k->reg == X86_RSP &&
				 jit_row(j)->jit_ops & (JIT_G_R | JIT_G_W)))
		jit_by_function(j);
	else
		put_itself(j, k);
}

void jit_copy(struct jit *j)
{
	const struct bt_decode_rule *rule = &bt_decode_rules[jit_insn(j)->row];
	bool simd = jit_row(j)->jit_class == JIT_SIMD;
	struct copy k = {.op = opcode_of(j)};

	k.imm = bt_imm_bytes(rule->imm[0], jit_insn(j)->width) +
		bt_imm_bytes(rule->imm[1], jit_insn(j)->width);
	if (is_bit_string(j)) {
		copy_bit_string(j, &k);
		return;
	}
	if (names_high_byte(j)) {
		copy_high(j, &k);
		return;
	}
	assign_registers(j, &k);
	if (jit_insn(j)->mem)
		find_memory(j, &k);
	load_registers(j, &k);
	put_itself(j, &k);
	store_registers(j, &k);
	if (simd)
		note_pointers(j);
	if (simd && jit_insn(j)->mem)
		note_data_pointer(j);
}
