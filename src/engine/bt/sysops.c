/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other system instructions: HLT, PAUSE, CPUID, time stamps, TLB and cache
 * control, random numbers, hypercalls, WAIT.
 *
 * References: [1] Intel SDM vol. 2 (each).
 *             [2] Linux Documentation/virt/kvm/x86/hypercalls.rst.
 *             [3] AMD APM vol. 3, PREFETCH.
 *
 * Cache control has no effect: RAM is coherent. There are no performance
 * counters, hence RDPMC is #GP(0).
 */
#include "bt_ops.h"
#include "engine/bt/check.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"
#include "vmm/vm.h"

#include <sys/syscall.h>

enum {
	LEAF1_ECX_OSXSAVE = 1 << 27,
	LEAF1_EDX_APIC = 1 << 9,
	PAUSES_PER_YIELD = 64,
	XSAVE_LEGACY = 512 + 64, /* [1] vol. 1 13.4 */
	XSAVE_AVX = 256,
	XSAVE_FSW = 2,
};

void bt_op_ud(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_ud(c);
}

/* AMD APM vol. 3, PREFETCH: #UD of a register. No manual of Intel's has the
 * form, its CPUs (Sapphire Rapids) take it for a NOP. */
void bt_op_prefetch_reg(struct bt_cpu *c, const struct bt_insn *i)
{
	if (bt_is_amd(c))
		bt_ud(c);
}

/* [1] vol. 2A 2.3.11: more than 15 bytes. */
void bt_op_too_long(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_gp(c);
}

void bt_op_hlt(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_need_cpl0(c);
	c->mp_state = X86_MP_HALTED;
	bt_attend(c, ATTN_HALT);
}

/* A guest that spins for a lock may be waiting for a vCPU that our thread
 * keeps from running. No libc: the FPU may be live. */
void bt_op_pause(struct bt_cpu *c, const struct bt_insn *i)
{
	long ret;

	if (++c->pauses % PAUSES_PER_YIELD) {
		__builtin_ia32_pause();
		return;
	}
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(SYS_sched_yield)
			 : "rcx", "r11", "memory");
}

/* ---- CPUID ------------------------------------------------------------- */

static u32 xsave_size(u64 components)
{
	return components & XCR0_AVX ? XSAVE_LEGACY + XSAVE_AVX : XSAVE_LEGACY;
}

/* What depends on this vCPU's control registers. */
static void cpuid_dynamic(const struct bt_cpu *c, u32 leaf, u32 subleaf,
			  struct cpuid_result *r)
{
	switch (leaf) {
	case 1:
		if (c->cr4 & CR4_OSXSAVE)
			r->ecx |= LEAF1_ECX_OSXSAVE;
		if (!(c->vcpu->lapic.regs.apic_base & APIC_BASE_EN))
			r->edx &= ~(u32)LEAF1_EDX_APIC;
		break;
	case 0xd:
		if (subleaf == 0 && r->ebx)
			r->ebx = xsave_size(c->xcr0);
		if (subleaf == 1 && r->ebx)
			r->ebx = xsave_size(c->xcr0);
		break;
	default:
		break;
	}
}

u32 bt_cpu_signature(struct bt_cpu *c)
{
	struct cpuid_result r;

	bt_leave(c);
	cpu_policy_cpuid(c->policy, c->vcpu->id, 1, 0, &r);
	bt_enter(c);
	return r.eax;
}

void bt_op_cpuid(struct bt_cpu *c, const struct bt_insn *i)
{
	u32 leaf = (u32)c->gpr[X86_RAX], subleaf = (u32)c->gpr[X86_RCX];
	struct cpuid_result r;

	bt_leave(c);
	cpu_policy_cpuid(c->policy, c->vcpu->id, leaf, subleaf, &r);
	bt_enter(c);
	cpuid_dynamic(c, leaf, subleaf, &r);
	c->gpr[X86_RAX] = r.eax;
	c->gpr[X86_RBX] = r.ebx;
	c->gpr[X86_RCX] = r.ecx;
	c->gpr[X86_RDX] = r.edx;
}

/* ---- time stamps ------------------------------------------------------- */

