/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x87 environment and whole x87 state to and from guest memory.
 *
 * References: [1] Intel SDM vol. 1 8.1.8 to 8.1.10 (pointers, opcode, the four
 *                 formats: figures 8-9 to 8-12), vol. 2 FSTENV, FSAVE, FLDENV,
 *                 FRSTOR, FINIT.
 *
 * The host's own FNSTENV and FNSAVE make the control words and registers; the
 * pointers in what they write are the host's and are replaced by the guest's.
 * CR0.NE=0 is not emulated: an error is #MF, never FERR# and IRQ 13.
 */
#include "bt_ops.h"
#include "engine/bt/fpu.h"
#include "engine/bt/simd.h"
#include "engine/bt/span.h"
#include "arch/xsave.h"

#define X87_REGS 80 /* bytes of ST(0) to ST(7) */

/* The 32-bit protected format, which 64-bit code uses too ([1] figure 8-9);
 * what FNSAVE adds behind it. */
struct x87_env {
	u32 fcw, fsw, ftw; /* upper halves read as ones */
	u32 fip;
	u16 fcs, fop;
	u32 fdp;
	u32 fds; /* upper half reads as ones */
	u8 regs[X87_REGS];
};
_Static_assert(sizeof(struct x87_env) == 28 + X87_REGS, "FSAVE");

/* The guest's format as words or doublewords; reserved fields included. */
#define ENV_FIELDS 7

static unsigned env_width(const struct bt_insn *i)
{
	return i->width == W16 ? 2 : 4;
}

static bool real_format(const struct bt_cpu *c)
{
	return !bt_protected(c);
}

static void put_pointers(const struct bt_cpu *c, struct x87_env *env)
{
	env->fip = (u32)c->fip;
	env->fcs = c->fcs;
	env->fop = c->fop & 0x7ff;
	env->fdp = (u32)c->fdp;
	env->fds = 0xffff0000u | c->fds;
}

/* [1] figures 8-9 to 8-12, as fields of `width` bytes. */
static void env_fields(const struct bt_cpu *c, const struct x87_env *env,
		       u32 field[ENV_FIELDS])
{
	u32 fip = env->fip + ((u32)env->fcs << 4);
	u32 fdp = env->fdp + ((env->fds & 0xffff) << 4);

	field[0] = env->fcw | 0xffff0000u;
	field[1] = env->fsw | 0xffff0000u;
	field[2] = env->ftw | 0xffff0000u;
	field[3] = env->fip;
	field[4] = env->fcs | (u32)env->fop << 16;
	field[5] = env->fdp;
	field[6] = env->fds;
	if (!real_format(c))
		return;
	field[3] = (fip & 0xffff) | 0xffff0000u;
	field[4] = env->fop | (fip >> 16) << 12;
	field[5] = (fdp & 0xffff) | 0xffff0000u;
	field[6] = (fdp >> 16) << 12;
}

static unsigned env_write(struct bt_cpu *c, const struct bt_insn *i,
			  const struct x87_env *env, u8 *out)
{
	unsigned width = env_width(i);
	u32 field[ENV_FIELDS];

	env_fields(c, env, field);
	for (unsigned k = 0; k < ENV_FIELDS; k++)
		bt_copy(out + k * width, &field[k], width);
	return ENV_FIELDS * width;
}

/* The guest's pointers come from the fields, the host's become zero. */
static unsigned env_read(struct bt_cpu *c, const struct bt_insn *i,
			 struct x87_env *env, const u8 *in)
{
	unsigned width = env_width(i);
	u32 field[ENV_FIELDS] = {0};

