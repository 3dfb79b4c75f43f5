/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixed addresses and lines of the platform, used by boards, chips and the
 * ACPI tables. They are ours to choose; guests learn them from the tables.
 */
#pragma once

enum platform {
	PLAT_ACPI_SCI = 9,	 /* ISA IRQ, level, active high */
	PLAT_PM_EVT = 0x600,	 /* PM1a event block, 4 bytes */
	PLAT_PM_CNT = 0x604,	 /* PM1a control block, 2 bytes */
	PLAT_PM_TMR = 0x608,	 /* PM timer, 4 bytes */
	PLAT_RESET_PORT = 0xcf9, /* value 6 resets */
	/* SLP_TYP of S5. Unikernels that read no AML (Unikraft) write what
	 * QEMU's boards have, 0 with SLP_EN, to the port that is theirs, too.
	 */
	PLAT_S5_TYPE = 0,
	PLAT_IOAPIC_ID = 0,
};
/* The LAPIC timer counts guest nanoseconds (before its divider). */
#define PLAT_LAPIC_TIMER_KHZ 1000000u
#define PLAT_IOAPIC_BASE 0xfec00000u
#define PLAT_LAPIC_BASE 0xfee00000u
/* virtio devices without PCI, a page for each slot. */
#define PLAT_VIRTIO_BASE 0xfeb00000u
#define PLAT_VIRTIO_SIZE 0x1000u
#define PLAT_VIRTIO_SLOTS 32u
#define PLAT_ECAM_BASE 0xe0000000u /* 256 buses, 1 MiB each */
/* Those that the tables announce: Linux asks each of the 32 slots of each of
 * them, by two port accesses. Without bridges there is one. */
#define PLAT_PCI_BUSES 1u
#define PLAT_PCI_MMIO_BASE 0xc0000000u
#define PLAT_PCI_MMIO_SIZE 0x20000000u
