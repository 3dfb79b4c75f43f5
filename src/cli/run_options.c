/* SPDX-License-Identifier: Apache-2.0 */
/* The options of `vireo run`: one table for parsing and for the help text. */
#include "cli/run_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/parse.h"
#include "vmm/device.h"
#include "vmm/mem.h"
#include "vmm/vm.h"

#define DEFAULT_MEM MIB(256)

struct row {
	const char *name;
	const char *arg; /* NULL: a flag, take() gets NULL */
	const char *help;
	int (*take)(struct run_options *o, const char *val, struct err *err);
};

static int take_kernel(struct run_options *o, const char *val, struct err *err)
{
	o->kernel = val;
	return 0;
}

static int take_initrd(struct run_options *o, const char *val, struct err *err)
{
	o->initrd = val;
	return 0;
}

static int take_module(struct run_options *o, const char *val, struct err *err)
{
	if (o->module_count == BOOT_MAX_MODULES)
		return err_set(err, -EINVAL, "more than %d modules",
			       BOOT_MAX_MODULES);
	o->modules[o->module_count++] = val;
	return 0;
}

static int take_cmdline(struct run_options *o, const char *val, struct err *err)
{
	o->cmdline = val;
	return 0;
}

static int take_number(const char *name, const char *val, u64 max, u64 *num,
		       struct err *err)
{
	if (parse_u64(val, num) || *num > max)
		return err_set(err, -EINVAL, "%s: '%s' is no number up to %llu",
			       name, val, (unsigned long long)max);
	return 0;
}

static int take_cpus(struct run_options *o, const char *val, struct err *err)
{
	int ret = take_number("--cpus", val, VM_MAX_VCPUS, &o->cpus, err);

	if (!ret && !o->cpus)
		return err_set(err, -EINVAL, "--cpus: a VM has 1 to %d CPUs",
			       VM_MAX_VCPUS);
	return ret;
}

/* A number without a unit means MiB. */
static int take_size(const char *name, const char *val, u64 *size,
		     struct err *err)
{
	const size_t len = strlen(val);
	const bool bare = len && val[len - 1] >= '0' && val[len - 1] <= '9';

	if (parse_u64(val, size) || (bare && *size > MEM_MAX_RAM >> 20))
		return err_set(err, -EINVAL, "%s: '%s' is no size", name, val);
	if (bare)
		*size = MIB(*size);
	return 0;
}

static int take_mem(struct run_options *o, const char *val, struct err *err)
{
	u64 size;

	if (take_size("--mem", val, &size, err))
		return -EINVAL;
	if (size < MEM_MIN_RAM || size > MEM_MAX_RAM)
		return err_set(err, -EINVAL,
			       "--mem: %s is not between %lum and %lug", val,
			       MEM_MIN_RAM >> 20, MEM_MAX_RAM >> 30);
	o->mem = align_up(size, 4096);
	return 0;
}

static int take_engine(struct run_options *o, const char *val, struct err *err)
{
	static const char *const names[] = {"auto", "bt", "kvm"};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(val, names[i])) {
			o->engine = names[i];
			return 0;
		}
	return err_set(err, -EINVAL, "--engine: '%s' is not auto, bt or kvm",
		       val);
}

static int take_bt(struct run_options *o, const char *val, struct err *err)
{
	static const char *const names[] = {
		[VM_BT_JIT] = "jit",
		[VM_BT_INTERP] = "interp",
		[VM_BT_CHECK] = "check",
		[VM_BT_CHECK_USER] = "check-user",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(val, names[i])) {
			o->bt_mode = i;
			return 0;
		}
	return err_set(err, -EINVAL,
		       "--bt: '%s' is not interp, jit, check or check-user",
		       val);
}

static int take_bt_code(struct run_options *o, const char *val, struct err *err)
{
	u64 size;

	if (take_size("--bt-code", val, &size, err))
		return -EINVAL;
	if (size < ENGINE_BT_CODE_MIN || size > ENGINE_BT_CODE_MAX)
		return err_set(err, -EINVAL,
			       "--bt-code: %s is not between %luk and %lug",
			       val, ENGINE_BT_CODE_MIN >> 10,
			       ENGINE_BT_CODE_MAX >> 30);
	o->engine_options.bt_code = align_up(size, 4096);
	return 0;
}

/* LETTERS[,FILE]; the engine opens the file. */
static int take_bt_dump(struct run_options *o, const char *val, struct err *err)
{
	const size_t len = strcspn(val, ",");

	if (!len || strspn(val, "dae") < len || (val[len] && !val[len + 1]))
		return err_set(err, -EINVAL,
			       "--bt-dump: '%s' is not some of the letters d, "
			       "a, e, then ,FILE if wanted",
			       val);
	o->engine_options.bt_dump = val;
	return 0;
}

