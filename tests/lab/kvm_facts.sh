#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the KVM engine takes for granted, of a KVM that is true to the letter.
exec kvm_facts
