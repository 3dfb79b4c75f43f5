/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast ring 0 is in this VM.
 *
 * A KVM whose kernel interprets ring 0 looks like any other but for this: a
 * loop that takes the CPU 0.3 ns a turn takes such a kernel a microsecond. The
 * guest's loop times itself with RDTSC, so that neither the way in nor out
 * counts. It is short, as an emulated one is to cost no more than 100 us; the
 * best of a few runs counts, for an interrupt makes one look slow.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include <x86intrin.h>

#include "arch/x86.h"

enum {
	TURNS = 24,
	RUNS = 4,
	EMULATED = 64, /* times slower: two such runs are enough */
	CODE = 0x1000, /* where in RAM */
	PAGE = 4096,
	DONE_PORT = 0x80,
};

/* 32-bit: esi = TSC, the loop, eax = TSC - esi, out. */
static const u8 code[] = {
	0x0f, 0x31,			   /* rdtsc */
	0x89, 0xc6,			   /* mov esi, eax */
	0xb9, TURNS,	 0x00, 0x00, 0x00, /* mov ecx, TURNS */
	0x49,				   /* 1: dec ecx */
	0x75, 0xfd,			   /* jnz 1b */
	0x0f, 0x31,			   /* rdtsc */
	0x29, 0xf0,			   /* sub eax, esi */
	0xe6, DONE_PORT,		   /* out DONE_PORT, al */
};

static u64 host_turns(void)
{
	u64 best = ~0ull;

	for (unsigned run = 0; run < RUNS; run++) {
		u64 start = __rdtsc(), end;
		u32 turns = TURNS;

		__asm__ volatile("1: decl %0; jnz 1b" : "+r"(turns) : : "cc");
		end = __rdtsc();
		best = min_u64(best, end - start);
	}
	return best;
}

/* Flat 32-bit code without paging at CODE. */
static int enter_flat(struct kvm_cpu *k)
{
	struct kvm_regs regs = {.rip = CODE, .rflags = FLAG_1};
	struct kvm_segment flat = {
		.limit = 0xffffffff,
		.selector = 8,
		.type = 0xb,
		.s = 1,
		.present = 1,
		.db = 1,
		.g = 1,
	};
	struct kvm_sregs s;
	int ret = kvm_ioctl(k->fd, KVM_GET_SREGS, &s);

	s.cs = flat;
	flat.selector = 16;
	flat.type = 3;
	s.ds = s.es = s.fs = s.gs = s.ss = flat;
	s.cr0 |= CR0_PE;
	if (!ret)
		ret = kvm_ioctl(k->fd, KVM_SET_SREGS, &s);
	return ret ? ret : kvm_ioctl(k->fd, KVM_SET_REGS, &regs);
}

/* Ticks of one run, or -errno. */
static s64 guest_turns(struct kvm_cpu *k)
{
	struct kvm_run *run = k->run;
	struct kvm_regs regs;
	int ret = enter_flat(k);

	k->used = true;
	if (!ret)
		ret = kvm_ioctl_num(k->fd, KVM_RUN, 0);
	if (ret)
		return ret;
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != DONE_PORT)
		return -EIO;
	/* Finish the OUT, and no more. */
	run->immediate_exit = 1;
	kvm_ioctl_num(k->fd, KVM_RUN, 0);
	run->immediate_exit = 0;
	ret = kvm_ioctl(k->fd, KVM_GET_REGS, &regs);
	return ret ? ret : (s64)(u32)regs.rax;
}

int kvm_speed(struct vm *vm, struct engine_speed *speed, struct err *err)
{
	struct kvm_cpu *k = vm->vcpus[0]->engine;
	u64 best = ~0ull;
	s64 ticks = mem_commit(&vm->mem, err);

	if (ticks)
		return (int)ticks;
	if (!mem_write(&vm->mem, CODE, code, sizeof(code)))
		return err_set(err, -EINVAL, "no RAM to measure in");
	speed->host = host_turns();
	for (unsigned run = 0; run < RUNS; run++) {
		ticks = guest_turns(k);
		if (ticks < 0)
			break;
		best = min_u64(best, (u64)ticks);
		if (best < speed->host * 2 ||
		    (run && best > speed->host * EMULATED))
			break;
	}
	mem_zero(&vm->mem, CODE, sizeof(code));
	if (ticks < 0)
		return err_set(
			err, (int)ticks,
			"KVM cannot run a loop of three instructions: %s",
			strerror((int)-ticks));
	speed->guest = best;
	return 0;
}
