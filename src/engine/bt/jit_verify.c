/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of emitted code; see jit_verify.h.
 *
 * A translation is one run of instructions with jumps forward (and to its body,
 * where a vCPU may come from anywhere), so one walk in order knows at each
 * place what R8, R9 and R10 are. Rules:
 *
 *  1. Each instruction is on the list of jit_rules.c, without a segment or an
 *     address-size prefix.
 *  2. The host's RSP is no operand. It is the base of accesses to the fields of
 *     bt_cpu that jit_rules.c lists, to the TLB of the block's mode within a
 *     check, and to its landings by a number that is known to be small enough.
 *  3. Every other access is
 *      - at a register that a TLB check has made an address, and nothing has
 *        changed since, within the size that was checked, for writing only if
 *        that was checked for; or
 *      - at R11 plus the stack window's addend in R9, within what the check at
 *        the block's beginning covers, as long as it is known how far R11 has
 *        moved since.
 *  4. Jumps and calls lead to instructions of the block, or to the thunks; a
 *     call of a thunk is followed by the word that tells the thunk who called,
 *     but that of a string routine (jit_string.c), which returns.
 *  5. Between kernel modes the code may change, by writing bt_cpu.tlb and
 *     bt_cpu.mode one after the other. What the mode is at an instruction of
 *     the guest, bt_place says.
 *  6. The host's stack is used by PUSHF alone, with a POP behind it.
 *  7. SIMD and x87 instructions run where bt_cpu.fpu_ready was found to allow
 *     them: else the registers are the host's.
 *
 * Where ways meet, of the registers nothing is known, of the stack and the FPU
 * what all of them know. Other blocks come by the entries: to the body knowing
 * nothing, and to the first place when they have looked at the stack and the
 * FPU for us: then they rely on what struct bt_trans says of the window, of the
 * FPU and of RSP at the end, so that has to be true here. Where an instruction
 * of the guest begins, code may be entered after the C function of the one
 * before: R8 and R10 are unknown then, R9 is what bt_place.held says, the FPU
 * is as at the beginning, and the stack's pointer has moved as it would have in
 * the code (a function that closes the window clears bt_cpu.end, and the block
 * is left).
 */
#include "engine/bt/jit_verify.h"

#include "engine/bt/decode.h"

/* ---- what is known ----------------------------------------------------- */

enum kind {
	V_ANY,
	V_SHIFTED, /* a value shifted right by 7 */
	V_INDEX,   /* of its TLB entry, times 32 */
	V_OFFSET,  /* the value XOR the entry's tag */
	V_CHECKED, /* found to be a place in the page, n bytes from its end */
	V_HOST,	   /* a host address, n bytes may be accessed */
	V_STACK_OFFSET, /* as V_OFFSET, of V_STACK */
	V_STACK,	/* RSP as it was at the beginning, plus n */
	V_WINDOW_OFFSET,
	V_ADDEND,   /* of the stack window */
	V_NUMBER,   /* n at most */
	V_LANDING,  /* even, n at most */
	V_TAG,	    /* a TLB entry's tag for writing, and */
	V_PAGE,	    /* its addend */
	V_TABLE,    /* the TLB of mode n */
	V_FPU,	    /* bt_cpu.fpu_ready */
	V_FPU_BITS, /* n of it */
};

struct value {
	u8 kind;
	bool write; /* V_OFFSET to V_HOST */
	u32 id;	    /* of the value; a new one with each change */
	u32 of;	    /* V_SHIFTED to V_CHECKED: the value that this is about */
	s64 n;
};

enum { FIRST = H_A, TRACKED = 3 }; /* R8, R9, R10 */

/* What is known of the stack at a jump. */
struct shot {
	u32 target;
	bool sp_known, addend;
	u8 fpu;
	s64 sp, lo, hi;
};

enum { SHOTS = 512 };

struct walk {
	const struct jit_suspect *s;
	u8 *marks;
	u32 off; /* of the instruction */
	struct bt_insn i;
	struct bt_parts p;
	const struct bt_row *row;
	unsigned reg, rm; /* numbers in ModRM's fields, or the opcode's */
	unsigned place;	  /* the next one */
	u32 ids;
	struct value r[TRACKED];
	bool sp_known;
	s64 sp;	    /* R11 minus what it was at the beginning */
	s64 lo, hi; /* the checked part of the stack, likewise */
	u32 found;  /* of whom the entry's page has [found_lo, found_hi) */
	s64 found_lo, found_hi;
	bool torn;   /* the window's tag has been written, its addend not yet */
	u8 mode;     /* enum bt_mmu here */
	int table;   /* bt_cpu.tlb is this mode's, bt_cpu.mode not yet; or -1 */
	bool pushed; /* there is something on the host's stack */
	bool dead;   /* no way leads here from the instruction before */
	struct shot *shot; /* SHOTS of them */
	unsigned shots;
	int cmp; /* tracked register that was just compared, -1: none */
	s64 cmp_with;
	u8 fpu;	    /* OR of FPU_READY_* that have been found */
	u8 fpu_cmp; /* the same, being looked at by the comparison before */
};

static void set(struct walk *w, unsigned reg, struct value val)
{
	val.id = ++w->ids;
	w->r[reg - FIRST] = val;
}

