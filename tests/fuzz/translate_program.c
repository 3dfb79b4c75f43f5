/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a fuzzer as programs that get somewhere; see translate.h. */
#include "translate.h"

#include "engine/bt/decode.h"

#include <string.h>

#define MAX_PIECES 60
#define GAP 64 /* INT3s that are left behind the program */

struct piece {
	unsigned at;	/* of the instruction, in the code */
	unsigned first; /* and of what prepares it */
	unsigned jump;	/* bytes of its displacement; 0: it has none */
	unsigned len;
	s32 by;
};

struct maker {
	struct xl_program *p;
	const u8 *in;
	size_t left;
	u64 features;
	unsigned at;
	struct piece pieces[MAX_PIECES];
};

static u8 take(struct maker *m)
{
	if (!m->left)
		return 0;
	m->left--;
	return *m->in++;
}

static void put(struct maker *m, u64 val, unsigned bytes)
{
	for (; bytes && m->at < XL_CODE_BYTES - GAP; bytes--, val >>= 8)
		m->p->code[m->at++] = (u8)val;
}

static void put_register(struct maker *m, u8 n, u64 val)
{
	bool wide = val >> 32;

	if (n >= 8 || wide)
		put(m, 0x40u | (wide ? 8u : 0) | n >> 3, 1);
	put(m, 0xb8u | (n & 7), 1);
	put(m, val, wide ? 8 : 4);
}

static bool is_named(const struct bt_row *row, const char *names)
{
	size_t len = strlen(row->name);

	for (const char *p = strstr(names, row->name); p;
	     p = strstr(p + 1, row->name))
		if ((p == names || p[-1] == ' ') && (!p[len] || p[len] == ' '))
			return true;
	return false;
}

/* What is never the same twice, or lasts longer than a run. */
static bool is_excluded(const struct bt_row *row)
{
	return is_named(row,
			"rdtsc rdtscp rdrand rdseed rdpmc rdmsr wrmsr in "
			"out ins outs xsave xsaveopt xsavec xsaves xrstors "
			"xgetbv xsetbv vmmcall vmcall cpuid") ||
	       (is_named(row, "mov") && strpbrk(row->operands, "CD"));
}

/* ---- addresses --------------------------------------------------------- */

static u64 address(struct maker *m, unsigned place)
{
	u64 off = take(m) * 8u;

	switch (place) {
	case PLACE_PAGE_END:
		return XL_DATA + 0x1000 * (1 + (off >> 3) % XL_DATA_PAGES) -
		       off % 40;
	case PLACE_READ_ONLY:
		return XL_DATA + 0x1000 * (XL_DATA_PAGES - 1) + off;
	case PLACE_CODE: /* at or before the program, or not far behind it */
		return XL_CODE + m->at - 16 + (off >> 3) % 96;
	case PLACE_MMIO:
		return XL_MMIO + off;
	case PLACE_NOWHERE:
		return off & 8 ? 0x800000000000 - off / 16 : XL_DATA - off / 16;
	default:
		return XL_DATA + 0x400 + off * 4;
	}
}

static bool is_string(const struct bt_row *row)
{
	return row->map == 0 && is_named(row, "movs cmps stos lods scas");
}

static void place_string(struct maker *m, unsigned place)
{
	put_register(m, X86_RSI, address(m, PLACE_DATA));
	put_register(m, X86_RDI, address(m, place));
	put_register(m, X86_RCX, take(m) & 63);
}

/* The registers of [b + x * scale + disp]. Absolute addresses and those
 * relative to RIP are patched when the instruction is there. */
static void place_operand(struct maker *m, const struct bt_insn *i, u64 va)
{
	u8 base = i->b / 8, index = i->x / 8;
	bool vector = bt_rows[i->row].attrs & ROW_VSIB;
	u64 part = 0;

	if (i->b == BT_REG_IP || i->b == BT_REG_ZERO)
		return;
	if (!vector && i->x != BT_REG_ZERO && index != base) {
		part = take(m) & 15;
		put_register(m, index, part);
		part <<= i->scale;
	}
	va -= part + (u64)(s64)i->disp;
	if (!vector && index == base)
		va >>= i->scale ? i->scale : 1;
	put_register(m, base, va);
}

