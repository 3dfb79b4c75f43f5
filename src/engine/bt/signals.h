/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults of the host's unit inside stubs, which are the guest's.
 *
 * The kernel tells of them by signals. The handler lets the thread go on in
 * bt_simd_landing() with the unit as the fault left it: MXCSR, FSW and the
 * registers are then what the guest's handler expects, and the exception is
 * raised like any other.
 */
#pragma once

#include "engine/bt/bt.h"
#include "util/err.h"

/* Whose code runs on this thread, and whose FPU state may be live in its
 * registers; NULL: nobody's. */
extern _Thread_local struct bt_cpu *bt_live_cpu
	__attribute__((tls_model("initial-exec")));

/* Install the handlers over whatever is there; again and again does no harm.
 * Not for several threads at a time. */
int bt_signals_init(struct err *err);

/* op_simd.c: raise what the fault in a stub means. */
_Noreturn void bt_simd_landing(struct bt_cpu *c, u64 vector);
