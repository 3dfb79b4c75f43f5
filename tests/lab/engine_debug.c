/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine's set_debug, by its operations alone: single steps, INT3, watches,
 * and the guest's own #DB, which is none of a debugger's business.
 *
 *     engine_debug ENGINE [soft]
 *
 * soft: what QEMU's emulation of SVM can do, which is neither to intercept INT3
 * (raise_interrupt2() in excp_helper.c takes it for INT n) nor to keep a
 * guest's breakpoints out of the host. A KVM that interprets ring 0 has no
 * interception of INT3 and no data breakpoints. So those are tested where there
 * is a true KVM on true hardware, and said to be left out elsewhere.
 */
#include "ops_machine.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86.h"

enum { TF_IN_STATE = 0x100 };

static void debug(struct ops_machine *m, const struct vcpu_debug *what)
{
	assert_int_equal(m->engine->set_debug(m->vcpu, what), 0);
}

static void expect_stop(struct ops_machine *m, unsigned offset)
{
	assert_int_equal(ops_run(m), VCPU_EXIT_DEBUG);
	assert_int_equal(m->exit.rip, OPS_CODE + offset);
	assert_int_equal(ops_rip(m), OPS_CODE + offset);
}

/* ---- steps ------------------------------------------------------------- */

static void test_step(void **state)
{
	static const u8 code[] = {
		0x90,		 /* nop */
		0xff, 0xc0,	 /* inc eax */
		0x89, 0x07,	 /* mov [rdi], eax */
		0xeb, 0x01,	 /* jmp +1 */
		0xcc,		 /* int3 */
		0xe6, OPS_BELLS, /* out OPS_BELLS, al */
		0x90,		 /* nop */
		0xb0, 0x77,	 /* mov al, 0x77 */
		0xe6, OPS_PORT,	 /* out OPS_PORT, al */
	};
	static const unsigned stops[] = {1, 3, 5, 8, 10, 11, 13};
	struct ops_machine *m = *state;

	m->state.gpr[X86_RDI] = OPS_DATA;
	m->state.gpr[X86_RAX] = 6;
	ops_load(m, code, sizeof(code));
	debug(m, &(const struct vcpu_debug){.step = true});
	for (unsigned i = 0; i < ARRAY_SIZE(stops); i++) {
		expect_stop(m, stops[i]);
		assert_int_equal(m->write_count, stops[i] == 10);
	}
	debug(m, &(const struct vcpu_debug){0});
	assert_int_equal(ops_run_to_word(m), 0x77);
}

/* A kick and a step at once: first one, then the other. */
static void test_step_kick(void **state)
{
	static const u8 code[] = {
		0xe6, OPS_PORT, /* out OPS_PORT, al */
		0x90,		/* nop */
		0x90,		/* nop */
	};
	struct ops_machine *m = *state;
	unsigned kicks = 0, steps = 0;

	ops_load(m, code, sizeof(code));
	debug(m, &(const struct vcpu_debug){.step = true});
	while (steps < 2 && kicks < 2) {
		m->engine->run(m->vcpu, &m->exit);
		if (m->exit.kind == VCPU_EXIT_KICK) {
			kicks++;
			atomic_fetch_and(&m->vcpu->events, ~(u32)VCPU_EV_KICK);
			continue;
		}
		assert_int_equal(m->exit.kind, VCPU_EXIT_DEBUG);
		assert_int_equal(m->exit.rip, OPS_CODE + 2 + steps);
		steps++;
	}
	assert_int_equal(kicks, 1);
	assert_int_equal(steps, 2);
}

/* ---- INT3 -------------------------------------------------------------- */

