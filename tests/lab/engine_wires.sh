#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Doorbells, irqfds, message routes and the dirty log, through the engine.
#
# One CPU for the outer host, see hand_over.sh: each VM here turns static keys.
# cpus: 1
# timeout: 120
exec engine_wires kvm
