/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a difference in check mode looks like to people: the block, what it was
 * translated to, and both states. Runs outside, with the FPU saved.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "engine/bt/check.h"
#include "engine/bt/disasm.h"
#include "engine/bt/jit.h"
#include "engine/bt/sys.h"
#include "arch/xsave.h"

#define WAIT_ROUNDS 1000 /* of a hundredth of a second */
#define BYTES_SHOWN 16

bool bt_check_wait(unsigned round)
{
	const struct timespec nap = {.tv_nsec = 10000000};

	nanosleep(&nap, NULL);
	return round < WAIT_ROUNDS;
}

/* ---- the block --------------------------------------------------------- */

static void put_bytes(FILE *out, const char *prefix, const u8 *bytes,
		      unsigned len)
{
	for (unsigned k = 0; k < len; k++)
		fprintf(out, "%s%02x",
			k % 24 ? " "
			: k    ? "\n            "
			       : prefix,
			bytes[k]);
	fputc('\n', out);
}

/* Bytes of the n-th instruction as they are in memory now. */
static void fetch(const struct bt_cpu *c, const struct bt_block *b,
		  unsigned off, u8 bytes[BT_MAX_INSN])
{
	for (unsigned k = 0; k < BT_MAX_INSN; k++) {
		gpa_t pa = b->pa + off + k;
		const struct bt_ram *ram;

		if (b->pa2 != BT_NO_PAGE && (b->pa ^ pa) >> 12)
			pa = b->pa2 + (pa & 0xfff);
		ram = bt_ram_find(c->bvm, pa);
		bytes[k] = ram ? ram->hva[pa - ram->gpa] : 0xff;
	}
}

static void put_insn(FILE *out, const struct bt_cpu *c,
		     const struct bt_check *k, unsigned n, unsigned off)
{
	const struct bt_trans *t = k->trans;
	const u8 *code = c->bvm->jit->code.exec + t->code;
	u64 ip = k->start.state.gpr[17] + off;
	u8 bytes[BT_MAX_INSN];
	struct bt_parts parts;
	struct bt_insn insn;
	char text[160];

	fetch(c, k->block, off, bytes);
	bt_decode(bytes, BT_MAX_INSN, W64, c->policy->features, &insn, &parts);
	bt_disasm(&insn, &parts, ip, text, sizeof(text));
	fprintf(out, "  %s %" PRIx64 "  %s\n",
		n == k->executed && k->interp.raised ? "*" : " ", ip, text);
	put_bytes(out, "      guest ", bytes, k->block->insn[n].len);
	put_bytes(out, "      host  ", code + t->at[n].host,
		  (unsigned)(t->at[n + 1].host - t->at[n].host));
}

static void put_block(FILE *out, const struct bt_cpu *c,
		      const struct bt_check *k)
{
	const struct bt_trans *t = k->trans;
	const u8 *code = c->bvm->jit->code.exec + t->code;
	unsigned off = 0;

	fprintf(out,
		"block at rip %#" PRIx64 ", physical %#" PRIx64
		", %u instructions, mode %u, window %d+%d%s, run %s; host code "
		"at %p\n",
		k->start.state.gpr[17], (u64)k->block->pa, k->block->count,
		t->mode, t->win_lo, t->win_size, t->fpu ? ", fpu" : "",
		k->cold ? "cold" : "warm", (const void *)code);
	put_bytes(out, "    head    ", code, t->at[0].host);
	for (unsigned n = 0; n < k->block->count; n++) {
		put_insn(out, c, k, n, off);
		off += k->block->insn[n].len;
	}
	put_bytes(out, "    rest    ", code + t->at[k->block->count].host,
		  t->size - t->at[k->block->count].host);
}

/* ---- the states -------------------------------------------------------- */

struct field {
	const char *name;
	u16 off, size;
};

#define FIELD(text, member)                                  \
	{                                                    \
		text, offsetof(struct bt_cpu, member),       \
			sizeof(((struct bt_cpu *)0)->member) \
	}
#define GPR(text, n)                                            \
	{                                                       \
		text, offsetof(struct bt_cpu, gpr) + 8 * (n), 8 \
	}

static const struct field fields[] = {
	GPR("rax", 0),
	GPR("rcx", 1),
	GPR("rdx", 2),
	GPR("rbx", 3),
	GPR("rsp", 4),
	GPR("rbp", 5),
	GPR("rsi", 6),
	GPR("rdi", 7),
	GPR("r8", 8),
	GPR("r9", 9),
	GPR("r10", 10),
	GPR("r11", 11),
	GPR("r12", 12),
	GPR("r13", 13),
	GPR("r14", 14),
	GPR("r15", 15),
	GPR("next rip", 17),
	FIELD("fault rip", rip),
	FIELD("flags (AH AL)", aflags),
	FIELD("eflags", eflags),
	FIELD("cpl", cpl),
	FIELD("code", code),
	FIELD("fip", fip),
	FIELD("fdp", fdp),
	FIELD("fop", fop),
	FIELD("fcs", fcs),
	FIELD("fds", fds),
	FIELD("cr0", cr0),
	FIELD("cr2", cr2),
	FIELD("cr3", cr3),
	FIELD("cr4", cr4),
	FIELD("xcr0", xcr0),
	FIELD("mode", mode),
	FIELD("seg_check", seg_check),
	FIELD("shadow", shadow),
	FIELD("shadow_ip", shadow_ip),
	FIELD("dr6_pending", dr6_pending),
	FIELD("mp_state", mp_state),
	FIELD("repeating", repeating),
	FIELD("intr_hint", intr_hint),
	FIELD("exception", exc.vector),
	FIELD("error code", exc.error),
	FIELD("delivering", delivering),
	FIELD("seg_base", seg_base),
	FIELD("segments", seg),
	FIELD("gdtr", gdtr),
	FIELD("idtr", idtr),
	FIELD("dr", dr),
	FIELD("msr", msr),
};
#define SHORT_FIELDS 22 /* shown even where they are equal */

