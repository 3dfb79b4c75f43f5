/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI host: the two ways to configuration space. Ports 0xcf8 and 0xcfc
 * (configuration mechanism #1), and a window of 256 MiB (ECAM). Both turn the
 * address into that of BUS_PCICFG, where the functions are.
 *
 * References: [1] PCI Local Bus Specification 3.0, 3.2.2.3.2. [2] PCI Express
 * Base Specification 5.0, 7.2.2.
 *
 * Not emulated: mechanism #2, gone since 1993. Narrow accesses to 0xcf8..0xcfb
 * are not PCI's ([1]: "only full DWORD") and go to the ports behind: the reset
 * control register at 0xcf9, else nobody.
 */
#include <errno.h>

#include "arch/platform.h"
#include "chips/reset.h"
#include "vmm/device.h"
#include "vmm/vm.h"

enum { PCI_ADDRESS_PORT = 0xcf8, PCI_DATA_PORT = 0xcfc };

/* [1] figure 3-2: enable, then bus, device, function, register */
#define PCI_ADDRESS_ENABLE BIT(31)
#define PCI_ADDRESS_BDF 0x00ffff00u
#define PCI_ADDRESS_REG 0x000000fcu
#define PCI_ADDRESS_KEPT \
	(PCI_ADDRESS_ENABLE | PCI_ADDRESS_BDF | PCI_ADDRESS_REG)

struct pci_host_regs {
	u32 address;
	struct reset_regs reset;
	u8 reserved[3];
};

struct pci_host {
	struct device dev;
	/* regs */
	struct pci_host_regs regs;
};

static struct pci_host *to_pci_host(struct device *dev)
{
	return container_of(dev, struct pci_host, dev);
}

/* ---- mechanism #1 -----------------------------------------------------------
 */

static u64 address_read(struct device *dev, u64 off, unsigned width)
{
	struct pci_host *host = to_pci_host(dev);

	if (width == 4)
		return host->regs.address;
	if (width == 1 && off == PLAT_RESET_PORT - PCI_ADDRESS_PORT)
		return reset_read(&host->regs.reset);
	return UINT64_MAX;
}

static void address_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct pci_host *host = to_pci_host(dev);

	if (width == 4)
		host->regs.address = val & PCI_ADDRESS_KEPT;
	else if (width == 1 && off == PLAT_RESET_PORT - PCI_ADDRESS_PORT)
		reset_write(&host->regs.reset, dev, (u8)val);
}

static u64 data_address(const struct pci_host *host, u64 off)
{
	u32 address = host->regs.address;

	return (u64)(address & PCI_ADDRESS_BDF) << 4 |
	       (address & PCI_ADDRESS_REG) | off;
}

static u64 data_read(struct device *dev, u64 off, unsigned width)
{
	struct pci_host *host = to_pci_host(dev);
	u64 val = 0;

	if (!(host->regs.address & PCI_ADDRESS_ENABLE))
		return UINT64_MAX;
	bus_read(&dev->vm->bus, BUS_PCICFG, data_address(host, off), width, 1,
		 &val);
	return val;
}

static void data_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct pci_host *host = to_pci_host(dev);

	if (host->regs.address & PCI_ADDRESS_ENABLE)
		bus_write(&dev->vm->bus, BUS_PCICFG, data_address(host, off),
			  width, 1, &val);
}

/* ---- ECAM
 * --------------------------------------------------------------------- */

static u64 ecam_read(struct device *dev, u64 off, unsigned width)
{
	u64 val = 0;

	bus_read(&dev->vm->bus, BUS_PCICFG, off, width, 1, &val);
	return val;
}

static void ecam_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	bus_write(&dev->vm->bus, BUS_PCICFG, off, width, 1, &val);
}

/* ---- life
 * ----------------------------------------------------------------------- */

static void pci_host_reset(struct device *dev)
{
	to_pci_host(dev)->regs = (struct pci_host_regs){0};
}

static int pci_host_create(struct device *dev, struct err *err)
{
	struct bus_region regions[] = {
		{.name = "pci-address",
		 .space = BUS_PIO,
		 .base = PCI_ADDRESS_PORT,
		 .size = 4,
		 .read = address_read,
		 .write = address_write},
		{.name = "pci-data",
		 .space = BUS_PIO,
		 .base = PCI_DATA_PORT,
		 .size = 4,
		 .read = data_read,
		 .write = data_write},
		{.name = "pci-ecam",
		 .space = BUS_MMIO,
		 .base = PLAT_ECAM_BASE,
		 .size = MIB(256),
		 .read = ecam_read,
		 .write = ecam_write},
	};
	unsigned i;
	int ret = 0;

	for (i = 0; i < ARRAY_SIZE(regions) && !ret; i++) {
		regions[i].dev = dev;
		regions[i].widths = BUS_W1 | BUS_W2 | BUS_W4;
		ret = bus_add(&dev->vm->bus, &regions[i], err);
	}
	return ret;
}

static int pci_host_loaded(struct device *dev, struct err *err)
{
	if (to_pci_host(dev)->regs.address & ~PCI_ADDRESS_KEPT)
		return err_set(err, -EINVAL, "%s: saved state is not valid",
			       dev->id);
	return 0;
}

static const struct device_type pci_host_type = {
	.name = "pci-host",
	.help = "PCI configuration ports and ECAM window",
	.size = sizeof(struct pci_host),
	.save_version = 1,
	.regs_offset = offsetof(struct pci_host, regs),
	.regs_size = sizeof(struct pci_host_regs),
	.create = pci_host_create,
	.reset = pci_host_reset,
	.loaded = pci_host_loaded,
};
DEVICE_TYPE(pci_host_type);
