/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system half of the software engine where a guest cannot look, or not
 * easily: saved state, triple faults, shadows and masks against interrupts
 * from outside, MSR rules, KVM's clock and end of interrupt.
 */
#include "bt_guest.h"

#include <errno.h>

#include "engine/bt/sys.h"
#include "vmm/bus.h"
#include "vmm/device.h"

/* ---- saved state ------------------------------------------------------- */

static void test_state_identity(void **unused)
{
	struct guest *g = guest_create();
	struct x86_state *want = &g->state, got;
	u8 *bytes;

	for (unsigned k = 0; k < X86_GPRS; k++)
		want->gpr[k] = 0x0123456789abcdef * (k + 1);
	want->rflags = 0x246 | FLAG_OF | FLAG_DF | FLAG_AC | FLAG_ID;
	want->cr2 = 0xdeadbeef;
	want->cr3 = 0x7000;
	want->cr4 = CR4_PAE | CR4_OSFXSR;
	want->cr0 |= CR0_PG;
	want->cr8 = 5;
	want->dr[0] = 0x1234;
	for (unsigned k = 0; k < 4; k++)
		want->pdpte[k] = k << 12;
	bytes = (u8 *)&want->msr.star;
	for (size_t k = 0; k < sizeof(u64); k++)
		bytes[k] = (u8)k;
	want->msr.lstar = 0xffffffff81234567;
	want->msr.pat = 0x0606060606060606;
	want->msr.mtrr_mask[7] = 0xff000800;
	want->msr.kvm_wall_clock = DATA;
	want->seg[X86_FS].base = want->msr.fs_base = 0x12345;
	want->shadow_sti = 1;
	want->nmi_masked = 1;
	want->xsave[200] = 0x5a;
	x86_state_normal(want, &g->policy);
	assert_int_equal(engine_bt.set_state(g->vcpu, want, NULL), 0);
	assert_int_equal(engine_bt.get_state(g->vcpu, &got), 0);
	got.tsc = want->tsc; /* the clock's */
	assert_memory_equal(&got, want, sizeof(got));
	guest_destroy(g);
}

/* What others posted and nobody took yet is saved, and is not there twice. */
static void test_state_mail(void **unused)
{
	struct guest *g = guest_create_cpus(2);
	struct vcpu *ap = g->vm->vcpus[1];
	struct x86_state got;

	assert_int_equal(engine_bt.set_state(g->vcpu, &g->state, NULL), 0);
	assert_int_equal(engine_bt.set_state(ap, &g->state, NULL), 0);
	vcpu_post(g->vcpu, VCPU_EV_NMI | VCPU_EV_KICK);
	assert_int_equal(engine_bt.get_state(g->vcpu, &got), 0);
	assert_true(got.nmi_pending);
	assert_int_equal(g->vcpu->events & ~VCPU_EV_INTR, VCPU_EV_KICK);
	assert_int_equal(engine_bt.get_state(g->vcpu, &got), 0);
	assert_true(got.nmi_pending);

	vcpu_post(ap, VCPU_EV_INIT);
	assert_int_equal(engine_bt.get_state(ap, &got), 0);
	assert_int_equal(got.mp_state, X86_MP_WAIT_SIPI);
	assert_int_equal(got.rip, 0xfff0);
	ap->sipi_vector = 0x12;
	vcpu_post(ap, VCPU_EV_SIPI);
	assert_int_equal(engine_bt.get_state(ap, &got), 0);
	assert_int_equal(got.mp_state, X86_MP_RUNNABLE);
	assert_int_equal(got.seg[X86_CS].selector, 0x1200);
	assert_int_equal(got.seg[X86_CS].base, 0x12000);
	assert_int_equal(got.rip, 0);
	/* A second one finds nobody waiting. */
	ap->sipi_vector = 0x34;
	vcpu_post(ap, VCPU_EV_SIPI);
	assert_int_equal(engine_bt.get_state(ap, &got), 0);
	assert_int_equal(got.seg[X86_CS].selector, 0x1200);
	guest_destroy(g);
}

