/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PC as a whole: what answers where, what is empty on purpose, and the
 * ways out of it. Chips have tests of their own.
 */
#include "unit.h"

#include <string.h>

#include "arch/platform.h"
#include "board/board.h"
#include "boot/boot.h"
#include "chips/acpi_pm.h"
#include "vm_fixture.h"

static struct vm *make(const struct board_config *config, struct board *board)
{
	struct vm *vm = fixture_vm(2);
	struct err err = {0};

	if (board_pc(vm, config, board, &err))
		fail_msg("%s", err.msg);
	return vm;
}

static u32 get(struct vm *vm, enum bus_space space, u64 addr, unsigned width)
{
	u32 val = 0;

	bus_read(&vm->bus, space, addr, width, 1, &val);
	return val;
}

static void put(struct vm *vm, u64 port, unsigned width, u32 val)
{
	bus_write(&vm->bus, BUS_PIO, port, width, 1, &val);
}

static void test_types_are_registered(void **unused)
{
	static const char *const names[] = {
		"acpi-pm", "debug-exit", "host-bridge", "hvt-calls",
		"i8042",   "ignored",	 "ioapic",	"pci-host",
		"pic",	   "pit",	 "reset",	"rtc",
		"serial",  "virtio-blk", "virtio-rng",
	};
	const struct device_type *type = NULL;
	unsigned count = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		type = device_type_find(names[i]);
		assert_non_null(type);
		assert_string_equal(type->name, names[i]);
		assert_true(strlen(type->help) > 0);
	}
	for (type = NULL; (type = device_type_next(type));)
		count++;
	assert_int_equal(count, ARRAY_SIZE(names));
}

static void test_what_answers(void **unused)
{
	struct board_config config = {.serials = 4};
	struct board board = {0};
	struct vm *vm = make(&config, &board);
	static const u16 uarts[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(get(vm, BUS_PIO, uarts[i] + 5u, 1), 0x60);
	assert_int_equal(get(vm, BUS_PIO, 0x64, 1), 0x14);
	assert_int_equal(get(vm, BUS_PIO, 0x4d0, 2), 1 << PLAT_ACPI_SCI);
	put(vm, 0x70, 1, 0x0d);
	assert_int_equal(get(vm, BUS_PIO, 0x71, 1), 0x80);
	assert_int_equal(get(vm, BUS_PIO, PLAT_PM_CNT, 2), 1);
	assert_int_equal(get(vm, BUS_MMIO, PLAT_ECAM_BASE, 4), 0x00081b36);
	put(vm, 0xcf8, 4, 0x80000000);
	assert_int_equal(get(vm, BUS_PIO, 0xcfc, 4), 0x00081b36);
	assert_int_equal(vm->bus.unclaimed, 0);
	vm_destroy(vm);
}

static void test_ignored_ports(void **unused)
{
	struct board_config config = {.serials = 1};
	struct board board = {0};
	struct vm *vm = make(&config, &board);
	static const u16 ports[] = {0x80, 0xed,	 0x2e,	0x4e,  0x3d4,
				    0x87, 0x2f8, 0x1f7, 0x376, 0x00};

	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
		put(vm, ports[i], 1, 0x5a);
		assert_int_equal(get(vm, BUS_PIO, ports[i], 1), 0xff);
	}
	put(vm, 0x3c4, 2, 0x1234);
	assert_int_equal(vm->bus.unclaimed, 0);
	assert_int_equal(get(vm, BUS_PIO, 0x5000, 1), 0xff);
	assert_int_equal(vm->bus.unclaimed, 1);
	vm_destroy(vm);
}

/* The RSDP where the board says, and all of the tables' length in RAM. */
static void test_tables(void **unused)
{
	struct board_config config = {.serials = 1};
	struct board board = {0};
	struct vm *vm = make(&config, &board);
	u8 rsdp[36], sum = 0;

	assert_true(mem_read(&vm->mem, board.acpi_rsdp, rsdp, sizeof(rsdp)));
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	for (unsigned i = 0; i < sizeof(rsdp); i++)
		sum += rsdp[i];
	assert_int_equal(sum, 0);
	assert_in_range(board.acpi_rsdp, BOOT_ACPI,
			BOOT_ACPI + BOOT_ACPI_SIZE - 1);
	vm_destroy(vm);
}