static void forget(struct walk *w, unsigned reg)
{
	set(w, reg, (struct value){.kind = V_ANY});
}

static bool tracked(unsigned reg)
{
	return reg - FIRST < TRACKED;
}

static const struct value *known(const struct walk *w, unsigned reg)
{
	static const struct value nothing;

	return tracked(reg) ? &w->r[reg - FIRST] : &nothing;
}

static void forget_all(struct walk *w)
{
	for (unsigned k = 0; k < TRACKED; k++)
		forget(w, FIRST + k);
	w->sp_known = false;
	w->lo = w->hi = 0;
	w->found = 0;
	w->fpu = w->fpu_cmp = 0;
}

/* ---- the instruction --------------------------------------------------- */

#define NO_WHY ((const char *)0)

static const char *decode(struct walk *w)
{
	u32 left = w->s->size - w->off;

	if (bt_decode(w->s->bytes + w->off, left, W64, ~0ull, &w->i, &w->p) !=
	    BT_DECODE_OK)
		return "no instruction";
	w->row = &bt_rows[w->i.row];
	w->reg = (w->p.modrm >> 3 & 7) | (w->p.rex & 4u) << 1;
	w->rm = ((w->p.has_modrm ? w->p.modrm : w->p.opcode) & 7) |
		(w->p.rex & 1u) << 3;
	return NO_WHY;
}

static bool is(const struct walk *w, unsigned map, unsigned opcode)
{
	return w->p.map == map && w->p.opcode == opcode;
}

static bool is_jcc(const struct walk *w)
{
	return w->p.map == 1 && (w->p.opcode & 0xf0) == 0x80;
}

static bool is_jump(const struct walk *w)
{
	return is_jcc(w) || is(w, 0, 0xe3) || is(w, 0, 0xe8) ||
	       is(w, 0, 0xe9) || (is(w, 0, 0xff) && (w->reg & 7) == 4);
}

static bool has_base(const struct walk *w, unsigned reg)
{
	return w->i.mem && w->i.b == BT_REG(reg);
}

static bool has_index(const struct walk *w, unsigned reg, unsigned scale)
{
	return w->i.mem && w->i.x == BT_REG(reg) && w->i.scale == scale;
}

/* Bytes of the access. A record fresh from the decoder has no VEX.L yet. */
static unsigned access_size(const struct walk *w)
{
	const struct bt_row *row = w->row;
	unsigned size = w->p.vex_l ? row->mem_size_l1 : row->mem_size;

	if (row->attrs & ROW_SIMD)
		return size ? size : w->p.rex & 8 ? 8 : 4;
	if (row->jit_size == JIT_SIZE_DOUBLE)
		return 2u << w->i.width;
	return row->jit_size ? row->jit_size : 1u << w->i.width;
}

static bool writes_memory(const struct walk *w)
{
	return w->row->jit_ops & JIT_M_W;
}

/* The fields that name general registers. Without REX, byte registers 4 to 7
 * are AH, CH, DH and BH. */
struct named {
	unsigned count;
	unsigned reg[3];
	bool written[3];
};

static void add_name(struct named *n, unsigned reg, u8 ops)
{
	n->reg[n->count] = reg;
	n->written[n->count++] = ops & 2;
}

static bool is_low(const struct walk *w, u8 rule, unsigned reg)
{
	return rule == REG_GPR || (rule == REG_BYTE && (w->p.rex || reg < 4));
}

static struct named names(const struct walk *w)
{
	const struct bt_decode_rule *rule = &bt_decode_rules[w->i.row];
	struct named n = {0};
	u8 ops = w->row->jit_ops;

	if (is_low(w, rule->reg, w->reg))
		add_name(&n, w->reg, ops & 3);
	if (!w->i.mem && is_low(w, rule->rm, w->rm))
		add_name(&n, w->rm, ops >> 2 & 3);
	for (const char *o = w->row->operands; *o; o++)
		if (*o == 'B' && w->row->attrs & ROW_VVVV) {
			add_name(&n, w->p.vvvv, ops >> 4 & 3);
			break;
		}
	return n;
}

/* ---- rule 4: jumps ----------------------------------------------------- */

static s64 target_of(const struct walk *w)
{
	return (s64)w->off + w->i.len + (s64)(s32)w->p.imm;
}

/* The thunk at an offset from the head, as an executable address. */
static const u8 *outside(const struct walk *w, s64 target)
{
	return w->s->jit->code.exec + w->s->at + target;
}

/* Is it a routine for REP MOVS or REP STOS, for the mode or, -1, any? */
static bool is_routine(const struct walk *w, const u8 *to, int mode)
{
	const struct bt_jit *jit = w->s->jit;

	for (int m = 0; m < MMU_COUNT; m++)
		for (unsigned width = W8; width <= W64; width++)
			if ((mode < 0 || mode == m) &&
			    (to == jit->stos[m][width] ||
			     to == jit->movs[m][width]))
				return true;
	return false;
}

