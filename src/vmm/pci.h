/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PCI function's configuration space: identity, command, BARs, interrupt
 * pin, capabilities, in the first 256 bytes, with the mask of what a guest may
 * write. A PCI device's struct has struct pci_function first, which has struct
 * device first, and its regs group holds the configuration bytes.
 *
 * Order: the device's create fills ident, bdf, space and bars, adds its
 * capabilities, then calls pci_function_plug(); its reset calls
 * pci_function_reset(), its loaded pci_function_loaded(). Regions of BARs come
 * and go on the bus as the guest moves them.
 *
 * Threads: configuration accesses arrive with the device's lock held.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"
#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/irq.h"

#define PCI_CONFIG_SIZE 256
#define PCI_BARS 6
#define PCI_SLOTS 32 /* on a bus */

/* [PCI 3.0] 6.1, header of type 0 */
enum pci_reg {
	PCI_VENDOR = 0x00,
	PCI_DEVICE = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08,
	PCI_CLASS = 0x09, /* 3 bytes: interface, subclass, class */
	PCI_CACHE_LINE = 0x0c,
	PCI_LATENCY = 0x0d,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM_VENDOR = 0x2c,
	PCI_SUBSYSTEM = 0x2e,
	PCI_ROM = 0x30,
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d,
};

enum pci_command {
	PCI_COMMAND_IO = 1 << 0,
	PCI_COMMAND_MEMORY = 1 << 1,
	PCI_COMMAND_MASTER = 1 << 2,
	PCI_COMMAND_PARITY = 1 << 6,
	PCI_COMMAND_SERR = 1 << 8,
	PCI_COMMAND_INTX_OFF = 1 << 10,
};

enum pci_status {
	PCI_STATUS_INTX = 1 << 3, /* the pin is asserted, masked or not */
	PCI_STATUS_CAPABILITIES = 1 << 4,
};

#define PCI_BDF(bus, device, function) \
	((u16)((bus) << 8 | (device) << 3 | (function)))

struct pci_ident {
	u16 vendor, device;
	u32 class_code; /* class << 16 | subclass << 8 | interface */
	u8 revision;
	u16 subsystem_vendor, subsystem;
	u8 interrupt_pin; /* 1: INTA, 0: none */
};

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

/* MEM64 takes the next BAR's register too, whose entry stays NONE. */
struct pci_bar {
	enum pci_bar_kind kind;
	bool prefetchable;
	const char *name;
	u64 size;  /* power of two; at least 4 for IO, 16 for memory */
	u8 widths; /* and the callbacks, as in struct bus_region */
	u64 (*read)(struct device *dev, u64 off, unsigned width);
	void (*write)(struct device *dev, u64 off, unsigned width, u64 val);
};

struct pci_function;

/* What a device has to do with its own configuration space; both optional. */
struct pci_config_ops {
	/* Before [off, off+width) is read: space may be brought up to date. */
	void (*reading)(struct pci_function *fn, u64 off, unsigned width);
	/* It was written, as far as it is writable. */
	void (*written)(struct pci_function *fn, u64 off, unsigned width);
};

struct pci_function {
	struct device dev;
	/* config */
	const struct pci_ident *ident;
	const struct pci_bar *bars;	  /* PCI_BARS of them, or NULL */
	const struct pci_config_ops *ops; /* or NULL */
	u16 bdf;
	u16 capabilities_end;	       /* 0: none yet */
	u8 initial[PCI_CONFIG_SIZE];   /* as at power-on */
	u8 writable[PCI_CONFIG_SIZE];  /* bits that a guest sets and clears */
	u8 clearable[PCI_CONFIG_SIZE]; /* bits that writing 1 clears */
	/* regs, in the device's group */
	u8 *space; /* PCI_CONFIG_SIZE bytes */
	/* host */
	u64 mapped[PCI_BARS]; /* where each BAR answers, or PCI_UNMAPPED */
	struct irq_line line; /* of the interrupt pin */
};

#define PCI_UNMAPPED UINT64_MAX

/*
 * Before plugging: append a capability of `len` bytes, of which `body` are
 * those behind id and link ([1] 6.7). Returns its offset; what of it a guest
 * may write goes into fn->writable. That there is room is the device's duty.
 */
u8 pci_add_capability(struct pci_function *fn, u8 id, const void *body,
		      unsigned len);
/* -EEXIST where another function is. */
int pci_function_plug(struct pci_function *fn, struct err *err);
/* Configuration space as at power-on; no BAR is mapped. */
void pci_function_reset(struct pci_function *fn);
/* After space was loaded: refuse what no guest can have written, map BARs. */
int pci_function_loaded(struct pci_function *fn, struct err *err);

/*
 * The interrupt pin, level-triggered. Whether it gets through is the command
 * register's to say; a device with MSI-X asks msix_is_on() first.
 */
void pci_set_intx(struct pci_function *fn, bool level);
/* Where pin INTA of the device in this slot goes; the DSDT's _PRT says so. */
static inline unsigned pci_gsi(unsigned slot)
{
	return 16 + slot % 8;
}

/* Little-endian fields of a configuration space or a BAR. */
static inline void pci_put(u8 *at, u64 val, unsigned width)
{
	for (; width; width--, val >>= 8)
		*at++ = (u8)val;
}

static inline u64 pci_get(const u8 *at, unsigned width)
{
	u64 val = 0;

	while (width--)
		val = val << 8 | at[width];
	return val;
}

/* Does an access touch [reg, reg+len)? */
static inline bool pci_touches(u64 off, unsigned width, u64 reg, u64 len)
{
	return off < reg + len && reg < off + width;
}