/* ---- pieces ------------------------------------------------------------ */

/* The displacement of an address that no register is part of is the last but
 * the immediates. */
static void patch_address(struct maker *m, const struct bt_insn *i,
			  const struct bt_parts *parts, u8 *bytes, u64 va)
{
	const struct bt_decode_rule *rule = &bt_decode_rules[i->row];
	unsigned after = bt_imm_bytes(rule->imm[0], i->width) +
			 bt_imm_bytes(rule->imm[1], i->width);
	u64 val = va;

	if (i->b == BT_REG_IP)
		val -= m->p->ip - m->p->start + m->at + i->len;
	else if (i->b != BT_REG_ZERO || i->x != BT_REG_ZERO)
		return;
	if (!parts->has_modrm || i->len < after + 4u)
		return;
	for (unsigned k = 0; k < 4; k++)
		bytes[i->len - after - 4 + k] = (u8)(val >> (8 * k));
}

static unsigned jump_bytes(const struct bt_insn *i)
{
	const struct bt_row *row = &bt_rows[i->row];

	if (row->operands[0] != 'J')
		return 0;
	return bt_decode_rules[i->row].imm[0] == IMM_S8 ? 1 : 4;
}

/* False: no instruction. */
static bool add_piece(struct maker *m)
{
	struct piece *piece = &m->pieces[m->p->count];
	u8 choice = take(m), bytes[BT_MAX_INSN] = {0};
	unsigned place = choice & XL_PLACE;
	struct bt_parts parts;
	struct bt_insn i;
	u64 va;

	memcpy(bytes, m->in, min_u64(m->left, sizeof(bytes)));
	if (bt_decode(bytes, sizeof(bytes), W64, m->features, &i, &parts) !=
		    BT_DECODE_OK ||
	    is_excluded(&bt_rows[i.row]) || i.len > m->left)
		return false;
	m->in += i.len;
	m->left -= i.len;
	piece->first = m->at;
	va = place == PLACE_KEPT ? 0 : address(m, place);
	if (place != PLACE_KEPT && is_string(&bt_rows[i.row]))
		place_string(m, place);
	else if (place != PLACE_KEPT && i.mem)
		place_operand(m, &i, va);
	if (i.mem)
		patch_address(m, &i, &parts, bytes,
			      place == PLACE_KEPT ? XL_DATA + 0x800 : va);
	piece->at = m->at;
	piece->len = i.len;
	piece->jump = jump_bytes(&i);
	piece->by = (s32)(choice >> XL_JUMP_SHIFT) - XL_JUMP_BIAS;
	for (unsigned k = 0; k < i.len; k++)
		put(m, bytes[k], 1);
	m->p->count++;
	return m->at < XL_CODE_BYTES - GAP;
}

static void patch_jump(struct maker *m, unsigned n)
{
	const struct piece *piece = &m->pieces[n];
	s64 to = (s64)n + piece->by, dist;
	unsigned end = piece->at + piece->len;

	if (!piece->jump)
		return;
	if (to < 0)
		to = 0;
	dist = to < (s64)m->p->count ? m->pieces[to].first : m->at;
	dist -= end;
	if (piece->jump == 1 && dist != (s8)dist)
		dist = 0;
	for (unsigned k = 0; k < piece->jump; k++)
		m->p->code[end - piece->jump + k] = (u8)((u64)dist >> (8 * k));
}

bool xl_program_make(struct xl_program *p, const u8 *data, size_t len,
		     u64 features)
{
	struct maker m = {
		.p = p, .in = data, .left = len, .features = features};

	if (len < XL_HEADER)
		return false;
	p->flags = take(&m);
	p->start = p->flags & XL_AT_END ? 0x1000 - take(&m) : 0x700 + take(&m);
	p->arith = take(&m);
	p->seed = take(&m);
	p->seed |= (u64)take(&m) << 8;
	p->ip = (p->flags & XL_AT_EDGE ? XL_EDGE : XL_CODE) + p->start;
	p->count = 0;
	memset(p->code, 0xcc, sizeof(p->code));
	m.at = p->start;
	while (m.left && p->count < MAX_PIECES && add_piece(&m))
		;
	for (unsigned n = 0; n < p->count; n++)
		patch_jump(&m, n);
	return p->count;
}
