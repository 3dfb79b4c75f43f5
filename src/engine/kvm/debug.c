/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A debugger's stops, kept apart from the guest's own.
 *
 * References: kvm.h [1] 4.87 (KVM_SET_GUEST_DEBUG), 4.31 (KVM_GET_VCPU_EVENTS),
 * 4.33 (KVM_GET_DEBUGREGS).
 *
 * While anybody debugs, KVM hands every #DB to us. Whose it is DR6 tells: the
 * debugger's is BS where it steps and B0 to B3 where it watches; what is left,
 * or a #DB without any of them (INT1), is given to the guest. A guest's own
 * single step has BS as well, and is lost while a debugger steps: KVM does not
 * tell that TF is the guest's.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <string.h>

#include "arch/x86.h"

#define DR6_HITS 0xfull

static bool has_watches(const struct vcpu_debug *debug)
{
	for (unsigned n = 0; n < ARRAY_SIZE(debug->watch); n++)
		if (debug->watch[n].len)
			return true;
	return false;
}

static int set_watches(const struct vcpu_debug *debug,
		       struct kvm_guest_debug_arch *arch)
{
	static const u8 lengths[9] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};

	arch->debugreg[7] = DR7_FIXED;
	for (unsigned n = 0; n < ARRAY_SIZE(debug->watch); n++) {
		u8 len = debug->watch[n].len, kind = debug->watch[n].kind;

		if (!len)
			continue;
		if (len > 8 || (len & (len - 1)) || kind > 3 || kind == 2)
			return -EINVAL;
		/* That of an execution breakpoint is 0. */
		if (kind)
			kind |= (u8)(lengths[len] << 2);
		arch->debugreg[n] = debug->watch[n].addr;
		arch->debugreg[7] |= 2ull << (2 * n);
		arch->debugreg[7] |= (u64)kind << (16 + 4 * n);
	}
	return 0;
}

int kvm_set_debug(struct vcpu *vcpu, const struct vcpu_debug *debug)
{
	struct kvm_cpu *k = vcpu->engine;
	struct kvm_guest_debug arg = {0};
	int ret;

	if (!k->machine->caps.debug)
		return -ENOTSUP;
	ret = set_watches(debug, &arg.arch);
	if (ret)
		return ret;
	if (has_watches(debug))
		arg.control |= KVM_GUESTDBG_USE_HW_BP;
	if (debug->step)
		arg.control |= KVM_GUESTDBG_SINGLESTEP;
	if (debug->breakpoints)
		arg.control |= KVM_GUESTDBG_USE_SW_BP;
	if (arg.control)
		arg.control |= KVM_GUESTDBG_ENABLE;
	ret = kvm_ioctl(k->fd, KVM_SET_GUEST_DEBUG, &arg);
	if (!ret)
		k->debug = *debug;
	return ret;
}

/* The guest's own #DB, as if it had come by itself. */
static int give_to_guest(struct kvm_cpu *k, u64 causes)
{
	struct kvm_vcpu_events events;
	struct kvm_debugregs regs;
	int ret = kvm_ioctl(k->fd, KVM_GET_DEBUGREGS, &regs);

	if (!ret)
		ret = kvm_ioctl(k->fd, KVM_GET_VCPU_EVENTS, &events);
	if (ret)
		return ret;
	regs.dr6 = (regs.dr6 & ~(u64)DR6_HITS) | causes;
	regs.dr7 &= ~(u64)DR7_GD;
	events.exception.injected = 1;
	events.exception.nr = VEC_DB;
	events.exception.has_error_code = 0;
	ret = kvm_ioctl(k->fd, KVM_SET_DEBUGREGS, &regs);
	return ret ? ret : kvm_ioctl(k->fd, KVM_SET_VCPU_EVENTS, &events);
}

bool kvm_exit_debug(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	const struct kvm_debug_exit_arch *what = &k->run->debug.arch;
	u64 mine = (k->debug.step ? DR6_BS : 0) |
		   (has_watches(&k->debug) ? DR6_HITS : 0);
	u64 causes = what->dr6 & (DR6_BS | DR6_BD | DR6_HITS);
	int ret = 0;

	if (what->exception == VEC_DB && (causes & ~mine || !causes))
		ret = give_to_guest(k, causes & ~mine);
	if (ret) {
		kvm_report(k, exit, VCPU_EXIT_FAIL, "a debug exit: %s",
			   strerror(-ret));
		return false;
	}
	if (what->exception == VEC_DB && !(causes & mine))
		return true;
	exit->kind = VCPU_EXIT_DEBUG;
	return false;
}
