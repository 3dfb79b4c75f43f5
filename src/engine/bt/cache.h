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
#define BT_TLB_ENTRIES 4096
#define BT_TLB_LOG 1024

struct bt_tlb {
	struct bt_tlb_entry e[BT_TLB_ENTRIES];
	/* Entries of the low half since the last flush of it; a count beyond
	 * the log's size means that they are too many to tell. */
	u32 low_count;
	u16 low[BT_TLB_LOG];
	bool filled; /* since it was last empty */
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

static inline void bt_tlb_note_low(struct bt_tlb *t, unsigned index)
{
	if (t->low_count < BT_TLB_LOG)
		t->low[t->low_count] = (u16)index;
	if (t->low_count <= BT_TLB_LOG)
		t->low_count++;
}

/* tlb.c */
extern struct bt_tlb bt_empty_tlb;   /* misses always: every access is slow */
void bt_tlb_init(struct bt_cpu *c);  /* of a zeroed bt_cpu */
void bt_tlb_flush(struct bt_cpu *c); /* all, global too */
void bt_tlb_flush_nonglobal(struct bt_cpu *c); /* of the present PCID */
/* MOV to CR3 from another PCID: c->cr3 is the new one already, `old` what it
 * was; keep: what the new PCID had may be used. */
void bt_tlb_switch(struct bt_cpu *c, u64 old, bool keep);
void bt_tlb_flush_page(struct bt_cpu *c, gva_t va);
void bt_tlb_close_windows(struct bt_cpu *c); /* and leave the block */

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
 * fills it; the first one of a mode is always empty. A kernel is large and
 * stays where it is: it has many. Those of users are flushed with each CR3.
 */
struct bt_landing {
	u64 key;
	const u8 *code;
};

#define BT_LANDING_LOG 1024
#define BT_LANDINGS_USER 16384
#define BT_LANDINGS_KERNEL 16384
#define BT_LANDINGS_AC 4096
#define BT_LANDINGS (BT_LANDINGS_USER + BT_LANDINGS_KERNEL + BT_LANDINGS_AC)

/* Which bits of the address: as many as the mode's number of landings has. */
#define BT_LANDING_MASK_USER 0x17ffcull
#define BT_LANDING_MASK_KERNEL 0x7ffeull
#define BT_LANDING_MASK_AC 0x5ffcull

static inline u64 bt_landing_mask(unsigned mode)
{
	static const u32 mask[MMU_COUNT] = {
		BT_LANDING_MASK_USER,
		BT_LANDING_MASK_KERNEL,
		BT_LANDING_MASK_AC,
	};

	return mask[mode];
}

static inline unsigned bt_landings(unsigned mode)
{
	return mode == MMU_USER	    ? BT_LANDINGS_USER
	       : mode == MMU_KERNEL ? BT_LANDINGS_KERNEL
				    : BT_LANDINGS_AC;
}

/* The first one of a mode. */
static inline unsigned bt_landing_base(unsigned mode)
{
	static const u16 base[MMU_COUNT] = {
		0,
		BT_LANDINGS_USER,
		BT_LANDINGS_USER + BT_LANDINGS_KERNEL,
	};

	return base[mode];
}

/* What has been filled since the last flush; as bt_tlb.low. */
struct bt_landing_log {
	u32 count;
	u16 at[BT_LANDING_LOG];
};

/* ---- shelves ----------------------------------------------------------- */

/* The low half of an address space that is not the present one (shelf.c). */
#define BT_SHELVES 8
#define BT_SHELF_PAGES 512 /* by mode */
#define BT_SHELF_LANDINGS 1024

struct bt_shelf_page {
	u64 tag, addend;
	bool writable;
};

struct bt_shelf {
	bool used;
	u16 pages[MMU_COUNT], landings;
	u32 epoch; /* bt_vm.epoch and .claims then */
	u64 claims;
	u64 cr3;  /* whose it is */
	u64 turn; /* bt_cpu.shelf_turn then */
	u64 fetch, fetched[64], large_slots[4];
	struct bt_shelf_page page[MMU_COUNT][BT_SHELF_PAGES];
	u16 at[BT_SHELF_LANDINGS];
	struct bt_landing landing[BT_SHELF_LANDINGS];
};

void bt_shelf_put(struct bt_cpu *c, u64 cr3);
/* False: there was none for this PCID and root. The low half is empty. */
bool bt_shelf_take(struct bt_cpu *c, u64 cr3);
void bt_shelf_drop(struct bt_cpu *c, u64 pcid);
void bt_shelf_drop_all(struct bt_cpu *c);

/* The page that RSP was last found in, writable and plain RAM: translated code
 * accesses it without looking into the TLB. An address in no window: bit 63. */
struct bt_window {
	u64 tag;
	u64 addend;
};

/*
 * Where a linear address was last found to lead, checked inline (exec.c). `ind`
 * and `body`: the entries of the block's translation, in bytes from the
 * beginning of the code, or 0. They spare the look at the block, but only as
 * long as no block has died (bt_vm.deaths).
 */
#define BT_JUMP_ENTRIES 8192
struct bt_jump {
	u64 lin;
	u64 context; /* MMU mode, code size, CPL, fetch context of lin's half */
	struct bt_block *block;
	u32 ind, body;
	u64 deaths;
};
