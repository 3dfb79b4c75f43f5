/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is derived from the architectural state, and the whole state to and
 * from struct x86_state.
 *
 * References: [1] Intel SDM vol. 3A 3.4.4, 5.5 (CPL), 4.6 (access rights).
 *
 * CPL is SS's DPL, as in a VMCS ([1] vol. 3C 25.4.1): null SS selectors of
 * 64-bit code keep it in the attributes.
 */
#include <errno.h>

#include "arch/cpuid.h"
#include "engine/bt/fpu.h"
#include "engine/bt/sys.h"
#include "engine/bt/vm.h"

u64 bt_get_reg(struct bt_cpu *c, u8 off, unsigned width)
{
	switch (width) {
	case W8:
		return *bt_r8(c, off);
	case W16:
		return *bt_r16(c, off);
	case W32:
		return bt_get32(c, off);
	default:
		return *bt_r64(c, off);
	}
}

void bt_set_reg(struct bt_cpu *c, u8 off, unsigned width, u64 val)
{
	switch (width) {
	case W8:
		*bt_r8(c, off) = (u8)val;
		break;
	case W16:
		*bt_r16(c, off) = (u16)val;
		break;
	case W32:
		bt_set32(c, off, (u32)val);
		break;
	default:
		*bt_r64(c, off) = val;
	}
}

bool bt_is_amd(const struct bt_cpu *c)
{
	return cpu_is_amd(c->policy);
}

/* ---- derived ----------------------------------------------------------- */

/* Every access goes the slow way where one may match a watchpoint or must be
 * checked for alignment. */
void bt_update_tlb(struct bt_cpu *c)
{
	bool ac = c->eflags & FLAG_AC;
	bool aligned = c->cpl == 3 && ac && c->cr0 & CR0_AM;
	u8 mode = c->cpl == 3		     ? MMU_USER
		  : c->cr4 & CR4_SMAP && !ac ? MMU_KERNEL
					     : MMU_KERNEL_AC;

	if (unlikely(aligned || (c->dr[7] & 0xff &&
				 bt_watches(c, WATCH_WRITE | WATCH_ACCESS))))
		mode = MMU_COUNT;
	c->mode = mode;
	c->tlb = mode == MMU_COUNT ? &bt_empty_tlb : &c->mmu[mode];
}

/* Can an access that paging allows violate the segment. */
static bool needs_check(const struct bt_cpu *c, unsigned seg)
{
	const u16 flat = SEG_P | SEG_S | SEG_WRITABLE;
	const u16 care = flat | SEG_CODE | SEG_EXPAND_DOWN | SEG_UNUSABLE;
	const struct x86_segment *s = &c->seg[seg];

	if (c->code == W64)
		return false;
	if (s->limit != 0xffffffff)
		return true;
	return bt_protected(c) && (s->attr & care) != flat;
}

void bt_update_segment(struct bt_cpu *c, unsigned seg)
{
	bool based = c->code != W64 || seg == X86_FS || seg == X86_GS;

	c->seg_base[seg] = based ? c->seg[seg].base : 0;
	if (needs_check(c, seg))
		c->seg_check |= 1u << seg;
	else
		c->seg_check &= ~(1u << seg);
}

static enum bt_width code_size(const struct bt_cpu *c)
{
	u16 attr = c->seg[X86_CS].attr;

	if (c->msr.efer & EFER_LMA && attr & SEG_L)
		return W64;
	return attr & SEG_DB ? W32 : W16;
}

void bt_update_mode(struct bt_cpu *c)
{
	static const u64 ip_masks[] = {0, 0xffff, 0xffffffff, ~0ull};

	c->cpl = bt_protected(c) ? bt_seg_dpl(&c->seg[X86_SS]) & 3 : 0;
	c->code = (u8)code_size(c);
	c->ip_mask = ip_masks[c->code];
	if (c->code == W64) {
		c->lin_mask = ~0ull;
		c->stack_mask = ~0ull;
	} else {
		c->lin_mask = 0xffffffff;
		c->stack_mask =
			c->seg[X86_SS].attr & SEG_DB ? 0xffffffff : 0xffff;
	}
	for (unsigned seg = 0; seg < X86_SEGS; seg++)
		bt_update_segment(c, seg);
	bt_update_tlb(c);
}

