/* SPDX-License-Identifier: Apache-2.0 */
/* The text of --stats: "name value", a line each; per vCPU, then of the VM. */
#include "engine/bt/stats.h"

#include "engine/bt/check.h"
#include "engine/bt/decode.h"
#include "engine/bt/jit.h"
#include "engine/bt/vm.h"
#include "util/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define TOP_ROWS 24

/* ---- one vCPU ---------------------------------------------------------- */

struct line {
	const char *name;
	size_t at; /* of a u64 in struct bt_stats */
};
#define LINE(name, field)                              \
	{                                              \
		name, offsetof(struct bt_stats, field) \
	}

static const struct line counters[] = {
	LINE("interpreted_blocks.mode", blocks[INTERP_MODE]),
	LINE("interpreted_blocks.cold", blocks[INTERP_COLD]),
	LINE("interpreted_blocks.refused", blocks[INTERP_CANNOT]),
	LINE("interpreted_blocks.single_step", blocks[INTERP_ONE]),
	LINE("interpreted_blocks.stack", blocks[INTERP_STACK]),
	LINE("rep_iterations", rep),
	LINE("decoded", decoded),
	LINE("translated_blocks", translated),
	LINE("translations_refused", refused),
	LINE("translated_entered", entered),
	LINE("functions_called", called),
	LINE("functions_after_miss", missed),
	LINE("links", linked),
	LINE("links_refused", links_refused),
	LINE("landing_misses", landing_misses),
	LINE("polls_taken", polls),
	LINE("dead_entered", lost),
	LINE("fpu_loads", fpu_loads),
	LINE("window_moves", windows),
	LINE("host_faults", host_faults),
	LINE("tlb_misses", tlb_miss),
	LINE("code_page_writes", code_page_writes),
	LINE("page_crossings", crossing),
	LINE("flushes.cr3", flush[FLUSH_CR3]),
	LINE("flushes.cr0", flush[FLUSH_CR0]),
	LINE("flushes.cr4", flush[FLUSH_CR4]),
	LINE("flushes.msr", flush[FLUSH_MSR]),
	LINE("flushes.invlpg", flush[FLUSH_INVLPG]),
	LINE("flushes.invpcid", flush[FLUSH_INVPCID]),
	LINE("flushed.all", flushed_all),
	LINE("flushed.low_half", flushed_low),
	LINE("flushed.page", flushed_page),
	LINE("spaces_fetched_back", shelves),
	LINE("interrupts", interrupts),
	LINE("device_exits", device),
	LINE("code_invalidations", invalidated),
	LINE("refused_task_switches", task_switch),
	LINE("refused_vm86", vm86),
	LINE("refused_msrs", unknown_msr),
};

static const struct line times[] = {
	LINE("run", run),
	LINE("outside", outside),
	LINE("translating", translating),
};

/* These, and the rest of `run` is translated code. */
static const struct line counted_times[] = {
	LINE("interpreting", interpreting),
	LINE("in_functions", in_functions),
};

static u64 value(const struct bt_stats *s, const struct line *line)
{
	return *(const u64 *)(const void *)((const u8 *)s + line->at);
}

static void put_faults(struct text *t, const struct bt_cpu *c)
{
	u64 sum = 0;

	for (unsigned v = 0; v < ARRAY_SIZE(c->stat.faults); v++)
		sum += c->stat.faults[v];
	text_put(t, "vcpu%u.faults %" PRIu64 "\n", c->vcpu->id, sum);
	for (unsigned v = 0; v < ARRAY_SIZE(c->stat.faults); v++)
		if (c->stat.faults[v])
			text_put(t, "vcpu%u.faults.%u %" PRIu64 "\n",
				 c->vcpu->id, v, c->stat.faults[v]);
}

/* Ticks as microseconds. */
static void put_times(struct text *t, const struct bt_cpu *c,
		      const struct line *lines, unsigned count, double us)
{
	for (unsigned k = 0; k < count; k++)
		text_put(t, "vcpu%u.us.%s %.0f\n", c->vcpu->id, lines[k].name,
			 (double)value(&c->stat, &lines[k]) * us);
}

/* Of blocks that translated code went to, those it jumped straight to. */
static double chain_rate(const struct bt_stats *s)
{
	u64 looked_up = s->landings + s->landing_misses + s->entered;

	if (!s->run_blocks || looked_up > s->run_blocks)
		return 0;
	return 100.0 * (double)(s->run_blocks - looked_up) /
	       (double)s->run_blocks;
}

