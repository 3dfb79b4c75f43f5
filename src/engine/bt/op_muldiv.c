/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: multiplication and division.
 *
 * References: [1] Intel SDM vol. 2A, MUL, IMUL, DIV, IDIV.
 *
 * What the manual calls undefined of the flags is on some CPUs "as before":
 * the guest's flags are loaded first.
 */
#include "engine/bt/ops.h"

#include "bt_ops.h"

/* ---- MUL and IMUL into rDX:rAX; 8 bits into AX ------------------------- */

#define DEFINE_WIDE_MUL(bits, name, op)                                 \
	static inline void name##_by##bits(struct bt_cpu *c, u##bits s) \
	{                                                               \
		u64 lo = c->gpr[X86_RAX], hi;                           \
		u32 flags = c->aflags;                                  \
                                                                        \
		asm(LOAD_FLAGS "movq %[lo], %%rax\n\t" op " %[s]\n\t"   \
			       "movq %%rax, %[lo]" SAVE_FLAGS           \
		    : [lo] "+&r"(lo), "=&d"(hi), "+&a"(flags)           \
		    : [s] "r"(s)                                        \
		    : "cc");                                            \
		c->aflags = (u16)flags;                                 \
		bt_set##bits(c, BT_REG(X86_RAX), (u##bits)lo);          \
		bt_set##bits(c, BT_REG(X86_RDX), (u##bits)hi);          \
	}

#define DEFINE_BYTE_MUL(name, op)                                     \
	static inline void name##_by8(struct bt_cpu *c, u8 s)         \
	{                                                             \
		u64 lo = c->gpr[X86_RAX];                             \
		u32 flags = c->aflags;                                \
                                                                      \
		asm(LOAD_FLAGS "movq %[lo], %%rax\n\t" op " %[s]\n\t" \
			       "movq %%rax, %[lo]" SAVE_FLAGS         \
		    : [lo] "+&r"(lo), "+&a"(flags)                    \
		    : [s] "r"(s)                                      \
		    : "cc");                                          \
		c->aflags = (u16)flags;                               \
		bt_set16(c, BT_REG(X86_RAX), (u16)lo);                \
	}

DEFINE_BYTE_MUL(mul, "mul")
DEFINE_BYTE_MUL(imul1, "imul")
FOR_V(DEFINE_WIDE_MUL, mul, "mul")
FOR_V(DEFINE_WIDE_MUL, imul1, "imul")

/* ---- DIV and IDIV ------------------------------------------------------ */

/* Does hi:lo / s exceed what `bits` signed bits hold? hi is sign-extended. */
static bool signed_overflow(u64 hi, u64 lo, s64 s, unsigned bits)
{
	u64 limit = 1ull << (bits - 1), divisor = s < 0 ? 0 - (u64)s : (u64)s;
	bool negative = (s64)hi < 0;
	u64 quotient, rest;

	if (bits < 64) {
		lo = hi << bits | (lo & ((1ull << bits) - 1));
		hi = negative ? ~0ull : 0;
	}
	if (negative) {
		lo = 0 - lo;
		hi = ~hi + (lo == 0);
	}
	if (hi >= divisor)
		return true;
	asm("divq %[s]"
	    : "=a"(quotient), "=d"(rest)
	    : "0"(lo), "1"(hi), [s] "r"(divisor)
	    : "cc");
	return negative != (s < 0) ? quotient > limit : quotient >= limit;
}

/* #DE for a quotient that does not fit. The usual IDIV has a dividend that was
 * just sign-extended, and then only 0 and -1 are dangerous. */
