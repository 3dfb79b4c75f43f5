/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instruction decoder.
 *
 * References: [1] Intel SDM vol. 2A chapter 2 (instruction format),
 *                 2.3 (VEX), vol. 2D appendix A (opcode maps).
 *             [2] AMD APM vol. 3 chapter 1.
 *
 * One pass: prefixes, opcode, ModRM and SIB, displacement, row selection,
 * operands, immediates. What the row and its rule say comes from the generated
 * tables; nothing here knows a single instruction.
 */
#include "engine/bt/decode.h"

#include "bt_ops.h"

struct cursor {
	const u8 *bytes;
	unsigned avail;
	unsigned at;
	bool more; /* ran past avail */
};

static u8 next_byte(struct cursor *cur)
{
	if (cur->at >= cur->avail) {
		cur->more = true;
		return 0;
	}
	return cur->bytes[cur->at++];
}

static u64 next_le(struct cursor *cur, unsigned bytes)
{
	u64 val = 0;

	for (unsigned k = 0; k < bytes; k++)
		val |= (u64)next_byte(cur) << (8 * k);
	return val;
}

/* [1] 2.1.1: legacy prefixes in any order, then REX right before the opcode.
 * Returns the first byte that is neither. */
static u8 decode_prefixes(struct cursor *cur, struct bt_parts *p, bool code64)
{
	static const u8 segments[] = {
		[0x26 >> 3 & 3] = X86_ES,
		[0x2e >> 3 & 3] = X86_CS,
		[0x36 >> 3 & 3] = X86_SS,
		[0x3e >> 3 & 3] = X86_DS,
	};

	for (;;) {
		u8 byte = next_byte(cur);

		switch (byte) {
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
			/* [2] 1.2.4: ignored in 64-bit code, and they do not
			 * cancel an FS or GS override before them. */
			if (!code64)
				p->segment = segments[byte >> 3 & 3];
			break;
		case 0x64:
		case 0x65:
			p->segment = byte == 0x64 ? X86_FS : X86_GS;
			break;
		case 0x66:
			p->opsize = true;
			break;
		case 0x67:
			p->addrsize = true;
			break;
		case 0xf0:
			p->lock = true;
			break;
		case 0xf2:
			p->rep = REP_REPNZ;
			break;
		case 0xf3:
			p->rep = REP_REPZ;
			break;
		default:
			if (!code64 || (byte & 0xf0) != 0x40)
				return byte;
			/* A REX counts only if the opcode follows. */
			p->rex = byte;
			continue;
		}
		p->rex = 0;
		if (cur->more || cur->at > BT_MAX_INSN)
			return 0;
	}
}

/* [1] 2.3.5: the payload of C5 (two bytes) and C4 (three bytes). Returns
 * false for what must be #UD. */
static bool decode_vex(struct cursor *cur, struct bt_parts *p, u8 first,
		       bool code64)
{
	static const u8 mandatory[] = {0, 1, 2, 3}; /* pp: none 66 F3 F2 */
	u8 b1 = next_byte(cur), b2, map = 1;

	/* [1] 2.3.2 and 2.3.3: no 66, F2, F3, LOCK or REX before VEX. */
	if (p->opsize || p->rep || p->lock || p->rex)
		return false;
	if (first == 0xc5) {
		b2 = b1 & 0x7f;
		p->rex = 0x40 | (b1 & 0x80 ? 0 : 4);
	} else {
		b2 = next_byte(cur);
		map = b1 & 0x1f;
		p->rex = 0x40 | ((b1 >> 5 & 7) ^ 7);
		p->vex_w = b2 >> 7;
		if (p->vex_w)
			p->rex |= 8;
	}
	p->vvvv = (b2 >> 3 & 15) ^ 15;
	p->vex_l = b2 >> 2 & 1;
	if (!code64) /* [1] 2.3.5: only eight registers */
		p->rex &= 0x48;
	p->prefix = mandatory[b2 & 3];
	if (map < 1 || map > 3)
		return false;
	p->map = map + 3;
	p->opcode = next_byte(cur);
	return true;
}

/* C4 and C5 are LES and LDS outside 64-bit code unless a register form would
 * follow ([1] 2.3.5). */
static bool is_vex(struct cursor *cur, u8 byte, bool code64)
{
	if (byte != 0xc4 && byte != 0xc5)
		return false;
	if (code64)
		return true;
	if (cur->at >= cur->avail) {
		cur->more = true;
		return false;
	}
	return cur->bytes[cur->at] >= 0xc0;
}

