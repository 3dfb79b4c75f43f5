/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixed range: a kernel's code, which is mapped by large global pages, one
 * behind the other, and stays where it is.
 *
 * References: [1] Intel SDM vol. 3A 4.10.2.4 (global pages), 4.10.4.1.
 *
 * Theory of operation
 * -------------------
 * Translations of code in the range are "fixed": made for one linear address,
 * which is then a constant in them, and chained directly to each other across
 * pages. So whoever runs one must know that all of the range is mapped as it
 * was when they were made. Each vCPU finds out for itself by walking the whole
 * of it, before it enters its first one and again after each flush of the
 * fetches of the high half; while it does not know, or finds something else,
 * it runs the other translations of the same blocks. A fixed one is entered
 * from C and by landings only, or from another fixed one, and a flush empties
 * the landings and lets no vCPU go on in the block it is in.
 *
 * What a CR3 write changes of the range does not count: its pages are global,
 * and a CPU may use them until they are flushed.
 *
 * The range is looked for once per VM, around the first kernel code that runs
 * after a user's: only then has a kernel given its code its final rights.
 */
#include "engine/bt/jit.h"
#include "engine/bt/walk.h"

#define STEP MIB(2)
#define STEPS_MAX 64

static bool is_fixed_page(struct bt_cpu *c, gva_t va, gpa_t *pa)
{
	const struct bt_access access = {.fetch = true, .no_fault = true};
	const struct bt_ram *ram;
	struct bt_page page;

	if (!bt_walk(c, va, &access, &page) || !page.large || !page.global)
		return false;
	/* INVLPG of any address nearby flushes all (tlb.c). */
	c->large_slots[(va >> 39 & 511) / 64] |= BIT((va >> 39) & 63);
	ram = bt_ram_find(c->bvm, page.pa);
	*pa = page.pa;
	return ram && ram->rights & MEM_X;
}

static bool continues(struct bt_cpu *c, gva_t va, gpa_t pa)
{
	gpa_t here;

	return va >= BT_FIXED_LOWEST && is_fixed_page(c, va, &here) &&
	       here == pa;
}

/* True: this vCPU's mapping made the range. */
static bool find_range(struct bt_cpu *c, gva_t va)
{
	struct bt_fixed *f = &c->bvm->fixed;
	gva_t first = va & ~(STEP - 1), end = first + STEP;
	gpa_t pa;

	if (!is_fixed_page(c, first, &pa))
		return false;
	while (end - first < STEPS_MAX * STEP &&
	       continues(c, first - STEP, pa - STEP)) {
		first -= STEP;
		pa -= STEP;
	}
	while (end - first < STEPS_MAX * STEP && end &&
	       continues(c, end, pa + (end - first)))
		end += STEP;
	bt_lock(&c->bvm->code_lock);
	if (!f->len) {
		f->va = first;
		f->pa = pa;
		__atomic_store_n(&f->len, end - first, __ATOMIC_RELEASE);
	}
	bt_unlock(&c->bvm->code_lock);
	return f->va == first && f->pa == pa && f->len == end - first;
}

static bool is_as_ever(struct bt_cpu *c)
{
	const struct bt_fixed *f = &c->bvm->fixed;

	for (u64 at = 0; at < f->len; at += STEP)
		if (!continues(c, f->va + at, f->pa + at))
			return false;
	return true;
}

/* Landings and the jump cache lead to other translations of the same code. */
static void start_over(struct bt_cpu *c)
{
	c->fetch[1]++;
	bt_jit_forget(c, MMU_KERNEL);
	bt_jit_forget(c, MMU_KERNEL_AC);
}

static bool look(struct bt_cpu *c, gva_t va)
{
	struct bt_fixed *f = &c->bvm->fixed;

	c->fixed_seen = f->turn;
	if (!f->turn)
		return false;
	if (__atomic_load_n(&f->len, __ATOMIC_ACQUIRE))
		c->fixed_ok = is_as_ever(c);
	else
		c->fixed_ok = find_range(c, va);
	if (c->fixed_ok)
		start_over(c);
	return c->fixed_ok;
}

bool bt_fixed_here(struct bt_cpu *c, const struct bt_block *b)
{
	struct bt_fixed *f = &c->bvm->fixed;
	gva_t va = c->gpr[17];

	if (c->mode == MMU_USER) {
		if (unlikely(!f->turn))
			f->turn = 1;
		return false;
	}
	if (va < BT_FIXED_LOWEST)
		return false;
	if (unlikely(c->fixed_seen != f->turn) && !look(c, va))
		return false;
	return c->fixed_ok && va - f->va < f->len &&
	       va + b->bytes - f->va <= f->len && b->pa == f->pa + (va - f->va);
}

void bt_fixed_forget(struct bt_cpu *c)
{
	if (c->fixed_ok)
		c->end = NULL;
	c->fixed_ok = false;
	c->fixed_seen = 0;
}
