/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be run: GUEST_RUN_FILE (vireo/guest.h), parsed. The strings
 * point into the file's contents, which live as long as init does.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct run_file {
	char **argv;		/* NULL-terminated; argv[0] == NULL: a shell */
	char **envp;		/* NULL-terminated */
	char **modules;		/* paths, NULL-terminated */
	const char *err_device; /* below /dev, NULL: as standard output */
	uint16_t rows, cols;
	uint16_t exit_port;  /* 0: power off */
	uint16_t ready_port; /* 0: none */
	bool tty;
};

/* Fills run; where the file is missing with a shell on a terminal. Negative
 * errno and a message where it is there and bad; what was understood is kept.
 */
long run_file_load(struct run_file *run);
