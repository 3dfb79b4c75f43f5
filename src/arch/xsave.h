/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XSAVE image.
 *
 * Reference: Intel SDM vol. 1, 13.4 (layout), 10.5.1 and table 3-43 of vol. 2
 * (the legacy region, as FXSAVE64 writes it).
 */
#pragma once

#include "util/types.h"

#define FSW_ERRORS 0x3fu
#define FSW_PE 0x20u  /* inexact */
#define FSW_ES 0x80u  /* an unmasked error is due */
#define FSW_B 0x8000u /* the same, as the 8087 had it */
#define FCW_INIT 0x37fu
#define FCW_FIXED 0x40u /* always set */
#define FCW_WRITABLE 0x1f3fu
#define MXCSR_RESET 0x1f80u
#define MXCSR_MASK 0xffffu /* AMD's misaligned mode (bit 17) not offered */
#define XSAVE_LEGACY_BYTES 512
#define XSAVE_HEADER_BYTES 64
#define XSAVE_AVX 576		/* YMM's upper halves in the host's image */
#define XSAVE_COMPACTED BIT(63) /* in XCOMP_BV */

struct xsave_legacy {
	u16 fcw, fsw;
	u8 ftw; /* abridged: a bit per physical register, 1: not empty */
	u8 reserved;
	u16 fop;
	u64 fip, fdp;
	u32 mxcsr, mxcsr_mask;
	u8 st[8][16];
	u8 xmm[16][16];
	u8 tail[96];
};
_Static_assert(sizeof(struct xsave_legacy) == XSAVE_LEGACY_BYTES, "FXSAVE");

/* XSTATE_BV of an image; XCOMP_BV follows. */
static inline u64 *xsave_header(u8 *image)
{
	return (u64 *)(void *)(image + XSAVE_LEGACY_BYTES);
}
