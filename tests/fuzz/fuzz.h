/* SPDX-License-Identifier: Apache-2.0 */
/* What libFuzzer calls. */
#pragma once

#include "util/types.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t len);
