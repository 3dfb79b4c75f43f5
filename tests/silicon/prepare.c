/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Implicit operands, SIMD registers and memory of a case.
 *
 * References: [1] Intel SDM vol. 2 (the instructions' pages), vol. 1 8.1.
 */
#include "generate.h"

#include <string.h>

/* ---- registers --------------------------------------------------------- */

static void set_count(struct builder *b)
{
	static const u8 counts[] = {0,	1,  7,	8,  9,	15, 16, 17, 18,
				    24, 31, 32, 33, 63, 64, 65, 255};
	u64 rcx = counts[random_below(b->r, ARRAY_SIZE(counts))];

	if (random_chance(b->r, 30))
		rcx = random_below(b->r, 256);
	if (random_chance(b->r, 50))
		rcx |= random_u64(b->r) & ~0xffull;
	b->c->state.gpr[X86_RCX] = rcx;
}

static void set_string(struct builder *b)
{
	unsigned size = operand_bytes(b->c);

	fix_address(b, X86_RSI, pick_target(b->r, size));
	fix_address(b, X86_RDI, pick_target(b->r, size));
	fix_address(b, X86_RCX, random_below(b->r, 40));
	if (random_chance(b->r, 10)) /* overlapping */
		fix_address(b, X86_RDI,
			    (u32)b->c->state.gpr[X86_RSI] +
				    random_below(b->r, 9));
	if (random_chance(b->r, 25))
		b->c->state.flags |= FLAG_DF;
}

static void set_stack(struct builder *b)
{
	u64 sp = pick_target(b->r, 8);

	if (random_chance(b->r, 70))
		sp = DATA + 0x800 + random_below(b->r, 0x1000);
	b->fixed |= BIT(X86_RSP);
	b->c->state.gpr[X86_RSP] = sp;
	if (!row_is(&bt_rows[b->c->form.row], "enter leave"))
		return;
	b->fixed |= BIT(X86_RBP);
	b->c->state.gpr[X86_RBP] =
		DATA + 0x100 + random_below(b->r, DATA_WRITABLE - 0x200);
	if (random_chance(b->r, 5))
		b->c->state.gpr[X86_RBP] = pick_target(b->r, 8);
}

/* Quotients that fit, half of the time. */
static void set_dividend(struct builder *b)
{
	u64 *gpr = b->c->state.gpr;

	switch (random_below(b->r, 4)) {
	case 0:
		gpr[X86_RDX] = 0;
		gpr[X86_RAX] &= ~0xff00ull;
		break;
	case 1: /* a sign, in each width */
		gpr[X86_RAX] = (u64)(s64)(s8)gpr[X86_RAX];
		gpr[X86_RDX] = gpr[X86_RAX] >> 63 ? ~0ull : 0;
		break;
	case 2:
		gpr[X86_RDX] &= 0xff;
		break;
	default:
		break;
	}
}

static void set_pointer(struct builder *b, u8 reg, u64 val)
{
	b->c->uses_gs = false;
	fix_address(b, reg, val);
}

void prepare_implicit(struct builder *b)
{
	const struct bt_row *row = &bt_rows[b->c->form.row];

	if (row_is(row, "maskmovq maskmovdqu vmaskmovdqu"))
		set_pointer(b, X86_RDI, pick_target(b->r, 16));
	else if (row->attrs & ROW_SIMD)
		return;
	else if (row_is_string(row))
		set_string(b);
	else if (row_is_stack(row))
		set_stack(b);
	else if (row_is(row, "loop loope loopne jcxz"))
		fix_address(b, X86_RCX, random_below(b->r, 3));
	else if (row_is(row, "div idiv"))
		set_dividend(b);
	else if (row_is(row, "xlat"))
		set_pointer(b, X86_RBX,
			    pick_target(b->r, 1) -
				    (u8)b->c->state.gpr[X86_RAX]);
	else if (strstr(row->operands, "CL"))
		set_count(b);
}

/* ---- x87 and SIMD ------------------------------------------------------ */

static void random_x87(struct builder *b, struct xsave_legacy *x)
{
	x->fcw = 0x37f;
	if (random_chance(b->r, 50)) /* precision and rounding control */
		x->fcw = 0x7f | (random_u64(b->r) & 0xf00);
	if (random_chance(b->r, 10))
		x->fcw ^= random_u64(b->r) & 0x3f;
	x->fsw = random_u64(b->r) & 0x7f00; /* C0..C3, TOP */
	if (random_chance(b->r, 20))
		x->fsw |= random_u64(b->r) & 0x7f;
	if (x->fsw & ~x->fcw & 0x3f) /* [1] 8.1.3.3: ES and B */
		x->fsw |= 0x8080;
	x->ftw = random_chance(b->r, 70)   ? 0xff
		 : random_chance(b->r, 50) ? 0
					   : (u8)random_u64(b->r);
	for (unsigned k = 0; k < 8; k++)
		random_st(b->r, x->st[k]);
}

static u32 random_mxcsr(struct builder *b)
{
	u32 mxcsr = MXCSR_RESET;

	if (random_chance(b->r, 30)) /* rounding, FTZ, DAZ, flags */
		mxcsr |= random_u64(b->r) & 0xe07f;
	if (random_chance(b->r, 7))
		mxcsr ^= random_u64(b->r) & 0x1f80;
	return mxcsr;
}

/* Index vectors: near the base. */
static void set_indices(struct builder *b, u8 *xsave)
{
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)xsave;
	unsigned n = b->choice.address.index;
	bool wide = bt_rows[b->c->form.row].opcode & 1;
	u8 index[32];

	for (unsigned k = 0; k < 32; k += wide ? 8 : 4) {
		s64 val = (s64)random_below(b->r, 0x100) - 0x80;

		memcpy(index + k, &val, wide ? 8 : 4);
	}
	memcpy(x->xmm[n], index, 16);
	memcpy(xsave + XSAVE_YMM + 16 * n, index + 16, 16);
}

