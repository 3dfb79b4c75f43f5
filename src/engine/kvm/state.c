/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's registers to and from struct x86_state.
 *
 * References: kvm.h [1] 4.11 to 4.15 (registers), 4.31, 4.32 (events), 4.38,
 * 4.39 (MP state), 4.42, 4.43 (XSAVE), 4.44, 4.45 (XCRs), 4.33, 4.34 (debug).
 *
 * What is known of the way there and back: docs/engine-kvm.md, "Limits".
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <string.h>

#include "arch/x86.h"
#include "arch/xsave.h"

/* ---- segments ---------------------------------------------------------- */

static void segment_put(const struct x86_segment *from, struct kvm_segment *to)
{
	u16 attr = from->attr;
	bool unusable = attr & SEG_UNUSABLE;

	*to = (struct kvm_segment){
		.base = from->base,
		.limit = from->limit,
		.selector = from->selector,
		.type = attr & SEG_TYPE,
		.s = !!(attr & SEG_S),
		.dpl = (attr & SEG_DPL) >> SEG_DPL_SHIFT,
		.present = attr & SEG_P && !unusable,
		.avl = !!(attr & SEG_AVL),
		.l = !!(attr & SEG_L),
		.db = !!(attr & SEG_DB),
		.g = !!(attr & SEG_G),
		.unusable = unusable,
	};
}

/* A null selector's DPL is the CPL where it is SS's, and nothing elsewhere. */
static void segment_get(const struct kvm_segment *from, struct x86_segment *to,
			bool is_stack)
{
	u16 attr = from->type | from->s * SEG_S |
		   (u16)(from->dpl << SEG_DPL_SHIFT) | from->present * SEG_P |
		   from->avl * SEG_AVL | from->l * SEG_L | from->db * SEG_DB |
		   from->g * SEG_G;

	*to = (struct x86_segment){
		.base = from->base,
		.limit = from->limit,
		.selector = from->selector,
		.attr = attr,
	};
	if (!from->unusable && from->present)
		return;
	to->attr = SEG_UNUSABLE;
	if (is_stack)
		to->attr |= (u16)(from->dpl << SEG_DPL_SHIFT);
}

struct segment_pair {
	struct kvm_segment *kvm;
	enum x86_seg seg;
};

static void all_segments(struct kvm_sregs2 *s,
			 struct segment_pair pairs[X86_ALL_SEGS])
{
	const struct segment_pair all[X86_ALL_SEGS] = {
		{&s->es, X86_ES}, {&s->cs, X86_CS},    {&s->ss, X86_SS},
		{&s->ds, X86_DS}, {&s->fs, X86_FS},    {&s->gs, X86_GS},
		{&s->tr, X86_TR}, {&s->ldt, X86_LDTR},
	};

	memcpy(pairs, all, sizeof(all));
}

/* ---- special registers ------------------------------------------------- */

static bool has_pdptes(const struct x86_state *state)
{
	return state->cr0 & CR0_PG && state->cr4 & CR4_PAE &&
	       !(state->msr.efer & EFER_LMA);
}

/* struct kvm_sregs is kvm_sregs2 with a bitmap in place of the PDPTEs. */
static int ioctl_sregs(struct kvm_cpu *k, struct kvm_sregs2 *s, bool set)
{
	struct kvm_sregs old;
	int ret;

	if (k->machine->caps.sregs2)
		return kvm_ioctl(k->fd, set ? KVM_SET_SREGS2 : KVM_GET_SREGS2,
				 s);
	memset(&old, 0, sizeof(old));
	memcpy(&old, s, offsetof(struct kvm_sregs2, flags));
	ret = kvm_ioctl(k->fd, set ? KVM_SET_SREGS : KVM_GET_SREGS, &old);
	memcpy(s, &old, offsetof(struct kvm_sregs2, flags));
	s->flags = 0;
	return ret;
}

static int put_sregs(struct kvm_cpu *k, const struct x86_state *state)
{
	struct segment_pair pairs[X86_ALL_SEGS];
	struct kvm_sregs2 s = {
		.gdt = {.base = state->gdtr.base, .limit = state->gdtr.limit},
		.idt = {.base = state->idtr.base, .limit = state->idtr.limit},
		.cr0 = state->cr0,
		.cr2 = state->cr2,
		.cr3 = state->cr3,
		.cr4 = state->cr4,
		.cr8 = lapic_get_cr8(&k->vcpu->lapic),
		.efer = state->msr.efer,
		.apic_base = k->vcpu->lapic.regs.apic_base,
	};

	all_segments(&s, pairs);
	for (unsigned i = 0; i < X86_ALL_SEGS; i++)
		segment_put(&state->seg[pairs[i].seg], pairs[i].kvm);
	if (has_pdptes(state)) {
		s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
		memcpy(s.pdptrs, state->pdpte, sizeof(s.pdptrs));
	}
	return ioctl_sregs(k, &s, true);
}

