/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs and the exclusive section.
 *
 * Theory of operation
 * -------------------
 * A vCPU is `running` while it executes guest instructions and outside while
 * it is in a device, halted or parked. Whoever holds the exclusive section has
 * raised `exclusive_want` and then waited for every other vCPU to be outside;
 * a vCPU enters by setting `running` and then looking at `exclusive_want`.
 * Both sides write before they read, sequentially consistent, so at least one
 * sees the other.
 *
 * Running vCPUs learn of it through ATTN_EXCLUSIVE and park at the next block
 * boundary. One that asks for the section itself is outside while it waits: it
 * stands in the middle of an instruction, so it must not hold pointers into
 * guest memory across bt_exclusive_begin().
 *
 * No libc here: futexes by system call, so that live SIMD registers survive.
 */
#include "engine/bt/check.h"
#include "engine/bt/fpu.h"
#include "engine/bt/vm.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

static long futex(_Atomic u32 *word, int op, u32 val,
		  const struct timespec *limit)
{
	long ret;
	register const void *timeout __asm__("r10") = limit;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(SYS_futex), "D"(word),
			   "S"(op | FUTEX_PRIVATE_FLAG), "d"(val), "r"(timeout)
			 : "rcx", "r11", "memory");
	return ret;
}

static void futex_wait(_Atomic u32 *word, u32 val)
{
	futex(word, FUTEX_WAIT, val, NULL);
}

static void futex_wake(_Atomic u32 *word)
{
	futex(word, FUTEX_WAKE, INT32_MAX, NULL);
}

/* 0 free, 1 held, 2 held and somebody waits. */
void bt_lock(_Atomic u32 *lock)
{
	u32 expected = 0;

	if (__atomic_compare_exchange_n((u32 *)lock, &expected, 1, false,
					__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	while (__atomic_exchange_n((u32 *)lock, 2, __ATOMIC_ACQUIRE) != 0)
		futex_wait(lock, 2);
}

void bt_unlock(_Atomic u32 *lock)
{
	if (__atomic_exchange_n((u32 *)lock, 0, __ATOMIC_RELEASE) == 2)
		futex(lock, FUTEX_WAKE, 1, NULL);
}

static void go_outside(struct bt_cpu *c)
{
	c->running = 0;
	if (c->bvm->exclusive_want)
		futex_wake(&c->running);
}

static void go_inside(struct bt_cpu *c)
{
	struct bt_vm *bvm = c->bvm;

	for (;;) {
		c->running = 1;
		if (likely(!bvm->exclusive_want))
			return;
		go_outside(c);
		futex_wait(&bvm->exclusive_want, 1);
	}
}

void bt_enter(struct bt_cpu *c)
{
	/* Who holds the section has stopped the others, not itself. */
	if (c->bvm->exclusive_owner != c)
		go_inside(c);
	if (c->stat.left_at)
		c->stat.outside += bt_ticks() - c->stat.left_at;
	c->stat.left_at = 0;
}

void bt_leave(struct bt_cpu *c)
{
	bt_check_outside(c);
	if (unlikely(c->fpu_live))
		bt_fpu_save_slow(c);
	c->stat.left_at = bt_ticks();
	if (c->bvm->exclusive_owner != c)
		go_outside(c);
}

void bt_park(struct bt_cpu *c)
{
	bt_check_outside(c);
	__atomic_fetch_and((u32 *)&c->attention, ~(u32)ATTN_EXCLUSIVE,
			   __ATOMIC_SEQ_CST);
	go_outside(c);
	go_inside(c);
}

void bt_sleep(struct bt_cpu *c, _Atomic u32 *word, u32 val, u32 ns)
{
	const struct timespec limit = {.tv_nsec = ns};

	bt_check_outside(c);
	go_outside(c);
	futex(word, FUTEX_WAIT, val, &limit);
	go_inside(c);
}

static void wait_outside(struct bt_cpu *other)
{
	while (other->running) {
		bt_call(other, ATTN_EXCLUSIVE);
		futex_wait(&other->running, 1);
	}
}

void bt_exclusive_begin(struct bt_vm *bvm, struct bt_cpu *c)
{
	if (c && bvm->exclusive_owner == c) {
		bvm->exclusive_depth++;
		return;
	}
	if (c)
		go_outside(c);
	bt_lock(&bvm->exclusive);
	bvm->exclusive_want = 1;
	for (unsigned k = 0; k < bvm->vm->vcpu_count; k++) {
		struct vcpu *vcpu = bvm->vm->vcpus[k];

		if (vcpu && vcpu->engine && vcpu->engine != c)
			wait_outside(vcpu->engine);
	}
	bvm->exclusive_owner = c;
	bvm->exclusive_depth = 1;
	bvm->stat_exclusive++;
}

void bt_exclusive_end(struct bt_vm *bvm, struct bt_cpu *c)
{
	if (--bvm->exclusive_depth > 0)
		return;
	bvm->exclusive_owner = NULL;
	bvm->exclusive_want = 0;
	futex_wake(&bvm->exclusive_want);
	bt_unlock(&bvm->exclusive);
	if (c)
		go_inside(c);
}
