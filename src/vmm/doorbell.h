/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doorbells: writes of the guest that tell a device "look", and carry nothing
 * else. An engine that can signals the eventfd by itself, without leaving the
 * guest's loop; where it cannot, the write arrives at the device's region as
 * any other does, and the device signals the descriptor. So a doorbell is never
 * needed, and setting one up cannot fail.
 *
 * Doorbells stay with the VM when it changes engines.
 *
 * Threads: any, with the device's lock held.
 */
#pragma once

#include "engine/engine.h"
#include "util/types.h"

struct vm;

struct doorbell {
	struct engine_doorbell bell;
	/* the VM's, while it is set */
	struct vm *vm; /* NULL: not set */
	bool taken;    /* by the engine */
	struct doorbell *next;
};

/* `bell` is filled in; the struct stays where it is until it is cleared. */
void doorbell_set(struct doorbell *doorbell, struct vm *vm);
/* Before its descriptor is closed; one that is not set is fine. */
void doorbell_clear(struct doorbell *doorbell);
/* vm->engine is a new one. */
void doorbell_engine_changed(struct vm *vm);
