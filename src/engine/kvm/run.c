/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run loop: into the guest, and what comes out of it.
 *
 * References: kvm.h [1] 4.10 (KVM_RUN), 4.38 (MP state), section 5.
 *
 * Theory of operation. A kick sets immediate_exit and signals the thread, if
 * one is in run(). Both stick: the loop clears immediate_exit before it looks
 * at the mailbox, so that a kick is either seen there or found by KVM_RUN; the
 * signal is blocked but in KVM_RUN, and taken only after it ended a KVM_RUN.
 *
 * Leaving, a vCPU is settled. Re-entries with immediate_exit finish what its
 * last device access left in the kernel (the second half of a page-crossing
 * one, the registers of an IN). Then its LAPIC's timer is noted: see lapic.c.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "util/log.h"
#include "vmm/bus.h"

/* ---- kicks ------------------------------------------------------------- */

int kvm_signal(void)
{
	return SIGRTMAX;
}

static void set_immediate_exit(struct kvm_cpu *k, u8 val)
{
	__atomic_store_n(&k->run->immediate_exit, val, __ATOMIC_SEQ_CST);
}

void kvm_kick(struct vcpu *vcpu)
{
	struct kvm_cpu *k = vcpu->engine;
	int tid;

	set_immediate_exit(k, 1);
	tid = atomic_load(&k->tid);
	/* On its own thread (a device's callback) KVM_RUN is to come yet. */
	if (tid && tid != (int)syscall(SYS_gettid))
		syscall(SYS_tgkill, getpid(), tid, kvm_signal());
}

/* The signal that ended KVM_RUN is still pending. */
static void take_signal(struct kvm_cpu *k)
{
	const struct timespec now = {0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, kvm_signal());
	while (sigtimedwait(&set, NULL, &now) > 0)
		k->stats[KVM_STAT_SIGNALS]++;
}

/* ---- mailbox ----------------------------------------------------------- */

/* Events from before the engine had the vCPU, by way of its own LAPIC. */
static void send_self(struct kvm_cpu *k, enum lapic_delivery how, u32 vector)
{
	kvm_send_msi(k->machine, 0xfee00000u | k->vcpu->id << 12,
		     (u32)how << 8 | vector);
}

/* True: run() is to return. Bits are cleared before what they stand for is
 * looked at (vcpu.h); interrupts are the kernel's affair. */
static bool take_mail(struct kvm_cpu *k)
{
	struct vcpu *vcpu = k->vcpu;
	u32 events = atomic_fetch_and(&vcpu->events, (u32)VCPU_EV_KICK);

	if (events & ~(u32)VCPU_EV_KICK)
		k->halted = false;
	if (events & VCPU_EV_INIT)
		send_self(k, LAPIC_INIT, 0);
	if (events & VCPU_EV_SIPI)
		send_self(k, LAPIC_SIPI, vcpu->sipi_vector & 0xff);
	if (events & VCPU_EV_NMI)
		kvm_ioctl_num(k->fd, KVM_NMI, 0);
	return events & VCPU_EV_KICK;
}

/* ---- exits: true to go on ---------------------------------------------- */

/* KVM steps over some accesses without a word, over others as the access is
 * completed, which settle() does. */
static bool access_done(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	if (likely(!k->debug.step))
		return true;
	exit->kind = VCPU_EXIT_DEBUG;
	return false;
}

static bool exit_io(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	struct kvm_run *run = k->run;
	struct bus *bus = &k->vcpu->vm->bus;
	u8 *data = (u8 *)run + run->io.data_offset;

	k->stats[KVM_STAT_PORT]++;
	if (run->io.direction == KVM_EXIT_IO_IN)
		bus_read(bus, BUS_PIO, run->io.port, run->io.size,
			 run->io.count, data);
	else
		bus_write(bus, BUS_PIO, run->io.port, run->io.size,
			  run->io.count, data);
	return access_done(k, exit);
}

/* One to eight bytes, any number: the bus wants a power of two. */
static bool exit_mmio(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	struct kvm_run *run = k->run;
	struct bus *bus = &k->vcpu->vm->bus;
	unsigned len = run->mmio.len, width;

	k->stats[KVM_STAT_MMIO]++;
	for (unsigned at = 0; at < len; at += width) {
		width = 8;
		while (width > len - at)
			width /= 2;
		if (run->mmio.is_write)
			bus_write(bus, BUS_MMIO, run->mmio.phys_addr + at,
				  width, 1, run->mmio.data + at);
		else
			bus_read(bus, BUS_MMIO, run->mmio.phys_addr + at, width,
				 1, run->mmio.data + at);
	}
	return access_done(k, exit);
}

/* Nothing to do: the kernel wanted us to have a look. */
static bool exit_nothing(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	return true;
}

static bool exit_halt(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	exit->kind = VCPU_EXIT_HALT;
	k->halted = true;
	return false;
}

/* The filter denied it. */
static bool exit_msr(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	struct kvm_run *run = k->run;
	bool write = run->exit_reason == KVM_EXIT_X86_WRMSR;

	k->stats[KVM_STAT_UNKNOWN_MSR]++;
	log_guest("vcpu%u: %s of MSR %#x, which the CPU model has not: #GP",
		  k->vcpu->id, write ? "write" : "read", run->msr.index);
	run->msr.error = 1;
	return true;
}

