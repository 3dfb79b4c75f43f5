/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest time on KVM, and the moments when time, LAPICs and chips go to the
 * kernel and come back.
 *
 * References: kvm.h [1] 4.29, 4.30 (KVM_GET_CLOCK), 4.55, 4.56
 * (KVM_SET_TSC_KHZ), devices/vcpu.rst 4 (KVM_VCPU_TSC_CTRL).
 *
 * A vCPU's TSC is the host's plus an offset, vm_clock's own formula, and its
 * TSC_ADJUST. kvmclock counts the same TSC by the kernel's factor, which is a
 * few parts in a million from ours: at a pause the slower of the two catches
 * up, so that neither ever goes back.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86.h"

/* How far apart two statements of one frequency may be. */
#define TSC_TOLERANCE 1000 /* parts in a million */

/*
 * A KVM that interprets ring 0 takes an offset, and lets the guest see the
 * host's TSC all the same; asked, it has none. (A host with an unstable TSC
 * answers with an offset of its own making, and applies what it is given when
 * the guest runs.) Without the question, before Linux 5.16, it is not one of
 * those.
 */
static bool ignores_offset(struct kvm_cpu *k)
{
	const u64 offset = 1ull << 40;
	u64 have = offset;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (u64)&offset,
	};

	if (kvm_ioctl(k->fd, KVM_SET_DEVICE_ATTR, &attr))
		return false;
	attr.addr = (u64)&have;
	return !kvm_ioctl(k->fd, KVM_GET_DEVICE_ATTR, &attr) && !have;
}

int kvm_check_tsc(struct kvm_cpu *k, struct err *err)
{
	struct vm_clock *clock = &k->vcpu->vm->clock;
	int khz = kvm_ioctl_num(k->fd, KVM_GET_TSC_KHZ, 0);
	u64 have, want = clock->tsc_khz;

	if (!clock->tsc_native)
		return err_set(err, -ENOTSUP,
			       "the VM's TSC is not the host's, as KVM needs");
	if (ignores_offset(k) && clock_fix_tsc(clock))
		return err_set(err, -ENOTSUP,
			       "this host's KVM shows every guest the host's "
			       "TSC: one that began with another cannot go on "
			       "here");
	if (khz <= 0)
		return 0;
	have = (u64)khz;
	if ((have > want ? have - want : want - have) * 1000000 >
	    want * TSC_TOLERANCE)
		return err_set(err, -ENOTSUP,
			       "the guest's TSC runs at %llu kHz, KVM's at "
			       "%llu kHz",
			       (unsigned long long)want,
			       (unsigned long long)have);
	return 0;
}

static int set_tsc(struct kvm_cpu *k)
{
	const struct vm_clock *clock = &k->vcpu->vm->clock;
	u64 adjust = k->msrs.tsc_adjust;
	u64 offset = atomic_load(&clock->tsc_offset) + adjust;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (u64)&offset,
	};

	if (clock->tsc_fixed || !kvm_ioctl(k->fd, KVM_SET_DEVICE_ATTR, &attr))
		return 0;
	/* Before Linux 5.16: the value now, a microsecond off. */
	return kvm_set_msr(k, MSR_TSC, clock_tsc(clock) + adjust);
}

static int failed(const char *what, int ret, struct err *err)
{
	return err_set(err, ret, "KVM: cannot %s: %s", what, strerror(-ret));
}

static int put_times(struct vm *vm)
{
	struct kvm_machine *m = kvm_machine(vm);
	struct kvm_clock_data clock = {0};
	int ret = 0;

	for (unsigned i = 0; !ret && i < vm->vcpu_count; i++)
		ret = set_tsc(vm->vcpus[i]->engine);
	/* The kernel's page may say just this, and 0 reads as no page at all
	 * to some guests. */
	clock.clock = max_u64(clock_ns(&vm->clock), 1);
	return ret ? ret : kvm_ioctl(m->vm_fd, KVM_SET_CLOCK, &clock);
}

int kvm_resume(struct vm *vm, struct err *err)
{
	struct kvm_machine *m = kvm_machine(vm);
	int ret = put_times(vm);

	if (ret)
		return failed("set the guest's clocks", ret, err);
	if (!kvm_has_irqchip(m))
		return 0;
	for (unsigned i = 0; !ret && i < vm->vcpu_count; i++)
		ret = kvm_lapic_put(vm->vcpus[i]->engine);
	if (!ret)
		ret = irq_engine_take(&vm->irq, &kvm_irq_ops, m);
	m->has_chips = !ret;
	if (!ret)
		ret = kvm_wire_up(m, true);
	return ret ? failed("load the interrupt chips", ret, err) : 0;
}

int kvm_pause(struct vm *vm, struct err *err)
{
	struct kvm_machine *m = kvm_machine(vm);
	struct kvm_clock_data clock = {0};
	int ret = kvm_ioctl(m->vm_fd, KVM_GET_CLOCK, &clock);

	if (ret)
		return failed("read the guest's clock", ret, err);
	clock_advance(&vm->clock, clock.clock);
	if (!m->has_chips)
		return 0;
	m->has_chips = false;
	ret = kvm_wire_up(m, false);
	for (unsigned i = 0; !ret && i < vm->vcpu_count; i++)
		ret = kvm_lapic_get(vm->vcpus[i]->engine);
	if (!ret)
		ret = irq_engine_give(&vm->irq);
	return ret ? failed("save the interrupt chips", ret, err) : 0;
}
