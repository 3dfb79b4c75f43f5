/* SPDX-License-Identifier: Apache-2.0 */
/* Text of a decoded instruction, for traces, crash messages and tests. */
#pragma once

#include "engine/bt/decode.h"

/*
 * Intel syntax, lower case, by the opcode tables' names; at most len bytes
 * with the 0. `insn` and `parts` as bt_decode() left them (SIMD rows: before
 * bt_stub_attach()), ip: the instruction's own address. Uses libc: not while
 * guest registers are live.
 */
void bt_disasm(const struct bt_insn *insn, const struct bt_parts *parts, u64 ip,
	       char *buf, size_t len);
