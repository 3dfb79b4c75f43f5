/* SPDX-License-Identifier: Apache-2.0 */
/* The names that `ld --wrap` gives to what test_block_overlay.c stands before.
 */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

ssize_t __real_pwritev64(int fd, const struct iovec *iov, int count, off_t off);
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int count, off_t off);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_fallocate64(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t len);
