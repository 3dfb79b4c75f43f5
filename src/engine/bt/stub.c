/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stub builder.
 *
 * References: [1] Intel SDM vol. 2A 2.1 to 2.3 (encoding), appendix A.2
 *                 (operand letters).
 *
 * A stub is found by its bytes, so all guests' PADDB XMM1,[mem] share one. It
 * runs in 64-bit mode whatever the guest's mode: opcode, mandatory prefix and
 * vector registers stay, addressing becomes [RDI], a general register RAX.
 * Called under code_lock.
 */
#include "engine/bt/stub.h"

#include "bt_ops.h"
#include "engine/bt/fpu.h"
#include "engine/bt/simd.h"
#include "engine/bt/vm.h"

#include <errno.h>
#include <sys/mman.h>

/* Every stub of a full table, with alignment; so a half never runs out. */
#define HALF_BYTES MIB(1)
_Static_assert(STUB_TABLE *STUB_MAX_BYTES <= HALF_BYTES, "half full of stubs");

int bt_stub_init(struct bt_vm *bvm, struct err *err)
{
	void *p = bt_reserve(sizeof(struct bt_stubs));

	if (!p)
		return err_set(err, -ENOMEM, "out of memory");
	bvm->stubs = p;
	return codebuf_init(&bvm->stubs->code, 2 * HALF_BYTES, CODEBUF_FD, err);
}

void bt_stub_fini(struct bt_vm *bvm)
{
	if (!bvm->stubs)
		return;
	codebuf_fini(&bvm->stubs->code);
	munmap(bvm->stubs, sizeof(struct bt_stubs));
	bvm->stubs = NULL;
}

/* In halves, as the blocks: a vCPU may be in the middle of an instruction
 * whose stub it has still to call (block.c). */
void bt_stub_flush(struct bt_vm *bvm)
{
	bvm->stubs->half ^= 1;
	codebuf_reset(&bvm->stubs->code, bvm->stubs->half * HALF_BYTES);
	bvm->stubs->used = 0;
	for (unsigned k = 0; k < STUB_TABLE; k++)
		bvm->stubs->table[k].len = 0;
}

/* ---- encoding ---------------------------------------------------------- */

struct emit {
	u8 code[STUB_MAX_BYTES];
	unsigned len;
};

static void put(struct emit *e, unsigned byte)
{
	if (e->len < sizeof(e->code))
		e->code[e->len++] = (u8)byte;
}

/* Do the row's operands name a general register in this place ([1] A.2)? */
static bool operand_is(const char *operands, const char *letters)
{
	bool start = true;

	for (; *operands; operands++) {
		for (const char *l = letters; start && *l; l++)
			if (*operands == *l)
				return true;
		start = *operands == ',';
	}
	return false;
}

/* REX.W or VEX.W, and the high bits of the registers that stay. */
static u8 new_rex(const struct bt_parts *p, bool gpr_reg, bool mem_or_gpr_rm)
{
	u8 rex = p->rex & 8;

	if (!gpr_reg)
		rex |= p->rex & 4;
	if (!mem_or_gpr_rm)
		rex |= p->rex & 1;
	return rex;
}

static void put_vex(struct emit *e, const struct bt_parts *p,
		    const struct bt_insn *i, u8 rex)
{
	put(e, 0xc4);
	/* R, X and B are stored inverted; X is never needed. */
	put(e, (u32)(rex & 4 ? 0 : 0x80) | 0x40 | (u32)(rex & 1 ? 0 : 0x20) |
		       (p->map - 3u));
	put(e, (u32)p->vex_w << 7 | ((i->v / 8u) ^ 15u) << 3 |
		       (u32)p->vex_l << 2 | p->prefix);
	put(e, p->opcode);
}

static void put_legacy(struct emit *e, const struct bt_parts *p, u8 rex)
{
	static const u8 prefixes[] = {0, 0x66, 0xf3, 0xf2};

	/* 66 may stand beside F2 or F3; x87's 66 chooses a format. */
	if (p->opsize)
		put(e, 0x66);
	if (p->prefix >= 2)
		put(e, prefixes[p->prefix]);
	if (rex)
		put(e, 0x40u | rex);
	if (p->map)
		put(e, 0x0f);
	if (p->map >= 2)
		put(e, p->map == 2 ? 0x38 : 0x3a);
	put(e, p->opcode);
}

/* [RDI] is mod 0, rm 7; RAX is 0. */
static u8 new_modrm(const struct bt_parts *p, bool gpr_reg, bool gpr_rm,
		    bool mem)
{
	u8 modrm = p->modrm;

	if (gpr_reg)
		modrm &= 0xc7;
	if (mem)
		return (modrm & 0x38) | 7;
	return gpr_rm ? modrm & 0xf8 : modrm;
}

/* Immediate bytes: EXTRQ and INSERTQ have two. */
static unsigned count_imm8(const char *operands)
{
	unsigned count = 0;

	for (const char *o = operands; *o; o++)
		count += *o == 'I' || *o == 'L';
	return count;
}

static void put_insn(struct emit *e, const struct bt_parts *p,
		     const struct bt_insn *i)
{
	const char *operands = bt_rows[i->row].operands;
	bool gpr_reg = operand_is(operands, "G");
	bool gpr_rm = !i->mem && operand_is(operands, "ER");
	u8 rex = new_rex(p, gpr_reg, i->mem || gpr_rm);

	if (p->map >= 4)
		put_vex(e, p, i, rex);
	else
		put_legacy(e, p, rex);
	if (p->has_modrm)
		put(e, new_modrm(p, gpr_reg, gpr_rm, i->mem));
	if (count_imm8(operands) > 0)
		put(e, (u8)p->imm);
	if (count_imm8(operands) > 1)
		put(e, (u8)p->disp);
}

