/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translated code at run time: finding it, chaining it, what thunks ask for,
 * and its death.
 *
 * References: [1] Intel SDM vol. 3A 8.1.3 (cross-modifying code): patched are
 *             aligned displacements of jumps, and entries of blocks while no
 *             vCPU is in them.
 */
#include "engine/bt/jit.h"

#include "engine/bt/decode.h"
#include "engine/bt/exec.h"
#include "engine/bt/fpu.h"
#include "engine/bt/jit_show.h"
#include "engine/bt/jit_translate.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"

/* ---- finding ----------------------------------------------------------- */

static bool translatable(const struct bt_cpu *c)
{
	return c->code == W64 && c->mode != MMU_COUNT &&
	       (c->cpl == 0 || c->cpl == 3);
}

static const u8 *entry(const struct bt_cpu *c, const struct bt_trans *t, u16 at)
{
	return c->bvm->jit->code.exec + t->code + at;
}

/* Landings of a mode lead to the thunk until they are filled. */
static void prepare_landings(struct bt_cpu *c, unsigned mode)
{
	struct bt_landing *l = &c->land[bt_landing_base(mode)];

	for (unsigned k = 0; k < bt_landings(mode); k++)
		l[k].code = c->bvm->jit->miss;
	c->land_log[mode].count = 0;
	c->land_ready |= (u8)(1u << mode);
}

static void put_landing(struct bt_cpu *c, unsigned mode, unsigned at,
			const struct bt_landing *l)
{
	struct bt_landing_log *log = &c->land_log[mode];

	c->land[bt_landing_base(mode) + at] = *l;
	c->land_halves[mode] |= (u8)(1u << (-l->key >> 63));
	if (log->count < BT_LANDING_LOG)
		log->at[log->count] = (u16)at;
	if (log->count <= BT_LANDING_LOG)
		log->count++;
}

static void fill_landing(struct bt_cpu *c, unsigned mode, u64 va,
			 const u8 *code)
{
	unsigned at = c->jit_landing / 2;

	/* The number is of the mode that the jump was emitted for. */
	if (at && likely(at < bt_landings(mode)))
		put_landing(c, mode, at, &(struct bt_landing){-va, code});
}

void bt_jit_land_again(struct bt_cpu *c, const u16 *at,
		       const struct bt_landing *l, unsigned count)
{
	if (!(c->land_ready >> MMU_USER & 1))
		return;
	for (unsigned k = 0; k < count; k++)
		put_landing(c, MMU_USER, at[k], &l[k]);
}

void bt_jit_forget(struct bt_cpu *c, unsigned mode)
{
	struct bt_landing_log *log = &c->land_log[mode];
	struct bt_landing *l = &c->land[bt_landing_base(mode)];

	c->land_halves[mode] = 0;
	if (log->count > BT_LANDING_LOG) {
		prepare_landings(c, mode);
		return;
	}
	for (unsigned k = 0; k < log->count; k++)
		l[log->at[k]].code = c->bvm->jit->miss;
	log->count = 0;
}

/* For the present mode and RIP. */
static struct bt_trans *find_trans(const struct bt_cpu *c,
				   const struct bt_block *b, u8 level, u64 va)
{
	struct bt_trans *t = __atomic_load_n(&b->trans, __ATOMIC_ACQUIRE);
	bool edge = bt_jit_near_hole(c->gpr[17]);

	while (t && (t->mode != c->mode || t->level != level || t->va != va ||
		     t->edge != edge))
		t = t->next;
	return t;
}

