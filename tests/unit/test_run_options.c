/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of `vireo run`. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "cli/run_options.h"

#define MAX_ARGS 40

static int parse(struct run_options *options, struct err *err,
		 const char *const *words)
{
	static char copies[MAX_ARGS][128]; /* which options may cut up */
	static char *argv[MAX_ARGS + 1];
	int argc = 0;

	argv[argc++] = (char *)"run";
	for (; *words; words++, argc++) {
		argv[argc] = copies[argc];
		snprintf(copies[argc], sizeof(copies[argc]), "%s", *words);
	}
	argv[argc] = NULL;
	memset(err, 0, sizeof(*err));
	return run_options_parse(options, argc, argv, err);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_defaults(void **unused)
{
	const char *const none[] = {NULL};
	struct run_options o;
	struct err err;

	assert_int_equal(parse(&o, &err, none), 0);
	assert_null(o.kernel);
	assert_null(o.command);
	assert_null(o.cpu_model);
	assert_int_equal(o.cpus, 1);
	assert_int_equal(o.mem, MIB(256));
	assert_int_equal(o.debug_exit, -1);
	assert_string_equal(o.engine, "auto");
	assert_int_equal(o.bt_mode, VM_BT_JIT);
	assert_false(o.mitigations);
}

static void test_devices(void **unused)
{
	struct run_options o;
	struct err err;
	const char *words[32 + 1] = {NULL};

	assert_int_equal(parse(&o, &err,
			       ARGS("--disk", "a.img,ro", "--rng",
				    "--disk=/dev/sdb,threads=2")),
			 0);
	assert_int_equal(o.device_count, 3);
	assert_string_equal(o.devices[0], "virtio-blk,path=a.img,ro");
	assert_string_equal(o.devices[1], "virtio-rng,");
	assert_string_equal(o.devices[2], "virtio-blk,path=/dev/sdb,threads=2");
	run_options_free(&o);
	assert_int_equal(parse(&o, &err, ARGS("--disk", "help")), 0);
	assert_string_equal(o.help_device, "virtio-blk");
	assert_int_equal(o.device_count, 0);
	for (unsigned i = 0; i < 32; i++)
		words[i] = "--rng";
	assert_int_equal(parse(&o, &err, words), -EINVAL);
	assert_non_null(strstr(err.msg, "more than 31"));
	run_options_free(&o);
}

static void test_all(void **unused)
{
	struct run_options o;
	struct err err;

	assert_int_equal(
		parse(&o, &err,
		      ARGS("--kernel", "k", "--initrd=i", "--cmdline", "a b=c",
			   "--cpus", "4", "--mem=1g", "--engine", "bt", "--bt",
			   "check", "--bt-code=4m", "--bt-dump=de,f",
			   "--bt-perf-map", "--bt-count", "--bt-verify",
			   "--cpu", "host,mitigations=on", "--debug-exit",
			   "0xf4", "--trace", "irq,timer", "--stats",
			   "--verbose", "--", "ls", "--stats")),
		0);
	assert_string_equal(o.kernel, "k");
	assert_string_equal(o.initrd, "i");
	assert_string_equal(o.cmdline, "a b=c");
	assert_int_equal(o.cpus, 4);
	assert_int_equal(o.mem, GIB(1));
	assert_string_equal(o.engine, "bt");
	assert_int_equal(o.bt_mode, VM_BT_CHECK);
	assert_int_equal(o.engine_options.bt_code, MIB(4));
	assert_string_equal(o.engine_options.bt_dump, "de,f");
	assert_true(o.engine_options.bt_perf_map);
	assert_true(o.engine_options.bt_count);
	assert_true(o.engine_options.bt_verify);
	assert_string_equal(o.cpu_model, "host");
	assert_true(o.mitigations);
	assert_int_equal(o.debug_exit, 0xf4);
	assert_string_equal(o.trace, "irq,timer");
	assert_true(o.stats);
	assert_true(o.verbose);
	assert_string_equal(o.command[0], "ls");
	assert_string_equal(o.command[1], "--stats");
	assert_null(o.command[2]);
}

static void test_sizes(void **unused)
{
	static const struct {
		const char *text;
		u64 mem;
	} rows[] = {
		{"96", MIB(96)},   {"96m", MIB(96)},	 {"4G", GIB(4)},
		{"1", MIB(1)},	   {"1024k", MIB(1)},	 {"1025k", 0x101000},
		{"1t", GIB(1024)}, {"0x100M", MIB(256)}, {"1048576", GIB(1024)},
	};
	struct run_options o;
	struct err err;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(parse(&o, &err, ARGS("--mem", rows[i].text)),
				 0);
		assert_int_equal(o.mem, rows[i].mem);
	}
}

