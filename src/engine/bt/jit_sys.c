/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System instructions in translated code: interrupt flag, EFLAGS.AC, SWAPGS,
 * bases and selectors of segments, control registers read, time stamps. What is
 * rare of them goes by their functions.
 *
 * References: [1] Intel SDM vol. 2 (each); vol. 3A 6.8.1 (STI's shadow).
 *
 * Privilege is known: a translation is for one MMU mode, so that of a kernel
 * runs with CPL 0, and a user's goes by the functions, which fault.
 *
 * STAC and CLAC change the MMU mode in the middle of a block; `mode` of struct
 * jit follows. A stack window that was checked before STAC stays good, since
 * AC forbids nothing; CLAC ends it (jit_analyse.c).
 */
#include "bt_ops.h"
#include "engine/bt/jit_translate.h"
#include "engine/bt/sys.h"

/* ---- flags ------------------------------------------------------------- */

enum { DIGIT_OR = 1, DIGIT_AND = 4, DIGIT_CMP = 7 };

static void save_live(struct jit *j)
{
	if (j->note[j->n].live)
		jit_save_flags(j);
}

static void restore_live(struct jit *j)
{
	if (j->note[j->n].live)
		jit_restore_flags(j);
}

static void eflags_op(struct jit *j, unsigned digit, u32 imm)
{
	em_insn(&j->e, OP_GROUP1_32, digit, JIT_FIELD(eflags));
	em_bytes(&j->e, imm, 4);
}

static void clear_flag(struct jit *j, u32 flag)
{
	save_live(j);
	eflags_op(j, DIGIT_AND, ~flag);
	restore_live(j);
}

static void cli(struct jit *j)
{
	clear_flag(j, FLAG_IF);
}

static void cld(struct jit *j)
{
	clear_flag(j, FLAG_DF);
}

/* With an interrupt in sight the run loop has to look, and the function says
 * so. IF that is set already casts no shadow. */
static void sti(struct jit *j)
{
	struct emit *e = &j->e;
	u8 *over;

	save_live(j);
	em_insn(e, OP_GROUP1_8_BYTE, DIGIT_CMP, JIT_FIELD(intr_hint));
	em_byte(e, 0);
	jit_to_cold(j, CC_NE, j->jit->exec, j->n);
	em_insn(e, OP_TEST_IMM32, 0, JIT_FIELD(eflags));
	em_bytes(e, FLAG_IF, 4);
	over = em_jcc(e, CC_NE);
	eflags_op(j, DIGIT_OR, FLAG_IF);
	em_insn(e, OP_MOV_IMM8, 0, JIT_FIELD(shadow));
	em_byte(e, BT_SHADOW_STI);
	jit_page_base(j, H_A, jit_next_off(j));
	em_insn(e, OP_STORE, H_A, JIT_FIELD(shadow_ip));
	em_to(e, over, e->at);
	restore_live(j);
}

/* ---- EFLAGS.AC --------------------------------------------------------- */

static void set_mode(struct jit *j, u8 mode)
{
	struct emit *e = &j->e;

	if (j->mode == mode)
		return;
	em_insn(e, OP_LEA, H_A,
		em_at(H_CPU, (s32)(offsetof(struct bt_cpu, mmu) +
				   mode * sizeof(struct bt_tlb))));
	em_insn(e, OP_STORE, H_A, JIT_FIELD(tlb));
	em_insn(e, OP_MOV_IMM8, 0, JIT_FIELD(mode));
	em_byte(e, mode);
	j->mode = mode;
}

static void stac(struct jit *j)
{
	save_live(j);
	eflags_op(j, DIGIT_OR, FLAG_AC);
	restore_live(j);
	set_mode(j, MMU_KERNEL_AC);
}

/* Without CR4.SMAP the mode stays what it is: by the function, behind which
 * the run loop finds that it is another one than the code is for. */
static void clac(struct jit *j)
{
	save_live(j);
	if (j->mode == MMU_KERNEL_AC) {
		em_insn(&j->e, OP_TEST_IMM32, 0, JIT_FIELD(cr4));
		em_bytes(&j->e, CR4_SMAP, 4);
		jit_to_cold(j, CC_E, j->jit->exec, j->n);
	}
	eflags_op(j, DIGIT_AND, ~(u32)FLAG_AC);
	restore_live(j);
	set_mode(j, MMU_KERNEL);
}

/* ---- GS ---------------------------------------------------------------- */

static void swapgs(struct jit *j)
{
	struct emit *e = &j->e;

	em_insn(e, OP_LOAD, H_A, JIT_FIELD(seg[X86_GS].base));
	em_insn(e, OP_LOAD, H_C, JIT_FIELD(msr.kernel_gs_base));
	em_insn(e, OP_STORE, H_C, JIT_FIELD(seg[X86_GS].base));
	em_insn(e, OP_STORE, H_C, JIT_FIELD(seg_base[X86_GS]));
	em_insn(e, OP_STORE, H_A, JIT_FIELD(msr.kernel_gs_base));
}

static s32 segment_field(unsigned seg, size_t offset)
{
	return (s32)(offsetof(struct bt_cpu, seg) +
		     seg * sizeof(struct x86_segment) + offset);
}

/* Of 32 and 64 bits the rest of the register is zero ([1] MOV). */
static void mov_from_segment(struct jit *j)
{
	const struct bt_insn *i = jit_insn(j);
	unsigned seg = (i->mem ? i->a : i->b) & 7, n = i->a / 8;
	struct emit *e = &j->e;
	struct em_rm from = em_at(
		H_CPU,
		segment_field(seg, offsetof(struct x86_segment, selector)));

	if (seg >= X86_SEGS || (!i->mem && n == X86_RSP)) {
		jit_by_function(j);
	} else if (i->mem) {
		jit_address(j);
		jit_check(j, 2, true);
		em_insn(e, OP_MOVZX16, H_C, from);
		em_insn(e, OP_STORE16, H_C, em_at(H_A, 0));
	} else if (jit_in_memory(n)) {
		em_insn(e, OP_MOVZX16, H_C, from);
		em_insn(e, i->width == W16 ? OP_STORE16 : OP_STORE, H_C,
			jit_gpr(n));
	} else {
		em_insn(e, i->width == W16 ? OP_LOAD16 : OP_MOVZX16, n, from);
	}
}

/* ---- FS and GS bases --------------------------------------------------- */

static void check_fsgsbase(struct jit *j)
{
	em_insn(&j->e, OP_TEST_IMM32, 0, JIT_FIELD(cr4));
	em_bytes(&j->e, CR4_FSGSBASE, 4);
	jit_to_cold(j, CC_E, j->jit->exec, j->n);
}

static void read_base(struct jit *j, unsigned seg)
{
	const struct bt_insn *i = jit_insn(j);
	unsigned n = i->a / 8, dst = jit_in_memory(n) ? H_C : n;

	if (n == X86_RSP) {
		jit_by_function(j);
		return;
	}
	save_live(j);
	check_fsgsbase(j);
	restore_live(j);
	em_insn(&j->e, i->width == W64 ? OP_LOAD : OP_LOAD32, dst,
		em_at(H_CPU,
		      segment_field(seg, offsetof(struct x86_segment, base))));
	if (dst == H_C)
		em_insn(&j->e, OP_STORE, H_C, jit_gpr(n));
}

/* Not canonical: the function raises. */
static void write_base(struct jit *j, unsigned seg)
{
	const struct bt_insn *i = jit_insn(j);
	struct emit *e = &j->e;
	unsigned n = i->a / 8;

	save_live(j);
	check_fsgsbase(j);
	em_insn(e, i->width == W64 ? OP_LOAD : OP_LOAD32, H_A,
		em_reg(jit_use(j, n, H_A)));
	if (i->width == W64) {
		em_mov(e, H_C, H_A);
		em_insn(e, EM_W | OP_SHIFT_IMM, 4, em_reg(H_C));
		em_byte(e, 16);
		em_insn(e, EM_W | OP_SHIFT_IMM, 7, em_reg(H_C));
		em_byte(e, 16);
		em_insn(e, OP_CMP, H_C, em_reg(H_A));
		jit_to_cold(j, CC_NE, j->jit->exec, j->n);
	}
	em_insn(e, OP_STORE, H_A,
		em_at(H_CPU,
		      segment_field(seg, offsetof(struct x86_segment, base))));
	em_insn(e, OP_STORE, H_A,
		em_at(H_CPU,
		      (s32)(offsetof(struct bt_cpu, seg_base) + 8 * seg)));
	restore_live(j);
}

static void rdfsbase(struct jit *j)
{
	read_base(j, X86_FS);
}

static void rdgsbase(struct jit *j)
{
	read_base(j, X86_GS);
}

static void wrfsbase(struct jit *j)
{
	write_base(j, X86_FS);
}

static void wrgsbase(struct jit *j)
{
	write_base(j, X86_GS);
}

/* ---- control registers ------------------------------------------------- */

static void mov_from_control(struct jit *j)
{
	static const u32 field[] = {
		offsetof(struct bt_cpu, cr0), 0,
		offsetof(struct bt_cpu, cr2), offsetof(struct bt_cpu, cr3),
		offsetof(struct bt_cpu, cr4),
	};
	const struct bt_insn *i = jit_insn(j);
	unsigned n = i->a / 8, dst = jit_in_memory(n) ? H_C : n;

	if (i->b >= ARRAY_SIZE(field) || !field[i->b] || n == X86_RSP) {
		jit_by_function(j);
		return;
	}
	em_insn(&j->e, OP_LOAD, dst, em_at(H_CPU, (s32)field[i->b]));
	if (dst == H_C)
		em_insn(&j->e, OP_STORE, H_C, jit_gpr(n));
}

/* ---- time -------------------------------------------------------------- */

#define EM_RORX (EM_VEX | EM_F2 | EM_0F3A | EM_W | 0xf0)

/* No flag may change: JRCXZ decides, LEA adds, RORX shifts by half. */
static void rdtsc(struct jit *j, bool with_aux)
{
	struct emit *e = &j->e;
	u8 *skip;

	if (!j->jit->bmi2) {
		jit_by_function(j);
		return;
	}
	em_mov(e, H_A, X86_RCX);
	em_insn(e, OP_LOAD, X86_RCX,
		em_at(H_CPU, (s32)(offsetof(struct bt_cpu, rdtsc_slow) +
				   8 * j->mode)));
	em_bytes(e, 0x00e3, 2); /* jrcxz */
	skip = e->at;
	em_mov(e, X86_RCX, H_A);
	jit_to_cold(j, 16, j->jit->exec_f, j->n);
	if (!e->full)
		skip[-1] = (u8)(e->at - skip);
	em_mov(e, X86_RCX, H_A);
	if (with_aux)
		em_bytes(e, 0xe8ae0f, 3); /* lfence */
	em_bytes(e, 0x310f, 2);		  /* rdtsc */
	em_insn(e, EM_RORX, X86_RDX, em_reg(X86_RDX));
	em_byte(e, 32);
	em_insn(e, OP_LEA, X86_RAX, em_sum(X86_RAX, X86_RDX, 0));
	em_insn(e, OP_LOAD, H_C, JIT_FIELD(rdtsc_offset));
	em_insn(e, OP_LEA, X86_RAX, em_sum(X86_RAX, H_C, 0));
	em_insn(e, EM_RORX, X86_RDX, em_reg(X86_RAX));
	em_byte(e, 32);
	em_insn(e, OP_LOAD32, X86_RDX, em_reg(X86_RDX));
	em_insn(e, OP_LOAD32, X86_RAX, em_reg(X86_RAX));
	if (with_aux)
		em_insn(e, OP_LOAD32, X86_RCX, JIT_FIELD(msr.tsc_aux));
}

/* ---- which ------------------------------------------------------------- */

typedef void bt_system_fn(struct bt_cpu *c, const struct bt_insn *i);

static void rdtsc_alone(struct jit *j)
{
	rdtsc(j, false);
}

static void rdtscp(struct jit *j)
{
	rdtsc(j, true);
}

void jit_system(struct jit *j)
{
	static const struct {
		bt_system_fn *fn;
		void (*emit)(struct jit *j);
		bool kernel; /* a user's goes by the function, which faults */
	} known[] = {
		{bt_op_cli, cli, true},
		{bt_op_sti, sti, true},
		{bt_op_stac, stac, true},
		{bt_op_clac, clac, true},
		{bt_op_swapgs, swapgs, true},
		{bt_op_mov_rc, mov_from_control, true},
		{bt_op_rdtsc, rdtsc_alone, false},
		{bt_op_rdtscp, rdtscp, false},
		{bt_op_cld, cld, false},
		{bt_op_mov_es, mov_from_segment, false},
		{bt_op_rdfsbase, rdfsbase, false},
		{bt_op_rdgsbase, rdgsbase, false},
		{bt_op_wrfsbase, wrfsbase, false},
		{bt_op_wrgsbase, wrgsbase, false},
	};
	bt_system_fn *fn = jit_insn(j)->fn;

	for (unsigned k = 0; k < ARRAY_SIZE(known); k++)
		if (known[k].fn == fn &&
		    (!known[k].kernel || j->mode != MMU_USER)) {
			known[k].emit(j);
			return;
		}
	jit_by_function(j);
}
