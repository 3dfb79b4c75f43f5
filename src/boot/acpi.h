/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables for the boards: RSDP, XSDT, FADT, MADT, MCFG, DSDT (and FACS).
 *
 * Reference: ACPI Specification 6.5, chapters 5 (tables), 20 (AML).
 */
#pragma once

#include "arch/platform.h"
#include "util/err.h"
#include "util/types.h"
#include "vmm/mem.h"

struct acpi_uart {
	u16 port;
	u8 irq;
};

struct acpi_config {
	unsigned cpus;
	bool pci;   /* host bridge and MCFG */
	bool rtc;   /* 0x70, IRQ 8 */
	bool i8042; /* 0x60/0x64, IRQ 1 */
	struct acpi_uart uarts[4];
	unsigned uart_count;
	u32 virtio_slots; /* bit n: a virtio device without PCI in slot n */
	u64 mmio64_base, mmio64_size; /* 64-bit PCI window, size 0: none */
};

/*
 * Build the tables at gpa (16-byte aligned, BOOT_ACPI_SIZE room) and write
 * them to guest memory. *rsdp gets the RSDP's address.
 */
int acpi_build(struct guest_mem *mem, gpa_t gpa,
	       const struct acpi_config *config, gpa_t *rsdp, struct err *err);