/* How many callers' numbers the thunk takes; 0: it is none. */
static unsigned thunk_numbers(const struct walk *w, const u8 *to)
{
	const struct bt_jit *jit = w->s->jit;

	if (to == jit->exec || to == jit->exec_f || to == jit->fpu)
		return w->s->t->block->count;
	if (to == jit->link_f)
		return w->s->ways;
	return to == jit->window || to == jit->poll_f || to == jit->lost_f;
}

#define DATA_BYTES 4

static const char *check_call(const struct walk *w)
{
	unsigned numbers = thunk_numbers(w, outside(w, target_of(w)));
	u32 at = w->off + w->i.len, word = 0;

	if (is_routine(w, outside(w, target_of(w)), -1))
		return NO_WHY;
	if (!numbers)
		return "call of what is no thunk";
	if (w->s->size - at < DATA_BYTES)
		return "call without a word of data";
	for (unsigned k = 0; k < DATA_BYTES; k++)
		word |= (u32)w->s->bytes[at + k] << (8 * k);
	if ((word & 0xffffff) != at || word >> 24 >= numbers)
		return "call with other data than its own";
	return NO_WHY;
}

static const char *note_jump(struct walk *w)
{
	s64 target = target_of(w);

	if (is(w, 0, 0xff))
		return NO_WHY; /* rule 2 */
	if (is(w, 0, 0xe8))
		return check_call(w);
	if (is(w, 0, 0xe9) && outside(w, target) == w->s->jit->miss)
		return NO_WHY;
	/* Where nothing is taken for granted, and where the second pass looks
	 * whether it may be. */
	if (is(w, 0, 0xe9) &&
	    (target == w->s->t->body || target == w->s->t->at[0].host))
		return NO_WHY;
	/* Backwards would be a loop that looks at no attention. */
	if (target <= w->off || target >= w->s->size)
		return "jump out of the block, or back";
	w->marks[target] |= MARK_TARGET;
	return NO_WHY;
}

static u32 length(const struct walk *w)
{
	bool data =
		is(w, 0, 0xe8) && !is_routine(w, outside(w, target_of(w)), -1);

	return w->i.len + (data ? DATA_BYTES : 0u);
}

/* ---- the first pass: where instructions begin, and rules 1 and 4 ------- */

static const char *check_form(const struct walk *w)
{
	if (!jit_rule_allows(&w->i, &w->p))
		return "forbidden instruction";
	if (w->row->attrs & (ROW_PRIV | ROW_VSIB) ||
	    (w->row->attrs & ROW_END && !is_jump(w)))
		return "forbidden instruction";
	if (w->p.segment != 0xff || w->p.addrsize)
		return "segment or address-size prefix";
	return is_jump(w) && w->p.opsize ? "jump of 16 bits" : NO_WHY;
}

static const char *first_pass(struct walk *w)
{
	const char *why = NO_WHY;

	for (u32 k = 0; k < w->s->size; k++)
		w->marks[k] = 0;
	for (w->off = 8; w->off < w->s->size; w->off += length(w)) {
		w->marks[w->off] |= MARK_START;
		why = decode(w);
		if (!why)
			why = check_form(w);
		if (!why && is_jump(w))
			why = note_jump(w);
		if (why)
			return why;
	}
	return w->off == w->s->size ? NO_WHY : "ends in an instruction";
}

/* Whatever is jumped to or entered is an instruction of the block. */
static const char *check_marks(struct walk *w)
{
	const struct bt_trans *t = w->s->t;
	const u16 entries[] = {t->ind, t->poll, t->poll_in, t->body, t->lost};

	for (w->off = 0; w->off < w->s->size; w->off++)
		if (w->marks[w->off] && !(w->marks[w->off] & MARK_START))
			return "jump into an instruction";
	for (unsigned k = 0; k < ARRAY_SIZE(entries); k++) {
		w->off = entries[k];
		if (w->off >= w->s->size || !(w->marks[w->off] & MARK_START))
			return "entry into an instruction";
	}
	for (unsigned n = 0; n <= t->block->count; n++) {
		w->off = t->at[n].host;
		if (w->off >= w->s->size || w->off < t->body ||
		    !(w->marks[w->off] & MARK_START))
			return "place within an instruction";
		if (n && t->at[n].host < t->at[n - 1].host)
			return "places out of order";
	}
	return NO_WHY;
}

/* ---- rule 2: the checks themselves ------------------------------------- */

static s64 tlb_field(const struct walk *w, size_t field)
{
	return (s64)(offsetof(struct bt_cpu, mmu) +
		     w->mode * sizeof(struct bt_tlb) +
		     offsetof(struct bt_tlb, e) + field);
}

static s64 window_field(const struct walk *w, size_t field)
{
	return (s64)(offsetof(struct bt_cpu, window) +
		     w->s->t->mode * sizeof(struct bt_window) + field);
}

static s64 landing_field(const struct walk *w, size_t field)
{
	return (s64)(offsetof(struct bt_cpu, land) +
		     bt_landing_base(w->mode) * sizeof(struct bt_landing) +
		     field);
}

#define INDEX_MASK ((BT_TLB_ENTRIES - 1) * (s64)sizeof(struct bt_tlb_entry))
_Static_assert(sizeof(struct bt_tlb_entry) == 1 << (12 - 7),
	       "shifted by 7, a page number counts entries");

