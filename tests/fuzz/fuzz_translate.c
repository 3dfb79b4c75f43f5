/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs of a few instructions, with branches and with writes to their own
 * code: the interpreter against the translator.
 *
 * The same vCPU runs a program from the same state first by the interpreter and
 * then, RUNS times, by translated code, which is kept from run to run: at first
 * each block comes from the run loop, later by chains and landings. Each time
 * registers, memory, accessed and dirty bits, the FPU and the exception at the
 * end must be the interpreter's. What is emitted is verified besides
 * (jit_verify.h). Programs without an end, and those that read flags that
 * nothing defines, are left out.
 */
#include "fuzz.h"

#include "translate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/xsave.h"
#include "engine/bt/decode.h"
#include "engine/bt/disasm.h"
#include "engine/bt/fpu.h"
#include "engine/bt/jit.h"
#include "engine/bt/signals.h"
#include "engine/bt/sys.h"
#include "engine/bt/vm.h"
#include "engine/engine.h"
#include "util/log.h"

#define RUNS 4
#define FPU_BYTES 832 /* of the XSAVE image: x87, SSE, AVX */

/* Guest-physical: page tables first, then what programs see. */
#define TABLES 0x1000
#define TABLE_PAGES 8
#define CODE_GPA 0x9000
#define DATA_GPA 0xb000
#define HOLE_GPA 0x40000000
#define USED 0xf000

struct result {
	enum xl_end end;
	struct bt_cpu state; /* registers only */
	u8 fpu[FPU_BYTES];
	u8 memory[USED];
};

struct machine {
	struct cpu_policy policy;
	struct vm *vm;
	struct bt_cpu *c;
	struct vcpu_exit exit;
	u8 *memory;
	unsigned tables; /* pages used */
	u64 start_memory[USED / 8];
	struct bt_cpu start;
	u8 start_fpu[X86_XSAVE_AREA];
	struct result interp, jit;
};

/* ---- the machine ------------------------------------------------------- */

static u64 *table_entry(struct machine *m, unsigned table, u64 va,
			unsigned level)
{
	u64 *table_at = m->start_memory + (TABLES + 0x1000 * table) / 8;

	return &table_at[va >> (12 + 9 * level) & 511];
}

static void map(struct machine *m, u64 va, u64 pte)
{
	unsigned table = 0;

	for (unsigned level = 3; level; level--) {
		u64 *entry = table_entry(m, table, va, level);

		if (!*entry) {
			if (m->tables == TABLE_PAGES)
				abort();
			*entry = (TABLES + 0x1000 * m->tables++) | PTE_P |
				 PTE_W | PTE_U;
		}
		table = (unsigned)((*entry & ~0xfffull) - TABLES) >> 12;
	}
	*table_entry(m, table, va, 0) = pte;
}

static u64 second_page(u8 flags, u64 rights)
{
	switch ((flags & XL_PAGE2) >> 2) {
	case PAGE2_ABSENT:
		return rights & ~PTE_P;
	case PAGE2_NX:
		return rights | PTE_NX;
	case PAGE2_OTHER_USER:
		return rights ^ PTE_U;
	default:
		return rights;
	}
}

static void map_all(struct machine *m, u8 flags)
{
	u64 mine = PTE_P | PTE_W | (flags & XL_KERNEL ? 0 : PTE_U);

	m->tables = 1;
	map(m, XL_CODE, CODE_GPA | mine);
	map(m, XL_CODE + 0x1000,
	    second_page(flags, (CODE_GPA + 0x1000) | mine));
	map(m, XL_EDGE, CODE_GPA | mine);
	for (unsigned k = 0; k < XL_DATA_PAGES; k++)
		map(m, XL_DATA + 0x1000 * k,
		    (DATA_GPA + 0x1000 * k) | PTE_NX |
			    (k + 1 == XL_DATA_PAGES ? mine & ~PTE_W : mine));
	if (flags & XL_SMAP)
		map(m, XL_DATA + 0x2000,
		    (DATA_GPA + 0x2000) | mine | PTE_U | PTE_NX);
	map(m, XL_MMIO, HOLE_GPA | mine | PTE_NX);
}

