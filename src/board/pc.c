/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board "pc".
 *
 * References: [1] IBM PC AT Technical Reference, I/O address map. [2] Intel
 * ICH9 data sheet (316972) 10.3, fixed I/O ranges. [3] ACPI Specification 6.5.
 *
 *     port                what                          line
 *     0x20 0xa0 0x4d0     pic, the 8259 pair
 *     0x40 0x61           pit                           0
 *     0x60 0x64 0x92      i8042                         1
 *     0x70                rtc                           8
 *     0x3f8 0x2f8 0x3e8 0x2e8   serial0 to serial3      4 3 5 7
 *     0x600 to 0x60b      acpi-pm                       9, level
 *     0xcf8 0xcfc         pci-host, reset at 0xcf9
 *     memory
 *     0xc0000000          BARs of PCI devices, where the guest puts them
 *     0xe0000000          pci-host, ECAM
 *     0xfeb00000          virtio devices that are not on PCI, by slot
 *     0xfec00000          ioapic
 *     (0xfee00000         the vCPUs' own LAPICs)
 *
 *     PCI slot            what                          line
 *     0                   host-bridge
 *     1 to 31             config->devices               16 to 23, or MSI-X
 */
#include "board/board.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arch/platform.h"
#include "boot/acpi.h"
#include "boot/boot.h"
#include "chips/ignored.h"
#include "virtio/virtio.h"
#include "vmm/device.h"
#include "vmm/pci.h"
#include "vmm/vm.h"

enum { PC_DEVICE_OPTIONS = 4096 + 256 }; /* with the path of a file */

/* Every port has a line of its own: 3 and 4 are not shared as they once were.
 */
static const struct acpi_uart pc_uarts[] = {
	{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 5}, {0x2e8, 7}};

_Static_assert(ARRAY_SIZE(pc_uarts) == VM_MAX_CONSOLES, "one port a console");

/* Ranges that a device of this machine has taken are passed over. */
static const struct ignored_port pc_ignored[] = {
	{0x00, 0x10, "DMA controller 1: no ISA DMA here"},
	{0x22, 2, "IMCR and Cyrix configuration: probed by Linux at boot"},
	{0x2e, 2, "super I/O: probed by hwmon and watchdog drivers"},
	{0x4e, 2, "super I/O, second place"},
	{0x62, 1, "embedded controller, data"},
	{0x66, 1, "embedded controller, command"},
	{0x72, 6, "RTC's second bank and aliases"},
	{0x80, 1, "POST code; a write is the classic I/O delay"},
	{0x81, 0x0f, "DMA page registers"},
	{0xb2, 2, "SMI command: there is no SMM"},
	{0xc0, 0x20, "DMA controller 2"},
	{0xe9, 1, "debug console of other virtual machines"},
	{0xed, 1, "I/O delay, where a kernel keeps off 0x80"},
	{0xf0, 2, "FPU error clear: CR0.NE reports errors as exceptions"},
	{0x170, 8, "IDE, second channel"},
	{0x1ce, 3, "display extension of other virtual machines"},
	{0x1f0, 8, "IDE, first channel"},
	{0x201, 1, "game port"},
	{0x278, 3, "LPT2"},
	{0x2e8, 8, "COM4, if not there: probed by Linux"},
	{0x2f8, 8, "COM2, if not there"},
	{0x376, 1, "IDE, second channel, control"},
	{0x378, 3, "LPT1"},
	{0x3b0, 0x10, "MDA, and LPT at 0x3bc"},
	{0x3c0, 0x20, "VGA and CGA"},
	{0x3e8, 8, "COM3, if not there"},
	{0x3f0, 6, "floppy disk controller"},
	{0x3f6, 1, "IDE, first channel, control"},
	{0x3f7, 1, "floppy disk controller, disk change"},
	{0x3f8, 8, "COM1, if not there"},
	{0x402, 1, "debug console of firmware builds"},
	{0x510, 12, "firmware configuration of other virtual machines"},
	{0x5658, 4, "backdoor of other virtual machines: probed at boot"},
	{0},
};

/* Absent `options` are the device's defaults. */
static int pc_add(struct vm *vm, const char *type, const char *options,
		  struct err *err)
{
	return device_add(vm, type, options, err) ? 0 : -EINVAL;
}

static int pc_add_serial(struct vm *vm, unsigned index, const char *more,
			 struct err *err)
{
	char options[256];

	snprintf(options, sizeof(options), "port=%#x,irq=%u,console=%u,%s",
		 pc_uarts[index].port, pc_uarts[index].irq, index,
		 more ? more : "");
	return pc_add(vm, "serial", options, err);
}

static int pc_add_ignored(struct vm *vm, struct err *err)
{
	struct device *dev = device_add(vm, "ignored", NULL, err);

	return dev ? ignored_add(dev, pc_ignored, err) : -EINVAL;
}

/* "TYPE,OPTIONS" */
static int pc_add_pci(struct vm *vm, const char *device, unsigned slot,
		      struct err *err)
{
	const size_t len = strcspn(device, ",");
	char type[32], options[PC_DEVICE_OPTIONS];

	if (slot >= PCI_SLOTS)
		return err_set(err, -EINVAL, "a PC has room for %d devices",
			       PCI_SLOTS - 1);
	if (len >= sizeof(type) || strlen(device) >= sizeof(options) - 16)
		return err_set(err, -EINVAL, "%.32s...: too long", device);
	memcpy(type, device, len);
	type[len] = 0;
	snprintf(options, sizeof(options), "slot=%u%s", slot, device + len);
	return pc_add(vm, type, options, err);
}

/*
 * What firmware would have done before a boot loader runs: SCI's line is level
 * triggered ([3] 5.2.9), the 8259 reaches the BSP.
 */
static void pc_firmware_state(struct vm *vm)
{
	const u16 elcr = BIT(PLAT_ACPI_SCI);

	bus_write(&vm->bus, BUS_PIO, 0x4d0, 2, 1, &elcr);
	lapic_virtual_wire(&vm->vcpus[0]->lapic);
}

static u32 pc_virtio_slots(const struct vm *vm)
{
	u32 slots = 0;

	for (const struct device *dev = vm->devices; dev; dev = dev->next) {
		int slot = virtio_mmio_slot(dev);

		slots |= slot < 0 ? 0 : (u32)BIT(slot);
	}
	return slots;
}

static int pc_build_acpi(struct vm *vm, const struct board_config *config,
			 struct board *board, struct err *err)
{
	struct acpi_config acpi = {
		.cpus = vm->vcpu_count,
		.pci = true,
		.rtc = true,
		.i8042 = true,
		.uart_count = config->serials,
		.virtio_slots = pc_virtio_slots(vm),
	};

	for (unsigned i = 0; i < config->serials; i++)
		acpi.uarts[i] = pc_uarts[i];
	return acpi_build(&vm->mem, BOOT_ACPI, &acpi, &board->acpi_rsdp, err);
}

int board_pc(struct vm *vm, const struct board_config *config,
	     struct board *board, struct err *err)
{
	int ret = 0;

	if (config->serials > ARRAY_SIZE(pc_uarts))
		return err_set(err, -EINVAL, "a PC has up to %zu serial ports",
			       ARRAY_SIZE(pc_uarts));
	/* First what lines lead to, then what holds lines. */
	ret = ret ? ret : pc_add(vm, "pic", NULL, err);
	ret = ret ? ret : pc_add(vm, "ioapic", NULL, err);
	ret = ret ? ret : pc_add(vm, "pit", NULL, err);
	ret = ret ? ret : pc_add(vm, "rtc", NULL, err);
	ret = ret ? ret : pc_add(vm, "i8042", NULL, err);
	for (unsigned i = 0; !ret && i < config->serials; i++)
		ret = pc_add_serial(vm, i, i ? NULL : config->serial_options,
				    err);
	ret = ret ? ret : pc_add(vm, "acpi-pm", NULL, err);
	ret = ret ? ret : pc_add(vm, "pci-host", NULL, err);
	ret = ret ? ret : pc_add(vm, "host-bridge", NULL, err);
	for (unsigned i = 0; !ret && i < config->device_count; i++)
		ret = pc_add_pci(vm, config->devices[i], i + 1, err);
	if (!ret && config->debug_exit)
		ret = pc_add(vm, "debug-exit", config->debug_exit, err);
	ret = ret ? ret : pc_add_ignored(vm, err);
	if (ret)
		return ret;
	pc_firmware_state(vm);
	board->power = device_find(vm, "acpi-pm0");
	return pc_build_acpi(vm, config, board, err);
}