u64 bt_rdtsc(struct bt_cpu *c)
{
	struct vm_clock *clock = &c->vcpu->vm->clock;
	u32 lo, hi;
	u64 tsc;

	bt_check_outside(c);
	if (likely(clock->tsc_native && !clock->paused)) {
		__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
		tsc = ((u64)hi << 32 | lo) + clock->tsc_offset;
	} else {
		bt_leave(c);
		tsc = clock_tsc(clock);
		bt_enter(c);
	}
	return tsc + c->msr.tsc_adjust;
}

void bt_update_rdtsc(struct bt_cpu *c)
{
	const struct vm_clock *clock = &c->vcpu->vm->clock;
	bool slow = !clock->tsc_native || clock->paused || c->check;

	c->rdtsc_offset = clock->tsc_offset + c->msr.tsc_adjust;
	c->rdtsc_slow[MMU_KERNEL] = c->rdtsc_slow[MMU_KERNEL_AC] = slow;
	c->rdtsc_slow[MMU_USER] = slow || c->cr4 & CR4_TSD;
}

static void check_tsd(struct bt_cpu *c)
{
	if (c->cr4 & CR4_TSD && c->cpl)
		bt_gp(c);
}

void bt_op_rdtsc(struct bt_cpu *c, const struct bt_insn *i)
{
	u64 tsc;

	check_tsd(c);
	tsc = bt_rdtsc(c);
	c->gpr[X86_RAX] = (u32)tsc;
	c->gpr[X86_RDX] = tsc >> 32;
}

/* [1] RDTSCP: all before it have been executed, loads included. */
void bt_op_rdtscp(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_op_lfence(c, i);
	bt_op_rdtsc(c, i);
	c->gpr[X86_RCX] = (u32)c->msr.tsc_aux;
}

void bt_op_rdpid(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_set_reg(c, i->a, bt_mode64(c) ? W64 : W32, c->msr.tsc_aux);
}

void bt_op_rdpmc(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_gp(c);
}

/* ---- TLB and caches ---------------------------------------------------- */

/* [1] INVLPG: neither limits nor rights of the segment count. */
void bt_op_invlpg(struct bt_cpu *c, const struct bt_insn *i)
{
	gva_t va = (bt_ea(c, i) + c->seg_base[i->seg]) & c->lin_mask;

	bt_need_cpl0(c);
	/* [1]: nothing happens at an address that is not canonical. */
	if (!x86_is_canonical(va))
		return;
	bt_tlb_flush_page(c, va);
	c->stat.flush[FLUSH_INVLPG]++;
}

enum { INVPCID_ADDRESS, INVPCID_SINGLE, INVPCID_ALL, INVPCID_NONGLOBAL };

static void check_invpcid(struct bt_cpu *c, u64 type, u64 pcid, gva_t va)
{
	if (type > INVPCID_NONGLOBAL || pcid & ~CR3_PCID)
		bt_gp(c);
	if (type <= INVPCID_SINGLE && pcid && !(c->cr4 & CR4_PCIDE))
		bt_gp(c);
	if (type == INVPCID_ADDRESS && !x86_is_canonical(va))
		bt_gp(c);
}

/* More than asked for may go at any time ([1] vol. 3A 4.10.4.2): of another
 * PCID that is all. */
void bt_op_invpcid(struct bt_cpu *c, const struct bt_insn *i)
{
	u64 type, pcid, va, present;
	gva_t desc;

	bt_need_cpl0(c);
	type = bt_get_reg(c, i->a, bt_mode64(c) ? W64 : W32);
	desc = bt_operand(c, i, 16, false);
	pcid = bt_load64(c, desc);
	va = bt_load64(c, (desc + 8) & c->lin_mask);
	check_invpcid(c, type, pcid, va);
	present = c->cr4 & CR4_PCIDE ? c->cr3 & CR3_PCID : 0;
	c->stat.flush[FLUSH_INVPCID]++;
	if (type <= INVPCID_SINGLE && pcid != present) {
		bt_shelf_drop(c, pcid);
	} else if (type == INVPCID_ADDRESS) {
		bt_tlb_flush_page(c, va);
	} else if (type == INVPCID_SINGLE) {
		bt_tlb_flush_nonglobal(c);
	} else if (type == INVPCID_NONGLOBAL) {
		bt_shelf_drop_all(c);
		bt_tlb_flush_nonglobal(c);
	} else {
		bt_tlb_flush(c);
	}
}

