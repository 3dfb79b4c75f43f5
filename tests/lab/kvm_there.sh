#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The lab itself: the outer host has a /dev/kvm of its own, with nested paging,
# and Vireo finds it.
set -eu
[ -c /dev/kvm ]
[ "$(cat /sys/module/kvm_amd/parameters/npt)" = Y ]
"$VIREO" doctor
"$VIREO" doctor | grep -q 'API version 12'
