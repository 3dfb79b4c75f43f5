/* SPDX-License-Identifier: Apache-2.0 */
/*
 * silicon: the interpreter and the translator against the host's CPU, row by
 * row.
 *
 *     silicon [--seed N] [--cases K] [--row NAME] [--jobs N] [--verbose]
 *             [--undefined] [--no-translation | --check]
 *
 * --check has check mode compare interpreter and translation as well.
 *
 * Exit status 1 if anything differs, or a form of a row has no cases. The
 * same seed gives the same cases of a form, whatever else is tried.
 */
#include "silicon.h"

#include <errno.h>
#include <getopt.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HWCAP2_FSGSBASE BIT(1) /* asm/hwcap2.h */
#define MAX_JOBS 16
#define MAX_ROWS 4096
#define SHOWN_PER_FORM 1
#define CASES_INVALID 20 /* of what must be #UD whatever the operands */
#define STALL_SECONDS 30

struct options {
	u64 seed;
	unsigned cases, jobs;
	const char *row;
	bool verbose, undefined, translate, check;
};

struct row_result {
	struct tally tally;
	u32 forms, empty;
};

/* Between the parent and its workers. */
struct shared {
	_Atomic unsigned next_row;
	struct {
		_Atomic u64 cases;
		struct form form;
		u8 bytes[16];
		u8 len;
	} worker[MAX_JOBS];
	struct row_result rows[MAX_ROWS];
};

struct worker {
	const struct options *options;
	struct shared *shared;
	unsigned number;
	struct generator generator;
	u8 before[DATA_BYTES], after[DATA_BYTES]; /* a case */
};

/* ---- worker ------------------------------------------------------------ */

/* From here on instructions run that nobody wrote: only what the test and the
 * interpreter's locks need. */
static int confine(void)
{
	static const unsigned allowed[] = {
		SYS_write,	 SYS_rt_sigreturn,   SYS_futex,
		SYS_exit_group,	 SYS_exit,	     SYS_rt_sigaction,
		SYS_sched_yield, SYS_clock_nanosleep};
	struct sock_filter filter[2 * ARRAY_SIZE(allowed) + 5];
	struct sock_fprog program = {.filter = filter};
	const struct rlimit none = {0, 0};
	unsigned n = 0;

	filter[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
						   AUDIT_ARCH_X86_64, 1, 0);
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						   SECCOMP_RET_KILL_PROCESS);
	filter[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned k = 0; k < ARRAY_SIZE(allowed); k++) {
		filter[n++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, allowed[k], 0, 1);
		filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
							   SECCOMP_RET_ALLOW);
	}
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						   SECCOMP_RET_KILL_PROCESS);
	program.len = (unsigned short)n;
	setrlimit(RLIMIT_CORE, &none);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return -errno;
	return 0;
}

static bool same_memory(struct worker *w)
{
	return !memcmp(interpreter_memory(w->generator.interpreter),
		       native_memory(), DATA_BYTES);
}

static const char *const bt_and_host[2] = {"interpreter", "host"};
static const char *const bt_and_jit[2] = {"interpreter", "translation"};

static void print_memory(const u8 *a, const u8 *b, const char *const names[2])
{
	unsigned shown = 0;

	for (unsigned k = 0; k < DATA_BYTES && shown < 8; k++)
		if (a[k] != b[k] && ++shown)
			say("    [%llx]   %s %02x  %s %02x\n",
			    (unsigned long long)DATA + k, names[0], a[k],
			    names[1], b[k]);
}

static void sync_memory(struct worker *w)
{
	memcpy(native_memory(), interpreter_memory(w->generator.interpreter),
	       DATA_BYTES);
}

static bool sync_partial(struct worker *w, const struct test_case *c,
			 const struct outcome *host)
{
	if (!compare_is_partial(c, host))
		return false;
	sync_memory(w);
	return true;
}

