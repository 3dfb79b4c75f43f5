/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt lines: from a device's pin to the chips that listen.
 *
 * References: [1] Intel 82371SB (PIIX3) datasheet 290550, ISA interrupts.
 *             [2] ACPI 6.5, 5.2.12.5 interrupt source override.
 */
#include "vmm/irq.h"

#include <string.h>

#include "vmm/device.h"
#include "vmm/lapic.h"
#include "vmm/trace.h"
#include "vmm/vm.h"

enum irq_wiring {
	IRQ_PIT = 0,
	IRQ_CASCADE = 2, /* the slave 8259's; on the IOAPIC, the PIT's pin */
	IRQ_PIC_PINS = 16,
};

void irq_router_init(struct irq_router *router, struct vm *vm)
{
	pthread_mutex_init(&router->lock, NULL);
	router->vm = vm;
}

void irq_router_fini(struct irq_router *router)
{
	pthread_mutex_destroy(&router->lock);
}

/* ------------------------------------------------------------------------- */
/* Lines */

struct irq_line irq_line(struct irq_router *router, unsigned gsi)
{
	/* No device can be wired to the cascade, nor beyond the pins. */
	if (gsi == IRQ_CASCADE || gsi >= IRQ_GSI_COUNT)
		return (struct irq_line){0};
	return (struct irq_line){.router = router, .gsi = (u8)gsi};
}

struct irq_line irq_line_shared(struct irq_router *router, unsigned gsi)
{
	struct irq_line line = irq_line(router, gsi);

	if (!line.router || router->sharing[gsi] == IRQ_SOURCES)
		return (struct irq_line){0};
	line.source = router->sharing[gsi]++;
	return line;
}

static void irq_sink_set(const struct irq_sink *sink, unsigned pin, bool level)
{
	if (!sink->set)
		return;
	pthread_mutex_lock(&sink->dev->lock);
	sink->set(sink->dev, pin, level);
	pthread_mutex_unlock(&sink->dev->lock);
}

static void irq_set_models(const struct irq_router *router, unsigned gsi,
			   bool level)
{
	if (gsi < IRQ_PIC_PINS)
		irq_sink_set(&router->pic, gsi, level);
	irq_sink_set(&router->ioapic, gsi == IRQ_PIT ? IRQ_CASCADE : gsi,
		     level);
}

void irq_set(struct irq_line line, bool level)
{
	struct irq_router *router = line.router;

	if (!router)
		return;
	trace(TRACE_IRQ, "gsi %u %s", line.gsi, level ? "up" : "down");
	pthread_mutex_lock(&router->lock);
	router->up[line.gsi] &= ~(u32)BIT(line.source);
	router->up[line.gsi] |= (u32)level << line.source;
	level = router->up[line.gsi];
	if (router->engine)
		router->engine->set(router->engine_vm, line.gsi, level);
	else
		irq_set_models(router, line.gsi, level);
	pthread_mutex_unlock(&router->lock);
}

void irq_pulse(struct irq_line line)
{
	irq_set(line, false);
	irq_set(line, true);
}

void irq_msi(struct irq_router *router, u64 addr, u32 data)
{
	pthread_mutex_lock(&router->lock);
	if (router->engine)
		router->engine->msi(router->engine_vm, addr, data);
	else
		lapic_deliver_msi(router->vm, addr, data);
	pthread_mutex_unlock(&router->lock);
}

/* ------------------------------------------------------------------------- */
/* Between the models and an engine's chips */

static bool irq_sink_copy(const struct irq_sink *sink, void *regs, size_t size)
{
	if (!sink->dev)
		return false;
	pthread_mutex_lock(&sink->dev->lock);
	memcpy(regs, sink->regs, size);
	pthread_mutex_unlock(&sink->dev->lock);
	return true;
}

static int irq_sink_load(const struct irq_sink *sink, const void *regs,
			 size_t size)
{
	int ret;

	if (!sink->dev)
		return 0;
	pthread_mutex_lock(&sink->dev->lock);
	memcpy(sink->regs, regs, size);
	ret = sink->dev->type->loaded(sink->dev, NULL);
	pthread_mutex_unlock(&sink->dev->lock);
	return ret;
}

/*
 * The 8254 is a device with a line, so its lock comes before the router's:
 * first out, last in. Its own timer finds it asleep (irq_is_engines).
 */
int irq_engine_take(struct irq_router *router, const struct irq_engine_ops *ops,
		    void *engine_vm)
{
	struct irq_chips chips = {0};
	int ret;

	chips.has_pit =
		irq_sink_copy(&router->pit, &chips.pit, sizeof(chips.pit));
	pthread_mutex_lock(&router->lock);
	chips.has_pic =
		irq_sink_copy(&router->pic, &chips.pic, sizeof(chips.pic));
	chips.has_ioapic = irq_sink_copy(&router->ioapic, &chips.ioapic,
					 sizeof(chips.ioapic));
	ret = ops->put(engine_vm, &chips);
	if (!ret) {
		router->engine = ops;
		router->engine_vm = engine_vm;
	}
	pthread_mutex_unlock(&router->lock);
	return ret;
}

int irq_engine_give(struct irq_router *router)
{
	struct irq_chips chips = {0};
	int ret;

	pthread_mutex_lock(&router->lock);
	ret = router->engine->get(router->engine_vm, &chips);
	router->engine = NULL;
	if (!ret)
		ret = irq_sink_load(&router->pic, &chips.pic,
				    sizeof(chips.pic));
	if (!ret)
		ret = irq_sink_load(&router->ioapic, &chips.ioapic,
				    sizeof(chips.ioapic));
	pthread_mutex_unlock(&router->lock);
	if (!ret)
		ret = irq_sink_load(&router->pit, &chips.pit,
				    sizeof(chips.pit));
	return ret;
}

/* ------------------------------------------------------------------------- */
/* The models' way to the vCPUs */

bool irq_extint_pending(struct irq_router *router)
{
	bool pending;

	if (!router->extint_pending)
		return false;
	pthread_mutex_lock(&router->pic.dev->lock);
	pending = router->extint_pending(router->pic.dev);
	pthread_mutex_unlock(&router->pic.dev->lock);
	return pending;
}

unsigned irq_extint_ack(struct irq_router *router)
{
	unsigned vector;

	/* Nobody drives the data bus in the INTA cycle: it reads all-ones. */
	if (!router->extint_ack)
		return 0xff;
	pthread_mutex_lock(&router->pic.dev->lock);
	vector = router->extint_ack(router->pic.dev);
	pthread_mutex_unlock(&router->pic.dev->lock);
	trace(TRACE_IRQ, "extint vector %u", vector);
	return vector;
}

void irq_eoi(struct irq_router *router, u8 vector)
{
	if (!router->eoi)
		return;
	pthread_mutex_lock(&router->ioapic.dev->lock);
	router->eoi(router->ioapic.dev, vector);
	pthread_mutex_unlock(&router->ioapic.dev->lock);
}