static void test_modules(void **unused)
{
	const char *words[2 * BOOT_MAX_MODULES + 3] = {NULL};
	struct run_options o;
	struct err err;

	for (unsigned i = 0; i < BOOT_MAX_MODULES; i++) {
		words[2 * i] = "--module";
		words[2 * i + 1] = i ? "m" : "first";
	}
	assert_int_equal(parse(&o, &err, words), 0);
	assert_int_equal(o.module_count, BOOT_MAX_MODULES);
	assert_string_equal(o.modules[0], "first");
	words[2 * BOOT_MAX_MODULES] = "--module";
	words[2 * BOOT_MAX_MODULES + 1] = "m";
	assert_int_equal(parse(&o, &err, words), -EINVAL);
	assert_int_equal(parse(&o, &err, ARGS("--module", "a", "--module=b")),
			 0);
	assert_int_equal(o.module_count, 2);
	assert_string_equal(o.modules[1], "b");
}

/* Each is refused with a sentence that names the culprit. */
static void test_refusals(void **unused)
{
	static const struct {
		const char *words[3];
		const char *said;
	} rows[] = {
		{{"--bogus"}, "--bogus"},
		{{"--kernels"}, "--kernels"},
		{{"--kernel"}, "--kernel wants FILE"},
		{{"--stats=1"}, "--stats takes no value"},
		{{"vmlinux", "ls"}, "'ls': a command goes behind --"},
		{{"--kernel=a", "b"}, "'b': a command goes behind --"},
		{{"--block", "disk"}, "'disk' is not NAME=FILE"},
		{{"--block", "=file"}, "1 to 67 bytes"},
		{{"--block", "disk="}, "attached to nothing"},
		{{"--block", "d=f,block-size=513"}, "'513'"},
		{{"--block", "d=f,block-size=65536"}, "'65536'"},
		{{"--net", "n=eth0"}, "is not NAME=tap=INTERFACE"},
		{{"--net", "n=tap=t,mac=02:00"}, "'02:00'"},
		{{"--cpus", "0"}, "1 to 64"},
		{{"--cpus", "65"}, "'65'"},
		{{"--cpus", "two"}, "'two'"},
		{{"--cpus", "-1"}, "'-1'"},
		{{"--mem", "0"}, "0 is not between"},
		{{"--mem", "1000k"}, "1000k is not between"},
		{{"--mem", "2t"}, "2t is not between"},
		{{"--mem", "1048577"}, "'1048577' is no size"},
		{{"--mem", "99999999999999999999"}, "is no size"},
		{{"--mem", "12q"}, "'12q'"},
		{{"--mem", ""}, "is no size"},
		{{"--engine", "tcg"}, "'tcg'"},
		{{"--bt", "fast"}, "'fast'"},
		{{"--bt-code", "63k"}, "63k is not between 512k and 1g"},
		{{"--bt-code", "1025"}, "1025 is not between"},
		{{"--bt-dump", "x"}, "'x' is not some of the letters"},
		{{"--bt-dump", ",f"}, "',f' is not some of the letters"},
		{{"--bt-dump", "d,"}, "'d,' is not some of the letters"},
		{{"--bt-code", "some"}, "'some' is no size"},
		{{"--cpu", "v3,mitigations=maybe"}, "mitigations=maybe"},
		{{"--cpu", "v3,mitigation=on"}, "mitigation=on"},
		{{"--cpu", "avery-long-model-name"}, "avery-long"},
		{{"--debug-exit", "65536"}, "'65536'"},
		{{"--debug-exit", "f4"}, "'f4'"},
	};
	struct run_options o;
	struct err err;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(parse(&o, &err,
				       ARGS(rows[i].words[0], rows[i].words[1],
					    rows[i].words[2])),
				 -EINVAL);
		if (!strstr(err.msg, rows[i].said))
			fail_msg("'%s' not in: %s", rows[i].said, err.msg);
	}
}

static void test_help(void **unused)
{
	struct run_options o;
	struct err err;

	assert_int_equal(parse(&o, &err, ARGS("-h")), 0);
	assert_true(o.help);
	/* Behind -- it is the command's. */
	assert_int_equal(parse(&o, &err, ARGS("--", "--help")), 0);
	assert_false(o.help);
	assert_int_equal(parse(&o, &err, ARGS("--")), 0);
	assert_null(o.command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_modules),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
