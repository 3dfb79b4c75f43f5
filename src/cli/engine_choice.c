/* SPDX-License-Identifier: Apache-2.0 */
/* Which engine, and the VM on it. */
#include "cli/engine_choice.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/kvm_verdict.h"
#include "engine/engine.h"

#define say(why, ...) snprintf(why, ENGINE_WHY, __VA_ARGS__)

/* And the rest of `config` that is asked of the engine: its clock, and what it
 * offers, which is the caller's to free. */
static int make_policy(const struct engine_wish *wish, struct vm_config *config,
		       struct cpu_policy *policy, struct err *err)
{
	const struct engine_ops *engine = config->engine;
	struct clock_source *clock = &config->clock;
	struct cpu_request request = {
		.model = wish->cpu_model,
		.mitigations = wish->mitigations,
		.vcpus = wish->cpus,
	};
	const struct cli_start start = cli_start();
	struct cpu_offer *offer;
	int ret = 0;

	/* First, for the clock's measurement goes on meanwhile. */
	if (engine->cpu_offer) {
		offer = calloc(1, sizeof(*offer));
		ret = offer ? engine->cpu_offer(offer, err) : -ENOMEM;
		request.offer = config->offer = offer;
	}
	if (engine->clock_source)
		engine->clock_source(clock, &start.moment);
	else
		clock_probe(clock, &start.moment);
	request.tsc_khz = clock->tsc_khz;
	return ret ? ret : cpu_policy_init(policy, &request, err);
}

static int create_on(const struct engine_ops *engine,
		     const struct engine_wish *wish, struct cpu_policy *policy,
		     struct vm **vm, struct err *err)
{
	struct vm_config config = {
		.engine = engine,
		.bt_mode = wish->bt_mode,
		.irqchip = wish->irqchip,
		.ram_size = wish->ram_size,
		.cpus = wish->cpus,
		.cpu = policy,
		.options = wish->options,
	};
	/* What it offers is asked for with all that it is asked for anyway. */
	int ret = engine->cpu_offer ? 0 : engine->probe(err);

	if (!ret)
		ret = make_policy(wish, &config, policy, err);
	if (!ret)
		ret = vm_create(&config, vm, err);
	free((void *)config.offer);
	return ret;
}

/* The VM exists on KVM: may it stay there? */
static bool is_fast(struct vm *vm, char *why)
{
	struct engine_speed speed = {0};
	enum kvm_verdict verdict;
	struct err err = {0};
	u64 times;

	if (vm->engine->speed(vm, &speed, &err)) {
		say(why, "bt: KVM does not work here: %s", err.msg);
		return false;
	}
	verdict = kvm_verdict_of(&speed, &times);
	kvm_verdict_store(verdict, times);
	if (verdict == KVM_NATIVE)
		say(why, "kvm: ring 0 runs at the CPU's own speed");
	else
		say(why,
		    "bt: KVM is there, but its ring 0 is %llu times slower "
		    "than the CPU: the host's kernel emulates it",
		    (unsigned long long)times);
	return verdict == KVM_NATIVE;
}

/* NULL: not on KVM, and why says why. */
static struct vm *try_kvm(const struct engine_wish *wish,
			  struct cpu_policy *policy, char *why)
{
	u64 times = 0;
	enum kvm_verdict verdict = kvm_verdict_load(&times);
	struct err err = {0};
	struct vm *vm = NULL;

	if (verdict == KVM_EMULATED) {
		say(why,
		    "bt: KVM's ring 0 was measured %llu times slower than the "
		    "CPU since this host started",
		    (unsigned long long)times);
		return NULL;
	}
	if (create_on(&engine_kvm, wish, policy, &vm, &err)) {
		say(why, "bt: %s", err.msg);
		return NULL;
	}
	if (verdict == KVM_NATIVE) {
		say(why, "kvm: ring 0 was measured at the CPU's own speed "
			 "since this host started");
		return vm;
	}
	if (is_fast(vm, why))
		return vm;
	vm_destroy(vm);
	return NULL;
}

int engine_create_vm(const struct engine_wish *wish, struct cpu_policy *policy,
		     struct vm **vm, char why[ENGINE_WHY], struct err *err)
{
	if (!strcmp(wish->engine, "auto") && wish->bt_mode != VM_BT_JIT) {
		say(why, "bt: what --bt asks for is its own");
	} else if (!strcmp(wish->engine, "auto")) {
		*vm = try_kvm(wish, policy, why);
		if (*vm)
			return 0;
	} else {
		say(why, "%s: asked for", wish->engine);
	}
	if (!strcmp(wish->engine, "kvm"))
		return create_on(&engine_kvm, wish, policy, vm, err);
	return create_on(&engine_bt, wish, policy, vm, err);
}
