/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software TLB and the slow paths behind mem.h.
 *
 * References: [1] Intel SDM vol. 3A 4.10 (caching translation information).
 *
 * Theory of operation
 * -------------------
 * A CR3 write clears the entries of the low half of the address space, which
 * are few most times and therefore listed as they come; with PCIDs they are put
 * on a shelf (shelf.c). Linux maps the high half with global pages: it stays
 * unless an entry without G was put there (high_nonglobal). Global pages of the
 * low half are flushed with the others, which is always allowed.
 *
 * Where fetches lead is remembered in the jump cache (exec.c). Its entries are
 * not cleared: they carry the fetch number of their half, and a flush takes a
 * new one.
 *
 * Only RAM is entered. A page that holds decoded code has no write entry, so
 * each write to it comes here; so does everything while bt_empty_tlb is the
 * current table (alignment checks, data breakpoints).
 */
#include "engine/bt/check.h"
#include "engine/bt/fpu.h"
#include "engine/bt/jit.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"
#include "engine/bt/vm.h"
#include "engine/bt/walk.h"

struct bt_tlb bt_empty_tlb = {.e[0] = {.read = 0x1000, .write = 0x1000}};

/* ---- flushing ---------------------------------------------------------- */

static void drop_entry(struct bt_tlb *t, unsigned index)
{
	t->e[index].read = t->e[index].write = bt_tlb_none(index);
}

/* Translated code holds the addend over instructions: who closes the window in
 * the middle of a block leaves that. */
void bt_tlb_close_windows(struct bt_cpu *c)
{
	c->end = NULL;
	for (unsigned m = 0; m < MMU_COUNT; m++)
		c->window[m] = (struct bt_window){.tag = 1ull << 63};
}

static void clear_table(struct bt_tlb *t)
{
	/* What was never touched takes no memory. */
	if (!t->filled)
		return;
	for (unsigned k = 0; k < BT_TLB_ENTRIES; k++)
		drop_entry(t, k);
	t->low_count = 0;
	t->filled = false;
}

void bt_tlb_init(struct bt_cpu *c)
{
	for (unsigned m = 0; m < MMU_COUNT; m++)
		drop_entry(&c->mmu[m], 0);
	bt_tlb_flush(c);
}

static void clear_low(struct bt_tlb *t)
{
	if (t->low_count <= BT_TLB_LOG) {
		for (unsigned k = 0; k < t->low_count; k++)
			drop_entry(t, t->low[k]);
	} else {
		for (unsigned k = 0; k < BT_TLB_ENTRIES; k++)
			if (!(t->e[k].read >> 63))
				drop_entry(t, k);
	}
	t->low_count = 0;
}

static void flush_fetches(struct bt_cpu *c, unsigned half)
{
	if (half) {
		c->fetch[1]++;
		bt_fixed_forget(c);
	} else {
		c->fetch[0] = ++c->fetch_last;
	}
	for (unsigned m = 0; m < MMU_COUNT; m++)
		if (c->land_halves[m] >> half & 1)
			bt_jit_forget(c, m);
	for (unsigned k = 0; k < ARRAY_SIZE(c->fetched[half]); k++)
		c->fetched[half][k] = 0;
}

/* All of the present space. */
static void flush_all(struct bt_cpu *c)
{
	c->stat.flushed_all++;
	bt_check_outside(c);
	for (unsigned m = 0; m < MMU_COUNT; m++)
		clear_table(&c->mmu[m]);
	bt_tlb_close_windows(c);
	flush_fetches(c, 0);
	flush_fetches(c, 1);
	c->high_nonglobal = c->low_global = false;
	for (unsigned k = 0; k < ARRAY_SIZE(c->large_slots); k++)
		c->large_slots[k] = 0;
}

void bt_tlb_flush(struct bt_cpu *c)
{
	bt_shelf_drop_all(c);
	flush_all(c);
}

static void flush_low(struct bt_cpu *c)
{
	c->stat.flushed_low++;
	for (unsigned m = 0; m < MMU_COUNT; m++)
		clear_low(&c->mmu[m]);
	bt_tlb_close_windows(c);
	flush_fetches(c, 0);
	c->low_global = false;
	for (unsigned k = 0; k < ARRAY_SIZE(c->large_slots) / 2; k++)
		c->large_slots[k] = 0;
}

