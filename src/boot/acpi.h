/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables for the boards: RSDP, XSDT, FADT, MADT, MCFG, DSDT (and FACS).
 *
 * Reference: ACPI Specification 6.5, chapters 5 (tables), 20 (AML).
 */
#pragma once

#include "util/err.h"
#include "util/types.h"
#include "vmm/mem.h"

/* Fixed platform addresses, used by boards, chips and the tables. */
enum platform {
	PLAT_ACPI_SCI = 9,	/* ISA IRQ, level, active high */
	PLAT_PM_EVT = 0x600,	/* PM1a event block, 4 bytes */
	PLAT_PM_CNT = 0x604,	/* PM1a control block, 2 bytes */
	PLAT_PM_TMR = 0x608,	/* PM timer, 4 bytes */
	PLAT_RESET_PORT = 0xcf9, /* value 6 resets */
	PLAT_S5_TYPE = 5,	/* SLP_TYP of S5 */
	PLAT_IOAPIC_ID = 0,
};
#define PLAT_IOAPIC_BASE 0xfec00000u
#define PLAT_LAPIC_BASE 0xfee00000u
#define PLAT_ECAM_BASE 0xe0000000u /* 256 buses, 1 MiB each */
#define PLAT_PCI_MMIO_BASE 0xc0000000u
#define PLAT_PCI_MMIO_SIZE 0x20000000u

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
	u64 mmio64_base, mmio64_size; /* 64-bit PCI window, size 0: none */
};

/*
 * Build the tables at gpa (16-byte aligned, BOOT_ACPI_SIZE room) and write
 * them to guest memory. *rsdp gets the RSDP's address.
 */
int acpi_build(struct guest_mem *mem, gpa_t gpa,
	       const struct acpi_config *config, gpa_t *rsdp, struct err *err);
