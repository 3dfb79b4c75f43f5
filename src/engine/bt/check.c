/* SPDX-License-Identifier: Apache-2.0 */
/* Interpreter and translation of a block, compared; see check.h. */
#include "engine/bt/check.h"

#include "engine/bt/decode.h"
#include "engine/bt/exec.h"
#include "engine/bt/fpu.h"
#include "engine/bt/jit.h"
#include "engine/bt/span.h"
#include "engine/bt/sys.h"
#include "arch/xsave.h"

static bool equal(const void *a, const void *b, u64 len)
{
	const u64_any *x = a, *y = b;
	const u8 *p = a, *q = b;
	u64 k = 0;

	/* Most is whole pages, and most of them are equal. */
	for (; k + 32 <= len; k += 32, x += 4, y += 4)
		if ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) |
		    (x[3] ^ y[3]))
			return false;
	for (; k < len; k++)
		if (p[k] != q[k])
			return false;
	return true;
}

/* ---- registers --------------------------------------------------------- */

#define COLD_BYTES \
	(offsetof(struct bt_cpu, fpu_live) - offsetof(struct bt_cpu, seg_check))

/* All of bt_cpu that is the guest's, and not its memory or its FPU. */
static void copy_registers(struct bt_cpu *to, const struct bt_cpu *from)
{
	bt_copy(to, from, offsetof(struct bt_cpu, attention));
	bt_copy(&to->seg_check, &from->seg_check, COLD_BYTES);
	to->fip = from->fip;
	to->fdp = from->fdp;
	to->fop = from->fop;
	to->fcs = from->fcs;
	to->fds = from->fds;
}

/* What says how the engine runs, not what the guest is. */
static void forget_own(struct bt_cpu *state, bool raised)
{
	state->end = NULL;
	state->retired = 0;
	state->block = NULL;
	state->block_ip = 0;
	state->pauses = 0;
	if (!raised)
		state->rip = 0;
}

static bool same_registers(struct bt_check *k)
{
	const struct bt_cpu *a = &k->interp.state, *b = &k->jit.state;

	return equal(a, b, offsetof(struct bt_cpu, attention)) &&
	       equal(&a->seg_check, &b->seg_check, COLD_BYTES) &&
	       a->fip == b->fip && a->fdp == b->fdp && a->fop == b->fop &&
	       a->fcs == b->fcs && a->fds == b->fds;
}

static u64 fpu_bytes(const struct bt_cpu *c)
{
	const u64 small = XCR0_X87 | XCR0_SSE | XCR0_AVX;

	return c->policy->xcr0_mask & ~small ? X86_XSAVE_AREA : 832;
}

/* Which components are initial is the host's to optimize: the header is left
 * out, the registers themselves are always there. */
static bool same_fpu(const struct bt_cpu *c, const struct bt_check *k)
{
	const u8 *a = k->interp.fpu, *b = k->jit.fpu;
	const unsigned from = sizeof(struct xsave_legacy) + XSAVE_HEADER_BYTES;

	return !k->fpu || (equal(a, b, sizeof(struct xsave_legacy)) &&
			   equal(a + from, b + from, fpu_bytes(c) - from));
}

/* May the block read or write the FPU's registers. */
static bool touches_fpu(const struct bt_block *b)
{
	const u32 unit = ROW_SIMD | ROW_X87 | ROW_MMX | ROW_SSE | ROW_AVX;

	for (unsigned n = 0; n < b->count; n++) {
		const struct bt_row *row = &bt_rows[b->insn[n].row];

		if (row->attrs & unit || row->jit_class == JIT_CALLED)
			return true;
	}
	return false;
}

/* ---- memory ------------------------------------------------------------ */

static int find_page(const struct bt_check *k, const u8 *page)
{
	for (unsigned n = k->page_count; n-- > 0;)
		if (k->page[n] == page)
			return (int)n;
	return -1;
}

/* A page that is compared from now on. False: there is no room. */
static bool add_page(struct bt_check *k, u8 *page)
{
	if (find_page(k, page) >= 0)
		return true;
	if (k->page_count == CHECK_PAGES)
		return false;
	/* Else it is copied when the interpreter is done. */
	if (k->phase != CHECK_INTERPRETS)
		bt_copy(k->image[k->page_count], page, 4096);
	k->page[k->page_count++] = page;
	return true;
}

