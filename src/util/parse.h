/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and switches as people write them. The whole string must match. */
#pragma once

#include "util/types.h"

/*
 * Decimal or 0x hexadecimal, then at most one of k, m, g, t (times 1024 each,
 * either case). -EINVAL if it is no such number, -ERANGE above 64 bits.
 */
int parse_u64(const char *text, u64 *val);

/* on/off, yes/no, true/false, 1/0. -EINVAL otherwise. */
int parse_bool(const char *text, bool *val);
