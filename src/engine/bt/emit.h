/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host code, one instruction at a time. The encoder takes an opcode with its
 * prefixes, a register field and a register or memory operand, and finds REX,
 * ModRM, SIB and the size of the displacement itself.
 *
 * References: [1] Intel SDM vol. 2A chapter 2.
 *
 * `at` moves through writable memory; whoever emits a jump knows how far the
 * executable view of it is away. Nothing is written beyond `end`: `full` is
 * set instead, and the caller throws the result away.
 */
#pragma once

#include "util/types.h"

struct emit {
	u8 *at;
	u8 *end;
	bool full;
};

/* Opcode, map and prefixes in one word. */
enum {
	EM_0F = 1 << 8,
	EM_0F38 = 2 << 8,
	EM_0F3A = 3 << 8,
	EM_W = 1 << 10,	 /* REX.W, VEX.W */
	EM_66 = 1 << 11, /* operand size, or the mandatory prefix */
	EM_F3 = 1 << 12,
	EM_F2 = 1 << 13,
	EM_LOCK = 1 << 14,
	EM_REX = 1 << 15, /* a REX even if empty: SPL, BPL, SIL, DIL */
	EM_VEX = 1 << 16,
	EM_L = 1 << 17, /* VEX.L */
	EM_VVVV = 20,	/* shift of VEX.vvvv, not inverted */
};

/* The integer instructions that the translator itself needs. */
enum {
	OP_ADD = EM_W | 0x03, /* reg += rm */
	OP_XOR = EM_W | 0x33,
	OP_CMP = EM_W | 0x3b,
	OP_LOAD = EM_W | 0x8b,
	OP_LOAD32 = 0x8b,
	OP_STORE = EM_W | 0x89,
	OP_LOAD16 = EM_66 | 0x8b,
	OP_STORE32 = 0x89,
	OP_STORE16 = EM_66 | 0x89,
	OP_LEA = EM_W | 0x8d,
	OP_LEA32 = 0x8d,
	OP_MOVZX16 = EM_0F | 0xb7,
	OP_GROUP1_8 = 0x83,	  /* /digit, sign-extended byte */
	OP_GROUP1_8_BYTE = 0x80,  /* /digit, byte operand */
	OP_GROUP1_32 = 0x81,	  /* /digit, 32 bits */
	OP_MOV_IMM = EM_W | 0xc7, /* /0, sign-extended 32 bits */
	OP_MOV_IMM8 = 0xc6,	  /* /0, byte operand */
	OP_TEST_IMM32 = 0xf7,	  /* /0, 32 bits */
	OP_GROUP5 = 0xff,	  /* /2 call, /4 jmp */
	OP_SHIFT_IMM = 0xc1,	  /* /4 shl, /5 shr */
	OP_IMUL_IMM = 0x69,
};

enum em_cc { CC_B = 2, CC_E = 4, CC_NE = 5, CC_BE = 6, CC_A = 7 };

#define EM_NONE 0xff

/* A register, or [base + index << scale + disp]. */
struct em_rm {
	bool mem;
	u8 base;  /* or the register; EM_NONE: none */
	u8 index; /* EM_NONE: none */
	u8 scale;
	s32 disp;
};

static inline struct em_rm em_reg(unsigned reg)
{
	return (struct em_rm){.base = (u8)reg, .index = EM_NONE};
}

static inline struct em_rm em_at(unsigned base, s32 disp)
{
	return (struct em_rm){true, (u8)base, EM_NONE, 0, disp};
}

static inline struct em_rm em_sum(unsigned base, unsigned index, s32 disp)
{
	return (struct em_rm){true, (u8)base, (u8)index, 0, disp};
}

void em_bytes(struct emit *e, u64 val, unsigned count);
static inline void em_byte(struct emit *e, unsigned val)
{
	em_bytes(e, val, 1);
}

/* One instruction up to its immediate, which the caller appends. */
void em_insn(struct emit *e, u32 op, unsigned reg, struct em_rm rm);
/* An instruction whose opcode's low bits name the register. */
void em_short(struct emit *e, u32 op, unsigned reg);

static inline void em_mov(struct emit *e, unsigned dst, unsigned src)
{
	if (dst != src)
		em_insn(e, OP_LOAD, dst, em_reg(src));
}

/* Jumps with 32 bits of displacement, which em_land() or em_to() fills in. */
u8 *em_jmp(struct emit *e);
u8 *em_jcc(struct emit *e, unsigned cc);
u8 *em_call(struct emit *e);
/* The jump's displacement so that it leads to `target`, both in one view. */
void em_to(struct emit *e, u8 *disp, const u8 *target);
