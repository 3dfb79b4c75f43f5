/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What --stats prints: counters of a vCPU, counted where C code runs anyway.
 * Only with --bt-count does translated code count, too, and are the C functions
 * timed.
 */
#pragma once

#include "util/types.h"

/* Why a block was interpreted. */
enum bt_interpreted {
	INTERP_MODE,   /* not 64-bit code, or alignment checks, or watched */
	INTERP_COLD,   /* not run often enough yet */
	INTERP_CANNOT, /* the translator gave it up */
	INTERP_ONE,    /* one instruction at a time: steps, shadows, traces */
	INTERP_STACK,  /* its stack is no plain RAM */
	INTERP_WHYS,
};

/* What asked for a flush of the TLB. */
enum bt_flush_why {
	FLUSH_CR3,
	FLUSH_CR0,
	FLUSH_CR4,
	FLUSH_MSR,
	FLUSH_INVLPG,
	FLUSH_INVPCID,
	FLUSH_WHYS,
};

#define BT_STAT_ROWS 4096 /* bt_insn.row has 12 bits */

struct bt_stats {
	/* the interpreter */
	u64 blocks[INTERP_WHYS];
	u64 decoded, rep;
	/* translated code: how it was made, entered and left */
	u64 translated, refused, translating; /* ticks */
	u64 entered, linked, links_refused;
	u64 landing_misses, polls, lost, fpu_loads, windows, host_faults;
	/* By C functions from translated code: because it is always so, and
	 * because an access in memory missed. */
	u64 called, missed;
	/* what the guest did */
	u64 faults[32], interrupts;
	u64 device, invalidated;
	u64 task_switch, vm86, unknown_msr;
	/* the TLB */
	u64 tlb_miss, code_page_writes, crossing;
	u64 flush[FLUSH_WHYS], flushed_all, flushed_low, flushed_page;
	u64 shelves;
	/* ticks in run(), and outside of the guest in there */
	u64 run, outside, left_at;
	/* with --bt-count */
	u64 run_insns, run_blocks, landings;
	u64 interpreting, in_functions; /* ticks */
	/* by row of the opcode tables */
	u64 called_row[BT_STAT_ROWS], missed_row[BT_STAT_ROWS];
};

static inline u64 bt_ticks(void)
{
	u32 low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return low | (u64)high << 32;
}

struct vm;

/* Text for struct engine_ops.stats. */
void bt_stats_print(struct vm *vm, char *buf, size_t len);
