/* SPDX-License-Identifier: Apache-2.0 */
/* What the sub-commands share. */
#include "cli/cli.h"

#include <stdio.h>

int cli_fail(const struct err *err, int status)
{
	fprintf(stderr, "vireo: %s\n", err->msg);
	return status;
}