static int take_bt_map(struct run_options *o, const char *val, struct err *err)
{
	o->engine_options.bt_perf_map = true;
	return 0;
}

static int take_bt_count(struct run_options *o, const char *val,
			 struct err *err)
{
	o->engine_options.bt_count = true;
	return 0;
}

static int take_bt_verify(struct run_options *o, const char *val,
			  struct err *err)
{
	o->engine_options.bt_verify = true;
	return 0;
}

/* MODEL[,mitigations=on|off]; whether the model exists is the policy's to say.
 */
static int take_cpu(struct run_options *o, const char *val, struct err *err)
{
	static const char key[] = "mitigations=";
	const char *comma = strchr(val, ',');
	const size_t len = comma ? (size_t)(comma - val) : strlen(val);

	if (len >= sizeof(o->model_buf))
		return err_set(err, -EINVAL, "--cpu: no model '%s'", val);
	memcpy(o->model_buf, val, len);
	o->model_buf[len] = 0;
	o->cpu_model = len ? o->model_buf : NULL;
	if (!comma)
		return 0;
	if (strncmp(comma + 1, key, sizeof(key) - 1) != 0 ||
	    parse_bool(comma + sizeof(key), &o->mitigations))
		return err_set(err, -EINVAL,
			       "--cpu: '%s' is not mitigations=on or off",
			       comma + 1);
	return 0;
}

/* argv is ours to cut up. */
static int take_block(struct run_options *o, const char *val, struct err *err)
{
	return hvt_attach_block_option(&o->attach, (char *)val, err);
}

static int take_net(struct run_options *o, const char *val, struct err *err)
{
	return hvt_attach_net_option(&o->attach, (char *)val, err);
}

