/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One instruction, run by the interpreter, by its translation and by the host's
 * CPU, compared.
 *
 * Theory of operation
 * -------------------
 * plan.c makes of each row of the opcode tables the forms that must be tried:
 * width, register or memory, prefixes. generate.c makes random cases of a
 * form: bytes, registers, memory. A case runs three times, from the same state:
 * in the interpreter on a guest of one vCPU and, if it is 64-bit code, there
 * once more as a translated block (interpret.c), and on the host's CPU
 * (native.c), whose signal handler puts the case's state into the signal
 * frame and takes the outcome out of the next one. The guest's linear
 * addresses are the host's, the guest's RAM is not the host's: after each case
 * the two memories are compared as well.
 *
 * All of it happens in worker processes that can do no system calls but
 * those the test itself needs; the parent watches them (main.c).
 */
#pragma once

#include "arch/x86_state.h"
#include "engine/bt/decode.h"
#include "arch/xsave.h"

/* ---- memory, at the same addresses in both ----------------------------- */

#define WINDOW 0x20000000ull
#define DATA (WINDOW + 0x1000) /* pages before and behind are unmapped */
#define DATA_PAGES 4	       /* the last is read-only */
#define DATA_BYTES (DATA_PAGES * 0x1000)
#define DATA_WRITABLE (DATA_BYTES - 0x1000)
#define CODE (WINDOW + 0x10000) /* filled with INT3 */
#define CODE_BYTES 0x1000
#define CODE_START (CODE + 0x800)

/* ---- cases ------------------------------------------------------------- */

#define XSAVE_BYTES 832 /* x87, SSE and AVX in the standard format */
#define XSAVE_YMM 576
#define XSAVE_MASK (XCR0_X87 | XCR0_SSE | XCR0_AVX)

struct machine_state {
	u64 gpr[16];
	u64 rip;
	u32 flags;
	u64 gs_base;
	u16 selector[X86_SEGS]; /* of an outcome, CS excepted */
	u8 xsave[XSAVE_BYTES] __attribute__((aligned(64)));
};

enum { NO_FAULT = -1 };

/* Bytes that memory has otherwise than the interpreter left it. */
struct patch {
	u64 at;
	u8 len;
	u8 bytes[16];
};

struct outcome {
	int vector; /* or NO_FAULT */
	u32 error;
	u64 cr2;
	u32 flags_lost; /* by a translation, if the instruction faults */
	struct machine_state state;
	struct patch patch; /* of what a rule foretells (hosts.c) */
};

enum operand_size { SIZE_PLAIN, SIZE_66, SIZE_W };

/* What is tried of a row. */
struct form {
	u16 row;
	u8 code; /* W64 or W32 */
	u8 size; /* enum operand_size */
	bool mem, lock;
	u8 address; /* 67 */
	u8 rep;	    /* enum bt_rep */
	u8 vex_l;
	bool vex_l_free;
	bool invalid; /* must be #UD: LOCK where it may not be */
};

struct test_case {
	struct form form;
	u8 bytes[16];
	u8 len;
	bool uses_gs;
	bool flush; /* the interpreter's TLB first */
	struct bt_insn insn;
	struct bt_parts parts;
	u64 target; /* address of the memory operand */
	struct machine_state state;
};

/* Writes to standard output and nothing else: workers may do no more. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_done(void);

/* ---- random numbers (random.c) ----------------------------------------- */

struct random {
	u64 state;
};

u64 random_u64(struct random *r);
unsigned random_below(struct random *r, unsigned limit);
bool random_chance(struct random *r, unsigned percent);
/* Edge values turn up more often than chance would have them. */
u64 random_value(struct random *r);
void random_floats(struct random *r, void *dst, unsigned bytes);
void random_st(struct random *r, u8 st[16]);

/* ---- plan.c ------------------------------------------------------------ */

#define MAX_FORMS 96

/* Why no user process can run the row; NULL: it is tried. */
const char *plan_excluded(const struct bt_row *row);
unsigned plan_forms(unsigned row, struct form forms[MAX_FORMS]);
void plan_describe(const struct form *form, char *buf, size_t len);

bool row_is(const struct bt_row *row, const char *names);

/* ---- the two machines -------------------------------------------------- */

struct interpreter;

/* `check`: translations run by check mode. */
int interpreter_create(struct interpreter **out, bool check);
u8 *interpreter_memory(struct interpreter *in); /* DATA_BYTES */
u64 interpreter_features(const struct interpreter *in);
/* Fills in c->insn and parts. */
enum bt_decode_status interpreter_decode(struct interpreter *in,
					 struct test_case *c);
