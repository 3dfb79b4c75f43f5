/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our decoder against Zydis, an independent one: whether the bytes are an
 * instruction, its length, name and operands.
 *
 * An input is a byte that chooses 16-, 32- or 64-bit code, then the bytes.
 * Differences that are meant are listed below, with the reason; any other
 * aborts after telling.
 */
#include "fuzz.h"

#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bt/decode.h"
#include "engine/bt/disasm.h"

/* ---- differences that are meant ---------------------------------------- */

/* Extensions that no guest is offered: #UD. */
static const char *const absent[] = {
	"KEYLOCKER",   "KEYLOCKER_WIDE",
	"KNC",	       "KNCE",
	"KNCV",	       "SVM",
	"CET",	       "CLZERO",
	"SGX",	       "SGX_ENCLV",
	"ENQCMD",      "AMD3DNOW",
	"SMX",	       "VTX",
	"AMD_INVLPGB", "AVX512VEX",
	"AVX512EVEX",  "MONITOR",
	"MONITORX",    "MOVDIR",
	"PCONFIG",     "PT",
	"PKU",	       "RDPRU",
	"SERIALIZE",   "TDX",
	"UINTR",       "AMX_BF16",
	"AMX_INT8",    "AMX_TILE",
	"WAITPKG",     "FMA4",
	"XOP",	       "TBM",
	"LWP",	       "AVX_VNNI",
	"XSAVES",      "RTM",
	"VMFUNC",      "PADLOCK",
	"SNP",	       "HRESET",
	"MCOMMIT",     "CLDEMOTE",
	"TSX_LDTRK",   "SMAP",
	"INVPCID",     "PREFETCHWT1",
	"KNCSTREAM",
};

/* Single instructions that only one of the two has. */
static const struct {
	const char *name, *reason;
} only_zydis[] =
	{
		{"rsm",
		 "#UD outside system management mode, which there is not"},
		{"salc", "not documented"},
		{"getsec", "SMX"},
},
  only_ours[] = {
	  {"nop",
	   "0F 1A and 0F 1B with operands that MPX forbids; no MPX here"},
	  {"mov", "to CS or a segment register that is none: #UD when run"},
	  {"vpgatherd", "registers used twice, no SIB: #UD when run"},
	  {"vpgatherq", "the same"},
	  {"vgatherdp", "the same"},
	  {"vgatherqp", "the same"},
};

/* Ours begins with, theirs begins with. A name may be longer than ours where
 * it goes by a width. */
static const char *const aliases[][2] = {
	{"cbw", "cwde"},
	{"cbw", "cdqe"},
	{"cwd", "cdq"},
	{"cwd", "cqo"},
	{"cmova", "cmovnbe"},
	{"cmovae", "cmovnb"},
	{"cmove", "cmovz"},
	{"cmovg", "cmovnle"},
	{"cmovge", "cmovnl"},
	{"cmovne", "cmovnz"},
	{"seta", "setnbe"},
	{"setae", "setnb"},
	{"sete", "setz"},
	{"setg", "setnle"},
	{"setge", "setnl"},
	{"setne", "setnz"},
	{"ja", "jnbe"},
	{"jae", "jnb"},
	{"je", "jz"},
	{"jg", "jnle"},
	{"jge", "jnl"},
	{"jne", "jnz"},
	{"jcxz", "jecxz"},
	{"jcxz", "jrcxz"},
	{"cmpxchg8b", "cmpxchg16b"},
	{"lcall", "call"},
	{"ljmp", "jmp"},
	{"lret", "ret"},
	{"movd", "movq"},
	{"vmovd", "vmovq"},
	{"pextrd", "pextrq"},
	{"pinsrd", "pinsrq"},
	{"vpextrd", "vpextrq"},
	{"vpinsrd", "vpinsrq"},
	{"vzeroupper", "vzeroall"},
	{"wait", "fwait"},
	{"xchg", "nop"},
	{"prefetch", "nop"},
	{"prefetchw", "nop"},
	{"prefetchw", "prefetch"},
	{"nop", "bnd"},
	{"nop", "endbr"},
	{"nop", "rdssp"},
	{"nop", "cldemote"},
	{"fndisi", "fdisi"},
	{"fneni", "feni"},
	{"fnsetpm", "fsetpm"},
	{"fstp", "fstpnce"},
};

static bool is_absent(const char *extension)
{
	for (unsigned k = 0; k < ARRAY_SIZE(absent); k++)
		if (!strcmp(extension, absent[k]))
			return true;
	return false;
}