static u64 value(const struct bt_cpu *state, const struct field *f, u64 at)
{
	u64 val = 0;
	u64 size = f->size - at;

	memcpy(&val, (const u8 *)state + f->off + at, size < 8 ? size : 8);
	return val;
}

static void put_field(FILE *out, const struct bt_check *k,
		      const struct field *f)
{
	for (u64 at = 0; at < f->size; at += 8) {
		u64 a = value(&k->start.state, f, at);
		u64 b = value(&k->interp.state, f, at);
		u64 c = value(&k->jit.state, f, at);

		/* Of the long ones, what differs. */
		if (b == c && (f->size > 8 || f >= fields + SHORT_FIELDS))
			continue;
		fprintf(out,
			"  %c %-14s %016" PRIx64 " %016" PRIx64 " %016" PRIx64
			"\n",
			b == c ? ' ' : '*', f->name, a, b, c);
	}
}

static void put_registers(FILE *out, const struct bt_check *k)
{
	fprintf(out, "    %-14s %-16s %-16s %-16s\n", "", "before",
		"interpreter", "translation");
	for (unsigned n = 0; n < ARRAY_SIZE(fields); n++)
		put_field(out, k, &fields[n]);
}

static void put_fpu(FILE *out, const struct bt_check *k)
{
	if (!k->fpu)
		return;
	for (unsigned off = 0; off < X86_XSAVE_AREA; off += 16) {
		if (off >= 512 && off < 576)
			continue;
		if (!memcmp(k->interp.fpu + off, k->jit.fpu + off, 16))
			continue;
		fprintf(out, "  * xsave image at %u\n", off);
		put_bytes(out, "      before      ", k->start.fpu + off, 16);
		put_bytes(out, "      interpreter ", k->interp.fpu + off, 16);
		put_bytes(out, "      translation ", k->jit.fpu + off, 16);
	}
}

static u8 before(const struct bt_check *k, const u8 *at, u8 otherwise)
{
	for (unsigned n = 0; n < k->undo_count; n++) {
		const struct bt_check_undo *u = &k->undo[n];

		if ((u64)(at - u->at) < u->len)
			return k->old[u->old + (at - u->at)];
	}
	return otherwise;
}

static void put_memory(FILE *out, const struct bt_cpu *c,
		       const struct bt_check *k)
{
	unsigned shown = 0;

	for (unsigned n = 0; n < k->page_count; n++)
		for (unsigned off = 0; off < 4096; off++) {
			const u8 *at = k->page[n] + off;

			if (k->image[n][off] == *at || ++shown > BYTES_SHOWN)
				continue;
			fprintf(out,
				"  * physical %#" PRIx64
				": before %02x, interpreter %02x, translation "
				"%02x\n",
				(u64)bt_check_gpa(c->bvm, at),
				before(k, at, k->image[n][off]),
				k->image[n][off], *at);
		}
	if (shown > BYTES_SHOWN)
		fprintf(out, "    %u bytes in all\n", shown);
}

static const char *ending(const struct bt_check_side *side, char *buf,
			  size_t len)
{
	if (side->left)
		return "went to a device or a clock";
	if (!side->raised)
		return "came to its end";
	snprintf(buf, len, "raised exception %u", side->state.exc.vector);
	return buf;
}

void bt_check_report(struct bt_cpu *c)
{
	const struct bt_check *k = c->check;
	struct vcpu_exit *e = c->exit;
	char a[64], b[64];

	fprintf(stderr,
		"vireo: internal error: translated code and the interpreter "
		"disagree\n");
	put_block(stderr, c, k);
	fprintf(stderr, "the interpreter %s, the translation %s\n",
		ending(&k->interp, a, sizeof(a)),
		ending(&k->jit, b, sizeof(b)));
	put_registers(stderr, k);
	put_fpu(stderr, k);
	put_memory(stderr, c, k);
	e->kind = VCPU_EXIT_BUG;
	e->rip = k->start.state.gpr[17];
	snprintf(e->message, sizeof(e->message),
		 "internal error: the translation of the block at rip "
		 "%#" PRIx64 " does not do what the interpreter does",
		 e->rip);
}

size_t bt_check_stats(const struct bt_cpu *c, unsigned id, char *buf,
		      size_t len)
{
	const struct bt_check *k = c->check;

	return (size_t)snprintf(buf, len,
				"vcpu%u.check.blocks %" PRIu64 "\n"
				"vcpu%u.check.run_once %" PRIu64 "\n"
				"vcpu%u.check.repeated %" PRIu64 "\n"
				"vcpu%u.check.read_undefined_flags %" PRIu64
				"\n",
				id, k->stat_checked, id, k->stat_once, id,
				k->stat_again, id, k->stat_undefined);
}

/* ---- set-up ------------------------------------------------------------ */

int bt_check_init(struct bt_cpu *c, struct err *err)
{
	struct bt_check *k = bt_reserve(sizeof(*k));

	if (c->bvm->vm->bt_mode == VM_BT_CHECK_USER)
		c->check_later = k;
	else
		c->check = k;
	return k ? 0 : err_set(err, -ENOMEM, "no memory to check in");
}

void bt_check_fini(struct bt_cpu *c)
{
	if (c->check)
		munmap(c->check, sizeof(*c->check));
	if (c->check_later)
		munmap(c->check_later, sizeof(*c->check_later));
	c->check = c->check_later = NULL;
}
