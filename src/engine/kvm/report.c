/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a guest cannot go on, in words: what KVM said, where the guest was, and
 * the bytes it was to execute.
 *
 * References: kvm.h [1] section 5 (exit reasons and their details).
 */
#include "engine/kvm/kvm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define INSN_BYTES 15 /* the longest instruction */

/* tools/check-kvm-exits holds this and run.c's table against the header. */
const char *kvm_reason_name(u32 reason)
{
	static const char foreign[] = "an exit of another architecture";
	static const char *const names[] = {
		[KVM_EXIT_UNKNOWN] = "the CPU left the guest for a reason "
				     "that the kernel does not know",
		[KVM_EXIT_EXCEPTION] = "an exception came out of the guest",
		[KVM_EXIT_HYPERCALL] = "a hypercall that asks for user space",
		[KVM_EXIT_WATCHDOG] = "a watchdog of another architecture",
		[KVM_EXIT_SYSTEM_EVENT] = "a system event",
		[KVM_EXIT_HYPERV] = "a Hyper-V request, which is not offered",
		[KVM_EXIT_DIRTY_RING_FULL] = "a full dirty ring, without one",
		[KVM_EXIT_AP_RESET_HOLD] = "an AP reset hold (SEV-ES)",
		[KVM_EXIT_XEN] = "a Xen request, which is not offered",
		[KVM_EXIT_S390_SIEIC] = foreign,
		[KVM_EXIT_S390_RESET] = foreign,
		[KVM_EXIT_S390_UCONTROL] = foreign,
		[KVM_EXIT_S390_TSCH] = foreign,
		[KVM_EXIT_S390_STSI] = foreign,
		[KVM_EXIT_DCR] = foreign,
		[KVM_EXIT_OSI] = foreign,
		[KVM_EXIT_PAPR_HCALL] = foreign,
		[KVM_EXIT_EPR] = foreign,
		[KVM_EXIT_ARM_NISV] = foreign,
		[KVM_EXIT_RISCV_SBI] = foreign,
		[KVM_EXIT_RISCV_CSR] = foreign,
	};

	if (reason < ARRAY_SIZE(names) && names[reason])
		return names[reason];
	return "an exit that this version does not know";
}

const char *kvm_suberror_name(u32 suberror)
{
	switch (suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		return "the kernel cannot emulate the instruction";
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		return "two exceptions at once in the kernel's hands";
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		return "an exit while an event was being delivered";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		return "the CPU left the guest for a reason that the kernel "
		       "did not expect";
	default:
		return "an internal error";
	}
}

/* The guest's bytes at its RIP; the number that could be read. */
static unsigned read_insn(struct kvm_cpu *k, u64 linear, u8 bytes[INSN_BYTES])
{
	const struct guest_mem *mem = &k->vcpu->vm->mem;
	struct kvm_translation t = {0};
	unsigned n;

	for (n = 0; n < INSN_BYTES; n++) {
		if (!n || !((linear + n) & 0xfff)) {
			t.linear_address = (linear + n) & ~0xfffull;
			if (kvm_ioctl(k->fd, KVM_TRANSLATE, &t) || !t.valid)
				break;
		}
		if (!mem_read(mem, t.physical_address | ((linear + n) & 0xfff),
			      &bytes[n], 1))
			break;
	}
	return n;
}

__attribute__((format(printf, 3, 4))) static void add(char *text, size_t size,
						      const char *fmt, ...)
{
	size_t len = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + len, size - len, fmt, ap);
	va_end(ap);
}

void kvm_report(struct kvm_cpu *k, struct vcpu_exit *exit,
		enum vcpu_exit_kind kind, const char *fmt, ...)
{
	struct kvm_regs regs = {0};
	struct kvm_sregs sregs = {0};
	size_t size = sizeof(exit->message);
	u8 bytes[INSN_BYTES];
	unsigned count;
	va_list ap;

	exit->kind = kind;
	va_start(ap, fmt);
	vsnprintf(exit->message, size, fmt, ap);
	va_end(ap);
	kvm_ioctl(k->fd, KVM_GET_REGS, &regs);
	kvm_ioctl(k->fd, KVM_GET_SREGS, &sregs);
	exit->rip = regs.rip;
	add(exit->message, size, "; rip %#llx (cs %#x, cpl %u)",
	    (unsigned long long)regs.rip, sregs.cs.selector, sregs.ss.dpl);
	count = read_insn(k, sregs.cs.base + regs.rip, bytes);
	add(exit->message, size, count ? ", bytes" : ", no bytes there");
	for (unsigned i = 0; i < count; i++)
		add(exit->message, size, " %02x", bytes[i]);
}
