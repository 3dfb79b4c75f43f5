/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder: bytes to struct bt_insn, by tables that tools/gen-opcodes makes
 * from opcodes_*.tbl. No memory access, no state: callers fetch the bytes.
 */
#pragma once

#include "engine/bt/bt.h"

/* How the record's operand fields are filled; see struct bt_insn. */
enum operand_rule { OP_FIXED, OP_E_G, OP_G_E, OP_Z, OP_MOFFS, OP_FAR };
enum width_rule { WR_B, WR_W, WR_D, WR_Q, WR_V, WR_Z, WR_Y };
enum reg_rule { REG_RAW, REG_GPR, REG_BYTE };
enum imm_rule {
	IMM_NONE,
	IMM_ONE,
	IMM_S8,
	IMM_U8,
	IMM_U16,
	IMM_Z,
	IMM_V,
};

/* Bytes of an immediate for an operand of this width. */
static inline unsigned bt_imm_bytes(u8 rule, unsigned width)
{
	switch (rule) {
	case IMM_S8:
	case IMM_U8:
		return 1;
	case IMM_U16:
		return 2;
	case IMM_Z:
		return width == W16 ? 2 : 4;
	case IMM_V:
		return 1u << width;
	default:
		return 0;
	}
}

struct bt_decode_rule {
	u8 operands; /* enum operand_rule */
	u8 width;    /* enum width_rule */
	u8 reg, rm;  /* enum reg_rule */
	u8 imm[2];   /* enum imm_rule */
	u8 modrm;
};

/* Which of mode, prefix, mod, reg, rm choose the row of an opcode (bits 0..4
 * of dims), and where its cells begin; a cell is a row number plus one. */
struct bt_select {
	u16 base;
	u8 dims;
	u8 present;
};

/* [register, memory, locked memory][enum bt_width] */
typedef void (*const bt_fnset[3][4])(struct bt_cpu *c, const struct bt_insn *i);

extern const bt_fnset bt_fnsets[];
extern const struct bt_decode_rule bt_decode_rules[];
extern const u16 bt_select_cells[];
extern const struct bt_select bt_select[7][256];

/* Longest instruction ([1] SDM vol. 2A 2.3.11). */
#define BT_MAX_INSN 15

/* Everything a stub builder or disassembler needs beside the record. */
struct bt_parts {
	u8 bytes[BT_MAX_INSN];
	u8 len;
	u8 map; /* index of bt_select: 0..3, 4..6 VEX */
	u8 opcode;
	u8 modrm, sib;
	u8 rex;	       /* 0 or 0x40..0x4f; for VEX the same four bits */
	u8 prefix;     /* 0 none, 1 66, 2 F3, 3 F2: the mandatory one */
	bool opsize;   /* 66 seen */
	bool addrsize; /* 67 seen */
	bool has_modrm;
	u8 vvvv; /* decoded (not inverted) */
	u8 vex_l;
	u8 vex_w;
	u8 segment; /* enum x86_seg of an override, 0xff: none */
	u8 rep;	    /* enum bt_rep */
	bool lock;
	s32 disp;
	u64 imm;
};

enum bt_decode_status {
	BT_DECODE_OK,
	BT_DECODE_MORE, /* the bytes end too early: `avail` was too small */
	BT_DECODE_UD,	/* insn is filled in and raises #UD */
	BT_DECODE_LONG, /* more than 15 bytes: insn raises #GP(0) */
};

/*
 * Decode one instruction of `code` size (W16, W32, W64) from bytes[0..avail).
 * `features` is cpu_policy.features. On OK, UD and LONG, insn->fn is set.
 * parts may be NULL.
 */
enum bt_decode_status bt_decode(const u8 *bytes, unsigned avail,
				enum bt_width code, u64 features,
				struct bt_insn *insn, struct bt_parts *parts);

/* Operand size by mode, prefixes and the row's attributes. */
enum bt_width bt_operand_width(const struct bt_parts *p, u32 attrs,
			       enum bt_width code);

/* Does the row's record end a block. */
static inline bool bt_ends_block(const struct bt_insn *i)
{
	return bt_rows[i->row].attrs & ROW_END;
}