/* xor r, [RSP + index + tag] and add r, [RSP + index + host]. False: it is
 * neither, or not of this register's entry. */
static bool step_tlb(struct walk *w)
{
	const struct value *v = known(w, w->reg);
	const struct value *x = known(w, w->i.x / 8);

	if (!tracked(w->reg) || !has_base(w, H_CPU) || w->i.scale ||
	    x->kind != V_INDEX || w->i.width != W64 || w->i.lock)
		return false;
	if (is(w, 0, 0x33) && x->of == v->id) {
		bool read = w->i.disp ==
			    tlb_field(w, offsetof(struct bt_tlb_entry, read));
		bool write = w->i.disp ==
			     tlb_field(w, offsetof(struct bt_tlb_entry, write));

		set(w, w->reg,
		    (struct value){v->kind == V_STACK ? V_STACK_OFFSET
						      : V_OFFSET,
				   write, .of = v->id, .n = v->n});
		return read || write;
	}
	if (is(w, 0, 0x03) && v->kind == V_CHECKED && x->of == v->of &&
	    w->i.disp == tlb_field(w, offsetof(struct bt_tlb_entry, host))) {
		set(w, w->reg, (struct value){V_HOST, v->write, .n = v->n});
		return true;
	}
	return false;
}

/* xor r, [RSP + window.tag] with RSP plus something in r. */
static bool step_window(struct walk *w)
{
	const struct value *v = known(w, w->reg);
	bool tag =
		w->i.disp == window_field(w, offsetof(struct bt_window, tag));

	if (!is(w, 0, 0x33) || !has_base(w, H_CPU) || w->i.x != BT_REG_ZERO ||
	    !tag || w->i.width != W64 || v->kind != V_STACK)
		return false;
	set(w, w->reg, (struct value){V_WINDOW_OFFSET, .n = v->n});
	return true;
}

/* The window moves to the page in which a check has found the stack: mov r,
 * [RSP + index + tag]; mov [window.tag], r; the same with the addend. */
static bool step_move(struct walk *w)
{
	const struct value *v = known(w, w->reg), *x = known(w, w->i.x / 8);
	bool load = is(w, 0, 0x8b) && x->kind == V_INDEX && x->of == w->found &&
		    w->found && !w->i.scale;
	bool store = is(w, 0, 0x89) && w->i.x == BT_REG_ZERO;
	s64 off = w->i.disp;

	if (!tracked(w->reg) || !has_base(w, H_CPU) || w->i.width != W64)
		return false;
	if (load && off == tlb_field(w, offsetof(struct bt_tlb_entry, write))) {
		set(w, w->reg, (struct value){.kind = V_TAG, .of = w->found});
	} else if (load &&
		   off == tlb_field(w, offsetof(struct bt_tlb_entry, addend))) {
		set(w, w->reg, (struct value){.kind = V_PAGE, .of = w->found});
	} else if (store && v->kind == V_TAG && v->of == w->found &&
		   off == window_field(w, offsetof(struct bt_window, tag))) {
		w->torn = true;
		w->lo = w->hi = 0;
	} else if (store && v->kind == V_PAGE && v->of == w->found && w->torn &&
		   off == window_field(w, offsetof(struct bt_window, addend))) {
		w->torn = false;
		w->lo = w->found_lo;
		w->hi = w->found_hi;
	} else {
		return false;
	}
	return true;
}

/* lea r, [the TLB of a kernel's mode]; mov [tlb], r; mov byte [mode], that. */
static bool step_mode(struct walk *w)
{
	s64 table = w->i.disp - (s64)offsetof(struct bt_cpu, mmu);
	s64 mode = table / (s64)sizeof(struct bt_tlb);
	const struct value *v = known(w, w->reg);

	if (!has_base(w, H_CPU) || w->i.x != BT_REG_ZERO ||
	    w->s->t->mode == MMU_USER)
		return false;
	if (is(w, 0, 0x8d) && w->i.width == W64 && tracked(w->reg) &&
	    (mode == MMU_KERNEL || mode == MMU_KERNEL_AC) &&
	    table % (s64)sizeof(struct bt_tlb) == 0) {
		set(w, w->reg, (struct value){V_TABLE, .n = mode});
		return true;
	}
	if (is(w, 0, 0x89) && w->i.width == W64 && v->kind == V_TABLE &&
	    w->i.disp == offsetof(struct bt_cpu, tlb)) {
		w->table = (int)v->n;
		return true;
	}
	if (is(w, 0, 0xc6) && w->table >= 0 && w->i.imm == w->table &&
	    w->i.disp == offsetof(struct bt_cpu, mode)) {
		w->mode = (u8)w->table;
		w->table = -1;
		return true;
	}
	return false;
}

/* PUSHF, and the POP right behind it. */
static const char *step_push(struct walk *w)
{
	bool pop = w->p.map == 0 && (w->p.opcode & 0xf8) == 0x58;

	if (w->pushed != pop || (pop && !tracked(w->rm)) || w->p.opsize)
		return "the host's stack";
	w->pushed = !pop;
	if (pop)
		forget(w, w->rm);
	return NO_WHY;
}

static bool uses_stack(const struct walk *w)
{
	return is(w, 0, 0x9c) ||
	       (w->p.map == 0 && (w->p.opcode & 0xf8) == 0x58);
}

