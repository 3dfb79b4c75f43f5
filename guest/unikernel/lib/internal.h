/* SPDX-License-Identifier: Apache-2.0 */
/* What the library's files share; programs see unikernel.h only. */
#pragma once

#include <stdarg.h>

#include "unikernel.h"

/* From unikernel.ld. */
extern char unikernel_stack_low[], unikernel_stack_end[], unikernel_end[];

/* The host's facts; valid from entry to end, never written. */
static inline const struct hvt_boot_info *boot_info(void)
{
	return (const struct hvt_boot_info *)HVT_BOOT_INFO;
}

static inline const struct hvt_manifest *boot_manifest(void)
{
	return (const struct hvt_manifest *)boot_info()->manifest;
}

/* `block` lies below 4 GiB, as all of the image and its stack do. */
static inline void hvt_call(enum hvt_call call, void *block)
{
	__asm__ volatile("outl %0, %1"
			 :
			 : "a"((uint32_t)(uintptr_t)block),
			   "d"((uint16_t)(HVT_PORT + call))
			 : "memory");
}

/* Handle of the declared device of that type and name; 0: there is none. */
uint32_t device_find(uint32_t type, const char *name);

/* The program's. */
int main(int argc, char **argv);

/* What start.S and the compiler call by name. */
__attribute__((noreturn)) void unikernel_start(void);
__attribute__((noreturn)) void __stack_chk_fail(void);

size_t format_list(char *to, size_t room, const char *fmt, va_list list);
