/* SPDX-License-Identifier: Apache-2.0 */
/* Running SIMD and x87 instructions on the host's unit. */
#pragma once

#include "engine/bt/stub.h"

/* The operation for a ROW_SIMD record of this kind. */
void (*bt_simd_function(const struct bt_row *row, const struct bt_insn *i,
			enum stub_kind kind))(struct bt_cpu *c,
					      const struct bt_insn *i);

/* #UD or #NM as CR0, CR4 and XCR0 demand for the row's class. */
void bt_fpu_check(struct bt_cpu *c, u32 attrs);

/* SIGFPE in a stub is the guest's #MF or #XM. Once per process. */
int bt_simd_signals(struct err *err);
