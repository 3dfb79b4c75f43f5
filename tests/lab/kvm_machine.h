/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine of plain KVM ioctls for tests: 64 KiB of memory at 0, one vCPU in
 * real mode whose CS, DS, ES and SS are based at 0. Every function asserts that
 * its ioctls succeed; nothing of Vireo is involved.
 *
 * Reference: Linux Documentation/virt/kvm/api.rst.
 */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>

#include "util/types.h"

enum {
	MACHINE_MEM = 0x10000,
	MACHINE_CODE = 0x1000, /* where code goes and RIP starts */
	MACHINE_STACK = 0x8000,
	EXIT_NOT_THERE = 77,
};

struct machine {
	int kvm, vm, vcpu; /* -1 where not open */
	u8 *mem;	   /* MACHINE_MEM bytes, shared, of `memfd` */
	int memfd;
	struct kvm_run *run;
	size_t run_size;
};

/* The descriptor; -1 where this host has no KVM for us, with the reason on
 * standard output. */
int kvm_open(void);

/* A VM with its memory. */
void machine_vm(struct machine *m, u32 slot_flags);

/* Then a vCPU with `code` loaded and RIP at it. An interrupt chip has to be
 * created between the two. */
void machine_vcpu(struct machine *m, const void *code, size_t size);

/* Both. */
void machine_start(struct machine *m, const void *code, size_t size);

void machine_end(struct machine *m);

/* KVM_RUN; the exit reason. */
u32 machine_run(struct machine *m);

/* KVM_RUN with immediate_exit set: only completes what is pending. */
void machine_complete(struct machine *m);

/* Asserts that the last exit was this OUT; the value written. */
u32 machine_out(struct machine *m, u16 port, u8 width);

struct kvm_regs machine_regs(struct machine *m);