void bt_op_wbinvd(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_need_cpl0(c);
}

/* Faults as a load of the byte would. */
void bt_op_clflush(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_probe(c, bt_operand(c, i, 1, false), 1, false);
}

/* The fences are the host's: RDTSC is executed for the guest, and non-temporal
 * stores run in stubs, both as weakly ordered as on bare metal. */
void bt_op_lfence(struct bt_cpu *c, const struct bt_insn *i)
{
	__asm__ volatile("lfence" ::: "memory");
}

void bt_op_sfence(struct bt_cpu *c, const struct bt_insn *i)
{
	__asm__ volatile("sfence" ::: "memory");
}

void bt_op_mfence(struct bt_cpu *c, const struct bt_insn *i)
{
	__asm__ volatile("mfence" ::: "memory");
}

/* ---- random numbers ---------------------------------------------------- */

/* CF says whether there was one; the other arithmetic flags are cleared. */
static void put_random(struct bt_cpu *c, const struct bt_insn *i, u64 val,
		       bool ok)
{
	bt_set_reg(c, i->a, i->width, ok ? val : 0);
	bt_set_arith(c, ok ? FLAG_CF : 0);
}

static void rdrand(struct bt_cpu *c, const struct bt_insn *i)
{
	u64 val;
	bool ok;

	bt_check_outside(c);
	__asm__ volatile("rdrand %0" : "=r"(val), "=@ccc"(ok));
	put_random(c, i, val, ok);
}

static void rdseed(struct bt_cpu *c, const struct bt_insn *i)
{
	u64 val;
	bool ok;

	bt_check_outside(c);
	__asm__ volatile("rdseed %0" : "=r"(val), "=@ccc"(ok));
	put_random(c, i, val, ok);
}

void bt_op_rdrand16(struct bt_cpu *c, const struct bt_insn *i)
{
	rdrand(c, i);
}

void bt_op_rdrand32(struct bt_cpu *c, const struct bt_insn *i)
{
	rdrand(c, i);
}

void bt_op_rdrand64(struct bt_cpu *c, const struct bt_insn *i)
{
	rdrand(c, i);
}

void bt_op_rdseed16(struct bt_cpu *c, const struct bt_insn *i)
{
	rdseed(c, i);
}

void bt_op_rdseed32(struct bt_cpu *c, const struct bt_insn *i)
{
	rdseed(c, i);
}

void bt_op_rdseed64(struct bt_cpu *c, const struct bt_insn *i)
{
	rdseed(c, i);
}

/* ---- hypercalls, [2] --------------------------------------------------- */

enum {
	KVM_HC_VAPIC_POLL_IRQ = 1,
	KVM_EPERM = 1,
	KVM_ENOSYS = 1000,
};

/* Either vendor's instruction: a guest need not know which. */
void bt_op_hypercall(struct bt_cpu *c, const struct bt_insn *i)
{
	unsigned width = bt_mode64(c) ? W64 : W32;
	u64 nr = bt_get_reg(c, BT_REG(X86_RAX), width);
	s64 ret = -KVM_ENOSYS;

	if (c->cpl)
		ret = -KVM_EPERM;
	else if (nr == KVM_HC_VAPIC_POLL_IRQ)
		ret = 0; /* its purpose is the exit */
	bt_set_reg(c, BT_REG(X86_RAX), width, (u64)ret);
}

/* ---- WAIT -------------------------------------------------------------- */

void bt_op_wait(struct bt_cpu *c, const struct bt_insn *i)
{
	const u16 error_summary = 0x80;
	u16 status;

	if ((c->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		bt_raise(c, VEC_NM);
	if (c->fpu_live)
		__asm__("fnstsw %0" : "=am"(status));
	else
		status = *(const u16_any *)(c->xsave + XSAVE_FSW);
	if (status & error_summary)
		bt_raise(c, VEC_MF);
}
