/* SPDX-License-Identifier: Apache-2.0 */
/* vireo: one row per sub-command. */
#include "cli/cli.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct cli_command commands[] = {
	{"run", "run a virtual machine", cli_run},
	{"doctor", "say what this host offers", cli_doctor},
};

static const struct cli_command *find_command(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name))
			return &commands[i];
	return NULL;
}

static void usage(FILE *out)
{
	fputs("usage: vireo COMMAND [OPTIONS...]\n\n", out);
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-10s %s\n", commands[i].name,
			commands[i].summary);
	fprintf(out, "  %-10s %s\n", "help",
		"show this text, or that of a command");
	fputs("\nOptions: --help, --version. 'vireo COMMAND --help' tells "
	      "more, vireo(1) all.\n",
	      out);
}

static int help(int argc, char **argv)
{
	const struct cli_command *command =
		argc > 1 ? find_command(argv[1]) : NULL;
	char option[] = "--help";
	char *args[] = {argc > 1 ? argv[1] : NULL, option, NULL};

	if (command)
		return command->main(2, args);
	usage(stdout);
	return EXIT_OK;
}

/*
 * A standard descriptor that the caller closed would be the number of the next
 * one that is opened: guest memory, say, and the guest's output would go there.
 */
static void open_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return;
}

/* solo5-hvt, solo5-hvt-debug: links to this program. */
static bool is_solo5(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return path && !strncmp(slash ? slash + 1 : path, "solo5-hvt", 9);
}

int main(int argc, char **argv)
{
	const struct cli_command *command;
	const char *name = argc > 1 ? argv[1] : "";

	cli_note_start();
	open_standard();
	/* A reader that went away is an error of write(), not our death. */
	signal(SIGPIPE, SIG_IGN);
	if (is_solo5(argv[0]))
		return cli_solo5(argc, argv);
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		puts("vireo " VIREO_VERSION);
		return EXIT_OK;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
		usage(stdout);
		return EXIT_OK;
	}
	if (!strcmp(name, "help"))
		return help(argc - 1, argv + 1);
	command = find_command(name);
	if (command)
		return command->main(argc - 1, argv + 1);
	if (*name)
		fprintf(stderr, "vireo: no command '%s'\n", name);
	usage(stderr);
	return EXIT_USAGE;
}
