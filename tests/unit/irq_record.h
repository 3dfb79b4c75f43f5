/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt lines of a VM without interrupt chips: levels and rising edges. */
#pragma once

#include "vmm/irq.h"

struct irq_record {
	bool level[IRQ_GSI_COUNT];
	unsigned edges[IRQ_GSI_COUNT];
};

static inline void irq_record_set(void *arg, unsigned gsi, bool level)
{
	struct irq_record *record = arg;

	record->edges[gsi] += level && !record->level[gsi];
	record->level[gsi] = level;
}

static const struct irq_engine_ops irq_record_ops = {.set = irq_record_set};

static inline void irq_record_attach(struct irq_record *record,
				     struct irq_router *router)
{
	*record = (struct irq_record){0};
	router->engine_vm = record;
	router->engine = &irq_record_ops;
}