#define DEFINE_CHECKS(bits, type, upper)                                     \
	static inline void div_check##bits(struct bt_cpu *c, u##bits s)      \
	{                                                                    \
		if (unlikely(bt_get##bits(c, upper) >= s))                   \
			bt_raise(c, VEC_DE);                                 \
	}                                                                    \
	static inline void idiv_check##bits(struct bt_cpu *c, u##bits s)     \
	{                                                                    \
		type hi = (type)bt_get##bits(c, upper);                      \
		type lo = (type)bt_get##bits(c, BT_REG(X86_RAX));            \
                                                                             \
		if (likely(hi == (lo < 0 ? -1 : 0) && (u##bits)(s + 1) > 1)) \
			return;                                              \
		if (s == 0 ||                                                \
		    signed_overflow((u64)(s64)hi, (u64)lo, (type)s, bits))   \
			bt_raise(c, VEC_DE);                                 \
	}

DEFINE_CHECKS(8, s8, BT_REG(X86_RAX) + 1)
DEFINE_CHECKS(16, s16, BT_REG(X86_RDX))
DEFINE_CHECKS(32, s32, BT_REG(X86_RDX))
DEFINE_CHECKS(64, s64, BT_REG(X86_RDX))

#define DEFINE_WIDE_DIV(bits, op)                                      \
	static inline void op##_by##bits(struct bt_cpu *c, u##bits s)  \
	{                                                              \
		u64 lo = c->gpr[X86_RAX], hi = c->gpr[X86_RDX];        \
		u32 flags = c->aflags;                                 \
                                                                       \
		op##_check##bits(c, s);                                \
		asm(LOAD_FLAGS "movq %[lo], %%rax\n\t" #op " %[s]\n\t" \
			       "movq %%rax, %[lo]" SAVE_FLAGS          \
		    : [lo] "+&r"(lo), "+&d"(hi), "+&a"(flags)          \
		    : [s] "r"(s)                                       \
		    : "cc");                                           \
		c->aflags = (u16)flags;                                \
		bt_set##bits(c, BT_REG(X86_RAX), (u##bits)lo);         \
		bt_set##bits(c, BT_REG(X86_RDX), (u##bits)hi);         \
	}

/* AX by a byte: quotient to AL, rest to AH. */
#define DEFINE_BYTE_DIV(op)                                            \
	static inline void op##_by8(struct bt_cpu *c, u8 s)            \
	{                                                              \
		u64 lo = c->gpr[X86_RAX];                              \
		u32 flags = c->aflags;                                 \
                                                                       \
		op##_check8(c, s);                                     \
		asm(LOAD_FLAGS "movq %[lo], %%rax\n\t" #op " %[s]\n\t" \
			       "movq %%rax, %[lo]" SAVE_FLAGS          \
		    : [lo] "+&r"(lo), "+&a"(flags)                     \
		    : [s] "r"(s)                                       \
		    : "cc");                                           \
		c->aflags = (u16)flags;                                \
		bt_set16(c, BT_REG(X86_RAX), (u16)lo);                 \
	}

DEFINE_BYTE_DIV(div)
DEFINE_BYTE_DIV(idiv)
FOR_V(DEFINE_WIDE_DIV, div)
FOR_V(DEFINE_WIDE_DIV, idiv)

#define DEFINE_FORMS(bits, op)                           \
	OP(op##_r##bits)                                 \
	{                                                \
		op##_by##bits(c, bt_get##bits(c, i->a)); \
	}                                                \
	OP(op##_m##bits)                                 \
	{                                                \
		op##_by##bits(c, bt_get_rm##bits(c, i)); \
	}

FOR_ALL(DEFINE_FORMS, mul)
FOR_ALL(DEFINE_FORMS, imul1)
FOR_ALL(DEFINE_FORMS, div)
FOR_ALL(DEFINE_FORMS, idiv)

/* ---- IMUL with two or three operands ----------------------------------- */

#define DEFINE_IMUL(bits, unused)                                            \
	static inline void imul_to##bits(struct bt_cpu *c,                   \
					 const struct bt_insn *i, u##bits s, \
					 u##bits d)                          \
	{                                                                    \
		u32 flags = c->aflags;                                       \
                                                                             \
		asm(LOAD_FLAGS "imul %[s], %[d]" SAVE_FLAGS                  \
		    : [d] "+r"(d), "+a"(flags)                               \
		    : [s] "r"(s)                                             \
		    : "cc");                                                 \
		c->aflags = (u16)flags;                                      \
		bt_set##bits(c, i->a, d);                                    \
	}                                                                    \
	OP(imul_rr##bits)                                                    \
	{                                                                    \
		imul_to##bits(c, i, bt_get##bits(c, i->b),                   \
			      bt_get##bits(c, i->a));                        \
	}                                                                    \
	OP(imul_rm##bits)                                                    \
	{                                                                    \
		u##bits s = bt_get_rm##bits(c, i);                           \
                                                                             \
		imul_to##bits(c, i, s, bt_get##bits(c, i->a));               \
	}                                                                    \
	OP(imul_rri##bits)                                                   \
	{                                                                    \
		imul_to##bits(c, i, (u##bits)i->imm, bt_get##bits(c, i->b)); \
	}                                                                    \
	OP(imul_rmi##bits)                                                   \
	{                                                                    \
		imul_to##bits(c, i, (u##bits)i->imm, bt_get_rm##bits(c, i)); \
	}

FOR_V(DEFINE_IMUL, )
