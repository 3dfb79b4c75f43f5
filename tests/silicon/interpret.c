/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A case in the interpreter: a VM of one vCPU in 64-bit or compatibility
 * mode at CPL 3, with four levels of page tables for the data pages.
 */
#include "engine/bt/fpu.h"
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
	u8 *data;
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

int interpreter_create(struct interpreter **out)
{
	struct interpreter *in = calloc(1, sizeof(*in));
	struct cpu_request request = {
		.model = "host", .vcpus = 1, .tsc_khz = 1000000};
	struct vm_config config = {.engine = &engine_bt,
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
	in->data = mem_ptr(&in->vm->mem, DATA_GPA, DATA_BYTES);
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

void interpreter_run(struct interpreter *in, const struct test_case *t,
		     struct outcome *out)
{
	struct bt_cpu *c = in->c;

	set_mode(c, t);
	if (t->flush)
		bt_tlb_flush(c);
	put_state(c, t);
	in->block->insn[0] = t->insn;
	c->block = in->block;
	c->block_ip = c->rip;
	c->end = &in->block->insn[1];
	out->vector = interpret_step(c, in->block->insn);
	out->error = out->vector >= 0 && c->exc.has_error ? c->exc.error : 0;
	out->cr2 = c->cr2;
	memcpy(out->state.gpr, c->gpr, sizeof(out->state.gpr));
	out->state.rip = out->vector >= 0 ? c->rip : c->gpr[17];
	out->state.flags = bt_flags(c);
	for (unsigned k = 0; k < X86_SEGS; k++)
		out->state.selector[k] = c->seg[k].selector;
	memcpy(out->state.xsave, c->xsave, XSAVE_BYTES);
}
