/* SPDX-License-Identifier: Apache-2.0 */
/* `vireo run`: parse, check, build, run, clean up, in this order. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/run_config.h"
#include "cli/run_options.h"
#include "cli/run_vm.h"
#include "util/log.h"

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

int cli_run(int argc, char **argv)
{
	const bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	struct run_size size = {0};
	struct run_options options;
	struct run_config config;
	struct err err = {0};
	int ret, status;

	if (run_options_parse(&options, argc, argv, &err)) {
		cli_fail(&err, EXIT_USAGE);
		fputs("Try 'vireo run --help'.\n", stderr);
		return EXIT_USAGE;
	}
	if (options.help) {
		run_options_help(stdout);
		return EXIT_OK;
	}
	if (options.verbose)
		log_set_level(LOG_INFO);
	if (tty)
		terminal_size(STDOUT_FILENO, &size.rows, &size.cols);
	ret = run_config_make(&config, &options, tty, size, &err);
	if (ret)
		return cli_fail(&err, ret == -EINVAL ? EXIT_USAGE : EXIT_HOST);
	status = run_config_run(&config, &err);
	if (err.code)
		cli_fail(&err, status);
	run_config_free(&config);
	return status;
}
