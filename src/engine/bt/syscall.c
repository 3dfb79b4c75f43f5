/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS and the FS/GS base instructions.
 *
 * References: [1] Intel SDM vol. 2 (each); vol. 3A 5.8.7, 5.8.8.
 *             [2] AMD APM vol. 3 (each); vol. 2 6.1.
 *
 * By vendor: SYSCALL outside 64-bit code is #UD by [1] and enters at CSTAR (or
 * by STAR, in legacy mode) by [2]; SYSENTER in long mode is #UD by [2]; SYSRET
 * to a non-canonical RIP faults in the kernel by [1], in the user by [2].
 * SYSRET loads all of SS, as [1]; [2] leaves the attributes, which kernels
 * for it repair unasked.
 */
#include "bt_ops.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"

enum { STAR_SYSCALL = 32, STAR_SYSRET = 48 };

/* A kernel entry clears TF; a step begun before it makes no trap then. */
static void enter_kernel(struct bt_cpu *c, u64 ip)
{
	c->stepping = c->stepping && c->eflags & FLAG_TF;
	bt_update_code(c);
	c->gpr[17] = ip;
}

static void load_cs_ss(struct bt_cpu *c, u16 cs, u16 ss, unsigned dpl,
		       bool code64)
{
	bt_flat_code(&c->seg[X86_CS], cs, dpl, code64);
	bt_flat_stack(&c->seg[X86_SS], ss, dpl);
}

/* ---- SYSCALL and SYSRET ------------------------------------------------ */

static void check_syscall(struct bt_cpu *c)
{
	if (!(c->msr.efer & EFER_SCE))
		bt_ud(c);
	if (!bt_mode64(c) && !(bt_is_amd(c) && bt_protected(c)))
		bt_ud(c);
}

static void syscall_legacy(struct bt_cpu *c)
{
	u16 cs = (u16)(c->msr.star >> STAR_SYSCALL) & ~SEL_RPL;

	c->gpr[X86_RCX] = (u32)c->gpr[17];
	c->eflags &= ~(u32)(FLAG_IF | FLAG_RF);
	load_cs_ss(c, cs, (u16)(cs + 8), 0, false);
	enter_kernel(c, (u32)c->msr.star);
}

/*
 * TF as SYSCALL and SYSRET leave it, not as they found it, decides on a trap
 * after them. No manual says so in as many words; it is what SFMASK is for: a
 * kernel that masks TF is not stepped in, and its caller's trap comes right
 * after the SYSCALL, not one instruction late.
 */
static void set_step(struct bt_cpu *c)
{
	c->stepping = (c->eflags & FLAG_TF) != 0;
}

void bt_op_syscall(struct bt_cpu *c, const struct bt_insn *i)
{
	u16 cs = (u16)(c->msr.star >> STAR_SYSCALL) & ~SEL_RPL;
	u32 flags;
	u64 ip;

	check_syscall(c);
	if (!bt_long_mode(c)) {
		syscall_legacy(c);
		return;
	}
	ip = bt_mode64(c) ? c->msr.lstar : c->msr.cstar;
	flags = bt_flags(c) & ~(u32)FLAG_RF;
	c->gpr[X86_RCX] = c->gpr[17];
	c->gpr[X86_R11] = flags;
	load_cs_ss(c, cs, (u16)(cs + 8), 0, true);
	bt_set_flags(c, flags & ~(u32)c->msr.sfmask);
	set_step(c);
	enter_kernel(c, ip);
}

static void sysret_legacy(struct bt_cpu *c)
{
	u16 cs = (u16)(c->msr.star >> STAR_SYSRET) | SEL_RPL;

	c->eflags |= FLAG_IF;
	load_cs_ss(c, cs, (u16)((cs + 8) | SEL_RPL), 3, false);
	bt_update_mode(c);
	c->gpr[17] = (u32)c->gpr[X86_RCX];
	if (c->intr_hint)
		bt_attend(c, ATTN_EVENTS);
}

