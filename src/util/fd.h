/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors: -1 is none, and short transfers are finished. */
#pragma once

#include "util/types.h"

/* Close *fd unless it is -1, and set it to -1. */
void fd_close(int *fd);

/* All of len, past short transfers and EINTR; 0 or -errno. */
int fd_write_all(int fd, const void *buf, size_t len);
/* Up to len bytes or the end of file; the number read or -errno. */
s64 fd_read_full(int fd, void *buf, size_t len);
