/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software engine behind engine.h: creation, destruction, kicks, counters.
 */
#include "engine/engine.h"

#include "engine/bt/check.h"
#include "engine/bt/exec.h"
#include "engine/bt/fpu.h"
#include "engine/bt/jit.h"
#include "engine/bt/signals.h"
#include "engine/bt/sys.h"
#include "engine/bt/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "util/host_cpu.h"

/* ---- guest RAM --------------------------------------------------------- */

void *bt_reserve(u64 len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static u64 lines_bytes(u64 len)
{
	return align_up((len >> 12) * sizeof(u64), 4096);
}

/* Of wear and writer, which are used together. */
static u64 wear_bytes(u64 len)
{
	return align_up(2 * (len >> 12) * sizeof(u32), 4096);
}

/* Both of the whole piece, so that rights may change without touching them. */
static bool piece_lines(struct bt_vm *bvm, const struct mem_region *r,
			struct bt_ram *ram)
{
	const struct guest_mem *mem = &bvm->vm->mem;
	unsigned k = 0;
	u64 page;

	while (r->gpa - mem->pieces[k].gpa >= mem->pieces[k].len)
		k++;
	page = (r->gpa - mem->pieces[k].gpa) >> 12;
	if (!bvm->lines[k])
		bvm->lines[k] = bt_reserve(lines_bytes(mem->pieces[k].len));
	if (!bvm->wear[k])
		bvm->wear[k] = bt_reserve(wear_bytes(mem->pieces[k].len));
	if (!bvm->lines[k] || !bvm->wear[k])
		return false;
	ram->lines = bvm->lines[k] + page;
	ram->wear = bvm->wear[k] + page;
	ram->writer = ram->wear + (mem->pieces[k].len >> 12);
	return true;
}

static void free_lines(struct bt_vm *bvm)
{
	const struct guest_mem *mem = &bvm->vm->mem;

	for (unsigned k = 0; k < MEM_MAX_PIECES; k++) {
		if (bvm->lines[k])
			munmap(bvm->lines[k], lines_bytes(mem->pieces[k].len));
		if (bvm->wear[k])
			munmap(bvm->wear[k], wear_bytes(mem->pieces[k].len));
	}
}

/* Before the first vCPU runs: nobody reads the list meanwhile. */
static void region_add(struct mem_listener *l, const struct mem_region *r)
{
	struct bt_vm *bvm = container_of(l, struct bt_vm, listener);
	struct bt_ram *ram;

	if (bvm->ram_count == ARRAY_SIZE(bvm->ram))
		return;
	ram = &bvm->ram[bvm->ram_count];
	ram->gpa = r->gpa;
	ram->len = r->len;
	ram->hva = r->hva;
	ram->rights = r->rights;
	if (piece_lines(bvm, r, ram))
		bvm->ram_count++;
}

static void region_remove(struct mem_listener *l, const struct mem_region *r)
{
	struct bt_vm *bvm = container_of(l, struct bt_vm, listener);

	for (unsigned k = 0; k < bvm->ram_count; k++)
		if (bvm->ram[k].gpa == r->gpa) {
			bvm->ram[k] = bvm->ram[--bvm->ram_count];
			return;
		}
}

/* Bytes written by a device: translations of them die before it goes on. */
static void region_written(struct mem_listener *l, gpa_t gpa, u64 len)
{
	struct bt_vm *bvm = container_of(l, struct bt_vm, listener);
	const struct bt_ram *ram = bt_ram_find(bvm, gpa);

	if (bvm->check_dma)
		bt_check_dma(bvm, gpa, len);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	while (ram && len) {
		u64 part = min_u64(len, 4096 - (gpa & 0xfff));

		if (gpa - ram->gpa < ram->len &&
		    bt_has_code(ram, gpa, (unsigned)part)) {
			bt_exclusive_begin(bvm, NULL);
			bt_code_written(bvm, NULL, gpa, (unsigned)part);
			bt_exclusive_end(bvm, NULL);
		}
		gpa += part;
		len -= part;
	}
}

/* ---- VM ---------------------------------------------------------------- */

static int probe(struct err *err)
{
	/* LAHF in 64-bit code and x86-64-v2 are what operations stand on. */
	if (!host_cpu_has(SSE4_2) || !host_cpu_has(POPCNT))
		return err_set(err, -ENOTSUP,
			       "this CPU is older than x86-64-v2; the bt "
			       "engine needs SSE4.2 and POPCNT");
	return 0;
}

static void vm_fini(struct vm *vm)
{
	struct bt_vm *bvm = vm->engine_vm;

	if (!bvm)
		return;
	mem_unlisten(&vm->mem, &bvm->listener);
	free_lines(bvm);
	free(bvm->check_dma);
	bt_jit_fini(bvm);
	bt_stub_fini(bvm);
	bt_code_fini(bvm);
	free(bvm);
	vm->engine_vm = NULL;
}

static bool checks(const struct vm *vm)
{
	return vm->bt_mode == VM_BT_CHECK || vm->bt_mode == VM_BT_CHECK_USER;
}

static int vm_init(struct vm *vm, struct err *err)
{
	struct bt_vm *bvm = calloc(1, sizeof(*bvm));
	int ret;

	if (!bvm)
		return err_set(err, -ENOMEM, "out of memory");
	vm->engine_vm = bvm;
	bvm->vm = vm;
	bvm->made_ticks = bt_ticks();
	clock_gettime(CLOCK_MONOTONIC, &bvm->made);
	bvm->listener.add = region_add;
	bvm->listener.remove = region_remove;
	bvm->listener.written = region_written;
	mem_listen(&vm->mem, &bvm->listener);
	ret = bt_code_init(bvm, err);
	if (!ret)
		ret = bt_stub_init(bvm, err);
	if (!ret && vm->bt_mode != VM_BT_INTERP)
		ret = bt_jit_init(bvm, err);
	if (!ret && checks(vm)) {
		bvm->check_dma = calloc(1, sizeof(*bvm->check_dma));
		ret = bvm->check_dma ? 0
				     : err_set(err, -ENOMEM, "out of memory");
	}
	if (!ret)
		ret = bt_signals_init(err);
	if (ret)
		vm_fini(vm);
	return ret;
}

/* ---- vCPU -------------------------------------------------------------- */

/* Below the bt_cpu, where translated code has its stack pointer: calls of
 * thunks, and the frame of a signal that has no stack of its own. */
#define CPU_STACK KIB(64)

static u64 cpu_bytes(void)
{
	return CPU_STACK + align_up(sizeof(struct bt_cpu), 4096);
}

static void cpu_fini(struct vcpu *vcpu)
{
	struct bt_cpu *c = vcpu->engine;

	if (!c)
		return;
	vcpu->engine = NULL;
	bt_check_fini(c);
	munmap((u8 *)c - CPU_STACK, cpu_bytes());
}

static int cpu_init(struct vcpu *vcpu, struct err *err)
{
	u8 *p = bt_reserve(cpu_bytes());
	struct bt_cpu *c;

	if (!p)
		return err_set(err, -ENOMEM, "no memory for a vCPU");
	c = (struct bt_cpu *)(void *)(p + CPU_STACK);
	c->vcpu = vcpu;
	c->id = vcpu->id;
	c->bvm = bt_vm(vcpu->vm);
	c->policy = vcpu->vm->cpu;
	c->delivering = -1;
	c->intr_owed = -1;
	bt_fpu_reset(c, false);
	bt_tlb_init(c);
	vcpu->engine = c;
	return checks(vcpu->vm) ? bt_check_init(c, err) : 0;
}

static void kick(struct vcpu *vcpu)
{
	struct bt_cpu *c = vcpu->engine;

	bt_call(c, ATTN_EVENTS);
}

const struct engine_ops engine_bt = {
	.name = "bt",
	.probe = probe,
	.vm_create = vm_init,
	.vm_destroy = vm_fini,
	.vcpu_create = cpu_init,
	.vcpu_destroy = cpu_fini,
	.run = bt_run,
	.kick = kick,
	.get_state = bt_get_state,
	.set_state = bt_set_state,
	.stats = bt_stats_print,
	.resume = bt_pv_resume,
};
