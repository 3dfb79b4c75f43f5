/* SPDX-License-Identifier: Apache-2.0 */
/* What a command expects of the system around it, and how the VM ends. */
#pragma once

#include <stdbool.h>

/* Mounts, host name, loopback. A part that this kernel does not have is
 * reported and left out; only /dev is needed and returned as an error. */
long system_start(void);

/* A module that is loaded or built in already is fine. */
void system_load_module(const char *path);

/* One byte to an I/O port, false where the kernel does not allow it. */
bool system_outb(unsigned short port, unsigned char val);

void system_power_off(void);
