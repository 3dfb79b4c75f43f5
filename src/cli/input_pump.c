/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries standard input to the default guest's console.
 *
 * Theory of operation. A thread of its own, because files cannot be polled and
 * a slow disk must not hold up the event loop. It waits until the guest says
 * that its console is set, then reads, encodes and writes to a pipe that the
 * serial port reads; a guest that takes no input stops the thread there. Every
 * wait also watches stop_fd.
 */
#include "cli/input_pump.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/fd.h"
#include "vireo/guest.h"

enum { CHUNK = 4096 };

size_t input_encode(struct input_line *line, const u8 *in, size_t len, u8 *out)
{
	size_t put = 0;

	for (size_t i = 0; i < len; i++) {
		if (in[i] == GUEST_EOF || in[i] == GUEST_QUOTE)
			out[put++] = GUEST_QUOTE;
		out[put++] = in[i];
		line->len = in[i] == '\n' ? 0 : line->len + 1;
		if (line->len == GUEST_LINE_MAX) {
			out[put++] = GUEST_EOF;
			line->len = 0;
		}
	}
	/* Nobody knows when more comes: hand over what there is. */
	if (line->len) {
		out[put++] = GUEST_EOF;
		line->len = 0;
	}
	return put;
}

/* input_encode() leaves nothing in the line, so one is enough. */
size_t input_encode_end(struct input_line *line, u8 *out)
{
	out[0] = GUEST_EOF;
	return 1;
}

/* False when it is time to stop. */
static bool wait_for(const struct input_pump *pump, int fd, short events)
{
	struct pollfd fds[2] = {
		{.fd = fd, .events = events},
		{.fd = pump->stop_fd, .events = POLLIN},
	};

	for (;;) {
		if (poll(fds, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return false;
		}
		if (fds[1].revents)
			return false;
		if (fds[0].revents)
			return true;
	}
}

static bool send_all(const struct input_pump *pump, const u8 *buf, size_t len)
{
	while (len) {
		ssize_t done;

		if (!wait_for(pump, pump->pipe[1], POLLOUT))
			return false;
		done = write(pump->pipe[1], buf, len);
		if (done < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (done > 0) {
			buf += done;
			len -= (size_t)done;
		}
	}
	return true;
}

static void *pump_main(void *arg)
{
	struct input_pump *pump = arg;
	u8 in[CHUNK], out[3 * CHUNK + 2];
	struct input_line line = {0};
	ssize_t got;

	if (!wait_for(pump, pump->ready_fd, POLLIN))
		return NULL;
	while (wait_for(pump, pump->from, POLLIN)) {
		got = read(pump->from, in, sizeof(in));
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0) {
			send_all(pump, out, input_encode_end(&line, out));
			break;
		}
		if (!send_all(pump, out,
			      input_encode(&line, in, (size_t)got, out)))
			break;
	}
	return NULL;
}

void input_pump_init(struct input_pump *pump)
{
	memset(pump, 0, sizeof(*pump));
	pump->from = -1;
	pump->ready_fd = -1;
	pump->stop_fd = -1;
	pump->pipe[0] = -1;
	pump->pipe[1] = -1;
}

int input_pump_start(struct input_pump *pump, int from, int ready_fd,
		     struct err *err)
{
	int ret;

	pump->from = from;
	pump->ready_fd = ready_fd;
	pump->stop_fd = eventfd(0, EFD_CLOEXEC);
	/* A pipe of O_NONBLOCK is ours alone, nobody else notices. */
	if (pump->stop_fd < 0 || pipe2(pump->pipe, O_CLOEXEC | O_NONBLOCK))
		return err_set(err, -errno, "cannot read standard input: %s",
			       strerror(errno));
	ret = pthread_create(&pump->thread, NULL, pump_main, pump);
	if (ret)
		return err_set(err, -ret, "cannot start a thread: %s",
			       strerror(ret));
	pump->started = true;
	return 0;
}

void input_pump_stop(struct input_pump *pump)
{
	const u64 one = 1;

	if (!pump->started)
		return;
	fd_write_all(pump->stop_fd, &one, sizeof(one));
	pthread_join(pump->thread, NULL);
	pump->started = false;
}

void input_pump_close(struct input_pump *pump)
{
	fd_close(&pump->stop_fd);
	fd_close(&pump->pipe[0]);
	fd_close(&pump->pipe[1]);
}
