/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoded instruction, and what the opcode tables say of its row.
 */
#pragma once

#include "util/types.h"

struct bt_cpu;

enum bt_width { W8, W16, W32, W64 };
enum bt_rep { REP_NONE, REP_REPZ /* F3 */, REP_REPNZ /* F2 */ };

/*
 * Register operands are byte offsets into bt_cpu.gpr, so that AH is 1 and
 * RCX is 8. Two slots follow the sixteen: one that always reads zero (no base,
 * no index) and the address of the next instruction (RIP-relative).
 */
#define BT_REG(n) ((u8)((n)*8))
#define BT_REG_ZERO BT_REG(16)
#define BT_REG_IP BT_REG(17)
#define BT_REGS 18

/*
 * One decoded instruction, 24 bytes; also the translator's input.
 *
 * Operand fields by the row's operand pattern (opcodes_*.tbl):
 *   E,G   register form a=rm  b=reg;  memory form a=reg, address in b,x,disp
 *   G,E   register form a=reg b=rm;   memory form a=reg, address in b,x,disp
 *   E[,I] register form a=rm;         memory form address in b,x,disp
 *   G,B,E and G,E,B (BMI): v is VEX.vvvv's register
 *   Z     a is the opcode's register
 *   S, C, D: the register's number (not an offset) in the field of G
 * Immediates are sign-extended into imm; movabs and moffs64 use imm64; far
 * pointers have the offset in imm and the selector in disp, ENTER has its
 * second immediate in disp.
 */
struct bt_insn {
	void (*fn)(struct bt_cpu *c, const struct bt_insn *i);
	union {
		struct {
			s32 imm;
			s32 disp;
		};
		u64 imm64;
	};
	u16 row : 12; /* index into bt_rows[] */
	u16 len : 4;  /* bytes, 1..15 */
	u8 a, b, x, v;
	u8 seg : 3; /* enum x86_seg of the memory operand, overrides applied */
	u8 scale : 2;
	u8 asize : 2; /* enum bt_width: W16, W32, W64 */
	u8 lock : 1;
	u8 width : 2; /* enum bt_width of the operation; VEX.L for SIMD */
	u8 rep : 2;   /* enum bt_rep */
	u8 mem : 1;   /* memory form */
	u8 rexw : 1;
	u8 code : 2; /* code size, enum bt_width: W16, W32, W64 */
};
_Static_assert(sizeof(struct bt_insn) == 24, "the translator counts on it");

/* What the opcode tables say of a row; see tools/gen-opcodes. */
enum bt_row_attr {
	ROW_END = 1 << 0,	/* ends the block */
	ROW_LOCK = 1 << 1,	/* LOCK allowed on the memory form */
	ROW_D64 = 1 << 2,	/* 64-bit operands by default in long mode */
	ROW_F64 = 1 << 3,	/* always 64-bit operands in long mode */
	ROW_SIMD = 1 << 4,	/* runs on the host's unit by a stub */
	ROW_UNALIGNED = 1 << 5, /* 16-byte memory operand may be unaligned */
	ROW_PRIV = 1 << 6,	/* #GP(0) unless CPL is 0; fn checks */
	ROW_VEX = 1 << 7,	/* VEX-encoded */
	ROW_L0 = 1 << 8,	/* VEX.L must be 0 */
	ROW_L1 = 1 << 9,	/* VEX.L must be 1 */
	ROW_W0 = 1 << 10,	/* VEX.W must be 0 */
	ROW_W1 = 1 << 11,	/* VEX.W must be 1 */
	ROW_VVVV = 1 << 12,	/* VEX.vvvv is an operand (else must be 1111) */
	ROW_MEMW = 1 << 13,	/* SIMD: the memory operand is written */
	ROW_NOTEST = 1 << 14,  /* not runnable in a user process: ring 0, I/O */
	ROW_X87 = 1 << 15,     /* #NM by CR0.EM|TS, waits for #MF */
	ROW_MMX = 1 << 16,     /* #UD by EM, #NM by TS, #MF pending */
	ROW_SSE = 1 << 17,     /* #UD by EM or !OSFXSR, #NM by TS */
	ROW_AVX = 1 << 18,     /* #UD by !OSXSAVE or XCR0, #NM by TS */
	ROW_VSIB = 1 << 19,    /* gather: index is a vector */
	ROW_LIG = 1 << 20,     /* VEX.L ignored */
	ROW_ALIGNED = 1 << 21, /* VEX: memory operand must be aligned */
	ROW_CONTROL = 1 << 22, /* x87: leaves FIP, FDP and FOP */
};

/* How the translator emits a row (jit_translate.c). */
enum bt_jit_class {
	JIT_CALLED, /* by its C function */
	JIT_COPY,   /* as it is, with other registers and addresses */
	JIT_SIMD,   /* likewise, with the guest's FPU state live */
	JIT_NOP,
	JIT_LEA,
	JIT_PUSH,
	JIT_POP,
	JIT_LEAVE,
	JIT_JCC,
	JIT_JMP,
	JIT_CALL,
	JIT_RET,
	JIT_PUSHF,
	JIT_STRING,
	JIT_SYS, /* jit_sys.c chooses by the function */
};

/* Fields that name general registers, read and written: ModRM.reg (G), ModRM.rm
 * or the opcode's register (E), VEX.vvvv (V); memory that is written (M). */
enum bt_jit_ops {
	JIT_G_R = 1 << 0,
	JIT_G_W = 1 << 1,
	JIT_E_R = 1 << 2,
	JIT_E_W = 1 << 3,
	JIT_V_R = 1 << 4,
	JIT_V_W = 1 << 5,
	JIT_M_W = 1 << 6,
};
#define JIT_SIZE_DOUBLE 0x80 /* twice the width: CMPXCHG8B, CMPXCHG16B */

struct bt_row {
	u32 attrs;
	u16 opcode;
	u8 map;	       /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
	s8 reg;	       /* /digit, -1: any */
	s8 mod;	       /* 0: memory, 3: register, -1: any */
	s8 rm;	       /* -1: any */
	s8 prefix;     /* 0 none ("np"), 1 66, 2 F3, 3 F2, -1: any other */
	s8 mode64;     /* 0: not in 64-bit code, 1: only there, -1: any */
	u8 feature;    /* enum cpu_feature */
	u8 feature_l1; /* instead of it where VEX.L is 1; 0: same */
	u8 mem_size;   /* SIMD: bytes of the memory operand, for VEX.L 0 */
	u8 mem_size_l1;
	u16 flags_read, flags_written, flags_undef; /* FLAG_* */
	u16 fnset;
	u8 jit_class; /* enum bt_jit_class */
	u8 jit_ops;   /* OR of enum bt_jit_ops */
	u8 jit_size;  /* bytes of memory, 0: by the width; not for SIMD rows */
	/* In place: pointers would cost a relocation each, and a start 15
	 * pages. */
	char name[18];
	char operands[12];
};

/* Bytes of a SIMD row's memory operand. Ey in memory is 4 or 8 by REX.W or
 * VEX.W. */
static inline unsigned bt_simd_size(const struct bt_row *row,
				    const struct bt_insn *i)
{
	unsigned size = i->width ? row->mem_size_l1 : row->mem_size;

	return size ? size : i->rexw ? 8 : 4;
}

extern const struct bt_row bt_rows[];
extern const unsigned bt_row_count;