	for (unsigned k = 0; k < ENV_FIELDS; k++)
		bt_copy(&field[k], in + k * width, width);
	*env = (struct x87_env){.fcw = field[0] | 0xffff0000u,
				.fsw = field[1] | 0xffff0000u,
				.ftw = field[2] | 0xffff0000u,
				.fds = 0xffff0000u};
	c->fip = field[3];
	c->fcs = (u16)field[4];
	c->fdp = field[5];
	c->fds = (u16)field[6];
	/* The 16-bit protected format has no opcode. */
	c->fop = width == 4 ? field[4] >> 16 & 0x7ff : 0;
	if (!real_format(c))
		return ENV_FIELDS * width;
	c->fip = (field[3] & 0xffff) | (field[4] >> 12 & 0xffff) << 16;
	c->fdp = (field[5] & 0xffff) | (field[6] >> 12 & 0xffff) << 16;
	c->fop = field[4] & 0x7ff;
	c->fcs = c->fds = 0;
	return ENV_FIELDS * width;
}

/* ---- instructions ------------------------------------------------------ */

static void check(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_fpu_check(c, bt_rows[i->row].attrs);
}

/* The waiting ones: an error that is due comes first. */
static void check_pending(struct bt_cpu *c)
{
	u16 fsw;

	bt_fpu_load(c);
	__asm__ volatile("fnstsw %0" : "=m"(fsw));
	if (fsw & FSW_ES)
		bt_raise(c, VEC_MF);
}

static void clear_pointers(struct bt_cpu *c)
{
	c->fip = c->fdp = 0;
	c->fop = c->fcs = c->fds = 0;
}

void bt_op_fninit(struct bt_cpu *c, const struct bt_insn *i)
{
	check(c, i);
	bt_fpu_load(c);
	__asm__ volatile("fninit");
	clear_pointers(c);
}

void bt_op_fnstenv(struct bt_cpu *c, const struct bt_insn *i)
{
	unsigned len = ENV_FIELDS * env_width(i);
	struct x87_env env;
	gva_t va;

	check(c, i);
	va = bt_operand(c, i, len, true);
	bt_probe(c, va, len, true);
	bt_fpu_load(c);
	__asm__ volatile("fnstenv %0" : "=m"(env));
	put_pointers(c, &env);
	env_write(c, i, &env, c->bounce);
	bt_write_span(c, va, c->bounce, len);
}

void bt_op_fldenv(struct bt_cpu *c, const struct bt_insn *i)
{
	unsigned len = ENV_FIELDS * env_width(i);
	struct x87_env env;
	gva_t va;

	check(c, i);
	check_pending(c);
	va = bt_operand(c, i, len, false);
	bt_probe(c, va, len, false);
	bt_read_span(c, va, c->bounce, len);
	env_read(c, i, &env, c->bounce);
	bt_fpu_load(c);
	__asm__ volatile("fldenv %0" : : "m"(env));
}

void bt_op_fnsave(struct bt_cpu *c, const struct bt_insn *i)
{
	unsigned len = ENV_FIELDS * env_width(i) + X87_REGS;
	struct x87_env env;
	gva_t va;

	check(c, i);
	va = bt_operand(c, i, len, true);
	bt_probe(c, va, len, true);
	bt_fpu_load(c);
	__asm__ volatile("fnsave %0" : "=m"(env));
	put_pointers(c, &env);
	clear_pointers(c);
	len = env_write(c, i, &env, c->bounce);
	bt_copy(c->bounce + len, env.regs, X87_REGS);
	bt_write_span(c, va, c->bounce, len + X87_REGS);
}

void bt_op_frstor(struct bt_cpu *c, const struct bt_insn *i)
{
	unsigned len = ENV_FIELDS * env_width(i) + X87_REGS;
	struct x87_env env;
	gva_t va;

	check(c, i);
	check_pending(c);
	va = bt_operand(c, i, len, false);
	bt_probe(c, va, len, false);
	bt_read_span(c, va, c->bounce, len);
	len = env_read(c, i, &env, c->bounce);
	bt_copy(env.regs, c->bounce + len, X87_REGS);
	bt_fpu_load(c);
	__asm__ volatile("frstor %0" : : "m"(env));
}
