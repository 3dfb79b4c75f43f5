/* SPDX-License-Identifier: Apache-2.0 */
/* Two saved states of a VM beside each other; see moves.h. */
#include "moves.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/xsave.h"
#include "engine/engine.h"

int saved_get(struct saved *s, struct vm *vm)
{
	int ret = 0;

	memset(s, 0, sizeof(*s));
	s->cpus = vm->vcpu_count;
	for (unsigned i = 0; !ret && i < s->cpus; i++)
		ret = vm->engine->get_state(vm->vcpus[i], &s->cpu[i]);
	for (unsigned i = 0; i < s->cpus; i++)
		memcpy(&s->lapic[i], &vm->vcpus[i]->lapic.regs,
		       sizeof(s->lapic[i]));
	memcpy(&s->pic, vm->irq.pic.regs, sizeof(s->pic));
	memcpy(&s->ioapic, vm->irq.ioapic.regs, sizeof(s->ioapic));
	memcpy(&s->pit, vm->irq.pit.regs, sizeof(s->pit));
	s->ns = clock_ns(&vm->clock);
	return ret;
}

/* ---- fields ------------------------------------------------------------ */

struct field {
	const char *name;
	size_t off, size;
};

#define FIELD(type, field)                                                \
	{                                                                 \
#field, offsetof(type, field), sizeof(((type *)0)->field) \
	}
#define STATE(field) FIELD(struct x86_state, field)
#define FPU(name, first, bytes)                                             \
	{                                                                   \
		"xsave." name, offsetof(struct x86_state, xsave) + (first), \
			bytes                                               \
	}
#define LAPIC(field) FIELD(struct lapic_regs, field)

static const struct field state_fields[] = {
	STATE(gpr),
	STATE(rip),
	STATE(rflags),
	STATE(seg[X86_ES]),
	STATE(seg[X86_CS]),
	STATE(seg[X86_SS]),
	STATE(seg[X86_DS]),
	STATE(seg[X86_FS]),
	STATE(seg[X86_GS]),
	STATE(seg[X86_LDTR]),
	STATE(seg[X86_TR]),
	STATE(gdtr),
	STATE(idtr),
	STATE(cr0),
	STATE(cr2),
	STATE(cr3),
	STATE(cr4),
	STATE(cr8),
	STATE(xcr0),
	STATE(dr),
	STATE(pdpte),
	STATE(msr.efer),
	STATE(msr.star),
	STATE(msr.lstar),
	STATE(msr.cstar),
	STATE(msr.sfmask),
	STATE(msr.fs_base),
	STATE(msr.gs_base),
	STATE(msr.kernel_gs_base),
	STATE(msr.sysenter_cs),
	STATE(msr.sysenter_esp),
	STATE(msr.sysenter_eip),
	STATE(msr.pat),
	STATE(msr.apic_base),
	STATE(msr.tsc_aux),
	STATE(msr.tsc_adjust),
	STATE(msr.misc_enable),
	STATE(msr.spec_ctrl),
	STATE(msr.mtrr_def_type),
	STATE(msr.mtrr_fixed),
	STATE(msr.mtrr_base),
	STATE(msr.mtrr_mask),
	STATE(msr.debugctl),
	STATE(msr.xss),
	STATE(msr.kvm_system_time),
	STATE(msr.kvm_wall_clock),
	STATE(msr.kvm_pv_eoi),
	STATE(msr.kvm_steal_time),
	STATE(msr.kvm_async_pf),
	STATE(msr.kvm_poll_control),
	STATE(tsc),
	STATE(tsc_deadline),
	STATE(mp_state),
	STATE(shadow_sti),
	STATE(shadow_movss),
	STATE(nmi_masked),
	STATE(nmi_pending),
	STATE(exc_pending),
	STATE(exc_vector),
	STATE(exc_has_error),
	STATE(exc_error),
	STATE(intr_pending),
	STATE(intr_vector),
	STATE(reserved),
	FPU("control", 0, 6),
	FPU("last_instruction", 6, 18),
	FPU("mxcsr", 24, 8),
	FPU("st", 32, 128),
	FPU("xmm", 160, 256),
	FPU("tail", 416, 96),
	FPU("header", 512, 64),
	FPU("ymm", XSAVE_AVX, X86_XSAVE_AREA - XSAVE_AVX),
};

