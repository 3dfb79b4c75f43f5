/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model-specific registers, by table. Which of them a guest has is for
 * arch/msr.h to say; what it has not is #GP(0), counted, and told to people.
 *
 * References: [1] Intel SDM vol. 4 table 2-2; vol. 3A 11.11 (MTRRs), 11.12.4
 *                 (PAT), 17.17 (TSC, TSC_ADJUST), 11.5.4.1 (deadline).
 *             [2] AMD APM vol. 2 appendix A; 3.2 (SYSCFG, HWCR).
 *             [3] Linux Documentation/virt/kvm/x86/msr.rst.
 *
 * MTRRs and PAT are kept and have no effect: guest RAM is write-back whatever
 * they say, devices are not cached. Machine-check banks: none.
 */
#include "arch/cpuid.h"
#include "arch/msr.h"
#include "bt_ops.h"
#include "engine/bt/bt_trace.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"
#include "vmm/vm.h"
#include "vmm/trace.h"

struct msr_row;
typedef bool msr_read_fn(struct bt_cpu *c, const struct msr_row *row, u32 msr,
			 u64 *val);
typedef bool msr_write_fn(struct bt_cpu *c, const struct msr_row *row, u32 msr,
			  u64 val);

/* `first` to `first + count - 1`; slots follow each other in x86_msrs. */
struct msr_row {
	u32 first;
	u8 count;
	u16 slot; /* offset in struct x86_msrs, or NO_SLOT */
	u64 bits; /* that a write may set; for a constant, its value */
	msr_read_fn *read;
	msr_write_fn *write; /* NULL: read-only, a write is #GP */
};

#define NO_SLOT 0xffff
#define SLOT(field) ((u16)offsetof(struct x86_msrs, field))
#define ALL_BITS (~0ull)

static u64 *msr_slot(struct bt_cpu *c, const struct msr_row *row, u32 msr)
{
	return (u64 *)(void *)((u8 *)&c->msr + row->slot) + (msr - row->first);
}

/* ---- kinds of rows ----------------------------------------------------- */

static bool read_slot(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		      u64 *val)
{
	*val = *msr_slot(c, row, msr);
	return true;
}

static bool write_slot(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		       u64 val)
{
	if (val & ~row->bits)
		return false;
	*msr_slot(c, row, msr) = val;
	return true;
}

/* The high half does not exist: AMD's are 32 bits wide, writes ignore it. */
static bool write_low(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		      u64 val)
{
	*msr_slot(c, row, msr) = val & row->bits;
	return true;
}

/* [1] vol. 4 table 2-2: IBRS and STIBP, and BHI_DIS_S as CPUID says. */
static bool write_spec_ctrl(struct bt_cpu *c, const struct msr_row *row,
			    u32 msr, u64 val)
{
	u64 bits = row->bits;

	if (cpu_has(c->policy, FEAT_BHI_CTRL))
		bits |= SPEC_CTRL_BHI_DIS_S;
	if (val & ~bits)
		return false;
	*msr_slot(c, row, msr) = val;
	return true;
}

/* There they are reserved on Intel's, as [1] vol. 4 table 2-2 says. */
static bool write_tsc_aux(struct bt_cpu *c, const struct msr_row *row, u32 msr,
			  u64 val)
{
	return (bt_is_amd(c) || !(val >> 32)) && write_low(c, row, msr, val);
}

static bool write_canonical(struct bt_cpu *c, const struct msr_row *row,
			    u32 msr, u64 val)
{
	if (!x86_is_canonical(val))
		return false;
	*msr_slot(c, row, msr) = val;
	return true;
}

static bool read_constant(struct bt_cpu *c, const struct msr_row *row, u32 msr,
			  u64 *val)
{
	*val = row->bits;
	return true;
}

static bool write_ignored(struct bt_cpu *c, const struct msr_row *row, u32 msr,
			  u64 val)
{
	return true;
}

