/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control and debug registers, EFER, XCR0.
 *
 * References: [1] Intel SDM vol. 3A 2.5 (control registers), 4.1.2 (paging
 *                 modes), 4.4.1 (PDPTEs), 4.10.4.1 (what flushes), 10.8.5
 *                 (long mode), 17.2; vol. 2, MOV CR, MOV DR, XSETBV.
 *             [2] AMD APM vol. 2 3.1, 14.6.
 *
 * CD and NW are kept and have no effect: guest RAM is write-back.
 */
#include "arch/control.h"
#include "bt_ops.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"
#include "engine/bt/vm.h"

/* ---- PAE page-directory-pointer-table entries -------------------------- */

/* Loaded where [1] 4.4.1 says; all four are checked first. */
static void load_pdptes(struct bt_cpu *c, u64 cr3)
{
	const u64 flags = 0x1e6; /* reserved: 2:1 and 8:5 */
	u64 reserved = flags | ~(BIT(c->policy->maxphyaddr) - 1);
	u64 entry[4];

	for (unsigned k = 0; k < 4; k++) {
		entry[k] = bt_phys_load(c, (cr3 & 0xffffffe0) + 8 * k, 8);
		if (entry[k] & PTE_P && entry[k] & reserved)
			bt_gp(c);
	}
	for (unsigned k = 0; k < 4; k++)
		c->pdpte[k] = entry[k];
}

static bool uses_pdptes(const struct bt_cpu *c, u64 cr0, u64 cr4)
{
	return cr0 & CR0_PG && cr4 & CR4_PAE && !(c->msr.efer & EFER_LME);
}

/* ---- CR0 --------------------------------------------------------------- */

/* [1] 4.1.2 and 10.8.5. On AMD's CPUs TR after a reset is of that type, with a
 * null selector, which LTR refuses; a vCPU that comes from KVM may have it. */
static void check_paging_on(struct bt_cpu *c)
{
	const u16 busy_tss16 = 3;
	const struct x86_segment *tr = &c->seg[X86_TR];

	if (!(c->msr.efer & EFER_LME))
		return;
	if (!(c->cr4 & CR4_PAE) || c->seg[X86_CS].attr & SEG_L ||
	    ((tr->attr & SEG_TYPE) == busy_tss16 && tr->selector))
		bt_gp(c);
}

static void check_paging_off(struct bt_cpu *c)
{
	if (bt_mode64(c) || c->cr4 & CR4_PCIDE)
		bt_gp(c);
}

void bt_write_cr0(struct bt_cpu *c, u64 val)
{
	const u64 known = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP |
			  CR0_AM | CR0_NW | CR0_CD | CR0_PG;
	u64 old = c->cr0, changed;

	/* Reserved low bits are ignored, the high half is not. */
	if (val >> 32)
		bt_gp(c);
	val = (val & known) | CR0_ET;
	changed = val ^ old;
	if ((val & CR0_PG && !(val & CR0_PE)) ||
	    (val & CR0_NW && !(val & CR0_CD)))
		bt_gp(c);
	if (changed & val & CR0_PG)
		check_paging_on(c);
	if (changed & old & CR0_PG)
		check_paging_off(c);
	if (changed & (CR0_PG | CR0_CD | CR0_NW) && uses_pdptes(c, val, c->cr4))
		load_pdptes(c, c->cr3);

	c->cr0 = val;
	c->fpu_ready = 0;
	if (c->msr.efer & EFER_LME && val & CR0_PG)
		c->msr.efer |= EFER_LMA;
	else
		c->msr.efer &= ~EFER_LMA;
	if (changed & (CR0_PE | CR0_AM | CR0_PG | CR0_WP))
		bt_update_mode(c);
	if (!(changed & (CR0_PG | CR0_WP | CR0_PE)))
		return;
	bt_tlb_flush(c);
	c->stat.flush[FLUSH_CR0]++;
}

/* ---- CR3 and CR4 ------------------------------------------------------- */