void bt_tlb_flush_nonglobal(struct bt_cpu *c)
{
	bt_check_outside(c);
	if (c->high_nonglobal || !(c->cr4 & CR4_PGE))
		flush_all(c);
	else
		flush_low(c);
}

/* In check mode entries have rights of their own: nothing is kept. */
void bt_tlb_switch(struct bt_cpu *c, u64 old, bool keep)
{
	if (unlikely(c->check || c->check_later)) {
		bt_tlb_flush_nonglobal(c);
		return;
	}
	bt_shelf_put(c, old);
	bt_tlb_flush_nonglobal(c);
	if (!keep)
		bt_shelf_drop(c, c->cr3 & CR3_PCID);
	else if (bt_shelf_take(c, c->cr3))
		c->stat.shelves++;
}

static unsigned fetch_bit(gva_t va)
{
	return (va >> 12 ^ va >> 24) & 4095;
}

static bool in_large_slot(const struct bt_cpu *c, gva_t va)
{
	unsigned slot = va >> 39 & 511;

	return c->large_slots[slot / 64] >> (slot % 64) & 1;
}

void bt_tlb_flush_page(struct bt_cpu *c, gva_t va)
{
	unsigned index = va >> 12 & (BT_TLB_ENTRIES - 1);

	bt_check_outside(c);
	/* [1] 4.10.4.1: INVLPG drops all of a large page, which is here in
	 * pieces. */
	if (in_large_slot(c, va)) {
		if (va >> 63)
			bt_tlb_flush(c);
		else
			flush_low(c);
		return;
	}
	c->stat.flushed_page++;
	for (unsigned m = 0; m < MMU_COUNT; m++)
		drop_entry(&c->mmu[m], index);
	bt_tlb_close_windows(c);
	if (c->fetched[va >> 63][fetch_bit(va) / 64] >> fetch_bit(va) % 64 & 1)
		flush_fetches(c, va >> 63);
}

/* ---- translation ------------------------------------------------------- */

const struct bt_ram *bt_ram_find(const struct bt_vm *bvm, gpa_t pa)
{
	for (unsigned k = 0; k < bvm->ram_count; k++)
		if (pa - bvm->ram[k].gpa < bvm->ram[k].len)
			return &bvm->ram[k];
	return NULL;
}

static bool page_has_code(const struct bt_ram *ram, gpa_t pa)
{
	return __atomic_load_n(&ram->lines[(pa - ram->gpa) >> 12],
			       __ATOMIC_SEQ_CST) != 0;
}

static void note_global(struct bt_cpu *c, gva_t va, const struct bt_page *page)
{
	if (va >> 63 && !page->global)
		c->high_nonglobal = true;
	if (!(va >> 63) && page->global)
		c->low_global = true;
}

/* `write`: the access was one, so the dirty bit is set; only reading may have
 * left it clear, and then the walk says that the page is not writable. */
static void fill(struct bt_cpu *c, gva_t va, const struct bt_page *page,
		 const struct bt_ram *ram)
{
	unsigned index = va >> 12 & (BT_TLB_ENTRIES - 1);
	struct bt_tlb_entry *e = &c->tlb->e[index];
	u64 tag = va & ~0xfffull;

	if (c->tlb == &bt_empty_tlb || unlikely(!(ram->rights & MEM_R)))
		return;
	if (page->large)
		c->large_slots[(va >> 39 & 511) / 64] |= BIT((va >> 39) & 63);
	note_global(c, va, page);
	if (!(va >> 63) && e->read != tag)
		bt_tlb_note_low(c->tlb, index);
	c->tlb->filled = true;
	e->read = tag;
	e->addend = (u64)(ram->hva + (page->pa - ram->gpa)) - va;
	e->host = tag + e->addend;
	e->write = bt_tlb_none(index);
	if (page->writable && ram->rights & MEM_W &&
	    !page_has_code(ram, page->pa)) {
		e->write = tag;
		bt_tlb_note_writer(c, ram, page->pa,
				   (unsigned)(c->tlb - c->mmu), index);
	}
	if (unlikely(c->check != NULL))
		bt_check_filled(c, e, index);
}