/* From 64-bit code to 64-bit code nothing but the privilege changes: neither
 * has limits, and bases of CS and SS count in neither. */
void bt_update_code(struct bt_cpu *c)
{
	if (unlikely(c->code != W64 || code_size(c) != W64)) {
		bt_update_mode(c);
		return;
	}
	c->cpl = bt_seg_dpl(&c->seg[X86_SS]) & 3;
	bt_update_tlb(c);
}

void bt_set_flags(struct bt_cpu *c, u32 flags)
{
	const u32 keep = FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT |
			 FLAG_RF | FLAG_AC | FLAG_ID;
	u32 old = c->eflags;

	bt_set_arith(c, flags);
	c->eflags = flags & keep;
	if ((c->eflags ^ old) & FLAG_AC)
		bt_update_tlb(c);
	if (unlikely(c->eflags & (FLAG_TF | FLAG_RF)))
		bt_attend(c, ATTN_STEP);
	if (c->eflags & ~old & FLAG_IF && c->intr_hint)
		bt_attend(c, ATTN_EVENTS);
}

/* ---- whole ------------------------------------------------------------- */

static void copy(void *dst, const void *src, size_t len)
{
	__asm__ volatile("rep movsb"
			 : "+D"(dst), "+S"(src), "+c"(len)
			 :
			 : "memory");
}

static void set_events(struct bt_cpu *c, const struct x86_state *state)
{
	c->mp_state = state->mp_state;
	c->nmi_masked = state->nmi_masked;
	c->nmi_pending = state->nmi_pending;
	c->shadow = 0;
	if (state->shadow_sti)
		c->shadow = BT_SHADOW_STI;
	if (state->shadow_movss)
		c->shadow = BT_SHADOW_MOVSS;
	c->shadow_ip = state->rip;
	c->dr6_pending = 0;
	c->stepping = 0;
	c->repeating = 0;
	c->delivering = -1;
	c->intr_hint = 1;
	c->pv_eoi_armed = 0;
	bt_attend(c, ATTN_EVENTS | ATTN_STEP);
	/* Delivered at the first boundary, as if raised there (event.c). */
	c->exc.vector = state->exc_vector;
	c->exc.has_error = state->exc_has_error;
	c->exc.soft = false;
	c->exc.error = state->exc_error;
	c->exc.pending = state->exc_pending;
	c->intr_owed = state->intr_pending ? state->intr_vector : -1;
}

static void load_state(struct bt_cpu *c, const struct x86_state *state)
{
	copy(c->gpr, state->gpr, sizeof(state->gpr));
	c->gpr[16] = 0;
	c->gpr[17] = c->rip = state->rip;
	copy(c->seg, state->seg, sizeof(c->seg));
	c->gdtr = state->gdtr;
	c->idtr = state->idtr;
	c->cr0 = state->cr0;
	c->cr2 = state->cr2;
	c->cr3 = state->cr3;
	c->cr4 = state->cr4;
	c->xcr0 = state->xcr0;
	copy(c->dr, state->dr, sizeof(c->dr));
	copy(c->pdpte, state->pdpte, sizeof(c->pdpte));
	copy(&c->msr, &state->msr, sizeof(c->msr));
	bt_fpu_set(c, state->xsave);
	bt_set_arith(c, (u32)state->rflags);
	c->eflags = (u32)state->rflags & ~(u32)(FLAG_ARITH | FLAG_1 | FLAG_VM);
	lapic_from_state(&c->vcpu->lapic, state);
	set_events(c, state);
	bt_update_mode(c);
	bt_tlb_flush(c);
	bt_pv_write_clock(c);
}