static void write_cr3(struct bt_cpu *c, u64 val)
{
	u64 reserved = ~(BIT(c->policy->maxphyaddr) - 1);
	u64 old = c->cr3;
	bool keep = c->cr4 & CR4_PCIDE && val & CR3_NOFLUSH;

	if (c->cr4 & CR4_PCIDE)
		reserved &= ~CR3_NOFLUSH;
	if (bt_long_mode(c)) {
		if (val & reserved)
			bt_gp(c);
	} else if (uses_pdptes(c, c->cr0, c->cr4)) {
		load_pdptes(c, val);
	}
	c->cr3 = c->cr4 & CR4_PCIDE ? val & ~CR3_NOFLUSH : val;
	/* NOFLUSH is a permission: the TLB may keep less. */
	if ((old ^ c->cr3) & CR3_PCID && c->cr4 & CR4_PCIDE)
		bt_tlb_switch(c, old, keep);
	else if (!keep || old != c->cr3)
		bt_tlb_flush_nonglobal(c);
	c->stat.flush[FLUSH_CR3]++;
}

static void write_cr4(struct bt_cpu *c, u64 val)
{
	const u64 flush =
		CR4_PGE | CR4_PAE | CR4_PSE | CR4_PCIDE | CR4_SMEP | CR4_SMAP;
	u64 changed = val ^ c->cr4;

	if (val & ~x86_cr4_bits(c->policy))
		bt_gp(c);
	if (bt_long_mode(c) && !(val & CR4_PAE))
		bt_gp(c);
	if (changed & val & CR4_PCIDE &&
	    (!bt_long_mode(c) || c->cr3 & CR3_PCID))
		bt_gp(c);
	if (changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP) &&
	    uses_pdptes(c, c->cr0, val))
		load_pdptes(c, c->cr3);
	c->cr4 = val;
	c->fpu_ready = 0;
	bt_update_rdtsc(c);
	if (changed & CR4_SMAP)
		bt_update_mode(c);
	if (!(changed & flush))
		return;
	bt_tlb_flush(c);
	c->stat.flush[FLUSH_CR4]++;
}

static void write_cr8(struct bt_cpu *c, u64 val)
{
	if (val > 15)
		bt_gp(c);
	bt_leave(c);
	bt_pv_eoi_sync(c);
	lapic_set_cr8(&c->vcpu->lapic, (u8)val);
	bt_enter(c);
}

/* A register that is none is #UD at any CPL ([1] vol. 2, MOV). */
static void check_number(struct bt_cpu *c, unsigned n)
{
	if (n != 0 && n != 2 && n != 3 && n != 4 && n != 8)
		bt_ud(c);
	bt_need_cpl0(c);
}

void bt_op_mov_rc(struct bt_cpu *c, const struct bt_insn *i)
{
	unsigned width = bt_mode64(c) ? W64 : W32;
	u64 val;

	check_number(c, i->b);
	switch (i->b) {
	case 0:
		val = c->cr0;
		break;
	case 2:
		val = c->cr2;
		break;
	case 3:
		val = c->cr3;
		break;
	case 4:
		val = c->cr4;
		break;
	default: /* 8 */
		val = c->vcpu->lapic.regs.tpr >> 4 & 15;
	}
	bt_set_reg(c, i->a, width, val);
}

void bt_op_mov_cr(struct bt_cpu *c, const struct bt_insn *i)
{
	u64 val = bt_get_reg(c, i->b, bt_mode64(c) ? W64 : W32);

	check_number(c, i->a);
	switch (i->a) {
	case 0:
		bt_write_cr0(c, val);
		break;
	case 2:
		c->cr2 = val;
		break;
	case 3:
		write_cr3(c, val);
		break;
	case 4:
		write_cr4(c, val);
		break;
	default: /* 8 */
		write_cr8(c, val);
	}
}

void bt_op_smsw(struct bt_cpu *c, const struct bt_insn *i)
{
	if (c->cr4 & CR4_UMIP && c->cpl)
		bt_gp(c);
	if (i->mem)
		bt_store16(c, bt_operand(c, i, 2, true), (u16)c->cr0);
	else
		bt_set_reg(c, i->a, i->width, c->cr0);
}

