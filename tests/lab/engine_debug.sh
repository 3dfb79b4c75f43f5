#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Guest debugging through the engine, as far as the emulated SVM can do it.
#
# One CPU for the outer host, see hand_over.sh: each VM here turns static keys.
# cpus: 1
# timeout: 120
exec engine_debug kvm soft