static bool read_fault(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		       u64 *val)
{
	return false;
}

/* ---- modes and segments ------------------------------------------------ */

static bool write_efer(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		       u64 val)
{
	bt_write_efer(c, val);
	return true;
}

static bool read_base(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		      u64 *val)
{
	*val = c->seg[msr == MSR_FS_BASE ? X86_FS : X86_GS].base;
	return true;
}

static bool write_base(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		       u64 val)
{
	unsigned seg = msr == MSR_FS_BASE ? X86_FS : X86_GS;

	if (!x86_is_canonical(val))
		return false;
	c->seg[seg].base = val;
	bt_update_segment(c, seg);
	return true;
}

/* ---- memory types ------------------------------------------------------ */

/* Bit per type: UC WC WT WP WB, and UC- for the PAT alone. */
enum { MTRR_TYPES = 0x73, PAT_TYPES = 0xf3 };

static bool types_ok(u64 val, unsigned bytes, unsigned types)
{
	for (unsigned k = 0; k < bytes; k++, val >>= 8)
		if ((val & 0xff) > 7 || !(types >> (val & 7) & 1))
			return false;
	return true;
}

static bool write_pat(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		      u64 val)
{
	if (!types_ok(val, 8, PAT_TYPES))
		return false;
	c->msr.pat = val;
	return true;
}

static bool write_mtrr_fixed(struct bt_cpu *c, const struct msr_row *row,
			     u32 msr, u64 val)
{
	if (!types_ok(val, 8, MTRR_TYPES))
		return false;
	*msr_slot(c, row, msr) = val;
	return true;
}

static bool write_mtrr_def(struct bt_cpu *c, const struct msr_row *row, u32 msr,
			   u64 val)
{
	const u64 enable = BIT(11), fixed_enable = BIT(10);

	if (val & ~(0xffull | enable | fixed_enable) ||
	    !types_ok(val, 1, MTRR_TYPES))
		return false;
	c->msr.mtrr_def_type = val;
	return true;
}

/* Base and mask registers alternate ([1] 11.11.2.3). */
static u64 *variable_mtrr(struct bt_cpu *c, u32 msr)
{
	unsigned n = (msr - MSR_MTRR_BASE0) / 2;

	return msr & 1 ? &c->msr.mtrr_mask[n] : &c->msr.mtrr_base[n];
}

static bool read_mtrr(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		      u64 *val)
{
	*val = *variable_mtrr(c, msr);
	return true;
}

static bool write_mtrr(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		       u64 val)
{
	u64 allowed = (BIT(c->policy->maxphyaddr) - 1) & ~0xfffull;

	allowed |= msr & 1 ? BIT(11) : 0xff;
	if (val & ~allowed || (!(msr & 1) && !types_ok(val, 1, MTRR_TYPES)))
		return false;
	*variable_mtrr(c, msr) = val;
	return true;
}

/* ---- time -------------------------------------------------------------- */

static bool read_tsc(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		     u64 *val)
{
	*val = bt_rdtsc(c);
	return true;
}

/* [1] 17.17.3: either register moves the other, and the deadline, which is
 * kept in the VM's TSC, stays where the new TSC has it. */
static void set_adjust(struct bt_cpu *c, u64 adjust)
{
	u64 old = c->msr.tsc_adjust, deadline;

	c->msr.tsc_adjust = adjust;
	bt_update_rdtsc(c);
	bt_leave(c);
	deadline = c->vcpu->lapic.regs.tsc_deadline;
	if (deadline)
		lapic_msr_write(&c->vcpu->lapic, MSR_TSC_DEADLINE,
				deadline + old - adjust);
	bt_pv_write_clock(c);
	bt_enter(c);
}

static bool write_tsc(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		      u64 val)
{
	set_adjust(c, c->msr.tsc_adjust + val - bt_rdtsc(c));
	return true;
}