void interpreter_run(struct interpreter *in, const struct test_case *c,
		     struct outcome *out);

/* As if no access could fault for its page: the read-only page and those around
 * the data can be written, for this run alone. `memory` is what it starts from
 * and what it leaves; the case's own stays what it is. */
#define OPEN (DATA - 0x1000)
#define OPEN_BYTES (DATA_BYTES + 0x2000)
void interpreter_run_open(struct interpreter *in, const struct test_case *c,
			  u8 memory[OPEN_BYTES], struct outcome *out);

/* How a translation ran. */
enum ran {
	RAN_NOT,	 /* the translator gave up */
	RAN_AS_CODE,	 /* emitted code alone */
	RAN_LONG_WAY,	 /* an access missed the TLB, the host's CPU faulted */
	RAN_BY_FUNCTION, /* the row has no code of its own */
	RAN_OTHERWISE,	 /* check mode has found a difference */
	RAN_ONCE,	 /* check mode: by the interpreter alone (time, ...) */
	RAN_KINDS
};

/* The same as a translated block of this one instruction; 64-bit code only. */
enum ran interpreter_translate(struct interpreter *in,
			       const struct test_case *c, struct outcome *out);

int native_init(void);
u8 *native_memory(void); /* a writable view of DATA_BYTES */
void native_run(const struct test_case *c, struct outcome *out);

/* ---- generate.c -------------------------------------------------------- */

struct generator {
	struct random random;
	struct interpreter *interpreter;
};

void generate_memory(struct generator *g);
/* False: this form cannot be encoded, and why. */
bool generate_case(struct generator *g, const struct form *form,
		   struct test_case *c, const char **why);
/* The size of its operand in memory. */
unsigned operand_bytes(const struct test_case *c);

/* ---- compare.c and hosts.c --------------------------------------------- */

/* What hosts do otherwise and may. */
enum host_rule {
	RULE_CMPS_ORDER,
	RULE_REP_FLAGS,
	RULE_VERW_LOCK,
	RULE_REP_COUNT,
	RULE_PUSH_HALF,
	RULE_POP_HALF,
	RULE_CALL_PUSHED,
	RULE_MMX_FIRST,
	RULE_MASKED_LAST,
	RULE_MASKED_HALF,
	RULE_NUMERIC_FIRST,
	RULE_MXCSR_FIRST,
	RULE_TBYTE_HALF,
	RULE_GATHER_MASK,
	RULE_GATHER_TARGET,
	HOST_RULES
};

/* A case that ended in two ways, and memory (DATA_BYTES) before it, where the
 * interpreter left it, and where the host did. */
struct dispute {
	const struct test_case *c;
	const struct outcome *bt, *host;
	const u8 *before, *bt_memory, *host_memory;
};

struct tally {
	u64 cases, faults, mismatches;
	u64 ran[RAN_KINDS], jit_mismatches;    /* translations */
	u64 undefined_cases, undefined_differ; /* flags, by case */
	u32 undefined_seen;		       /* those that differed */
	u64 by_rule[HOST_RULES];	       /* cases that needed it */
};

/* Counts; true if all that is defined is equal. */
bool compare_outcomes(const struct test_case *c, const struct outcome *bt,
		      const struct outcome *host, struct tally *tally);
/* How many differences there are. */
unsigned compare_count(const struct test_case *c, const struct outcome *bt,
		       const struct outcome *host);
/* Registers and memory need not be what they were. */
bool compare_is_partial(const struct test_case *c, const struct outcome *host);
/* `names`: of the two. */
void compare_print(const struct test_case *c, const struct outcome *a,
		   const struct outcome *b, const char *const names[2]);
/* All that is defined is equal, but for flags that a translation may lose. */
bool compare_is_same(const struct test_case *c, const struct outcome *bt,
		     const struct outcome *jit);

/* The instructions a rule is for, as row_is() takes them, and what it says. */
const char *host_rule_rows(enum host_rule rule);
const char *host_rule_text(enum host_rule rule);
/* True if rules make the two equal; counts those that it took. */
bool hosts_explain(struct interpreter *in, const struct dispute *d,
		   struct tally *tally);

/* Those of hosts_store.c: false if it does not apply, and *o is what it was. */
typedef bool host_rule_fn(struct interpreter *in, const struct dispute *d,
			  struct outcome *o);
host_rule_fn host_push_half, host_pop_half, host_call_pushed, host_mmx_first,
	host_masked_last, host_masked_half, host_numeric_first,
	host_mxcsr_first, host_tbyte_half, host_gather_mask, host_gather_target;
