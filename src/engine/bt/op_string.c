/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: MOVS, CMPS, STOS, LODS, SCAS.
 *
 * References: [1] Intel SDM vol. 2B, the instructions' pages.
 *
 * Spans of plain RAM are done by the host's own repeated instruction. Units,
 * not bytes, are moved, so that overlapping operands give what they give on
 * the CPU itself. The steps: op_string.h.
 */
#include "engine/bt/op_string.h"

#include "bt_ops.h"

/* The host's address of a span; NULL: not plain RAM. May raise. */
static void *side_host(struct bt_cpu *c, const struct bt_insn *i, struct side s,
		       u64 units)
{
	gva_t va = side_address(c, i, s);
	unsigned size = (unsigned)(units << i->width);
	void *p = bt_tlb_hit(c, va, size, s.write);

	return p ? p : bt_ptr_slow(c, va, size, s.write);
}

/* ---- the host's repeated instructions ---------------------------------- */

/* One asm statement per width: op names the four. */
#define BY_WIDTH(width, op) \
	switch (width) {    \
	case W8:            \
		op("b");    \
		break;      \
	case W16:           \
		op("w");    \
		break;      \
	case W32:           \
		op("l");    \
		break;      \
	default:            \
		op("q");    \
		break;      \
	}

static void host_movs(void *dst, const void *src, u64 units, unsigned width)
{
#define REP_MOVS(suffix)                                 \
	asm volatile("rep movs" suffix                   \
		     : "+D"(dst), "+S"(src), "+c"(units) \
		     :                                   \
		     : "memory")
	BY_WIDTH(width, REP_MOVS)
}

static void host_stos(void *dst, u64 val, u64 units, unsigned width)
{
#define REP_STOS(suffix)                      \
	asm volatile("rep stos" suffix        \
		     : "+D"(dst), "+c"(units) \
		     : "a"(val)               \
		     : "memory")
	BY_WIDTH(width, REP_STOS)
}

/* Both return the units that were not looked at and the flags of the last. */
static u64 host_scas(const void *dst, u64 val, u64 units,
		     const struct bt_insn *i, u16 *flags)
{
#define REPE_SCAS(suffix)                                \
	asm volatile("repe scas" suffix SAVE_FLAGS       \
		     : "+D"(dst), "+c"(units), "+a"(val) \
		     :                                   \
		     : "memory", "cc")
#define REPNE_SCAS(suffix)                               \
	asm volatile("repne scas" suffix SAVE_FLAGS      \
		     : "+D"(dst), "+c"(units), "+a"(val) \
		     :                                   \
		     : "memory", "cc")
	if (i->rep == REP_REPZ)
		BY_WIDTH(i->width, REPE_SCAS)
	else
		BY_WIDTH(i->width, REPNE_SCAS)
	*flags = (u16)val;
	return units;
}

static u64 host_cmps(const void *src, const void *dst, u64 units,
		     const struct bt_insn *i, u16 *flags)
{
	u32 ax;

#define REPE_CMPS(suffix)                                          \
	asm volatile("repe cmps" suffix SAVE_FLAGS                 \
		     : "+S"(src), "+D"(dst), "+c"(units), "=a"(ax) \
		     :                                             \
		     : "memory", "cc")
#define REPNE_CMPS(suffix)                                         \
	asm volatile("repne cmps" suffix SAVE_FLAGS                \
		     : "+S"(src), "+D"(dst), "+c"(units), "=a"(ax) \
		     :                                             \
		     : "memory", "cc")
	if (i->rep == REP_REPZ)
		BY_WIDTH(i->width, REPE_CMPS)
	else
		BY_WIDTH(i->width, REPNE_CMPS)
	*flags = (u16)ax;
	return units;
}

