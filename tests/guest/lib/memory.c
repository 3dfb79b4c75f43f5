/* SPDX-License-Identifier: Apache-2.0 */
/* The two functions that a compiler calls on its own. */
#include "types.h"

void *memset(void *dst, int val, size_t len)
{
	void *end = dst;

	__asm__ volatile("rep stosb"
			 : "+D"(end), "+c"(len)
			 : "a"(val)
			 : "memory");
	return dst;
}

void *memcpy(void *restrict dst, const void *restrict src, size_t len)
{
	void *end = dst;

	__asm__ volatile("rep movsb"
			 : "+D"(end), "+S"(src), "+c"(len)
			 :
			 : "memory");
	return dst;
}