static bool decode_opcode(struct cursor *cur, struct bt_parts *p, bool code64)
{
	u8 byte = decode_prefixes(cur, p, code64);

	if (is_vex(cur, byte, code64))
		return decode_vex(cur, p, byte, code64);
	if (byte == 0x0f) {
		p->map = 1;
		byte = next_byte(cur);
		if (byte == 0x38 || byte == 0x3a) {
			p->map = byte == 0x38 ? 2 : 3;
			byte = next_byte(cur);
		}
	}
	p->opcode = byte;
	/* The last of F2 and F3 wins over 66 ([1] 2.1.1, mandatory prefixes).
	 */
	if (p->rep)
		p->prefix = p->rep == REP_REPZ ? 2 : 3;
	else if (p->opsize)
		p->prefix = 1;
	return true;
}

/* The row of an opcode. ModRM is read here, as it takes part in choosing. */
static const struct bt_row *select_row(struct cursor *cur, struct bt_parts *p,
				       bool code64)
{
	const struct bt_select *sel = &bt_select[p->map][p->opcode];
	unsigned cell = 0;

	if (!sel->present)
		return NULL;
	if (sel->dims & 1)
		cell = code64;
	if (sel->dims & 2)
		cell = cell * 4 + p->prefix;
	if (sel->dims >> 2) {
		p->modrm = next_byte(cur);
		p->has_modrm = true;
	}
	if (sel->dims & 4)
		cell = cell * 2 + (p->modrm >= 0xc0);
	if (sel->dims & 8)
		cell = cell * 8 + (p->modrm >> 3 & 7);
	if (sel->dims & 16)
		cell = cell * 8 + (p->modrm & 7);
	cell = bt_select_cells[sel->base + cell];
	return cell ? &bt_rows[cell - 1] : NULL;
}

/* [1] table 2-1: 16-bit addressing. */
static void decode_mem16(struct cursor *cur, struct bt_parts *p,
			 struct bt_insn *i)
{
	static const u8 base[] = {X86_RBX, X86_RBX, X86_RBP, X86_RBP,
				  X86_RSI, X86_RDI, X86_RBP, X86_RBX};
	static const u8 index[] = {X86_RSI, X86_RDI, X86_RSI, X86_RDI};
	unsigned mod = p->modrm >> 6, rm = p->modrm & 7;

	i->b = BT_REG(base[rm]);
	i->x = rm < 4 ? BT_REG(index[rm]) : BT_REG_ZERO;
	i->seg = base[rm] == X86_RBP ? X86_SS : X86_DS;
	if (mod == 0 && rm == 6) {
		i->b = BT_REG_ZERO;
		i->seg = X86_DS;
		p->disp = (s16)next_le(cur, 2);
	} else if (mod == 1) {
		p->disp = (s8)next_byte(cur);
	} else if (mod == 2) {
		p->disp = (s16)next_le(cur, 2);
	}
}

static void decode_sib(struct cursor *cur, struct bt_parts *p,
		       struct bt_insn *i, bool vsib)
{
	unsigned base, index;

	p->sib = next_byte(cur);
	base = p->sib & 7;
	index = (p->sib >> 3 & 7) | (p->rex & 2) << 2;
	i->scale = p->sib >> 6;
	if (index != 4 || vsib)
		i->x = BT_REG(index);
	if (base == 5 && p->modrm < 0x40) {
		p->disp = (s32)next_le(cur, 4);
		i->b = BT_REG_ZERO;
		return;
	}
	if (base == X86_RSP || base == X86_RBP)
		i->seg = p->rex & 1 ? X86_DS : X86_SS;
	i->b = BT_REG(base | (p->rex & 1) << 3);
}

/* [1] tables 2-2, 2-3 and 2.2.1.6 (RIP-relative). */
static void decode_mem(struct cursor *cur, struct bt_parts *p,
		       struct bt_insn *i, bool vsib)
{
	unsigned mod = p->modrm >> 6, rm = p->modrm & 7;

	i->mem = 1;
	i->b = BT_REG_ZERO;
	i->x = BT_REG_ZERO;
	i->seg = X86_DS;
	if (i->asize == W16) {
		decode_mem16(cur, p, i);
		return;
	}
	if (rm == 4) {
		decode_sib(cur, p, i, vsib);
	} else if (mod == 0 && rm == 5) {
		p->disp = (s32)next_le(cur, 4);
		i->b = i->code == W64 ? BT_REG_IP : BT_REG_ZERO;
		return;
	} else {
		if (rm == 5)
			i->seg = p->rex & 1 ? X86_DS : X86_SS;
		i->b = BT_REG(rm | (p->rex & 1) << 3);
	}
	if (mod == 1)
		p->disp = (s8)next_byte(cur);
	else if (mod == 2)
		p->disp = (s32)next_le(cur, 4);
}

