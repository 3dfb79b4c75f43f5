/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disassembler: the row's name and its operand letters, spelled out.
 *
 * References: [1] Intel SDM vol. 2D, appendix A.2 (operand letters).
 *
 * It is as exact as the rows are. Names that go by the operand size have one
 * form (cbw is also CWDE and CDQE), registers of an instruction that mixes
 * lengths are all named by VEX.L.
 */
#include "engine/bt/disasm.h"

#include "util/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct context {
	const struct bt_insn *i;
	const struct bt_parts *p;
	const struct bt_row *row;
	u64 ip;
	unsigned imms; /* immediates named so far */
	struct text *out;
};

/* ---- registers --------------------------------------------------------- */

static void put_gpr(struct text *t, unsigned n, unsigned width, bool rex)
{
	static const char *const low[] = {"al", "cl", "dl", "bl",
					  "ah", "ch", "dh", "bh"};
	static const char *const names[] = {"ax", "cx", "dx", "bx",
					    "sp", "bp", "si", "di"};
	static const char *const suffix[] = {"b", "w", "d", ""};

	if (n >= 8)
		text_put(t, "r%u%s", n, suffix[width]);
	else if (width == W8 && rex && n >= 4)
		text_put(t, "%sl", names[n]);
	else if (width == W8)
		text_put(t, "%s", low[n]);
	else
		text_put(t, "%s%s",
			 width == W64	? "r"
			 : width == W32 ? "e"
					: "",
			 names[n]);
}

static void put_vector(const struct context *d, unsigned n)
{
	bool wide = d->p->vex_l && !(d->row->attrs & ROW_LIG);

	text_put(d->out, "%cmm%u", wide ? 'y' : 'x', n);
}

static unsigned reg_number(const struct context *d)
{
	return (d->p->modrm >> 3 & 7) | (d->p->rex & 4u) << 1;
}

static unsigned rm_number(const struct context *d)
{
	return (d->p->modrm & 7) | (d->p->rex & 1u) << 3;
}

static void put_segment(struct text *t, unsigned seg)
{
	static const char names[][3] = {"es", "cs", "ss", "ds", "fs", "gs"};

	text_put(t, "%s", seg < ARRAY_SIZE(names) ? names[seg] : "s?");
}

/* ---- operand sizes ----------------------------------------------------- */

static unsigned letter_width(const struct context *d, char size)
{
	const struct bt_parts *p = d->p;
	unsigned width =
		bt_operand_width(p, d->row->attrs, (enum bt_width)d->i->code);

	switch (size) {
	case 'b':
		return W8;
	case 'w':
		return W16;
	case 'd':
		return W32;
	case 'q':
		return W64;
	case 'z':
		return width == W16 ? W16 : W32;
	case 'y':
		return p->rex & 8 ? W64 : W32;
	default:
		return width;
	}
}

static unsigned memory_bytes(const struct context *d, const char *op)
{
	const struct bt_row *row = d->row;
	unsigned size = d->p->vex_l ? row->mem_size_l1 : row->mem_size;

	if (size)
		return size;
	return op[1] ? 1u << letter_width(d, op[1]) : 0;
}

/* ---- memory ------------------------------------------------------------ */

static void put_size(struct text *t, unsigned bytes)
{
	static const struct {
		u8 bytes;
		const char *name;
	} sizes[] = {{1, "byte"},    {2, "word"},   {4, "dword"},
		     {8, "qword"},   {10, "tbyte"}, {16, "xmmword"},
		     {32, "ymmword"}};

	for (unsigned k = 0; k < ARRAY_SIZE(sizes); k++)
		if (sizes[k].bytes == bytes)
			text_put(t, "%s ptr ", sizes[k].name);
}

static void put_disp(struct text *t, s64 disp, bool first)
{
	if (first)
		text_put(t, "%#" PRIx64, (u64)disp);
	else if (disp)
		text_put(t, "%c%#" PRIx64, disp < 0 ? '-' : '+',
			 (u64)(disp < 0 ? -disp : disp));
}

static void put_index(const struct context *d, bool first)
{
	const struct bt_insn *i = d->i;

	text_put(d->out, "%s", first ? "" : "+");
	if (d->row->attrs & ROW_VSIB)
		put_vector(d, i->x / 8);
	else
		put_gpr(d->out, i->x / 8, i->asize, true);
	if (i->scale)
		text_put(d->out, "*%u", 1u << i->scale);
}

static void put_memory(const struct context *d, unsigned bytes)
{
	const struct bt_insn *i = d->i;
	bool first = i->b == BT_REG_ZERO;

	put_size(d->out, bytes);
	if (d->p->segment != 0xff) {
		put_segment(d->out, i->seg);
		text_put(d->out, ":");
	}
	text_put(d->out, "[");
	if (i->b == BT_REG_IP) {
		text_put(d->out, "rip");
	} else if (!first) {
		put_gpr(d->out, i->b / 8, i->asize, true);
	}
	if (i->x != BT_REG_ZERO) {
		put_index(d, first);
		first = false;
	}
	put_disp(d->out, d->p->disp, first);
	text_put(d->out, "]");
}