/* A bit of memory by a number in a register, which may reach anywhere. */
static bool is_bit_string(const struct walk *w)
{
	return w->i.mem && (is(w, 1, 0xa3) || is(w, 1, 0xab) ||
			    is(w, 1, 0xb3) || is(w, 1, 0xbb));
}

/* A comparison with what a place must not exceed, right before a JA: behind
 * that it is a place from which this many bytes lie in the page. */
static void note_compare(struct walk *w)
{
	bool group1 = is(w, 0, 0x81) && (w->reg & 7) == 7;

	w->cmp = -1;
	if (!group1 || w->i.mem || !tracked(w->rm) || w->i.width != W64 ||
	    w->i.imm < 0 || w->i.imm >= 4096)
		return;
	w->cmp = (int)w->rm;
	w->cmp_with = w->i.imm;
}

/* and r, bits; cmp r, bits; jne: behind that the FPU is ready for them. */
static void note_fpu(struct walk *w)
{
	bool group1 = is(w, 0, 0x83) && (w->reg & 7) == 7;
	const struct value *v = known(w, w->rm);

	w->fpu_cmp = 0;
	if (group1 && !w->i.mem && w->i.width == W32 && v->kind == V_FPU_BITS &&
	    v->n == w->i.imm)
		w->fpu_cmp = (u8)v->n;
}

static const char *check_fpu(const struct walk *w)
{
	if (!(w->row->attrs & ROW_SIMD) ||
	    !(bt_jit_fpu_needed(w->row) & ~w->fpu))
		return NO_WHY;
	return "no look at the FPU before";
}

static void step_above(struct walk *w)
{
	struct value *v;

	if (w->cmp < 0 || !is(w, 1, 0x87))
		return;
	v = &w->r[w->cmp - FIRST];
	if (v->kind == V_STACK_OFFSET && v->write) {
		w->found = v->of;
		w->found_lo = v->n;
		w->found_hi = v->n + 4096 - w->cmp_with;
	}
	if (v->kind == V_OFFSET || v->kind == V_STACK_OFFSET) {
		v->kind = V_CHECKED;
		v->n = 4096 - w->cmp_with;
	} else if (v->kind == V_WINDOW_OFFSET) {
		w->lo = v->n;
		w->hi = v->n + 4096 - w->cmp_with;
	}
}

/* [RSP + 8 * number + field of a landing] */
static bool is_landing(struct walk *w, size_t field)
{
	const struct value *x = known(w, H_B);

	return has_base(w, H_CPU) && has_index(w, H_B, 3) &&
	       w->i.disp == landing_field(w, field) && x->kind == V_LANDING &&
	       x->n <= 2 * (s64)(bt_landings(w->mode) - 1);
}

/* ---- rules 2 and 3: accesses ------------------------------------------- */

static const char *check_cpu(struct walk *w)
{
	if (w->i.x != BT_REG_ZERO) {
		if (is(w, 0, 0x8b) &&
		    is_landing(w, offsetof(struct bt_landing, key)))
			return NO_WHY;
		return "indexed access to bt_cpu that is no check";
	}
	if (!jit_rule_field(w->i.disp, access_size(w), writes_memory(w)))
		return "access to a field of bt_cpu that is not emitted code's";
	return NO_WHY;
}

static const char *check_stack(struct walk *w, unsigned size)
{
	s64 from = w->sp + w->i.disp;

	if (!has_index(w, H_B, 0) || known(w, H_B)->kind != V_ADDEND)
		return "access by R11 without the stack window's addend";
	if (!w->sp_known)
		return "access by R11, which may have been moved";
	if (from < w->lo || from + size > w->hi)
		return "access beyond the checked part of the stack";
	return NO_WHY;
}

static const char *check_host(struct walk *w)
{
	const struct value *v = known(w, w->i.b / 8);

	if (v->kind != V_HOST || w->i.x != BT_REG_ZERO)
		return "access at what is no checked address";
	if (w->i.disp < 0 || w->i.disp + (s64)access_size(w) > v->n)
		return "access of more than was checked";
	if (writes_memory(w) && !v->write)
		return "write at what was checked for reading";
	if (is_bit_string(w) && (known(w, w->reg)->kind != V_NUMBER ||
				 known(w, w->reg)->n >= 8 * access_size(w)))
		return "a bit beyond what was checked";
	return NO_WHY;
}

static const char *check_access(struct walk *w)
{
	if (!w->i.mem)
		return NO_WHY;
	if (w->i.b == BT_REG_ZERO || w->i.b == BT_REG_IP)
		return "access without a base";
	if (has_base(w, H_CPU))
		return check_cpu(w);
	if (has_base(w, H_SP))
		return check_stack(w, access_size(w));
	return check_host(w);
}

/* ---- effects on registers ---------------------------------------------- */

/* ADD and SUB with an immediate. */
static bool moves_by(const struct walk *w, s64 *by)
{
	bool group1 = is(w, 0, 0x81) || is(w, 0, 0x83);
	unsigned op = w->reg & 7;

	if (!group1 || w->i.mem || w->i.width != W64 || (op != 0 && op != 5))
		return false;
	*by = op ? -(s64)w->i.imm : w->i.imm;
	return true;
}

