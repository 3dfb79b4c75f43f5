/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A case in the interpreter, and translated: a VM of one vCPU in 64-bit or
 * compatibility mode at CPL 3, with four levels of page tables for the data
 * pages. The code has no page: its block is made by hand.
 */
#include "engine/bt/check.h"
#include "engine/bt/fpu.h"
#include "engine/bt/jit.h"
#include "engine/bt/signals.h"
#include "engine/bt/sys.h"
#include "engine/bt/vm.h"
#include "engine/engine.h"
#include "interpret_step.h"
#include "silicon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Guest-physical addresses. */
#define TABLES 0x1000
#define GDT_GPA 0x8000
#define CODE_GPA 0x9000
#define DATA_GPA 0x10000

#define GDT (WINDOW + 0x100000) /* linear; nothing of a case goes there */
#define GDT_ENTRIES 16

/* Linux's selectors, which the host's processes have. */
#define SELECTOR_CS64 0x33
#define SELECTOR_CS32 0x23
#define SELECTOR_DATA 0x2b

struct interpreter {
	struct bt_block *block; /* of one record: faults look for it */
	struct cpu_policy policy;
	struct vm *vm;
	struct bt_cpu *c;
	u8 *data, *code;
	struct vcpu_exit exit;
	unsigned translations;
};

u8 *interpreter_memory(struct interpreter *in)
{
	return in->data;
}

u64 interpreter_features(const struct interpreter *in)
{
	return in->policy.features;
}

static void set_entry(struct interpreter *in, unsigned level, u64 va, u64 val)
{
	u64 gpa = TABLES + 0x1000 * level + (va >> (39 - 9 * level) & 511) * 8;

	mem_write(&in->vm->mem, gpa, &val, 8);
}

static void map_data(struct interpreter *in)
{
	for (unsigned k = 0; k < 3; k++)
		set_entry(in, k, DATA,
			  (TABLES + 0x1000 * (k + 1)) | PTE_P | PTE_W | PTE_U);
	for (u64 off = 0; off < DATA_BYTES; off += 0x1000)
		set_entry(in, 3, DATA + off,
			  (DATA_GPA + off) | PTE_P | PTE_U | PTE_NX |
				  (off < DATA_WRITABLE ? PTE_W : 0));
}

/* Linux's, as far as a process can load or ask for them. */
static void fill_gdt(struct interpreter *in)
{
	static const u64 gdt[GDT_ENTRIES] = {
		[1] = 0x00cf9b000000ffff,  /* kernel: 32-bit code, */
		[2] = 0x00af9b000000ffff,  /* 64-bit code, */
		[3] = 0x00cf93000000ffff,  /* data */
		[4] = 0x00cffb000000ffff,  /* user: 32-bit code, */
		[5] = 0x00cff3000000ffff,  /* data, */
		[6] = 0x00affb000000ffff,  /* 64-bit code */
		[8] = 0x00008b0000004087,  /* TSS */
		[15] = 0x0040f50000000000, /* CPU number */
	};

	mem_write(&in->vm->mem, GDT_GPA, gdt, sizeof(gdt));
	set_entry(in, 3, GDT, GDT_GPA | PTE_P | PTE_W | PTE_NX);
}

static struct x86_segment flat(u16 selector, u16 attr)
{
	return (struct x86_segment){.limit = 0xffffffff,
				    .selector = selector,
				    .attr = attr | SEG_S | SEG_P | SEG_DPL |
					    SEG_G | SEG_ACCESSED};
}

static void set_mode(struct bt_cpu *c, const struct test_case *t)
{
	bool wide = t->form.code == W64;

	c->seg[X86_CS] =
		flat(wide ? SELECTOR_CS64 : SELECTOR_CS32,
		     SEG_CODE | SEG_READABLE | (wide ? SEG_L : SEG_DB));
	for (unsigned k = 0; k < X86_SEGS; k++)
		if (k != X86_CS)
			c->seg[k] = flat(SELECTOR_DATA, SEG_WRITABLE | SEG_DB);
	for (unsigned k = X86_FS; k <= X86_GS; k++)
		c->seg[k] = (struct x86_segment){.attr = SEG_UNUSABLE};
	c->seg[X86_GS].base = t->uses_gs ? t->state.gs_base : 0;
	bt_update_mode(c);
}