static struct bt_trans *translate(struct bt_cpu *c, struct bt_block *b,
				  u8 level, u64 va)
{
	struct bt_trans *t;
	u64 start = bt_ticks();
	bool full = false;

	bt_lock(&c->bvm->code_lock);
	t = find_trans(c, b, level, va);
	if (!t && b->valid) {
		t = bt_translate(c, b, level, va, &full);
		if (t) {
			t->next = b->trans;
			__atomic_store_n(&b->trans, t, __ATOMIC_RELEASE);
			c->stat.translated++;
		} else if (!full) {
			b->heat = BT_JIT_NEVER;
			c->stat.refused++;
		}
	}
	bt_unlock(&c->bvm->code_lock);
	c->stat.translating += bt_ticks() - start;
	if (full)
		bt_flush_code(c);
	return t;
}

/*
 * The block's translation; NULL: not yet. Whoever calls it stands at a block
 * boundary: a full code buffer drops everything, b too, which bvm->epoch tells.
 */
static struct bt_trans *trans_of(struct bt_cpu *c, struct bt_block *b, u8 level)
{
	u64 va = bt_fixed_here(c, b) ? c->gpr[17] : 0;
	struct bt_trans *t = find_trans(c, b, level, va);

	if (!t && b->heat < BT_JIT_HEAT && !c->check) {
		b->heat++;
		return NULL;
	}
	if (!t && b->heat != BT_JIT_NEVER)
		t = translate(c, b, level, va);
	if (unlikely(t && !(c->land_ready >> c->mode & 1)))
		prepare_landings(c, c->mode);
	return t;
}

/* What runs at RIP; NULL: not translated. Raises fetch faults. */
static struct bt_trans *trans_at_ip(struct bt_cpu *c)
{
	u32 epoch = c->bvm->epoch;
	struct bt_block *b;
	struct bt_trans *t;
	struct bt_jump *j;

	c->rip = c->gpr[17];
	b = bt_block_at(c);
	t = trans_of(c, b, LEVEL_WIDE);
	c->seen_epoch = c->bvm->epoch;
	if (epoch != c->bvm->epoch)
		return NULL;
	j = bt_jump_find(c, c->gpr[17]);
	if (t && j) {
		j->ind = t->code + t->ind;
		j->body = t->code + t->body;
		j->deaths = c->bvm->deaths;
	}
	return t;
}

/*
 * The same from the jump cache alone: a block and its translation are seldom
 * in the host's caches. NULL: it does not know.
 */
static const struct bt_jump *known_at_ip(struct bt_cpu *c)
{
	struct bt_jump *j = bt_jump_find(c, c->gpr[17]);

	if (!j || !j->ind || j->deaths != c->bvm->deaths)
		return NULL;
	c->seen_epoch = c->bvm->epoch;
	c->ip_page = c->gpr[17] & ~0xfffull;
	return j;
}

/* Host code of what is at RIP, ready to be jumped to. */
static u64 begin(struct bt_cpu *c, const struct bt_trans *t)
{
	c->ip_page = c->gpr[17] & ~0xfffull;
	return (u64)entry(c, t, t->body);
}

/*
 * Has the run loop to look? Opens the landings, which bt_call() closes, before
 * it looks: whoever calls after that closes them again. A caller may close
 * them when what it called for is done.
 */
static bool is_called(struct bt_cpu *c)
{
	for (unsigned m = 0; m < MMU_COUNT; m++)
		if (unlikely(!c->land_mask[m]))
			__atomic_store_n(&c->land_mask[m], bt_landing_mask(m),
					 __ATOMIC_SEQ_CST);
	return c->attention != 0;
}

/* Does translated code have to return to the run loop: somebody wants to be
 * looked at, or each block is to be compared, now or from here on. */
static bool must_leave(struct bt_cpu *c)
{
	return unlikely(is_called(c)) || unlikely(c->check != NULL) ||
	       !translatable(c) ||
	       (unlikely(c->check_later != NULL) && c->cpl == 3);
}

/* Host code for RIP; 0: the run loop sees to it. */
static u64 go_on(struct bt_cpu *c)
{
	const struct bt_jump *known;
	struct bt_trans *t;

	if (must_leave(c))
		return 0;
	known = known_at_ip(c);
	if (likely(known != NULL))
		return (u64)c->bvm->jit->code.exec + known->body;
	t = trans_at_ip(c);
	return t ? begin(c, t) : 0;
}