/* An engine that cannot go on with a state says so, and keeps what it had. */
static void test_state_refused(void **unused)
{
	struct guest *g = guest_create();
	struct x86_state bad = g->state, got;
	struct err err = {0};

	g->state.gpr[X86_RBX] = 0x1234;
	assert_int_equal(engine_bt.set_state(g->vcpu, &g->state, NULL), 0);
	bad.rflags |= FLAG_VM;
	assert_int_equal(engine_bt.set_state(g->vcpu, &bad, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "virtual-8086"));
	bad.rflags &= ~(u64)FLAG_VM;
	bad.mp_state = 3;
	assert_int_equal(engine_bt.set_state(g->vcpu, &bad, &err), -EINVAL);
	assert_int_equal(engine_bt.get_state(g->vcpu, &got), 0);
	assert_int_equal(got.gpr[X86_RBX], 0x1234);
	guest_destroy(g);
}

/* ---- devices ----------------------------------------------------------- */

/* A device that, while it is written to, writes to memory that holds code. */
struct scribbler {
	struct device dev;
	struct guest *guest;
	u64 val;
};

static u64 scribbler_read(struct device *dev, u64 off, unsigned width)
{
	return container_of(dev, struct scribbler, dev)->val;
}

static void scribbler_write(struct device *dev, u64 off, unsigned width,
			    u64 val)
{
	struct scribbler *s = container_of(dev, struct scribbler, dev);

	s->val = val;
	poke(s->guest, CODE + 0x20, "\xf4", 1);
}

/* For that the exclusive section must be free, locked access or not. */
static void test_locked_device_access(void **unused)
{
	struct guest *g = guest_create();
	struct scribbler s = {.guest = g, .val = 5};
	const struct bus_region region = {
		.name = "scribbler",
		.space = BUS_MMIO,
		.base = MMIO,
		.size = 0x1000,
		.widths = BUS_W4,
		.dev = &s.dev,
		.read = scribbler_read,
		.write = scribbler_write,
	};

	pthread_mutex_init(&s.dev.lock, NULL);
	assert_int_equal(bus_add(&g->vm->bus, &region, NULL), 0);
	g->state.gpr[X86_RBX] = MMIO;
	RUN(g, "\xb8\x03\x00\x00\x00" /* mov $3, %eax */
	       "\xf0\x0f\xc1\x03"     /* lock xadd %eax, (%ebx) */
	       "\x87\x03"	      /* xchg %eax, (%ebx) */
	       "\xf4");
	assert_int_equal(halted_in(g), -1);
	assert_int_equal(g->state.gpr[X86_RAX], 8);
	assert_int_equal(s.val, 5);
	bus_remove(&g->vm->bus, BUS_MMIO, MMIO);
	pthread_mutex_destroy(&s.dev.lock);
	guest_destroy(g);
}

/* ---- exceptions that meet ---------------------------------------------- */

static void test_triple_fault(void **unused)
{
	struct guest *g = guest_create();

	g->state.idtr.limit = 0;
	RUN(g, "\x0f\x0b"); /* ud2 */
	assert_int_equal(g->exit.kind, VCPU_EXIT_SHUTDOWN);
	assert_int_equal(g->exit.rip, CODE);
	assert_non_null(strstr(g->exit.message, "rip 0x4000"));
	guest_destroy(g);
}

static void test_double_fault(void **unused)
{
	struct guest *g = guest_create();
	const u64 none = 0;

	/* #GP whose gate is not there: #NP in delivery, both contributory. */
	poke(g, IDT + 8 * VEC_GP, &none, 8);
	RUN(g, "\x66\xb8\x40\x00\x8e\xd8"); /* mov ds, no such segment */
	assert_int_equal(halted_in(g), VEC_DF);
	assert_int_equal(peek(g, (u32)g->state.gpr[X86_RSP]), 0);
	guest_destroy(g);
}

