/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vireo doctor`: what this host offers, and what Vireo will therefore do.
 * Exit status 0 if a VM can run, EXIT_HOST if not.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arch/cpuid.h"
#include "cli/cli.h"
#include "cli/doctor_probe.h"
#include "cli/engine_choice.h"
#include "engine/engine.h"
#include "vmm/clock.h"

__attribute__((format(printf, 2, 3))) static void line(const char *what,
						       const char *fmt, ...)
{
	va_list ap;

	printf("%-16s ", what);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* What the model "host" has beyond v3, which `policy` is. */
static void report_host_model(const struct cpu_policy *policy,
			      struct cpu_request request)
{
	struct cpu_policy all;
	char names[200] = "";
	u64 more;

	request.model = "host";
	if (cpu_policy_init(&all, &request, NULL))
		return;
	more = all.features & ~policy->features;
	for (unsigned i = 0; i < FEAT_COUNT; i++) {
		const size_t len = strlen(names);

		if (more & BIT(i))
			snprintf(names + len, sizeof(names) - len, " %s",
				 cpu_feature_name(i));
	}
	line("cpu host", "v3%s%s", more ? " and" : "", names);
}

/* The model that fits, in policy; -errno with the reason in err if none. */
static int report_cpu(struct cpu_policy *policy, struct err *err)
{
	struct clock_source source;
	struct cpu_request request = {.model = "v3", .vcpus = 1};
	struct err missing = {0};
	int ret;

	clock_probe(&source, NULL);
	line("tsc", "%llu kHz, %s, %s", (unsigned long long)source.tsc_khz,
	     source.how, source.native ? "native" : "replaced by the clock");
	request.tsc_khz = source.tsc_khz;
	ret = cpu_policy_init(policy, &request, &missing);
	line("cpu v3", "%s", ret ? missing.msg : "yes");
	if (!ret)
		report_host_model(policy, request);
	if (ret) {
		request.model = "v2";
		ret = cpu_policy_init(policy, &request, err);
	}
	line("cpu v2", "%s", ret ? err->msg : "yes");
	return ret;
}

static void report_probes(void)
{
	for (unsigned i = 0; i < doctor_probe_count; i++) {
		const struct doctor_probe *probe = &doctor_probes[i];
		char text[DOCTOR_TEXT] = "";

		probe->run(text);
		line(probe->name, "%s", text);
	}
}

/* What `--engine auto` would do, by doing it. True: it takes KVM. */
static bool report_kvm(void)
{
	const struct engine_wish wish = {
		.engine = "auto",
		.ram_size = MIB(16),
		.cpus = 1,
	};
	struct cpu_policy policy;
	char why[ENGINE_WHY] = "";
	struct vm *vm = NULL;
	struct err err = {0};
	bool kvm;

	if (engine_create_vm(&wish, &policy, &vm, why, &err))
		snprintf(why, sizeof(why), "%s", err.msg);
	kvm = vm && vm->engine == &engine_kvm;
	vm_destroy(vm);
	line("engine kvm", "%s", kvm ? "yes" : "no");
	line("engine choice", "%s", why);
	return kvm;
}

static int usage(const char *arg)
{
	const bool help = !strcmp(arg, "--help") || !strcmp(arg, "-h");
	FILE *out = help ? stdout : stderr;

	if (!help)
		fprintf(out, "vireo: doctor takes no '%s'\n", arg);
	fputs("usage: vireo doctor\n\n"
	      "Says what this host offers to virtual machines, and what Vireo "
	      "will do.\n",
	      out);
	return help ? EXIT_OK : EXIT_USAGE;
}

int cli_doctor(int argc, char **argv)
{
	struct cpu_policy policy;
	struct err err = {0};
	bool kvm;
	int ret;

	if (argc > 1)
		return usage(argv[1]);
	report_probes();
	ret = report_cpu(&policy, &err);
	if (!ret)
		ret = engine_bt.probe(&err);
	kvm = report_kvm();
	line("engine bt", "%s", ret ? err.msg : "yes");
	line("sandbox", "not in this version");
	if (ret) {
		printf("\nVireo cannot run VMs here: %s.\n", err.msg);
		return EXIT_HOST;
	}
	printf("\nVireo will run VMs with %s and CPU model %s.\n",
	       kvm ? "KVM" : "the software engine (bt)", policy.model);
	return EXIT_OK;
}
