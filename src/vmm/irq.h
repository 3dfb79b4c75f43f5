/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt lines are values that a device holds. Where a line goes (PIC,
 * IOAPIC, a chip of the engine's own) is the VM's business.
 *
 * An engine may run the interrupt chips itself (KVM has them in the kernel).
 * It then takes them over when the VM starts to run and gives them back when
 * it pauses: while a VM is created or paused, the models in src/chips hold the
 * state whatever the engine, and saving, loading and changing engines know no
 * other place.
 *
 * A line is a GSI: 0..15 are the ISA lines (ISA 0, the PIT, reaches the
 * IOAPIC's pin 2, as the MADT's override says), 16..23 the IOAPIC's others.
 * Level changes are idempotent. Boards give every ISA device a line of its
 * own; those that share one (PCI's pins) get it by irq_line_shared(), and it is
 * up while any of them holds it up.
 */
#pragma once

#include <pthread.h>

#include "arch/ioapic_state.h"
#include "arch/pic_state.h"
#include "arch/pit_state.h"
#include "util/types.h"

struct device;
struct irq_router;
struct vm;

#define IRQ_GSI_COUNT 24

struct irq_line {
	struct irq_router *router; /* NULL: not connected, irq_set is a no-op */
	u8 gsi;
	u8 source; /* who it is among those that share it */
};

#define IRQ_SOURCES 32 /* sharing a line, at most */

/* An interrupt chip as the router sees it. The router holds dev's lock. */
struct irq_sink {
	struct device *dev;
	void (*set)(struct device *dev, unsigned pin, bool level);
	void *regs; /* its struct pic_state and so on */
};

/* The chips that an engine may take; a machine need not have all. */
struct irq_chips {
	bool has_pic, has_ioapic, has_pit;
	struct pic_state pic;
	struct ioapic_state ioapic;
	struct pit_state pit;
};

/*
 * An engine's own chips. All are called with the router's lock held; -errno.
 *   put   take the state over; lines that are up are in it
 *   get   the state back, lines included. The 8254's output is not among them:
 *         its model settles it
 */
struct irq_engine_ops {
	int (*put)(void *engine_vm, const struct irq_chips *chips);
	int (*get)(void *engine_vm, struct irq_chips *chips);
	void (*set)(void *engine_vm, unsigned gsi, bool level);
	int (*msi)(void *engine_vm, u64 addr, u32 data);
};

struct irq_router {
	pthread_mutex_t
		lock; /* held while a line changes; leaf but for chips */
	struct vm *vm;
	u32 up[IRQ_GSI_COUNT];	   /* by source: who holds the line up */
	u8 sharing[IRQ_GSI_COUNT]; /* sources given out */
	struct irq_sink pic;	   /* pins 0..15 */
	struct irq_sink ioapic;	   /* pins 0..23 */
	struct irq_sink pit;	   /* no pins; an engine's chips include it */
	/* The 8259's side of an ExtINT: is INTR up; the INTA cycle's vector. */
	bool (*extint_pending)(struct device *pic);
	unsigned (*extint_ack)(struct device *pic);
	/* A level interrupt's EOI, broadcast by a LAPIC. */
	void (*eoi)(struct device *ioapic, u8 vector);
	/* NULL: the models are in charge. */
	const struct irq_engine_ops *engine;
	void *engine_vm;
};

void irq_router_init(struct irq_router *router, struct vm *vm);
void irq_router_fini(struct irq_router *router);

/* A line that leads nowhere (2, the cascade, or none there) is unconnected. */
struct irq_line irq_line(struct irq_router *router, unsigned gsi);
/* One more source of a line; the 33rd is unconnected. While a VM is built. */
struct irq_line irq_line_shared(struct irq_router *router, unsigned gsi);
void irq_set(struct irq_line line, bool level);
/*
 * One edge for an edge-triggered pin: lower and raise. The line stays high, as
 * an 8259 drops a request whose line falls before the CPU acknowledges it.
 */
void irq_pulse(struct irq_line line);

/* A message-signalled interrupt. Any thread. */
void irq_msi(struct irq_router *router, u64 addr, u32 data);

/*
 * For engines with chips of their own, from their resume() and pause(): no
 * vCPU runs. Lines may change at any time; none is lost. On failure the models
 * stay in charge.
 */
int irq_engine_take(struct irq_router *router, const struct irq_engine_ops *ops,
		    void *engine_vm);
int irq_engine_give(struct irq_router *router);
/* True while the models sleep. (Tests attach a set() alone to watch lines.) */
static inline bool irq_is_engines(const struct irq_router *router)
{
	return router->engine && router->engine->put;
}

/* ExtINT, called by the engine for the vCPU whose LINT0 accepts it. */
bool irq_extint_pending(struct irq_router *router);
unsigned irq_extint_ack(struct irq_router *router);
/* Called by a LAPIC at the EOI of a level-triggered vector. */
void irq_eoi(struct irq_router *router, u8 vector);