static void set_system(struct bt_cpu *c)
{
	c->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	c->cr3 = TABLES;
	c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	c->xcr0 = XSAVE_MASK & c->policy->xcr0_mask;
	c->msr.efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
	c->gdtr.base = GDT;
	c->gdtr.limit = GDT_ENTRIES * 8 - 1;
	c->seg[X86_LDTR].attr = SEG_UNUSABLE;
	bt_tlb_flush(c);
	bt_enter(c);
}

int interpreter_create(struct interpreter **out, bool check)
{
	struct interpreter *in = calloc(1, sizeof(*in));
	struct cpu_request request = {
		.model = "host", .vcpus = 1, .tsc_khz = 1000000};
	static const struct engine_options options = {.bt_verify = true};
	struct vm_config config = {.engine = &engine_bt,
				   .options = &options,
				   .bt_mode = check ? VM_BT_CHECK : VM_BT_JIT,
				   .ram_size = MIB(1),
				   .cpus = 1,
				   .clock = {1000000, false, "test"}};
	struct err err = {0};

	if (!in)
		return -ENOMEM;
	config.cpu = &in->policy;
	if (cpu_policy_init(&in->policy, &request, &err) ||
	    vm_create(&config, &in->vm, &err) || bt_signals_init(&err)) {
		fprintf(stderr, "%s\n", err.msg);
		free(in);
		return err.code;
	}
	in->block = calloc(1, sizeof(*in->block) + sizeof(struct bt_insn));
	if (!in->block)
		return -ENOMEM;
	in->block->count = 1;
	in->c = in->vm->vcpus[0]->engine;
	in->c->exit = &in->exit;
	in->data = mem_ptr(&in->vm->mem, DATA_GPA, DATA_BYTES);
	in->code = mem_ptr(&in->vm->mem, CODE_GPA, CODE_BYTES);
	map_data(in);
	fill_gdt(in);
	set_system(in->c);
	*out = in;
	return 0;
}

enum bt_decode_status interpreter_decode(struct interpreter *in,
					 struct test_case *t)
{
	enum bt_decode_status status =
		bt_decode(t->bytes, sizeof(t->bytes), t->form.code,
			  in->policy.features, &t->insn, &t->parts);

	if (status != BT_DECODE_OK || !(bt_rows[t->insn.row].attrs & ROW_SIMD))
		return status;
	if (!bt_stub_attach(in->c, &t->parts, &t->insn)) {
		bt_stub_flush(in->c->bvm);
		if (!bt_stub_attach(in->c, &t->parts, &t->insn))
			abort();
	}
	return status;
}

static void put_state(struct bt_cpu *c, const struct test_case *t)
{
	const struct machine_state *s = &t->state;

	memcpy(c->gpr, s->gpr, sizeof(s->gpr));
	c->rip = s->rip;
	c->gpr[16] = 0;
	c->gpr[17] = s->rip + t->insn.len;
	c->eflags = s->flags & ~(u32)FLAG_ARITH;
	bt_set_arith(c, s->flags);
	memcpy(c->xsave, s->xsave, XSAVE_BYTES);
	c->fpu_live = false;
	c->fip = c->fdp = 0;
	c->fop = 0;
	c->cr2 = 0;
	c->attention = 0;
}

static void take_state(const struct bt_cpu *c, struct outcome *out)
{
	out->error = out->vector >= 0 && c->exc.has_error ? c->exc.error : 0;
	out->cr2 = c->cr2;
	memcpy(out->state.gpr, c->gpr, sizeof(out->state.gpr));
	out->state.rip = out->vector >= 0 ? c->rip : c->gpr[17];
	out->state.flags = bt_flags(c);
	for (unsigned k = 0; k < X86_SEGS; k++)
		out->state.selector[k] = c->seg[k].selector;
	memcpy(out->state.xsave, c->xsave, XSAVE_BYTES);
}

static void prepare(struct interpreter *in, const struct test_case *t)
{
	set_mode(in->c, t);
	if (t->flush)
		bt_tlb_flush(in->c);
	put_state(in->c, t);
	in->block->insn[0] = t->insn;
}

void interpreter_run(struct interpreter *in, const struct test_case *t,
		     struct outcome *out)
{
	struct bt_cpu *c = in->c;

	prepare(in, t);
	c->block = in->block;
	c->block_ip = c->rip;
	c->end = &in->block->insn[1];
	out->vector = interpret_step(c, in->block->insn);
	take_state(c, out);
}