bool bt_jit_run(struct bt_cpu *c, struct bt_block *b)
{
	void (*enter)(struct bt_cpu * c, u64 target);
	u32 epoch = c->bvm->epoch;
	struct bt_trans *t;

	if (!c->bvm->jit || !translatable(c)) {
		c->stat.blocks[INTERP_MODE]++;
		return false;
	}
	t = trans_of(c, b, LEVEL_WIDE);
	if (epoch != c->bvm->epoch)
		return true; /* b has gone: start over */
	/* Called for meanwhile: not without having run something. */
	if (!t || unlikely(is_called(c))) {
		c->stat.blocks[b->heat == BT_JIT_NEVER ? INTERP_CANNOT
						       : INTERP_COLD]++;
		return false;
	}
	c->stat.entered++;
	enter = (void (*)(struct bt_cpu *, u64))(u64)c->bvm->jit->enter;
	enter(c, begin(c, t));
	return true;
}

struct bt_trans *bt_jit_prepare(struct bt_cpu *c, struct bt_block *b)
{
	u32 epoch = c->bvm->epoch;
	struct bt_trans *t;

	if (!translatable(c))
		return NULL;
	t = trans_of(c, b, false);
	if (t && epoch == c->bvm->epoch && t->win_size)
		trans_of(c, b, true);
	return t;
}

void bt_jit_once(struct bt_cpu *c, struct bt_trans *t)
{
	void (*enter)(struct bt_cpu * c, u64 target) =
		(void (*)(struct bt_cpu *, u64))(u64)c->bvm->jit->enter;

	enter(c, begin(c, t));
}

/* ---- what thunks ask for ----------------------------------------------- */

/* Where in which translation a thunk was called. */
struct site {
	struct bt_trans *t;
	unsigned n;
};

static struct site site_of(const u8 *data)
{
	u32 word = *(const u32_any *)(const void *)data;

	return (struct site){
		.t = *(struct bt_trans **)(void *)(data - (word & 0xffffff)),
		.n = word >> 24,
	};
}

static u64 ip_of(const struct bt_cpu *c, const struct bt_trans *t, unsigned n)
{
	u64 page = t->va ? t->va & ~0xfffull : c->ip_page;

	return page + t->page_off + t->at[n].guest;
}

static bool fpu_allowed(const struct bt_cpu *c, u8 need)
{
	const u64 avx = XCR0_SSE | XCR0_AVX;

	if (c->cr0 & (CR0_EM | CR0_TS) || !(c->cr4 & CR4_OSFXSR))
		return false;
	return !(need & FPU_READY_AVX) ||
	       (c->cr4 & CR4_OSXSAVE && (c->xcr0 & avx) == avx);
}

static bool make_ready(struct bt_cpu *c, u8 need)
{
	if (!fpu_allowed(c, need))
		return false;
	bt_fpu_load(c);
	c->fpu_ready |= need;
	return true;
}

/* Host code of the n-th instruction, ready to be jumped to. */
static u64 resume(struct bt_cpu *c, const struct bt_trans *t, unsigned n)
{
	if (t->at[n].held == HELD_WINDOW)
		c->jit_held = c->window[t->mode].addend;
	return (u64)entry(c, t, t->at[n].host);
}

static void run_function(struct bt_cpu *c, const struct bt_insn *i)
{
	u64 start;

	if (likely(!bt_jit_counts(c))) {
		i->fn(c, i);
		return;
	}
	start = bt_ticks();
	i->fn(c, i);
	c->stat.in_functions += bt_ticks() - start;
}