static const char *step_names(struct walk *w)
{
	struct named n = names(w);
	s64 by;

	for (unsigned k = 0; k < n.count; k++) {
		if (n.reg[k] == H_CPU)
			return "the host's RSP as an operand";
		if (tracked(n.reg[k]))
			forget(w, n.reg[k]);
		if (n.reg[k] != H_SP || !n.written[k])
			continue;
		if (moves_by(w, &by))
			w->sp += by;
		else
			w->sp_known = false;
	}
	return NO_WHY;
}

static const char *step_lea(struct walk *w)
{
	bool plain = w->i.width == W64 && w->i.x == BT_REG_ZERO;
	bool stack = has_base(w, H_SP) && plain && w->sp_known;
	const struct value *b = known(w, w->i.b / 8);

	if (w->reg == H_CPU || has_base(w, H_CPU))
		return "the host's RSP as an operand";
	if (w->reg == H_SP) {
		w->sp_known = stack;
		w->sp += w->i.disp;
	} else if (tracked(w->reg) && has_base(w, H_SP) && w->i.width == W64 &&
		   !check_stack(w, 0)) {
		set(w, w->reg,
		    (struct value){V_HOST, true,
				   .n = w->hi - w->sp - w->i.disp});
	} else if (tracked(w->reg) && stack) {
		set(w, w->reg, (struct value){V_STACK, .n = w->sp + w->i.disp});
	} else if (w->reg == H_B && has_base(w, H_B) && has_index(w, H_B, 0) &&
		   !w->i.disp && b->kind == V_NUMBER) {
		set(w, H_B, (struct value){V_LANDING, .n = 2 * b->n});
	} else if (tracked(w->reg)) {
		forget(w, w->reg);
	}
	return NO_WHY;
}

/* mov r, r; rorx r, r, 7; shr r, 7; and r, mask; mov r, imm; pext r, r, mask;
 * shr r, imm; mov r, [addend]. False: it is none of those. */
static bool step_value(struct walk *w)
{
	struct value from = *known(w, w->rm);
	bool long_op = w->i.width == W64;
	bool reg_form = !w->i.mem && tracked(w->rm);

	if (is(w, 0, 0x8b) && long_op && reg_form && tracked(w->reg)) {
		w->r[w->reg - FIRST] = from; /* the id as well */
	} else if (is(w, 6, 0xf0) && long_op && reg_form && tracked(w->reg) &&
		   w->p.imm == 7) {
		set(w, w->reg, (struct value){V_SHIFTED, .of = from.id});
	} else if (is(w, 0, 0xc1) && (w->reg & 7) == 5 && long_op && reg_form &&
		   w->p.imm == 7) {
		set(w, w->rm, (struct value){V_SHIFTED, .of = from.id});
	} else if (is(w, 0, 0xc1) && (w->reg & 7) == 5 && w->i.width == W32 &&
		   reg_form && w->p.imm > 0 && w->p.imm < 32) {
		set(w, w->rm,
		    (struct value){V_NUMBER,
				   .n = (1ll << (32 - w->p.imm)) - 1});
	} else if (is(w, 0, 0x83) && (w->reg & 7) == 4 && reg_form &&
		   w->i.width == W32 && w->i.imm >= 0) {
		set(w, w->rm,
		    (struct value){from.kind == V_FPU ? V_FPU_BITS : V_NUMBER,
				   .n = w->i.imm});
	} else if (is(w, 0, 0x81) && (w->reg & 7) == 4 && reg_form &&
		   w->i.imm == INDEX_MASK && from.kind == V_SHIFTED) {
		set(w, w->rm, (struct value){V_INDEX, .of = from.of});
	} else {
		return false;
	}
	return true;
}

static bool step_loaded(struct walk *w)
{
	unsigned mode = w->mode;
	s64 mask = (s64)(offsetof(struct bt_cpu, land_mask) + 8 * mode);

	if (w->p.map == 0 && w->p.opcode >= 0xb8 && w->p.opcode <= 0xbf &&
	    tracked(w->rm) && w->i.width == W32 && !(w->p.imm & 1)) {
		set(w, w->rm, (struct value){V_LANDING, .n = (s64)w->p.imm});
		return true;
	}
	if (!has_base(w, H_CPU) || w->i.x != BT_REG_ZERO || !tracked(w->reg))
		return false;
	if (is(w, 0, 0x8b) && w->i.width == W32 &&
	    w->i.disp == offsetof(struct bt_cpu, fpu_ready)) {
		set(w, w->reg, (struct value){.kind = V_FPU});
		return true;
	}
	if (w->i.width != W64)
		return false;
	if (is(w, 0, 0x8b) &&
	    w->i.disp == window_field(w, offsetof(struct bt_window, addend))) {
		set(w, w->reg, (struct value){.kind = V_ADDEND});
		return true;
	}
	if (is(w, 5, 0xf5) && w->p.prefix == 2 && w->i.disp == mask) {
		set(w, w->reg,
		    (struct value){V_NUMBER, .n = bt_landings(mode) - 1});
		return true;
	}
	return false;
}

/* ---- the second pass --------------------------------------------------- */

