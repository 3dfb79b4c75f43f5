/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: addition, subtraction, logic and comparison.
 *
 * References: [1] Intel SDM vol. 2A-2D, the instructions' pages.
 *
 * The host executes the same instruction and its flags are kept, undefined
 * ones included.
 */
#include "engine/bt/ops.h"

#include "bt_ops.h"

/* d = d op s; `in` prepares the flags that are input. */
#define DEFINE_KERNELS(bits, op, in, ax)                                      \
	static inline u##bits op##_reg##bits(struct bt_cpu *c, u##bits d,     \
					     u##bits s)                       \
	{                                                                     \
		u32 flags = c->aflags;                                        \
                                                                              \
		asm(in #op " %[s], %[d]" SAVE_FLAGS                           \
		    : [d] "+r"(d), ax(flags)                                  \
		    : [s] "r"(s)                                              \
		    : "cc");                                                  \
		c->aflags = (u16)flags;                                       \
		return d;                                                     \
	}                                                                     \
	static inline void op##_mem##bits(struct bt_cpu *c,                   \
					  const struct bt_insn *i, u##bits s, \
					  bool locked)                        \
	{                                                                     \
		gva_t va = bt_operand(c, i, bits / 8, true);                  \
		u##bits##_any *p =                                            \
			bt_rmw_begin(c, va, bits / 8, locked, &c->scratch);   \
		u32 flags = c->aflags;                                        \
                                                                              \
		if (locked)                                                   \
			asm volatile(in "lock; " #op " %[s], %[d]" SAVE_FLAGS \
				     : [d] "+m"(*p), ax(flags)                \
				     : [s] "r"(s)                             \
				     : "cc");                                 \
		else                                                          \
			asm volatile(in #op " %[s], %[d]" SAVE_FLAGS          \
				     : [d] "+m"(*p), ax(flags)                \
				     : [s] "r"(s)                             \
				     : "cc");                                 \
		c->aflags = (u16)flags;                                       \
		bt_rmw_end(c, va, bits / 8, locked, p, &c->scratch);          \
	}

