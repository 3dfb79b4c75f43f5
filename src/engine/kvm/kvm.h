/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the KVM engine share. Nothing here leaves this folder.
 *
 * References: [1] Linux Documentation/virt/kvm/api.rst.
 *
 *   engine.c   create, destroy, kick, counters; the table of operations
 *   run.c      the run loop, exits, and settling a vCPU that stops
 *   report.c   what to tell people when a guest cannot go on
 *   mem.c      guest RAM as slots, dirty pages
 *   cpuid.c    CPUID and what KVM offers
 *   state.c    registers to and from struct x86_state; msr.c
 *   filter.c   which MSRs guests have
 *   lapic.c    a LAPIC to and from its model
 *   chips.c    8259, IOAPIC, 8254 to and from their models; lines
 *   clock.c    TSC and kvmclock
 *   debug.c    a debugger's stops
 *   wires.c    irqfd, MSI routes, doorbells
 *   speed.c    how fast ring 0 is
 */
#pragma once

#include <linux/kvm.h>
#include <stdatomic.h>

#include "arch/cpuid.h"
#include "arch/x86_state.h"
#include "engine/engine.h"
#include "vmm/vm.h"

#define KVM_MAX_SLOTS 32
#define KVM_MAX_MSI_ROUTES 256
#define KVM_MAX_IRQFDS (KVM_MAX_MSI_ROUTES + IRQ_GSI_COUNT)

struct kvm_slot {
	gpa_t gpa;
	u64 len; /* 0: free */
	u8 *hva;
	u32 flags;
};

/* Optional abilities of the host's KVM, asked for once. */
struct kvm_caps {
	bool sregs2, tsc_offset, tsc_deadline, xcrs, readonly_mem, debug;
};

/* What KVM refused, so that it is said once. */
struct kvm_refused {
	unsigned count;
	u32 msrs[64];
};

/* vm->engine_vm */
struct kvm_machine {
	struct vm *vm;
	int kvm_fd, vm_fd;
	size_t run_size; /* bytes of a struct kvm_run mapping */
	struct kvm_caps caps;
	struct cpu_offer *offer;

	struct mem_listener listener;
	struct kvm_slot slots[KVM_MAX_SLOTS];
	bool dirty_log;

	bool has_pit;			 /* the kernel's 8254 exists */
	struct kvm_pit_given *pit_given; /* what it was loaded with (chips.c) */
	bool has_chips;			 /* they have the models' state */
	u32 lines; /* levels of the GSIs; by the router's lock */
	u8 routed[KVM_MAX_MSI_ROUTES]; /* by route_lock: in use */
	struct kvm_msi_route {
		u64 addr;
		u32 data;
	} routes[KVM_MAX_MSI_ROUTES];
	struct kvm_wire {
		int fd; /* eventfd, -1: free */
		unsigned gsi;
	} irqfds[KVM_MAX_IRQFDS]; /* by route_lock, as all of these */
	bool wired;		  /* the kernel has them */
	pthread_mutex_t route_lock;

	pthread_mutex_t refused_lock;
	struct kvm_refused refused;
};

enum kvm_stat {
	KVM_STAT_EXITS,
	KVM_STAT_PORT,
	KVM_STAT_MMIO,
	KVM_STAT_SIGNALS,
	KVM_STAT_UNKNOWN_MSR,
	KVM_STAT_COUNT,
};

/* vcpu->engine */
struct kvm_cpu {
	struct vcpu *vcpu;
	struct kvm_machine *machine;
	int fd;
	struct kvm_run *run; /* shared with the kernel */
	_Atomic int tid;     /* of the thread in run(), 0: none */
	bool halted;	     /* HLT without an interrupt chip */
	bool used; /* it has had a state: it may not be as reset left it */

	struct vcpu_debug debug;

	/* As last loaded: what KVM does not keep is saved from here. */
	struct x86_msrs msrs;

	/* The LAPIC timer when run() returned (lapic.c). */
	u32 timer_count;
	u64 timer_ns; /* 0: not read */

	u64 stats[KVM_STAT_COUNT];
};