/* The record that runs: blocks are short, and this is for faults only. */
static const struct bt_insn *running_insn(const struct bt_cpu *c)
{
	u64 ip = c->block_ip;

	for (unsigned k = 0; c->block && k < c->block->count; k++) {
		if (ip == c->rip)
			return &c->block->insn[k];
		ip += c->block->insn[k].len;
	}
	return NULL;
}

/* Pushes and pops are those rows whose operands are 64 bits wide by default;
 * only ENTER and LEAVE of them go by RBP. */
static bool is_stack_access(const struct bt_cpu *c, const struct bt_insn *i,
			    gva_t va)
{
	u64 from_sp = va - c->gpr[X86_RSP] + 64;
	const struct bt_row *row = &bt_rows[i->row];

	if (!(row->attrs & (ROW_D64 | ROW_F64)))
		return false;
	return !i->mem || from_sp < 128;
}

/* [1] 3.3.7.1: #SS(0) for a reference through SS, #GP(0) for the rest. */
static void check_canonical(struct bt_cpu *c, gva_t va, unsigned size)
{
	const struct bt_insn *i;
	bool stack;

	if (likely(!bt_mode64(c) ||
		   (x86_is_canonical(va) && x86_is_canonical(va + size - 1))))
		return;
	i = running_insn(c);
	stack = i &&
		((i->mem && i->seg == X86_SS) || is_stack_access(c, i, va));
	bt_raise_error(c, stack ? VEC_SS : VEC_GP, 0);
}

static bool alignment_checked(const struct bt_cpu *c)
{
	return c->cr0 & CR0_AM && c->eflags & FLAG_AC && c->cpl == 3;
}

static struct bt_access access_of(const struct bt_cpu *c, bool write)
{
	return (struct bt_access){
		.write = write,
		.user = c->cpl == 3,
		.smap = !(c->eflags & FLAG_AC),
	};
}

/* All that an explicit access is checked for, within one page. */
static const struct bt_ram *translate(struct bt_cpu *c, gva_t va, bool write,
				      struct bt_page *page)
{
	struct bt_access access = access_of(c, write);
	const struct bt_ram *ram;

	c->stat.tlb_miss++;
	bt_walk(c, va, &access, page);
	ram = bt_ram_find(c->bvm, page->pa);
	if (ram) {
		fill(c, va, page, ram);
		if (write && page_has_code(ram, page->pa))
			c->stat.code_page_writes++;
	}
	return ram;
}

static void check_access(struct bt_cpu *c, gva_t va, unsigned size, bool write)
{
	check_canonical(c, va, size);
	if (unlikely(c->tlb == &bt_empty_tlb)) {
		if (alignment_checked(c) && size <= 8 && va & (size - 1))
			bt_raise_error(c, VEC_AC, 0);
		bt_watch_hit(c, va, size, write);
	}
}

gpa_t bt_translate_fetch(struct bt_cpu *c, gva_t va)
{
	struct bt_access access = {.fetch = true, .user = c->cpl == 3};
	const struct bt_ram *ram;
	struct bt_page page;

	if (bt_mode64(c) && unlikely(!x86_is_canonical(va)))
		bt_gp(c);
	bt_walk(c, va, &access, &page);
	if (page.large)
		c->large_slots[(va >> 39 & 511) / 64] |= BIT((va >> 39) & 63);
	note_global(c, va, &page);
	c->fetched[va >> 63][fetch_bit(va) / 64] |= BIT(fetch_bit(va) % 64);
	ram = bt_ram_find(c->bvm, page.pa);
	if (unlikely(ram && !(ram->rights & MEM_X)))
		bt_refuse_fetch(c, va, page.pa);
	return page.pa;
}

/* ---- physical access --------------------------------------------------- */

static u64 device_load(struct bt_cpu *c, gpa_t pa, unsigned size)
{
	u64 val = 0;

	bt_leave(c);
	bt_pv_eoi_sync(c);
	if (lapic_mmio_covers(&c->vcpu->lapic, pa))
		val = lapic_mmio_read(&c->vcpu->lapic, pa & 0xfff);
	else
		bus_read(&c->vcpu->vm->bus, BUS_MMIO, pa, size, 1, &val);
	bt_enter(c);
	c->stat.device++;
	return val;
}