static int get_sregs(struct kvm_cpu *k, struct x86_state *state)
{
	struct segment_pair pairs[X86_ALL_SEGS];
	struct kvm_sregs2 s = {0};
	int ret = ioctl_sregs(k, &s, false);

	if (ret)
		return ret;
	all_segments(&s, pairs);
	for (unsigned i = 0; i < X86_ALL_SEGS; i++)
		segment_get(pairs[i].kvm, &state->seg[pairs[i].seg],
			    pairs[i].seg == X86_SS);
	state->gdtr =
		(struct x86_table){.base = s.gdt.base, .limit = s.gdt.limit};
	state->idtr =
		(struct x86_table){.base = s.idt.base, .limit = s.idt.limit};
	state->cr0 = s.cr0;
	state->cr2 = s.cr2;
	state->cr3 = s.cr3;
	state->cr4 = s.cr4;
	state->msr.efer = s.efer;
	state->msr.fs_base = s.fs.base;
	state->msr.gs_base = s.gs.base;
	if (s.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID)
		memcpy(state->pdpte, s.pdptrs, sizeof(state->pdpte));
	return 0;
}

/* ---- general and debug registers --------------------------------------- */

/* In the order of instructions' encoding, as struct x86_state has them. */
struct gpr_order {
	__u64 *reg[X86_GPRS];
};

static struct gpr_order order_gprs(struct kvm_regs *r)
{
	return (struct gpr_order){{&r->rax, &r->rcx, &r->rdx, &r->rbx, &r->rsp,
				   &r->rbp, &r->rsi, &r->rdi, &r->r8, &r->r9,
				   &r->r10, &r->r11, &r->r12, &r->r13, &r->r14,
				   &r->r15}};
}

/* SDM vol. 3A table 10-1. */
static bool is_reset_debug(const struct kvm_debugregs *debug)
{
	return !debug->db[0] && !debug->db[1] && !debug->db[2] &&
	       !debug->db[3] && debug->dr6 == DR6_FIXED &&
	       debug->dr7 == DR7_FIXED;
}

static int put_regs(struct kvm_cpu *k, const struct x86_state *state)
{
	struct kvm_debugregs debug = {.dr6 = state->dr[6], .dr7 = state->dr[7]};
	struct kvm_regs regs = {.rip = state->rip, .rflags = state->rflags};
	struct gpr_order order = order_gprs(&regs);
	int ret;

	for (unsigned i = 0; i < X86_GPRS; i++)
		*order.reg[i] = state->gpr[i];
	memcpy(debug.db, state->dr, sizeof(debug.db));
	ret = kvm_ioctl(k->fd, KVM_SET_REGS, &regs);
	if (ret || (!k->used && is_reset_debug(&debug)))
		return ret;
	return kvm_ioctl(k->fd, KVM_SET_DEBUGREGS, &debug);
}

static int get_regs(struct kvm_cpu *k, struct x86_state *state)
{
	struct kvm_debugregs debug = {0};
	struct kvm_regs regs = {0};
	struct gpr_order order = order_gprs(&regs);
	int ret = kvm_ioctl(k->fd, KVM_GET_REGS, &regs);

	if (!ret)
		ret = kvm_ioctl(k->fd, KVM_GET_DEBUGREGS, &debug);
	for (unsigned i = 0; i < X86_GPRS; i++)
		state->gpr[i] = *order.reg[i];
	state->rip = regs.rip;
	state->rflags = regs.rflags;
	memcpy(state->dr, debug.db, sizeof(debug.db));
	state->dr[6] = debug.dr6;
	state->dr[7] = debug.dr7;
	return ret;
}

/* ---- FPU and SIMD ------------------------------------------------------ */

#define XSAVE_HEADER XSAVE_LEGACY_BYTES /* XSTATE_BV, XCOMP_BV, reserved */

_Static_assert(sizeof(struct kvm_xsave) == X86_XSAVE_AREA, "same image");