static void test_breakpoint(void **state)
{
	static const u8 code[] = {
		0x90,		/* nop */
		0xcc,		/* int3 */
		0xb0, 0x77,	/* mov al, 0x77 */
		0xe6, OPS_PORT, /* out OPS_PORT, al */
	};
	struct ops_machine *m = *state;

	if (m->interpreted)
		skip();
	ops_load(m, code, sizeof(code));
	debug(m, &(const struct vcpu_debug){.breakpoints = true});
	/* Before the guest sees it: as often as it is tried. */
	expect_stop(m, 1);
	expect_stop(m, 1);
	debug(m, &(const struct vcpu_debug){0});
	assert_int_equal(ops_run_to_word(m), VEC_BP);
	assert_int_equal(ops_run_to_word(m), 0x77);
}

/* ---- watches ----------------------------------------------------------- */

static void test_watch_code(void **state)
{
	static const u8 code[] = {
		0x90,		/* nop */
		0xb0, 0x77,	/* mov al, 0x77 */
		0xe6, OPS_PORT, /* out OPS_PORT, al */
	};
	struct ops_machine *m = *state;
	struct vcpu_debug watch = {
		.watch[2] = {.addr = OPS_CODE + 1, .kind = 0, .len = 1}};

	ops_load(m, code, sizeof(code));
	debug(m, &watch);
	expect_stop(m, 1);
	debug(m, &(const struct vcpu_debug){0});
	assert_int_equal(ops_run_to_word(m), 0x77);
}

/* True: one instruction, which reads or writes `width` bytes, was stopped. */
static bool stops(struct ops_machine *m, bool write, u64 addr, unsigned width)
{
	u8 code[8] = {0};
	unsigned len = 0;

	if (width == 2)
		code[len++] = 0x66;
	if (width == 8)
		code[len++] = 0x48;
	code[len++] = (u8)((write ? 0x88 : 0x8a) | (width > 1));
	code[len++] = 0x07; /* mov [rdi], a or mov a, [rdi] */
	code[len++] = 0xe6; /* out OPS_PORT, al */
	code[len++] = OPS_PORT;
	m->state.gpr[X86_RDI] = addr;
	ops_load(m, code, len);
	if (ops_run(m) == VCPU_EXIT_KICK)
		return false;
	/* Behind it. */
	assert_int_equal(m->exit.kind, VCPU_EXIT_DEBUG);
	assert_int_equal(m->exit.rip, OPS_CODE + len - 2);
	return true;
}

static void test_watch_data(void **state)
{
	struct ops_machine *m = *state;
	const u64 at = OPS_DATA + 0x40;

	if (m->interpreted)
		skip();
	for (u8 len = 1; len <= 8; len *= 2)
		for (u8 kind = 1; kind <= 3; kind += 2) {
			const struct vcpu_debug watch = {
				.watch[1] = {at, kind, len}};

			debug(m, &watch);
			for (unsigned w = 1; w <= 8; w *= 2) {
				assert_true(stops(m, true, at, w));
				assert_int_equal(stops(m, false, at, w),
						 kind == 3);
				assert_false(stops(m, true, at - w, w));
				assert_false(stops(m, true, at + len, w));
			}
			assert_true(stops(m, true, at + len - 1, 1));
		}
}

static void test_watch_bad(void **state)
{
	struct ops_machine *m = *state;
	struct vcpu_debug watch = {.watch[0] = {OPS_DATA, 1, 3}};

	assert_int_equal(m->engine->set_debug(m->vcpu, &watch), -EINVAL);
	watch.watch[0].len = 16;
	assert_int_equal(m->engine->set_debug(m->vcpu, &watch), -EINVAL);
	watch.watch[0].len = 4;
	watch.watch[0].kind = 2;
	assert_int_equal(m->engine->set_debug(m->vcpu, &watch), -EINVAL);
}

/* ---- the guest's own #DB ----------------------------------------------- */

static void load_self_stepping(struct ops_machine *m)
{
	static const u8 code[] = {
		0x90,		/* nop, of which comes a #DB */
		0xb0, 0x77,	/* mov al, 0x77 */
		0xe6, OPS_PORT, /* out OPS_PORT, al */
	};

	m->state.rflags |= TF_IN_STATE;
	m->state.dr[6] = DR6_FIXED;
	ops_load(m, code, sizeof(code));
	m->state.rflags &= ~(u64)TF_IN_STATE;
}