enum bt_width bt_operand_width(const struct bt_parts *p, u32 attrs,
			       enum bt_width code)
{
	if (code == W64) {
		if (attrs & ROW_F64)
			return W64;
		if (p->rex & 8)
			return W64;
		if (p->opsize)
			return W16;
		return attrs & ROW_D64 ? W64 : W32;
	}
	return (code == W32) != p->opsize ? W32 : W16;
}

static enum bt_width rule_width(u8 rule, enum bt_width osize)
{
	switch (rule) {
	case WR_B:
		return W8;
	case WR_W:
		return W16;
	case WR_D:
		return W32;
	case WR_Q:
		return W64;
	case WR_Z:
		return osize == W64 ? W32 : osize;
	case WR_Y:
		return osize == W64 ? W64 : W32;
	default:
		return osize;
	}
}

/* Field value for a register number, by the rule. Without REX, byte registers
 * 4..7 are AH, CH, DH, BH ([1] table 2-2). */
static u8 reg_field(u8 rule, unsigned n, u8 rex)
{
	if (rule == REG_RAW)
		return (u8)n;
	if (rule == REG_BYTE && !rex && n >= 4)
		return BT_REG(n - 4) + 1;
	return BT_REG(n);
}

static void decode_modrm_operands(struct cursor *cur, struct bt_parts *p,
				  const struct bt_row *row,
				  const struct bt_decode_rule *rule,
				  struct bt_insn *i)
{
	u8 reg =
		reg_field(rule->reg,
			  (p->modrm >> 3 & 7) | (u32)(p->rex & 4) << 1, p->rex);
	u8 rm = reg_field(rule->rm, (p->modrm & 7) | (u32)(p->rex & 1) << 3,
			  p->rex);

	/* MOV to and from CR and DR has no memory form, whatever mod says
	 * ([1] vol. 2, MOV). */
	bool no_mem = p->map == 1 && p->opcode >= 0x20 && p->opcode <= 0x23;

	if (p->modrm < 0xc0 && !no_mem) {
		i->a = reg;
		decode_mem(cur, p, i, row->attrs & ROW_VSIB);
		if (p->segment != 0xff)
			i->seg = p->segment;
		return;
	}
	i->a = rule->operands == OP_E_G ? rm : reg;
	i->b = rule->operands == OP_E_G ? reg : rm;
}

static void decode_operands(struct cursor *cur, struct bt_parts *p,
			    const struct bt_row *row,
			    const struct bt_decode_rule *rule,
			    struct bt_insn *i)
{
	switch (rule->operands) {
	case OP_E_G:
	case OP_G_E:
		decode_modrm_operands(cur, p, row, rule, i);
		break;
	case OP_Z:
		i->a = reg_field(rule->rm,
				 (p->opcode & 7) | (u32)(p->rex & 1) << 3,
				 p->rex);
		break;
	case OP_MOFFS:
		i->mem = 1;
		p->imm = next_le(cur, i->asize == W64	? 8
				      : i->asize == W32 ? 4
							: 2);
		break;
	case OP_FAR:
		p->imm = next_le(cur, i->width == W16 ? 2 : 4);
		p->disp = (s32)next_le(cur, 2);
		break;
	default:
		break;
	}
}

static u64 decode_imm(struct cursor *cur, u8 rule, enum bt_width osize)
{
	switch (rule) {
	case IMM_ONE:
		return 1;
	case IMM_S8:
		return (u64)(s8)next_byte(cur);
	case IMM_U8:
		return next_byte(cur);
	case IMM_U16:
		return next_le(cur, 2);
	case IMM_Z:
		return osize == W16 ? (u64)(s16)next_le(cur, 2)
				    : (u64)(s32)next_le(cur, 4);
	case IMM_V:
		return osize == W64   ? next_le(cur, 8)
		       : osize == W32 ? next_le(cur, 4)
				      : next_le(cur, 2);
	default:
		return 0;
	}
}

static void decode_immediates(struct cursor *cur, struct bt_parts *p,
			      const struct bt_decode_rule *rule,
			      struct bt_insn *i)
{
	if (rule->imm[0] != IMM_NONE)
		p->imm = decode_imm(cur, rule->imm[0], i->width);
	if (rule->imm[1] != IMM_NONE)
		p->disp = (s32)decode_imm(cur, rule->imm[1], i->width);
	if (rule->operands == OP_MOFFS || rule->imm[0] == IMM_V) {
		i->imm64 = p->imm;
		return;
	}
	i->imm = (s32)p->imm;
	i->disp = p->disp;
}