static int put_fpu(struct kvm_cpu *k, const struct x86_state *state)
{
	const struct cpu_policy *policy = k->vcpu->vm->cpu;
	struct kvm_xcrs xcrs = {.nr_xcrs = 1};
	struct kvm_xsave image;
	u64 header[8] = {0};
	int ret;

	memcpy(&image, state->xsave, sizeof(image));
	/* Only what the guest can have; the rest of the header is zero in the
	 * standard format. */
	memcpy(header, state->xsave + XSAVE_HEADER, sizeof(header[0]));
	header[0] &= policy->xcr0_mask | XCR0_X87 | XCR0_SSE;
	memcpy((u8 *)&image + XSAVE_HEADER, header, sizeof(header));
	((struct xsave_legacy *)(void *)&image)->mxcsr &= MXCSR_MASK;
	ret = kvm_ioctl(k->fd, KVM_SET_XSAVE, &image);
	if (ret || !policy->xcr0_mask || !k->machine->caps.xcrs)
		return ret;
	xcrs.xcrs[0].value = state->xcr0;
	return kvm_ioctl(k->fd, KVM_SET_XCRS, &xcrs);
}

static int get_fpu(struct kvm_cpu *k, struct x86_state *state)
{
	struct kvm_xcrs xcrs = {0};
	int ret = kvm_ioctl(k->fd, KVM_GET_XSAVE, state->xsave);

	state->xcr0 = XCR0_X87;
	if (ret || !k->machine->caps.xcrs)
		return ret;
	ret = kvm_ioctl(k->fd, KVM_GET_XCRS, &xcrs);
	for (unsigned i = 0; i < xcrs.nr_xcrs; i++)
		if (!xcrs.xcrs[i].xcr)
			state->xcr0 = xcrs.xcrs[i].value;
	return ret;
}

/* ---- events ------------------------------------------------------------ */

static int put_events(struct kvm_cpu *k, const struct x86_state *state)
{
	struct kvm_vcpu_events ev = {
		.exception.injected = state->exc_pending,
		.exception.nr = state->exc_vector,
		.exception.has_error_code = state->exc_has_error,
		.exception.error_code = state->exc_error,
		.interrupt.injected = state->intr_pending,
		.interrupt.nr = state->intr_vector,
		.nmi.pending = state->nmi_pending,
		.nmi.masked = state->nmi_masked,
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING |
			 KVM_VCPUEVENT_VALID_SHADOW,
	};

	if (state->shadow_sti)
		ev.interrupt.shadow |= KVM_X86_SHADOW_INT_STI;
	if (state->shadow_movss)
		ev.interrupt.shadow |= KVM_X86_SHADOW_INT_MOV_SS;
	if (!k->used && !state->exc_pending && !state->intr_pending &&
	    !state->nmi_pending && !state->nmi_masked && !ev.interrupt.shadow)
		return 0;
	return kvm_ioctl(k->fd, KVM_SET_VCPU_EVENTS, &ev);
}

/* INT3 and INTO: RIP is still at the instruction, which runs again. */
static bool is_soft(u8 vector)
{
	return vector == VEC_BP || vector == VEC_OF;
}

static int get_events(struct kvm_cpu *k, struct x86_state *state)
{
	struct kvm_vcpu_events ev = {0};
	int ret = kvm_ioctl(k->fd, KVM_GET_VCPU_EVENTS, &ev);

	if (ret)
		return ret;
	if (ev.exception.injected && !is_soft(ev.exception.nr)) {
		state->exc_pending = 1;
		state->exc_vector = ev.exception.nr;
		state->exc_has_error = ev.exception.has_error_code;
		if (ev.exception.has_error_code)
			state->exc_error = ev.exception.error_code;
	}
	if (ev.interrupt.injected && !ev.interrupt.soft) {
		state->intr_pending = 1;
		state->intr_vector = ev.interrupt.nr;
	}
	state->shadow_sti = !!(ev.interrupt.shadow & KVM_X86_SHADOW_INT_STI);
	state->shadow_movss =
		!!(ev.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS);
	/* On its way in, it counts as not yet come: nothing is masked by it. */
	state->nmi_pending = ev.nmi.pending || ev.nmi.injected;
	state->nmi_masked = ev.nmi.masked && !ev.nmi.injected;
	return 0;
}

/* ---- MP state ---------------------------------------------------------- */