static u8 *page_of(const u8 *at)
{
	return (u8 *)((u64)at & ~0xfffull);
}

static bool add_undo(struct bt_check *k, u8 *at, unsigned len, bool walk)
{
	struct bt_check_undo *undo = &k->undo[k->undo_count];

	if (k->undo_count == CHECK_UNDOS || k->old_used + len > CHECK_OLD ||
	    !add_page(k, page_of(at)))
		return false;
	*undo = (struct bt_check_undo){at, k->old_used, len, walk};
	bt_copy(k->old + undo->old, at, len);
	k->old_used += len;
	k->undo_count++;
	return true;
}

static void undo_writes(const struct bt_check *k, bool walks)
{
	for (unsigned n = k->undo_count; n-- > 0;) {
		const struct bt_check_undo *u = &k->undo[n];

		if (walks || !u->walk)
			bt_copy(u->at, k->old + u->old, u->len);
	}
}

static void take_images(struct bt_check *k)
{
	for (unsigned n = 0; n < k->page_count; n++)
		bt_copy(k->image[n], k->page[n], 4096);
}

static bool same_memory(const struct bt_check *k)
{
	for (unsigned n = 0; n < k->page_count; n++)
		if (!equal(k->page[n], k->image[n], 4096))
			return false;
	return true;
}

/* ---- what devices write ------------------------------------------------ */

void bt_check_dma(struct bt_vm *bvm, gpa_t gpa, u64 len)
{
	struct bt_check_dma *dma = bvm->check_dma;

	bt_lock(&dma->lock);
	dma->last[dma->count % CHECK_WRITES].gpa = gpa;
	dma->last[dma->count % CHECK_WRITES].len = len;
	dma->count++;
	bt_unlock(&dma->lock);
}

static u32 dma_count(struct bt_vm *bvm)
{
	return __atomic_load_n(&bvm->check_dma->count, __ATOMIC_ACQUIRE);
}

gpa_t bt_check_gpa(const struct bt_vm *bvm, const u8 *at)
{
	for (unsigned k = 0; k < bvm->ram_count; k++)
		if ((u64)(at - bvm->ram[k].hva) < bvm->ram[k].len)
			return bvm->ram[k].gpa + (u64)(at - bvm->ram[k].hva);
	return ~0ull;
}

static bool was_device(struct bt_vm *bvm, const struct bt_check *k,
		       const u8 *at)
{
	struct bt_check_dma *dma = bvm->check_dma;
	gpa_t gpa = bt_check_gpa(bvm, at);
	bool found = false;

	bt_lock(&dma->lock);
	for (u32 n = k->dma_seen; n != dma->count && !found; n++)
		found = gpa - dma->last[n % CHECK_WRITES].gpa <
			dma->last[n % CHECK_WRITES].len;
	/* So many that they are not known any more. */
	found = found || dma->count - k->dma_seen > CHECK_WRITES;
	bt_unlock(&dma->lock);
	return found;
}

static bool in_log(const struct bt_check *k, const u8 *at)
{
	for (unsigned n = 0; n < k->undo_count; n++)
		if ((u64)(at - k->undo[n].at) < k->undo[n].len)
			return true;
	return false;
}

/* A byte outside of the log is different: a device's, or our bug. */
static bool explained(struct bt_cpu *c, u8 *at)
{
	for (unsigned round = 0; !was_device(c->bvm, c->check, at); round++)
		if (!bt_check_wait(round))
			return false;
	return true;
}

/* Forgives what devices wrote. False: bytes are different that the interpreter
 * did not write and no device did. */
static bool settle_memory(struct bt_cpu *c)
{
	struct bt_check *k = c->check;

	for (unsigned n = 0; n < k->page_count; n++)
		for (unsigned off = 0; off < 4096; off++) {
			u8 *at = k->page[n] + off, now = *(volatile u8 *)at;

			if (now == k->image[n][off] || in_log(k, at))
				continue;
			if (!explained(c, at))
				return false;
			k->image[n][off] = *(volatile u8 *)at;
		}
	return true;
}

/* ---- TLB --------------------------------------------------------------- */

