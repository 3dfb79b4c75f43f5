/* SPDX-License-Identifier: Apache-2.0 */
/* A whole file of the host in memory: mapped, or read where it cannot be. */
#pragma once

#include "util/err.h"
#include "util/types.h"

#define HOST_FILE_MAX GIB(8)

struct host_file {
	u8 *data;
	u64 len;
	bool mapped;
};

/* -errno with the path and the cause in err. Empty files are refused. */
int host_file_open(struct host_file *file, const char *path, struct err *err);
/* A zeroed struct is fine. */
void host_file_close(struct host_file *file);
