/* SPDX-License-Identifier: Apache-2.0 */
/* RESET and INIT values, [1] Intel SDM vol. 3A table 10-1. */
#include "unit.h"

#include <string.h>

#include "arch/x86.h"
#include "arch/x86_state.h"

static void test_reset(void **unused)
{
	struct x86_state state;

	memset(&state, 0xa5, sizeof(state));
	x86_state_reset(&state);
	assert_int_equal(state.rip, 0xfff0);
	assert_int_equal(state.rflags, 2);
	assert_int_equal(state.cr0, 0x60000010);
	assert_int_equal(state.cr4, 0);
	assert_int_equal(state.seg[X86_CS].selector, 0xf000);
	assert_int_equal(state.seg[X86_CS].base, 0xffff0000);
	assert_int_equal(state.seg[X86_CS].limit, 0xffff);
	assert_int_equal(state.seg[X86_CS].attr, 0x9b);
	assert_int_equal(state.seg[X86_SS].attr, 0x93);
	assert_int_equal(state.seg[X86_TR].attr, 0x8b);
	assert_int_equal(state.seg[X86_LDTR].attr, 0x82);
	assert_int_equal(state.gdtr.limit, 0xffff);
	assert_int_equal(state.dr[6], 0xffff0ff0);
	assert_int_equal(state.dr[7], 0x400);
	assert_int_equal(state.xcr0, 1);
	assert_int_equal(state.msr.pat, 0x0007040600070406);
	assert_int_equal(state.msr.apic_base, 0xfee00900);
	assert_int_equal(state.mp_state, X86_MP_RUNNABLE);
	assert_int_equal(state.xsave[0], 0x40);
	assert_int_equal(state.xsave[512], 3);
}

static void test_init_keeps(void **unused)
{
	struct x86_state state;

	x86_state_reset(&state);
	state.rip = 0x1234;
	state.gpr[X86_R15] = 1;
	state.cr0 = CR0_PE | CR0_PG | CR0_CD | CR0_ET;
	state.cr3 = 0x1000;
	state.xcr0 = 7;
	state.tsc = 99;
	state.exc_pending = 1;
	state.nmi_masked = 1;
	state.msr.efer = EFER_LME | EFER_LMA;
	state.msr.lstar = 0x55;
	state.msr.mtrr_def_type = 0xc06;
	state.msr.kvm_system_time = 0x1001;
	state.msr.apic_base = 0xfee00c00;
	state.xsave[160] = 0x77;
	x86_state_init(&state);

	assert_int_equal(state.mp_state, X86_MP_WAIT_SIPI);
	assert_int_equal(state.rip, 0xfff0);
	assert_int_equal(state.gpr[X86_R15], 0);
	assert_int_equal(state.cr0, CR0_ET | CR0_CD);
	assert_int_equal(state.cr3, 0);
	assert_int_equal(state.exc_pending, 0);
	assert_int_equal(state.nmi_masked, 0);
	assert_int_equal(state.msr.efer, 0);
	assert_int_equal(state.msr.kvm_system_time, 0);
	/* Kept. */
	assert_int_equal(state.xcr0, 7);
	assert_int_equal(state.tsc, 99);
	assert_int_equal(state.msr.lstar, 0x55);
	assert_int_equal(state.msr.mtrr_def_type, 0xc06);
	assert_int_equal(state.msr.apic_base, 0xfee00c00);
	assert_int_equal(state.xsave[160], 0x77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_init_keeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