static void note_fill(struct bt_check_fill *list, unsigned *count,
		      struct bt_tlb_entry *e, unsigned index)
{
	if (*count < CHECK_FILLS)
		list[(*count)++] = (struct bt_check_fill){e, index};
}

static struct bt_check_right *right_of(struct bt_check *k,
				       struct bt_tlb_entry *e)
{
	return &k->right[(u64)e / sizeof(*e) % CHECK_RIGHTS];
}

void bt_check_filled(struct bt_cpu *c, struct bt_tlb_entry *e, unsigned index)
{
	struct bt_check *k = c->check;
	bool writable = e->write == e->read;

	*right_of(k, e) = (struct bt_check_right){e, e->write};
	e->write = bt_tlb_none(index);
	if (k->phase != CHECK_OFF)
		note_fill(k->fill, &k->fill_count, e, index);
	if (k->phase == CHECK_TRANSLATED && writable &&
	    find_page(k, (u8 *)(e->read + e->addend)) >= 0 &&
	    k->open_count < CHECK_FILLS) {
		e->write = e->read;
		note_fill(k->open, &k->open_count, e, index);
	}
}

static bool holds_code(const struct bt_vm *bvm, const u8 *page)
{
	for (unsigned k = 0; k < bvm->ram_count; k++) {
		const struct bt_ram *ram = &bvm->ram[k];

		if ((u64)(page - ram->hva) < ram->len)
			return ram->lines[(u64)(page - ram->hva) >> 12];
	}
	return true;
}

/* Translated code may write by this entry, if its page is compared. */
static void open_entry(struct bt_cpu *c, struct bt_tlb_entry *e, unsigned index)
{
	struct bt_check *k = c->check;
	struct bt_check_right *right = right_of(k, e);
	u8 *page = (u8 *)(e->read + e->addend);

	if (e->read == bt_tlb_none(index) || right->entry != e ||
	    right->write != e->read || k->open_count == CHECK_FILLS ||
	    find_page(k, page) < 0 || holds_code(c->bvm, page))
		return;
	e->write = e->read;
	note_fill(k->open, &k->open_count, e, index);
}

/* Where a translation's window would have to be. */
static void open_page(struct bt_cpu *c, gva_t va)
{
	unsigned index = va >> 12 & (BT_TLB_ENTRIES - 1);
	struct bt_tlb_entry *e = &c->tlb->e[index];

	/* An empty entry's tag is not canonical. */
	if (x86_is_canonical(va) && (va & ~0xfffull) == e->read &&
	    add_page(c->check, (u8 *)(e->read + e->addend)))
		open_entry(c, e, index);
}

/* Of all levels: the one that is begun with may pass on to the next, whose
 * window is another. What it may write to is compared from the beginning, not
 * from a write on that comes the long way. */
static void open_window(struct bt_cpu *c)
{
	struct bt_check *k = c->check;
	struct bt_window *w = &c->window[k->trans->mode];

	if (!k->trans->win_size)
		return;
	/* A closed window's tag is not canonical either. */
	if (x86_is_canonical(w->tag) &&
	    !add_page(k, (u8 *)(w->tag + w->addend)))
		w->tag = 1ull << 63;
	for (const struct bt_trans *t = k->block->trans; t; t = t->next)
		if (t->mode == k->trans->mode && t->win_size)
			open_page(c, c->gpr[X86_RSP] + (u64)(s64)t->win_lo);
}

static void open_entries(struct bt_cpu *c)
{
	struct bt_check *k = c->check;

	for (unsigned n = 0; n < k->fill_count; n++)
		open_entry(c, k->fill[n].entry, k->fill[n].index);
	open_window(c);
}

static void close_entries(struct bt_check *k)
{
	for (unsigned n = 0; n < k->open_count; n++)
		k->open[n].entry->write = bt_tlb_none(k->open[n].index);
	k->open_count = 0;
}

/* As if the first run had found nothing out. */
static void drop_fills(struct bt_cpu *c)
{
	struct bt_check *k = c->check;

	for (unsigned n = 0; n < k->fill_count; n++) {
		struct bt_tlb_entry *e = k->fill[n].entry;

		e->read = e->write = bt_tlb_none(k->fill[n].index);
	}
	for (unsigned m = 0; m < MMU_COUNT; m++)
		c->window[m] = (struct bt_window){.tag = 1ull << 63};
}