/* [1] vol. 2, LMSW: PE can be set, not cleared. */
void bt_op_lmsw(struct bt_cpu *c, const struct bt_insn *i)
{
	const u64 bits = CR0_MP | CR0_EM | CR0_TS;
	u16 val;

	bt_need_cpl0(c);
	val = i->mem ? bt_get_rm16(c, i) : *bt_r16(c, i->a);
	bt_write_cr0(c, (c->cr0 & ~bits) | (val & (bits | CR0_PE)));
}

void bt_op_clts(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_need_cpl0(c);
	c->cr0 &= ~CR0_TS;
}

/* ---- debug registers --------------------------------------------------- */

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE ([1] 17.2.2). */
static unsigned debug_register(struct bt_cpu *c, unsigned n)
{
	if (n > 7 || ((n == 4 || n == 5) && c->cr4 & CR4_DE))
		bt_ud(c);
	bt_need_cpl0(c);
	if (c->dr[7] & DR7_GD) {
		c->dr[7] &= ~DR7_GD;
		c->dr[6] |= DR6_BD;
		bt_raise(c, VEC_DB);
	}
	return n == 4 || n == 5 ? n + 2 : n;
}

void bt_op_mov_rd(struct bt_cpu *c, const struct bt_insn *i)
{
	unsigned n = debug_register(c, i->b);

	bt_set_reg(c, i->a, bt_mode64(c) ? W64 : W32, c->dr[n]);
}

void bt_op_mov_dr(struct bt_cpu *c, const struct bt_insn *i)
{
	const u64 dr6_writable = 0xe00f, dr7_writable = 0xffff23ff;
	unsigned n = debug_register(c, i->a);
	u64 val = bt_get_reg(c, i->b, bt_mode64(c) ? W64 : W32);

	if (n >= 6 && val >> 32)
		bt_gp(c);
	if (n == 6)
		val = (val & dr6_writable) | DR6_FIXED;
	if (n == 7)
		val = (val & dr7_writable) | DR7_FIXED;
	c->dr[n] = val;
	bt_update_tlb(c);
	if (bt_watches(c, WATCH_EXEC))
		bt_attend(c, ATTN_STEP);
}

/* ---- EFER -------------------------------------------------------------- */

void bt_write_efer(struct bt_cpu *c, u64 val)
{
	u64 old = c->msr.efer;

	if (val & ~x86_efer_bits(c->policy))
		bt_gp(c);
	if ((val ^ old) & EFER_LME && c->cr0 & CR0_PG)
		bt_gp(c);
	/* LMA is the processor's. */
	c->msr.efer = (val & ~EFER_LMA) | (old & EFER_LMA);
	if (!((val ^ old) & EFER_NXE))
		return;
	bt_tlb_flush(c);
	c->stat.flush[FLUSH_MSR]++;
}

/* ---- XCR0 -------------------------------------------------------------- */

void bt_op_xgetbv(struct bt_cpu *c, const struct bt_insn *i)
{
	u32 index = bt_get32(c, BT_REG(X86_RCX));

	if (!(c->cr4 & CR4_OSXSAVE))
		bt_ud(c);
	/* XCR1 is XINUSE: no component is reported as initial. */
	if (index > 1 || (index == 1 && !cpu_has(c->policy, FEAT_XGETBV1)))
		bt_gp(c);
	c->gpr[X86_RAX] = (u32)c->xcr0;
	c->gpr[X86_RDX] = c->xcr0 >> 32;
}

void bt_op_xsetbv(struct bt_cpu *c, const struct bt_insn *i)
{
	u64 val = (u64)bt_get32(c, BT_REG(X86_RDX)) << 32 |
		  bt_get32(c, BT_REG(X86_RAX));

	if (!(c->cr4 & CR4_OSXSAVE))
		bt_ud(c);
	bt_need_cpl0(c);
	if (bt_get32(c, BT_REG(X86_RCX)) || !(val & XCR0_X87) ||
	    val & ~c->policy->xcr0_mask ||
	    (val & XCR0_AVX && !(val & XCR0_SSE)))
		bt_gp(c);
	c->xcr0 = val;
	c->fpu_ready = 0;
}
