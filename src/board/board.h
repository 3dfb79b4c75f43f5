/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boards: what a machine type consists of, at which address and line, in
 * which order. One function each, called once between vm_create() and loading
 * the guest's image.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"

struct device;
struct vm;

struct board_config {
	unsigned serials;	    /* serial ports; port i is console i */
	const char *serial_options; /* more options of serial0, or NULL */
	const char *debug_exit;	    /* options of debug-exit, NULL: none */
	/* Devices on PCI, "TYPE,OPTIONS", in the order of their slots. */
	const char *const *devices;
	unsigned device_count;
};

struct board {
	gpa_t acpi_rsdp;      /* for struct boot_config */
	struct device *power; /* for acpi_pm_power_button() */
};

/*
 * The PC: PCI Express, ACPI, legacy chips. Fills vm and *board; on failure a
 * negative errno, and vm is only good for vm_destroy().
 */
int board_pc(struct vm *vm, const struct board_config *config,
	     struct board *board, struct err *err);
