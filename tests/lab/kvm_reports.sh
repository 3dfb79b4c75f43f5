#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What KVM cannot go on with is told with the guest's RIP and the bytes there.
# The second way is the emulated SVM's own: a processor would raise #GP.
set -u

tell() { # WAY WHAT BYTES
	got=$("$VIREO" run --engine kvm --kernel "$GUESTS/power.elf" --mem 64M \
		--cmdline "way=$1" --debug-exit 0xf4 2>&1)
	status=$?
	echo "way $1, status $status: $got"
	[ "$status" = 122 ] || exit 1
	echo "$got" | grep -q \
		"vcpu0: $2; rip 0x1[0-9a-f]* (cs 0x8, cpl 0), bytes $3 " || exit 1
}

tell 10 'KVM gave up: the kernel cannot emulate the instruction (1, [0-9a-fx]*)' \
	'66 0f 38 00 00'
tell 11 'the CPU refuses to enter the guest, hardware reason 0xffffffff' \
	'0f 22 d8'
