/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Under the name solo5-hvt: the command line of Solo5's own tender, so that
 * scripts and runtimes that start it start Vireo instead. Its exit statuses
 * are the guest's, and 1 for everything else.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/run_hvt.h"
#include "cli/terminal.h"
#include "util/parse.h"

enum { SOLO5_FAILED = 1 };

struct solo5 {
	struct run_hvt run;
	struct hvt_attach_list attach;
};

static const char usage_text[] =
	"usage: solo5-hvt [ CORE OPTIONS ] [ MODULE OPTIONS ] [ -- ] KERNEL "
	"[ ARGS ]\n"
	"KERNEL is the unikernel to run, ARGS are its arguments.\n"
	"Core options:\n"
	"    --mem=MIB (guest memory, a multiple of 2; 512)\n"
	"    --help, --version\n"
	"Module options:\n"
	"    --block:NAME=PATH (file or block device as disk NAME)\n"
	"    --block-sector-size:NAME=BYTES (of that disk; a power of two, at "
	"least 512)\n"
	"    --net:NAME=IFACE or @FD (tap interface or descriptor as network "
	"NAME)\n"
	"    --net-mac:NAME=HWADDR (of that network; random)\n"
	"    --dumpcore=DIR (core file there if the guest aborts)\n"
	"This is vireo; VIREO_ENGINE=bt or kvm chooses its engine.\n";

/* ---- options ------------------------------------------------------------ */

static int take_mem(struct solo5 *s, const char *text, struct err *err)
{
	u64 mib;

	if (parse_u64(text, &mib) || !mib || mib > MEM_MAX_FLAT >> 20)
		return err_set(err, -EINVAL, "Malformed argument to --mem");
	s->run.mem = MIB(mib) & ~(HVT_MEM_STEP - 1);
	if (!s->run.mem)
		s->run.mem = HVT_MEM_STEP;
	return 0;
}

static int take_core(struct solo5 *s, const char *text, struct err *err)
{
	s->run.core_dir = text;
	return 0;
}

struct plain_row {
	const char *prefix;
	int (*take)(struct solo5 *s, const char *text, struct err *err);
};

static const struct plain_row plain_rows[] = {
	{"--mem=", take_mem},
	{"--dumpcore=", take_core},
};

/* --OPTION:NAME=VALUE */
struct device_row {
	const char *prefix;
	u32 type;
	int (*take)(struct board_hvt_attach *a, const char *text,
		    struct err *err);
};

static const struct device_row device_rows[] = {
	{"--block:", HVT_ENTRY_BLOCK, hvt_attach_target},
	{"--block-sector-size:", HVT_ENTRY_BLOCK, hvt_attach_block_size},
	{"--net:", HVT_ENTRY_NET, hvt_attach_target},
	{"--net-mac:", HVT_ENTRY_NET, hvt_attach_mac},
};

static int take_device(struct solo5 *s, const struct device_row *row,
		       const char *text, struct err *err)
{
	const char *equals = strchr(text, '=');
	struct board_hvt_attach *a;

	if (!equals)
		return err_set(err, -EINVAL, "Invalid option: `%s%s'",
			       row->prefix, text);
	a = hvt_attach_get(&s->attach, row->type, text, (size_t)(equals - text),
			   err);
	return a ? row->take(a, equals + 1, err) : -EINVAL;
}

static int take_option(struct solo5 *s, const char *arg, struct err *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(plain_rows); i++) {
		const size_t len = strlen(plain_rows[i].prefix);

		if (!strncmp(arg, plain_rows[i].prefix, len))
			return plain_rows[i].take(s, arg + len, err);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(device_rows); i++) {
		const size_t len = strlen(device_rows[i].prefix);

		if (!strncmp(arg, device_rows[i].prefix, len))
			return take_device(s, &device_rows[i], arg + len, err);
	}
	return err_set(err, -EINVAL, "Invalid option: `%s'", arg);
}

/* ---- run ---------------------------------------------------------------- */

static int fail(const struct err *err)
{
	fprintf(stderr, "solo5-hvt: %s\n", err->msg);
	return SOLO5_FAILED;
}

static int run(struct solo5 *s, struct err *err)
{
	struct signals signals = {0};
	struct terminal terminal;
	int status;

	if (host_file_open(&s->run.file, s->run.path, err))
		return SOLO5_FAILED;
	if (terminal_open(&terminal, -1, err) ||
	    signals_open(&signals, &terminal, err)) {
		host_file_close(&s->run.file);
		return SOLO5_FAILED;
	}
	s->run.signals = &signals;
	status = run_hvt(&s->run, err);
	signals_close(&signals);
	if (signals.caught)
		err_set(err, -EINTR, "Exiting on signal %d", signals.caught);
	return s->run.reason == VM_STOP_DEBUG_EXIT ? status : SOLO5_FAILED;
}

static int parse_and_run(struct solo5 *s, char **argv, struct err *err)
{
	for (argv++; *argv && **argv == '-'; argv++) {
		if (!strcmp(*argv, "--")) {
			argv++;
			break;
		}
		if (!strcmp(*argv, "--help")) {
			fputs(usage_text, stderr);
			return SOLO5_FAILED;
		}
		if (!strcmp(*argv, "--version")) {
			fprintf(stderr, "solo5-hvt: vireo\nABI version %d\n",
				HVT_ABI_VERSION);
			return EXIT_OK;
		}
		if (take_option(s, *argv, err))
			return SOLO5_FAILED;
	}
	if (!*argv) {
		err_set(err, -EINVAL, "Missing KERNEL operand");
		return SOLO5_FAILED;
	}
	s->run.path = *argv;
	s->run.args = argv + 1;
	return run(s, err);
}

int cli_solo5(int argc, char **argv)
{
	struct solo5 *s = calloc(1, sizeof(*s));
	const char *engine = getenv("VIREO_ENGINE");
	struct err err = {0};
	int status = SOLO5_FAILED;

	if (!s)
		return status;
	s->run.attach = &s->attach;
	s->run.engine = engine ? engine : "auto";
	s->run.engine_options.bt_verify = getenv("VIREO_BT_VERIFY") != NULL;
	s->run.mem = MIB(512);
	status = parse_and_run(s, argv, &err);
	if (err.code)
		fail(&err);
	free(s);
	return status;
}