/* ---- hooks ------------------------------------------------------------- */

/* The interpreter's run is the only one: what it wrote stays. */
static void run_once(struct bt_cpu *c)
{
	struct bt_check *k = c->check;

	k->phase = CHECK_OFF;
	k->once = true;
	/* Death that was put off. */
	for (unsigned n = 0; k->code_hit && n < k->undo_count; n++) {
		gpa_t pa = bt_check_gpa(c->bvm, k->undo[n].at);

		bt_code_check(c, bt_ram_find(c->bvm, pa), pa, k->undo[n].len);
	}
}

void bt_check_write_slow(struct bt_cpu *c, u8 *at, unsigned len, bool walk)
{
	struct bt_check *k = c->check;

	/* The page is compared: what the interpreter left there is known. */
	if (k->phase == CHECK_TRANSLATED)
		add_page(k, page_of(at));
	if (k->phase != CHECK_INTERPRETS || add_undo(k, at, len, walk))
		return;
	/* The caller holds a pointer: the section is given back later. */
	run_once(c);
}

void bt_check_outside_slow(struct bt_cpu *c)
{
	struct bt_check *k = c->check;

	if (k->phase == CHECK_TRANSLATED) {
		k->jit.left = true;
		bt_longjmp(c->jmp);
	}
	if (k->phase == CHECK_INTERPRETS)
		run_once(c);
	if (k->held) {
		k->held = false;
		bt_exclusive_end(c->bvm, c);
	}
}

/* The blocks there die when the translation writes; this one ends here. */
bool bt_check_code(struct bt_cpu *c, gpa_t pa, unsigned len)
{
	struct bt_check *k = c->check;

	if (k->phase != CHECK_INTERPRETS)
		return false;
	k->code_hit = true;
	if (bt_block_covers(k->block, pa, len))
		c->end = NULL;
	return true;
}

/* ---- the two runs ------------------------------------------------------ */

/* True: it raised. */
static bool interpret(struct bt_cpu *c, struct bt_block *b)
{
	if (bt_setjmp(c->jmp))
		return true;
	bt_run_first(c, b, c->check->limit);
	return false;
}

static bool run_translation(struct bt_cpu *c, struct bt_trans *t)
{
	if (bt_setjmp(c->jmp))
		return !c->check->jit.left;
	bt_jit_once(c, t);
	return false;
}

/* The same, by code that looks at `attention` when it would begin anew. */
static bool run_translation_once(struct bt_cpu *c, struct bt_trans *t)
{
	bool raised;

	bt_call(c, ATTN_CHECK);
	raised = run_translation(c, t);
	__atomic_fetch_and((u32 *)&c->attention, ~(u32)ATTN_CHECK,
			   __ATOMIC_SEQ_CST);
	return raised;
}

static void keep(struct bt_cpu *c, struct bt_check_side *side, bool raised)
{
	struct bt_check *k = c->check;

	side->raised = raised;
	copy_registers(&side->state, c);
	forget_own(&side->state, raised);
	if (!k->fpu)
		return;
	bt_fpu_save(c);
	bt_copy(side->fpu, c->xsave, fpu_bytes(c));
}

static void begin(struct bt_cpu *c)
{
	struct bt_check *k = c->check;

	k->once = k->code_hit = k->jit.left = false;
	k->undo_count = k->old_used = k->page_count = k->fill_count = 0;
	k->dma_seen = dma_count(c->bvm);
	copy_registers(&k->start.state, c);
	if (k->fpu) {
		bt_fpu_save(c);
		bt_copy(k->start.fpu, c->xsave, fpu_bytes(c));
	}
}

/* Registers as they were. */
static void restore(struct bt_cpu *c, bool fpu_live, u32 fpu_ready)
{
	struct bt_check *k = c->check;

	copy_registers(c, &k->start.state);
	if (!k->fpu)
		return;
	bt_fpu_save(c);
	bt_copy(c->xsave, k->start.fpu, fpu_bytes(c));
	copy_registers(c, &k->start.state); /* FIP and so on */
	if (fpu_live) {
		bt_fpu_load(c);
		c->fpu_ready = fpu_ready;
	}
}