static void test_serial_faults(void **unused)
{
	struct guest *g = guest_create();
	const u32 absent[2] = {CODE_SEL << 16, 0x0e00};

	/* #UD is benign: its missing gate is a plain #NP with EXT. */
	poke(g, IDT + 8 * VEC_UD, absent, 8);
	RUN(g, "\x0f\x0b");
	assert_int_equal(halted_in(g), VEC_NP);
	assert_int_equal(peek(g, (u32)g->state.gpr[X86_RSP]),
			 VEC_UD * 8 + 2 + 1);
	guest_destroy(g);
}

/* ---- interrupts -------------------------------------------------------- */

static void interrupt(struct guest *g, u8 vector)
{
	const struct lapic_msg msg = {.vector = vector};

	assert_true(lapic_deliver(g->vm, &msg));
}

static void enable_lapic(struct guest *g)
{
	lapic_mmio_write(&g->vcpu->lapic, 0xf0, 0x1ff);
}

static void test_sti_shadow(void **unused)
{
	struct guest *g = guest_create();

	enable_lapic(g);
	interrupt(g, 0x40);
	RUN(g, "\xfb\x40\x40\x40\xf4"); /* sti; inc eax, three times; hlt */
	assert_int_equal(halted_in(g), 0x40);
	assert_int_equal((u32)g->state.gpr[X86_RAX], 1);
	assert_int_equal(peek(g, (u32)g->state.gpr[X86_RSP]), CODE + 2);
	guest_destroy(g);
}

/* STI; HLT must not lose the interrupt that comes between the two. */
static void test_sti_hlt(void **unused)
{
	struct guest *g = guest_create();

	enable_lapic(g);
	interrupt(g, 0x40);
	RUN(g, "\xfb\xf4\x90");
	assert_int_equal(halted_in(g), 0x40);
	assert_int_equal(peek(g, (u32)g->state.gpr[X86_RSP]), CODE + 2);
	guest_destroy(g);
}

static void test_nmi_mask(void **unused)
{
	struct guest *g = guest_create();

	poke(g, HANDLERS + 16 * VEC_NMI, "\xff\x05\x00\x90\x00\x00\xf4",
	     7); /* inc dword [DATA]; hlt */
	vcpu_post(g->vcpu, VCPU_EV_NMI);
	RUN(g, "\x90\xf4");
	assert_int_equal(peek(g, DATA), 1);
	assert_int_equal(g->state.nmi_masked, 1);
	vcpu_post(g->vcpu, VCPU_EV_NMI);
	engine_bt.run(g->vcpu, &g->exit);
	assert_int_equal(peek(g, DATA), 1);
	assert_int_equal(engine_bt.get_state(g->vcpu, &g->state), 0);
	assert_int_equal(g->state.nmi_pending, 1);
	g->state.rip = CODE;
	g->state.mp_state = X86_MP_RUNNABLE;
	RUN(g, "\xcf"); /* iret, back to CODE: there the second one comes */
	assert_int_equal(peek(g, DATA), 2);
	assert_int_equal(g->state.nmi_pending, 0);
	guest_destroy(g);
}

static void test_single_step(void **unused)
{
	struct guest *g = guest_create();

	g->state.rflags |= FLAG_TF;
	RUN(g, "\x90\x90\xf4");
	assert_int_equal(halted_in(g), VEC_DB);
	assert_int_equal(peek(g, (u32)g->state.gpr[X86_RSP]), CODE + 1);
	assert_true(g->state.dr[6] & DR6_BS);
	guest_destroy(g);
}

static void test_kick(void **unused)
{
	struct guest *g = guest_create();

	vcpu_post(g->vcpu, VCPU_EV_KICK);
	RUN(g, "\xeb\xfe"); /* for ever */
	assert_int_equal(g->exit.kind, VCPU_EXIT_KICK);
	assert_int_equal(g->state.rip, CODE);
	guest_destroy(g);
}

/* ---- MSRs -------------------------------------------------------------- */

