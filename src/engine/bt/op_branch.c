/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: near control transfer and BOUND.
 *
 * References: [1] Intel SDM vol. 2A, Jcc, JMP, CALL, RET, LOOP, BOUND.
 *             [2] AMD APM vol. 3, the same.
 *
 * A prefix 66 on a near branch in 64-bit code is ignored, as Intel does; AMD
 * truncates the target to 16 bits ([2] 1.2.1), which nobody uses.
 *
 * The target is checked before anything changes.
 */
#include "engine/bt/ops.h"

#include "bt_ops.h"

/* A near target, wrapped and checked. */
static inline u64 near_target(struct bt_cpu *c, u64 ip)
{
	ip &= c->ip_mask;
	if (unlikely((c->seg_check >> X86_CS & 1) || !x86_is_canonical(ip)))
		bt_check_ip(c, ip);
	return ip;
}

/* [1] Jcc: with 16-bit operands the upper half of EIP is cleared. */
static inline u64 relative(struct bt_cpu *c, const struct bt_insn *i)
{
	u64 ip = c->gpr[17] + (u64)(s64)i->imm;

	return unlikely(i->width == W16) ? (u16)ip : ip;
}

#define DEFINE_JCC(name, test)                           \
	OP(j##name)                                      \
	{                                                \
		u32 f = c->aflags;                       \
                                                         \
		if (test)                                \
			bt_jump_near(c, relative(c, i)); \
	}

FOR_CONDITIONS(DEFINE_JCC)

OP(jmp)
{
	bt_jump_near(c, relative(c, i));
}

/* The counter is CX, ECX or RCX by address size ([1] LOOP). */
static inline void loop(struct bt_cpu *c, const struct bt_insn *i, bool again)
{
	u64 count = (c->gpr[X86_RCX] - 1) & bt_addr_mask[i->asize];

	if (count && again)
		bt_jump_near(c, relative(c, i));
	bt_set_addr(c, X86_RCX, i->asize, count);
}

OP(loop)
{
	loop(c, i, true);
}

OP(loope)
{
	loop(c, i, cond_e(c->aflags));
}

OP(loopne)
{
	loop(c, i, !cond_e(c->aflags));
}

OP(jcxz)
{
	if (!bt_get_addr(c, X86_RCX, i->asize))
		bt_jump_near(c, relative(c, i));
}

static inline void call(struct bt_cpu *c, unsigned width, u64 ip)
{
	ip = near_target(c, ip);
	bt_push(c, width, c->gpr[17]);
	c->gpr[17] = ip;
}

static inline void ret(struct bt_cpu *c, unsigned width, unsigned extra)
{
	u64 ip = near_target(c, bt_peek(c, width, 0));

	bt_set_sp(c, c->gpr[X86_RSP] + (1u << width) + extra);
	c->gpr[17] = ip;
}

#define DEFINE_CALL_RET(bits, unused)                    \
	OP(call##bits)                                   \
	{                                                \
		call(c, W##bits, relative(c, i));        \
	}                                                \
	OP(call_e_r##bits)                               \
	{                                                \
		call(c, W##bits, bt_get##bits(c, i->a)); \
	}                                                \
	OP(call_e_m##bits)                               \
	{                                                \
		call(c, W##bits, bt_get_rm##bits(c, i)); \
	}                                                \
	OP(jmp_e_r##bits)                                \
	{                                                \
		bt_jump_near(c, bt_get##bits(c, i->a));  \
	}                                                \
	OP(jmp_e_m##bits)                                \
	{                                                \
		bt_jump_near(c, bt_get_rm##bits(c, i));  \
	}                                                \
	OP(ret##bits)                                    \
	{                                                \
		ret(c, W##bits, 0);                      \
	}                                                \
	OP(ret_i##bits)                                  \
	{                                                \
		ret(c, W##bits, (u16)i->imm);            \
	}

FOR_V(DEFINE_CALL_RET, )

/* [1] BOUND: lower and upper bound lie side by side in memory, all signed. */
#define DEFINE_BOUND(bits, type)                                        \
	OP(bound##bits)                                                 \
	{                                                               \
		type index = (type)bt_get##bits(c, i->a);               \
		u64 ea = bt_ea(c, i);                                   \
		u64 second = (ea + bits / 8) & bt_addr_mask[i->asize];  \
		type lower = (type)bt_load##bits(                       \
			c, bt_lin(c, i->seg, ea, bits / 8, false));     \
		type upper = (type)bt_load##bits(                       \
			c, bt_lin(c, i->seg, second, bits / 8, false)); \
                                                                        \
		if (index < lower || index > upper)                     \
			bt_raise(c, VEC_BR);                            \
	}

DEFINE_BOUND(16, s16)
DEFINE_BOUND(32, s32)
DEFINE_BOUND(64, s64)