/* VEX.L, VEX.W and VEX.vvvv as the row wants them; else #UD. */
static bool vex_fits(const struct bt_parts *p, const struct bt_row *row)
{
	u32 attrs = row->attrs;

	if ((attrs & ROW_L0 && p->vex_l) || (attrs & ROW_L1 && !p->vex_l))
		return false;
	if ((attrs & ROW_W0 && p->vex_w) || (attrs & ROW_W1 && !p->vex_w))
		return false;
	return attrs & ROW_VVVV || p->vvvv == 0;
}

static bool feature_fits(const struct bt_parts *p, const struct bt_row *row,
			 u64 features)
{
	u8 feature = row->feature;

	if (row->attrs & ROW_VEX && p->vex_l && row->feature_l1)
		feature = row->feature_l1;
	return feature == FEAT_BASE || features & BIT(feature);
}

/* [1] TZCNT, LZCNT: a CPU without them ignores the F3 and runs BSF or BSR.
 * Compilers rely on it: the result is the same but for a source of zero. */
static bool ignores_f3(const struct bt_parts *p, const struct bt_row *row,
		       u64 features)
{
	return !(row->attrs & ROW_VEX) && p->prefix == 2 &&
	       (row->feature == FEAT_BMI1 || row->feature == FEAT_LZCNT) &&
	       !feature_fits(p, row, features);
}

static void set_sizes(const struct bt_parts *p, enum bt_width code,
		      struct bt_insn *i)
{
	i->code = code;
	i->rep = p->rep;
	i->lock = p->lock;
	i->rexw = p->rex >> 3 & 1;
	if (code == W64)
		i->asize = p->addrsize ? W32 : W64;
	else
		i->asize = (code == W32) != p->addrsize ? W32 : W16;
	i->seg = p->segment != 0xff ? p->segment : X86_DS;
}

static enum bt_decode_status finish(struct cursor *cur, struct bt_parts *p,
				    struct bt_insn *i,
				    enum bt_decode_status status)
{
	if (cur->at > BT_MAX_INSN || (cur->more && cur->avail >= BT_MAX_INSN)) {
		i->len = BT_MAX_INSN;
		i->fn = bt_op_too_long;
		i->row = BT_ROW_UD;
		return BT_DECODE_LONG;
	}
	if (cur->more)
		return BT_DECODE_MORE;
	i->len = (u16)cur->at & 15;
	p->len = (u8)cur->at;
	for (unsigned k = 0; k < p->len; k++)
		p->bytes[k] = cur->bytes[k];
	if (status == BT_DECODE_UD) {
		i->fn = bt_op_ud;
		i->row = BT_ROW_UD;
	}
	return status;
}

static bool choose_function(const struct bt_row *row, struct bt_insn *i)
{
	unsigned form = i->mem ? (i->lock ? 2 : 1) : 0;

	if (i->lock && !(i->mem && row->attrs & ROW_LOCK))
		return false;
	i->fn = bt_fnsets[row->fnset][form][i->width];
	return i->fn != NULL;
}

enum bt_decode_status bt_decode(const u8 *bytes, unsigned avail,
				enum bt_width code, u64 features,
				struct bt_insn *insn, struct bt_parts *parts)
{
	struct bt_parts local, *p = parts ? parts : &local;
	struct cursor cur = {.bytes = bytes, .avail = avail};
	const struct bt_decode_rule *rule;
	const struct bt_row *row;

	*p = (struct bt_parts){.segment = 0xff};
	*insn = (struct bt_insn){.b = BT_REG_ZERO, .x = BT_REG_ZERO};
	if (!decode_opcode(&cur, p, code == W64))
		return finish(&cur, p, insn, BT_DECODE_UD);
	row = select_row(&cur, p, code == W64);
	if (row && ignores_f3(p, row, features)) {
		p->prefix = 0;
		row = select_row(&cur, p, code == W64);
	}
	if (!row || cur.more)
		return finish(&cur, p, insn, BT_DECODE_UD);
	rule = &bt_decode_rules[row - bt_rows];
	insn->row = (u16)(row - bt_rows) & 0xfff;
	set_sizes(p, code, insn);
	insn->width =
		rule_width(rule->width, bt_operand_width(p, row->attrs, code));
	if (rule->modrm && !p->has_modrm) {
		p->modrm = next_byte(&cur);
		p->has_modrm = true;
	}
	if (row->attrs & ROW_VVVV)
		insn->v = BT_REG(code == W64 ? p->vvvv : p->vvvv & 7);
	decode_operands(&cur, p, row, rule, insn);
	decode_immediates(&cur, p, rule, insn);
	if ((row->attrs & ROW_VEX && !vex_fits(p, row)) ||
	    !feature_fits(p, row, features) || !choose_function(row, insn))
		return finish(&cur, p, insn, BT_DECODE_UD);
	return finish(&cur, p, insn, BT_DECODE_OK);
}
