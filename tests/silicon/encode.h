/* SPDX-License-Identifier: Apache-2.0 */
/* From choices to bytes. */
#pragma once

#include "silicon.h"

enum { NO_REGISTER = 0xff };

/* A memory operand, as chosen. */
struct address {
	bool rip, absolute;
	u8 base, index; /* register number or NO_REGISTER */
	u8 scale;
	u8 disp_bytes; /* 0, 1, 4 */
	s32 disp;
	bool gs;
};

struct choice {
	u8 reg, rm, vvvv; /* numbers, with the REX or VEX bit */
	bool rex_w;	  /* where it is free */
	bool rex;	  /* REX even if not needed */
	u8 idle_bits;	  /* of REX, for registers that are not there */
	u8 opcode;
	u8 order; /* of the prefixes */
	bool short_vex;
	bool vex_l;
	struct address address;
	u64 imm;
	u8 imm_bytes;
	u64 imm2;
	u8 imm2_bytes;
};

void encode(struct test_case *c, const struct choice *choice);