/* The n-th instruction by its function; where to go on behind it. */
static u64 exec_at(struct bt_cpu *c, struct bt_trans *t, unsigned n)
{
	struct bt_block *b = t->block;
	const struct bt_insn *i = &b->insn[n];

	c->rip = ip_of(c, t, n);
	c->gpr[17] = c->rip + i->len;
	c->block = b;
	c->block_ip = ip_of(c, t, 0);
	c->end = b->insn + b->count;
	run_function(c, i);
	/* Cleared: `t` may be gone, too. */
	if (!c->end)
		return 0;
	if (bt_ends_block(i) || unlikely(c->mode != t->at[n + 1].mode))
		return go_on(c);
	if (t->fpu && (c->fpu_ready & t->fpu) != t->fpu &&
	    !make_ready(c, t->fpu))
		return 0;
	return resume(c, t, n + 1);
}

u64 bt_jit_exec(struct bt_cpu *c, const u8 *data)
{
	struct site s = site_of(data);

	c->stat.called++;
	c->stat.called_row[s.t->block->insn[s.n].row]++;
	return exec_at(c, s.t, s.n);
}

u64 bt_jit_slow(struct bt_cpu *c, const u8 *data)
{
	struct site s = site_of(data);

	c->stat.missed++;
	c->stat.missed_row[s.t->block->insn[s.n].row]++;
	return exec_at(c, s.t, s.n);
}

u64 bt_jit_fpu(struct bt_cpu *c, const u8 *data)
{
	struct bt_trans *t = site_of(data).t;

	c->stat.fpu_loads++;
	if (make_ready(c, t->fpu))
		return (u64)entry(c, t, t->body);
	c->gpr[17] = ip_of(c, t, 0);
	bt_run_records(c, t->block); /* it raises, or makes it available */
	return c->end ? go_on(c) : 0;
}

u64 bt_jit_poll(struct bt_cpu *c, const u8 *data)
{
	c->stat.polls++;
	c->gpr[17] = ip_of(c, site_of(data).t, 0);
	return 0;
}

u64 bt_jit_lost(struct bt_cpu *c, const u8 *data)
{
	c->stat.lost++;
	c->gpr[17] = ip_of(c, site_of(data).t, 0);
	return go_on(c);
}

/* ---- chaining ---------------------------------------------------------- */

static void patch(struct bt_jit *jit, u32 disp, const u8 *target)
{
	const u8 *from = jit->code.exec + disp + 4;
	u32 delta = (u32)(target - from);

	__atomic_store_n((u32 *)(void *)(jit->code.write + disp), delta,
			 __ATOMIC_RELEASE);
}

/* Is what `to` would look at its head for part of what `from` has found? Each
 * mode has a window of its own. */
static bool covers_window(const struct bt_trans *from,
			  const struct bt_trans *to)
{
	s64 lo = (s64)from->sp + to->win_lo;

	return !to->win_size ||
	       (from->win_size && from->mode == to->mode && from->sp_known &&
		lo >= from->win_lo &&
		lo + to->win_size <= from->win_lo + from->win_size);
}

static bool covers(const struct bt_trans *from, const struct bt_trans *to)
{
	return !(to->fpu & ~from->fpu) && covers_window(from, to);
}

/*
 * What runs into a second page is only good while both are mapped. And it is
 * the page of the block that processes share, not what this one has at its
 * address by now.
 */
static bool may_link(const struct bt_trans *from, const struct bt_way *way,
		     const struct bt_trans *to)
{
	const struct bt_block *a = from->block, *b = to->block;

	if (!a->valid || !b->valid || to->mode != way->mode ||
	    !from->va != !to->va)
		return false;
	/* Of fixed code all of it is known (jit_fixed.c). */
	return from->va || (b->pa2 == BT_NO_PAGE && a->pa >> 12 == b->pa >> 12);
}