static void device_store(struct bt_cpu *c, gpa_t pa, unsigned size, u64 val)
{
	bt_leave(c);
	bt_pv_eoi_sync(c);
	if (lapic_mmio_covers(&c->vcpu->lapic, pa))
		lapic_mmio_write(&c->vcpu->lapic, pa & 0xfff, (u32)val);
	else
		bus_write(&c->vcpu->vm->bus, BUS_MMIO, pa, size, 1, &val);
	bt_enter(c);
	c->stat.device++;
	/* An EOI, a TPR or an ICR write may make an interrupt deliverable. */
	bt_attend(c, ATTN_EVENTS);
}

static u64 ram_load(const u8 *p, unsigned size)
{
	switch (size) {
	case 1:
		return *(const volatile u8 *)p;
	case 2:
		return *(const volatile u16_any *)p;
	case 4:
		return *(const volatile u32_any *)p;
	case 8:
		return *(const volatile u64_any *)p;
	default: {
		u64 val = 0;

		for (unsigned k = 0; k < size; k++)
			val |= (u64) * (const volatile u8 *)(p + k) << (8 * k);
		return val;
	}
	}
}

static void ram_store(u8 *p, unsigned size, u64 val)
{
	switch (size) {
	case 1:
		*(volatile u8 *)p = (u8)val;
		break;
	case 2:
		*(volatile u16_any *)p = (u16)val;
		break;
	case 4:
		*(volatile u32_any *)p = (u32)val;
		break;
	case 8:
		*(volatile u64_any *)p = val;
		break;
	default:
		for (unsigned k = 0; k < size; k++)
			*(volatile u8 *)(p + k) = (u8)(val >> (8 * k));
	}
}

/*
 * Pages change their use: what once held code of a process or of a kernel's
 * start is data now, and every write to it would come here for ever. After a
 * few all its blocks die. A page in which code and data live together pays for
 * that with translating again, so each time it takes twice as many writes:
 * bits 15:0 count them, the rest how often they were enough. Counts that get
 * lost between vCPUs do not matter.
 */
#define WEAR_FEW 16u
#define WEAR_DOUBLINGS 10u

static bool wear_out(u32 *wear)
{
	u32 val = __atomic_load_n(wear, __ATOMIC_RELAXED) + 1;
	u32 times = val >> 16;
	bool worn = (val & 0xffff) >= WEAR_FEW << times;

	if (worn)
		val = (times < WEAR_DOUBLINGS ? times + 1 : times) << 16;
	__atomic_store_n(wear, val, __ATOMIC_RELAXED);
	return worn;
}

/*
 * After the bytes are in RAM: does a block cover them? The store comes first
 * and the fence orders it before the look; block.c sets the line's bit before
 * it reads the bytes. So either the new bytes are decoded or the block dies.
 */
void bt_code_check(struct bt_cpu *c, const struct bt_ram *ram, gpa_t pa,
		   unsigned size)
{
	bool worn;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (likely(!page_has_code(ram, pa)))
		return;
	worn = wear_out(&ram->wear[(pa - ram->gpa) >> 12]);
	if (likely(!worn && !bt_has_code(ram, pa, size)))
		return;
	if (unlikely(c->check && bt_check_code(c, pa, size)))
		return;
	bt_exclusive_begin(c->bvm, c);
	if (worn)
		bt_code_written(c->bvm, c, pa & ~0xfffull, 4096);
	else
		bt_code_written(c->bvm, c, pa, size);
	bt_exclusive_end(c->bvm, c);
}

/* Any size up to 8 within a page. */
static u64 phys_load(struct bt_cpu *c, gpa_t pa, unsigned size)
{
	const struct bt_ram *ram = bt_ram_find(c->bvm, pa);
	u64 val = 0;

	if (likely(ram && ram->rights & MEM_R))
		return ram_load(ram->hva + (pa - ram->gpa), size);
	if (!(size & (size - 1)))
		return device_load(c, pa, size);
	for (unsigned k = 0; k < size; k++)
		val |= (device_load(c, pa + k, 1) & 0xff) << (8 * k);
	return val;
}