#define DEFINE_FORMS(bits, op)                                             \
	OP(op##_rr##bits)                                                  \
	{                                                                  \
		u##bits d = op##_reg##bits(c, bt_get##bits(c, i->a),       \
					   bt_get##bits(c, i->b));         \
                                                                           \
		bt_set##bits(c, i->a, d);                                  \
	}                                                                  \
	OP(op##_ri##bits)                                                  \
	{                                                                  \
		u##bits d = op##_reg##bits(c, bt_get##bits(c, i->a),       \
					   (u##bits)i->imm);               \
                                                                           \
		bt_set##bits(c, i->a, d);                                  \
	}                                                                  \
	OP(op##_rm##bits)                                                  \
	{                                                                  \
		u##bits s = bt_get_rm##bits(c, i);                         \
                                                                           \
		bt_set##bits(c, i->a,                                      \
			     op##_reg##bits(c, bt_get##bits(c, i->a), s)); \
	}                                                                  \
	OP(op##_mr##bits)                                                  \
	{                                                                  \
		op##_mem##bits(c, i, bt_get##bits(c, i->a), false);        \
	}                                                                  \
	OP(op##_mi##bits)                                                  \
	{                                                                  \
		op##_mem##bits(c, i, (u##bits)i->imm, false);              \
	}                                                                  \
	OP(op##_lr##bits)                                                  \
	{                                                                  \
		op##_mem##bits(c, i, bt_get##bits(c, i->a), true);         \
	}                                                                  \
	OP(op##_li##bits)                                                  \
	{                                                                  \
		op##_mem##bits(c, i, (u##bits)i->imm, true);               \
	}

FOR_ALL(DEFINE_KERNELS, add, "", "=a")
FOR_ALL(DEFINE_KERNELS, or, "", "=a")
FOR_ALL(DEFINE_KERNELS, adc, LOAD_CF, "+a")
FOR_ALL(DEFINE_KERNELS, sbb, LOAD_CF, "+a")
FOR_ALL(DEFINE_KERNELS, and, "", "=a")
FOR_ALL(DEFINE_KERNELS, sub, "", "=a")
FOR_ALL(DEFINE_KERNELS, xor, "", "=a")

FOR_ALL(DEFINE_FORMS, add)
FOR_ALL(DEFINE_FORMS, or)
FOR_ALL(DEFINE_FORMS, adc)
FOR_ALL(DEFINE_FORMS, sbb)
FOR_ALL(DEFINE_FORMS, and)
FOR_ALL(DEFINE_FORMS, sub)
FOR_ALL(DEFINE_FORMS, xor)

/* CMP and TEST: flags only. */
#define DEFINE_COMPARE_FORMS(bits, op)                                       \
	static inline void op##_flags##bits(struct bt_cpu *c, u##bits d,     \
					    u##bits s)                       \
	{                                                                    \
		u32 flags;                                                   \
                                                                             \
		asm(#op " %[s], %[d]" SAVE_FLAGS                             \
		    : "=a"(flags)                                            \
		    : [d] "r"(d), [s] "r"(s)                                 \
		    : "cc");                                                 \
		c->aflags = (u16)flags;                                      \
	}                                                                    \
	OP(op##_rr##bits)                                                    \
	{                                                                    \
		op##_flags##bits(c, bt_get##bits(c, i->a),                   \
				 bt_get##bits(c, i->b));                     \
	}                                                                    \
	OP(op##_ri##bits)                                                    \
	{                                                                    \
		op##_flags##bits(c, bt_get##bits(c, i->a), (u##bits)i->imm); \
	}                                                                    \
	OP(op##_mr##bits)                                                    \
	{                                                                    \
		u##bits d = bt_get_rm##bits(c, i);                           \
                                                                             \
		op##_flags##bits(c, d, bt_get##bits(c, i->a));               \
	}                                                                    \
	OP(op##_mi##bits)                                                    \
	{                                                                    \
		op##_flags##bits(c, bt_get_rm##bits(c, i), (u##bits)i->imm); \
	}

FOR_ALL(DEFINE_COMPARE_FORMS, cmp)
FOR_ALL(DEFINE_COMPARE_FORMS, test)

#define DEFINE_CMP_RM(bits, unused)                           \
	OP(cmp_rm##bits)                                      \
	{                                                     \
		u##bits s = bt_get_rm##bits(c, i);            \
                                                              \
		cmp_flags##bits(c, bt_get##bits(c, i->a), s); \
	}

FOR_ALL(DEFINE_CMP_RM, )

/* INC, DEC (CF stays: it is loaded before), NEG, NOT (flags stay). */
#define DEFINE_UNARY(bits, op, in, out)                                       \
	static inline u##bits op##_reg##bits(struct bt_cpu *c, u##bits d)     \
	{                                                                     \
		u32 flags = c->aflags;                                        \
                                                                              \
		asm(in #op " %[d]" out : [d] "+r"(d), "+a"(flags) : : "cc");  \
		c->aflags = (u16)flags;                                       \
		return d;                                                     \
	}                                                                     \
	static inline void op##_mem##bits(                                    \
		struct bt_cpu *c, const struct bt_insn *i, bool locked)       \
	{                                                                     \
		gva_t va = bt_operand(c, i, bits / 8, true);                  \
		u##bits##_any *p =                                            \
			bt_rmw_begin(c, va, bits / 8, locked, &c->scratch);   \
		u32 flags = c->aflags;                                        \
                                                                              \
		if (locked)                                                   \
			asm volatile(in "lock; " #op SUFFIX##bits " %[d]" out \
				     : [d] "+m"(*p), "+a"(flags)              \
				     :                                        \
				     : "cc");                                 \
		else                                                          \
			asm volatile(in #op SUFFIX##bits " %[d]" out          \
				     : [d] "+m"(*p), "+a"(flags)              \
				     :                                        \
				     : "cc");                                 \
		c->aflags = (u16)flags;                                       \
		bt_rmw_end(c, va, bits / 8, locked, p, &c->scratch);          \
	}                                                                     \
	OP(op##_r##bits)                                                      \
	{                                                                     \
		bt_set##bits(c, i->a,                                         \
			     op##_reg##bits(c, bt_get##bits(c, i->a)));       \
	}                                                                     \
	OP(op##_m##bits)                                                      \
	{                                                                     \
		op##_mem##bits(c, i, false);                                  \
	}                                                                     \
	OP(op##_l##bits)                                                      \
	{                                                                     \
		op##_mem##bits(c, i, true);                                   \
	}

FOR_ALL(DEFINE_UNARY, inc, LOAD_CF, SAVE_FLAGS)
FOR_ALL(DEFINE_UNARY, dec, LOAD_CF, SAVE_FLAGS)
FOR_ALL(DEFINE_UNARY, neg, "", SAVE_FLAGS)
FOR_ALL(DEFINE_UNARY, not, "", "")
