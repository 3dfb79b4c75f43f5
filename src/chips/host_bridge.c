/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Function 0:0.0: the host bridge as the bus sees it. It has nothing but an
 * identity, that of the generic PCIe host bridge, which no driver takes for a
 * chip set with registers that we lack.
 *
 * References: [1] The PCI ID repository, 1b36:0008. [2] PCI Code and ID
 * Assignment Specification 1.11, 1.7: class 06 00 00, host bridge.
 */
#include "vmm/pci.h"

struct host_bridge {
	struct pci_function fn;
	/* regs */
	u8 space[PCI_CONFIG_SIZE];
};

static const struct pci_ident host_bridge_ident = {
	.vendor = 0x1b36,
	.device = 0x0008,
	.class_code = 0x060000,
};

static struct host_bridge *to_host_bridge(struct device *dev)
{
	return container_of(dev, struct host_bridge, fn.dev);
}

static int host_bridge_create(struct device *dev, struct err *err)
{
	struct host_bridge *bridge = to_host_bridge(dev);

	bridge->fn.ident = &host_bridge_ident;
	bridge->fn.bdf = PCI_BDF(0, 0, 0);
	bridge->fn.space = bridge->space;
	return pci_function_plug(&bridge->fn, err);
}

static void host_bridge_reset(struct device *dev)
{
	pci_function_reset(&to_host_bridge(dev)->fn);
}

static int host_bridge_loaded(struct device *dev, struct err *err)
{
	return pci_function_loaded(&to_host_bridge(dev)->fn, err);
}

static const struct device_type host_bridge_type = {
	.name = "host-bridge",
	.help = "PCI function 0:0.0",
	.size = sizeof(struct host_bridge),
	.save_version = 1,
	.regs_offset = offsetof(struct host_bridge, space),
	.regs_size = PCI_CONFIG_SIZE,
	.create = host_bridge_create,
	.reset = host_bridge_reset,
	.loaded = host_bridge_loaded,
};
DEVICE_TYPE(host_bridge_type);