static bool same_name(const char *ours, const char *theirs)
{
	if (!strncmp(ours, theirs, strlen(ours)))
		return true;
	for (unsigned k = 0; k < ARRAY_SIZE(aliases); k++)
		if (!strcmp(ours, aliases[k][0]) &&
		    !strncmp(theirs, aliases[k][1], strlen(aliases[k][1])))
			return true;
	return false;
}

/* ---- what is compared -------------------------------------------------- */

struct pair {
	enum bt_width code;
	struct bt_insn insn;
	struct bt_parts parts;
	enum bt_decode_status status;
	const struct bt_row *row;
	bool theirs_ok;
	ZyanStatus theirs_status;
	ZydisDecodedInstruction theirs;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	const u8 *bytes;
};

static _Noreturn void differ(const struct pair *p, const char *what)
{
	static const unsigned bits[] = {0, 16, 32, 64};
	char text[96] = "invalid";

	fprintf(stderr, "%u-bit code:", bits[p->code]);
	for (unsigned k = 0; k < BT_MAX_INSN; k++)
		fprintf(stderr, " %02x", p->bytes[k]);
	if (p->status == BT_DECODE_OK)
		bt_disasm(&p->insn, &p->parts, 0, text, sizeof(text));
	fprintf(stderr, "\n%s: ours: %s, %u bytes; Zydis: ", what, text,
		p->insn.len);
	if (p->theirs_ok)
		fprintf(stderr, "%s, %u bytes, %s\n",
			ZydisMnemonicGetString(p->theirs.mnemonic),
			p->theirs.length,
			ZydisISAExtGetString(p->theirs.meta.isa_ext));
	else
		fprintf(stderr, "status %#x\n", (unsigned)p->theirs_status);
	abort();
}

static void expect(const struct pair *p, bool same, const char *what)
{
	if (!same)
		differ(p, what);
}

/* ---- operands ---------------------------------------------------------- */

/* A general register by name, as our offset (AH is 1). */
static int gpr_offset(ZydisRegister reg)
{
	ZydisRegisterClass class = ZydisRegisterGetClass(reg);
	int id = ZydisRegisterGetId(reg);

	if (class == ZYDIS_REGCLASS_GPR8) {
		if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
			return 8 * (reg - ZYDIS_REGISTER_AH) + 1;
		if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_DIL)
			return 8 * (reg - ZYDIS_REGISTER_SPL + 4);
		if (reg >= ZYDIS_REGISTER_R8B)
			return 8 * (reg - ZYDIS_REGISTER_R8B + 8);
		return 8 * (reg - ZYDIS_REGISTER_AL);
	}
	return 8 * id;
}

static bool is_gpr(ZydisRegister reg)
{
	ZydisRegisterClass class = ZydisRegisterGetClass(reg);

	return class == ZYDIS_REGCLASS_GPR8 || class == ZYDIS_REGCLASS_GPR16 ||
	       class == ZYDIS_REGCLASS_GPR32 || class == ZYDIS_REGCLASS_GPR64;
}

/* `val` is an offset where the letter names a general register or VEX.vvvv,
 * else a number. */
static bool same_register(ZydisRegister reg, char letter, u8 val)
{
	if (is_gpr(reg))
		return gpr_offset(reg) == val;
	if (letter == 'H')
		val /= 8;
	if (strchr("PQNS", letter))
		val &= 7; /* REX says nothing about MM and segment registers */
	return ZydisRegisterGetId(reg) == val;
}

static u8 field_of(const struct pair *p, char letter)
{
	const struct bt_insn *i = &p->insn;
	bool e_g = bt_decode_rules[i->row].operands == OP_E_G;

	if (strchr("EMRWUQN", letter))
		return e_g ? i->a : i->b;
	if (letter == 'Z')
		return i->a;
	if (letter == 'H' || letter == 'B')
		return i->v;
	if (letter == 'L')
		return p->parts.imm >> 4 & (p->code == W64 ? 15 : 7);
	return i->mem ? i->a : e_g ? i->b : i->a;
}

static bool same_address_register(ZydisRegister reg, u8 ours, bool vector)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return ours == BT_REG_ZERO;
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return ours == BT_REG_IP;
	return ours == (vector ? 8 * ZydisRegisterGetId(reg) : gpr_offset(reg));
}

static bool same_segment(ZydisRegister reg, u8 ours)
{
	static const ZydisRegister names[] = {
		ZYDIS_REGISTER_ES, ZYDIS_REGISTER_CS, ZYDIS_REGISTER_SS,
		ZYDIS_REGISTER_DS, ZYDIS_REGISTER_FS, ZYDIS_REGISTER_GS};

	return ours < ARRAY_SIZE(names) && names[ours] == reg;
}

