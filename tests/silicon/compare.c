/* SPDX-License-Identifier: Apache-2.0 */
/* What must be equal, and what is said if it is not. */
#include "engine/bt/disasm.h"
#include "silicon.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* One worker's words stay together up to say_done(). */
static struct {
	char text[16384];
	size_t len;
} said;

void say(const char *format, ...)
{
	size_t room = sizeof(said.text) - said.len;
	va_list list;
	int len;

	va_start(list, format);
	len = vsnprintf(said.text + said.len, room, format, list);
	va_end(list);
	if (len > 0)
		said.len += min_u64((u64)len, room - 1);
}

void say_done(void)
{
	if (said.len && write(1, said.text, said.len) < 0)
		_exit(1);
	said.len = 0;
}

static const char *const gpr_names[16] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

static const char *const segment_names[X86_SEGS] = {"es", "cs", "ss",
						    "ds", "fs", "gs"};

struct differ {
	const char *const *names; /* of the two, to report; NULL only counts */
	unsigned count;
};

static void note(struct differ *d, const char *what, u64 bt, u64 host)
{
	if (bt == host)
		return;
	d->count++;
	if (d->names)
		say("    %-12s %s %016llx  %s %016llx\n", what, d->names[0],
		    (unsigned long long)bt, d->names[1],
		    (unsigned long long)host);
}

/* The way back from the handler, an IRET to ring 3, clears the RPL of null
 * selectors. */
static u16 null_is_0(u16 selector)
{
	return selector < 4 ? 0 : selector;
}

static void compare_gprs(struct differ *d, const struct test_case *c,
			 const struct machine_state *bt,
			 const struct machine_state *host)
{
	bool wide = c->form.code == W64;
	u64 mask = wide ? ~0ull : 0xffffffff;

	for (unsigned k = 0; k < (wide ? 16u : 8u); k++)
		note(d, gpr_names[k], bt->gpr[k] & mask, host->gpr[k] & mask);
	for (unsigned k = 0; k < X86_SEGS; k++)
		if (k != X86_CS)
			note(d, segment_names[k], null_is_0(bt->selector[k]),
			     null_is_0(host->selector[k]));
	note(d, "rip", bt->rip & mask, host->rip & mask);
}

/* A component that is not in the image is in its initial state. */
static void expand(u8 *image)
{
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)image;
	u64 have = *xsave_header(image);

	if (!(have & XCR0_X87)) {
		memset(x, 0, 24);
		memset(x->st, 0, sizeof(x->st));
		x->fcw = 0x37f;
	}
	if (!(have & XCR0_SSE))
		memset(x->xmm, 0, sizeof(x->xmm));
	if (!(have & XCR0_AVX))
		memset(image + XSAVE_YMM, 0, 256);
}

static void compare_bytes(struct differ *d, const char *name, unsigned n,
			  const u8 *bt, const u8 *host)
{
	u64 a[2] = {0}, b[2] = {0};
	char what[16];

	memcpy(a, bt, 16);
	memcpy(b, host, 16);
	snprintf(what, sizeof(what), "%s%u lo", name, n);
	note(d, what, a[0], b[0]);
	snprintf(what, sizeof(what), "%s%u hi", name, n);
	note(d, what, a[1], b[1]);
}

/* Of a gather that faulted only the mask's sign bits count: whether the rest
 * of an element has followed it already differs among CPUs. */
static void spread_mask(const struct test_case *c, u8 *image)
{
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)image;
	unsigned n = c->insn.v / 8, element = c->insn.rexw ? 8 : 4;
	u8 mask[32];

	memcpy(mask, x->xmm[n], 16);
	memcpy(mask + 16, image + XSAVE_YMM + 16 * n, 16);
	for (unsigned k = 0; k < 32; k += element)
		memset(mask + k, mask[k + element - 1] & 0x80 ? 0xff : 0,
		       element);
	memcpy(x->xmm[n], mask, 16);
	memcpy(image + XSAVE_YMM + 16 * n, mask + 16, 16);
}

static void compare_fpu(struct differ *d, const struct test_case *c,
			const struct outcome *bt, const struct outcome *host)
{
	struct machine_state s[2] = {bt->state, host->state};
	const struct bt_row *row = &bt_rows[c->form.row];
	bool faulted = host->vector != NO_FAULT;
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)s[0].xsave;
	struct xsave_legacy *y = (struct xsave_legacy *)(void *)s[1].xsave;

	expand(s[0].xsave);
	expand(s[1].xsave);
	for (unsigned k = 0; k < 2 && faulted && row->attrs & ROW_VSIB; k++)
		spread_mask(c, s[k].xsave);
	/* Whether the registers have been made MMX's before the fault. */
	if (faulted && row_is(row, "maskmovq"))
		return;
	note(d, "fcw", x->fcw, y->fcw);
	note(d, "fsw", x->fsw, y->fsw);
	note(d, "ftw", x->ftw, y->ftw);
	note(d, "mxcsr", x->mxcsr, y->mxcsr);
	if (memcmp(x->st, y->st, sizeof(x->st) + sizeof(x->xmm)) == 0 &&
	    memcmp(s[0].xsave + XSAVE_YMM, s[1].xsave + XSAVE_YMM, 256) == 0)
		return;
	for (unsigned k = 0; k < 8; k++) {
		memset(x->st[k] + 10, 0, 6);
		memset(y->st[k] + 10, 0, 6);
		compare_bytes(d, "st", k, x->st[k], y->st[k]);
	}
	for (unsigned k = 0; k < 16; k++) {
		compare_bytes(d, "xmm", k, x->xmm[k], y->xmm[k]);
		compare_bytes(d, "ymm high ", k,
			      s[0].xsave + XSAVE_YMM + 16 * k,
			      s[1].xsave + XSAVE_YMM + 16 * k);
	}
}