/* Way n of a block is taken for the first time. */
u64 bt_jit_link(struct bt_cpu *c, const u8 *data)
{
	struct site s = site_of(data);
	struct bt_way *way = &s.t->way[s.n];
	bool backwards = way->target <= s.t->page_off;
	u32 epoch = c->bvm->epoch;
	struct bt_trans *t;
	u64 page = s.t->va ? s.t->va & ~0xfffull : c->ip_page;
	u16 at;

	c->gpr[17] = page + (u64)(s64)way->target;
	if (must_leave(c))
		return 0;
	t = trans_at_ip(c);
	if (!t || epoch != c->bvm->epoch)
		return 0;
	bt_lock(&c->bvm->code_lock);
	if (may_link(s.t, way, t)) {
		if (covers(s.t, t))
			at = backwards ? t->poll_in : t->at[0].host;
		else
			at = backwards ? t->poll : t->body;
		patch(c->bvm->jit, way->disp, entry(c, t, at));
		c->stat.linked++;
	} else {
		c->stat.links_refused++;
	}
	bt_unlock(&c->bvm->code_lock);
	return begin(c, t);
}

static struct bt_trans *find_by_code(const struct bt_jit *jit, u32 code)
{
	u32 lo = 0, hi = jit->count;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (jit->list[mid]->code <= code)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo || code - jit->list[lo - 1]->code >= jit->list[lo - 1]->size)
		return NULL;
	return jit->list[lo - 1];
}

static unsigned insn_by_code(const struct bt_trans *t, u32 code)
{
	unsigned n = t->block->count - 1u;

	while (n && t->at[n].host > code - t->code)
		n--;
	return n;
}

/*
 * A jump to an address that is not canonical is #GP in the jump ([1] vol. 2,
 * RET and others). It has moved RSP by now, and a CALL has pushed: that is
 * taken back. An instruction that is no jump has only run into such an
 * address: then the fetch there faults.
 */
static u64 bad_target(struct bt_cpu *c)
{
	struct bt_trans *t = find_by_code(c->bvm->jit, c->jit_site);
	unsigned n = insn_by_code(t, c->jit_site);
	const struct bt_insn *i = &t->block->insn[n];
	const struct bt_row *row = &bt_rows[i->row];

	if (!bt_ends_block(i)) {
		c->gpr[17] = c->jit_value;
		return 0;
	}
	if (row->jit_class == JIT_CALL) {
		if (row->operands[0] != 'J' || t->edge)
			bt_store64(c, c->gpr[X86_RSP], c->jit_pushed_on);
		c->gpr[X86_RSP] += 8;
	}
	if (row->jit_class == JIT_RET)
		c->gpr[X86_RSP] -=
			8 + (row->operands[0] == 'I' ? (u16)i->imm : 0u);
	return exec_at(c, t, n);
}

u64 bt_jit_miss(struct bt_cpu *c, const u8 *data)
{
	const u8 *exec = c->bvm->jit->code.exec;
	const struct bt_jump *known;
	struct bt_trans *t;
	u64 va = c->jit_value;

	if (unlikely(!x86_is_canonical(va)))
		return bad_target(c);
	c->gpr[17] = va;
	c->stat.landing_misses++;
	if (must_leave(c))
		return 0;
	known = known_at_ip(c);
	if (likely(known != NULL)) {
		fill_landing(c, c->mode, va, exec + known->ind);
		return (u64)exec + known->body;
	}
	t = trans_at_ip(c);
	if (!t)
		return 0;
	fill_landing(c, t->mode, va, entry(c, t, t->ind));
	return begin(c, t);
}

/* ---- the stack window -------------------------------------------------- */

/* Another translation of t's block, for good if there is a jump to be patched.
 * 0: in the run loop. */
static u64 run_level(struct bt_cpu *c, const struct bt_trans *t, u8 level,
		     u32 jump)
{
	u32 epoch = c->bvm->epoch;
	struct bt_trans *other = trans_of(c, t->block, level);

	c->seen_epoch = c->bvm->epoch;
	if (epoch != c->bvm->epoch)
		return 0;
	if (!other) {
		bt_run_records(c, t->block);
		return c->end ? go_on(c) : 0;
	}
	bt_lock(&c->bvm->code_lock);
	if (jump && t->block->valid && t->va == other->va)
		patch(c->bvm->jit, jump, entry(c, other, other->body));
	bt_unlock(&c->bvm->code_lock);
	return begin(c, other);
}