/* Memory as it was, but for what the warm case leaves: bits of page tables. */
static void take_back(struct bt_cpu *c)
{
	struct bt_check *k = c->check;

	/* A walk may have been what wrote to code. */
	k->cold = k->cold || k->code_hit;
	take_images(k);
	undo_writes(k, k->cold);
}

/* ---- differences ------------------------------------------------------- */

struct flag_flow {
	u16 undefined; /* now */
	bool read;     /* such a one has been read */
};

static void follow(struct flag_flow *f, const struct bt_insn *i)
{
	const struct bt_row *row = &bt_rows[i->row];

	if (f->undefined & bt_jit_flags_read(row))
		f->read = true;
	f->undefined &= (u16)~bt_jit_flags_defined(i);
	f->undefined |= row->flags_undef;
}

/* Arithmetic flags that may differ, by the rules in check.h. */
static u16 free_flags(const struct bt_check *k, bool *undefined_read)
{
	const struct bt_block *b = k->block;
	struct flag_flow flow = {0};
	unsigned n = k->executed;

	for (unsigned m = 0; m < n; m++)
		follow(&flow, &b->insn[m]);
	/* Jcc to where nothing is raises if it is taken. */
	if (n < b->count && k->interp.raised &&
	    flow.undefined & bt_jit_flags_read(&bt_rows[b->insn[n].row]))
		flow.read = true;
	*undefined_read = flow.read;
	if (n < b->count)
		flow.undefined |= (u16)~bt_jit_live(b, n);
	else if (k->interp.state.gpr[17] == k->start.state.gpr[17])
		flow.undefined |= (u16)~bt_jit_live(b, 0);
	return flow.undefined;
}

/* Which instruction raised, or how many were run. */
static unsigned executed(const struct bt_cpu *c, const struct bt_check *k,
			 bool raised)
{
	u64 ip = k->start.state.gpr[17];
	unsigned n = 0;

	if (!raised)
		return (unsigned)(c->retired - k->start.state.retired);
	while (n < k->block->count && ip != c->rip)
		ip += k->block->insn[n++].len;
	return n;
}

static bool same(struct bt_cpu *c)
{
	struct bt_check *k = c->check;

	return k->interp.raised == k->jit.raised && !k->jit.left &&
	       same_registers(k) && same_memory(k) && same_fpu(c, k);
}

/* Is what differs allowed to. */
static bool allowed(struct bt_cpu *c)
{
	struct bt_check *k = c->check;
	bool undefined_read;
	u16 mask =
		bt_pack_aflags(free_flags(k, &undefined_read)) & (u16)~AF_ONE;
	u16 mine = k->interp.state.aflags;
	bool fine;

	if (undefined_read) {
		k->stat_undefined++;
		return true;
	}
	k->interp.state.aflags =
		(u16)((mine & ~mask) | (k->jit.state.aflags & mask));
	fine = same(c);
	if (!fine)
		k->interp.state.aflags = mine;
	return fine;
}

static void report(struct bt_cpu *c)
{
	bt_fpu_save(c);
	bt_check_report(c);
	bt_attend(c, ATTN_STOP);
}

/* ---- the whole --------------------------------------------------------- */

enum verdict { FINE, AGAIN, WRONG };

/* The translation has stopped in the middle, which it may do anywhere: that far
 * the interpreter runs next time. */
static void note_stop(const struct bt_cpu *c, struct bt_check *k)
{
	u64 ip = k->start.state.gpr[17];

	/* A repeated one stops for attention, as the interpreter's will now. */
	if (k->jit.raised || k->jit.left || c->repeating)
		return;
	for (unsigned n = 0; n < k->limit; n++) {
		if (n && ip == c->gpr[17])
			k->limit = n;
		ip += k->block->insn[n].len;
	}
}

static enum verdict judge(struct bt_cpu *c, struct bt_block *b)
{
	struct bt_check *k = c->check;

	if (same(c) || allowed(c))
		return FINE;
	bt_fpu_save(c);
	/* Nothing to begin again with. */
	if (!b->valid)
		return k->code_hit ? WRONG : AGAIN;
	if (!settle_memory(c))
		return WRONG;
	return same(c) || allowed(c) ? FINE : AGAIN;
}

