/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vCPU remembers of translations: the software TLB for data (tlb.c),
 * blocks of decoded instructions (block.c), and the jump cache that leads to
 * them (exec.c).
 */
#pragma once

#include "engine/bt/insn.h"

/*
 * One page. read and write: the page's linear address, if it may be accessed
 * so without looking further, or bt_tlb_none(). addend: host address minus
 * linear address. An access of `size` bytes at va hits if
 *
 *     (va ^ tag) <= 4096 - size
 *
 * which also sees that it stays in the page; what it compares is then the
 * offset into the page. Translated code adds `host` to that, the page's host
 * address, so that it needs no copy of va.
 */
struct bt_tlb_entry {
	u64 read, write;
	u64 addend;
	u64 host; /* 32 bytes: an index is shifted, not multiplied */
};
#define BT_TLB_ENTRIES 1024
#define BT_TLB_LOG 256

struct bt_tlb {
	struct bt_tlb_entry e[BT_TLB_ENTRIES];
	/* Entries of the low half since the last flush of it; a count beyond
	 * the log's size means that they are too many to tell. */
	u32 low_count;
	u16 low[BT_TLB_LOG];
};

/* A tag that no address hits which looks at entry `index`. Zero but for the
 * first entry, so that an empty table is all zeroes. */
static inline u64 bt_tlb_none(unsigned index)
{
	return index ? 0 : 0x1000;
}

/* Which pages an access may touch; selects the table. */
enum bt_mmu {
	MMU_USER,      /* CPL 3 */
	MMU_KERNEL,    /* CPL 0..2 with SMAP in force */
	MMU_KERNEL_AC, /* CPL 0..2, SMAP off or EFLAGS.AC set */
	MMU_COUNT,
};

/* ---- blocks ------------------------------------------------------------ */

struct bt_block;
struct bt_trans;

/* A block in the list of a page it has code in. */
struct bt_page_link {
	gpa_t page;
	struct bt_block *block;
	struct bt_page_link *next;
};

/*
 * Instructions decoded from one physical page (the last one may run over into
 * the next: `pa2`). Immutable but for `valid`, which is cleared when the guest
 * writes to the code; memory is reclaimed only by a flush of everything.
 */
#define BT_NO_PAGE (~0ull) /* page 0 is a page like any other */
struct bt_block {
	u64 pa;	 /* of the first byte */
	u64 pa2; /* page the last instruction runs into, or BT_NO_PAGE */
	struct bt_block *hash_next;
	struct bt_page_link link; /* a second one is allocated with pa2 */
	_Atomic u8 valid;
	u8 code;   /* enum bt_width */
	u16 count; /* instructions */
	u16 bytes;
	u8 heat;		/* executions so far, up to BT_JIT_HEAT */
	struct bt_trans *trans; /* list, by mode (jit.h) */
	struct bt_insn insn[];
};

/*
 * Where linear addresses lead in translated code (jit_branch.c), by a few bits
 * of theirs. key: the address negated, so that a sum with it tells a match by
 * being zero, which needs no flags. An empty place leads to the thunk that
 * fills it.
 */
#define BT_LANDING_BITS 12
#define BT_LANDINGS (1u << BT_LANDING_BITS)
#define BT_LANDING_MASK 0x5ffcull /* bits of the address: 12 of them */
#define BT_LANDING_LOG 256

struct bt_landings {
	u64 key[BT_LANDINGS];
	const u8 *code[BT_LANDINGS];
	/* What has been filled since the last flush; as bt_tlb.low. */
	u32 count;
	u16 log[BT_LANDING_LOG];
};

/* The page that RSP was last found in, writable and plain RAM: translated code
 * accesses it without looking into the TLB. An address in no window: bit 63. */
struct bt_window {
	u64 tag;
	u64 addend;
};

/* Where a linear address was last found to lead, checked inline (exec.c). */
#define BT_JUMP_ENTRIES 4096
struct bt_jump {
	u64 lin;
	u64 context; /* code size, CPL, fetch context of lin's half */
	struct bt_block *block;
	u64 reserved;
};