static int put_mp_state(struct kvm_cpu *k, const struct x86_state *state)
{
	static const u32 states[] = {
		[X86_MP_RUNNABLE] = KVM_MP_STATE_RUNNABLE,
		[X86_MP_HALTED] = KVM_MP_STATE_HALTED,
		[X86_MP_WAIT_SIPI] = KVM_MP_STATE_INIT_RECEIVED,
	};
	struct kvm_mp_state mp = {states[state->mp_state]};

	if (kvm_has_irqchip(k->machine))
		return kvm_ioctl(k->fd, KVM_SET_MP_STATE, &mp);
	k->halted = state->mp_state != X86_MP_RUNNABLE;
	return 0;
}

/* Comes first of all: the kernel takes INIT and SIPI that are under way. */
static int get_mp_state(struct kvm_cpu *k, struct x86_state *state)
{
	struct kvm_mp_state mp = {0};
	int ret;

	if (!kvm_has_irqchip(k->machine)) {
		state->mp_state = k->halted ? X86_MP_HALTED : X86_MP_RUNNABLE;
		return 0;
	}
	ret = kvm_ioctl(k->fd, KVM_GET_MP_STATE, &mp);
	state->mp_state = mp.mp_state == KVM_MP_STATE_RUNNABLE ? X86_MP_RUNNABLE
			  : mp.mp_state == KVM_MP_STATE_HALTED
				  ? X86_MP_HALTED
				  : X86_MP_WAIT_SIPI;
	return ret;
}

/* ---- whole ------------------------------------------------------------- */

static int read_state(struct kvm_cpu *k, struct x86_state *state)
{
	struct vcpu *vcpu = k->vcpu;
	int ret;

	memset(state, 0, sizeof(*state));
	ret = get_mp_state(k, state);
	if (!ret)
		ret = kvm_get_msrs(k, &state->msr);
	if (!ret)
		ret = get_regs(k, state);
	if (!ret)
		ret = get_sregs(k, state);
	if (!ret)
		ret = get_fpu(k, state);
	if (!ret)
		ret = get_events(k, state);
	lapic_to_state(&vcpu->lapic, state);
	state->tsc = clock_tsc(&vcpu->vm->clock) + state->msr.tsc_adjust;
	x86_state_normal(state, vcpu->vm->cpu);
	return ret;
}

static int refuse(struct kvm_cpu *k, const char *what, int ret, struct err *err)
{
	return err_set(err, ret, "KVM refuses vcpu%u's %s: %s", k->vcpu->id,
		       what, strerror(-ret));
}

/* TSC, LAPIC and deadline follow in kvm_resume(). What a new vCPU has anyway is
 * not written: each call costs a load of the vCPU, and some a line in the
 * host's log. */
static int load_state(struct kvm_cpu *k, const struct x86_state *state,
		      struct err *err)
{
	static const struct {
		int (*put)(struct kvm_cpu *k, const struct x86_state *state);
		const char *what;
	} parts[] = {
		{put_sregs, "control registers and segments"},
		{put_fpu, "FPU state"},
		{put_regs, "registers"},
		{put_events, "pending events"},
		{put_mp_state, "activity state"},
	};
	int ret = 0;

	lapic_from_state(&k->vcpu->lapic, state);
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		ret = parts[i].put(k, state);
		if (ret)
			return refuse(k, parts[i].what, ret, err);
	}
	return kvm_set_msrs(k, &state->msr, err);
}

int kvm_set_state(struct vcpu *vcpu, const struct x86_state *state,
		  struct err *err)
{
	struct kvm_cpu *k = vcpu->engine;
	int ret = x86_state_check(state, vcpu->vm->cpu, err);

	if (ret)
		return ret;
	ret = load_state(k, state, err);
	k->used = true;
	return ret;
}

/* While the LAPICs are the kernel's, so is all that is on its way. */
int kvm_get_state(struct vcpu *vcpu, struct x86_state *state)
{
	struct kvm_cpu *k = vcpu->engine;
	u32 events = k->machine->has_chips ? 0 : vcpu_take_pending(vcpu);
	int ret = 0;

	if (events & VCPU_EV_NMI)
		ret = kvm_ioctl_num(k->fd, KVM_NMI, 0);
	if (!ret)
		ret = read_state(k, state);
	if (!ret && vcpu_take_init(vcpu, events, state))
		ret = load_state(k, state, NULL);
	return ret;
}
