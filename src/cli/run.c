/* SPDX-License-Identifier: Apache-2.0 */
/* `vireo run`: parse, check, build, run, clean up, in this order. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/run_config.h"
#include "cli/run_hvt.h"
#include "cli/run_options.h"
#include "cli/run_vm.h"
#include "util/log.h"
#include "vmm/trace.h"

/* Between taking the terminal and giving it back. */
static int run_with_terminal(struct run_config *config,
			     struct terminal *terminal, struct err *err)
{
	struct run_vm run = {.config = config, .terminal = terminal};
	struct signals signals;
	int status = EXIT_HOST;

	run.signals = &signals;
	if (!signals_open(&signals, terminal, err))
		status = run_vm(&run, err);
	signals_close(&signals);
	return status;
}

static int run_config_run(struct run_config *config, struct err *err)
{
	struct terminal terminal;
	int status = EXIT_HOST;

	if (!terminal_open(&terminal, config->tty ? STDIN_FILENO : -1, err))
		status = run_with_terminal(config, &terminal, err);
	terminal_restore(&terminal);
	return status;
}

static int check_hvt_options(const struct run_options *o, struct err *err)
{
	if (o->cpus > 1)
		return err_set(err, -EINVAL, "a Solo5 guest has one CPU");
	if (o->initrd || o->module_count || o->debug_exit >= 0 ||
	    o->device_count)
		return err_set(err, -EINVAL,
			       "--initrd, --module, --debug-exit and PCI "
			       "devices are not for Solo5 images");
	if (o->cmdline && o->command)
		return err_set(err, -EINVAL,
			       "--cmdline and arguments exclude each other");
	if (o->trace && trace_enable(o->trace, STDERR_FILENO))
		return err_set(err, -EINVAL, "--trace: no such group in '%s'",
			       o->trace);
	return 0;
}

static int run_hvt_with_signals(const struct run_options *o,
				struct host_file *file, struct err *err)
{
	struct signals signals = {0};
	struct terminal terminal;
	struct run_hvt run = {
		.path = o->kernel,
		.file = *file,
		.attach = &o->attach,
		.args = o->command,
		.cmdline = o->cmdline,
		.engine = o->engine,
		.bt_mode = o->bt_mode,
		.engine_options = o->engine_options,
		.cpu_model = o->cpu_model,
		.mitigations = o->mitigations,
		.stats = o->stats,
		.mem = o->mem,
		.core_dir = o->core_dir,
		.signals = &signals,
	};
	int status = EXIT_HOST;

	if (!terminal_open(&terminal, -1, err) &&
	    !signals_open(&signals, &terminal, err))
		status = run_hvt(&run, err);
	else
		host_file_close(&run.file);
	signals_close(&signals);
	return run.refused ? EXIT_USAGE : status;
}

/* True: the image is a Solo5 unikernel, and *status how its run ended. */
static bool run_if_hvt(const struct run_options *o, int *status)
{
	struct host_file file = {0};
	struct err err = {0};
	int ret;

	/* What cannot be opened is for the other path to say. */
	if (!o->kernel || host_file_open(&file, o->kernel, NULL))
		return false;
	if (!hvt_is(&(struct boot_file){file.data, file.len, o->kernel})) {
		host_file_close(&file);
		return false;
	}
	ret = check_hvt_options(o, &err);
	if (ret)
		host_file_close(&file);
	*status = ret ? EXIT_USAGE : run_hvt_with_signals(o, &file, &err);
	if (err.code)
		cli_fail(&err, *status);
	return true;
}

static int run_options_run(const struct run_options *options)
{
	const bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	struct run_size size = {0};
	struct run_config config;
	struct err err = {0};
	int ret, status = EXIT_HOST;

	if (run_if_hvt(options, &status))
		return status;
	if (tty)
		terminal_size(STDOUT_FILENO, &size.rows, &size.cols);
	ret = run_config_make(&config, options, tty, size, &err);
	if (ret)
		return cli_fail(&err, ret == -EINVAL ? EXIT_USAGE : EXIT_HOST);
	status = run_config_run(&config, &err);
	if (err.code)
		cli_fail(&err, status);
	run_config_free(&config);
	return status;
}

int cli_run(int argc, char **argv)
{
	struct run_options options;
	struct err err = {0};
	int status = EXIT_OK;

	if (run_options_parse(&options, argc, argv, &err)) {
		status = cli_fail(&err, EXIT_USAGE);
		fputs("Try 'vireo run --help'.\n", stderr);
	} else if (options.help) {
		run_options_help(stdout);
	} else if (options.help_device) {
		run_options_help_device(stdout, options.help_device);
	} else {
		if (options.verbose)
			log_set_level(LOG_INFO);
		status = run_options_run(&options);
	}
	run_options_free(&options);
	return status;
}