void prepare_fpu(struct builder *b)
{
	const u32 any = ROW_SIMD | ROW_X87 | ROW_MMX | ROW_SSE | ROW_AVX;
	u8 *image = b->c->state.xsave;
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)image;

	if (!(bt_rows[b->c->form.row].attrs & any)) {
		if (x->mxcsr == MXCSR_RESET)
			return; /* the last case's will do */
	}
	memset(image, 0, XSAVE_BYTES);
	*xsave_header(image) = XSAVE_MASK;
	x->mxcsr_mask = 0xffff;
	x->mxcsr = random_mxcsr(b);
	random_x87(b, x);
	for (unsigned k = 0; k < 16; k++) {
		random_floats(b->r, x->xmm[k], 16);
		random_floats(b->r, image + XSAVE_YMM + 16 * k, 16);
	}
	if (b->c->form.code == W32) { /* eight registers */
		memset(x->xmm[8], 0, 128);
		memset(image + XSAVE_YMM + 128, 0, 128);
	}
	if (bt_rows[b->c->form.row].attrs & ROW_VSIB)
		set_indices(b, image);
}

/* ---- memory ------------------------------------------------------------ */

static void poke(struct builder *b, u64 va, const void *src, unsigned len)
{
	const u8 *bytes = src;

	for (unsigned k = 0; k < len; k++) {
		u64 off = va + k - DATA;

		if (off >= DATA_BYTES)
			continue;
		interpreter_memory(b->g->interpreter)[off] = bytes[k];
		native_memory()[off] = bytes[k];
	}
}

void generate_memory(struct generator *g)
{
	u8 *mine = interpreter_memory(g->interpreter);

	for (unsigned k = 0; k < DATA_BYTES; k += 8) {
		u64 val = random_value(&g->random);

		memcpy(mine + k, &val, 8);
	}
	memcpy(native_memory(), mine, DATA_BYTES);
}

/* Somewhere a RET, a CALL or a JMP may go. */
static u64 random_code(struct builder *b)
{
	if (random_chance(b->r, 60))
		return CODE + random_below(b->r, 0x700);
	if (random_chance(b->r, 50))
		return WINDOW + random_below(b->r, 0x8000);
	return random_chance(b->r, 50) ? 0x0000900000000000 : WINDOW;
}

