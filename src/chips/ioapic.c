/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O APIC: 24 pins, each with an entry that says which message a LAPIC gets.
 *
 * References: [1] Intel 82093AA datasheet 290566-001.
 *             [2] Intel I/O Controller Hub 9 datasheet 316972, 13.5 (version
 *                 0x20, EOI register).
 *
 * A level-triggered entry sends when its pin is high, then waits with remote
 * IRR set until a LAPIC broadcasts the vector's EOI or the EOI register is
 * written; a pin that is still high sends again.
 *
 * Not emulated: pin polarity (a line is asserted or not; boards connect each as
 * the ACPI tables describe it), the APIC bus's arbitration ID (reads as the
 * ID), ExtINT entries (the 8259 reaches vCPUs through LINT0 only).
 */
#include "arch/ioapic_state.h"

#include <errno.h>

#include "vmm/device.h"
#include "vmm/trace.h"
#include "vmm/vm.h"

enum ioapic_window { /* [1] 3.1, [2] */
		     IOAPIC_INDEX = 0x00,
		     IOAPIC_DATA = 0x10,
		     IOAPIC_EOI = 0x40,
		     IOAPIC_SIZE = 0x1000,
};

enum ioapic_reg { /* [1] 3.2 */
		  IOAPIC_REG_ID = 0x00,
		  IOAPIC_REG_VERSION = 0x01,
		  IOAPIC_REG_ARB = 0x02,
		  IOAPIC_REG_TABLE = 0x10,
		  IOAPIC_REG_END = IOAPIC_REG_TABLE + 2 * IOAPIC_PINS,
};

/* Redirection entry, [1] 3.2.4 */
#define RTE_VECTOR 0xffull
#define RTE_DELIVERY_SHIFT 8
#define RTE_LOGICAL BIT(11)
#define RTE_PENDING BIT(12) /* delivery status, read-only */
#define RTE_REMOTE_IRR BIT(14)
#define RTE_LEVEL BIT(15)
#define RTE_MASKED BIT(16)
#define RTE_DEST_SHIFT 56
#define RTE_WRITABLE 0xff0000000001afffull

#define IOAPIC_ID_BITS 0x0f000000u
#define IOAPIC_VERSION_VALUE (0x20u | (IOAPIC_PINS - 1) << 16)

_Static_assert(!(RTE_WRITABLE & RTE_REMOTE_IRR), "read-only");

struct ioapic {
	struct device dev;
	u64 base;
	u64 id;
	struct ioapic_state regs;
};

static struct ioapic *ioapic_of(struct device *dev)
{
	return container_of(dev, struct ioapic, dev);
}

static u8 ioapic_delivery(u64 rte)
{
	return rte >> RTE_DELIVERY_SHIFT & 7;
}

/* [1] 3.2.4: the other delivery modes are edges, whatever the entry says. */
static bool ioapic_is_level(u64 rte)
{
	return (rte & RTE_LEVEL) && ioapic_delivery(rte) <= LAPIC_LOWEST;
}

/* ---- Sending ---- */

static bool ioapic_send(struct ioapic *ioapic, u64 rte)
{
	struct lapic_msg msg = {
		.dest = rte >> RTE_DEST_SHIFT,
		.logical = rte & RTE_LOGICAL,
		.delivery = ioapic_delivery(rte),
		.vector = rte & RTE_VECTOR,
		.level = ioapic_is_level(rte),
	};

	return lapic_deliver(ioapic->dev.vm, &msg);
}

/* A level entry whose pin is high sends, unless masked or under way. A message
 * that nobody takes is tried again with the next event that concerns the pin.
 */
static void ioapic_service_level(struct ioapic *ioapic, unsigned pin)
{
	u64 *rte = &ioapic->regs.rte[pin];

	*rte &= ~RTE_PENDING;
	if (!ioapic_is_level(*rte) || !(ioapic->regs.lines & BIT(pin)) ||
	    (*rte & (RTE_MASKED | RTE_REMOTE_IRR)))
		return;
	*rte |= ioapic_send(ioapic, *rte) ? RTE_REMOTE_IRR : RTE_PENDING;
}

static void ioapic_set(struct device *dev, unsigned pin, bool level)
{
	struct ioapic *ioapic = ioapic_of(dev);
	u32 bit = 1u << pin;
	bool rose = level && !(ioapic->regs.lines & bit);
	u64 rte = ioapic->regs.rte[pin];

	ioapic->regs.lines &= ~bit;
	if (level)
		ioapic->regs.lines |= bit;
	/* [1] 3.2.4: an edge on a masked pin is lost. */
	if (ioapic_is_level(rte))
		ioapic_service_level(ioapic, pin);
	else if (rose && !(rte & RTE_MASKED))
		ioapic_send(ioapic, rte);
}

static void ioapic_eoi(struct device *dev, u8 vector)
{
	struct ioapic *ioapic = ioapic_of(dev);
	unsigned pin;
	u64 *rte;

	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		rte = &ioapic->regs.rte[pin];
		if (!(*rte & RTE_REMOTE_IRR) || (*rte & RTE_VECTOR) != vector)
			continue;
		*rte &= ~RTE_REMOTE_IRR;
		ioapic_service_level(ioapic, pin);
	}
}

/* ---- Registers ---- */

