/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU of the software engine beside the host's CPU. */
#include "unit.h"

#include "bt_machine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bt_host.h"
#include "engine/bt/decode.h"
#include "engine/bt/fpu.h"
#include "engine/bt/signals.h"
#include "engine/bt/sys.h"
#include "engine/bt/vm.h"

enum { TABLES_GPA = 0x1000 };

static void map_arena(struct bt_machine *m)
{
	u64 va = (u64)m->arena;

	m->tables[0][va >> 39 & 511] = (TABLES_GPA + 0x1000) | 7;
	m->tables[1][va >> 30 & 511] = (TABLES_GPA + 0x2000) | 7;
	m->tables[2][va >> 21 & 511] = (TABLES_GPA + 0x3000) | 7;
	for (u64 off = 0; off < BT_ARENA; off += 4096)
		bt_machine_hole(m, off, false);
}

static void add_ram(struct bt_machine *m, gpa_t gpa, void *hva, u64 len)
{
	m->bvm->ram[m->bvm->ram_count++] =
		(struct bt_ram){.gpa = gpa,
				.len = len,
				.hva = hva,
				.lines = calloc(len >> 12, sizeof(u64)),
				.wear = calloc(len >> 12, sizeof(u32)),
				.writer = calloc(len >> 12, sizeof(u32)),
				.rights = MEM_R | MEM_W};
}

static bool init_memory(struct bt_machine *m)
{
	void *p = mmap(NULL, 2 * BT_ARENA, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (p == MAP_FAILED)
		return false;
	/* Aligned, so within one page table. */
	m->arena = (u8 *)align_up((u64)p, BT_ARENA);
	m->copy = aligned_alloc(4096, BT_ARENA);
	m->tables = aligned_alloc(4096, 4 * 4096);
	memset(m->copy, 0, BT_ARENA);
	memset(m->tables, 0, 4 * 4096);
	return true;
}

/* Below it is the stack of translated code. */
#define BELOW_CPU KIB(16)

static void init_cpu(struct bt_machine *m)
{
	struct bt_cpu *c;
	u8 *p = aligned_alloc(64, BELOW_CPU + align_up(sizeof(*c), 64));

	c = (struct bt_cpu *)(void *)(p + BELOW_CPU);
	memset(c, 0, sizeof(*c));
	m->c = c;
	c->bvm = m->bvm;
	c->policy = &m->policy;
	c->cr0 = CR0_PE | CR0_PG;
	c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	if (cpu_has(&m->policy, FEAT_XSAVE))
		c->cr4 |= CR4_OSXSAVE;
	c->xcr0 = m->policy.xcr0_mask;
	c->cr3 = TABLES_GPA;
	c->msr.efer = EFER_LME | EFER_LMA;
	c->tlb = &c->mmu[MMU_KERNEL_AC];
	c->code = W64;
	c->lin_mask = c->stack_mask = c->ip_mask = ~0ull;
	bt_fpu_reset(c, false);
	bt_tlb_init(c);
}

bool bt_machine_init(struct bt_machine *m)
{
	const struct cpu_request request = {.model = "host", .vcpus = 1};
	struct err err;

	memset(m, 0, sizeof(*m));
	if (cpu_policy_init(&m->policy, &request, &err) || !init_memory(m))
		return false;
	m->bvm = calloc(1, sizeof(*m->bvm));
	m->bvm->vm = calloc(1, sizeof(struct vm));
	bus_init(&m->bvm->vm->bus);
	if (bt_stub_init(m->bvm, &err))
		return false;
	add_ram(m, TABLES_GPA, m->tables, 4 * 4096);
	add_ram(m, (u64)m->arena, m->copy, BT_ARENA);
	map_arena(m);
	init_cpu(m);
	return true;
}

void bt_machine_fini(struct bt_machine *m)
{
	for (unsigned k = 0; k < m->bvm->ram_count; k++) {
		free(m->bvm->ram[k].lines);
		free(m->bvm->ram[k].wear);
		free(m->bvm->ram[k].writer);
	}
	bt_stub_fini(m->bvm);
	bus_fini(&m->bvm->vm->bus);
	free(m->bvm->vm);
	free(m->bvm);
	free((u8 *)m->c - BELOW_CPU);
	free(m->tables);
	free(m->copy);
}

void bt_machine_hole(struct bt_machine *m, u64 off, bool hole)
{
	u64 va = (u64)m->arena + off;

	m->tables[3][va >> 12 & 511] =
		hole ? 0 : va | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D;
	mprotect((void *)va, 4096, hole ? PROT_NONE : PROT_READ | PROT_WRITE);
	if (m->c)
		bt_tlb_flush(m->c);
}

int bt_machine_run(struct bt_machine *m, const u8 *bytes, unsigned avail,
		   struct bt_insn *insn)
{
	struct bt_cpu *c = m->c;
	struct bt_parts parts;

	if (bt_decode(bytes, avail, c->code, m->policy.features, insn,
		      &parts) != BT_DECODE_OK)
		return VEC_UD;
	if (bt_rows[insn->row].attrs & ROW_SIMD &&
	    !bt_stub_attach(c, &parts, insn)) {
		bt_stub_flush(m->bvm);
		if (!bt_stub_attach(c, &parts, insn))
			return -2;
	}
	c->rip = c->gpr[17];
	c->gpr[17] += insn->len;
	c->end = insn + 1;
	if (bt_setjmp(c->jmp))
		return c->exc.vector;
	insn->fn(c, insn);
	return -1;
}

void bt_machine_start(struct bt_machine *m)
{
	struct bt_cpu *c = m->c;

	for (unsigned k = 0; k < 16; k++)
		c->gpr[k] = 0x1111111111111111ull * k;
	c->gpr[X86_RBX] = (u64)m->arena + BT_AREA;
	c->gpr[16] = 0;
	c->gpr[17] = 0x1000;
	c->eflags = FLAG_IF;
	bt_set_arith(c, 0);
	c->code = W64;
	c->cr0 = CR0_PE | CR0_PG;
	c->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	c->xcr0 = m->policy.xcr0_mask;
}

void bt_machine_catch(void)
{
	struct err err;

	if (!bt_host_init())
		skip();
	assert_int_equal(bt_signals_init(&err), 0);
}
