#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A running guest moves between the software engine and KVM, ten times each
# way, with one CPU and with two, and notices nothing.
#
# One CPU for the outer host: each move turns static keys of KVM, that is, the
# outer kernel writes INT3 into its own code and takes it away again, and an
# emulated CPU that ran there meanwhile now and then stays in the breakpoint's
# handler for ever, with the other waiting for it.
# cpus: 1
# timeout: 300
set -eu
for cpus in 1 2; do
	hand_over "$GUESTS/handover.elf" "$cpus" 20 bt simd=1
	hand_over "$GUESTS/handover.elf" "$cpus" 10 kvm simd=1
done