static void create(struct machine *m)
{
	static const struct engine_options options = {.bt_verify = true};
	struct cpu_request request = {
		.model = "host", .vcpus = 1, .tsc_khz = 1000000};
	struct vm_config config = {.engine = &engine_bt,
				   .options = &options,
				   .ram_size = MIB(1),
				   .cpus = 1,
				   .cpu = &m->policy,
				   .clock = {1000000, false, "test"}};
	struct err err = {0};

	log_set_level(LOG_ERR);
	if (cpu_policy_init(&m->policy, &request, &err) ||
	    vm_create(&config, &m->vm, &err) || bt_signals_init(&err)) {
		fprintf(stderr, "%s\n", err.msg);
		abort();
	}
	m->c = m->vm->vcpus[0]->engine;
	m->c->exit = &m->exit;
	m->memory = mem_ptr(&m->vm->mem, 0, USED);
}

/* ---- a program's start ------------------------------------------------- */

static u64 next(u64 *state)
{
	u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void fill_memory(struct machine *m, const struct xl_program *p)
{
	u64 seed = p->seed;

	memset(m->start_memory, 0, sizeof(m->start_memory));
	map_all(m, p->flags);
	memcpy((u8 *)m->start_memory + CODE_GPA, p->code, XL_CODE_BYTES);
	for (unsigned k = DATA_GPA; k < USED; k += 8)
		m->start_memory[k / 8] = next(&seed) >> (k & 56);
}

static struct x86_segment flat(u16 selector, u16 attr)
{
	return (struct x86_segment){.limit = 0xffffffff,
				    .selector = selector,
				    .attr = attr | SEG_S | SEG_P | SEG_G |
					    SEG_ACCESSED};
}

static void set_segments(struct bt_cpu *c, bool kernel)
{
	u16 dpl = kernel ? 0 : SEG_DPL;

	c->seg[X86_CS] = flat(kernel ? 0x10 : 0x33,
			      (u16)(SEG_CODE | SEG_READABLE | SEG_L | dpl));
	for (unsigned k = 0; k < X86_SEGS; k++)
		if (k != X86_CS)
			c->seg[k] = flat(kernel ? 0x18 : 0x2b,
					 (u16)(SEG_WRITABLE | SEG_DB | dpl));
	c->seg[X86_FS].base = 0x40;
	c->seg[X86_GS].base = XL_DATA;
	c->seg[X86_LDTR].attr = SEG_UNUSABLE;
}

static void set_system(struct bt_cpu *c, u8 flags)
{
	c->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	c->cr3 = TABLES;
	c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE |
		 CR4_FSGSBASE;
	if (flags & XL_SMAP && cpu_has(c->policy, FEAT_SMAP))
		c->cr4 |= CR4_SMAP;
	c->xcr0 = (XCR0_X87 | XCR0_SSE | XCR0_AVX) & c->policy->xcr0_mask;
	c->msr.efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
	/* The clock stands still, for a RDTSC that a program makes of its own
	 * code as well. */
	bt_update_rdtsc(c);
}

static void set_registers(struct bt_cpu *c, const struct xl_program *p)
{
	u64 seed = ~p->seed;
	struct xsave_legacy *x = (void *)c->xsave;

	for (unsigned n = 0; n < 16; n++)
		c->gpr[n] = next(&seed) >> (n % 4 * 16);
	c->gpr[X86_RSP] = XL_DATA + 0x800 + (p->seed & 0x7f0);
	c->gpr[X86_RBP] = XL_DATA + 0x1000;
	c->gpr[16] = 0;
	c->gpr[17] = c->rip = p->ip;
	c->eflags = FLAG_IF | (p->arith & 2 ? FLAG_DF : 0);
	bt_set_arith(c, (p->arith & 0xd5u) | (p->arith & 8 ? FLAG_OF : 0));
	for (unsigned k = 0; k < 16; k++)
		for (unsigned n = 0; n < 16; n++)
			x->xmm[k][n] = (u8)(next(&seed) >> (n & 3 ? 20 : 60));
}

/* As check.c has it: all of the guest's but memory and FPU. */
static void copy_registers(struct bt_cpu *to, const struct bt_cpu *from)
{
	memcpy(to, from, offsetof(struct bt_cpu, attention));
	memcpy(&to->seg_check, &from->seg_check,
	       offsetof(struct bt_cpu, fpu_live) -
		       offsetof(struct bt_cpu, seg_check));
	to->fip = from->fip;
	to->fdp = from->fdp;
	to->fop = from->fop;
	to->fcs = from->fcs;
	to->fds = from->fds;
}

static void start(struct machine *m, const struct xl_program *p)
{
	struct bt_cpu *c = m->c;

	fill_memory(m, p);
	bt_fpu_reset(c, false);
	((struct xsave_legacy *)(void *)c->xsave)->fcw = 0x37f;
	set_registers(c, p);
	set_segments(c, p->flags & XL_KERNEL);
	set_system(c, p->flags);
	c->cr2 = 0;
	c->cpl = p->flags & XL_KERNEL ? 0 : 3;
	memset(&c->exc, 0, sizeof(c->exc));
	c->delivering = c->intr_owed = -1;
	bt_update_mode(c);
	copy_registers(&m->start, c);
	memcpy(m->start_fpu, c->xsave, X86_XSAVE_AREA);
}

/* ---- runs -------------------------------------------------------------- */

/* Only what differs is written, so that code stays which is the same. */
static void restore_memory(struct machine *m)
{
	for (unsigned off = 0; off < USED; off += 0x1000) {
		if (!memcmp(m->memory + off, m->start_memory + off / 8, 0x1000))
			continue;
		memcpy(m->memory + off, m->start_memory + off / 8, 0x1000);
		if (off >= CODE_GPA && off < DATA_GPA)
			bt_code_written(m->c->bvm, NULL, off, 0x1000);
	}
}

/* Outside; bt_enter() comes before the run. */
static void prepare(struct machine *m)
{
	struct bt_cpu *c = m->c;

	restore_memory(m);
	copy_registers(c, &m->start);
	memcpy(c->xsave, m->start_fpu, X86_XSAVE_AREA);
	c->attention = 0;
}

static void begin(struct machine *m)
{
	bt_live_cpu = m->c;
	bt_enter(m->c);
}

static void finish(struct machine *m, struct result *r)
{
	struct bt_cpu *c = m->c;

	bt_leave(c);
	bt_live_cpu = NULL;
	copy_registers(&r->state, c);
	memcpy(r->fpu, c->xsave, FPU_BYTES);
	memcpy(r->memory, m->memory, USED);
	/* How the engine ran, not what the guest is. */
	r->state.end = NULL;
	r->state.retired = 0;
	r->state.block = NULL;
	r->state.block_ip = 0;
	r->state.pauses = 0;
	if (r->end != XL_RAISED)
		r->state.rip = 0;
}

/* Nothing is left of the program before. */
static void drop_all(struct machine *m)
{
	struct bt_vm *bvm = m->c->bvm;

	bt_enter(m->c);
	bt_flush_code(m->c);
	bt_tlb_flush(m->c);
	bt_leave(m->c);
	for (unsigned k = 0; k < bvm->ram_count; k++)
		memset(bvm->ram[k].wear, 0, USED >> 12 << 2);
}

/* ---- comparison -------------------------------------------------------- */

#define COLD_AT offsetof(struct bt_cpu, seg_check)
#define COLD_END offsetof(struct bt_cpu, fpu_live)

static bool same_registers(const struct bt_cpu *a, const struct bt_cpu *b)
{
	return !memcmp(a, b, offsetof(struct bt_cpu, attention)) &&
	       !memcmp((const u8 *)a + COLD_AT, (const u8 *)b + COLD_AT,
		       COLD_END - COLD_AT) &&
	       a->fip == b->fip && a->fdp == b->fdp && a->fop == b->fop &&
	       a->fcs == b->fcs && a->fds == b->fds;
}

/* The header tells what the host has optimized. */
static bool same_fpu(const u8 *a, const u8 *b)
{
	return !memcmp(a, b, 512) && !memcmp(a + 576, b + 576, FPU_BYTES - 576);
}

static const char *compare(const struct machine *m, bool cold)
{
	const struct result *a = &m->interp, *b = &m->jit;
	/* Where the TLB knows a page its bits are not set again. */
	unsigned from = cold ? 0 : CODE_GPA;

	if (a->end != b->end)
		return "the end";
	if (!same_registers(&a->state, &b->state))
		return "registers";
	if (!same_fpu(a->fpu, b->fpu))
		return "the FPU";
	if (memcmp(a->memory + from, b->memory + from, USED - from))
		return "memory";
	return NULL;
}

/* ---- the report -------------------------------------------------------- */

static void print_program(const struct machine *m, const struct xl_program *p)
{
	unsigned at = p->start;
	struct bt_parts parts;
	struct bt_insn i;
	char text[160];

	fprintf(stderr, "flags %#x, at %#" PRIx64 ":\n", p->flags, p->ip);
	while (at < XL_CODE_BYTES - BT_MAX_INSN && p->code[at] != 0xcc) {
		u64 ip = p->ip - p->start + at;

		if (bt_decode(p->code + at, BT_MAX_INSN, W64,
			      m->policy.features, &i, &parts) != BT_DECODE_OK)
			break;
		bt_disasm(&i, &parts, ip, text, sizeof(text));
		fprintf(stderr, "  %" PRIx64 "  %s\n   ", ip, text);
		for (unsigned k = 0; k < i.len; k++)
			fprintf(stderr, " %02x", p->code[at + k]);
		fprintf(stderr, "\n");
		at += i.len;
	}
}

static void print_registers(const struct machine *m)
{
	const struct bt_cpu *a = &m->interp.state, *b = &m->jit.state;
	const u64 *x = (const u64 *)(const void *)a;
	const u64 *y = (const u64 *)(const void *)b;

	for (unsigned n = 0; n < BT_REGS; n++)
		fprintf(stderr,
			"  %c gpr[%2u] %016" PRIx64 " %016" PRIx64
			" %016" PRIx64 "\n",
			a->gpr[n] == b->gpr[n] ? ' ' : '*', n, m->start.gpr[n],
			a->gpr[n], b->gpr[n]);
	fprintf(stderr,
		"  rip %#" PRIx64 " %#" PRIx64 " aflags %#x %#x eflags %#x "
		"%#x vector %u %u error %#x %#x cr2 %#" PRIx64 " %#" PRIx64
		"\n",
		a->rip, b->rip, a->aflags, b->aflags, a->eflags, b->eflags,
		a->exc.vector, b->exc.vector, a->exc.error, b->exc.error,
		a->cr2, b->cr2);
	for (unsigned k = BT_REGS; k < COLD_END / 8; k++)
		if (x[k] != y[k] &&
		    (8 * k < offsetof(struct bt_cpu, attention) ||
		     8 * k >= COLD_AT))
			fprintf(stderr,
				"  * bt_cpu+%u %016" PRIx64 " %016" PRIx64 "\n",
				8 * k, x[k], y[k]);
}

static void print_bytes(const char *what, const u8 *a, const u8 *b,
			unsigned from, unsigned to)
{
	unsigned shown = 0;

	for (unsigned k = from; k < to && shown < 16; k++)
		if (a[k] != b[k] && ++shown)
			fprintf(stderr, "  * %s+%#x %02x %02x\n", what, k, a[k],
				b[k]);
}

static _Noreturn void complain(const struct machine *m,
			       const struct xl_program *p, unsigned run,
			       const char *what)
{
	fprintf(stderr,
		"run %u: %s differs; the interpreter's end %d, the "
		"translator's %d\n",
		run, what, m->interp.end, m->jit.end);
	print_program(m, p);
	print_registers(m);
	print_bytes("fpu", m->interp.fpu, m->jit.fpu, 0, FPU_BYTES);
	print_bytes("memory", m->interp.memory, m->jit.memory, 0, USED);
	abort();
}

/* ---- the whole --------------------------------------------------------- */

static void mend_flags(struct machine *m, u16 loose)
{
	u16 mask = bt_pack_aflags(loose) & (u16)~AF_ONE;
	u16 *mine = &m->jit.state.aflags;

	*mine = (u16)((*mine & ~mask) | (m->interp.state.aflags & mask));
}

static void run(struct machine *m, const struct xl_program *p)
{
	u16 loose = 0;
	const char *what;

	start(m, p);
	prepare(m);
	drop_all(m);
	begin(m);
	m->interp.end = xl_interpret(m->c, &loose);
	finish(m, &m->interp);
	if (m->interp.end == XL_ENDLESS || m->interp.end == XL_UNDEFINED)
		return;
	drop_all(m);
	for (unsigned n = 0; n < RUNS; n++) {
		prepare(m);
		begin(m);
		m->jit.end = xl_translated(m->c);
		finish(m, &m->jit);
		mend_flags(m, loose);
		what = compare(m, n == 0);
		if (what)
			complain(m, p, n, what);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	static struct machine *m;
	static struct xl_program p;

	if (!m) {
		m = calloc(1, sizeof(*m));
		if (!m)
			abort();
		create(m);
	}
	if (xl_program_make(&p, data, len, m->policy.features))
		run(m, &p);
	return 0;
}