/* Guest-physical, right around the data's. */
static void open_pages(struct interpreter *in, bool open)
{
	u64 pte = PTE_P | PTE_W | PTE_U | PTE_NX;

	for (u64 off = 0; open && off < OPEN_BYTES; off += 0x1000)
		set_entry(in, 3, OPEN + off, (DATA_GPA - 0x1000 + off) | pte);
	if (!open) {
		set_entry(in, 3, OPEN, 0);
		set_entry(in, 3, OPEN + OPEN_BYTES - 0x1000, 0);
		map_data(in);
	}
	bt_tlb_flush(in->c);
}

void interpreter_run_open(struct interpreter *in, const struct test_case *t,
			  u8 memory[OPEN_BYTES], struct outcome *out)
{
	static u8 kept[OPEN_BYTES];
	u8 *pages = in->data - 0x1000;

	memcpy(kept, pages, OPEN_BYTES);
	memcpy(pages, memory, OPEN_BYTES);
	open_pages(in, true);
	interpreter_run(in, t, out);
	open_pages(in, false);
	memcpy(memory, pages, OPEN_BYTES);
	memcpy(pages, kept, OPEN_BYTES);
}

/* ---- translated -------------------------------------------------------- */

/* All translations so far are of one block, which is about to be another. */
static void drop_translations(struct interpreter *in)
{
	struct bt_vm *bvm = in->c->bvm;

	bvm->arena_used = 0;
	bvm->jit->count = 0;
	codebuf_reset(&bvm->jit->code, bvm->jit->thunks_end);
	in->block->trans = NULL;
}

static void place_block(struct interpreter *in, const struct test_case *t)
{
	struct bt_block *b = in->block;
	u64 off = t->state.rip & 0xfff;

	memcpy(in->code + off, t->bytes, t->len);
	b->pa = CODE_GPA + off;
	b->pa2 = BT_NO_PAGE;
	b->bytes = t->insn.len;
	b->code = W64;
	b->valid = 1;
	b->heat = BT_JIT_HEAT;
}

/* With the stack window, or, each fourth time, each access by itself. */
static struct bt_trans *translate(struct interpreter *in)
{
	struct bt_trans *t = bt_jit_prepare(in->c, in->block), *plain;
	bool full;

	if (!t || in->translations++ % 4)
		return t;
	plain = bt_translate(in->c, in->block, LEVEL_PLAIN, 0, &full);
	return plain ? plain : t;
}

/* What leads on from the block's end leads out, as somebody calls. */
static int run_translated(struct bt_cpu *c, struct bt_trans *t)
{
	int vector;

	bt_call(c, ATTN_CHECK);
	bt_live_cpu = c;
	vector = translate_step(c, t);
	bt_live_cpu = NULL;
	return vector;
}

/* Both runs once more, by check mode; false: it has found a difference, and
 * said so. */
static bool run_checked(struct interpreter *in, struct outcome *out)
{
	struct bt_cpu *c = in->c;

	bt_live_cpu = c;
	out->vector = check_step(c, in->block);
	bt_live_cpu = NULL;
	return !(c->attention & ATTN_STOP);
}

static enum ran how(const struct bt_stats *before, const struct bt_stats *now)
{
	if (now->called != before->called ||
	    now->blocks[INTERP_STACK] != before->blocks[INTERP_STACK])
		return RAN_BY_FUNCTION;
	if (now->missed != before->missed ||
	    now->host_faults != before->host_faults)
		return RAN_LONG_WAY;
	return RAN_AS_CODE;
}

enum ran interpreter_translate(struct interpreter *in,
			       const struct test_case *t, struct outcome *out)
{
	struct bt_cpu *c = in->c;
	struct bt_stats before = c->stat;
	struct bt_trans *trans;

	prepare(in, t);
	out->flags_lost = FLAG_ARITH & ~(u32)bt_jit_live(in->block, 0);
	c->gpr[17] = c->rip;
	place_block(in, t);
	drop_translations(in);
	if (c->check) {
		if (!run_checked(in, out))
			return RAN_OTHERWISE;
		if (c->check->once)
			return RAN_ONCE;
		before.blocks[INTERP_STACK]++; /* check mode's first run */
	} else {
		trans = translate(in);
		if (!trans)
			return RAN_NOT;
		out->vector = run_translated(c, trans);
	}
	take_state(c, out);
	return how(&before, &c->stat);
}