static void put_counted(struct text *t, const struct bt_cpu *c, double us)
{
	const struct bt_stats *s = &c->stat;
	unsigned id = c->vcpu->id;

	text_put(t,
		 "vcpu%u.translated_instructions %" PRIu64 "\n"
		 "vcpu%u.translated_block_runs %" PRIu64 "\n"
		 "vcpu%u.landings %" PRIu64 "\n"
		 "vcpu%u.chained_percent %.1f\n",
		 id, s->run_insns, id, s->run_blocks, id, s->landings, id,
		 chain_rate(s));
	put_times(t, c, counted_times, ARRAY_SIZE(counted_times), us);
}

static void put_vcpu(struct text *t, const struct bt_cpu *c, double us)
{
	text_put(t, "vcpu%u.interpreted_instructions %" PRIu64 "\n",
		 c->vcpu->id, c->retired);
	for (unsigned k = 0; k < ARRAY_SIZE(counters); k++)
		text_put(t, "vcpu%u.%s %" PRIu64 "\n", c->vcpu->id,
			 counters[k].name, value(&c->stat, &counters[k]));
	put_faults(t, c);
	put_times(t, c, times, ARRAY_SIZE(times), us);
	if (c->check && t->used < t->len)
		t->used += bt_check_stats(c, c->vcpu->id, t->buf + t->used,
					  t->len - t->used);
	if (c->bvm->jit && c->bvm->jit->count_runs)
		put_counted(t, c, us);
}

/* ---- rows -------------------------------------------------------------- */

struct rows {
	u64 count[BT_STAT_ROWS];
};

static unsigned most(const struct rows *rows)
{
	unsigned best = 0;

	for (unsigned r = 0; r < bt_row_count; r++)
		if (rows->count[r] > rows->count[best])
			best = r;
	return best;
}

static void put_rows(struct text *t, const char *what, struct rows *rows)
{
	for (unsigned k = 0; k < TOP_ROWS; k++) {
		unsigned r = most(rows);
		const struct bt_row *row = &bt_rows[r];

		if (!rows->count[r])
			return;
		text_put(t, "%s.%s%s%s %" PRIu64 "\n", what, row->name,
			 row->operands[0] ? "_" : "", row->operands,
			 rows->count[r]);
		rows->count[r] = 0;
	}
}

static void sum_rows(const struct vm *vm, size_t at, struct rows *rows)
{
	*rows = (struct rows){0};
	for (unsigned k = 0; k < vm->vcpu_count; k++) {
		const struct bt_cpu *c = vm->vcpus[k]->engine;
		const u64 *count =
			(const u64 *)(const void *)((const u8 *)&c->stat + at);

		for (unsigned r = 0; r < bt_row_count; r++)
			rows->count[r] += count[r];
	}
}

/* ---- the VM ------------------------------------------------------------ */

static void put_vm(struct text *t, const struct bt_vm *bvm)
{
	text_put(t,
		 "block_bytes %" PRIu64 "\n"
		 "code_flushes %u\n"
		 "exclusive_sections %" PRIu64 "\n",
		 bvm->arena_used, bvm->epoch, bvm->stat_exclusive);
	if (bvm->jit)
		text_put(t,
			 "code_bytes %" PRIu64 "\n"
			 "code_bytes_max %" PRIu64 "\n"
			 "translations %u\n",
			 bvm->jit->code.used, bvm->jit->code.size,
			 bvm->jit->count);
}

/* Microseconds a tick, since the VM was made. */
static double tick_us(const struct bt_vm *bvm)
{
	struct timespec now;
	u64 ticks = bt_ticks() - bvm->made_ticks;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!ticks)
		return 0;
	return ((double)(now.tv_sec - bvm->made.tv_sec) * 1e6 +
		(double)(now.tv_nsec - bvm->made.tv_nsec) / 1e3) /
	       (double)ticks;
}

void bt_stats_print(struct vm *vm, char *buf, size_t len)
{
	const struct bt_vm *bvm = vm->engine_vm;
	struct text t = {buf, len, 0};
	double us = tick_us(bvm);
	struct rows rows;

	for (unsigned k = 0; k < vm->vcpu_count; k++)
		put_vcpu(&t, vm->vcpus[k]->engine, us);
	put_vm(&t, bvm);
	sum_rows(vm, offsetof(struct bt_stats, called_row), &rows);
	put_rows(&t, "called", &rows);
	sum_rows(vm, offsetof(struct bt_stats, missed_row), &rows);
	put_rows(&t, "missed", &rows);
}
