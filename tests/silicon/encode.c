/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoder of the test's instructions.
 *
 * References: [1] Intel SDM vol. 2A chapter 2.
 *
 * Written from the manual and the rows, apart from the decoder's code: what
 * they disagree on shows.
 */
#include "encode.h"

#include <string.h>

static void put(struct test_case *c, unsigned byte)
{
	if (c->len < sizeof(c->bytes))
		c->bytes[c->len++] = (u8)byte;
}

static void put_le(struct test_case *c, u64 val, unsigned bytes)
{
	for (unsigned k = 0; k < bytes; k++)
		put(c, (u8)(val >> (8 * k)));
}

static void put_legacy_prefixes(struct test_case *c,
				const struct choice *choice)
{
	static const u8 mandatory[] = {0, 0x66, 0xf3, 0xf2};
	static const u8 reps[] = {0, 0xf3, 0xf2};
	const struct bt_row *row = &bt_rows[c->form.row];
	u8 list[6];
	unsigned n = 0;

	if (choice->address.gs)
		list[n++] = 0x65;
	if (c->form.size == SIZE_66)
		list[n++] = 0x66;
	if (c->form.lock)
		list[n++] = 0xf0;
	if (c->form.address)
		list[n++] = 0x67;
	if (c->form.rep)
		list[n++] = reps[c->form.rep];
	if (row->prefix > 0 && !(row->attrs & ROW_VEX))
		list[n++] = mandatory[row->prefix];
	for (unsigned k = 0; k < n; k++)
		put(c, list[(k + choice->order) % n]);
}

/* Is there a SIB byte even without an index? */
static bool has_sib(const struct address *a)
{
	return !a->rip && (a->base == NO_REGISTER || (a->base & 7) == X86_RSP);
}

/* REX.R, X and B by the registers that are in use; the others, which mean
 * nothing then, as chosen. */
static u8 high_bits(const struct test_case *c, const struct choice *choice)
{
	const struct address *a = &choice->address;
	u8 bits = choice->reg >= 8 ? 4 : 0;

	if (bt_rows[c->form.row].reg >= 0)
		bits |= choice->idle_bits & 4;
	if (!c->form.mem)
		return bits | (choice->idle_bits & 2) |
		       (choice->rm >= 8 ? 1 : 0);
	if (a->base == NO_REGISTER ? choice->idle_bits & 1 : a->base >= 8)
		bits |= 1;
	if (a->index == NO_REGISTER ? choice->idle_bits & 2 && !has_sib(a)
				    : a->index >= 8)
		bits |= 2;
	return bits;
}

static void put_rex(struct test_case *c, const struct choice *choice)
{
	u8 bits = high_bits(c, choice);

	if (c->form.size == SIZE_W || choice->rex_w)
		bits |= 8;
	if (c->form.code == W64 && (bits || choice->rex))
		put(c, 0x40u | bits);
}

/* [1] 2.3.5 and 2.3.6: R, X, B and vvvv are stored inverted. */
static void put_vex(struct test_case *c, const struct choice *choice)
{
	static const u8 pp[] = {0, 1, 2, 3};
	const struct bt_row *row = &bt_rows[c->form.row];
	u8 bits = high_bits(c, choice) ^ 7;
	bool w = c->form.size == SIZE_W;
	u8 vvvv = row->attrs & ROW_VVVV ? choice->vvvv ^ 15 : 15;
	u8 last = (u8)(vvvv << 3 | (choice->vex_l ? 4 : 0) |
		       pp[row->prefix < 0 ? 0 : row->prefix]);

	if (choice->short_vex && row->map == 1 && !w && (bits & 3) == 3) {
		put(c, 0xc5);
		put(c, (bits & 4) << 5 | last);
		return;
	}
	put(c, 0xc4);
	put(c, (u32)bits << 5 | row->map);
	put(c, (w ? 0x80u : 0) | last);
}

static void put_opcode(struct test_case *c, const struct choice *choice)
{
	const struct bt_row *row = &bt_rows[c->form.row];

	if (row->attrs & ROW_VEX) {
		put_vex(c, choice);
	} else {
		put_rex(c, choice);
		if (row->map)
			put(c, 0x0f);
		if (row->map >= 2)
			put(c, row->map == 2 ? 0x38 : 0x3a);
	}
	put(c, choice->opcode);
}

/* [1] tables 2-2 and 2-3. Returns where a RIP-relative displacement is. */
static unsigned put_memory(struct test_case *c, const struct choice *choice)
{
	const struct address *a = &choice->address;
	unsigned reg = (choice->reg & 7u) << 3, at;
	unsigned mod = a->disp_bytes == 0   ? 0
		       : a->disp_bytes == 1 ? 0x40
					    : 0x80;
	bool vsib = bt_rows[c->form.row].attrs & ROW_VSIB;

	if (a->rip) {
		put(c, reg | 5);
		at = c->len;
		put_le(c, 0, 4);
		return at;
	}
	if (a->base == NO_REGISTER) { /* SIB without base: disp32 */
		put(c, reg | 4);
		put(c, (u32)a->scale << 6 | 5 |
			       (a->index == NO_REGISTER ? 4 : a->index & 7u)
				       << 3);
		put_le(c, (u32)a->disp, 4);
		return 0;
	}
	if (a->index == NO_REGISTER && (a->base & 7) != X86_RSP && !vsib) {
		put(c, mod | reg | (a->base & 7u));
	} else {
		put(c, mod | reg | 4);
		put(c, (u32)a->scale << 6 | (a->base & 7u) |
			       (a->index == NO_REGISTER ? 4 : a->index & 7u)
				       << 3);
	}
	put_le(c, (u32)a->disp, a->disp_bytes);
	return 0;
}

void encode(struct test_case *c, const struct choice *choice)
{
	const struct bt_decode_rule *rule = &bt_decode_rules[c->form.row];
	unsigned rip_at = 0;
	u32 disp;

	c->len = 0;
	put_legacy_prefixes(c, choice);
	put_opcode(c, choice);
	if (rule->modrm) {
		if (c->form.mem)
			rip_at = put_memory(c, choice);
		else
			put(c, 0xc0u | (choice->reg & 7u) << 3 |
				       (choice->rm & 7u));
	}
	put_le(c, choice->imm, choice->imm_bytes);
	put_le(c, choice->imm2, choice->imm2_bytes);
	if (rip_at) {
		disp = (u32)(c->target - (CODE_START + c->len));
		memcpy(c->bytes + rip_at, &disp, 4);
	}
}
