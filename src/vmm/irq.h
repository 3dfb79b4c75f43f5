/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt lines are values that a device holds. Where a line goes (PIC,
 * IOAPIC, an in-kernel chip) is the VM's business.
 *
 * A line is a GSI: 0..15 are the ISA lines (ISA 0, the PIT, reaches the
 * IOAPIC's pin 2, as the MADT's override says), 16..23 the IOAPIC's others.
 * Level changes are idempotent; a source that shares a line is not supported:
 * boards give every device its own.
 */
#pragma once

#include "util/types.h"

struct device;
struct irq_router;

#define IRQ_GSI_COUNT 24

struct irq_line {
	struct irq_router *router; /* NULL: not connected, irq_set is a no-op */
	unsigned gsi;
};

/* An interrupt chip as the router sees it. The router holds dev's lock. */
struct irq_sink {
	struct device *dev;
	void (*set)(struct device *dev, unsigned pin, bool level);
};

struct irq_router {
	struct irq_sink pic;	/* pins 0..15 */
	struct irq_sink ioapic; /* pins 0..23 */
	/* The 8259's side of an ExtINT: is INTR up; the INTA cycle's vector. */
	bool (*extint_pending)(struct device *pic);
	unsigned (*extint_ack)(struct device *pic);
	/* A level interrupt's EOI, broadcast by a LAPIC. */
	void (*eoi)(struct device *ioapic, u8 vector);
	/* In-kernel chips (engine/kvm) take over when set. */
	void (*engine_set)(void *engine_vm, unsigned gsi, bool level);
	void *engine_vm;
};

/* A line that leads nowhere (2, the cascade, or none there) is unconnected. */
struct irq_line irq_line(struct irq_router *router, unsigned gsi);
void irq_set(struct irq_line line, bool level);
/*
 * One edge for an edge-triggered pin: lower and raise. The line stays high, as
 * an 8259 drops a request whose line falls before the CPU acknowledges it.
 */
void irq_pulse(struct irq_line line);

/* ExtINT, called by the engine for the vCPU whose LINT0 accepts it. */
bool irq_extint_pending(struct irq_router *router);
unsigned irq_extint_ack(struct irq_router *router);
/* Called by a LAPIC at the EOI of a level-triggered vector. */
void irq_eoi(struct irq_router *router, u8 vector);