static bool write_adjust(struct bt_cpu *c, const struct msr_row *row, u32 msr,
			 u64 val)
{
	set_adjust(c, val);
	return true;
}

static bool read_deadline(struct bt_cpu *c, const struct msr_row *row, u32 msr,
			  u64 *val)
{
	bool ok;

	bt_leave(c);
	ok = lapic_msr_read(&c->vcpu->lapic, msr, val);
	bt_enter(c);
	if (*val)
		*val += c->msr.tsc_adjust;
	return ok;
}

static bool write_deadline(struct bt_cpu *c, const struct msr_row *row, u32 msr,
			   u64 val)
{
	bool ok;

	if (val)
		val -= c->msr.tsc_adjust;
	bt_leave(c);
	ok = lapic_msr_write(&c->vcpu->lapic, msr, val);
	bt_enter(c);
	return ok;
}

/* Bits 15:8, in units of 100 MHz. */
static bool read_ratio(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		       u64 *val)
{
	*val = (c->policy->tsc_khz / 100000 & 0xff) << 8;
	return true;
}

/* ---- LAPIC ------------------------------------------------------------- */

static bool read_lapic(struct bt_cpu *c, const struct msr_row *row, u32 msr,
		       u64 *val)
{
	bool ok;

	bt_leave(c);
	bt_pv_eoi_sync(c);
	ok = lapic_msr_read(&c->vcpu->lapic, msr, val);
	bt_enter(c);
	return ok;
}

static bool write_lapic(struct bt_cpu *c, const struct msr_row *row, u32 msr,
			u64 val)
{
	bool ok;

	bt_leave(c);
	bt_pv_eoi_sync(c);
	ok = lapic_msr_write(&c->vcpu->lapic, msr, val);
	bt_enter(c);
	return ok;
}

static bool write_apic_base(struct bt_cpu *c, const struct msr_row *row,
			    u32 msr, u64 val)
{
	if (!write_lapic(c, row, msr, val))
		return false;
	/* The page may have moved, appeared or gone. */
	bt_tlb_flush(c);
	c->stat.flush[FLUSH_MSR]++;
	return true;
}

/* ---- machine and vendor ------------------------------------------------ */

static bool read_arch_capabilities(struct bt_cpu *c, const struct msr_row *row,
				   u32 msr, u64 *val)
{
	*val = c->policy->arch_capabilities;
	return true;
}

/* Microcode revision: in the high half, on AMD in the low one. */
static bool read_bios_sign(struct bt_cpu *c, const struct msr_row *row, u32 msr,
			   u64 *val)
{
	*val = bt_is_amd(c) ? 0x01000065 : BIT(32);
	return true;
}

/* Fast strings and thermal monitoring switch; the rest says what is missing. */
static bool write_misc_enable(struct bt_cpu *c, const struct msr_row *row,
			      u32 msr, u64 val)
{
	const u64 switches = BIT(0) | BIT(3), no_bts = BIT(11),
		  no_pebs = BIT(12);

	c->msr.misc_enable = (val & switches) | no_bts | no_pebs;
	return true;
}

/* ---- KVM paravirtual, [3] ---------------------------------------------- */

static bool write_system_time(struct bt_cpu *c, const struct msr_row *row,
			      u32 msr, u64 val)
{
	return bt_pv_set_system_time(c, val);
}

static bool write_wall_clock(struct bt_cpu *c, const struct msr_row *row,
			     u32 msr, u64 val)
{
	return bt_pv_set_wall_clock(c, val);
}

static bool write_pv_eoi(struct bt_cpu *c, const struct msr_row *row, u32 msr,
			 u64 val)
{
	return bt_pv_set_eoi(c, val);
}

/* ---- the table --------------------------------------------------------- */

#define MTRR_CAP_VALUE (8 | BIT(8) | BIT(10)) /* 8 variable, fixed, WC */
#define HWCR_TSC_CONSTANT BIT(24)	      /* TSC counts at P0's rate */
#define DE_CFG_LFENCE BIT(1)		      /* LFENCE serializes */