static void phys_store(struct bt_cpu *c, gpa_t pa, unsigned size, u64 val)
{
	const struct bt_ram *ram = bt_ram_find(c->bvm, pa);

	if (likely(ram && ram->rights & MEM_W)) {
		bt_check_write(c, ram->hva + (pa - ram->gpa), size);
		ram_store(ram->hva + (pa - ram->gpa), size, val);
		bt_code_check(c, ram, pa, size);
		return;
	}
	if (!(size & (size - 1))) {
		device_store(c, pa, size, val);
		return;
	}
	for (unsigned k = 0; k < size; k++)
		device_store(c, pa + k, 1, val >> (8 * k) & 0xff);
}

u64 bt_phys_load(struct bt_cpu *c, gpa_t pa, unsigned size)
{
	return phys_load(c, pa, size);
}

void bt_phys_store(struct bt_cpu *c, gpa_t pa, unsigned size, u64 val)
{
	phys_store(c, pa, size, val);
}

/* ---- slow paths -------------------------------------------------------- */

/* Bytes of [va, va+size) in va's page. */
static unsigned first_part(gva_t va, unsigned size)
{
	unsigned room = 4096 - (va & 0xfff);

	return size < room ? size : room;
}

static u64 second_page(struct bt_cpu *c, gva_t va)
{
	c->stat.crossing++;
	return ((va | 0xfff) + 1) & c->lin_mask;
}

u64 bt_load_slow(struct bt_cpu *c, gva_t va, unsigned size)
{
	unsigned first = first_part(va, size);
	struct bt_page page, page2;
	u64 val;

	check_access(c, va, size, false);
	translate(c, va, false, &page);
	if (likely(first == size))
		return phys_load(c, page.pa, size);
	translate(c, second_page(c, va), false, &page2);
	val = phys_load(c, page.pa, first);
	return val | phys_load(c, page2.pa, size - first) << (8 * first);
}

void bt_store_slow(struct bt_cpu *c, gva_t va, unsigned size, u64 val)
{
	unsigned first = first_part(va, size);
	struct bt_page page, page2;

	check_access(c, va, size, true);
	translate(c, va, true, &page);
	if (likely(first == size)) {
		phys_store(c, page.pa, size, val);
		return;
	}
	translate(c, second_page(c, va), true, &page2);
	phys_store(c, page.pa, first, val);
	phys_store(c, page2.pa, size - first, val >> (8 * first));
}

void bt_probe(struct bt_cpu *c, gva_t va, unsigned size, bool write)
{
	struct bt_page page;

	if (bt_tlb_hit(c, va, size, write))
		return;
	check_access(c, va, size, write);
	translate(c, va, write, &page);
	if (first_part(va, size) < size)
		translate(c, second_page(c, va), write, &page);
}

void *bt_ptr_slow(struct bt_cpu *c, gva_t va, unsigned size, bool write)
{
	const struct bt_ram *ram;
	struct bt_page page;

	check_access(c, va, size, write);
	ram = translate(c, va, write, &page);
	if (first_part(va, size) < size) {
		translate(c, second_page(c, va), write, &page);
		return NULL;
	}
	if (!ram || !(ram->rights & (write ? MEM_W : MEM_R)) ||
	    (write && page_has_code(ram, page.pa)))
		return NULL;
	if (write)
		bt_check_write(c, ram->hva + (page.pa - ram->gpa), size);
	return ram->hva + (page.pa - ram->gpa);
}

void bt_load_bytes(struct bt_cpu *c, gva_t va, void *dst, unsigned len)
{
	u8 *out = dst;

	bt_probe(c, va, len, false);
	for (unsigned k = 0; k < len; k++)
		out[k] = bt_load8(c, (va + k) & c->lin_mask);
}

void bt_store_bytes(struct bt_cpu *c, gva_t va, const void *src, unsigned len)
{
	const u8 *in = src;

	bt_probe(c, va, len, true);
	for (unsigned k = 0; k < len; k++)
		bt_store8(c, (va + k) & c->lin_mask, in[k]);
}

/*
 * A device must not be entered with the section held: it may wait for its own
 * lock, whose holder writes to guest memory and waits for the section.
 */
static bool is_ram(const struct bt_cpu *c, gpa_t pa)
{
	const struct bt_ram *ram = bt_ram_find(c->bvm, pa);

	return ram && (ram->rights & (MEM_R | MEM_W)) == (MEM_R | MEM_W);
}

