/* SPDX-License-Identifier: Apache-2.0 */
/* A core file of a guest that gave up, as debuggers read it. */
#pragma once

#include "util/err.h"

struct device;
struct vm;

/* Can a file be made in dir? Asked before the guest starts. */
int hvt_core_check(const char *dir, struct err *err);

/*
 * dir/core.solo5-hvt.PID: ELF, the registers as NT_PRSTATUS (of the trap that
 * the guest's cookie tells of, if it does), all memory that was touched. Says
 * on standard error what it does and what goes wrong. The VM has stopped.
 */
void hvt_core_write(struct vm *vm, const struct device *calls, const char *dir);
