/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI fixed hardware: PM1a event and control blocks, PM timer, SCI.
 *
 * References: [1] ACPI Specification 6.5, 4.8 (fixed hardware registers).
 *
 * Not emulated: sleeping states but S5 (the tables offer no other), bus
 * masters, the BIOS's global lock, a switch between legacy and ACPI mode (the
 * machine has no SMM: it is always in ACPI mode).
 *
 * The PM timer counts guest ns, so nothing runs for it. Its carry bit sets
 * TMR_STS every 20 minutes; that is found when somebody looks, as in the RTC,
 * and a timer is armed only while TMR_EN waits for it.
 */
#include "chips/acpi_pm.h"

#include <errno.h>

#include "arch/platform.h"
#include "util/log.h"
#include "vmm/device.h"
#include "vmm/vm.h"

enum acpi_pm_bits {
	/* [1] 4.8.4.1.1 and .2, PM1 status and enable */
	PM1_TMR = 1 << 0,
	PM1_BM = 1 << 4,
	PM1_GBL = 1 << 5,
	PM1_PWRBTN = 1 << 8,
	PM1_SLPBTN = 1 << 9,
	PM1_RTC = 1 << 10,
	PM1_WAK = 1 << 15,
	PM1_STS_MASK = PM1_TMR | PM1_BM | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN |
		       PM1_RTC | PM1_WAK,
	PM1_EN_MASK = PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC,
	/* [1] 4.8.4.2.1, PM1 control */
	PM1_SCI_EN = 1 << 0,
	PM1_SLP_TYP_SHIFT = 10,
	PM1_SLP_TYP = 7 << PM1_SLP_TYP_SHIFT,
	PM1_SLP_EN = 1 << 13,
	PM1_CNT_KEPT = PM1_SLP_TYP | 1 << 1, /* and BM_RLD */
};

#define PM_TIMER_HZ 3579545ull /* [1] 4.8.3.3 */
#define PM_TIMER_CARRY BIT(31) /* the counter has 32 bits */

struct acpi_pm_regs {
	u64 seen_ticks; /* timer up to which TMR_STS is up to date */
	u16 status, enable, control;
	u16 reserved;
};

struct acpi_pm {
	struct device dev;
	/* config */
	u64 irq;
	/* regs */
	struct acpi_pm_regs regs;
	/* host */
	struct irq_line sci;
	struct timer timer;
};

static struct acpi_pm *to_acpi_pm(struct device *dev)
{
	return container_of(dev, struct acpi_pm, dev);
}

/* Never wraps: 2^64 ticks are 160,000 years. */
static u64 pm_ticks(const struct acpi_pm *pm)
{
	u64 ns = clock_ns(&pm->dev.vm->clock);

	return ns / NS_PER_SEC * PM_TIMER_HZ +
	       ns % NS_PER_SEC * PM_TIMER_HZ / NS_PER_SEC;
}

static u64 ns_of_ticks(u64 ticks)
{
	return ticks / PM_TIMER_HZ * NS_PER_SEC +
	       (ticks % PM_TIMER_HZ * NS_PER_SEC + PM_TIMER_HZ - 1) /
		       PM_TIMER_HZ;
}

/* Bring TMR_STS up to date, SCI with it ([1] 4.8.2.1), arm for what comes. */
static void pm_update(struct acpi_pm *pm)
{
	struct acpi_pm_regs *r = &pm->regs;
	u64 now = pm_ticks(pm);

	if (now / PM_TIMER_CARRY != r->seen_ticks / PM_TIMER_CARRY)
		r->status |= PM1_TMR;
	r->seen_ticks = now;
	irq_set(pm->sci, r->status & r->enable & PM1_EN_MASK);
	if ((r->enable & PM1_TMR) && !(r->status & PM1_TMR))
		timer_arm(&pm->timer, ns_of_ticks((now / PM_TIMER_CARRY + 1) *
						  PM_TIMER_CARRY));
	else
		timer_disarm(&pm->timer);
}

static void pm_fire(struct timer *timer, u64 now_ns)
{
	pm_update(container_of(timer, struct acpi_pm, timer));
}

void acpi_pm_power_button(struct device *dev)
{
	struct acpi_pm *pm = to_acpi_pm(dev);

	pthread_mutex_lock(&dev->lock);
	pm->regs.status |= PM1_PWRBTN;
	pm_update(pm);
	pthread_mutex_unlock(&dev->lock);
}

/* ---- registers -------------------------------------------------------------
 */

/* Byte `off` of a 16-bit register, or all of it. */
static u64 pm_part(u16 reg, u64 off, unsigned width)
{
	return width == 1 ? (reg >> (8 * (off & 1))) & 0xff : reg;
}

/* The bits that a write of `width` bytes at `off` reaches, and their value. */
static u16 pm_reached(u64 off, unsigned width, u64 *val)
{
	if (width == 2)
		return 0xffff;
	*val = (*val & 0xff) << (8 * (off & 1));
	return (u16)(0xff << (8 * (off & 1)));
}

static u64 pm_event_read(struct device *dev, u64 off, unsigned width)
{
	struct acpi_pm *pm = to_acpi_pm(dev);

	pm_update(pm);
	return pm_part(off < 2 ? pm->regs.status : pm->regs.enable, off, width);
}

