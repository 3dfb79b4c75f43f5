/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic flags as the host gives them: AX after LAHF; SETO AL. */
#pragma once

#include "util/types.h"

#define AF_CF 0x0100u
#define AF_PF 0x0400u
#define AF_AF 0x1000u
#define AF_ZF 0x4000u
#define AF_SF 0x8000u
#define AF_OF 0x0001u
#define AF_ONE 0x0200u /* LAHF's constant bit */

/* From their places in EFLAGS. */
static inline u16 bt_pack_aflags(u32 flags)
{
	return (u16)((flags & 0xd5) << 8 | AF_ONE | (flags >> 11 & 1));
}