/* Flags of d - s in the operation's width. */
static u16 compare(u64 d, u64 s, unsigned width)
{
	u32 ax;

#define CMP(suffix, d_operand, s_operand)                        \
	asm("cmp" suffix " " s_operand ", " d_operand SAVE_FLAGS \
	    : "=a"(ax)                                           \
	    : [d] "r"(d), [s] "r"(s)                             \
	    : "cc")
	switch (width) {
	case W8:
		CMP("b", "%b[d]", "%b[s]");
		break;
	case W16:
		CMP("w", "%w[d]", "%w[s]");
		break;
	case W32:
		CMP("l", "%k[d]", "%k[s]");
		break;
	default:
		CMP("q", "%[d]", "%[s]");
		break;
	}
	return (u16)ax;
}

/* ---- steps ------------------------------------------------------------- */

static u64 movs_step(struct bt_cpu *c, const struct bt_insn *i, u64 units,
		     u16 *flags)
{
	struct side from = source(i), to = target(true);
	u64 span = side_span(c, i, to, side_span(c, i, from, units));
	const void *src = span ? side_host(c, i, from, span) : NULL;
	void *dst = src ? side_host(c, i, to, span) : NULL;

	if (dst) {
		host_movs(dst, src, span, i->width);
	} else {
		u64 val = bt_load(c, side_address(c, i, from), i->width);

		span = 1;
		bt_store(c, side_address(c, i, to), i->width, val);
	}
	side_advance(c, i, from, span);
	side_advance(c, i, to, span);
	return span;
}

static u64 stos_step(struct bt_cpu *c, const struct bt_insn *i, u64 units,
		     u16 *flags)
{
	struct side to = target(true);
	u64 span = side_span(c, i, to, units), val = c->gpr[X86_RAX];
	void *dst = span ? side_host(c, i, to, span) : NULL;

	if (dst) {
		host_stos(dst, val, span, i->width);
	} else {
		span = 1;
		bt_store(c, side_address(c, i, to), i->width, val);
	}
	side_advance(c, i, to, span);
	return span;
}

static u64 lods_step(struct bt_cpu *c, const struct bt_insn *i, u64 units,
		     u16 *flags)
{
	struct side from = source(i);
	u64 val = bt_load(c, side_address(c, i, from), i->width);

	bt_set_reg(c, BT_REG(X86_RAX), i->width, val);
	side_advance(c, i, from, 1);
	return 1;
}

static u64 scas_step(struct bt_cpu *c, const struct bt_insn *i, u64 units,
		     u16 *flags)
{
	struct side to = target(false);
	u64 span = i->rep ? side_span(c, i, to, units) : 0;
	u64 val = c->gpr[X86_RAX];
	const void *dst = span ? side_host(c, i, to, span) : NULL;

	if (dst) {
		span -= host_scas(dst, val, span, i, flags);
	} else {
		u64 found = bt_load(c, side_address(c, i, to), i->width);

		span = 1;
		*flags = compare(val, found, i->width);
	}
	side_advance(c, i, to, span);
	return span;
}

static u64 cmps_step(struct bt_cpu *c, const struct bt_insn *i, u64 units,
		     u16 *flags)
{
	struct side from = source(i), to = target(false);
	u64 span =
		i->rep ? side_span(c, i, to, side_span(c, i, from, units)) : 0;
	const void *src = span ? side_host(c, i, from, span) : NULL;
	const void *dst = src ? side_host(c, i, to, span) : NULL;

	if (dst) {
		span -= host_cmps(src, dst, span, i, flags);
	} else {
		u64 d = bt_load(c, side_address(c, i, from), i->width);
		u64 s = bt_load(c, side_address(c, i, to), i->width);

		span = 1;
		*flags = compare(d, s, i->width);
	}
	side_advance(c, i, from, span);
	side_advance(c, i, to, span);
	return span;
}

#define DEFINE_STRING(bits, name, compares)          \
	OP(name##bits)                               \
	{                                            \
		string(c, i, name##_step, compares); \
	}

FOR_ALL(DEFINE_STRING, movs, false)
FOR_ALL(DEFINE_STRING, stos, false)
FOR_ALL(DEFINE_STRING, lods, false)
FOR_ALL(DEFINE_STRING, scas, true)
FOR_ALL(DEFINE_STRING, cmps, true)
