/* SPDX-License-Identifier: Apache-2.0 */
/* Output to COM1, and the end of the run. */
#pragma once

#include "types.h"

#define EXIT_PORT 0xf4

/* %s %c %d %u %x, %lx and %llx; %% for itself. */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The host ends with status val * 2 + 1: values that nothing else ends with. */
enum { GUEST_PASSED = 16, GUEST_FAILED = 17, GUEST_CRASHED = 18 };
__attribute__((noreturn)) void guest_exit(u8 val);