/* [1] 4.8.4.1: status bits are cleared by writing ones. */
static void pm_event_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct acpi_pm *pm = to_acpi_pm(dev);
	struct acpi_pm_regs *r = &pm->regs;
	u16 reached = pm_reached(off, width, &val);

	pm_update(pm);
	if (off < 2)
		r->status &= (u16)~val;
	else
		r->enable = (u16)((r->enable & ~reached) | val) & PM1_EN_MASK;
	pm_update(pm);
}

static u64 pm_control_read(struct device *dev, u64 off, unsigned width)
{
	return pm_part(to_acpi_pm(dev)->regs.control | PM1_SCI_EN, off, width);
}

static void pm_sleep(struct acpi_pm *pm)
{
	unsigned type = (pm->regs.control & PM1_SLP_TYP) >> PM1_SLP_TYP_SHIFT;

	if (type == PLAT_S5_TYPE)
		vm_stop(pm->dev.vm, VM_STOP_POWEROFF, 0, "powered off by %s",
			pm->dev.id);
	else
		log_guest("%s: sleep type %u is not offered", pm->dev.id, type);
}

static void pm_control_write(struct device *dev, u64 off, unsigned width,
			     u64 val)
{
	struct acpi_pm *pm = to_acpi_pm(dev);
	u16 reached = pm_reached(off, width, &val);

	pm->regs.control =
		(u16)((pm->regs.control & ~reached) | val) & PM1_CNT_KEPT;
	if (val & PM1_SLP_EN)
		pm_sleep(pm);
}

static u64 pm_timer_read(struct device *dev, u64 off, unsigned width)
{
	return (u32)pm_ticks(to_acpi_pm(dev));
}

/* ---- life
 * --------------------------------------------------------------------- */

static void acpi_pm_reset(struct device *dev)
{
	struct acpi_pm *pm = to_acpi_pm(dev);

	pm->regs = (struct acpi_pm_regs){.seen_ticks = pm_ticks(pm)};
	pm_update(pm);
}

static int acpi_pm_create(struct device *dev, struct err *err)
{
	struct acpi_pm *pm = to_acpi_pm(dev);
	struct vm *vm = dev->vm;
	struct bus_region regions[] = {
		{.name = "pm1-event",
		 .base = PLAT_PM_EVT,
		 .size = 4,
		 .widths = BUS_W1 | BUS_W2,
		 .read = pm_event_read,
		 .write = pm_event_write},
		{.name = "pm1-control",
		 .base = PLAT_PM_CNT,
		 .size = 2,
		 .widths = BUS_W1 | BUS_W2,
		 .read = pm_control_read,
		 .write = pm_control_write},
		{.name = "pm-timer",
		 .base = PLAT_PM_TMR,
		 .size = 4,
		 .widths = BUS_W4,
		 .read = pm_timer_read},
	};
	unsigned i;
	int ret = 0;

	if (pm->irq >= IRQ_GSI_COUNT)
		return err_set(err, -EINVAL, "%s: irq is 0 to %d", dev->id,
			       IRQ_GSI_COUNT - 1);
	pm->sci = irq_line(&vm->irq, (unsigned)pm->irq);
	timer_init(&pm->timer, &vm->timers, dev, pm_fire);
	for (i = 0; i < ARRAY_SIZE(regions) && !ret; i++) {
		regions[i].space = BUS_PIO;
		regions[i].dev = dev;
		ret = bus_add(&vm->bus, &regions[i], err);
	}
	acpi_pm_reset(dev);
	return ret;
}

static void acpi_pm_destroy(struct device *dev)
{
	struct acpi_pm *pm = to_acpi_pm(dev);

	if (pm->timer.queue)
		timer_fini(&pm->timer);
}

static int acpi_pm_loaded(struct device *dev, struct err *err)
{
	struct acpi_pm *pm = to_acpi_pm(dev);
	struct acpi_pm_regs *r = &pm->regs;

	if ((r->status & ~PM1_STS_MASK) || (r->enable & ~PM1_EN_MASK) ||
	    (r->control & ~PM1_CNT_KEPT))
		return err_set(err, -EINVAL, "%s: saved state is not valid",
			       dev->id);
	pm_update(pm);
	return 0;
}

/* A carry before the pause is in the saved registers. */
static void acpi_pm_quiesce(struct device *dev)
{
	pm_update(to_acpi_pm(dev));
}

static const struct device_option acpi_pm_options[] = {
	{"irq", OPT_NUM, offsetof(struct acpi_pm, irq), "9",
	 "interrupt line of the SCI"},
	{0},
};

static const struct device_type acpi_pm_type = {
	.name = "acpi-pm",
	.help = "ACPI power management: soft-off, power button, PM timer",
	.size = sizeof(struct acpi_pm),
	.options = acpi_pm_options,
	.save_version = 1,
	.regs_offset = offsetof(struct acpi_pm, regs),
	.regs_size = sizeof(struct acpi_pm_regs),
	.create = acpi_pm_create,
	.destroy = acpi_pm_destroy,
	.reset = acpi_pm_reset,
	.loaded = acpi_pm_loaded,
	.quiesce = acpi_pm_quiesce,
};
DEVICE_TYPE(acpi_pm_type);
