/* SPDX-License-Identifier: Apache-2.0 */
/* The list of a VM's doorbells, and their way to the engine. */
#include "vmm/doorbell.h"

#include "vmm/vm.h"

/* vm->doorbell_lock is held. */
static void give_to_engine(struct doorbell *doorbell)
{
	const struct engine_ops *engine = doorbell->vm->engine;

	doorbell->taken =
		engine->doorbell &&
		!engine->doorbell(doorbell->vm, &doorbell->bell, true);
}

void doorbell_set(struct doorbell *doorbell, struct vm *vm)
{
	pthread_mutex_lock(&vm->doorbell_lock);
	doorbell->vm = vm;
	doorbell->next = vm->doorbells;
	vm->doorbells = doorbell;
	give_to_engine(doorbell);
	pthread_mutex_unlock(&vm->doorbell_lock);
}

void doorbell_clear(struct doorbell *doorbell)
{
	struct vm *vm = doorbell->vm;
	struct doorbell **at;

	if (!vm)
		return;
	pthread_mutex_lock(&vm->doorbell_lock);
	at = &vm->doorbells;
	while (*at != doorbell)
		at = &(*at)->next;
	*at = doorbell->next;
	if (doorbell->taken)
		vm->engine->doorbell(vm, &doorbell->bell, false);
	doorbell->vm = NULL;
	pthread_mutex_unlock(&vm->doorbell_lock);
}

void doorbell_engine_changed(struct vm *vm)
{
	pthread_mutex_lock(&vm->doorbell_lock);
	for (struct doorbell *d = vm->doorbells; d; d = d->next)
		give_to_engine(d);
	pthread_mutex_unlock(&vm->doorbell_lock);
}
