/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stubs: one SIMD or x87 instruction of the guest, re-encoded so that it runs
 * on the host's own registers with its memory operand at RDI and its general
 * register operand in RAX, and a RET behind it.
 */
#pragma once

#include "engine/bt/codebuf.h"
#include "engine/bt/decode.h"

#define STUB_MAX_BYTES 32
#define STUB_TABLE 16384 /* entries; flushed when three quarters are used */

struct stub {
	u8 code[STUB_MAX_BYTES];
	u32 len;    /* 0: free */
	u32 offset; /* into the code buffer */
	u32 reserved;
};

struct bt_stubs {
	struct codebuf code;
	unsigned used;
	unsigned half; /* of the code that takes new stubs */
	struct stub table[STUB_TABLE];
};

/* How op_simd.c runs the record; chosen by stub.c from the row's operands. */
enum stub_kind {
	STUB_PLAIN,	/* vector registers only, or memory read */
	STUB_STORE,	/* memory written */
	STUB_GPR_IN,	/* a general register (or memory in its place) read */
	STUB_GPR_OUT,	/* a general register written */
	STUB_FLAGS_OUT, /* arithmetic flags written */
	STUB_FLAGS_IN,	/* arithmetic flags read */
	STUB_STRING,	/* PCMPxSTRx: EAX, EDX in, ECX and flags out */
};