static u64 guest_dr6(struct ops_machine *m)
{
	static struct x86_state now;

	assert_int_equal(m->engine->get_state(m->vcpu, &now), 0);
	return now.dr[6];
}

static void check_self_stepping(struct ops_machine *m)
{
	load_self_stepping(m);
	assert_int_equal(ops_run_to_word(m), VEC_DB);
	assert_int_equal(guest_dr6(m) & (DR6_BS | 0xf), DR6_BS);
}

static void test_own_step(void **state)
{
	struct ops_machine *m = *state;

	check_self_stepping(m);
	debug(m, &(const struct vcpu_debug){.breakpoints = true});
	check_self_stepping(m);
}

/* With a debugger's watches in place, and no hit of theirs. */
static void test_own_step_watched(void **state)
{
	struct ops_machine *m = *state;
	const struct vcpu_debug watch = {.watch[0] = {OPS_DATA, 1, 4}};

	debug(m, &watch);
	check_self_stepping(m);
}

/* Its breakpoints stay its own while a debugger has none. */
static void test_own_watch(void **state)
{
	static const u8 code[] = {
		0x88, 0x07,	/* mov [rdi], al */
		0x90,		/* nop */
		0xb0, 0x77,	/* mov al, 0x77 */
		0xe6, OPS_PORT, /* out OPS_PORT, al */
	};
	struct ops_machine *m = *state;

	if (m->interpreted)
		skip();
	m->state.gpr[X86_RDI] = m->state.dr[0] = OPS_DATA;
	m->state.dr[7] = 0x10402; /* DR0, writes of a byte */
	m->state.dr[6] = DR6_FIXED;
	debug(m, &(const struct vcpu_debug){.breakpoints = true});
	ops_load(m, code, sizeof(code));
	assert_int_equal(ops_run_to_word(m), VEC_DB);
	assert_int_equal(guest_dr6(m) & (DR6_BS | 0xf), 1);
	/* A stepping debugger sees the step, then the guest its trap. */
	ops_load(m, code, sizeof(code));
	debug(m, &(const struct vcpu_debug){.step = true});
	assert_int_equal(ops_run(m), VCPU_EXIT_DEBUG);
	assert_int_equal(m->exit.rip, OPS_CODE + 2);
	debug(m, &(const struct vcpu_debug){0});
	assert_int_equal(ops_run_to_word(m), VEC_DB);
	/* While a debugger watches, its registers are the debugger's. */
	ops_load(m, code, sizeof(code));
	debug(m, &(const struct vcpu_debug){.watch[0] = {OPS_DATA + 64, 1, 1}});
	assert_int_equal(ops_run_to_word(m), 0x77);
}

#define WITH_MACHINE(test) \
	cmocka_unit_test_setup_teardown(test, ops_setup, ops_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest soft[] = {
		WITH_MACHINE(test_step),
		WITH_MACHINE(test_step_kick),
		WITH_MACHINE(test_own_step),
		WITH_MACHINE(test_watch_bad),
	};
	const struct CMUnitTest hard[] = {
		WITH_MACHINE(test_watch_code),
		WITH_MACHINE(test_own_step_watched),
		WITH_MACHINE(test_breakpoint),
		WITH_MACHINE(test_watch_data),
		WITH_MACHINE(test_own_watch),
	};
	bool soft_only = argc == 3 && !strcmp(argv[2], "soft");
	const struct engine_ops *engine = ops_engine(argc - soft_only, argv);
	int failed;

	if (!engine->set_debug) {
		printf("%s has no set_debug\n", engine->name);
		return OPS_SKIP;
	}
	failed = cmocka_run_group_tests(soft, NULL, NULL);
	if (!soft_only)
		failed += cmocka_run_group_tests(hard, NULL, NULL);
	return failed;
}