/* The interpreter has run and left `bt`, and w->before is what memory was. */
static bool run_translation(struct worker *w, const struct test_case *c,
			    const struct outcome *bt, struct tally *tally,
			    bool show)
{
	u8 *memory = interpreter_memory(w->generator.interpreter);
	struct outcome jit = {0};
	enum ran ran;
	bool same;

	memcpy(w->after, memory, DATA_BYTES);
	memcpy(memory, w->before, DATA_BYTES);
	ran = interpreter_translate(w->generator.interpreter, c, &jit);
	tally->ran[ran]++;
	same = ran == RAN_NOT || ran == RAN_ONCE ||
	       (ran != RAN_OTHERWISE && compare_is_same(c, bt, &jit) &&
		!memcmp(memory, w->after, DATA_BYTES));
	if (!same && show) {
		compare_print(c, bt, &jit, bt_and_jit);
		print_memory(w->after, memory, bt_and_jit);
	}
	tally->jit_mismatches += !same;
	memcpy(memory, w->after, DATA_BYTES);
	return same;
}

static bool run_case(struct worker *w, struct test_case *c, struct tally *tally,
		     bool show)
{
	struct generator *g = &w->generator;
	struct outcome bt = {0}, host = {0};
	struct dispute d = {c,
			    &bt,
			    &host,
			    w->before,
			    interpreter_memory(g->interpreter),
			    native_memory()};
	bool same, memory, translated = true;

	w->shared->worker[w->number].form = c->form;
	w->shared->worker[w->number].len = c->len;
	memcpy(w->shared->worker[w->number].bytes, c->bytes, 16);
	w->shared->worker[w->number].cases++;
	memcpy(w->before, d.bt_memory, DATA_BYTES);
	interpreter_run(g->interpreter, c, &bt);
	if (w->options->translate && c->form.code == W64)
		translated = run_translation(w, c, &bt, tally, show);
	native_run(c, &host);
	same = compare_outcomes(c, &bt, &host, tally);
	memory = same_memory(w) || sync_partial(w, c, &host);
	if ((!same || !memory) && hosts_explain(g->interpreter, &d, tally)) {
		same = memory = true;
		sync_memory(w);
	}
	if ((!same || !memory) && show)
		compare_print(c, &bt, &host, bt_and_host);
	if (!memory) {
		if (show)
			print_memory(d.bt_memory, d.host_memory, bt_and_host);
		sync_memory(w);
	}
	if (w->options->verbose && same && memory)
		compare_print(c, &bt, &host, bt_and_host);
	if (w->options->verbose)
		say_done();
	return same && memory && translated;
}

static void run_form(struct worker *w, const struct form *form,
		     struct row_result *result)
{
	static struct test_case c;
	const char *why = "no operands fit";
	unsigned cases = w->options->cases, bad = 0;
	char text[160];

	memset(&c, 0, sizeof(c));
	w->generator.random.state =
		w->options->seed * 1000003 + form->row * 128u + result->forms;
	generate_memory(&w->generator);
	result->forms++;
	if (form->invalid)
		cases = (unsigned)min_u64(cases, CASES_INVALID);
	for (unsigned k = 0; k < cases; k++) {
		if (!generate_case(&w->generator, form, &c, &why)) {
			plan_describe(form, text, sizeof(text));
			say("%s: no cases: %s\n", text, why);
			say_done();
			result->empty++;
			return;
		}
		if (run_case(w, &c, &result->tally,
			     bad < SHOWN_PER_FORM || w->options->verbose))
			continue;
		if (++bad == 1)
			say("    (case %u)\n", k);
		result->tally.mismatches++;
	}
	if (bad > SHOWN_PER_FORM)
		say("    %u of %u cases differ\n", bad, cases);
	say_done();
}

static bool row_wanted(const struct options *o, unsigned row)
{
	return !o->row || !strcmp(bt_rows[row].name, o->row);
}

static bool has_feature(const struct worker *w, const struct form *form)
{
	const struct bt_row *row = &bt_rows[form->row];
	u8 feature =
		form->vex_l && row->feature_l1 ? row->feature_l1 : row->feature;

	return feature == FEAT_BASE ||
	       interpreter_features(w->generator.interpreter) & BIT(feature);
}

static void run_rows(struct worker *w)
{
	struct form forms[MAX_FORMS];
	unsigned row, count;

	while ((row = w->shared->next_row++) < bt_row_count) {
		if (!row_wanted(w->options, row) ||
		    plan_excluded(&bt_rows[row]))
			continue;
		count = plan_forms(row, forms);
		for (unsigned k = 0; k < count; k++)
			if (has_feature(w, &forms[k]))
				run_form(w, &forms[k], &w->shared->rows[row]);
	}
}

