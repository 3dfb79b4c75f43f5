/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds with AddressSanitizer only: the linker puts this in the place of
 * __asan_handle_no_return(), which the compiler calls before every function
 * that does not return, bt_raise() above all. The runtime's own function clears
 * shadow memory by memset(), in whatever registers this host's C library likes
 * best, and the guest's may live in them.
 */
#include "engine/bt/asan.h"

#include "engine/bt/span.h"
#include "arch/xsave.h"

/* x87, SSE, AVX, AVX-512: of these XSAVE takes what the host has. */
#define COMPONENTS 0xe7

void __wrap___asan_handle_no_return(void)
{
	u8 image[X86_XSAVE_AREA] __attribute__((aligned(64)));

	bt_zero(xsave_header(image), XSAVE_HEADER_BYTES);
	__asm__ volatile("xsave64 (%0)"
			 :
			 : "r"(image), "a"(COMPONENTS), "d"(0)
			 : "memory");
	__real___asan_handle_no_return();
	__asm__ volatile("xrstor64 (%0)"
			 :
			 : "r"(image), "a"(COMPONENTS), "d"(0)
			 : "memory");
}
