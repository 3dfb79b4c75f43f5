/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps VMs of each kind that flips a static key of KVM, for as long as the
 * outer host runs, and becomes its first process: docs/lab.md, "Where QEMU's
 * emulation cannot follow".
 *
 *     kvm_hold PROGRAM     with descriptors 7 to 9
 *
 * While these exist no VM that comes or goes is the first or the last one to
 * have vCPUs, one without a LAPIC, one whose LAPIC is off or disabled
 * (virt/kvm/kvm_main.c, preempt_notifier_key; arch/x86/kvm/lapic.h,
 * kvm_has_noapic_vcpu, apic_hw_disabled, apic_sw_disabled).
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { NO_LAPIC = 7, DISABLED, OFF };

#define MSR_APIC_BASE 0x1bu
#define APIC_BASE_DISABLED 0xfee00000ull

/* A vCPU keeps its VM, whose descriptor need not stay. */
static int add(int vm, unsigned long id, int fd)
{
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, id);

	return vcpu < 0 || dup2(vcpu, fd) < 0 || close(vcpu) ? -1 : 0;
}

static int switch_off(int vcpu)
{
	union {
		struct kvm_msrs head;
		unsigned char bytes[sizeof(struct kvm_msrs) +
				    sizeof(struct kvm_msr_entry)];
	} arg = {.head = {.nmsrs = 1}};

	arg.head.entries[0].index = MSR_APIC_BASE;
	arg.head.entries[0].data = APIC_BASE_DISABLED;
	return ioctl(vcpu, KVM_SET_MSRS, &arg) == 1 ? 0 : -1;
}

static int hold(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int bare = ioctl(kvm, KVM_CREATE_VM, 0);
	int full = ioctl(kvm, KVM_CREATE_VM, 0);

	if (kvm < 0 || bare < 0 || full < 0 || add(bare, 0, NO_LAPIC) ||
	    ioctl(full, KVM_CREATE_IRQCHIP, 0) || add(full, 0, DISABLED) ||
	    add(full, 1, OFF) || switch_off(OFF))
		return -1;
	close(bare);
	close(full);
	return close(kvm);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	if (hold())
		perror("kvm_hold");
	execl(argv[1], argv[1], (char *)NULL);
	perror(argv[1]);
	return 1;
}