static int worker_main(struct worker *w)
{
	int ret = interpreter_create(&w->generator.interpreter,
				     w->options->check);

	if (!ret)
		ret = native_init();
	if (!ret)
		ret = confine();
	if (ret) {
		say("silicon: %s\n", strerror(-ret));
		say_done();
		return 1;
	}
	run_rows(w);
	return 0;
}

/* ---- parent ------------------------------------------------------------ */

static void describe_worker(const struct shared *shared, unsigned number)
{
	char text[160];

	plan_describe(&shared->worker[number].form, text, sizeof(text));
	printf("in %s:", text);
	for (unsigned k = 0; k < shared->worker[number].len; k++)
		printf(" %02x", shared->worker[number].bytes[k]);
	printf("\n");
}

/* Waits for the worker; false if it crashed or made no progress. */
static bool watch(const struct shared *shared, unsigned number, pid_t pid)
{
	u64 last = ~0ull;
	unsigned still = 0;
	int status;

	for (;;) {
		pid_t done = waitpid(pid, &status, WNOHANG);

		if (done == pid)
			break;
		usleep(50000);
		still = shared->worker[number].cases == last ? still + 1 : 0;
		last = shared->worker[number].cases;
		if (still < STALL_SECONDS * 20)
			continue;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		break;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	printf("worker %u ended with status %#x ", number, (unsigned)status);
	describe_worker(shared, number);
	return false;
}

static bool run_workers(const struct options *o, struct shared *shared)
{
	pid_t pids[MAX_JOBS];
	bool ok = true;

	for (unsigned k = 0; k < o->jobs; k++) {
		struct worker w = {.options = o, .shared = shared, .number = k};

		pids[k] = fork();
		if (pids[k] == 0)
			_exit(worker_main(&w));
	}
	for (unsigned k = 0; k < o->jobs; k++)
		ok &= watch(shared, k, pids[k]);
	return ok;
}

static void print_flags(u32 flags)
{
	static const struct {
		u32 bit;
		char name[3];
	} names[] = {{FLAG_OF, "OF"}, {FLAG_SF, "SF"}, {FLAG_ZF, "ZF"},
		     {FLAG_AF, "AF"}, {FLAG_PF, "PF"}, {FLAG_CF, "CF"}};

	for (unsigned k = 0; k < ARRAY_SIZE(names); k++)
		if (flags & names[k].bit)
			printf(" %s", names[k].name);
}

/* Flags the manual leaves undefined: which, and do they agree all the same? */
static void report_undefined(const struct shared *shared)
{
	for (unsigned k = 0; k < bt_row_count; k++) {
		const struct tally *t = &shared->rows[k].tally;

		if (!t->undefined_cases)
			continue;
		printf("undefined  %-10s %-10s", bt_rows[k].name,
		       bt_rows[k].operands);
		print_flags(bt_rows[k].flags_undef);
		printf(": %llu of %llu cases differ",
		       (unsigned long long)t->undefined_differ,
		       (unsigned long long)t->undefined_cases);
		print_flags(t->undefined_seen);
		printf("\n");
	}
}

static void report_excluded(void)
{
	for (unsigned k = 0; k < bt_row_count; k++) {
		const char *why = plan_excluded(&bt_rows[k]);

		if (why)
			printf("excluded   %-10s %-10s %s\n", bt_rows[k].name,
			       bt_rows[k].operands, why);
	}
}

static void report_rules(const u64 by_rule[HOST_RULES])
{
	for (unsigned k = 0; k < HOST_RULES; k++)
		if (by_rule[k])
			printf("this host  %s: %s (%llu cases)\n",
			       host_rule_rows(k), host_rule_text(k),
			       (unsigned long long)by_rule[k]);
}

static void report_translated(const struct tally *sum)
{
	const u64 *ran = sum->ran;

	printf("%llu cases ran translated: %llu as host code alone, %llu in "
	       "part by a function, %llu by the row's function; %llu were "
	       "refused, %llu not compared, %llu differ from the "
	       "interpreter\n",
	       (unsigned long long)(ran[RAN_AS_CODE] + ran[RAN_LONG_WAY] +
				    ran[RAN_BY_FUNCTION]),
	       (unsigned long long)ran[RAN_AS_CODE],
	       (unsigned long long)ran[RAN_LONG_WAY],
	       (unsigned long long)ran[RAN_BY_FUNCTION],
	       (unsigned long long)ran[RAN_NOT],
	       (unsigned long long)ran[RAN_ONCE],
	       (unsigned long long)sum->jit_mismatches);
}

static bool report(const struct options *o, const struct shared *shared)
{
	struct tally sum = {0};
	unsigned rows = 0, forms = 0, empty = 0, excluded = 0, absent = 0;

	for (unsigned k = 0; k < bt_row_count; k++) {
		const struct row_result *r = &shared->rows[k];

		if (plan_excluded(&bt_rows[k])) {
			excluded++;
			continue;
		}
		if (!row_wanted(o, k))
			continue;
		if (!r->forms) {
			absent++;
			printf("absent     %s %s: not on this host\n",
			       bt_rows[k].name, bt_rows[k].operands);
		}
		rows += r->forms != 0;
		forms += r->forms;
		empty += r->empty;
		sum.cases += r->tally.cases;
		sum.faults += r->tally.faults;
		sum.mismatches += r->tally.mismatches;
		sum.jit_mismatches += r->tally.jit_mismatches;
		for (unsigned n = 0; n < RAN_KINDS; n++)
			sum.ran[n] += r->tally.ran[n];
		sum.undefined_cases += r->tally.undefined_cases;
		sum.undefined_differ += r->tally.undefined_differ;
		for (unsigned n = 0; n < HOST_RULES; n++)
			sum.by_rule[n] += r->tally.by_rule[n];
	}
	report_rules(sum.by_rule);
	printf("%u rows, %u forms (%u without cases), %u rows excluded, %u "
	       "absent\n%llu cases, %llu of them faults; %llu differ; of %llu "
	       "with undefined flags %llu differ in these\n",
	       rows, forms, empty, excluded, absent,
	       (unsigned long long)sum.cases, (unsigned long long)sum.faults,
	       (unsigned long long)sum.mismatches,
	       (unsigned long long)sum.undefined_cases,
	       (unsigned long long)sum.undefined_differ);
	if (o->translate)
		report_translated(&sum);
	return rows && !empty && !sum.mismatches && !sum.ran[RAN_NOT];
}

static void parse(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'},
		{"cases", required_argument, NULL, 'c'},
		{"row", required_argument, NULL, 'r'},
		{"jobs", required_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'},
		{"undefined", no_argument, NULL, 'u'},
		{"no-translation", no_argument, NULL, 'n'},
		{"check", no_argument, NULL, 'k'},
		{NULL, 0, NULL, 0}};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 's')
			o->seed = strtoull(optarg, NULL, 0);
		else if (opt == 'c')
			o->cases = (unsigned)strtoul(optarg, NULL, 0);
		else if (opt == 'r')
			o->row = optarg;
		else if (opt == 'j')
			o->jobs = (unsigned)strtoul(optarg, NULL, 0);
		else if (opt == 'v')
			o->verbose = true;
		else if (opt == 'u')
			o->undefined = true;
		else if (opt == 'n')
			o->translate = false;
		else if (opt == 'k')
			o->check = true;
		else
			exit(2);
	}
	if (!o->jobs || o->jobs > MAX_JOBS)
		o->jobs = 1;
}

/* What native.c stands on. */
static const char *host_lacks(void)
{
	if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE))
		return "FSGSBASE, or a kernel that allows it";
	return __builtin_cpu_supports("avx") ? NULL : "AVX";
}

int main(int argc, char **argv)
{
	struct options o = {
		.seed = 1, .cases = 200, .jobs = 2, .translate = true};
	struct shared *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool ok;

	parse(argc, argv, &o);
	if (host_lacks()) {
		printf("this host has no %s\n", host_lacks());
		return 77;
	}
	setlinebuf(stdout);
	if (shared == MAP_FAILED || bt_row_count > MAX_ROWS)
		return 1;
	ok = run_workers(&o, shared);
	if (o.undefined) {
		report_undefined(shared);
		report_excluded();
	}
	return report(&o, shared) && ok ? 0 : 1;
}