static void poke_code_pointer(struct builder *b)
{
	const struct bt_row *row = &bt_rows[b->c->form.row];
	u64 ip = random_code(b);

	/* What comes first, a bad target or a stack that cannot be written,
	 * differs among CPUs. */
	if (row_is(row, "call") &&
	    b->c->state.gpr[X86_RSP] - DATA - 8 > DATA_WRITABLE - 16)
		ip = CODE;
	if (b->c->form.code == W32)
		ip = (u32)ip;
	if (row_is(row, "ret"))
		poke(b, b->c->state.gpr[X86_RSP], &ip, 8);
	else if (b->c->form.mem)
		poke(b, b->c->target + b->c->state.gs_base, &ip, 8);
	else if (!(b->fixed >> b->choice.rm & 1))
		b->c->state.gpr[b->choice.rm] = ip;
}

/* CMPXCHG finds what it expects half of the time. */
static void match_accumulator(struct builder *b)
{
	u64 *gpr = b->c->state.gpr, off = b->c->target - DATA, val[2] = {0};
	bool wide = operand_bytes(b->c) == 16;

	if (b->c->uses_gs || !b->c->form.mem || off > DATA_BYTES - 16)
		return;
	memcpy(val, interpreter_memory(b->g->interpreter) + off, 16);
	if (b->fixed & (BIT(X86_RAX) | BIT(X86_RDX)))
		return;
	if (!row_is(&bt_rows[b->c->form.row], "cmpxchg8b")) {
		gpr[X86_RAX] = val[0];
		return;
	}
	gpr[X86_RAX] = wide ? val[0] : (u32)val[0];
	gpr[X86_RDX] = wide ? val[1] : val[0] >> 32;
}

/* What is loaded into a segment register: Linux's selectors, their
 * neighbours, anything. */
static void prepare_selector(struct builder *b, u64 *va, u64 *val)
{
	const struct bt_row *row = &bt_rows[b->c->form.row];

	if (random_chance(b->r, 90))
		*val = (random_u64(b->r) & ~0xffffull) |
		       random_below(b->r, 18 * 8);
	if (random_chance(b->r, 40))
		*val = (*val & ~0xffffull) | 0x2b;
	/* Its limit is the number of the CPU that runs this. */
	if (row_is(row, "lsl") && (*val & 0xfff8) == 0x78)
		*val ^= 8;
	if (row_is(row, "pop"))
		*va = b->c->state.gpr[X86_RSP];
	else if (row_is(row, "les lds lss lfs lgs"))
		*va += operand_bytes(b->c);
	else if (!b->c->form.mem && !(b->fixed >> b->choice.rm & 1))
		b->c->state.gpr[b->choice.rm] =
			b->c->form.code == W64 ? *val : (u32)*val;
}

/* Reserved bits now and then, but bit 17, which is AMD's misaligned mode and
 * not offered to guests. */
static void prepare_mxcsr(struct builder *b, u8 *bytes)
{
	u32 val = (u32)random_u64(b->r) & 0xffff;

	if (random_chance(b->r, 20))
		val |= (u32)(BIT(16 + random_below(b->r, 16)) & ~BIT(17));
	memcpy(bytes, &val, 4);
}

void prepare_memory(struct builder *b)
{
	const struct bt_row *row = &bt_rows[b->c->form.row];
	u64 va = b->c->target + b->c->state.gs_base, val;
	u8 bytes[64];

	if (row->attrs & (ROW_SIMD | ROW_AVX | ROW_SSE)) {
		random_floats(b->r, bytes, 32);
		if (row->attrs & ROW_X87 && row->mem_size == 10)
			random_st(b->r, bytes);
		if (row_is(row, "ldmxcsr vldmxcsr"))
			prepare_mxcsr(b, bytes);
		poke(b, va, bytes, 32);
		return;
	}
	val = random_value(b->r);
	if (row_is(row, "pop lar lsl verr verw les lds lss lfs lgs") ||
	    strstr(row->operands, "Sw,"))
		prepare_selector(b, &va, &val);
	if (row_is(row, "popf")) {
		va = b->c->state.gpr[X86_RSP];
		val &= ~(u64)(FLAG_TF | FLAG_AC);
	}
	poke(b, va, &val, 8);
	if (row_is(row, "call jmp ret") && row->operands[0] != 'J')
		poke_code_pointer(b);
	if (row_is(row, "cmpxchg cmpxchg8b") && random_chance(b->r, 50))
		match_accumulator(b);
}
