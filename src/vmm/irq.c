/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt lines: from a device's pin to the chips that listen.
 *
 * References: [1] Intel 82371SB (PIIX3) datasheet 290550, ISA interrupts.
 *             [2] ACPI 6.5, 5.2.12.5 interrupt source override.
 */
#include "vmm/irq.h"

#include "vmm/device.h"
#include "vmm/trace.h"

enum irq_wiring {
	IRQ_PIT = 0,
	IRQ_CASCADE = 2, /* the slave 8259's; on the IOAPIC, the PIT's pin */
	IRQ_PIC_PINS = 16,
};

struct irq_line irq_line(struct irq_router *router, unsigned gsi)
{
	struct irq_line line = {router, gsi};

	/* No device can be wired to the cascade, nor beyond the pins. */
	if (gsi == IRQ_CASCADE || gsi >= IRQ_GSI_COUNT)
		line.router = NULL;
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

void irq_set(struct irq_line line, bool level)
{
	struct irq_router *router = line.router;

	if (!router)
		return;
	trace(TRACE_IRQ, "gsi %u %s", line.gsi, level ? "up" : "down");
	if (router->engine_set) {
		router->engine_set(router->engine_vm, line.gsi, level);
		return;
	}
	if (line.gsi < IRQ_PIC_PINS)
		irq_sink_set(&router->pic, line.gsi, level);
	irq_sink_set(&router->ioapic,
		     line.gsi == IRQ_PIT ? IRQ_CASCADE : line.gsi, level);
}

void irq_pulse(struct irq_line line)
{
	irq_set(line, false);
	irq_set(line, true);
}

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
