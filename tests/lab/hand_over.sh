#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A running guest moves between the software engine and KVM, ten times each
# way, with one CPU and with two, and notices nothing.
# timeout: 180
set -eu
for cpus in 1 2; do
	hand_over "$GUESTS/handover.elf" "$cpus" 20 bt simd=1
	hand_over "$GUESTS/handover.elf" "$cpus" 10 kvm simd=1
done
