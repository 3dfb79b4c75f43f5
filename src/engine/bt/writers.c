/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that become code, and the TLB entries by which they could be written to
 * unnoticed.
 *
 * Most pages have one entry for writing at most when they become code, that by
 * which a kernel has filled them. bt_ram.writer tells where it is: 0 nowhere,
 * WRITERS in several places, else one more than vCPU, mode and index. Where it
 * was stays noted when it has gone. Entries on a shelf count for nothing: they
 * are noted again when they are fetched back (shelf.c).
 */
#include "engine/bt/sys.h"
#include "engine/bt/vm.h"

/* A vCPU that uses the window in the block it is in leaves that. */
static void close_window_of(struct bt_cpu *c, const u8 *hva)
{
	for (unsigned m = 0; m < MMU_COUNT; m++)
		if (c->window[m].tag + c->window[m].addend == (u64)hva) {
			bt_tlb_close_windows(c);
			c->end = NULL;
		}
}

static void protect_entry(struct bt_tlb *t, unsigned index, const u8 *hva)
{
	struct bt_tlb_entry *e = &t->e[index];

	if (e->write + e->addend == (u64)hva)
		e->write = bt_tlb_none(index);
}

static void protect_page(struct bt_tlb *t, const u8 *hva)
{
	for (unsigned k = 0; t->filled && k < BT_TLB_ENTRIES; k++)
		protect_entry(t, k, hva);
}

#define WRITERS (~0u)
enum { WRITER_MODE = 12, WRITER_CPU = 14 };
_Static_assert(BT_TLB_ENTRIES <= 1 << WRITER_MODE, "it has an index");
_Static_assert(MMU_COUNT <= 1 << (WRITER_CPU - WRITER_MODE), "and a mode");

void bt_tlb_note_writer(struct bt_cpu *c, const struct bt_ram *ram, gpa_t pa,
			unsigned mode, unsigned index)
{
	u32 *writer = &ram->writer[(pa - ram->gpa) >> 12];
	u32 mine = 1 + (c->id << WRITER_CPU | mode << WRITER_MODE | index);
	u32 old = __atomic_load_n(writer, __ATOMIC_RELAXED);

	while (old != mine && old != WRITERS &&
	       !__atomic_compare_exchange_n(writer, &old, old ? WRITERS : mine,
					    false, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED))
		;
}

static struct bt_cpu *cpu_of(const struct bt_vm *bvm, unsigned n)
{
	return bvm->vm->vcpus[n] ? bvm->vm->vcpus[n]->engine : NULL;
}

static void protect_writers(struct bt_vm *bvm, u32 writer, const u8 *hva)
{
	u32 place = writer - 1;

	if (writer && writer != WRITERS) {
		struct bt_cpu *c = cpu_of(bvm, place >> WRITER_CPU);

		if (c)
			protect_entry(&c->mmu[place >> WRITER_MODE & 3],
				      place & (BT_TLB_ENTRIES - 1), hva);
		return;
	}
	for (unsigned n = 0; writer && n < bvm->vm->vcpu_count; n++) {
		struct bt_cpu *c = cpu_of(bvm, n);

		for (unsigned m = 0; c && m < MMU_COUNT; m++)
			protect_page(&c->mmu[m], hva);
	}
}

void bt_tlb_protect_page(struct bt_vm *bvm, const struct bt_ram *ram, gpa_t pa)
{
	u64 page = (pa - ram->gpa) >> 12;
	const u8 *hva = ram->hva + (page << 12);

	bvm->claims++;
	protect_writers(
		bvm,
		__atomic_exchange_n(&ram->writer[page], 0, __ATOMIC_SEQ_CST),
		hva);
	for (unsigned n = 0; n < bvm->vm->vcpu_count; n++) {
		struct bt_cpu *c = cpu_of(bvm, n);

		if (!c)
			continue;
		close_window_of(c, hva);
		/* In the middle of a block it may go on with an addend that it
		 * looked up before: it leaves after its instruction. */
		c->end = NULL;
	}
}
