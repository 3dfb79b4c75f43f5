/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of fuzz_translate share: the machine's memory, and programs.
 *
 * An input is a header and pieces, each a byte of choices and one instruction.
 * translate_program.c makes code of it: before an instruction, registers that
 * its address is made of are given values that make sense, and its jumps lead
 * to other instructions of the program.
 */
#pragma once

#include "engine/bt/bt.h"

/* ---- linear addresses -------------------------------------------------- */

#define XL_DATA 0x20001000ull	  /* four pages; before and behind are none */
#define XL_DATA_PAGES 4		  /* the last one cannot be written to */
#define XL_MMIO 0x20007000ull	  /* a page where no RAM is */
#define XL_CODE 0x20010000ull	  /* two pages, writable; behind is none */
#define XL_EDGE 0x7ffffffff000ull /* the first of them once more */
#define XL_CODE_BYTES 0x2000

/* ---- inputs ------------------------------------------------------------ */

enum { XL_HEADER = 5 };
enum xl_flags {
	XL_KERNEL = 1,	   /* at CPL 0 */
	XL_SMAP = 2,	   /* and with SMAP; one page of data is the user's */
	XL_PAGE2 = 3 << 2, /* enum xl_page2 */
	XL_AT_EDGE = 16,   /* the program runs at the end of the low half */
	XL_AT_END = 32,	   /* and begins shortly before the end of its page */
};
enum xl_page2 { PAGE2_SAME, PAGE2_ABSENT, PAGE2_NX, PAGE2_OTHER_USER };

/* A piece's first byte: what the memory operand's address is, and where a
 * jump leads: so many instructions on or back. */
#define XL_PLACE 7
enum xl_place {
	PLACE_KEPT, /* whatever the registers hold */
	PLACE_DATA,
	PLACE_DATA_TOO,
	PLACE_PAGE_END,
	PLACE_READ_ONLY,
	PLACE_CODE,
	PLACE_MMIO,
	PLACE_NOWHERE,
};
#define XL_JUMP_SHIFT 3
#define XL_JUMP_BIAS 8 /* of 0..31 */

struct xl_program {
	u8 code[XL_CODE_BYTES]; /* filled with INT3 */
	unsigned start;
	u64 ip;
	u8 flags;     /* enum xl_flags */
	u8 arith, df; /* flags to begin with */
	u64 seed;     /* of registers and memory */
	unsigned count;
};

/* False: there is nothing in it to be run. */
bool xl_program_make(struct xl_program *p, const u8 *data, size_t len,
		     u64 features);

/* ---- translate_seeds.c ------------------------------------------------- */

struct xl_seed {
	const char *name;
	const u8 *bytes;
	size_t len;
};

extern const struct xl_seed xl_seeds[];
extern const unsigned xl_seed_count;

/* ---- runs (translate_steps.c) ------------------------------------------ */

enum xl_end {
	XL_RAISED,    /* c->exc */
	XL_LEFT,      /* HLT, or a shutdown */
	XL_ENDLESS,   /* the interpreter has run long enough */
	XL_UNDEFINED, /* it has read a flag that is undefined */
};

/* By the interpreter; *loose: flags that may be anything at the end. */
enum xl_end xl_interpret(struct bt_cpu *c, u16 *loose);
/* By the translator wherever it can. */
enum xl_end xl_translated(struct bt_cpu *c);