/* AMD's hardware leaves nothing of the state that led here. */
static bool exit_shutdown(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	kvm_report(k, exit, VCPU_EXIT_SHUTDOWN, "triple fault");
	return false;
}

static bool exit_fail_entry(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	kvm_report(k, exit, VCPU_EXIT_FAIL,
		   "the CPU refuses to enter the guest, hardware reason %#llx",
		   (unsigned long long)
			   k->run->fail_entry.hardware_entry_failure_reason);
	return false;
}

static bool exit_internal_error(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	const struct kvm_run *run = k->run;
	u32 suberror = run->internal.suberror;

	kvm_report(k, exit, VCPU_EXIT_FAIL, "KVM gave up: %s (%u, %#llx)",
		   kvm_suberror_name(suberror), suberror,
		   run->internal.ndata
			   ? (unsigned long long)run->internal.data[0]
			   : 0);
	return false;
}

static bool exit_other(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	u32 reason = k->run->exit_reason;

	kvm_report(k, exit, VCPU_EXIT_FAIL, "KVM exit %u: %s", reason,
		   kvm_reason_name(reason));
	return false;
}

/* A host's safety valve against guests that block the bus or interrupts; the
 * kernel has already slowed the guest down. */
static bool exit_slow_guest(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	log_guest("vcpu%u holds up the host (KVM exit %u)", k->vcpu->id,
		  k->run->exit_reason);
	return true;
}

typedef bool exit_fn(struct kvm_cpu *k, struct vcpu_exit *exit);

static exit_fn *const exits[] = {
	[KVM_EXIT_IO] = exit_io,
	[KVM_EXIT_MMIO] = exit_mmio,
	[KVM_EXIT_HLT] = exit_halt,
	[KVM_EXIT_DEBUG] = kvm_exit_debug,
	[KVM_EXIT_SHUTDOWN] = exit_shutdown,
	[KVM_EXIT_FAIL_ENTRY] = exit_fail_entry,
	[KVM_EXIT_INTERNAL_ERROR] = exit_internal_error,
	[KVM_EXIT_INTR] = exit_nothing,
	[KVM_EXIT_NMI] = exit_nothing,
	[KVM_EXIT_IRQ_WINDOW_OPEN] = exit_nothing,
	[KVM_EXIT_SET_TPR] = exit_nothing,
	[KVM_EXIT_TPR_ACCESS] = exit_nothing,
	[KVM_EXIT_IOAPIC_EOI] = exit_nothing,
	[KVM_EXIT_X86_RDMSR] = exit_msr,
	[KVM_EXIT_X86_WRMSR] = exit_msr,
	[KVM_EXIT_X86_BUS_LOCK] = exit_slow_guest,
	[KVM_EXIT_NOTIFY] = exit_slow_guest,
};

/* ---- the loop ---------------------------------------------------------- */

static bool entry_failed(struct kvm_cpu *k, int error, struct vcpu_exit *exit)
{
	if (error == -EINTR)
		take_signal(k);
	/* EAGAIN: a waiting CPU got its INIT. */
	if (error == -EINTR || error == -EAGAIN)
		return true;
	kvm_report(k, exit, VCPU_EXIT_FAIL, "KVM_RUN: %s%s", strerror(-error),
		   error == -EFAULT ? " (the host lacks a page of guest memory)"
				    : "");
	return false;
}

/* True to go on. */
static bool enter(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	exit_fn *handle = exit_other;
	int ret = kvm_ioctl_num(k->fd, KVM_RUN, 0);
	u32 reason = k->run->exit_reason;

	if (ret < 0)
		return entry_failed(k, ret, exit);
	k->stats[KVM_STAT_EXITS]++;
	if (reason < ARRAY_SIZE(exits) && exits[reason])
		handle = exits[reason];
	return handle(k, exit);
}

static u64 read_rip(struct kvm_cpu *k)
{
	struct kvm_regs regs = {0};

	kvm_ioctl(k->fd, KVM_GET_REGS, &regs);
	return regs.rip;
}

/* The vCPU is between two instructions with nothing owed to it. */
static void settle(struct kvm_cpu *k, struct vcpu_exit *exit)
{
	int ret;

	do {
		set_immediate_exit(k, 1);
		ret = kvm_ioctl_num(k->fd, KVM_RUN, 0);
		if (ret < 0)
			break;
		if (k->run->exit_reason == KVM_EXIT_IO)
			exit_io(k, exit);
		else if (k->run->exit_reason == KVM_EXIT_MMIO)
			exit_mmio(k, exit);
		else
			break;
	} while (true);
	if (!ret && k->run->exit_reason == KVM_EXIT_DEBUG)
		kvm_exit_debug(k, exit);
	if (exit->kind == VCPU_EXIT_DEBUG)
		exit->rip = read_rip(k);
	take_signal(k);
	if (kvm_has_irqchip(k->machine))
		kvm_lapic_note_timer(k);
}

void kvm_run(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	struct kvm_cpu *k = vcpu->engine;
	bool more;

	exit->message[0] = 0;
	exit->rip = 0;
	atomic_store(&k->tid, (int)syscall(SYS_gettid));
	do {
		set_immediate_exit(k, 0);
		exit->kind = VCPU_EXIT_KICK;
		if (take_mail(k))
			break;
		exit->kind = VCPU_EXIT_HALT;
		more = !k->halted && enter(k, exit);
	} while (more);
	settle(k, exit);
	atomic_store(&k->tid, 0);
}
