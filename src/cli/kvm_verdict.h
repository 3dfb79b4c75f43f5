/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether this host's KVM is worth using, remembered until the host's next
 * boot: measuring costs the creation of a VM where the answer is no.
 *
 * The verdict is a line in $XDG_RUNTIME_DIR/vireo/kvm, else
 * $XDG_CACHE_HOME/vireo/kvm, else ~/.cache/vireo/kvm. It names the boot, the
 * kernel and the device it is about, and is ignored where any of them is
 * another, where the file is not ours alone, or where it cannot be read.
 */
#pragma once

#include "engine/engine.h"
#include "util/types.h"

enum kvm_verdict {
	KVM_UNKNOWN,
	KVM_NATIVE,
	KVM_EMULATED,
};

/* What a measurement says. *times: how much slower than here, 1 or more. */
enum kvm_verdict kvm_verdict_of(const struct engine_speed *speed, u64 *times);

enum kvm_verdict kvm_verdict_load(u64 *times);
/* Best effort: without a place to write, it is measured again. */
void kvm_verdict_store(enum kvm_verdict verdict, u64 times);
