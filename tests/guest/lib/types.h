/* SPDX-License-Identifier: Apache-2.0 */
/* Short names of fixed width. ulong is as wide as a register. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned long ulong;

/* memory.c: what a compiler calls on its own. */
void *memset(void *dst, int val, size_t len);
void *memcpy(void *restrict dst, const void *restrict src, size_t len);

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (1ull << (n))

/* One of two texts, by the width of the build. */
#ifdef __x86_64__
#define FOR_WIDTH(narrow, wide) wide
#else
#define FOR_WIDTH(narrow, wide) narrow
#endif