static enum verdict attempt(struct bt_cpu *c, struct bt_block *b, bool *raised)
{
	struct bt_check *k = c->check;
	bool live = c->fpu_live;
	u32 ready = c->fpu_ready;
	enum verdict verdict;

	begin(c);
	k->phase = CHECK_INTERPRETS;
	*raised = interpret(c, b);
	if (k->once)
		return FINE;
	k->phase = CHECK_OFF;
	k->executed = executed(c, k, *raised);
	keep(c, &k->interp, *raised);
	take_back(c);
	restore(c, live, ready);
	if (k->cold)
		drop_fills(c);
	open_entries(c);
	k->phase = CHECK_TRANSLATED;
	*raised = run_translation_once(c, k->trans);
	k->phase = CHECK_OFF;
	close_entries(k);
	keep(c, &k->jit, *raised);
	verdict = judge(c, b);
	if (verdict == AGAIN) {
		note_stop(c, k);
		undo_writes(k, true);
		restore(c, live, ready);
		drop_fills(c);
		return AGAIN;
	}
	if (live && k->fpu && verdict == FINE) {
		bt_fpu_load(c);
		c->fpu_ready = ready;
	}
	return verdict;
}

/*
 * The exclusive section, kept from block to block. False: others have run, and
 * anything may have changed.
 */
static bool hold(struct bt_cpu *c)
{
	struct bt_check *k = c->check;
	struct bt_vm *bvm = c->bvm;

	if (k->held && k->turns++ < CHECK_TURNS)
		return true;
	if (k->held) {
		bool wanted = bvm->exclusive == 2 || bvm->vm->vcpu_count > 1;

		bt_check_outside(c);
		if (wanted)
			bt_sleep(c, &k->nap, 0, 50000);
	}
	bt_exclusive_begin(bvm, c);
	k->held = true;
	k->turns = 0;
	return false;
}

static bool checked(struct bt_cpu *c, struct bt_block *b)
{
	struct bt_check *k = c->check;
	enum verdict verdict = AGAIN;
	bool raised = false;

	k->block = b;
	k->limit = b->count;
	k->fpu = touches_fpu(b);
	k->cold = ++k->stat_checked % CHECK_COLD == 0;
	for (unsigned n = 0; verdict == AGAIN && n < CHECK_ATTEMPTS; n++) {
		k->cold = k->cold || n;
		verdict = attempt(c, b, &raised);
		k->stat_again += verdict == AGAIN;
		if (verdict == AGAIN && !b->valid)
			return false;
	}
	k->stat_once += k->once;
	if (verdict != FINE)
		report(c);
	return verdict == FINE && raised;
}

static void begin_cpu(struct bt_cpu *c)
{
	c->check = c->check_later;
	c->check_later = NULL;
	/* Entries that were filled until now may be written by; and clocks are
	 * read where it is told. */
	bt_tlb_flush(c);
	bt_update_rdtsc(c);
}

/* Translations until now are chained. Nothing is checked before the flush. */
void bt_check_begin(struct bt_cpu *c)
{
	struct bt_vm *bvm = c->bvm;

	bt_exclusive_begin(bvm, c);
	bvm->check_from = bvm->epoch + 1;
	for (unsigned k = 0; k < bvm->vm->vcpu_count; k++) {
		struct vcpu *vcpu = bvm->vm->vcpus[k];
		struct bt_cpu *other = vcpu ? vcpu->engine : NULL;

		if (other && other->check_later)
			begin_cpu(other);
	}
	bt_exclusive_end(bvm, c);
	bt_flush_code(c);
}

bool bt_check_run(struct bt_cpu *c, struct bt_block *b)
{
	struct bt_check *k = c->check;
	u32 epoch = c->bvm->epoch;
	u64 outer[8];
	bool raised;

	if (epoch < c->bvm->check_from)
		return false;
	if (!hold(c))
		return true;
	k->trans = bt_jit_prepare(c, b);
	/* Making room dropped everything: start over. */
	if (epoch != c->bvm->epoch)
		return true;
	if (!k->trans)
		return false;
	bt_copy(outer, c->jmp, sizeof(outer));
	raised = checked(c, b);
	bt_copy(c->jmp, outer, sizeof(outer));
	if (raised)
		bt_longjmp(c->jmp);
	return true;
}
