/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge of emitted code: decodes a translation with our own decoder, as
 * host code, and holds each instruction against rules (jit_verify.c). It shares
 * no code with the emitter, only what both stand on: the decoder, the opcode
 * tables and the layout of struct bt_cpu.
 */
#pragma once

#include "engine/bt/decode.h"
#include "engine/bt/jit.h"

/* A translation before it is published. */
struct jit_suspect {
	const struct bt_jit *jit;
	const struct bt_trans *t;
	const u8 *bytes; /* from its head, in the writable view */
	u64 at;		 /* of the head, offset into the code buffer */
	u32 size;
	unsigned ways; /* that it has */
};

struct jit_verdict {
	const char *why; /* NULL: nothing is wrong */
	u32 off;	 /* of the instruction, from the head */
};

/* Marks of a byte of code, between the passes. */
enum { MARK_START = 1, MARK_TARGET = 2 };
#define JIT_VERIFY_MAX (1u << 16)

/* Debug builds, and those with sanitizers (meson.build). */
extern const bool jit_verify_always;

/* `marks`: JIT_VERIFY_MAX bytes to work in. */
struct jit_verdict jit_verify(const struct jit_suspect *s, u8 *marks);

/* jit_rules.c: may this instruction be in emitted code at all? */
bool jit_rule_allows(const struct bt_insn *i, const struct bt_parts *p);
/* May it access [host RSP + off], `size` bytes of struct bt_cpu? */
bool jit_rule_field(s64 off, unsigned size, bool write);
