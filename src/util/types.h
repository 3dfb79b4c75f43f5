/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixed-width short names, address types and the few macros that every
 * file uses.
 *
 * Addresses: gpa_t is guest-physical, gva_t guest-linear (after segmentation,
 * before paging). Neither is ever a host pointer; only vmm/mem.h and the
 * engines turn one into the other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

typedef u64 gpa_t;
typedef u64 gva_t;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (1ull << (n))
#define KIB(n) ((u64)(n) << 10)
#define MIB(n) ((u64)(n) << 20)
#define GIB(n) ((u64)(n) << 30)
#define NS_PER_SEC 1000000000ull

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define container_of(ptr, type, member) \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline u64 align_up(u64 val, u64 align)
{
	return (val + align - 1) & ~(align - 1);
}

static inline u64 align_down(u64 val, u64 align)
{
	return val & ~(align - 1);
}

static inline u64 min_u64(u64 a, u64 b)
{
	return a < b ? a : b;
}

static inline u64 max_u64(u64 a, u64 b)
{
	return a > b ? a : b;
}
