/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: exchanges with memory, and compare and exchange.
 *
 * References: [1] Intel SDM vol. 2, XCHG, XADD, CMPXCHG, CMPXCHG8B/16B;
 *                 vol. 3A 9.1 (locked atomic operations).
 *
 * On plain RAM the host's instruction, locked where the guest's is, does all
 * of it. Elsewhere bt_rmw_begin() with `locked` keeps the other vCPUs out.
 */
#include "engine/bt/ops.h"

#include "bt_ops.h"

/* ---- XCHG: locked with or without the prefix --------------------------- */

#define DEFINE_XCHG(bits, unused)                                              \
	static inline void xchg_mem##bits(struct bt_cpu *c,                    \
					  const struct bt_insn *i)             \
	{                                                                      \
		gva_t va = bt_operand(c, i, bits / 8, true);                   \
		u##bits##_any *p =                                             \
			bt_rmw_begin(c, va, bits / 8, true, &c->scratch);      \
		u##bits val = bt_get##bits(c, i->a);                           \
                                                                               \
		asm volatile("xchg %[v], %[m]" : [v] "+r"(val), [m] "+m"(*p)); \
		bt_set##bits(c, i->a, val);                                    \
		bt_rmw_end(c, va, bits / 8, true, p, &c->scratch);             \
	}                                                                      \
	OP(xchg_mr##bits)                                                      \
	{                                                                      \
		xchg_mem##bits(c, i);                                          \
	}                                                                      \
	OP(xchg_lr##bits)                                                      \
	{                                                                      \
		xchg_mem##bits(c, i);                                          \
	}

FOR_ALL(DEFINE_XCHG, )

/* ---- XADD -------------------------------------------------------------- */

#define XADD(prefix, dest)                                \
	asm volatile(prefix "xadd %[s], %[d]" SAVE_FLAGS  \
		     : [s] "+r"(s), [d] dest, "=a"(flags) \
		     :                                    \
		     : "cc")

#define DEFINE_XADD(bits, unused)                                           \
	static inline void xadd_mem##bits(                                  \
		struct bt_cpu *c, const struct bt_insn *i, bool locked)     \
	{                                                                   \
		gva_t va = bt_operand(c, i, bits / 8, true);                \
		u##bits##_any *p =                                          \
			bt_rmw_begin(c, va, bits / 8, locked, &c->scratch); \
		u##bits s = bt_get##bits(c, i->a);                          \
		u32 flags;                                                  \
                                                                            \
		if (locked)                                                 \
			XADD("lock; ", "+m"(*p));                           \
		else                                                        \
			XADD("", "+m"(*p));                                 \
		c->aflags = (u16)flags;                                     \
		bt_set##bits(c, i->a, s);                                   \
		bt_rmw_end(c, va, bits / 8, locked, p, &c->scratch);        \
	}                                                                   \
	OP(xadd_rr##bits)                                                   \
	{                                                                   \
		u##bits s = bt_get##bits(c, i->b);                          \
		u##bits d = bt_get##bits(c, i->a);                          \
		u32 flags;                                                  \
                                                                            \
		XADD("", "+r"(d));                                          \
		c->aflags = (u16)flags;                                     \
		bt_set##bits(c, i->b, s);                                   \
		bt_set##bits(c, i->a, d); /* wins if both are one */        \
	}                                                                   \
	OP(xadd_mr##bits)                                                   \
	{                                                                   \
		xadd_mem##bits(c, i, false);                                \
	}                                                                   \
	OP(xadd_lr##bits)                                                   \
	{                                                                   \
		xadd_mem##bits(c, i, true);                                 \
	}

FOR_ALL(DEFINE_XADD, )

/* ---- CMPXCHG ----------------------------------------------------------- */

/*
 * All of RAX takes part: if the comparison holds the host leaves it alone, else
 * it is written in the operation's width, and so is the guest's.
 */
#define CMPXCHG(prefix, dest)                                              \
	asm volatile(prefix                                                \
		     "cmpxchg %[s], %[d]\n\tmovq %%rax, %[old]" SAVE_FLAGS \
		     : [d] dest, "+a"(rax), [old] "=r"(old)                \
		     : [s] "r"(s)                                          \
		     : "cc")

#define DEFINE_CMPXCHG(bits, unused)                                        \
	static inline void cmpxchg_mem##bits(                               \
		struct bt_cpu *c, const struct bt_insn *i, bool locked)     \
	{                                                                   \
		gva_t va = bt_operand(c, i, bits / 8, true);                \
		u##bits##_any *p =                                          \
			bt_rmw_begin(c, va, bits / 8, locked, &c->scratch); \
		u##bits s = bt_get##bits(c, i->a);                          \
		u64 rax = c->gpr[X86_RAX], old;                             \
                                                                            \
		if (locked)                                                 \
			CMPXCHG("lock; ", "+m"(*p));                        \
		else                                                        \
			CMPXCHG("", "+m"(*p));                              \
		c->aflags = (u16)rax;                                       \
		c->gpr[X86_RAX] = old;                                      \
		bt_rmw_end(c, va, bits / 8, locked, p, &c->scratch);        \
	}                                                                   \
	OP(cmpxchg_mr##bits)                                                \
	{                                                                   \
		cmpxchg_mem##bits(c, i, false);                             \
	}                                                                   \
	OP(cmpxchg_lr##bits)                                                \
	{                                                                   \
		cmpxchg_mem##bits(c, i, true);                              \
	}

FOR_ALL(DEFINE_CMPXCHG, )

/* The destination, too, is handed over whole. If it is rAX, the comparison
 * holds and the last write wins. */
#define DEFINE_CMPXCHG_REG(bits, unused)                               \
	OP(cmpxchg_rr##bits)                                           \
	{                                                              \
		u64 rax = c->gpr[X86_RAX], d = bt_get64(c, i->a), old; \
		u64 s = bt_get##bits(c, i->b);                         \
                                                                       \
		asm("cmpxchg " NARROW##bits "[s], " NARROW##bits       \
		    "[d]\n\tmovq %%rax, %[old]" SAVE_FLAGS             \
		    : [d] "+r"(d), "+a"(rax), [old] "=&r"(old)         \
		    : [s] "r"(s)                                       \
		    : "cc");                                           \
		c->aflags = (u16)rax;                                  \
		c->gpr[X86_RAX] = old;                                 \
		bt_set64(c, i->a, d);                                  \
	}

FOR_V(DEFINE_CMPXCHG_REG, )

OP(cmpxchg_rr8)
{
	u8 d = bt_get8(c, i->a), s = bt_get8(c, i->b);
	u64 rax = c->gpr[X86_RAX], old;

	CMPXCHG("", "+r"(d));
	c->aflags = (u16)rax;
	c->gpr[X86_RAX] = old;
	bt_set8(c, i->a, d);
}

/* ---- CMPXCHG8B, CMPXCHG16B --------------------------------------------- */

static void set_zero_flag(struct bt_cpu *c, bool equal)
{
	c->aflags = (c->aflags & (u16)~AF_ZF) | (equal ? AF_ZF : 0);
}

#define CMPXCHG_PAIR(prefix)                                      \
	asm volatile(prefix " %[m]"                               \
		     : [m] "+m"(*p), "+a"(c->gpr[X86_RAX]),       \
		       "+d"(c->gpr[X86_RDX]), "=@ccz"(equal)      \
		     : "b"(c->gpr[X86_RBX]), "c"(c->gpr[X86_RCX]) \
		     : "memory")

static void exchange_8_bytes(struct bt_cpu *c, const struct bt_insn *i,
			     bool locked)
{
	gva_t va = bt_operand(c, i, 8, true);
	u64_any *p = bt_rmw_begin(c, va, 8, locked, &c->scratch);
	bool equal;

	if (locked)
		CMPXCHG_PAIR("lock; cmpxchg8b");
	else
		CMPXCHG_PAIR("cmpxchg8b");
	set_zero_flag(c, equal);
	bt_rmw_end(c, va, 8, locked, p, &c->scratch);
}

/*
 * 16 bytes of something that is not plain RAM (a page that holds code, most
 * likely). They are in one page; bt_rmw_begin_slow() translates the first eight
 * and holds the exclusive section. Returns false if they turn out to be RAM.
 */
static bool exchange_16_slow(struct bt_cpu *c, gva_t va)
{
	u64 *lo = bt_rmw_begin_slow(c, va, 8, true, &c->scratch), hi, old;
	bool equal;

	if (lo != &c->scratch)
		return false;
	hi = bt_phys_load(c, c->rmw.pa[0] + 8, 8);
	old = *lo;
	equal = old == c->gpr[X86_RAX] && hi == c->gpr[X86_RDX];
	if (equal) {
		*lo = c->gpr[X86_RBX];
		bt_phys_store(c, c->rmw.pa[0] + 8, 8, c->gpr[X86_RCX]);
	} else {
		c->gpr[X86_RAX] = old;
		c->gpr[X86_RDX] = hi;
	}
	set_zero_flag(c, equal);
	bt_rmw_end_slow(c, 8, *lo);
	return true;
}

/* [1] CMPXCHG16B: #GP(0) if not aligned. Locked either way: nobody can tell.
 */
static void exchange_16_bytes(struct bt_cpu *c, const struct bt_insn *i)
{
	gva_t va = bt_operand(c, i, 16, true);
	bool equal;

	if (va & 15)
		bt_gp(c);
	for (;;) {
		unsigned __int128 *p = bt_wptr(c, va, 16);

		if (!p)
			p = bt_ptr_slow(c, va, 16, true);
		if (likely(p != NULL)) {
			CMPXCHG_PAIR("lock; cmpxchg16b");
			set_zero_flag(c, equal);
			return;
		}
		if (exchange_16_slow(c, va))
			return;
	}
}

OP(cmpxchg8b_m)
{
	if (i->rexw)
		exchange_16_bytes(c, i);
	else
		exchange_8_bytes(c, i, false);
}

OP(cmpxchg8b_l)
{
	if (i->rexw)
		exchange_16_bytes(c, i);
	else
		exchange_8_bytes(c, i, true);
}
