/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run one instruction on the host's CPU with given registers.
 *
 * The instruction is copied to a page of its own with a jump back behind it.
 * It may use any register, RSP included; a fault comes back as its signal.
 */
#pragma once

#include "util/types.h"

struct bt_host {
	u64 gpr[16];
	u64 flags;
	u64 code; /* address of the copy */
	u64 own_sp;
	int signal; /* 0, or what the instruction raised */
};

extern struct bt_host bt_host;

/* Executable page below 2 GiB and signal handlers; false: the host allows no
 * such page. */
bool bt_host_init(void);
void bt_host_set_code(const u8 *bytes, unsigned len);
/* bt_host.gpr and .flags in and out. */
void bt_host_run(void);

/* In assembly. */
void bt_host_enter(void);
extern const char bt_host_return[];
