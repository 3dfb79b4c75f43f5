/* SPDX-License-Identifier: Apache-2.0 */
/* The run loop, for engine.c. */
#pragma once

#include "engine/bt/bt.h"

/* engine_ops.run */
void bt_run(struct vcpu *vcpu, struct vcpu_exit *exit);