static const struct field lapic_fields[] = {
	LAPIC(apic_base),
	LAPIC(tsc_deadline),
	LAPIC(id),
	LAPIC(ldr),
	LAPIC(dfr),
	LAPIC(svr),
	LAPIC(tpr),
	LAPIC(esr),
	LAPIC(esr_pending),
	LAPIC(icr_lo),
	LAPIC(icr_hi),
	LAPIC(lvt),
	LAPIC(timer_icr),
	LAPIC(timer_dcr),
	LAPIC(timer_running),
	LAPIC(timer_start_ns),
	LAPIC(isr),
	LAPIC(tmr),
	LAPIC(irr),
};

#define PIC(chip_, field) FIELD(struct pic_state, chip[chip_].field)
#define PIC_CHIP(n)                                                         \
	PIC(n, lines), PIC(n, irr), PIC(n, imr), PIC(n, isr), PIC(n, elcr), \
		PIC(n, vector_base), PIC(n, icw1), PIC(n, icw4),            \
		PIC(n, next_icw), PIC(n, lowest), PIC(n, read_isr),         \
		PIC(n, poll), PIC(n, special_mask), PIC(n, rotate_on_aeoi), \
		PIC(n, reserved)
static const struct field pic_fields[] = {PIC_CHIP(PIC_MASTER),
					  PIC_CHIP(PIC_SLAVE)};

static const struct field ioapic_fields[] = {
	FIELD(struct ioapic_state, id),	   FIELD(struct ioapic_state, index),
	FIELD(struct ioapic_state, lines), FIELD(struct ioapic_state, reserved),
	FIELD(struct ioapic_state, rte),
};

#define PIT(n, field) FIELD(struct pit_state, channel[n].field)
#define PIT_CHANNEL(n)                                                       \
	PIT(n, load_tick), PIT(n, elapsed), PIT(n, switch_tick),             \
		PIT(n, period), PIT(n, reload), PIT(n, latch),               \
		PIT(n, control), PIT(n, phase), PIT(n, gate),                \
		PIT(n, before_load), PIT(n, start_high), PIT(n, null_count), \
		PIT(n, latched), PIT(n, status_latched), PIT(n, status),     \
		PIT(n, read_high), PIT(n, write_high), PIT(n, write_latch),  \
		PIT(n, reserved)
static const struct field pit_fields[] = {
	PIT_CHANNEL(0),
	PIT_CHANNEL(1),
	PIT_CHANNEL(2),
	FIELD(struct pit_state, port61),
};

/* ---- what may differ --------------------------------------------------- */

enum when { BY_KVM = 1, BY_AMD = 2, BY_TIME = 4 };

static struct exempt {
	const char *field;
	unsigned when; /* OR of enum when: all of them */
	const char *why;
	unsigned used;
} exempt[] = {
	{"tsc", BY_TIME, "time went on", 0},
	{"shadow_sti", BY_KVM | BY_AMD,
	 "AMD has one shadow: either kind comes back as both", 0},
	{"shadow_movss", BY_KVM | BY_AMD,
	 "AMD has one shadow: either kind comes back as both", 0},
	{"msr.sysenter_esp", BY_KVM | BY_AMD,
	 "KVM loads the low half, which is all that AMD uses", 0},
	{"msr.sysenter_eip", BY_KVM | BY_AMD,
	 "KVM loads the low half, which is all that AMD uses", 0},
	{"xsave.last_instruction", BY_KVM | BY_AMD,
	 "AMD keeps FIP, FDP and FOP only with an exception pending", 0},
};

static bool is_exempt(const char *name, const struct way *way)
{
	unsigned now = (way->ran ? BY_TIME : 0) | (way->amd ? BY_AMD : 0);

	if (!strcmp(way->engine, "kvm"))
		now |= BY_KVM;
	for (unsigned i = 0; i < ARRAY_SIZE(exempt); i++)
		if (!strcmp(exempt[i].field, name) &&
		    (exempt[i].when & now) == exempt[i].when) {
			exempt[i].used++;
			return true;
		}
	return false;
}

void saved_tell_exempt(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(exempt); i++)
		printf("%6u times %s: %s\n", exempt[i].used, exempt[i].field,
		       exempt[i].why);
}

/* ---- what time does ---------------------------------------------------- */

static void raise_vector(struct lapic_regs *l, u32 vector)
{
	l->irr[vector / 32] |= 1u << (vector & 31);
}

