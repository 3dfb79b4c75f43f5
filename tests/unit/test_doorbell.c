/* SPDX-License-Identifier: Apache-2.0 */
/* Doorbells: given to engines that take them, taken along to the next one. */
#include "unit.h"

#include <errno.h>

#include "vm_fixture.h"
#include "vmm/doorbell.h"

/* An engine that takes writes to even addresses only. */
static unsigned taken;

static int even_doorbell(struct vm *vm, const struct engine_doorbell *bell,
			 bool on)
{
	if (bell->addr % 2)
		return -EINVAL;
	taken += on ? 1 : -1u;
	return 0;
}

static const struct engine_ops even_engine = {
	.name = "even",
	.vm_create = fixture_vm_create,
	.vcpu_create = fixture_vcpu_create,
	.vcpu_destroy = fixture_vcpu_nothing,
	.kick = fixture_vcpu_nothing,
	.doorbell = even_doorbell,
};

static void test_engines_come_and_go(void **state)
{
	struct doorbell bells[] = {
		{.bell = {.mmio = true, .addr = 0xc0000000}},
		{.bell = {.mmio = true, .addr = 0xc0000001}},
		{.bell = {.mmio = true, .addr = 0xc0000002}},
	};
	struct vm *vm = fixture_vm(1);

	taken = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(bells); i++)
		doorbell_set(&bells[i], vm);
	assert_false(bells[0].taken);
	vm->engine = &even_engine;
	doorbell_engine_changed(vm);
	assert_int_equal(taken, 2);
	assert_true(bells[0].taken && !bells[1].taken && bells[2].taken);
	doorbell_clear(&bells[0]);
	assert_int_equal(taken, 1);
	doorbell_clear(&bells[0]);
	assert_int_equal(taken, 1);
	doorbell_set(&bells[0], vm);
	assert_int_equal(taken, 2);
	/* The engine goes, and what it took with it. */
	vm->engine = &fixture_engine;
	doorbell_engine_changed(vm);
	for (unsigned i = 0; i < ARRAY_SIZE(bells); i++)
		doorbell_clear(&bells[i]);
	assert_int_equal(taken, 2);
	assert_null(vm->doorbells);
	vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_engines_come_and_go),
	};

	return cmocka_run_group_tests_name("doorbell", tests, NULL, NULL);
}
