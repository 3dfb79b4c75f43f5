/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory in translated code: addresses, the software TLB inline, and the
 * stack window.
 *
 * References: [1] Intel SDM vol. 1 3.7.5 (effective addresses), 3.4.3 (EFLAGS).
 *
 * The check (cache.h says why it is one): with the linear address in H_A,
 *
 *     H_C = H_A >> 7 & index mask           32 bytes an entry
 *     H_A ^= entry.read or .write           the offset, if they match
 *     H_A > 4096 - size: run the instruction by its C function
 *     H_A += entry.host
 *
 * It clobbers the host's flags. Where the guest's are live they are put into
 * bt_cpu.aflags before and fetched back behind, ahead of the access itself:
 * that may be an ADC, or it may fault.
 */
#include "engine/bt/jit_translate.h"

/* ---- flags ------------------------------------------------------------- */

/* mov H_C, rax; lahf; seto al; mov [aflags], ax; mov rax, H_C */
void jit_save_flags(struct jit *j)
{
	struct emit *e = &j->e;

	em_mov(e, H_C, X86_RAX);
	em_byte(e, 0x9f);
	em_bytes(e, 0xc0900f, 3);
	em_insn(e, OP_STORE16, X86_RAX, JIT_FIELD(aflags));
	em_mov(e, X86_RAX, H_C);
}

/* add al, 0x7f makes OF of bit 0; sahf the others. */
void jit_restore_flags(struct jit *j)
{
	struct emit *e = &j->e;

	em_mov(e, H_C, X86_RAX);
	em_insn(e, OP_MOVZX16, X86_RAX, JIT_FIELD(aflags));
	em_bytes(e, 0x7f04, 2);
	em_byte(e, 0x9e);
	em_mov(e, X86_RAX, H_C);
}

/* ---- addresses --------------------------------------------------------- */

unsigned jit_use(struct jit *j, unsigned n, unsigned scratch)
{
	if (n == X86_RSP)
		return H_SP;
	if (!jit_in_memory(n))
		return n;
	em_insn(&j->e, OP_LOAD, scratch, jit_gpr(n));
	return scratch;
}

void jit_page_base(struct jit *j, unsigned reg, s32 off)
{
	u64 va = (j->t->va & ~0xfffull) + (u64)(s64)off;

	if (!j->t->va) {
		em_insn(&j->e, OP_LOAD, reg, JIT_FIELD(ip_page));
		em_insn(&j->e, OP_LEA, reg, em_at(reg, off));
	} else if ((s64)va == (s32)va) {
		em_insn(&j->e, OP_MOV_IMM, 0, em_reg(reg));
		em_bytes(&j->e, (u32)va, 4);
	} else {
		em_short(&j->e, EM_W | 0xb8, reg);
		em_bytes(&j->e, va, 8);
	}
}

/* A base or index register of the operand; EM_NONE: none. */
static unsigned use_address(struct jit *j, u8 off, unsigned scratch)
{
	if (off == BT_REG_ZERO)
		return EM_NONE;
	/* The offset is added here: with the displacement of the instruction
	 * it may be beyond 32 bits. */
	if (off == BT_REG_IP) {
		jit_page_base(j, scratch, jit_next_off(j));
		return scratch;
	}
	return jit_use(j, off / 8, scratch);
}

/* The operand as host registers, using H_A and H_C at most. */
static struct em_rm operand(struct jit *j)
{
	const struct bt_insn *i = jit_insn(j);
	struct em_rm rm = {.mem = true, .disp = i->disp};

	rm.base = (u8)use_address(j, i->b, H_A);
	rm.index = (u8)use_address(j, i->x, H_C);
	rm.scale = i->scale;
	return rm;
}

void jit_address_offset(struct jit *j)
{
	struct em_rm rm = operand(j);

	em_insn(&j->e, jit_insn(j)->asize == W32 ? OP_LEA32 : OP_LEA, H_A, rm);
}

void jit_address(struct jit *j)
{
	const struct bt_insn *i = jit_insn(j);

	jit_address_offset(j);
	if (i->seg != X86_FS && i->seg != X86_GS)
		return;
	/* LEA instead of ADD: it leaves the flags alone. */
	em_insn(&j->e, OP_LOAD, H_C,
		em_at(H_CPU,
		      (s32)(offsetof(struct bt_cpu, seg_base) + 8 * i->seg)));
	em_insn(&j->e, OP_LEA, H_A, em_sum(H_A, H_C, 0));
}

void jit_lea(struct jit *j)
{
	const struct bt_insn *i = jit_insn(j);
	unsigned n = i->a / 8;
	unsigned dst = n == X86_RSP ? H_SP : jit_in_memory(n) ? H_C : n;
	struct em_rm rm = operand(j);
	u32 op = OP_LEA32;

	/* The rest of the register stays; H_C may be the index. */
	if (i->width == W16 && jit_in_memory(n)) {
		em_insn(&j->e, op, H_C, rm);
		em_insn(&j->e, OP_STORE16, H_C, jit_gpr(n));
		return;
	}
	if (i->width == W64 && i->asize == W64)
		op = OP_LEA;
	if (i->width == W16)
		op |= EM_66;
	em_insn(&j->e, op, dst, rm);
	if (jit_in_memory(n))
		em_insn(&j->e, OP_STORE, H_C, jit_gpr(n));
}

/* ---- the software TLB -------------------------------------------------- */

static s32 entry_field(const struct jit *j, size_t field)
{
	size_t table =
		offsetof(struct bt_cpu, mmu) + j->mode * sizeof(struct bt_tlb);

	return (s32)(table + offsetof(struct bt_tlb, e) + field);
}

