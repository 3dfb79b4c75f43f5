#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A disk on the KVM engine, on PCI and without: doorbells by ioeventfd, one for
# each queue. What the guest read, and what it wrote, is what is in the file.
# timeout: 400
set -eu
for options in "" ",packed=off,ro" ",mmio,packed=off"; do
	dd if=/dev/urandom of=disk bs=1M count=8 2>/dev/null
	before=$(md5sum <disk)
	got=$("$VIREO" run --engine kvm --cpus 2 --mem 256m --rng \
		--disk "disk$options" -- sh -c '
		md5sum </dev/vda
		dd if=/dev/vda of=/dev/vda bs=64k count=16 seek=32 \
			conv=fsync 2>/dev/null
		head -c 1000 /dev/hwrng | wc -c
		echo 3 >/proc/sys/vm/drop_caches
		md5sum </dev/vda')
	after=$(md5sum <disk)
	echo "disk$options: $got"
	[ "$got" = "$before
1000
$after" ]
	case $options in
	*ro*) [ "$before" = "$after" ] ;;
	*) [ "$before" != "$after" ] ;;
	esac
done
