/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What emitted code may consist of: instructions by opcode, and the fields of
 * struct bt_cpu. Everything that is not listed is forbidden. Written down
 * without a look at how the emitter chooses: what a row of the tables says of
 * its translation (jit_class) counts for nothing here.
 *
 * References: [1] Intel SDM vol. 2D appendix A (opcode maps).
 */
#include "engine/bt/decode.h"
#include "engine/bt/jit_verify.h"

const bool jit_verify_always = BT_VERIFY_ALWAYS;

/* ---- instructions ------------------------------------------------------ */

#define ANY (-1)
enum form { FORM_ANY, FORM_REG, FORM_MEM };

struct allowed {
	u8 first, last; /* opcodes */
	s8 reg;		/* the reg field of ModRM, or ANY */
	u8 form;
};

/* [1] table A-2. */
static const struct allowed one_byte[] = {
	/* ADD OR ADC SBB AND SUB XOR CMP: E,G G,E and accumulator, I */
	{0x00, 0x05, ANY, FORM_ANY},
	{0x08, 0x0d, ANY, FORM_ANY},
	{0x10, 0x15, ANY, FORM_ANY},
	{0x18, 0x1d, ANY, FORM_ANY},
	{0x20, 0x25, ANY, FORM_ANY},
	{0x28, 0x2d, ANY, FORM_ANY},
	{0x30, 0x35, ANY, FORM_ANY},
	{0x38, 0x3d, ANY, FORM_ANY},
	{0x58, 0x5f, ANY, FORM_ANY}, /* POP: rule 6 */
	{0x63, 0x63, ANY, FORM_ANY}, /* MOVSXD */
	{0x69, 0x69, ANY, FORM_ANY}, /* IMUL */
	{0x6b, 0x6b, ANY, FORM_ANY},
	{0x80, 0x81, ANY, FORM_ANY},
	{0x83, 0x83, ANY, FORM_ANY},
	{0x84, 0x8b, ANY, FORM_ANY}, /* TEST XCHG MOV */
	{0x8d, 0x8d, ANY, FORM_MEM}, /* LEA */
	{0x90, 0x99, ANY, FORM_ANY}, /* XCHG with rAX, CBW, CWD */
	{0x9c, 0x9c, ANY, FORM_ANY}, /* PUSHF: rule 6 */
	{0x9e, 0x9f, ANY, FORM_ANY}, /* SAHF LAHF */
	{0xa8, 0xa9, ANY, FORM_ANY}, /* TEST */
	{0xb0, 0xbf, ANY, FORM_ANY}, /* MOV */
	{0xc0, 0xc1, ANY, FORM_ANY}, /* rotates and shifts */
	{0xc6, 0xc7, 0, FORM_ANY},   /* MOV */
	{0xd0, 0xd3, ANY, FORM_ANY},
	{0xd8, 0xd8, ANY, FORM_ANY}, /* x87, but for FLDENV FNSTENV FRSTOR */
	{0xd9, 0xd9, ANY, FORM_REG}, /* FNSAVE: these tell host addresses */
	{0xd9, 0xd9, 0, FORM_MEM},
	{0xd9, 0xd9, 2, FORM_MEM},
	{0xd9, 0xd9, 3, FORM_MEM},
	{0xd9, 0xd9, 5, FORM_MEM},
	{0xd9, 0xd9, 7, FORM_MEM},
	{0xda, 0xdc, ANY, FORM_ANY},
	{0xdd, 0xdd, ANY, FORM_REG},
	{0xdd, 0xdd, 0, FORM_MEM},
	{0xdd, 0xdd, 1, FORM_MEM},
	{0xdd, 0xdd, 2, FORM_MEM},
	{0xdd, 0xdd, 3, FORM_MEM},
	{0xdd, 0xdd, 7, FORM_MEM},
	{0xde, 0xdf, ANY, FORM_ANY},
	{0xe3, 0xe3, ANY, FORM_ANY}, /* JRCXZ */
	{0xe8, 0xe9, ANY, FORM_ANY}, /* CALL JMP */
	{0xf5, 0xf5, ANY, FORM_ANY}, /* CMC */
	{0xf6, 0xf7, ANY, FORM_ANY}, /* TEST NOT NEG MUL DIV */
	{0xf8, 0xf9, ANY, FORM_ANY}, /* CLC STC */
	{0xfe, 0xff, 0, FORM_ANY},   /* INC */
	{0xfe, 0xff, 1, FORM_ANY},   /* DEC */
	{0xff, 0xff, 4, FORM_MEM},   /* JMP */
};