/* SIB without base, REX.B set: Zydis 4.0.0 says R13, though it counts the
 * displacement that is there in its stead (SDM vol. 2A, table 2-5). */
static bool is_rex_b_without_base(const struct pair *p)
{
	return p->code == W64 && p->insn.asize != W16 &&
	       (p->parts.modrm & 0xc7) == 4 && (p->parts.sib & 7) == 5 &&
	       p->parts.rex & 1;
}

static void compare_memory(const struct pair *p, const ZydisDecodedOperand *op)
{
	const struct bt_insn *i = &p->insn;
	static const u64 masks[] = {0, 0xffff, 0xffffffff, ~0ull};
	const ZydisDecodedOperandMem *m = &op->mem;
	bool moffs = bt_decode_rules[i->row].operands == OP_MOFFS;

	expect(p, i->mem, "memory operand");
	expect(p, 8u << i->asize == p->theirs.address_width, "address size");
	/* 3E before an indirect branch is NOTRACK to Zydis; it stays DS. */
	if (op->mem.type != ZYDIS_MEMOP_TYPE_AGEN &&
	    !(p->theirs.attributes & ZYDIS_ATTRIB_HAS_NOTRACK))
		expect(p, same_segment(m->segment, i->seg), "segment");
	if (moffs) {
		expect(p, !((i->imm64 ^ (u64)m->disp.value) & masks[i->asize]),
		       "offset");
		return;
	}
	if (is_rex_b_without_base(p))
		return;
	expect(p, same_address_register(m->base, i->b, false), "base");
	expect(p,
	       same_address_register(m->index, i->x, p->row->attrs & ROW_VSIB),
	       "index");
	if (m->index != ZYDIS_REGISTER_NONE)
		expect(p, 1u << i->scale == m->scale, "scale");
	expect(p, i->disp == (s32)m->disp.value, "displacement");
}

static u64 width_mask(const struct pair *p)
{
	unsigned bits = p->theirs.operand_width;

	return bits >= 64 || bits == 0 ? ~0ull : BIT(bits) - 1;
}

static void compare_immediate(const struct pair *p,
			      const ZydisDecodedOperand *op, unsigned number)
{
	const struct bt_insn *i = &p->insn;
	u64 ours = number ? (u64)(s64)i->disp : (u64)(s64)i->imm;
	u64 mask = op->imm.is_signed ? width_mask(p) : BIT(op->size) - 1;

	if (bt_decode_rules[i->row].imm[0] == IMM_V)
		ours = i->imm64;
	if (op->size >= 64)
		mask = ~0ull;
	expect(p, !((ours ^ op->imm.value.u) & mask), "immediate");
}

static void compare_operand(const struct pair *p, const char *ours,
			    const ZydisDecodedOperand *op, unsigned *imms)
{
	switch (op->type) {
	case ZYDIS_OPERAND_TYPE_MEMORY:
		compare_memory(p, op);
		break;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		if (strcmp(ours, "1"))
			compare_immediate(p, op, (*imms)++);
		break;
	case ZYDIS_OPERAND_TYPE_POINTER:
		expect(p,
		       (u32)p->insn.imm == op->ptr.offset ||
			       (u16)p->insn.imm == op->ptr.offset,
		       "far offset");
		expect(p, (u16)p->insn.disp == op->ptr.segment, "selector");
		break;
	case ZYDIS_OPERAND_TYPE_REGISTER:
		if (!strchr("EMRWUQNZHBLGVPSCD", ours[0]) ||
		    !strcmp(ours, "CL") || !strcmp(ours, "CS") ||
		    !strcmp(ours, "DX") || !strcmp(ours, "DS") ||
		    !strcmp(ours, "SS") || !strcmp(ours, "ES"))
			break;
		if (strchr("EMRWUQN", ours[0]))
			expect(p, !p->insn.mem, "register operand");
		expect(p,
		       same_register(op->reg.value, ours[0],
				     field_of(p, ours[0])),
		       "register");
		break;
	default:
		break;
	}
}