static void compare_flags(struct differ *d, const struct test_case *c,
			  const struct outcome *bt, const struct outcome *host,
			  struct tally *tally)
{
	u32 undefined = bt_rows[c->form.row].flags_undef;
	u32 differ = (bt->state.flags ^ host->state.flags) & undefined;
	u32 care = (FLAG_ARITH | FLAG_DF | FLAG_IF | FLAG_IOPL | FLAG_NT |
		    FLAG_AC | FLAG_ID) &
		   ~undefined;

	note(d, "flags", bt->state.flags & care, host->state.flags & care);
	if (!tally || !undefined || bt->vector != NO_FAULT)
		return;
	tally->undefined_cases++;
	tally->undefined_differ += differ != 0;
	tally->undefined_seen |= differ;
}

/*
 * A fault halfway: CPUs have stored or loaded part of the eight registers by
 * then, the interpreter nothing. RSP has not moved, so the restart does it all.
 */
bool compare_is_partial(const struct test_case *c, const struct outcome *host)
{
	return host->vector != NO_FAULT &&
	       row_is(&bt_rows[c->form.row], "pusha popa");
}

/* How the instruction ended. */
static void compare_ending(struct differ *d, const struct test_case *c,
			   const struct outcome *bt, const struct outcome *host)
{
	/* In what order these go about it is nobody's business. */
	u64 mask = compare_is_partial(c, host) || row_is(&bt_rows[c->form.row],
							 "fldenv frstor")
			   ? ~0xfffull
			   : ~0ull;

	note(d, "vector", (u64)(s64)bt->vector, (u64)(s64)host->vector);
	if (bt->vector != host->vector || bt->vector == NO_FAULT)
		return;
	note(d, "error", bt->error, host->error);
	if (bt->vector == VEC_PF)
		note(d, "cr2", bt->cr2 & mask, host->cr2 & mask);
}

static unsigned compare(const struct test_case *c, const struct outcome *bt,
			const struct outcome *host, const char *const names[2],
			struct tally *tally)
{
	struct differ d = {.names = names};

	compare_ending(&d, c, bt, host);
	if (!compare_is_partial(c, host))
		compare_gprs(&d, c, &bt->state, &host->state);
	compare_flags(&d, c, bt, host, tally);
	compare_fpu(&d, c, bt, host);
	return d.count;
}

unsigned compare_count(const struct test_case *c, const struct outcome *bt,
		       const struct outcome *host)
{
	return compare(c, bt, host, NULL, NULL);
}

bool compare_outcomes(const struct test_case *c, const struct outcome *bt,
		      const struct outcome *host, struct tally *tally)
{
	unsigned differences = compare(c, bt, host, NULL, tally);

	tally->cases++;
	tally->faults += host->vector != NO_FAULT;
	return differences == 0;
}

/* What a fault finds in flags that the instruction would have overwritten is
 * anybody's guess (docs/engine-bt.md, "Known and accepted"). */
bool compare_is_same(const struct test_case *c, const struct outcome *bt,
		     const struct outcome *jit)
{
	struct outcome known = *jit;
	u32 lost = jit->vector == NO_FAULT ? 0 : jit->flags_lost;

	known.state.flags &= ~lost;
	known.state.flags |= bt->state.flags & lost;
	return compare_count(c, bt, &known) == 0;
}

void compare_print(const struct test_case *c, const struct outcome *a,
		   const struct outcome *b, const char *const names[2])
{
	char text[160];

	plan_describe(&c->form, text, sizeof(text));
	say("%s:", text);
	for (unsigned k = 0; k < c->len; k++)
		say(" %02x", c->bytes[k]);
	bt_disasm(&c->insn, &c->parts, CODE_START, text, sizeof(text));
	say("  %s\n", text);
	say("    target %llx flags %x; %s vector %d error %x, %s vector %d "
	    "error %x cr2 %llx\n",
	    (unsigned long long)c->target, c->state.flags, names[0], a->vector,
	    a->error, names[1], b->vector, b->error,
	    (unsigned long long)b->cr2);
	for (unsigned k = 0; k < 16; k++)
		say("    %-3s %016llx%s", gpr_names[k],
		    (unsigned long long)c->state.gpr[k],
		    k % 4 == 3 ? "\n" : "");
	compare(c, a, b, names, NULL);
}