static u32 ioapic_read_reg(const struct ioapic *ioapic)
{
	u32 index = ioapic->regs.index;
	u64 rte;

	switch (index) {
	case IOAPIC_REG_ID:
	case IOAPIC_REG_ARB:
		return ioapic->regs.id;
	case IOAPIC_REG_VERSION:
		return IOAPIC_VERSION_VALUE;
	case IOAPIC_REG_TABLE ... IOAPIC_REG_END - 1:
		rte = ioapic->regs.rte[(index - IOAPIC_REG_TABLE) / 2];
		return (u32)(index & 1 ? rte >> 32 : rte);
	default:
		return 0xffffffff;
	}
}

static void ioapic_write_rte(struct ioapic *ioapic, unsigned pin, bool high,
			     u32 val)
{
	u64 *rte = &ioapic->regs.rte[pin];
	u64 keep = *rte & ~RTE_WRITABLE, want;

	want = high ? (*rte & 0xffffffff) | (u64)val << 32
		    : (*rte & ~0xffffffffull) | val;
	*rte = (want & RTE_WRITABLE) | keep;
	/* Edge entries have no remote IRR; systems clear it by this detour. */
	if (!(*rte & RTE_LEVEL))
		*rte &= ~RTE_REMOTE_IRR;
	trace(TRACE_IRQ, "ioapic pin %u entry %#llx", pin,
	      (unsigned long long)*rte);
	ioapic_service_level(ioapic, pin);
}

static void ioapic_write_reg(struct ioapic *ioapic, u32 val)
{
	u32 index = ioapic->regs.index;

	if (index == IOAPIC_REG_ID)
		ioapic->regs.id = val & IOAPIC_ID_BITS;
	else if (index >= IOAPIC_REG_TABLE && index < IOAPIC_REG_END)
		ioapic_write_rte(ioapic, (index - IOAPIC_REG_TABLE) / 2,
				 index & 1, val);
}

static u64 ioapic_read(struct device *dev, u64 off, unsigned width)
{
	struct ioapic *ioapic = ioapic_of(dev);

	switch (off) {
	case IOAPIC_INDEX:
		return ioapic->regs.index;
	case IOAPIC_DATA:
		return ioapic_read_reg(ioapic);
	default:
		return 0xffffffff;
	}
}

static void ioapic_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct ioapic *ioapic = ioapic_of(dev);

	switch (off) {
	case IOAPIC_INDEX:
		ioapic->regs.index = val & 0xff;
		break;
	case IOAPIC_DATA:
		ioapic_write_reg(ioapic, (u32)val);
		break;
	case IOAPIC_EOI:
		ioapic_eoi(dev, val & 0xff);
		break;
	default:
		break;
	}
}

/* ---- Device ---- */

static void ioapic_reset(struct device *dev)
{
	struct ioapic *ioapic = ioapic_of(dev);
	unsigned pin;

	ioapic->regs.id = (u32)ioapic->id << 24;
	ioapic->regs.index = 0;
	for (pin = 0; pin < IOAPIC_PINS; pin++)
		ioapic->regs.rte[pin] = RTE_MASKED;
}

static int ioapic_loaded(struct device *dev, struct err *err)
{
	struct ioapic *ioapic = ioapic_of(dev);
	const u64 known = RTE_WRITABLE | RTE_REMOTE_IRR | RTE_PENDING;
	unsigned pin;

	for (pin = 0; pin < IOAPIC_PINS; pin++)
		if (ioapic->regs.rte[pin] & ~known)
			return err_set(err, -EINVAL,
				       "saved IOAPIC entry %u is not valid",
				       pin);
	return 0;
}

static int ioapic_create(struct device *dev, struct err *err)
{
	struct ioapic *ioapic = ioapic_of(dev);
	struct irq_router *router = &dev->vm->irq;
	struct bus_region region = {
		.name = "ioapic",
		.space = BUS_MMIO,
		.base = ioapic->base,
		.size = IOAPIC_SIZE,
		.widths = BUS_W4, /* [1] 3.0: 32-bit accesses only */
		.dev = dev,
		.read = ioapic_read,
		.write = ioapic_write,
	};
	int ret;

	if (ioapic->id > 15)
		return err_set(err, -EINVAL, "ioapic: id is 0 to 15");
	ret = bus_add(&dev->vm->bus, &region, err);
	if (ret)
		return ret;
	router->ioapic = (struct irq_sink){dev, ioapic_set, &ioapic->regs};
	router->eoi = ioapic_eoi;
	return 0;
}

static void ioapic_destroy(struct device *dev)
{
	struct irq_router *router = &dev->vm->irq;

	if (router->ioapic.dev != dev)
		return;
	router->ioapic = (struct irq_sink){0};
	router->eoi = NULL;
}

static const struct device_option ioapic_options[] = {
	{"base", OPT_NUM, offsetof(struct ioapic, base), "0xfec00000",
	 "physical address of the registers"},
	{"apic-id", OPT_NUM, offsetof(struct ioapic, id), "0",
	 "ID register at reset, 0 to 15"},
	{0},
};

static const struct device_type ioapic_type = {
	.name = "ioapic",
	.help = "I/O APIC, 24 pins",
	.size = sizeof(struct ioapic),
	.options = ioapic_options,
	.save_version = 1,
	.regs_offset = offsetof(struct ioapic, regs),
	.regs_size = sizeof(struct ioapic_state),
	.create = ioapic_create,
	.destroy = ioapic_destroy,
	.reset = ioapic_reset,
	.loaded = ioapic_loaded,
};
DEVICE_TYPE(ioapic_type);