/* Those that the row names are the explicit ones, in their order. */
static void compare_operands(const struct pair *p)
{
	const char *at = p->row->operands;
	unsigned next = 0, imms = 0;
	char ours[8];

	if (p->row->attrs & ROW_X87 && !p->insn.mem)
		return; /* ST(i) is not in the rows */
	/* Some NOPs are MPX's to Zydis; 0F 0D with a register is a NOP to it,
	 * and #UD on AMD's CPUs. */
	if (!strcmp(p->row->name, "nop") ||
	    (!strcmp(p->row->name, "prefetchw") && !p->insn.mem))
		return;
	while (*at) {
		size_t n = strcspn(at, ",");

		snprintf(ours, sizeof(ours), "%.*s", (int)n, at);
		at += n + (at[n] == ',');
		if (ours[0] == 'X' || ours[0] == 'Y' || !strcmp(ours, "1"))
			continue;
		while (next < p->theirs.operand_count_visible &&
		       p->ops[next].visibility ==
			       ZYDIS_OPERAND_VISIBILITY_IMPLICIT &&
		       strchr("EGMRWVHIJZO", ours[0]))
			next++;
		if (next >= p->theirs.operand_count_visible)
			break;
		compare_operand(p, ours, &p->ops[next++], &imms);
	}
}

/* Letters v, z and y: the operation's width. */
static void compare_width(const struct pair *p)
{
	unsigned rule = bt_decode_rules[p->insn.row].width;

	if (!strcmp(p->row->name, "nop") ||
	    p->row->attrs & (ROW_SIMD | ROW_X87 | ROW_MMX | ROW_SSE | ROW_AVX |
			     ROW_NOTEST | ROW_END))
		return;
	if (rule == WR_V || rule == WR_B)
		expect(p, 8u << p->insn.width == p->theirs.operand_width,
		       "operand size");
	if (rule == WR_Y)
		expect(p,
		       (p->insn.width == W64) ==
			       (p->theirs.operand_width == 64),
		       "operand size");
}

/* ---- whole instructions ------------------------------------------------ */

static void compare_validity(const struct pair *p)
{
	const char *name;

	if (p->status == BT_DECODE_OK) {
		for (unsigned k = 0; k < ARRAY_SIZE(only_ours); k++)
			if (!strcmp(p->row->name, only_ours[k].name))
				return;
		differ(p, "ours only");
	}
	if (is_absent(ZydisISAExtGetString(p->theirs.meta.isa_ext)))
		return;
	name = ZydisMnemonicGetString(p->theirs.mnemonic);
	for (unsigned k = 0; k < ARRAY_SIZE(only_zydis); k++)
		if (!strcmp(name, only_zydis[k].name))
			return;
	differ(p, "theirs only");
}

/* Fewer bytes are asked for more, and never looked beyond. */
static void compare_prefixes(const struct pair *p)
{
	struct bt_insn insn;
	u8 *part;

	for (unsigned len = 0; len < p->insn.len; len++) {
		part = malloc(len ? len : 1);
		if (!part)
			abort();
		memcpy(part, p->bytes, len);
		expect(p,
		       bt_decode(part, len, p->code, ~0ull, &insn, NULL) ==
			       BT_DECODE_MORE,
		       "part of it");
		free(part);
	}
}

static void decode_theirs(struct pair *p)
{
	static const struct {
		ZydisMachineMode mode;
		ZydisStackWidth stack;
	} modes[] = {
		[W16] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
		[W32] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
		[W64] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
	};
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, modes[p->code].mode, modes[p->code].stack);
	p->theirs_status = ZydisDecoderDecodeFull(
		&decoder, p->bytes, BT_MAX_INSN, &p->theirs, p->ops);
	p->theirs_ok = ZYAN_SUCCESS(p->theirs_status);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	static const enum bt_width codes[] = {W16, W32, W64};
	u8 bytes[BT_MAX_INSN] = {0};
	struct pair p = {.bytes = bytes};

	if (!len)
		return 0;
	p.code = codes[data[0] % 3];
	memcpy(bytes, data + 1, min_u64(len - 1, sizeof(bytes)));
	p.status = bt_decode(bytes, sizeof(bytes), p.code, ~0ull, &p.insn,
			     &p.parts);
	p.row = &bt_rows[p.insn.row];
	expect(&p, p.status != BT_DECODE_MORE, "15 bytes are enough");
	decode_theirs(&p);
	if (p.theirs_ok != (p.status == BT_DECODE_OK)) {
		compare_validity(&p);
		return 0;
	}
	if (!p.theirs_ok)
		return 0;
	expect(&p, p.theirs.length == p.insn.len, "length");
	expect(&p,
	       same_name(p.row->name,
			 ZydisMnemonicGetString(p.theirs.mnemonic)),
	       "name");
	compare_operands(&p);
	compare_width(&p);
	if (data[0] & 0x80)
		compare_prefixes(&p);
	return 0;
}
