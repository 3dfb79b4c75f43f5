/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals that end a VM in good order: the first SIGINT, SIGTERM, SIGHUP or
 * SIGQUIT stops the guest, a second one kills the process.
 */
#pragma once

#include "util/err.h"
#include "vmm/loop.h"

struct terminal;
struct vm;

struct signals {
	struct loop_fd lfd;
	struct vm *vm;
	struct terminal *terminal;
	int caught; /* the signal that stopped the VM, 0: none */
};

/* Before the first thread starts, so that all of them block these signals. */
int signals_open(struct signals *signals, struct terminal *terminal,
		 struct err *err);
int signals_attach(struct signals *signals, struct vm *vm, struct err *err);
void signals_close(struct signals *signals);
