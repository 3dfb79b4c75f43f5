/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices that a guest finds through ACPI, one function each.
 *
 * References: [1] ACPI Specification 6.5: 6.1 (device identification), 6.2.2
 *                 (_CRS), 6.2.13 (_PRT), 7.4.2 (_Sx), 8.4 (processor devices).
 *             [2] PCI Firmware Specification 3.3: 4.1.2 (ECAM is reserved by
 *                 a motherboard resource device).
 *
 * The power button and S5 are fixed hardware, described by the FADT.
 */
#include "boot/dsdt.h"

#include <stdio.h>

#include "arch/platform.h"
#include "vmm/pci.h"

enum isa_resources {
	ISA_RTC = 0x70,
	ISA_RTC_IRQ = 8,
	ISA_8042_DATA = 0x60,
	ISA_8042_COMMAND = 0x64,
	ISA_8042_IRQ = 1,
	ISA_UART_PORTS = 8,
	PCI_CONFIG = 0xcf8, /* and the 7 ports behind it */
	PCI_CONFIG_PORTS = 8,
	PM_PORTS = PLAT_PM_TMR + 4 - PLAT_PM_EVT,
};

static void add_cpus(struct aml *aml, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		char name[8];
		u32 dev;

		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		dev = aml_begin_device(aml, name);
		aml_name_string(aml, "_HID", "ACPI0007");
		aml_name_integer(aml, "_UID", i);
		aml_end(aml, dev);
	}
}

/*
 * [1] 6.2.13: the interrupt pins of each slot, without link devices. Functions
 * have INTA alone (vmm/pci.h).
 */
static void add_pci_routes(struct aml *aml)
{
	u32 routes = aml_begin_name_package(aml, "_PRT", PCI_SLOTS - 1);

	for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
		u32 route = aml_begin_package(aml, 4);

		aml_integer(aml, slot << 16 | 0xffff);
		aml_integer(aml, 0); /* INTA */
		aml_integer(aml, 0); /* a GSI, no device's */
		aml_integer(aml, pci_gsi(slot));
		aml_end(aml, route);
	}
	aml_end(aml, routes);
}

static void add_pci(struct aml *aml, const struct acpi_config *config)
{
	const u32 above = PCI_CONFIG + PCI_CONFIG_PORTS;
	u32 dev = aml_begin_device(aml, "PCI0");
	u32 res;

	aml_name_eisa_id(aml, "_HID", "PNP0A08");
	aml_name_eisa_id(aml, "_CID", "PNP0A03");
	aml_name_integer(aml, "_UID", 0);
	aml_name_integer(aml, "_SEG", 0);
	aml_name_integer(aml, "_BBN", 0);
	res = aml_begin_resources(aml);
	aml_resource_bus_window(aml, 0, PLAT_PCI_BUSES);
	aml_resource_io(aml, PCI_CONFIG, PCI_CONFIG_PORTS);
	aml_resource_io_window(aml, 0, PCI_CONFIG);
	aml_resource_io_window(aml, (u16)above, 0x10000 - above);
	aml_resource_memory_window(aml, PLAT_PCI_MMIO_BASE, PLAT_PCI_MMIO_SIZE);
	if (config->mmio64_size)
		aml_resource_memory_window(aml, config->mmio64_base,
					   config->mmio64_size);
	aml_end_resources(aml, res);
	add_pci_routes(aml);
	aml_end(aml, dev);
}

/* What no driver claims, but no other device may be given. */
static void add_motherboard(struct aml *aml, const struct acpi_config *config)
{
	u32 dev = aml_begin_device(aml, "MBRD");
	u32 res;

	aml_name_eisa_id(aml, "_HID", "PNP0C02");
	aml_name_integer(aml, "_UID", 0);
	res = aml_begin_resources(aml);
	aml_resource_io(aml, PLAT_PM_EVT, PM_PORTS);
	if (config->pci)
		aml_resource_memory(aml, PLAT_ECAM_BASE, MIB(256));
	aml_end_resources(aml, res);
	aml_end(aml, dev);
}

static void add_rtc(struct aml *aml)
{
	u32 dev = aml_begin_device(aml, "RTC");
	u32 res;

	aml_name_eisa_id(aml, "_HID", "PNP0B00");
	res = aml_begin_resources(aml);
	aml_resource_io(aml, ISA_RTC, 2);
	aml_resource_irq(aml, ISA_RTC_IRQ);
	aml_end_resources(aml, res);
	aml_end(aml, dev);
}

static void add_i8042(struct aml *aml)
{
	u32 dev = aml_begin_device(aml, "KBD");
	u32 res;

	aml_name_eisa_id(aml, "_HID", "PNP0303");
	res = aml_begin_resources(aml);
	aml_resource_io(aml, ISA_8042_DATA, 1);
	aml_resource_io(aml, ISA_8042_COMMAND, 1);
	aml_resource_irq(aml, ISA_8042_IRQ);
	aml_end_resources(aml, res);
	aml_end(aml, dev);
}

static void add_uart(struct aml *aml, const struct acpi_uart *uart,
		     unsigned index)
{
	char name[8];
	u32 dev, res;

	snprintf(name, sizeof(name), "COM%u", (index + 1) % 10);
	dev = aml_begin_device(aml, name);
	aml_name_eisa_id(aml, "_HID", "PNP0501");
	aml_name_integer(aml, "_UID", index + 1);
	res = aml_begin_resources(aml);
	aml_resource_io(aml, uart->port, ISA_UART_PORTS);
	aml_resource_irq(aml, uart->irq);
	aml_end_resources(aml, res);
	aml_end(aml, dev);
}

/* The id by which Linux and others know virtio's registers in memory. */
static void add_virtio(struct aml *aml, unsigned slot)
{
	char name[8];
	u32 dev, res;

	snprintf(name, sizeof(name), "VR%02u", slot % 100);
	dev = aml_begin_device(aml, name);
	aml_name_string(aml, "_HID", "LNRO0005");
	aml_name_integer(aml, "_UID", slot);
	res = aml_begin_resources(aml);
	aml_resource_memory(aml, PLAT_VIRTIO_BASE + slot * PLAT_VIRTIO_SIZE,
			    PLAT_VIRTIO_SIZE);
	aml_resource_gsi(aml, pci_gsi(slot));
	aml_end_resources(aml, res);
	aml_end(aml, dev);
}

/* [1] 7.4.2.6: SLP_TYP for PM1a and PM1b, two reserved. */
static void add_s5(struct aml *aml)
{
	u32 package = aml_begin_name_package(aml, "\\_S5", 4);

	aml_integer(aml, PLAT_S5_TYPE);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_end(aml, package);
}

void dsdt_build(struct aml *aml, const struct acpi_config *config)
{
	u32 scope;

	add_s5(aml);
	scope = aml_begin_scope(aml, "\\_SB");
	add_cpus(aml, config->cpus);
	add_motherboard(aml, config);
	if (config->pci)
		add_pci(aml, config);
	if (config->rtc)
		add_rtc(aml);
	if (config->i8042)
		add_i8042(aml);
	for (unsigned i = 0; i < config->uart_count; i++)
		add_uart(aml, &config->uarts[i], i);
	for (unsigned slot = 0; slot < PLAT_VIRTIO_SLOTS; slot++)
		if (config->virtio_slots & BIT(slot))
			add_virtio(aml, slot);
	aml_end(aml, scope);
}