static struct shot shoot(const struct walk *w, u32 target)
{
	return (struct shot){
		.target = target,
		.sp_known = w->sp_known,
		.addend = known(w, H_B)->kind == V_ADDEND,
		.fpu = w->fpu,
		.sp = w->sp,
		.lo = w->lo,
		.hi = w->hi,
	};
}

/* What is known on one way and on the other. */
static void meet(struct shot *a, const struct shot *b)
{
	a->sp_known &= b->sp_known && a->sp == b->sp;
	a->addend &= b->addend;
	a->fpu &= b->fpu;
	if (a->lo != b->lo || a->hi != b->hi)
		a->lo = a->hi = 0;
}

static const char *note_shot(struct walk *w)
{
	s64 target = target_of(w);

	if (is(w, 0, 0xff) || target <= w->off || target >= w->s->size)
		return NO_WHY;
	if (w->shots == SHOTS)
		return "more jumps than a block can have";
	w->shot[w->shots++] = shoot(w, (u32)target);
	return NO_WHY;
}

/* Where ways meet, what all of them know of the stack. */
static void join(struct walk *w)
{
	struct shot now = shoot(w, w->off);
	bool any = !w->dead;

	for (unsigned k = 0; k < w->shots; k++) {
		if (w->shot[k].target != w->off)
			continue;
		if (any)
			meet(&now, &w->shot[k]);
		else
			now = w->shot[k];
		any = true;
	}
	forget_all(w);
	if (!any)
		return;
	w->sp_known = now.sp_known;
	w->sp = now.sp;
	w->lo = now.lo;
	w->hi = now.hi;
	w->fpu = now.fpu;
	if (now.addend)
		set(w, H_B, (struct value){.kind = V_ADDEND});
}

/* Does what has been found of the stack cover what the block says it accesses,
 * if it begins here? */
static bool covers_block(const struct walk *w)
{
	const struct bt_trans *t = w->s->t;
	s64 lo = w->sp + t->win_lo;

	return !t->win_size ||
	       (w->sp_known && w->lo <= lo && lo + t->win_size <= w->hi);
}

/* A way to another block: that may count on what this one says of RSP. */
static bool is_way_as_told(const struct walk *w)
{
	const struct bt_trans *t = w->s->t;

	if (outside(w, target_of(w)) != w->s->jit->link_f || !t->sp_known ||
	    !t->win_size)
		return true;
	return w->sp_known && w->sp == t->sp && w->lo <= t->win_lo &&
	       t->win_lo + t->win_size <= w->hi;
}

static const char *step_jump(struct walk *w)
{
	bool routine = is(w, 0, 0xe8) &&
		       is_routine(w, outside(w, target_of(w)), w->mode);
	bool always = !is_jcc(w) && !is(w, 0, 0xe3) && !routine;
	bool to_first = is(w, 0, 0xe9) && target_of(w) == w->s->t->at[0].host &&
			target_of(w) != w->s->t->body;
	const char *why = note_shot(w);

	if (w->torn)
		return "half a window";
	if (w->table >= 0)
		return "half a mode";
	if (w->pushed)
		return "the host's stack";
	if (is(w, 0, 0xe8) && !routine &&
	    is_routine(w, outside(w, target_of(w)), -1))
		return "a routine of another mode";
	if (routine)
		for (unsigned k = 0; k < TRACKED; k++)
			forget(w, FIRST + k);
	if (is(w, 0, 0xff) && !is_landing(w, offsetof(struct bt_landing, code)))
		return "indirect jump to what is no landing";
	if (is(w, 0, 0xe8) && !is_way_as_told(w))
		return "a way out with RSP or the window elsewhere";
	if (to_first && !covers_block(w))
		return "jump over the check of the stack window";
	if (to_first && w->s->t->fpu & ~w->fpu)
		return "jump over the look at the FPU";
	step_above(w);
	if (is(w, 1, 0x85))
		w->fpu |= w->fpu_cmp;
	w->dead = always;
	return why;
}

static const char *step(struct walk *w)
{
	const char *why;

	if (is_jump(w)) {
		why = step_jump(w);
		w->cmp = -1;
		w->fpu_cmp = 0;
		return why;
	}
	if (uses_stack(w))
		return step_push(w);
	if (w->pushed)
		return "the host's stack";
	note_compare(w);
	note_fpu(w);
	/* It changes nothing but flags. */
	if (w->cmp >= 0)
		return NO_WHY;
	if (step_mode(w))
		return NO_WHY;
	if (is(w, 0, 0x8d))
		return step_lea(w);
	if (step_tlb(w) || step_window(w) || step_move(w) || step_value(w))
		return NO_WHY;
	why = check_fpu(w);
	if (!why)
		why = check_access(w);
	if (why || step_loaded(w))
		return why;
	return step_names(w);
}

/* Can the guest's instruction, run by its function, have moved RSP in another
 * way than its code? It has no code then; so: may it write RSP at all? */