void bt_op_sysret(struct bt_cpu *c, const struct bt_insn *i)
{
	const u32 flags = 0x3c7fd7; /* [1]: all but RF, VM and reserved ones */
	u16 base = (u16)(c->msr.star >> STAR_SYSRET);
	u16 cs = (u16)((i->rexw ? base + 16 : base) | SEL_RPL);
	u64 ip = c->gpr[X86_RCX];

	check_syscall(c);
	bt_need_cpl0(c);
	if (!bt_long_mode(c)) {
		sysret_legacy(c);
		return;
	}
	if (i->rexw && !x86_is_canonical(ip) && !bt_is_amd(c))
		bt_gp(c);
	load_cs_ss(c, cs, (u16)((base + 8) | SEL_RPL), 3, i->rexw);
	bt_update_code(c);
	bt_set_flags(c, (u32)c->gpr[X86_R11] & flags);
	set_step(c);
	c->gpr[17] = i->rexw ? ip : (u32)ip;
}

/* ---- SYSENTER and SYSEXIT ---------------------------------------------- */

static void check_sysenter(struct bt_cpu *c)
{
	if (bt_is_amd(c) && bt_long_mode(c))
		bt_ud(c);
	if (!bt_protected(c) || bt_sel_null((u16)c->msr.sysenter_cs))
		bt_gp(c);
}

void bt_op_sysenter(struct bt_cpu *c, const struct bt_insn *i)
{
	bool lma = bt_long_mode(c);
	u16 cs = (u16)c->msr.sysenter_cs & ~SEL_RPL;
	u64 ip = c->msr.sysenter_eip, sp = c->msr.sysenter_esp;

	check_sysenter(c);
	c->eflags &= ~(u32)(FLAG_IF | FLAG_RF);
	load_cs_ss(c, cs, (u16)(cs + 8), 0, lma);
	c->gpr[X86_RSP] = lma ? sp : (u32)sp;
	enter_kernel(c, lma ? ip : (u32)ip);
}

void bt_op_sysexit(struct bt_cpu *c, const struct bt_insn *i)
{
	u16 base = (u16)c->msr.sysenter_cs & ~SEL_RPL;
	u16 cs = (u16)((i->rexw ? base + 32 : base + 16) | SEL_RPL);
	u64 ip = c->gpr[X86_RDX], sp = c->gpr[X86_RCX];

	bt_need_cpl0(c);
	check_sysenter(c);
	if (i->rexw && (!x86_is_canonical(ip) || !x86_is_canonical(sp)))
		bt_gp(c);
	load_cs_ss(c, cs, (u16)((cs + 8) | SEL_RPL), 3, i->rexw);
	bt_update_mode(c);
	c->gpr[X86_RSP] = i->rexw ? sp : (u32)sp;
	c->gpr[17] = i->rexw ? ip : (u32)ip;
}

/* ---- FS and GS bases --------------------------------------------------- */

void bt_op_swapgs(struct bt_cpu *c, const struct bt_insn *i)
{
	u64 base = c->seg[X86_GS].base;

	bt_need_cpl0(c);
	c->seg[X86_GS].base = c->msr.kernel_gs_base;
	c->seg_base[X86_GS] = c->msr.kernel_gs_base;
	c->msr.kernel_gs_base = base;
}

static void read_base(struct bt_cpu *c, const struct bt_insn *i, unsigned seg)
{
	if (!(c->cr4 & CR4_FSGSBASE))
		bt_ud(c);
	bt_set_reg(c, i->a, i->width, c->seg[seg].base);
}

static void write_base(struct bt_cpu *c, const struct bt_insn *i, unsigned seg)
{
	u64 base = bt_get_reg(c, i->a, i->width);

	if (!(c->cr4 & CR4_FSGSBASE))
		bt_ud(c);
	if (!x86_is_canonical(base))
		bt_gp(c);
	c->seg[seg].base = base;
	c->seg_base[seg] = base;
}

void bt_op_rdfsbase(struct bt_cpu *c, const struct bt_insn *i)
{
	read_base(c, i, X86_FS);
}

void bt_op_rdgsbase(struct bt_cpu *c, const struct bt_insn *i)
{
	read_base(c, i, X86_GS);
}

void bt_op_wrfsbase(struct bt_cpu *c, const struct bt_insn *i)
{
	write_base(c, i, X86_FS);
}

void bt_op_wrgsbase(struct bt_cpu *c, const struct bt_insn *i)
{
	write_base(c, i, X86_GS);
}