static int add_device(struct run_options *o, const char *type,
		      const char *options, struct err *err)
{
	char **device = &o->devices[o->device_count];

	if (o->device_count == RUN_MAX_DEVICES)
		return err_set(err, -EINVAL, "more than %d devices",
			       RUN_MAX_DEVICES);
	if (asprintf(device, "%s,%s", type, options) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	o->device_count++;
	return 0;
}

static int take_disk(struct run_options *o, const char *val, struct err *err)
{
	char *options;
	int ret;

	if (!strcmp(val, "help")) {
		o->help_device = "virtio-blk";
		return 0;
	}
	if (asprintf(&options, "path=%s", val) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	ret = add_device(o, "virtio-blk", options, err);
	free(options);
	return ret;
}

static int take_rng(struct run_options *o, const char *val, struct err *err)
{
	return add_device(o, "virtio-rng", "", err);
}

static int take_dumpcore(struct run_options *o, const char *val,
			 struct err *err)
{
	o->core_dir = val;
	return 0;
}

static int take_debug_exit(struct run_options *o, const char *val,
			   struct err *err)
{
	u64 port = 0;
	int ret = take_number("--debug-exit", val, UINT16_MAX, &port, err);

	o->debug_exit = (s64)port;
	return ret;
}

static int take_trace(struct run_options *o, const char *val, struct err *err)
{
	o->trace = val;
	return 0;
}

static int take_stats(struct run_options *o, const char *val, struct err *err)
{
	o->stats = true;
	return 0;
}

static int take_verbose(struct run_options *o, const char *val, struct err *err)
{
	o->verbose = true;
	return 0;
}

static int take_help(struct run_options *o, const char *val, struct err *err)
{
	o->help = true;
	return 0;
}

static const struct row rows[] = {
	{"--kernel", "FILE", "Linux bzImage, PVH or multiboot ELF",
	 take_kernel},
	{"--initrd", "FILE", "Linux initial RAM disk", take_initrd},
	{"--module", "FILE", "multiboot module; may be repeated", take_module},
	{"--cmdline", "STR", "kernel command line (default guest: added to it)",
	 take_cmdline},
	{"--disk", "FILE", "a disk [,ro][,discard=off]...; help: all options",
	 take_disk},
	{"--block", "NAME=FILE", "Solo5: a file as disk [,block-size=N]",
	 take_block},
	{"--net", "NAME=tap=IF", "Solo5: a tap as network [,mac=ADDRESS]",
	 take_net},
	{"--dumpcore", "DIR", "Solo5: a core file there if the guest aborts",
	 take_dumpcore},
	{"--cpus", "N", "number of CPUs (1)", take_cpus},
	{"--mem", "SIZE", "RAM, with k, m, g; a plain number is MiB (256m)",
	 take_mem},
	{"--engine", "ENGINE", "auto, bt or kvm (auto)", take_engine},
	{"--bt", "MODE", "bt: interp, jit, check or check-user (jit)", take_bt},
	{"--bt-code", "SIZE", "bt: room for translated code", take_bt_code},
	{"--bt-count", NULL, "bt: count what translated code runs (--stats)",
	 take_bt_count},
	{"--bt-dump", "PASSES", "bt: show translations: d, a, e [,FILE]",
	 take_bt_dump},
	{"--bt-perf-map", NULL, "bt: write /tmp/perf-PID.map for perf",
	 take_bt_map},
	{"--bt-verify", NULL, "bt: hold translated code against rules",
	 take_bt_verify},
	{"--cpu", "MODEL", "v2, v3 or host, then ,mitigations=on if wanted",
	 take_cpu},
	{"--rng", NULL, "random numbers by virtio-rng", take_rng},
	{"--debug-exit", "PORT", "a byte v written there ends with v*2+1",
	 take_debug_exit},
	{"--trace", "GROUPS", "trace to stderr: bus,irq,lapic,... or all",
	 take_trace},
	{"--stats", NULL, "print the engine's counters at the end", take_stats},
	{"--verbose", NULL, "say more, and let the guest's kernel talk",
	 take_verbose},
	{"--help", NULL, "show this text", take_help},
};

void run_options_help(FILE *out)
{
	fputs("usage: vireo run [OPTIONS...] [IMAGE] [-- COMMAND ARGS...]\n\n"
	      "Without IMAGE the default guest boots and runs COMMAND, or a "
	      "shell. IMAGE is\nwhat --kernel takes, or a Solo5 hvt "
	      "unikernel: ARGS are then its own.\n\n",
	      out);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		fprintf(out, "  %-13s %-7s %s\n", rows[i].name,
			rows[i].arg ? rows[i].arg : "", rows[i].help);
	fputs("\nAt a terminal: Ctrl-A x leaves, Ctrl-A p presses the power "
	      "button, Ctrl-A h helps.\n",
	      out);
}

void run_options_help_device(FILE *out, const char *name)
{
	const struct device_type *type = device_type_find(name);
	const struct device_option *opt = type->options;

	fprintf(out, "%s: %s. Options, each behind a comma:\n\n", type->name,
		type->help);
	for (; opt->name; opt++)
		if (opt->value)
			fprintf(out, "  %-10s %s%s%s%s\n", opt->name, opt->help,
				*opt->value ? " (" : "", opt->value,
				*opt->value ? ")" : "");
}

void run_options_free(struct run_options *options)
{
	while (options->device_count)
		free(options->devices[--options->device_count]);
}

/* The row that arg names, and the text behind "=" or NULL. */
static const struct row *find_row(const char *arg, const char **val)
{
	if (!strcmp(arg, "-h"))
		arg = "--help";
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const size_t len = strlen(rows[i].name);

		if (strncmp(arg, rows[i].name, len) != 0)
			continue;
		if (arg[len] && arg[len] != '=')
			continue;
		*val = arg[len] ? arg + len + 1 : NULL;
		return &rows[i];
	}
	return NULL;
}

static void set_defaults(struct run_options *options)
{
	memset(options, 0, sizeof(*options));
	options->cpus = 1;
	options->mem = DEFAULT_MEM;
	options->engine = "auto";
	options->engine_options.bt_verify = getenv("VIREO_BT_VERIFY") != NULL;
	options->debug_exit = -1;
}

int run_options_parse(struct run_options *options, int argc, char **argv,
		      struct err *err)
{
	set_defaults(options);
	for (int i = 1; i < argc; i++) {
		const struct row *row;
		const char *val = NULL;
		int ret;

		if (!strcmp(argv[i], "--")) {
			options->command = argv[i + 1] ? &argv[i + 1] : NULL;
			return 0;
		}
		row = find_row(argv[i], &val);
		if (!row && argv[i][0] == '-')
			return err_set(err, -EINVAL, "no option '%s'", argv[i]);
		if (!row && options->kernel)
			return err_set(err, -EINVAL,
				       "'%s': a command goes behind --, and "
				       "there is one image",
				       argv[i]);
		if (!row) {
			options->kernel = argv[i];
			options->is_word = true;
			continue;
		}
		if (!row->arg && val)
			return err_set(err, -EINVAL, "%s takes no value",
				       row->name);
		if (row->arg && !val)
			val = ++i < argc ? argv[i] : NULL;
		if (row->arg && !val)
			return err_set(err, -EINVAL, "%s wants %s", row->name,
				       row->arg);
		ret = row->take(options, val, err);
		if (ret)
			return ret;
	}
	return 0;
}