/* A LAPIC's timer, as the manual has it, up to the moment of the later save. */
static void pass_time(struct x86_state *cpu, struct lapic_regs *l, u64 ns,
		      u64 tsc)
{
	u64 period = (u64)l->timer_icr << lapic_timer_shift(l->timer_dcr);
	u64 elapsed = ns - l->timer_start_ns;
	bool expired = false;

	if (cpu->tsc_deadline && tsc >= cpu->tsc_deadline) {
		cpu->tsc_deadline = l->tsc_deadline = 0;
		expired = true;
	} else if (l->timer_running && elapsed >= period) {
		if (l->lvt[LVT_TIMER] >> 17 & 1)
			l->timer_start_ns += elapsed - elapsed % period;
		else
			l->timer_running = 0;
		expired = true;
	}
	if (expired && !(l->lvt[LVT_TIMER] & 0x10000))
		raise_vector(l, l->lvt[LVT_TIMER] & 0xff);
}

/* The 8254 may have ticked: its line is the 8259's 0 and the IOAPIC's 2. */
static void pass_ticks(struct saved *s, const struct saved *after)
{
	const struct pit_channel_state *c = &after->pit.channel[0];
	u64 tick = (u64)((unsigned __int128)after->ns * 105 / 88000);
	u32 vector = s->ioapic.rte[2] & 0xff;

	s->pic.chip[PIC_MASTER].irr |= after->pic.chip[PIC_MASTER].irr & 1;
	if (!(s->ioapic.rte[2] & 0x10000) &&
	    after->lapic[0].irr[vector / 32] >> (vector & 31) & 1)
		raise_vector(&s->lapic[0], vector);
	/* A one-shot count that the kernel saw end ended in time. */
	if (c->phase == PIT_COUNTING && c->load_tick + c->period <= tick &&
	    c->load_tick < s->pit.channel[0].load_tick)
		s->pit.channel[0].load_tick = c->load_tick;
}

/* ---- comparison -------------------------------------------------------- */

struct object {
	const char *name;
	const void *before, *after;
	size_t size;
	const struct field *fields;
	unsigned count;
};

static void tell_bytes(const char *when, const u8 *bytes, size_t size)
{
	printf("    %s", when);
	for (size_t i = 0; i < size && i < 48; i++)
		printf("%s%02x", i % 8 ? "" : " ", bytes[i]);
	printf("\n");
}

static unsigned compare_field(const struct object *o, const struct field *f,
			      const struct way *way)
{
	const u8 *before = (const u8 *)o->before + f->off;
	const u8 *after = (const u8 *)o->after + f->off;
	size_t first = 0;

	if (!memcmp(before, after, f->size) || is_exempt(f->name, way))
		return 0;
	while (before[first] == after[first])
		first++;
	first &= ~(size_t)7;
	printf("DIFFERS %s %s, byte %zu, saved by %s%s\n", o->name, f->name,
	       first, way->engine, way->ran ? " behind its kernel" : "");
	tell_bytes("before", before + first, f->size - first);
	tell_bytes("after ", after + first, f->size - first);
	return 1;
}

/* Every byte is in a field, or padding that is zero. */
static unsigned compare_object(const struct object *o, const struct way *way)
{
	u8 *covered = calloc(1, o->size);
	unsigned differ = 0;

	for (unsigned i = 0; i < o->count; i++) {
		memset(covered + o->fields[i].off, 1, o->fields[i].size);
		differ += compare_field(o, &o->fields[i], way);
	}
	for (size_t i = 0; i < o->size; i++)
		if (!covered[i] &&
		    (((const u8 *)o->before)[i] || ((const u8 *)o->after)[i])) {
			printf("DIFFERS %s: byte %zu is in no field\n", o->name,
			       i);
			differ++;
			break;
		}
	free(covered);
	return differ;
}

#define OBJECT(what, member, table)                                   \
	{                                                             \
		.name = (what), .before = &then.member,               \
		.after = &after->member, .size = sizeof(then.member), \
		.fields = (table), .count = ARRAY_SIZE(table)         \
	}

unsigned saved_compare(const struct saved *before, const struct saved *after,
		       const struct way *way)
{
	static struct saved then;
	const struct object all[] = {
		OBJECT("vcpu0", cpu[0], state_fields),
		OBJECT("lapic0", lapic[0], lapic_fields),
		OBJECT("pic", pic, pic_fields),
		OBJECT("ioapic", ioapic, ioapic_fields),
		OBJECT("pit", pit, pit_fields),
		OBJECT("vcpu1", cpu[1], state_fields),
		OBJECT("lapic1", lapic[1], lapic_fields),
	};
	unsigned differ = 0;

	then = *before;
	for (unsigned i = 0; way->ran && i < then.cpus; i++)
		pass_time(&then.cpu[i], &then.lapic[i], after->ns,
			  after->cpu[i].tsc);
	if (way->ran)
		pass_ticks(&then, after);
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		differ += compare_object(&all[i], way);
	return differ;
}