static void get_msrs(struct bt_cpu *c, struct x86_msrs *msr)
{
	copy(msr, &c->msr, sizeof(*msr));
	msr->fs_base = c->seg[X86_FS].base;
	msr->gs_base = c->seg[X86_GS].base;
}

/* run() returns between instructions, with nothing half delivered; only what
 * set_events() brought may still be there. */
static void get_owed(const struct bt_cpu *c, struct x86_state *state)
{
	bool exc = c->exc.pending, intr = c->intr_owed >= 0;

	state->exc_pending = exc;
	state->exc_vector = exc ? c->exc.vector : 0;
	state->exc_has_error = exc && c->exc.has_error;
	state->exc_error = exc ? c->exc.error : 0;
	state->intr_pending = intr;
	state->intr_vector = intr ? (u8)c->intr_owed : 0;
	state->reserved[0] = state->reserved[1] = 0;
}

/* Between two instructions, outside. */
static void read_state(struct bt_cpu *c, struct x86_state *state)
{
	struct vcpu *vcpu = c->vcpu;

	copy(state->gpr, c->gpr, sizeof(state->gpr));
	state->rip = c->gpr[17];
	/* [1] 17.3.1.1: what an interrupted repetition leaves in RFLAGS. */
	state->rflags = bt_flags(c) | (c->repeating ? FLAG_RF : 0);
	copy(state->seg, c->seg, sizeof(state->seg));
	state->gdtr = c->gdtr;
	state->idtr = c->idtr;
	state->cr0 = c->cr0;
	state->cr2 = c->cr2;
	state->cr3 = c->cr3;
	state->cr4 = c->cr4;
	state->xcr0 = c->xcr0;
	copy(state->dr, c->dr, sizeof(state->dr));
	copy(state->pdpte, c->pdpte, sizeof(state->pdpte));
	get_msrs(c, &state->msr);
	state->tsc = clock_tsc(&vcpu->vm->clock) + c->msr.tsc_adjust;
	lapic_to_state(&vcpu->lapic, state);
	state->mp_state = c->mp_state;
	state->shadow_sti = 0;
	state->shadow_movss = 0;
	if (c->shadow_ip == c->gpr[17]) {
		state->shadow_sti = c->shadow == BT_SHADOW_STI;
		state->shadow_movss = c->shadow == BT_SHADOW_MOVSS;
	}
	state->nmi_masked = c->nmi_masked;
	state->nmi_pending = c->nmi_pending;
	get_owed(c, state);
	bt_fpu_get(c, state->xsave);
	x86_state_normal(state, c->policy);
}

int bt_get_state(struct vcpu *vcpu, struct x86_state *state)
{
	struct bt_cpu *c = vcpu->engine;
	u32 events;

	bt_pv_eoi_sync(c);
	events = vcpu_take_pending(vcpu);
	if (events & VCPU_EV_NMI)
		c->nmi_pending = 1;
	read_state(c, state);
	if (vcpu_take_init(vcpu, events, state))
		load_state(c, state);
	return 0;
}

void bt_take_init(struct bt_cpu *c, u32 events)
{
	struct x86_state state;

	bt_leave(c);
	bt_pv_eoi_sync(c);
	read_state(c, &state);
	if (vcpu_take_init(c->vcpu, events, &state))
		load_state(c, &state);
	bt_enter(c);
}

/* There is no virtual-8086 mode here: a task in it cannot go on. */
int bt_set_state(struct vcpu *vcpu, const struct x86_state *state,
		 struct err *err)
{
	struct bt_cpu *c = vcpu->engine;
	int ret = x86_state_check(state, c->policy, err);

	if (!ret && state->rflags & FLAG_VM)
		ret = err_set(err, -ENOTSUP,
			      "vcpu%u is in virtual-8086 mode, which the bt "
			      "engine does not have",
			      vcpu->id);
	if (!ret)
		load_state(c, state);
	return ret;
}