static bool may_move_rsp(const struct bt_insn *i)
{
	const struct bt_row *row = &bt_rows[i->row];
	u8 class = row->jit_class, rsp = BT_REG(X86_RSP);

	if (!(row->jit_ops & (JIT_G_W | JIT_E_W | JIT_V_W)) &&
	    class == JIT_COPY)
		return false;
	if (class == JIT_SYS)
		return !i->mem && i->a == rsp;
	if (class == JIT_STRING || class == JIT_NOP)
		return false;
	if (class != JIT_COPY && class != JIT_SIMD)
		return true;
	if (i->v == rsp)
		return true;
	return i->mem ? i->a == rsp && row->jit_ops & JIT_G_W
		      : i->a == rsp || i->b == rsp;
}

static const char *enter_place(struct walk *w, unsigned n)
{
	const struct bt_trans *t = w->s->t;
	bool held = t->at[n].held == HELD_WINDOW;

	if (!w->dead && w->mode != t->at[n].mode)
		return "another mode than its place says";
	w->mode = t->at[n].mode;
	if (w->mode != t->mode &&
	    (t->mode == MMU_USER || w->mode != MMU_KERNEL) &&
	    (t->mode == MMU_USER || w->mode != MMU_KERNEL_AC))
		return "a place in no mode of a kernel";
	if (held && !w->dead && known(w, H_B)->kind != V_ADDEND)
		return "R9 is not what its place says";
	if (w->dead && n && may_move_rsp(&t->block->insn[n - 1]))
		w->sp_known = false;
	/* bt_jit_exec() has looked, behind a function. */
	w->fpu = t->fpu;
	forget(w, H_A);
	forget(w, H_C);
	set(w, H_B, (struct value){.kind = held ? V_ADDEND : V_ANY});
	return NO_WHY;
}

/* The first place is an entry, too, for blocks that have looked at the stack:
 * from here on it is as the block says. */
static const char *enter_first(struct walk *w)
{
	const struct bt_trans *t = w->s->t;

	if (!w->dead && !covers_block(w))
		return "a window that is smaller than the block says";
	if (!w->dead && t->fpu & ~w->fpu)
		return "less of the FPU than the block says";
	w->sp_known = true;
	w->sp = 0;
	w->lo = t->win_lo;
	w->hi = t->win_lo + t->win_size;
	w->fpu = t->fpu;
	return NO_WHY;
}

/* Who comes here besides the instruction before? */
static const char *arrive(struct walk *w)
{
	const struct bt_trans *t = w->s->t;
	const char *why = NO_WHY;

	if (w->torn &&
	    (w->marks[w->off] & MARK_TARGET || t->at[w->place].host == w->off))
		return "half a window";
	if ((w->table >= 0 || w->pushed) &&
	    (w->marks[w->off] & MARK_TARGET || t->at[w->place].host == w->off))
		return "half a mode, or a push";
	if (w->marks[w->off] & MARK_TARGET)
		join(w);
	if (w->off == t->poll || w->off == t->lost || w->off == t->ind ||
	    w->off == t->body || w->off == t->poll_in) {
		forget_all(w);
		w->mode = t->mode;
	}
	if (w->off == t->ind)
		set(w, H_B,
		    (struct value){V_LANDING,
				   .n = 2 * (s64)(bt_landings(t->mode) - 1)});
	if (w->off == t->body) {
		w->sp_known = true;
		w->sp = 0;
	}
	if (w->off == t->at[0].host ||
	    (w->off == t->poll_in && w->off != t->poll))
		why = enter_first(w);
	for (; w->place <= t->block->count && t->at[w->place].host == w->off;
	     w->place++) {
		if (!why)
			why = enter_place(w, w->place);
	}
	w->dead = false;
	return why;
}

static const char *second_pass(struct walk *w)
{
	const char *why = NO_WHY;

	forget_all(w);
	w->cmp = w->table = -1;
	w->mode = w->s->t->mode;
	w->dead = true;
	for (w->off = 8; w->off < w->s->size; w->off += length(w)) {
		why = decode(w);
		if (!why)
			why = arrive(w);
		if (!why)
			why = step(w);
		if (why)
			return why;
	}
	return w->dead ? NO_WHY : "runs out of its end";
}

/* No initializer, either: where the walk is cleared by memset(), the guest's
 * SIMD registers, which may be live, are that one's scratch. */
static void start_walk(struct walk *w, const struct jit_suspect *s, u8 *marks,
		       struct shot *shots)
{
	for (u64 k = 0; k < sizeof(*w); k++)
		((volatile u8 *)w)[k] = 0;
	w->s = s;
	w->marks = marks;
	w->shot = shots;
}

struct jit_verdict jit_verify(const struct jit_suspect *s, u8 *marks)
{
	struct shot shots[SHOTS]; /* no memset: that is libc */
	struct walk w;
	const char *why = NO_WHY;
	u64 head = 0;

	start_walk(&w, s, marks, shots);
	if (s->size < 8 || s->size > JIT_VERIFY_MAX)
		return (struct jit_verdict){"no size for a translation", 0};
	for (unsigned k = 0; k < 8; k++)
		head |= (u64)s->bytes[k] << (8 * k);
	if (head != (u64)s->t)
		return (struct jit_verdict){"another translation's head", 0};
	why = first_pass(&w);
	if (!why)
		why = check_marks(&w);
	if (!why)
		why = second_pass(&w);
	return (struct jit_verdict){why, why ? w.off : 0};
}