static void test_ways_out(void **unused)
{
	static const struct {
		const char *debug_exit;
		u16 port;
		u8 width;
		u32 val;
		enum vm_stop_reason reason;
		int code;
	} ways[] = {
		{NULL, 0x64, 1, 0xfe, VM_STOP_RESET, 0},
		{NULL, 0x92, 1, 0x01, VM_STOP_RESET, 0},
		{NULL, 0xcf9, 1, 0x06, VM_STOP_RESET, 0},
		{NULL, 0xcf9, 1, 0x0e, VM_STOP_RESET, 0},
		{NULL, PLAT_PM_CNT, 2, 0x2000 | PLAT_S5_TYPE << 10,
		 VM_STOP_POWEROFF, 0},
		{NULL, 0xf4, 1, 0x10, VM_STOP_NONE, 0},
		{"", 0xf4, 1, 0x10, VM_STOP_DEBUG_EXIT, 0x21},
		{"", 0xf4, 2, 0x10, VM_STOP_DEBUG_EXIT, 0x21},
		{"", 0xf4, 4, 0x00, VM_STOP_DEBUG_EXIT, 0x01},
		{"", 0xf4, 4, 0xff, VM_STOP_DEBUG_EXIT, 0xff},
		{"", 0xf4, 4, 0x12345680, VM_STOP_DEBUG_EXIT, 0x01},
		{"", 0xf7, 1, 0x03, VM_STOP_DEBUG_EXIT, 0x07},
		{"raw=on", 0xf4, 1, 0x10, VM_STOP_DEBUG_EXIT, 0x10},
		{"raw=on", 0xf4, 4, 0x00, VM_STOP_DEBUG_EXIT, 0x00},
		{"port=0x501,size=2", 0x501, 1, 0x31, VM_STOP_DEBUG_EXIT, 0x63},
		{"port=0xe9,size=1", 0xe9, 1, 0x02, VM_STOP_DEBUG_EXIT, 0x05},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		struct board_config config = {.serials = 1};
		struct board board = {0};
		struct vm *vm;

		config.debug_exit = ways[i].debug_exit;
		vm = make(&config, &board);
		put(vm, ways[i].port, ways[i].width, ways[i].val);
		assert_int_equal(vm->stop_reason, ways[i].reason);
		assert_int_equal(vm->stop_code, ways[i].code);
		vm_destroy(vm);
	}
}

static void test_power_button(void **unused)
{
	struct board_config config = {.serials = 1};
	struct board board = {0};
	struct vm *vm = make(&config, &board);

	assert_non_null(board.power);
	acpi_pm_power_button(board.power);
	assert_int_equal(get(vm, BUS_PIO, PLAT_PM_EVT, 2), 0x0100);
	vm_destroy(vm);
}

/* In the order of their slots, and no more than there are. */
static void test_pci_devices(void **unused)
{
	const char *devices[32];
	struct board_config config = {.serials = 1, .devices = devices};
	struct board board = {0};
	struct err err = {0};
	struct vm *vm;

	for (unsigned i = 0; i < ARRAY_SIZE(devices); i++)
		devices[i] = i % 2 ? "virtio-rng,packed=off" : "virtio-rng";
	config.device_count = 31;
	vm = make(&config, &board);
	for (u64 slot = 1; slot < 32; slot++)
		assert_int_equal(
			get(vm, BUS_MMIO, PLAT_ECAM_BASE + (slot << 15), 4),
			0x10441af4);
	vm_destroy(vm);
	config.device_count = 32;
	vm = fixture_vm(1);
	assert_true(board_pc(vm, &config, &board, &err) < 0);
	assert_non_null(strstr(err.msg, "room for 31"));
	vm_destroy(vm);
}

static void test_refusals(void **unused)
{
	static const struct board_config bad[] = {
		{.serials = 5},
		{.serials = 1, .serial_options = "speed=9600"},
		{.serials = 1, .debug_exit = "port=0x3f8"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vm *vm = fixture_vm(1);
		struct board board = {0};
		struct err err = {0};

		assert_true(board_pc(vm, &bad[i], &board, &err) < 0);
		assert_true(strlen(err.msg) > 0);
		vm_destroy(vm);
	}
}

/* A board without PCI has the reset register by itself. */
static void test_reset_device(void **unused)
{
	struct vm *vm = fixture_vm(1);

	fixture_device(vm, "reset", NULL);
	put(vm, 0xcf9, 1, 0x08);
	assert_int_equal(get(vm, BUS_PIO, 0xcf9, 1), 0x08);
	assert_int_equal(vm->stop_reason, VM_STOP_NONE);
	put(vm, 0xcf9, 1, 0x0e);
	assert_int_equal(vm->stop_reason, VM_STOP_RESET);
	vm_destroy(vm);
}

/*
 * Events that are due but not yet found when the VM pauses are in what is
 * saved: loaded at the same time it saves the same.
 */
static void test_late_state(void **unused)
{
	const struct board_config config = {.serials = 1};
	struct board board;
	struct vm *vm = make(&config, &board);
	struct device_blob saved, again;

	put(vm, 0x43, 1, 0x34); /* PIT: periodic */
	put(vm, 0x40, 1, 0x00);
	put(vm, 0x40, 1, 0x10);
	put(vm, 0x70, 1, 0x0b); /* RTC: periodic, update */
	put(vm, 0x71, 1, 0x52);
	put(vm, PLAT_PM_EVT + 2, 2, 1); /* PM timer's carry */
	vm->clock.paused_tsc += 1000 * NS_PER_SEC;
	device_quiesce_all(vm);
	for (struct device *dev = vm->devices; dev; dev = dev->next) {
		assert_int_equal(device_save(dev, &saved, NULL), 0);
		assert_int_equal(device_load(dev, &saved, NULL), 0);
		assert_int_equal(device_save(dev, &again, NULL), 0);
		assert_memory_equal(&saved, &again, sizeof(saved));
	}
	/* The PIT's edge has reached the 8259. */
	assert_int_equal(get(vm, BUS_PIO, 0x20, 1) & 1, 1);
	device_resume_all(vm);
	vm_destroy(vm);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types_are_registered),
		cmocka_unit_test(test_what_answers),
		cmocka_unit_test(test_ignored_ports),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_ways_out),
		cmocka_unit_test(test_power_button),
		cmocka_unit_test(test_pci_devices),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_reset_device),
		cmocka_unit_test(test_late_state),
	};

	return cmocka_run_group_tests_name("pc", tests, NULL, NULL);
}