/* The displacement of the jump before the thunk's call. */
static u32 jump_before(const struct bt_cpu *c, const u8 *data)
{
	return (u32)(data - c->bvm->jit->code.exec) - 5 - 4;
}

u64 bt_jit_window(struct bt_cpu *c, const u8 *data)
{
	struct bt_trans *t = site_of(data).t;
	gva_t va = c->gpr[X86_RSP] + (u64)(s64)t->win_lo;
	struct bt_tlb_entry *e = &c->tlb->e[va >> 12 & (BT_TLB_ENTRIES - 1)];
	bool inside = (va & 0xfff) <= 4096u - (u32)t->win_size;
	struct bt_window *w = &c->window[t->mode];

	c->stat.windows++;
	c->gpr[17] = ip_of(c, t, 0);
	if (inside && (va ^ e->write) < 4096) {
		w->tag = va & ~0xfffull;
		w->addend = e->addend;
		return (u64)entry(c, t, t->body);
	}
	if (!inside)
		return run_level(c, t, t->level + 1, jump_before(c, data));
	/* Where code is: check each access. */
	if ((va ^ e->read) < 4096)
		return run_level(c, t, LEVEL_PLAIN, 0);
	bt_run_records(c, t->block);
	return c->end ? go_on(c) : 0;
}

/* ---- faults of the host ------------------------------------------------ */

/* From the signal handler: translated code faulted at c->jit_site. */
u64 bt_jit_fault(struct bt_cpu *c, const u8 *data)
{
	struct bt_trans *t = find_by_code(c->bvm->jit, c->jit_site);

	c->stat.host_faults++;
	return exec_at(c, t, insn_by_code(t, c->jit_site));
}

bool bt_jit_covers(const struct bt_cpu *c, u64 rip)
{
	const struct bt_jit *jit = c->bvm->jit;

	return jit && rip - (u64)jit->code.exec < jit->code.used &&
	       find_by_code(jit, (u32)(rip - (u64)jit->code.exec));
}

/* ---- death ------------------------------------------------------------- */

static void overwrite(struct bt_jit *jit, u32 at, const u8 *exec)
{
	u8 *p = jit->code.write + at;
	struct emit e = {p, p + 5, false};

	em_to(&e, em_jmp(&e), exec - (jit->code.exec - jit->code.write));
}

void bt_jit_kill(struct bt_vm *bvm, struct bt_block *b)
{
	struct bt_jit *jit = bvm->jit;

	for (struct bt_trans *t = b->trans; t; t = t->next) {
		overwrite(jit, t->code + t->ind, jit->miss);
		overwrite(jit, t->code + t->poll,
			  jit->code.exec + t->code + t->lost);
		overwrite(jit, t->code + t->poll_in,
			  jit->code.exec + t->code + t->lost);
		overwrite(jit, t->code + t->body,
			  jit->code.exec + t->code + t->lost);
		overwrite(jit, t->code + t->at[0].host,
			  jit->code.exec + t->code + t->lost);
	}
}

void bt_jit_flush(struct bt_vm *bvm)
{
	struct bt_jit *jit = bvm->jit;

	if (!jit)
		return;
	jit->count = 0;
	codebuf_reset(&jit->code, jit->thunks_end);
	if (unlikely(jit->show))
		jit_show_dropped(jit);
	for (unsigned k = 0; k < bvm->vm->vcpu_count; k++) {
		struct vcpu *vcpu = bvm->vm->vcpus[k];
		struct bt_cpu *c = vcpu ? vcpu->engine : NULL;

		if (!c)
			continue;
		c->land_ready = 0;
		c->end = NULL; /* leaves after the instruction it is in */
	}
}