static bool wrmsr(struct guest *g, u32 msr, u64 val)
{
	g->state.rip = CODE;
	g->state.gpr[X86_RSP] = STACK;
	g->state.gpr[X86_RCX] = msr;
	g->state.gpr[X86_RAX] = (u32)val;
	g->state.gpr[X86_RDX] = val >> 32;
	g->state.mp_state = X86_MP_RUNNABLE;
	RUN(g, "\x0f\x30\xf4");
	return halted_in(g) == -1;
}

static bool rdmsr(struct guest *g, u32 msr, u64 *val)
{
	g->state.rip = CODE;
	g->state.gpr[X86_RSP] = STACK;
	g->state.gpr[X86_RCX] = msr;
	g->state.mp_state = X86_MP_RUNNABLE;
	RUN(g, "\x0f\x32\xf4");
	*val = g->state.gpr[X86_RDX] << 32 | (u32)g->state.gpr[X86_RAX];
	return halted_in(g) == -1;
}

static void test_msr_rules(void **unused)
{
	static const struct {
		u32 msr;
		u64 val;
		bool ok;
	} cases[] = {
		{MSR_PAT, 0x0007040600070406, true},
		{MSR_PAT, 0x0007040600070402, false}, /* type 2 */
		{MSR_MTRR_DEF_TYPE, 0xc06, true},
		{MSR_MTRR_DEF_TYPE, 0xc02, false},
		{MSR_MTRR_DEF_TYPE, 0x1006, false},
		{MSR_MTRR_FIX4K_C0 + 7, 0x0606060606060606, true},
		{MSR_MTRR_FIX64K, 7, false},
		{MSR_MTRR_BASE0 + 15, 0x80000800, true},
		{MSR_MTRR_BASE0 + 15, 0x80000801, false},
		{MSR_MTRR_BASE0 + 16, 0, false}, /* there are eight */
		{MSR_MTRRCAP, 0, false},
		{MSR_LSTAR, 0x0000800000000000, false},
		{MSR_LSTAR, 0xffff800000000000, true},
		{MSR_KERNEL_GS_BASE, 0x0000800000000000, false},
		{MSR_EFER, EFER_SCE | EFER_NXE, true},
		{MSR_EFER, BIT(12), false}, /* SVME */
		{MSR_APIC_BASE, ~0ull, false},
		{0x12345678, 0, false},
	};
	struct guest *g = guest_create();
	u64 val;

	for (unsigned k = 0; k < ARRAY_SIZE(cases); k++) {
		assert_int_equal(wrmsr(g, cases[k].msr, cases[k].val),
				 cases[k].ok);
		if (!cases[k].ok)
			continue;
		assert_true(rdmsr(g, cases[k].msr, &val));
		assert_int_equal(val, cases[k].val);
	}
	guest_destroy(g);
}

static void test_tsc_adjust(void **unused)
{
	struct guest *g = guest_create();
	const u64 far = 1ull << 50;
	u64 val;

	assert_true(wrmsr(g, MSR_TSC, far));
	assert_true(rdmsr(g, MSR_TSC_ADJUST, &val));
	assert_int_equal(val, far); /* the clock is paused at 0 */
	assert_true(rdmsr(g, MSR_TSC, &val));
	assert_int_equal(val, far);
	assert_true(wrmsr(g, MSR_TSC_ADJUST, 5));
	assert_true(rdmsr(g, MSR_TSC, &val));
	assert_int_equal(val, 5);
	guest_destroy(g);
}

/* ---- KVM's interfaces -------------------------------------------------- */