/* String operations and moffs: the place is in the instruction. */
static void put_implied(const struct context *d, const char *op)
{
	const struct bt_insn *i = d->i;
	unsigned seg = op[0] == 'Y' ? X86_ES : i->seg;

	put_size(d->out, 1u << letter_width(d, op[1]));
	if (op[0] == 'Y' || d->p->segment != 0xff) {
		put_segment(d->out, seg);
		text_put(d->out, ":");
	}
	text_put(d->out, "[");
	if (op[0] == 'O')
		text_put(d->out, "%#" PRIx64, d->p->imm);
	else
		put_gpr(d->out, op[0] == 'Y' ? X86_RDI : X86_RSI, i->asize,
			true);
	text_put(d->out, "]");
}

/* ---- operands ---------------------------------------------------------- */

static void put_immediate(struct context *d, const char *op)
{
	u64 val = d->imms++ ? (u64)(u32)d->p->disp : d->p->imm;
	bool negative = (op[1] == 'b' || op[1] == 'z') && (s64)val < 0;

	text_put(d->out, "%s%#" PRIx64, negative ? "-" : "",
		 negative ? 0 - val : val);
}

static void put_target(const struct context *d)
{
	static const u64 masks[] = {0, 0xffff, 0xffffffff, ~0ull};
	u64 to = d->ip + d->i->len + d->p->imm;

	text_put(d->out, "%#" PRIx64,
		 to & masks[d->i->code == W64 ? W64 : d->i->width & 3]);
}

static void put_rm(const struct context *d, const char *op)
{
	unsigned n = rm_number(d);

	if (d->i->mem) {
		put_memory(d, memory_bytes(d, op));
		return;
	}
	switch (op[0]) {
	case 'E':
	case 'R':
	case 'M':
		put_gpr(d->out, n, letter_width(d, op[1]), d->p->rex);
		break;
	case 'Q':
	case 'N':
		text_put(d->out, "mm%u", n & 7);
		break;
	default:
		put_vector(d, n);
	}
}

/* Operands that ModRM.reg, VEX.vvvv or the opcode name. */
static void put_other(struct context *d, const char *op)
{
	unsigned reg = reg_number(d);

	switch (op[0]) {
	case 'G':
		put_gpr(d->out, reg, letter_width(d, op[1]), d->p->rex);
		break;
	case 'B':
		put_gpr(d->out, d->p->vvvv, letter_width(d, op[1]), true);
		break;
	case 'Z':
		put_gpr(d->out, (d->p->opcode & 7) | (d->p->rex & 1u) << 3,
			letter_width(d, op[1]), d->p->rex);
		break;
	case 'V':
		put_vector(d, reg);
		break;
	case 'H':
		put_vector(d, d->p->vvvv);
		break;
	case 'L':
		put_vector(d, d->p->imm >> 4 & 15);
		break;
	case 'P':
		text_put(d->out, "mm%u", reg & 7);
		break;
	case 'S':
		put_segment(d->out, reg & 7);
		break;
	default: /* C, D: control and debug registers */
		text_put(d->out, "%cr%u", op[0] | 0x20, reg);
	}
}

static void put_fixed(const struct context *d, const char *op)
{
	if (!strcmp(op, "rAX")) {
		put_gpr(d->out, 0, letter_width(d, 'v'), false);
		return;
	}
	for (; *op; op++)
		text_put(d->out, "%c",
			 *op >= 'A' && *op <= 'Z' ? *op | 0x20 : *op);
}

static bool is_fixed(const char *op)
{
	static const char *const fixed[] = {"AL", "AX", "DX", "CL", "rAX", "ES",
					    "CS", "SS", "DS", "FS", "GS",  "1"};

	for (unsigned k = 0; k < ARRAY_SIZE(fixed); k++)
		if (!strcmp(op, fixed[k]))
			return true;
	return false;
}

static void put_operand(struct context *d, const char *op)
{
	if (is_fixed(op))
		put_fixed(d, op);
	else if (strchr("EMRWUQN", op[0]))
		put_rm(d, op);
	else if (op[0] == 'I')
		put_immediate(d, op);
	else if (op[0] == 'J')
		put_target(d);
	else if (op[0] == 'A')
		text_put(d->out, "%#x:%#" PRIx64, (u32)d->p->disp & 0xffff,
			 d->p->imm);
	else if (strchr("OXY", op[0]))
		put_implied(d, op);
	else
		put_other(d, op);
}

static void put_operands(struct context *d)
{
	const char *at = d->row->operands;
	const char *between = " ";
	char op[8];

	while (*at) {
		size_t n = strcspn(at, ",");

		snprintf(op, sizeof(op), "%.*s", (int)n, at);
		text_put(d->out, "%s", between);
		put_operand(d, op);
		between = ", ";
		at += n + (at[n] == ',');
	}
	/* x87 rows name no registers; ST(i) is ModRM.rm. */
	if (!*d->row->operands && d->row->attrs & ROW_X87 && !d->i->mem &&
	    d->row->rm < 0)
		text_put(d->out, " st(%u)", d->p->modrm & 7);
}

void bt_disasm(const struct bt_insn *insn, const struct bt_parts *parts, u64 ip,
	       char *buf, size_t len)
{
	static const char *const reps[] = {"", "rep ", "repne "};
	struct text text = {.buf = buf, .len = len};
	struct context d = {.i = insn,
			    .p = parts,
			    .row = &bt_rows[insn->row],
			    .ip = ip,
			    .out = &text};

	if (!len)
		return;
	buf[0] = '\0';
	if (parts->lock)
		text_put(&text, "lock ");
	if (parts->rep && d.row->prefix < 2)
		text_put(&text, "%s", reps[parts->rep]);
	text_put(&text, "%s", d.row->name);
	put_operands(&d);
}