static const struct msr_row msr_rows[] = {
	{MSR_X2APIC_FIRST, 255, NO_SLOT, 0, read_lapic, write_lapic},
	{MSR_X2APIC_LAST, 1, NO_SLOT, 0, read_lapic, write_lapic},
	{MSR_TSC_DEADLINE, 1, NO_SLOT, 0, read_deadline, write_deadline},
	{MSR_FS_BASE, 2, NO_SLOT, 0, read_base, write_base},
	{MSR_KERNEL_GS_BASE, 1, SLOT(kernel_gs_base), ALL_BITS, read_slot,
	 write_canonical},
	{MSR_SPEC_CTRL, 1, SLOT(spec_ctrl), 3, read_slot, write_spec_ctrl},
	{MSR_PRED_CMD, 1, NO_SLOT, 0, read_fault, write_ignored},
	{MSR_EFER, 1, SLOT(efer), 0, read_slot, write_efer},
	{MSR_STAR, 1, SLOT(star), ALL_BITS, read_slot, write_slot},
	{MSR_LSTAR, 2, SLOT(lstar), ALL_BITS, read_slot, write_canonical},
	{MSR_SFMASK, 1, SLOT(sfmask), 0xffffffff, read_slot, write_low},
	{MSR_TSC_AUX, 1, SLOT(tsc_aux), 0xffffffff, read_slot, write_tsc_aux},
	{MSR_SYSENTER_CS, 1, SLOT(sysenter_cs), 0xffffffff, read_slot,
	 write_low},
	{MSR_SYSENTER_ESP, 2, SLOT(sysenter_esp), ALL_BITS, read_slot,
	 write_canonical},
	{MSR_TSC, 1, NO_SLOT, 0, read_tsc, write_tsc},
	{MSR_TSC_ADJUST, 1, SLOT(tsc_adjust), 0, read_slot, write_adjust},
	{MSR_APIC_BASE, 1, NO_SLOT, 0, read_lapic, write_apic_base},
	{MSR_PAT, 1, SLOT(pat), 0, read_slot, write_pat},
	{MSR_MTRRCAP, 1, NO_SLOT, MTRR_CAP_VALUE, read_constant, NULL},
	{MSR_MTRR_BASE0, 16, NO_SLOT, 0, read_mtrr, write_mtrr},
	{MSR_MTRR_FIX64K, 1, SLOT(mtrr_fixed[0]), 0, read_slot,
	 write_mtrr_fixed},
	{MSR_MTRR_FIX16K_8, 2, SLOT(mtrr_fixed[1]), 0, read_slot,
	 write_mtrr_fixed},
	{MSR_MTRR_FIX4K_C0, 8, SLOT(mtrr_fixed[3]), 0, read_slot,
	 write_mtrr_fixed},
	{MSR_MTRR_DEF_TYPE, 1, SLOT(mtrr_def_type), 0, read_slot,
	 write_mtrr_def},
	{MSR_ARCH_CAPABILITIES, 1, NO_SLOT, 0, read_arch_capabilities, NULL},
	/* LBR and BTF are kept, branches are not recorded. */
	{MSR_DEBUGCTL, 1, SLOT(debugctl), 3, read_slot, write_slot},
	{MSR_BIOS_SIGN_ID, 1, NO_SLOT, 0, read_bios_sign, write_ignored},
	{MSR_MCG_CAP, 1, NO_SLOT, 0, read_constant, NULL},
	{MSR_MCG_STATUS, 1, NO_SLOT, 0, read_constant, write_ignored},
	/* Intel's */
	{MSR_PLATFORM_ID, 1, NO_SLOT, 0, read_constant, NULL},
	{MSR_PLATFORM_INFO, 1, NO_SLOT, 0, read_ratio, NULL},
	{MSR_PERF_STATUS, 1, NO_SLOT, 0, read_ratio, NULL},
	{MSR_BIOS_UPDT, 1, NO_SLOT, 0, read_fault, write_ignored},
	{MSR_MISC_ENABLE, 1, SLOT(misc_enable), 0, read_slot,
	 write_misc_enable},
	/* AMD's */
	{MSR_K7_HWCR, 1, NO_SLOT, HWCR_TSC_CONSTANT, read_constant,
	 write_ignored},
	{MSR_AMD64_NB_CFG, 1, NO_SLOT, 0, read_constant, write_ignored},
	{MSR_AMD64_PATCH_LOADER, 1, NO_SLOT, 0, read_fault, write_ignored},
	/* Four event selectors and counters, which every AMD CPU has: they read
	 * 0 whatever is written, and Linux takes that as none. */
	{MSR_K7_EVNTSEL0, 8, NO_SLOT, 0, read_constant, write_ignored},
	/* Linux sets a bit here for PCI configuration by ports, unprotected. */
	{MSR_AMD64_NB_CFG, 1, NO_SLOT, 0, read_constant, write_ignored},
	{MSR_AMD64_SYSCFG, 1, NO_SLOT, 0, read_constant, write_ignored},
	{MSR_AMD64_DE_CFG, 1, NO_SLOT, DE_CFG_LFENCE, read_constant,
	 write_ignored},
	/* KVM's */
	{MSR_KVM_SYSTEM_TIME, 1, SLOT(kvm_system_time), 0, read_slot,
	 write_system_time},
	{MSR_KVM_SYSTEM_TIME_OLD, 1, SLOT(kvm_system_time), 0, read_slot,
	 write_system_time},
	{MSR_KVM_WALL_CLOCK, 1, SLOT(kvm_wall_clock), 0, read_slot,
	 write_wall_clock},
	{MSR_KVM_WALL_CLOCK_OLD, 1, SLOT(kvm_wall_clock), 0, read_slot,
	 write_wall_clock},
	{MSR_KVM_PV_EOI, 1, SLOT(kvm_pv_eoi), 0, read_slot, write_pv_eoi},
};