/* [1] table A-3. */
static const struct allowed map_0f[] = {
	{0x10, 0x17, ANY, FORM_ANY}, /* moves of SSE */
	{0x28, 0x2f, ANY, FORM_ANY},
	{0x31, 0x31, ANY, FORM_ANY}, /* RDTSC */
	{0x40, 0x4f, ANY, FORM_ANY}, /* CMOVcc */
	{0x50, 0x7f, ANY, FORM_ANY}, /* MMX, SSE */
	{0x80, 0x8f, ANY, FORM_ANY}, /* Jcc */
	{0x90, 0x9f, ANY, FORM_ANY}, /* SETcc */
	{0xa3, 0xa3, ANY, FORM_ANY}, /* BT; in memory: a number that is known */
	{0xa4, 0xa5, ANY, FORM_ANY}, /* SHLD */
	{0xab, 0xab, ANY, FORM_ANY},
	{0xac, 0xad, ANY, FORM_ANY}, /* SHRD */
	{0xae, 0xae, 5, FORM_REG},   /* LFENCE MFENCE SFENCE */
	{0xae, 0xae, 6, FORM_REG},
	{0xae, 0xae, 7, FORM_REG},
	{0xaf, 0xb1, ANY, FORM_ANY}, /* IMUL CMPXCHG */
	{0xb3, 0xb3, ANY, FORM_ANY},
	{0xb6, 0xb8, ANY, FORM_ANY}, /* MOVZX POPCNT */
	{0xba, 0xba, ANY, FORM_ANY}, /* BT and its kin with an immediate */
	{0xbb, 0xbb, ANY, FORM_ANY},
	{0xbc, 0xc6, ANY, FORM_ANY}, /* BSF BSR MOVSX XADD MOVNTI, of SSE */
	{0xc7, 0xc7, 1, FORM_MEM},   /* CMPXCHG8B CMPXCHG16B */
	{0xc8, 0xf6, ANY, FORM_ANY}, /* BSWAP, MMX, SSE */
	{0xf8, 0xfe, ANY, FORM_ANY}, /* not MASKMOVQ: it stores to [RDI] */
};

/* [1] table A-4. */
static const struct allowed map_0f38[] = {
	{0x00, 0x0b, ANY, FORM_ANY}, {0x10, 0x25, ANY, FORM_ANY},
	{0x28, 0x41, ANY, FORM_ANY}, {0xc8, 0xcf, ANY, FORM_ANY},
	{0xdb, 0xdf, ANY, FORM_ANY}, {0xf0, 0xf1, ANY, FORM_ANY},
	{0xf6, 0xf6, ANY, FORM_ANY},
};

/* [1] table A-5. */
static const struct allowed map_0f3a[] = {
	{0x08, 0x17, ANY, FORM_ANY}, {0x20, 0x22, ANY, FORM_ANY},
	{0x40, 0x44, ANY, FORM_ANY}, {0x60, 0x63, ANY, FORM_ANY},
	{0xcc, 0xcf, ANY, FORM_ANY}, {0xdf, 0xdf, ANY, FORM_ANY},
};

static const struct allowed vex_0f[] = {
	{0x10, 0x17, ANY, FORM_ANY}, {0x28, 0x2f, ANY, FORM_ANY},
	{0x50, 0x7f, ANY, FORM_ANY}, {0xc2, 0xc6, ANY, FORM_ANY},
	{0xd0, 0xf6, ANY, FORM_ANY}, {0xf8, 0xfe, ANY, FORM_ANY},
};

/* Not 2C..2F, 8C, 8E (masked moves) and 90..93 (gathers). */
static const struct allowed vex_0f38[] = {
	{0x00, 0x2b, ANY, FORM_ANY}, {0x30, 0x41, ANY, FORM_ANY},
	{0x45, 0x47, ANY, FORM_ANY}, {0x58, 0x5a, ANY, FORM_ANY},
	{0x78, 0x79, ANY, FORM_ANY}, {0x96, 0x9f, ANY, FORM_ANY},
	{0xa6, 0xaf, ANY, FORM_ANY}, {0xb6, 0xbf, ANY, FORM_ANY},
	{0xcf, 0xcf, ANY, FORM_ANY}, {0xdb, 0xdf, ANY, FORM_ANY},
	{0xf2, 0xf7, ANY, FORM_ANY},
};

