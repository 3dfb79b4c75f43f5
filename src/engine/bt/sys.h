/* SPDX-License-Identifier: Apache-2.0 */
/* The system half of the engine, as its own files and the run loop call it. */
#pragma once

#include "engine/bt/bt.h"

/* jump.S: as setjmp and longjmp, general registers only. */
int bt_setjmp(u64 jmp[8]) __attribute__((returns_twice));
_Noreturn void bt_longjmp(u64 jmp[8]);

/* deliver.c: the exception that bt_raise recorded in c->exc. May raise. */
void bt_deliver_pending(struct bt_cpu *c);

/* event.c: at a block boundary with c->attention set. */
enum bt_next { BT_RUN_BLOCK, BT_RUN_ONE, BT_LEAVE };
enum bt_next bt_attend_all(struct bt_cpu *c);

/* event.c: a data access of [va, va+size) under an enabled data breakpoint is
 * remembered for the #DB after the instruction. */
void bt_watch_hit(struct bt_cpu *c, gva_t va, unsigned size, bool write);

/* seg.c: #GP(0) unless CPL, IOPL or the TSS allow the port. */
void bt_io_check(struct bt_cpu *c, u16 port, unsigned bytes);

/* state.c: engine_ops.get_state and set_state. */
int bt_get_state(struct vcpu *vcpu, struct x86_state *state);
int bt_set_state(struct vcpu *vcpu, const struct x86_state *state,
		 struct err *err);
