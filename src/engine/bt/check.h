/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `--bt check`: each block twice, and compared.
 *
 * Theory of operation
 * -------------------
 * The run loop gives each block that has a translation to bt_check_run(). It
 * has the interpreter run the block, keeps what came out (registers, the FPU,
 * all pages that were written to), takes everything back, has the translation
 * run from the same state, and compares. What the translation left is what the
 * guest goes on with.
 *
 * Memory is taken back by a log of the bytes that each write replaces. In check
 * mode no TLB entry allows writing, so all writes of the interpreter come to
 * tlb.c's slow paths, which keep the log. For the translation, the entries of
 * the pages in the log are opened, so that its stores go the short way, and
 * are closed behind it; the page of the stack window is opened too. A write
 * elsewhere comes to the slow path and puts its page into the comparison.
 *
 * Accessed and dirty bits and the TLB's contents are kept from the first run
 * most times ("warm"), so that translated code finds what it finds in a long
 * run; each eighth time they are taken back too ("cold"), the windows are
 * closed, and the translation must go the long way and set the same bits.
 *
 * What cannot be taken back (devices, time, random numbers, a TLB flush)
 * announces itself by bt_check_outside() before it happens: then the block is
 * the interpreter's alone from there on, and nothing is compared. All other
 * vCPUs are held in the exclusive section meanwhile. It is kept over many
 * blocks, until somebody goes outside or CHECK_TURNS are over.
 *
 * Devices that write to memory on threads of their own are not held. What they
 * write between two runs shows as a difference; so each difference must show
 * again in a new attempt, and bytes that nobody but such a device can have
 * written are forgiven where it reports them (bt_check_dma).
 *
 * A translation may stop in the middle of its block, for the run loop to see to
 * something. Then the interpreter runs that far in the next attempt.
 *
 * With `--bt check-user` all run as ever until a vCPU comes to code at CPL 3
 * for the first time (bt_cpu.check_later): a kernel starts in a second then,
 * instead of minutes, and programs and all that they ask of it are checked.
 *
 * Compared are all registers of the guest (struct bt_cpu up to fpu_live), an
 * exception and where it is, memory, x87 and SIMD registers. Arithmetic flags
 * must be equal but for
 *  - those that are dead for the translator's analysis where the block stops
 *    in its middle, by an exception or because its code was overwritten, or
 *    where it is about to begin once more. At any other end all are alive;
 *  - those that the opcode tables call undefined and that nothing has defined
 *    since. If the block itself goes on to read one of them, it is not
 *    compared at all, only counted.
 */
#pragma once

#include "engine/bt/vm.h"

enum bt_check_phase {
	CHECK_OFF,
	CHECK_INTERPRETS,
	CHECK_TRANSLATED,
};

enum {
	CHECK_PAGES = 64,
	CHECK_UNDOS = 8192,
	CHECK_FILLS = 256,
	CHECK_TURNS = 256,  /* blocks before other vCPUs have their turn */
	CHECK_ATTEMPTS = 4, /* a difference is one if it shows each time */
	CHECK_COLD = 8,	    /* one in so many is cold */
	CHECK_WRITES = 256,
	CHECK_RIGHTS = 4096,
};
#define CHECK_OLD KIB(512)

struct bt_check_undo {
	u8 *at;
	u32 old; /* where in bt_check.old the bytes are that were there */
	u32 len;
	bool walk; /* accessed and dirty bits */
};

struct bt_check_fill {
	struct bt_tlb_entry *entry;
	unsigned index; /* in its table */
};

/* What an entry's `write` would be without check mode. */
struct bt_check_right {
	struct bt_tlb_entry *entry;
	u64 write;
};

/* How one of the two runs ended. */
struct bt_check_side {
	struct bt_cpu state; /* registers only */
	u8 fpu[X86_XSAVE_AREA] __attribute__((aligned(64)));
	bool raised; /* c->exc; else normally */
	bool left;   /* the translation went outside */
};

/* One per vCPU. Only what is touched takes memory. */
struct bt_check {
	enum bt_check_phase phase;
	bool held; /* the exclusive section is ours */
	bool once; /* the block went outside */
	bool cold;
	bool code_hit; /* bytes of translated code were written */
	bool fpu;      /* the block may change the FPU's state */
	unsigned turns;
	unsigned limit, executed; /* instructions of the block */
	_Atomic u32 nap;
	u32 dma_seen;
	struct bt_block *block;
	struct bt_trans *trans;

	struct bt_check_side start, interp, jit;
	unsigned undo_count, old_used, page_count, fill_count, open_count;
	struct bt_check_undo undo[CHECK_UNDOS];
	struct bt_check_fill fill[CHECK_FILLS], open[CHECK_FILLS];
	struct bt_check_right right[CHECK_RIGHTS];
	u8 *page[CHECK_PAGES];
	u8 image[CHECK_PAGES][4096]; /* as the interpreter left it */
	u8 old[CHECK_OLD];

	/* Counters for --stats. */
	u64 stat_checked, stat_once, stat_again, stat_undefined;
};

/* What devices wrote of late; of the VM. */
struct bt_check_dma {
	_Atomic u32 lock;
	u32 count; /* so far */
	struct {
		gpa_t gpa;
		u64 len;
	} last[CHECK_WRITES];
};

int bt_check_init(struct bt_cpu *c, struct err *err);
void bt_check_fini(struct bt_cpu *c);

/* exec.c, at a block boundary: from here on the blocks of all vCPUs are
 * checked. The present one is dropped with all others. */
void bt_check_begin(struct bt_cpu *c);
/* exec.c: run b, which is at RIP. False: it has no translation. */
bool bt_check_run(struct bt_cpu *c, struct bt_block *b);

/* What follows cannot be taken back, or waits for others. */
void bt_check_outside_slow(struct bt_cpu *c);
static inline void bt_check_outside(struct bt_cpu *c)
{
	if (unlikely(c->check != NULL))
		bt_check_outside_slow(c);
}

/* RAM at [at, at+len), within a page, may be written to from now on. */
void bt_check_write_slow(struct bt_cpu *c, u8 *at, unsigned len, bool walk);
static inline void bt_check_write(struct bt_cpu *c, void *at, unsigned len)
{
	if (unlikely(c->check != NULL))
		bt_check_write_slow(c, at, len, false);
}
/* The same by a page walk. */
static inline void bt_check_walk(struct bt_cpu *c, void *at, unsigned len)
{
	if (unlikely(c->check != NULL))
		bt_check_write_slow(c, at, len, true);
}

/* An entry of a TLB has been filled; takes the right to write from it. */
void bt_check_filled(struct bt_cpu *c, struct bt_tlb_entry *e, unsigned index);
/* Code was written to. True: its death is put off. */
bool bt_check_code(struct bt_cpu *c, gpa_t pa, unsigned len);
/* A device has written. */
void bt_check_dma(struct bt_vm *bvm, gpa_t gpa, u64 len);

/* Where a host address is in the guest; ~0: nowhere. */
gpa_t bt_check_gpa(const struct bt_vm *bvm, const u8 *at);

/* Counters as text; how long that is. */
size_t bt_check_stats(const struct bt_cpu *c, unsigned id, char *buf,
		      size_t len);

/* check_report.c; both outside, with the FPU saved. */
void bt_check_report(struct bt_cpu *c);
/* Waits a little for devices; false: for long enough. */
bool bt_check_wait(unsigned round);