static const struct allowed vex_0f3a[] = {
	{0x00, 0x22, ANY, FORM_ANY}, {0x38, 0x39, ANY, FORM_ANY},
	{0x40, 0x4c, ANY, FORM_ANY}, {0x60, 0x63, ANY, FORM_ANY},
	{0xce, 0xcf, ANY, FORM_ANY}, {0xdf, 0xdf, ANY, FORM_ANY},
	{0xf0, 0xf0, ANY, FORM_ANY},
};

#define MAP(table)                       \
	{                                \
		table, ARRAY_SIZE(table) \
	}
static const struct {
	const struct allowed *rows;
	unsigned count;
} maps[] = {
	MAP(one_byte), MAP(map_0f),   MAP(map_0f38), MAP(map_0f3a),
	MAP(vex_0f),   MAP(vex_0f38), MAP(vex_0f3a),
};

bool jit_rule_allows(const struct bt_insn *i, const struct bt_parts *p)
{
	for (unsigned k = 0; k < maps[p->map].count; k++) {
		const struct allowed *a = &maps[p->map].rows[k];

		if (p->opcode < a->first || p->opcode > a->last)
			continue;
		if (a->reg != ANY && (p->modrm >> 3 & 7) != a->reg)
			continue;
		if (a->form == FORM_ANY || (a->form == FORM_MEM) == i->mem)
			return true;
	}
	return false;
}

/* ---- fields of struct bt_cpu ------------------------------------------- */

struct field {
	u32 off, size;
	bool write;
};

#define FIELD(name, write)                                        \
	{                                                         \
		offsetof(struct bt_cpu, name),                    \
			sizeof(((struct bt_cpu *)0)->name), write \
	}

static const struct field fields[] = {
	FIELD(gpr[X86_R8], true),
	FIELD(gpr[X86_R9], true),
	FIELD(gpr[X86_R10], true),
	FIELD(gpr[X86_R11], true),
	FIELD(aflags, true),
	FIELD(attention, false),
	FIELD(eflags, true),
	FIELD(intr_hint, false),
	FIELD(shadow, true),
	FIELD(shadow_ip, true),
	FIELD(cr0, false),
	FIELD(cr2, false),
	FIELD(cr3, false),
	FIELD(cr4, false),
	FIELD(seg[X86_FS].base, true),
	FIELD(seg[X86_GS].base, true),
	FIELD(seg_base[X86_GS], true),
	FIELD(msr.kernel_gs_base, true),
	FIELD(msr.tsc_aux, false),
	FIELD(rdtsc_offset, false),
	FIELD(seg_base[X86_FS], true),
	FIELD(seg_base[X86_GS], false),
	FIELD(seg[X86_ES].selector, false),
	FIELD(seg[X86_CS].selector, false),
	FIELD(seg[X86_SS].selector, false),
	FIELD(seg[X86_DS].selector, false),
	FIELD(seg[X86_FS].selector, false),
	FIELD(seg[X86_GS].selector, false),
	FIELD(ip_page, true),
	FIELD(fpu_ready, false),
	FIELD(jit_site, true),
	FIELD(jit_value, true),
	FIELD(jit_pushed_on, true),
	FIELD(fip, true),
	FIELD(fdp, true),
	FIELD(fop, true),
	FIELD(fcs, true),
	FIELD(fds, true),
	FIELD(stat.run_insns, true),
	FIELD(stat.run_blocks, true),
	FIELD(stat.landings, true),
};

/* Those of which each mode has one: which it is, jit_verify.c looks where it
 * matters. */
static const struct field mode_fields[] = {
	FIELD(window[0].tag, false),
	FIELD(window[0].addend, false),
	FIELD(land_mask[0], false),
	FIELD(rdtsc_slow[0], false),
};
static const u32 mode_strides[] = {
	sizeof(struct bt_window),
	sizeof(struct bt_window),
	sizeof(u64),
	sizeof(u64),
};
_Static_assert(ARRAY_SIZE(mode_fields) == ARRAY_SIZE(mode_strides),
	       "one stride each");

static bool inside(const struct field *f, s64 off, unsigned size, bool write)
{
	return off >= (s64)f->off && off + size <= (s64)f->off + f->size &&
	       (f->write || !write);
}

bool jit_rule_field(s64 off, unsigned size, bool write)
{
	for (unsigned k = 0; k < ARRAY_SIZE(fields); k++)
		if (inside(&fields[k], off, size, write))
			return true;
	for (unsigned k = 0; k < MMU_COUNT * ARRAY_SIZE(mode_fields); k++) {
		unsigned field = k / MMU_COUNT, mode = k % MMU_COUNT;

		if (inside(&mode_fields[field],
			   off - (s64)mode * mode_strides[field], size, write))
			return true;
	}
	return false;
}