static void test_kvmclock(void **unused)
{
	struct guest *g = guest_create();
	u64 timestamp, system_time;

	assert_true(wrmsr(g, MSR_TSC_ADJUST, 1000));
	assert_true(wrmsr(g, MSR_KVM_SYSTEM_TIME, DATA | 1));
	assert_true(peek(g, DATA) && !(peek(g, DATA) & 1));
	mem_read(&g->vm->mem, DATA + 8, &timestamp, 8);
	mem_read(&g->vm->mem, DATA + 16, &system_time, 8);
	assert_int_equal(timestamp, g->vm->clock.tsc_base + 1000);
	/* Guest time 0 is 1 ns there: 0 is a page that nobody wrote. */
	assert_int_equal(g->vm->clock.ns_base, 0);
	assert_int_equal(system_time, 1);
	clock_advance(&g->vm->clock, 5000);
	assert_true(wrmsr(g, MSR_KVM_SYSTEM_TIME, DATA | 1));
	mem_read(&g->vm->mem, DATA + 16, &system_time, 8);
	assert_int_equal(system_time, 5000);
	/* 1 GHz: the factor is one, which needs a shift to fit 32 bits. */
	assert_int_equal(peek(g, DATA + 24), 1u << 31);
	assert_int_equal(peek(g, DATA + 28) & 0xffff, 0x0101);
	assert_false(wrmsr(g, MSR_KVM_SYSTEM_TIME, DATA | 3));
	assert_false(wrmsr(g, MSR_KVM_STEAL_TIME, DATA | 1));
	guest_destroy(g);
}

static void test_pv_eoi(void **unused)
{
	struct guest *g = guest_create();
	const u32 *isr = g->vcpu->lapic.regs.isr;

	enable_lapic(g);
	assert_true(wrmsr(g, MSR_KVM_PV_EOI, DATA | 1));
	interrupt(g, 0x40);
	/* The handler ends it in memory: btr dword [DATA], 0; hlt. */
	poke(g, HANDLERS + 16 * 0x40, "\x0f\xba\x35\x00\x90\x00\x00\x00\xf4",
	     9);
	g->state.rip = CODE;
	g->state.rflags |= FLAG_IF;
	g->state.mp_state = X86_MP_RUNNABLE;
	RUN(g, "\x90\xf4");
	assert_int_equal(g->state.rip, HANDLERS + 16 * 0x40 + 9);
	assert_int_equal(g->state.rflags & FLAG_CF, FLAG_CF); /* offered */
	assert_int_equal(peek(g, DATA) & 1, 0);
	assert_int_equal(isr[2], 0); /* get_state looked */
	guest_destroy(g);
}

static void test_hypercall(void **unused)
{
	struct guest *g = guest_create();

	g->state.gpr[X86_RAX] = 99;
	RUN(g, "\x0f\x01\xc1\xf4");
	assert_int_equal((s32)g->state.gpr[X86_RAX], -1000);
	guest_destroy(g);
}

/* ---- segments ---------------------------------------------------------- */

static void test_seg_fits(void **unused)
{
	const struct x86_segment up = {.limit = 0xfff, .attr = 0x93};
	const struct x86_segment down16 = {.limit = 0xfff, .attr = 0x97};
	const struct x86_segment down32 = {.limit = 0xfff, .attr = 0x4097};

	assert_true(bt_seg_fits(&up, 0xffc, 4));
	assert_false(bt_seg_fits(&up, 0xffd, 4));
	assert_false(bt_seg_fits(&down16, 0xfff, 1));
	assert_true(bt_seg_fits(&down16, 0x1000, 1));
	assert_true(bt_seg_fits(&down16, 0xfffc, 4));
	assert_false(bt_seg_fits(&down16, 0xfffd, 4));
	assert_true(bt_seg_fits(&down32, 0xfffffffc, 4));
	assert_false(bt_seg_fits(&down32, 0xfffffffd, 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_identity),
		cmocka_unit_test(test_state_mail),
		cmocka_unit_test(test_state_refused),
		cmocka_unit_test(test_locked_device_access),
		cmocka_unit_test(test_triple_fault),
		cmocka_unit_test(test_double_fault),
		cmocka_unit_test(test_serial_faults),
		cmocka_unit_test(test_sti_shadow),
		cmocka_unit_test(test_sti_hlt),
		cmocka_unit_test(test_nmi_mask),
		cmocka_unit_test(test_single_step),
		cmocka_unit_test(test_kick),
		cmocka_unit_test(test_msr_rules),
		cmocka_unit_test(test_tsc_adjust),
		cmocka_unit_test(test_kvmclock),
		cmocka_unit_test(test_pv_eoi),
		cmocka_unit_test(test_hypercall),
		cmocka_unit_test(test_seg_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