static bool rmw_in_ram(const struct bt_cpu *c, unsigned size)
{
	return is_ram(c, c->rmw.pa[0]) &&
	       (c->rmw.first == size || is_ram(c, c->rmw.pa[1]));
}

void *bt_rmw_begin_slow(struct bt_cpu *c, gva_t va, unsigned size, bool locked,
			u64 *tmp)
{
	void *p = bt_ptr_slow(c, va, size, true);
	unsigned first = first_part(va, size);
	struct bt_page page;

	if (p)
		return p;
	/* All that can raise has been tried: now the addresses stay. */
	translate(c, va, true, &page);
	c->rmw.pa[0] = page.pa;
	c->rmw.first = first;
	if (first < size) {
		translate(c, second_page(c, va), true, &page);
		c->rmw.pa[1] = page.pa;
	}
	c->rmw.exclusive = locked && rmw_in_ram(c, size);
	if (c->rmw.exclusive)
		bt_exclusive_begin(c->bvm, c);
	*tmp = phys_load(c, c->rmw.pa[0], first);
	if (first < size)
		*tmp |= phys_load(c, c->rmw.pa[1], size - first) << (8 * first);
	return tmp;
}

void bt_rmw_end_slow(struct bt_cpu *c, unsigned size, u64 tmp)
{
	phys_store(c, c->rmw.pa[0], c->rmw.first, tmp);
	if (c->rmw.first < size)
		phys_store(c, c->rmw.pa[1], size - c->rmw.first,
			   tmp >> (8 * c->rmw.first));
	if (c->rmw.exclusive)
		bt_exclusive_end(c->bvm, c);
}

/* ---- the CPU's own accesses -------------------------------------------- */

/* [1] 4.6: an implicit supervisor access; SMAP heeds no AC. */
static struct bt_tlb *sys_table(struct bt_cpu *c)
{
	return &c->mmu[c->cr4 & CR4_SMAP ? MMU_KERNEL : MMU_KERNEL_AC];
}

static gpa_t translate_sys(struct bt_cpu *c, gva_t va, bool write)
{
	struct bt_access access = {.write = write, .smap = true};
	struct bt_tlb *present = c->tlb;
	const struct bt_ram *ram;
	struct bt_page page;

	bt_walk(c, va, &access, &page);
	ram = bt_ram_find(c->bvm, page.pa);
	if (ram) {
		c->tlb = sys_table(c);
		fill(c, va, &page, ram);
		c->tlb = present;
	}
	return page.pa;
}

static gva_t sys_mask(const struct bt_cpu *c)
{
	return bt_long_mode(c) ? ~0ull : 0xffffffff;
}

static const void *sys_hit(struct bt_cpu *c, gva_t va, unsigned size)
{
	const struct bt_tlb_entry *e =
		&sys_table(c)->e[va >> 12 & (BT_TLB_ENTRIES - 1)];

	return (va ^ e->read) <= 4096 - size ? (void *)(va + e->addend) : NULL;
}

u64 bt_load_sys(struct bt_cpu *c, gva_t va, unsigned size)
{
	unsigned first = first_part(va &= sys_mask(c), size);
	const void *p = sys_hit(c, va, size);
	gpa_t pa, pa2;

	if (likely(p != NULL))
		return ram_load(p, size);
	pa = translate_sys(c, va, false);
	if (first == size)
		return phys_load(c, pa, size);
	pa2 = translate_sys(c, ((va | 0xfff) + 1) & sys_mask(c), false);
	return phys_load(c, pa, first) | phys_load(c, pa2, size - first)
						 << (8 * first);
}

void bt_store_sys(struct bt_cpu *c, gva_t va, unsigned size, u64 val)
{
	unsigned first = first_part(va &= sys_mask(c), size);
	gpa_t pa = translate_sys(c, va, true), pa2;

	if (first == size) {
		phys_store(c, pa, size, val);
		return;
	}
	pa2 = translate_sys(c, ((va | 0xfff) + 1) & sys_mask(c), true);
	phys_store(c, pa, first, val);
	phys_store(c, pa2, size - first, val >> (8 * first));
}