static const struct msr_row *find_row(const struct bt_cpu *c, u32 msr)
{
	if (!cpu_has_msr(c->policy, msr))
		return NULL;
	for (unsigned k = 0; k < ARRAY_SIZE(msr_rows); k++) {
		const struct msr_row *row = &msr_rows[k];

		if (msr - row->first >= row->count)
			continue;
		return row;
	}
	return NULL;
}

static _Noreturn void refuse(struct bt_cpu *c, const char *what, u32 msr)
{
	c->stat.unknown_msr++;
	bt_complain(c, "%s of MSR %#x at rip %#llx: #GP", what, msr,
		    (unsigned long long)c->rip);
	bt_gp(c);
}

void bt_op_rdmsr(struct bt_cpu *c, const struct bt_insn *i)
{
	u32 msr = (u32)c->gpr[X86_RCX];
	const struct msr_row *row;
	u64 val = 0;

	bt_need_cpl0(c);
	row = find_row(c, msr);
	if (!row || !row->read(c, row, msr, &val))
		refuse(c, "read", msr);
	if (trace_on(TRACE_MSR))
		bt_trace_msr(c, false, msr, val);
	c->gpr[X86_RAX] = (u32)val;
	c->gpr[X86_RDX] = val >> 32;
}

void bt_op_wrmsr(struct bt_cpu *c, const struct bt_insn *i)
{
	u32 msr = (u32)c->gpr[X86_RCX];
	u64 val = c->gpr[X86_RDX] << 32 | (u32)c->gpr[X86_RAX];
	const struct msr_row *row;

	bt_need_cpl0(c);
	if (trace_on(TRACE_MSR))
		bt_trace_msr(c, true, msr, val);
	row = find_row(c, msr);
	if (!row || !row->write || !row->write(c, row, msr, val))
		refuse(c, "write", msr);
}
