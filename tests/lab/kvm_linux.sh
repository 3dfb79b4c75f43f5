#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Debian's cloud kernel on the KVM engine, with one CPU and with two, to user
# space and back.
# timeout: 240
# cpus: 1
set -eu
for cpus in 1 2; do
	got=$("$VIREO" run --engine kvm --cpus "$cpus" --mem 256m -- \
		sh -c 'echo "$(nproc) $(uname -s)"; exit 7') && status=0 || status=$?
	echo "$cpus: '$got', status $status"
	[ "$got" = "$cpus Linux" ]
	[ "$status" = 7 ]
done
