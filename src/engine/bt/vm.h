/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's VM-wide half: guest RAM as host addresses, which lines of it
 * hold decoded code, the blocks, and the exclusive section.
 */
#pragma once

#include <time.h>

#include "engine/bt/bt.h"
#include "vmm/vm.h"

#define BT_HASH_SIZE 65536

/* One RAM region as seen by the walker and the TLB. */
struct bt_ram {
	gpa_t gpa;
	u64 len;
	u8 *hva;
	u64 *lines;  /* per page: bit per 64-byte line that holds code */
	u32 *wear;   /* per page: writes to it while it held code (tlb.c) */
	u32 *writer; /* per page: who may have it for writing (writers.c) */
	u32 rights;
};

/* Kernel code that stays where it is (jit_fixed.c). */
#define BT_FIXED_LOWEST 0xffffffff80000000ull /* 32 bits, sign-extended */
struct bt_fixed {
	u32 turn; /* 0: it is too early to look for it */
	gva_t va;
	gpa_t pa;
	u64 len; /* 0: not found yet */
};

struct bt_stubs;
struct bt_jit;

struct bt_vm {
	struct vm *vm;
	struct mem_listener listener;
	struct bt_ram ram[MEM_MAX_REGIONS];
	unsigned ram_count;
	u64 *lines[MEM_MAX_PIECES]; /* what ram[].lines point into */
	u32 *wear[MEM_MAX_PIECES];  /* and ram[].wear and .writer */

	/* Exclusive section; see sync.c. */
	_Atomic u32 exclusive;	    /* 0 free, 1 held, 2 held with waiters */
	_Atomic u32 exclusive_want; /* vCPUs must stop at the next boundary */
	struct bt_cpu *exclusive_owner;
	unsigned exclusive_depth;
	u64 stat_exclusive; /* sections so far */
	u64 made_ticks;	    /* when the VM was made: what a tick is */
	struct timespec made;

	/* Blocks; all below under code_lock. */
	_Atomic u32 code_lock;
	struct bt_block **hash; /* by physical address and code size */
	struct bt_page_link **page_hash;
	u8 *arena; /* reserved, touched as used; two halves take turns */
	u64 arena_size, arena_used; /* of a half */
	unsigned arena_half;
	_Atomic u32 epoch; /* flushes so far */
	struct bt_stubs *stubs;
	struct bt_jit *jit;		/* NULL: everything is interpreted */
	struct bt_check_dma *check_dma; /* --bt check, else NULL */
	u32 check_from; /* epoch from which on blocks are checked */
	u64 deaths;	/* of blocks; changes in the exclusive section */
	u64 claims;	/* of pages that became code, likewise */
	struct bt_fixed fixed;
};

/* Does a line of [pa, pa+len), within a page, hold code? Who asks after a store
 * has put a fence between the two (tlb.c, bt_code_check). */
static inline bool bt_has_code(const struct bt_ram *ram, gpa_t pa, unsigned len)
{
	u64 first = pa >> 6 & 63, last = (pa + len - 1) >> 6 & 63;
	u64 mask = (~0ull << first) & (~0ull >> (63 - last));

	return ram->lines[(pa - ram->gpa) >> 12] & mask;
}

static inline struct bt_vm *bt_vm(struct vm *vm)
{
	return vm->engine_vm;
}

/* Address space that takes memory as it is touched; NULL: none. */
void *bt_reserve(u64 len);

/*
 * Bytes for what is kept of guest code, blocks or translations: an eighth of
 * guest RAM, within bounds. A guest that has more memory runs more programs;
 * when the room is full, all is dropped and made again.
 */
u64 bt_code_room(const struct bt_vm *bvm);

/* The RAM region of pa, or NULL. */
const struct bt_ram *bt_ram_find(const struct bt_vm *bvm, gpa_t pa);

/* Small locks that touch no SIMD register; not recursive. */
void bt_lock(_Atomic u32 *lock);
void bt_unlock(_Atomic u32 *lock);

/* block.c: code in [pa, pa+len) changed (len within a page); the caller is in
 * the exclusive section or knows that nobody runs. */
void bt_code_written(struct bt_vm *bvm, struct bt_cpu *self, gpa_t pa,
		     unsigned len);
int bt_code_init(struct bt_vm *bvm, struct err *err);
void bt_code_fini(struct bt_vm *bvm);
/* Does it have code in a line of [pa, pa+len), within a page. */
bool bt_block_covers(const struct bt_block *b, gpa_t pa, unsigned len);
/* The block at linear address `lin`; decodes it if need be; raises. */
struct bt_block *bt_block_lookup(struct bt_cpu *c, gva_t lin);
/* Drop all blocks; at a block boundary of c, without code_lock. */
void bt_flush_code(struct bt_cpu *c);
/* Memory that goes with all blocks; NULL: full. Under code_lock. */
void *bt_arena_alloc(struct bt_vm *bvm, u64 len);
/*
 * Decode the one instruction at the vCPU's RIP into `insn` without keeping
 * it: where CS's limit cuts a block short. Raises fetch faults and #GP(0).
 */
void bt_decode_one(struct bt_cpu *c, struct bt_insn *insn);

/* writers.c: drop every vCPU's write entries of a page that now holds code; in
 * the exclusive section. */
void bt_tlb_protect_page(struct bt_vm *bvm, const struct bt_ram *ram, gpa_t pa);
/* writers.c: an entry for writing to the page of pa has been made. */
void bt_tlb_note_writer(struct bt_cpu *c, const struct bt_ram *ram, gpa_t pa,
			unsigned mode, unsigned index);
/*
 * tlb.c: bytes within a page of RAM have been written, not through a write
 * entry: the blocks that cover them die before the next instruction. May take
 * the exclusive section: the caller holds no pointer for writing.
 */
void bt_code_check(struct bt_cpu *c, const struct bt_ram *ram, gpa_t pa,
		   unsigned size);
/* Translate for a fetch; raises. */
gpa_t bt_translate_fetch(struct bt_cpu *c, gva_t va);
