/* SPDX-License-Identifier: Apache-2.0 */
/* Which forms of a row must be tried, from the row alone. */
#include "silicon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `names`: separated by spaces. */
bool row_is(const struct bt_row *row, const char *names)
{
	size_t len = strlen(row->name);

	for (const char *p = strstr(names, row->name); p;
	     p = strstr(p + 1, row->name))
		if ((p == names || p[-1] == ' ') && (!p[len] || p[len] == ' '))
			return true;
	return false;
}

/*
 * The tables mark what depends on more than a process has. Of these a process
 * can run what must fail at CPL 3, what asks for descriptors (the guest has
 * Linux's), and what the host does in the same way whoever asks.
 */
static const char runs_all_the_same[] =
	"popf cli sti in out ins outs les lds lss lfs lgs lldt ltr verr verw "
	"lar lsl ud0 ud1 ud2 prefetch prefetchw clflush clflushopt clwb "
	"sysret sysexit fldenv frstor fninit";

const char *plan_excluded(const struct bt_row *row)
{
	if (!(row->attrs & ROW_NOTEST) || row->attrs & ROW_PRIV ||
	    row_is(row, runs_all_the_same))
		return NULL;
	if (row_is(row, "fnstenv fnsave fxsave fxrstor xsave xrstor xsaveopt "
			"xsavec"))
		return "images with addresses in them: tests/unit/test_bt_fpu";
	if (row_is(row, "rdfsbase rdgsbase wrfsbase wrgsbase xgetbv cpuid "
			"rdtsc rdtscp rdpid rdpmc rdrand rdseed smsw sldt str "
			"sgdt sidt"))
		return "answers differ between host and guest: tests/guest";
	return "leaves the code or the privilege level: tests/guest";
}

struct plan {
	const struct bt_row *row;
	const struct bt_decode_rule *rule;
	struct form *forms;
	unsigned count;
};

static void add(struct plan *p, const struct form *form)
{
	if (p->count == MAX_FORMS)
		abort(); /* a row with more forms than anyone thought of */
	p->forms[p->count++] = *form;
}

static bool is_string(const struct bt_row *row)
{
	return row_is(row, "movs cmps stos lods scas") && row->map == 0 &&
	       !(row->attrs & ROW_SIMD);
}

static bool uses_address_size(const struct plan *p, bool mem)
{
	return mem || is_string(p->row) ||
	       row_is(p->row, "xlat loop loope loopne jcxz maskmovq "
			      "maskmovdqu vmaskmovdqu");
}

/* Where LOCK may not be it is #UD, but for MOV to and from CR0: AMD's CPUs take
 * it for CR8. */
static void add_locked(struct plan *p, struct form form)
{
	form.lock = true;
	form.invalid = !form.mem || !(p->row->attrs & ROW_LOCK);
	if (form.invalid &&
	    (form.address || form.rep || p->row->attrs & ROW_PRIV))
		return;
	add(p, &form);
}

/* LOCK, REP, address size. */
static void add_prefixes(struct plan *p, struct form form)
{
	bool wide = form.code == W64;

	for (form.address = 0; form.address < 2; form.address++) {
		if (form.address && (!wide || !uses_address_size(p, form.mem)))
			break;
		for (form.rep = 0; form.rep < 3; form.rep++) {
			if (form.rep && !is_string(p->row))
				break;
			form.lock = false;
			add(p, &form);
			add_locked(p, form);
		}
	}
}

static void add_vector_lengths(struct plan *p, struct form form)
{
	u32 attrs = p->row->attrs;

	if (!(attrs & ROW_VEX)) {
		add_prefixes(p, form);
		return;
	}
	form.vex_l_free = attrs & ROW_LIG;
	for (form.vex_l = 0; form.vex_l < 2; form.vex_l++) {
		if ((form.vex_l && attrs & (ROW_L0 | ROW_LIG)) ||
		    (!form.vex_l && attrs & ROW_L1))
			continue;
		add_prefixes(p, form);
	}
}

static void add_kinds(struct plan *p, struct form form)
{
	const struct bt_row *row = p->row;

	if (p->rule->operands == OP_MOFFS) {
		form.mem = true;
		add_vector_lengths(p, form);
		return;
	}
	if (!p->rule->modrm) {
		add_vector_lengths(p, form);
		return;
	}
	if (row->mod != 0)
		add_vector_lengths(p, form);
	form.mem = true;
	if (row->mod != 3 && !strchr(row->operands, 'R'))
		add_vector_lengths(p, form);
}

/* Can 66 and REX.W (or VEX.W) choose the width? */
static bool size_exists(const struct plan *p, unsigned size, unsigned code)
{
	const struct bt_row *row = p->row;
	unsigned width = p->rule->width;
	bool y = strchr(row->operands, 'y') != NULL;

	switch (size) {
	case SIZE_66:
		if (row_is(row, "fldenv frstor"))
			return true;
		if (row->attrs & (ROW_SIMD | ROW_VEX | ROW_X87 | ROW_F64) ||
		    row->prefix == 0 || row->prefix == 1)
			return false;
		return width == WR_V || width == WR_Z;
	case SIZE_W:
		if (code != W64 || row->attrs & (ROW_D64 | ROW_F64 | ROW_W0))
			return false;
		return width == WR_V || width == WR_Y || y ||
		       row->attrs & ROW_VEX;
	default:
		return !(row->attrs & ROW_W1);
	}
}

unsigned plan_forms(unsigned row, struct form forms[MAX_FORMS])
{
	struct plan p = {.row = &bt_rows[row],
			 .rule = &bt_decode_rules[row],
			 .forms = forms};
	struct form form = {.row = (u16)row};

	for (form.code = W32; form.code <= W64; form.code++) {
		if (p.row->mode64 >= 0 && p.row->mode64 != (form.code == W64))
			continue;
		for (form.size = SIZE_PLAIN; form.size <= SIZE_W; form.size++)
			if (size_exists(&p, form.size, form.code))
				add_kinds(&p, form);
	}
	return p.count;
}

void plan_describe(const struct form *f, char *buf, size_t len)
{
	static const char *const maps[] = {"", "0F ", "0F38 ", "0F3A "};
	static const char *const sizes[] = {"", " 66", " W"};
	static const char *const reps[] = {"", " REP", " REPNE"};
	const struct bt_row *row = &bt_rows[f->row];

	snprintf(buf, len, "%s %s (%s%s%02X row %u) %s%s%s%s%s%s%s%s",
		 row->name, row->operands, row->attrs & ROW_VEX ? "VEX " : "",
		 maps[row->map], row->opcode, f->row,
		 f->code == W64 ? "64-bit" : "32-bit",
		 f->mem ? " memory" : " register", sizes[f->size],
		 f->lock ? " LOCK" : "", f->address ? " 67" : "", reps[f->rep],
		 f->vex_l ? " 256" : "", f->invalid ? " invalid" : "");
}
