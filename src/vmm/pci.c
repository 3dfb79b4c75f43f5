/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI configuration space of one function.
 *
 * References: [1] PCI Local Bus Specification 3.0, 6.1 (header), 6.2.5 (base
 * addresses). [2] PCI Express Base Specification 5.0, 7.5.1.
 *
 * Not emulated: expansion ROMs, headers of bridges, built-in self test. The
 * space above 256 bytes reads zero, which says "no extended capabilities".
 */
#include "vmm/pci.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "util/log.h"
#include "vmm/vm.h"

/* What a guest may write of the header, [1] 6.2; BARs are added by size. */
static const struct pci_header_reg {
	u8 off, width;
	u16 writable, clearable;
} pci_header[] = {
	{PCI_COMMAND, 2,
	 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
		 PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_OFF,
	 0},
	{PCI_STATUS, 2, 0, 0xf900},
	{PCI_CACHE_LINE, 1, 0xff, 0},
	{PCI_INTERRUPT_LINE, 1, 0xff, 0},
};

static struct pci_function *to_function(struct device *dev)
{
	return container_of(dev, struct pci_function, dev);
}

/* ---- base addresses ------------------------------------------------------ */

static unsigned bar_width(const struct pci_bar *bar)
{
	return bar->kind == PCI_BAR_MEM64 ? 8 : 4;
}

/* [1] 6.2.5.1: the low bits say what kind it is. */
static u8 bar_flags(const struct pci_bar *bar)
{
	static const u8 kind[] = {
		[PCI_BAR_IO] = 1, [PCI_BAR_MEM32] = 0, [PCI_BAR_MEM64] = 4};

	return kind[bar->kind] | (bar->prefetchable ? 8 : 0);
}

/* Where the guest wants a BAR, PCI_UNMAPPED while it does not decode. */
static u64 bar_wanted(const struct pci_function *fn, unsigned i)
{
	const struct pci_bar *bar = &fn->bars[i];
	bool io = bar->kind == PCI_BAR_IO;
	u64 command = pci_get(fn->space + PCI_COMMAND, 2);
	u64 base = pci_get(fn->space + PCI_BAR0 + 4 * i, bar_width(bar));

	if (!(command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
		return PCI_UNMAPPED;
	base &= ~(bar->size - 1);
	/* Nobody maps at zero, and a port has 16 bits. */
	if (!base || (io && base + bar->size > 0x10000))
		return PCI_UNMAPPED;
	return base;
}

static enum bus_space bar_space(const struct pci_bar *bar)
{
	return bar->kind == PCI_BAR_IO ? BUS_PIO : BUS_MMIO;
}

static void bar_unmap(struct pci_function *fn, unsigned i)
{
	if (fn->mapped[i] != PCI_UNMAPPED)
		bus_remove(&fn->dev.vm->bus, bar_space(&fn->bars[i]),
			   fn->mapped[i]);
	fn->mapped[i] = PCI_UNMAPPED;
}

/* A guest that puts a BAR over another device gets the other device. */
static void bar_map(struct pci_function *fn, unsigned i, u64 base)
{
	const struct pci_bar *bar = &fn->bars[i];
	const struct bus_region region = {
		.name = bar->name,
		.space = bar_space(bar),
		.base = base,
		.size = bar->size,
		.widths = bar->widths,
		.dev = &fn->dev,
		.read = bar->read,
		.write = bar->write,
	};

	if (bus_add(&fn->dev.vm->bus, &region, NULL))
		log_guest("%s: BAR %u at %#llx is in the way of another device",
			  fn->dev.id, i, (unsigned long long)base);
	else
		fn->mapped[i] = base;
}

static void bars_update(struct pci_function *fn)
{
	unsigned i;

	for (i = 0; fn->bars && i < PCI_BARS; i++) {
		u64 base;

		if (fn->bars[i].kind == PCI_BAR_NONE)
			continue;
		base = bar_wanted(fn, i);
		if (base == fn->mapped[i])
			continue;
		bar_unmap(fn, i);
		if (base != PCI_UNMAPPED)
			bar_map(fn, i, base);
	}
}

/* ---- interrupt pin ------------------------------------------------------- */

static void intx_update(struct pci_function *fn)
{
	bool up = fn->space[PCI_STATUS] & PCI_STATUS_INTX;
	bool off = pci_get(fn->space + PCI_COMMAND, 2) & PCI_COMMAND_INTX_OFF;

	irq_set(fn->line, up && !off);
}

void pci_set_intx(struct pci_function *fn, bool level)
{
	u8 *status = &fn->space[PCI_STATUS];

	*status &= (u8)~PCI_STATUS_INTX;
	*status |= level ? PCI_STATUS_INTX : 0;
	intx_update(fn);
}

/* ---- access -------------------------------------------------------------- */

static u64 pci_config_read(struct device *dev, u64 off, unsigned width)
{
	struct pci_function *fn = to_function(dev);

	if (off + width > PCI_CONFIG_SIZE)
		return 0;
	if (fn->ops && fn->ops->reading)
		fn->ops->reading(fn, off, width);
	return pci_get(fn->space + off, width);
}

static void pci_config_write(struct device *dev, u64 off, unsigned width,
			     u64 val)
{
	struct pci_function *fn = to_function(dev);
	unsigned i;

	if (off + width > PCI_CONFIG_SIZE)
		return;
	for (i = 0; i < width; i++) {
		u8 *byte = fn->space + off + i, in = (u8)(val >> (8 * i));
		u8 writable = fn->writable[off + i];

		*byte = (u8)((*byte & ~writable) | (in & writable));
		*byte &= (u8) ~(in & fn->clearable[off + i]);
	}
	if (pci_touches(off, width, PCI_COMMAND, 2) ||
	    pci_touches(off, width, PCI_BAR0, 4 * PCI_BARS)) {
		bars_update(fn);
		intx_update(fn);
	}
	if (fn->ops && fn->ops->written)
		fn->ops->written(fn, off, width);
}

/* ---- life ---------------------------------------------------------------- */

static void header_init(struct pci_function *fn)
{
	const struct pci_ident *id = fn->ident;
	u8 *space = fn->initial;

	pci_put(space + PCI_VENDOR, id->vendor, 2);
	pci_put(space + PCI_DEVICE, id->device, 2);
	pci_put(space + PCI_REVISION, id->revision, 1);
	pci_put(space + PCI_CLASS, id->class_code, 3);
	pci_put(space + PCI_SUBSYSTEM_VENDOR, id->subsystem_vendor, 2);
	pci_put(space + PCI_SUBSYSTEM, id->subsystem, 2);
	space[PCI_INTERRUPT_PIN] = id->interrupt_pin;
	for (unsigned i = 0; i < ARRAY_SIZE(pci_header); i++) {
		const struct pci_header_reg *reg = &pci_header[i];

		pci_put(fn->writable + reg->off, reg->writable, reg->width);
		pci_put(fn->clearable + reg->off, reg->clearable, reg->width);
	}
}

static void bars_init(struct pci_function *fn)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *bar = &fn->bars[i];

		if (bar->kind == PCI_BAR_NONE)
			continue;
		assert(bar->size >= 16 ||
		       (bar->kind == PCI_BAR_IO && bar->size >= 4));
		assert(!(bar->size & (bar->size - 1)));
		fn->initial[PCI_BAR0 + 4 * i] = bar_flags(bar);
		pci_put(fn->writable + PCI_BAR0 + 4 * i, ~(bar->size - 1),
			bar_width(bar));
	}
}