static inline struct kvm_machine *kvm_machine(struct vm *vm)
{
	return vm->engine_vm;
}

static inline bool kvm_has_irqchip(const struct kvm_machine *m)
{
	return m->vm->irqchip == VM_IRQCHIP_PC;
}

/* ioctl(); 0 or more, or -errno. */
int kvm_ioctl(int fd, unsigned long request, void *arg);
int kvm_ioctl_num(int fd, unsigned long request, unsigned long arg);
bool kvm_has_cap(int fd, int cap);

/* run.c */
void kvm_run(struct vcpu *vcpu, struct vcpu_exit *exit);
void kvm_kick(struct vcpu *vcpu);
int kvm_signal(void); /* that makes KVM_RUN return; blocked otherwise */

/*
 * report.c: fill `exit` with a sentence that ends in where the guest was.
 * kvm_report_reason() says what an exit reason or its details mean.
 */
void kvm_report(struct kvm_cpu *k, struct vcpu_exit *exit,
		enum vcpu_exit_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
const char *kvm_reason_name(u32 reason);
const char *kvm_suberror_name(u32 suberror);

/* debug.c */
int kvm_set_debug(struct vcpu *vcpu, const struct vcpu_debug *debug);
bool kvm_exit_debug(struct kvm_cpu *k, struct vcpu_exit *exit);

/* mem.c */
void kvm_mem_init(struct kvm_machine *m);
void kvm_mem_fini(struct kvm_machine *m);
int kvm_dirty_log(struct vm *vm, bool on);
int kvm_dirty_get(struct vm *vm, gpa_t gpa, u64 *bits);

/* cpuid.c */
int kvm_read_offer(int kvm_fd, struct cpu_offer *offer, struct err *err);
int kvm_cpu_offer(struct cpu_offer *offer, struct err *err);
int kvm_set_cpuid(struct kvm_cpu *k, struct err *err);

/* state.c */
int kvm_get_state(struct vcpu *vcpu, struct x86_state *state);
int kvm_set_state(struct vcpu *vcpu, const struct x86_state *state,
		  struct err *err);

/* msr.c */
int kvm_get_msr(struct kvm_cpu *k, u32 msr, u64 *val);
int kvm_set_msr(struct kvm_cpu *k, u32 msr, u64 val);
int kvm_get_msrs(struct kvm_cpu *k, struct x86_msrs *msrs);
int kvm_set_msrs(struct kvm_cpu *k, const struct x86_msrs *msrs,
		 struct err *err);

/* lapic.c: the kernel's LAPIC from and to vcpu->lapic. */
int kvm_lapic_put(struct kvm_cpu *k);
int kvm_lapic_get(struct kvm_cpu *k);
/* The vCPU's thread, about to leave run(): its timer, before time goes on. */
void kvm_lapic_note_timer(struct kvm_cpu *k);

/* filter.c: before the first vCPU. */
int kvm_filter_msrs(struct kvm_machine *m, struct err *err);

/* chips.c */
extern const struct irq_engine_ops kvm_irq_ops;
int kvm_chips_init(struct kvm_machine *m, struct err *err);

/* clock.c */
int kvm_check_tsc(struct kvm_cpu *k, struct err *err);
int kvm_resume(struct vm *vm, struct err *err);
int kvm_pause(struct vm *vm, struct err *err);

/* wires.c */
int kvm_set_routes(struct kvm_machine *m);
int kvm_irqfd(struct vm *vm, int fd, unsigned gsi, bool on);
int kvm_msi_route(struct vm *vm, u64 addr, u32 data);
int kvm_msi_unroute(struct vm *vm, unsigned gsi);
int kvm_doorbell(struct vm *vm, const struct engine_doorbell *bell, bool on);
/* With the chips, after they are loaded and before they are saved. */
int kvm_wire_up(struct kvm_machine *m, bool on);
int kvm_send_msi(struct kvm_machine *m, u64 addr, u32 data);

/* speed.c */
int kvm_speed(struct vm *vm, struct engine_speed *speed, struct err *err);