static enum stub_kind kind_of(const struct bt_row *row, const struct bt_insn *i)
{
	const char *ops = row->operands;
	bool first_gpr = ops[0] == 'G' || (ops[0] == 'E' && !i->mem) ||
			 ops[0] == 'R' || (ops[0] == 'A' && ops[1] == 'X');

	if (row->map == 3 && row->opcode >= 0x60 && row->opcode <= 0x63)
		return STUB_STRING;
	if (i->mem && row->attrs & ROW_MEMW)
		return STUB_STORE;
	if (first_gpr)
		return STUB_GPR_OUT;
	if (row->flags_written)
		return STUB_FLAGS_OUT;
	if (row->flags_read)
		return STUB_FLAGS_IN;
	if (!i->mem && operand_is(ops, "ER"))
		return STUB_GPR_IN;
	return STUB_PLAIN;
}

/* add $0x7f, %al (OF from bit 0); sahf */
static const u8 flags_in[] = {0x04, 0x7f, 0x9e};
/* lahf; seto %al */
static const u8 flags_out[] = {0x9f, 0x0f, 0x90, 0xc0};

static void put_bytes(struct emit *e, const u8 *bytes, unsigned count)
{
	for (unsigned k = 0; k < count; k++)
		put(e, bytes[k]);
}

/* Returns where in the stub the guest's instruction is. */
static unsigned build(struct emit *e, const struct bt_parts *p,
		      const struct bt_insn *i, enum stub_kind kind)
{
	unsigned at;

	if (kind == STUB_FLAGS_IN)
		put_bytes(e, flags_in, sizeof(flags_in));
	at = e->len;
	put_insn(e, p, i);
	if (kind == STUB_FLAGS_OUT || kind == STUB_STRING)
		put_bytes(e, flags_out, sizeof(flags_out));
	put(e, 0xc3);
	return at;
}

/*
 * What the host is going to run is one instruction of the row that was
 * decoded, in the same form, and nothing behind it but ours.
 */
static bool is_clean(const struct bt_cpu *c, const struct emit *e, unsigned at,
		     const struct bt_insn *i)
{
	struct bt_insn again;
	unsigned end;

	if (e->len >= STUB_MAX_BYTES ||
	    bt_decode(e->code + at, e->len - at, W64, c->policy->features,
		      &again, NULL) != BT_DECODE_OK)
		return false;
	end = at + again.len;
	if (again.row != i->row || again.mem != i->mem)
		return false;
	if (e->len == end + 1)
		return e->code[end] == 0xc3;
	return e->len == end + sizeof(flags_out) + 1 && e->code[end] == 0x9f;
}

/* ---- table ------------------------------------------------------------- */

static bool same(const struct stub *s, const struct emit *e)
{
	if (s->len != e->len)
		return false;
	for (unsigned k = 0; k < e->len; k++)
		if (s->code[k] != e->code[k])
			return false;
	return true;
}

static bool find_or_add(struct bt_stubs *stubs, const struct emit *e,
			s32 *offset)
{
	u32 hash = 2166136261u;
	struct stub *s;
	u8 *at;

	for (unsigned k = 0; k < e->len; k++)
		hash = (hash ^ e->code[k]) * 16777619u;
	for (;; hash++) {
		s = &stubs->table[hash % STUB_TABLE];
		if (s->len == 0)
			break;
		if (same(s, e)) {
			*offset = (s32)s->offset;
			return true;
		}
	}
	if (stubs->used > STUB_TABLE / 4 * 3)
		return false;
	at = codebuf_reserve(&stubs->code, e->len);
	if (!at)
		return false;
	for (unsigned k = 0; k < e->len; k++)
		at[k] = s->code[k] = e->code[k];
	s->len = e->len;
	s->offset =
		(u32)(codebuf_commit(&stubs->code, e->len) - stubs->code.exec);
	stubs->used++;
	*offset = (s32)s->offset;
	return true;
}

/*
 * What means something else outside 64-bit code: W is ignored where it would
 * widen a general register ([1] 2.3.5.5 and the instructions' notes), the
 * highest bit of a register in an immediate too.
 */
static void fit_to_64(struct bt_parts *p, const struct bt_row *row,
		      struct bt_insn *i)
{
	for (const char *o = row->operands; *o; o++) {
		if (*o == 'y') {
			p->vex_w = 0;
			p->rex &= 0x47;
			i->rexw = 0;
		}
		if (*o == 'L')
			p->imm &= 0x7f;
	}
}

bool bt_stub_attach(struct bt_cpu *c, const struct bt_parts *p,
		    struct bt_insn *i)
{
	const struct bt_row *row = &bt_rows[i->row];
	enum stub_kind kind = kind_of(row, i);
	struct bt_parts here = *p;
	struct emit e = {.len = 0};
	unsigned at;

	/* The width field is free for SIMD rows: VEX.L for operand sizes. */
	i->width = p->vex_l;
	if (row->attrs & ROW_VSIB) /* done in C, by elements */
		return true;
	if (row->attrs & ROW_X87) /* the low byte of FOP */
		i->v = p->modrm;
	if (i->code != W64)
		fit_to_64(&here, row, i);
	at = build(&e, &here, i, kind);
	/* Last line of defence: a guest chose these bytes. */
	if (!is_clean(c, &e, at, i)) {
		i->fn = bt_op_ud;
		return true;
	}
	if (i->fn == bt_op_simd)
		i->fn = bt_simd_function(row, i, kind);
	return find_or_add(c->bvm->stubs, &e, &i->imm);
}
