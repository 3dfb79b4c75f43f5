/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptor helpers. */
#include "util/fd.h"

#include <errno.h>
#include <unistd.h>

void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int fd_write_all(int fd, const void *buf, size_t len)
{
	const u8 *from = buf;

	while (len) {
		ssize_t ret = write(fd, from, len);

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret < 0)
			return -errno;
		from += ret;
		len -= (size_t)ret;
	}
	return 0;
}

s64 fd_read_full(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t ret = read(fd, (u8 *)buf + done, len - done);

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret < 0)
			return -errno;
		if (ret == 0)
			break;
		done += (size_t)ret;
	}
	return (s64)done;
}