u8 pci_add_capability(struct pci_function *fn, u8 id, const void *body,
		      unsigned len)
{
	const unsigned at = fn->capabilities_end ? fn->capabilities_end : 0x40;
	u8 *link = &fn->initial[PCI_CAPABILITIES];

	assert(len >= 2 && at + len <= PCI_CONFIG_SIZE);
	while (*link)
		link = &fn->initial[*link + 1];
	*link = (u8)at;
	fn->initial[at] = id;
	memcpy(fn->initial + at + 2, body, len - 2);
	fn->initial[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
	fn->capabilities_end = (u16)align_up(at + len, 4);
	return (u8)at;
}

void pci_function_reset(struct pci_function *fn)
{
	memcpy(fn->space, fn->initial, PCI_CONFIG_SIZE);
	bars_update(fn);
	intx_update(fn);
}

int pci_function_plug(struct pci_function *fn, struct err *err)
{
	const struct bus_region region = {
		.name = fn->dev.id,
		.space = BUS_PCICFG,
		.base = (u64)fn->bdf << 12,
		.size = 4096,
		.widths = BUS_W1 | BUS_W2 | BUS_W4,
		.dev = &fn->dev,
		.read = pci_config_read,
		.write = pci_config_write,
	};

	for (unsigned i = 0; i < PCI_BARS; i++)
		fn->mapped[i] = PCI_UNMAPPED;
	header_init(fn);
	if (fn->bars)
		bars_init(fn);
	if (fn->ident->interrupt_pin)
		fn->line = irq_line_shared(&fn->dev.vm->irq,
					   pci_gsi(fn->bdf >> 3 & 0x1f));
	pci_function_reset(fn);
	return bus_add(&fn->dev.vm->bus, &region, err);
}

int pci_function_loaded(struct pci_function *fn, struct err *err)
{
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		if ((fn->space[i] ^ fn->initial[i]) &
		    (u8) ~(fn->writable[i] | fn->clearable[i] |
			   (i == PCI_STATUS ? PCI_STATUS_INTX : 0)))
			return err_set(err, -EINVAL,
				       "%s: saved configuration byte %#x is "
				       "not this device's",
				       fn->dev.id, i);
	bars_update(fn);
	intx_update(fn);
	return 0;
}