_Static_assert(sizeof(struct bt_tlb_entry) == 32, "index is va >> 12 << 5");
#define INDEX_MASK ((BT_TLB_ENTRIES - 1) << 5)

/* H_C = H_A >> 7 */
static void shift_index(struct jit *j)
{
	if (j->jit->bmi2) {
		/* rorx H_C, H_A, 7 */
		em_insn(&j->e, EM_VEX | EM_F2 | EM_0F3A | EM_W | 0xf0, H_C,
			em_reg(H_A));
		em_byte(&j->e, 7);
		return;
	}
	em_mov(&j->e, H_C, H_A);
	em_insn(&j->e, EM_W | OP_SHIFT_IMM, 5, em_reg(H_C));
	em_byte(&j->e, 7);
}

/* H_C = how far from the first one the TLB's entry for H_A is. */
static void put_index(struct jit *j)
{
	shift_index(j);
	em_insn(&j->e, OP_GROUP1_32, 4, em_reg(H_C));
	em_bytes(&j->e, INDEX_MASK, 4);
}

void jit_check_flagless(struct jit *j, unsigned size, bool write)
{
	struct emit *e = &j->e;
	size_t tag = write ? offsetof(struct bt_tlb_entry, write)
			   : offsetof(struct bt_tlb_entry, read);

	put_index(j);
	em_insn(e, OP_XOR, H_A, em_sum(H_CPU, H_C, entry_field(j, tag)));
	em_insn(e, EM_W | OP_GROUP1_32, 7, em_reg(H_A));
	em_bytes(e, 4096 - size, 4);
	jit_to_cold(j, CC_A, j->jit->exec, j->n);
	em_insn(e, OP_ADD, H_A,
		em_sum(H_CPU, H_C,
		       entry_field(j, offsetof(struct bt_tlb_entry, host))));
}

void jit_check(struct jit *j, unsigned size, bool write)
{
	bool live = j->note[j->n].live;

	if (live)
		jit_save_flags(j);
	jit_check_flagless(j, size, write);
	if (live)
		jit_restore_flags(j);
}

/* ---- the stack window -------------------------------------------------- */

static struct em_rm window_field(const struct jit *j, size_t field)
{
	return em_at(H_CPU,
		     (s32)(offsetof(struct bt_cpu, window) +
			   j->t->mode * sizeof(struct bt_window) + field));
}

struct em_rm jit_window_place(struct jit *j, s32 off)
{
	if (j->held != HELD_WINDOW)
		em_insn(&j->e, OP_LOAD, H_B,
			window_field(j, offsetof(struct bt_window, addend)));
	j->held = HELD_WINDOW;
	return em_sum(H_SP, H_B, off);
}

/* The window moves to where the block's accesses are, if the TLB knows that
 * page as writable. */
static void move_window(struct jit *j)
{
	struct emit *e = &j->e;
	struct em_rm tag =
		em_sum(H_CPU, H_C,
		       entry_field(j, offsetof(struct bt_tlb_entry, write)));
	struct em_rm addend =
		em_sum(H_CPU, H_C,
		       entry_field(j, offsetof(struct bt_tlb_entry, addend)));
	u8 *miss;

	em_insn(e, OP_LEA, H_A, em_at(H_SP, j->t->win_lo));
	put_index(j);
	em_insn(e, OP_XOR, H_A, tag);
	em_insn(e, EM_W | OP_GROUP1_32, 7, em_reg(H_A));
	em_bytes(e, (u32)(4096 - j->t->win_size), 4);
	miss = em_jcc(e, CC_A);
	em_insn(e, OP_LOAD, H_A, tag);
	em_insn(e, OP_STORE, H_A,
		window_field(j, offsetof(struct bt_window, tag)));
	em_insn(e, OP_LOAD, H_A, addend);
	em_insn(e, OP_STORE, H_A,
		window_field(j, offsetof(struct bt_window, addend)));
	if (j->note[0].live)
		jit_restore_flags(j);
	em_to(e, em_jmp(e), j->head + j->t->at[0].host);
	em_to(e, miss, e->at);
}

/*
 * The block's accesses are not in the window's page. If they cross pages, or
 * for WIDE in any case, the next level is to run: the jump to it is patched in
 * by bt_jit_window().
 */
static void window_miss(struct jit *j)
{
	struct emit *e = &j->e;
	u8 *inside = NULL;

	move_window(j);
	if (j->level == LEVEL_NARROW) {
		em_insn(e, OP_LEA, H_C, em_at(H_SP, j->t->win_lo));
		em_insn(e, OP_GROUP1_32, 4, em_reg(H_C));
		em_bytes(e, 0xfff, 4);
		em_insn(e, OP_GROUP1_32, 7, em_reg(H_C));
		em_bytes(e, (u32)(4096 - j->t->win_size), 4);
		inside = em_jcc(e, CC_BE);
	}
	if (j->note[0].live)
		jit_restore_flags(j);
	jit_patchable(j);
	if (inside)
		em_to(e, inside, e->at);
}

/* At the block's beginning: all that it accesses through RSP lies in the page
 * of the window. */
void jit_window_check(struct jit *j)
{
	struct emit *e = &j->e;
	bool live = j->note[0].live;

	if (!j->t->win_size)
		return;
	if (live)
		jit_save_flags(j);
	em_insn(e, OP_LEA, H_C, em_at(H_SP, j->t->win_lo));
	em_insn(e, OP_XOR, H_C,
		window_field(j, offsetof(struct bt_window, tag)));
	em_insn(e, EM_W | OP_GROUP1_32, 7, em_reg(H_C));
	em_bytes(e, (u32)(4096 - j->t->win_size), 4);
	jit_to_cold_with(j, CC_A, j->jit->window, window_miss);
	if (live)
		jit_restore_flags(j);
}
