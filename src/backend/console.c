/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consoles on host descriptors: terminals, pipes, sockets, files.
 *
 * References: [1] epoll(7), pipe(7), tty_ioctl(4). [2] POSIX.1-2017 write():
 * a write of at most PIPE_BUF bytes to a pipe that polled writable fits.
 *
 * Theory of operation
 *
 * Output. Bytes gather in out_buf. They leave when OUT_BATCH of them are there
 * (on the writer's thread), else OUT_DELAY_NS after the first (timer, loop's
 * thread). A descriptor that takes no more is watched for EPOLLOUT until the
 * ring is empty; a full ring makes console_room() shrink, and the device shows
 * its guest a busy transmitter.
 *
 * O_NONBLOCK belongs to the open file description, which we share with the
 * caller's shell and its other programs, so we never set it on what we were
 * given. Terminals and pipes are opened a second time by way of /proc, which
 * yields a description of our own. Where that is refused (another user's
 * terminal, no /proc, a pty's master, where it would make another pty) writes
 * follow a poll and are small enough to fit.
 *
 * Input. The descriptor is watched only while the device has room, so that a
 * slow guest slows its writer down. A console with a filter (the terminal's
 * escape key) is read always, or a hung guest could not be left; what its
 * guest does not take waits in in_buf, and beyond that is dropped. Files, which
 * epoll refuses, are read by a timer that is due at once.
 *
 * Descriptors are watched from any thread and let go on the loop's only.
 */
#include "backend/console.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/log.h"
#include "vmm/device.h"
#include "vmm/vm.h"

enum {
	OUT_BATCH = 1024,
	IN_BATCH = 512,
	CLOSE_WAIT_MS = 200,
};
#define OUT_DELAY_NS 1000000ull

/* ---- output ------------------------------------------------------------ */

static bool fd_polls(int fd, short events)
{
	struct pollfd pfd = {.fd = fd, .events = events};

	return poll(&pfd, 1, 0) == 1;
}

/* One write that does not block; bytes taken or -errno. */
static ssize_t out_write(struct console *c, const u8 *buf, size_t len)
{
	ssize_t ret;

	switch (c->out_kind) {
	case CONSOLE_OUT_SOCKET:
		ret = send(c->out.fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		return ret < 0 ? -errno : ret;
	case CONSOLE_OUT_PIPE:
		len = min_u64(len, PIPE_BUF);
		break;
	case CONSOLE_OUT_BYTES:
		len = 1;
		break;
	case CONSOLE_OUT_NONE:
	case CONSOLE_OUT_PLAIN:
	case CONSOLE_OUT_NONBLOCK:
		ret = write(c->out.fd, buf, len);
		return ret < 0 ? -errno : ret;
	}
	if (!fd_polls(c->out.fd, POLLOUT))
		return -EAGAIN;
	ret = write(c->out.fd, buf, len);
	return ret < 0 ? -errno : ret;
}

/* Nobody will read any more: let the guest talk to the wall. */
static void out_broken(struct console *c, int error)
{
	if (error != -EPIPE && error != -EIO && error != -ECONNRESET)
		log_msg(LOG_WARN, "%s: output is lost: %s", c->dev->id,
			strerror(-error));
	c->out_kind = CONSOLE_OUT_NONE;
	c->out_count = 0;
}

static void out_arm(struct console *c)
{
	if (c->out_armed)
		return;
	c->out_armed = true;
	timer_arm(&c->out_timer, clock_ns(&c->dev->vm->clock) + OUT_DELAY_NS);
}

/* Write as much as the descriptor takes; see to it that the rest follows. */
static void out_flush(struct console *c)
{
	while (c->out_count) {
		size_t chunk =
			min_u64(c->out_count, CONSOLE_OUT_SIZE - c->out_head);
		ssize_t done = out_write(c, c->out_buf + c->out_head, chunk);

		if (done == -EINTR)
			continue;
		if (done == -EAGAIN || done == 0)
			break;
		if (done < 0) {
			out_broken(c, (int)done);
			break;
		}
		c->out_head = (c->out_head + (size_t)done) % CONSOLE_OUT_SIZE;
		c->out_count -= (size_t)done;
	}
	if (!c->out_count || c->out_watched)
		return;
	c->out_watched = !loop_add(&c->dev->vm->loop, &c->out, EPOLLOUT);
	if (!c->out_watched)
		out_arm(c);
}

static void out_unwatch(struct console *c)
{
	if (c->out_watched)
		loop_del(&c->dev->vm->loop, &c->out);
	c->out_watched = false;
}

static void out_ready(struct loop_fd *lfd, u32 events)
{
	struct console *c = container_of(lfd, struct console, out);

	out_flush(c);
	if (!c->out_count)
		out_unwatch(c);
	c->ops->writable(c->dev);
}

static void out_due(struct timer *timer, u64 now_ns)
{
	struct console *c = container_of(timer, struct console, out_timer);

	c->out_armed = false;
	out_flush(c);
	c->ops->writable(c->dev);
}

size_t console_room(const struct console *c)
{
	return CONSOLE_OUT_SIZE - c->out_count;
}

void console_write(struct console *c, const u8 *buf, size_t len)
{
	if (c->out_kind == CONSOLE_OUT_NONE)
		return;
	while (len && c->out_count < CONSOLE_OUT_SIZE) {
		c->out_buf[(c->out_head + c->out_count++) % CONSOLE_OUT_SIZE] =
			*buf++;
		len--;
	}
	if (c->out_watched)
		return;
	if (c->out_count >= OUT_BATCH)
		out_flush(c);
	else
		out_arm(c);
}

/* ---- input ------------------------------------------------------------- */

static void in_push(struct console *c, const u8 *buf, size_t len)
{
	for (; len && c->in_count < CONSOLE_IN_SIZE; len--)
		c->in_buf[(c->in_head + c->in_count++) % CONSOLE_IN_SIZE] =
			*buf++;
	if (len)
		log_guest("%s: takes no input, %zu bytes dropped", c->dev->id,
			  len);
}

/* From the ring to the device, as far as it takes them. */
static void in_pump(struct console *c)
{
	while (c->in_count && !c->paused) {
		size_t len = c->ops->room(c->dev);

		len = min_u64(len, c->in_count);
		len = min_u64(len, CONSOLE_IN_SIZE - c->in_head);
		if (!len)
			return;
		c->ops->input(c->dev, c->in_buf + c->in_head, len);
		c->in_head = (c->in_head + len) % CONSOLE_IN_SIZE;
		c->in_count -= len;
	}
}

static bool in_is_wanted(const struct console *c)
{
	if (c->in_ended)
		return false;
	if (c->end->filter && !c->in_file)
		return true;
	return !c->paused && !c->in_count && c->ops->room(c->dev);
}

static void in_watch(struct console *c)
{
	struct vm *vm = c->dev->vm;

	if (c->in_watched || !in_is_wanted(c))
		return;
	if (c->in_file)
		timer_arm(&c->in_timer, clock_ns(&vm->clock));
	else
		c->in_watched = !loop_add(&vm->loop, &c->in, EPOLLIN);
}

/*
 * Watched or not at all: a descriptor watched for nothing still reports
 * EPOLLHUP, again and again.
 */
static void in_unwatch(struct console *c)
{
	if (c->in_watched)
		loop_del(&c->dev->vm->loop, &c->in);
	c->in_watched = false;
}

static void in_read(struct console *c)
{
	u8 buf[IN_BATCH + 1];
	size_t max = IN_BATCH, len;
	ssize_t ret;

	if (!c->end->filter)
		max = min_u64(max, c->ops->room(c->dev));
	/* The event may be older than what was read since. */
	if (!fd_polls(c->in.fd, POLLIN))
		return;
	ret = read(c->in.fd, buf, max);
	if (ret < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (ret <= 0) {
		u8 eof = (u8)c->eof;

		c->in_ended = true;
		if (c->eof != CONSOLE_NO_EOF)
			in_push(c, &eof, 1);
		return;
	}
	len = (size_t)ret;
	if (c->end->filter)
		c->end->filter(c->end->filter_arg, buf, &len);
	in_push(c, buf, len);
}

static void in_step(struct console *c)
{
	if (in_is_wanted(c))
		in_read(c);
	in_pump(c);
	if (in_is_wanted(c))
		in_watch(c);
	else
		in_unwatch(c);
}

static void in_ready(struct loop_fd *lfd, u32 events)
{
	struct console *c = container_of(lfd, struct console, in);

	in_step(c);
}

static void in_due(struct timer *timer, u64 now_ns)
{
	in_step(container_of(timer, struct console, in_timer));
}

void console_wake(struct console *c)
{
	in_pump(c);
	in_watch(c);
}

/* ---- life -------------------------------------------------------------- */

/* A second description of the same terminal or pipe, or -1. */
static int out_reopen(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static enum console_out out_classify(int fd, bool *reopen)
{
	struct stat st;
	unsigned pty;
	int flags = fcntl(fd, F_GETFL);

	*reopen = false;
	if (fstat(fd, &st) < 0 || flags < 0)
		return CONSOLE_OUT_NONE;
	if (S_ISSOCK(st.st_mode))
		return CONSOLE_OUT_SOCKET;
	if (flags & O_NONBLOCK)
		return CONSOLE_OUT_NONBLOCK;
	if (S_ISFIFO(st.st_mode)) {
		*reopen = true;
		return CONSOLE_OUT_PIPE;
	}
	if (S_ISCHR(st.st_mode) && isatty(fd)) {
		*reopen = ioctl(fd, TIOCGPTN, &pty) < 0;
		return CONSOLE_OUT_BYTES;
	}
	return CONSOLE_OUT_PLAIN;
}

/* Output gets a descriptor of its own: epoll takes each only once. */
static int out_open(struct console *c, struct err *err)
{
	int fd = c->end->out_fd;
	bool reopen;

	if (fd < 0)
		return 0;
	c->out_kind = out_classify(fd, &reopen);
	if (reopen) {
		c->out.fd = out_reopen(fd);
		if (c->out.fd >= 0) {
			c->out_kind = CONSOLE_OUT_NONBLOCK;
			return 0;
		}
	}
	c->out.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (c->out.fd < 0)
		return err_set(err, -errno, "%s: output descriptor %d: %s",
			       c->dev->id, fd, strerror(errno));
	return 0;
}

/* Find out whether epoll takes the descriptor. */
static int in_open(struct console *c, struct err *err)
{
	struct loop *loop = &c->dev->vm->loop;
	int ret;

	if (c->in.fd < 0) {
		c->in_ended = true;
		return 0;
	}
	ret = loop_add(loop, &c->in, EPOLLIN);
	if (ret == -EPERM) {
		c->in_file = true;
		return 0;
	}
	if (ret)
		return err_set(err, ret, "%s: input descriptor %d: %s",
			       c->dev->id, c->in.fd, strerror(-ret));
	loop_del(loop, &c->in);
	return 0;
}

int console_open(struct console *c, struct device *dev, unsigned index,
		 const struct console_ops *ops, struct err *err)
{
	struct vm *vm = dev->vm;
	int ret;

	if (index >= VM_MAX_CONSOLES)
		return err_set(err, -EINVAL,
			       "%s: no console %u, there are 0 to %d", dev->id,
			       index, VM_MAX_CONSOLES - 1);
	c->ops = ops;
	c->dev = dev;
	c->end = &vm->consoles[index];
	c->eof = CONSOLE_NO_EOF;
	c->in = (struct loop_fd){LOOP_FD, c->end->in_fd, dev, in_ready};
	c->out = (struct loop_fd){LOOP_FD, -1, dev, out_ready};
	timer_init(&c->in_timer, &vm->timers, dev, in_due);
	timer_init(&c->out_timer, &vm->timers, dev, out_due);
	c->in_buf = malloc(CONSOLE_IN_SIZE);
	c->out_buf = malloc(CONSOLE_OUT_SIZE);
	if (!c->in_buf || !c->out_buf)
		return err_set(err, -ENOMEM, "%s: out of memory", dev->id);
	ret = out_open(c, err);
	return ret ? ret : in_open(c, err);
}

/* Blocked or not: one that asks the process to end, and is not ignored. */
static bool end_signal_pending(void)
{
	sigset_t pending;

	sigpending(&pending);
	return sigismember(&pending, SIGTERM) ||
	       sigismember(&pending, SIGINT) || sigismember(&pending, SIGHUP);
}

/* The last bytes; see console.h for how long this waits. */
static void out_finish(struct console *c)
{
	enum vm_stop_reason why = c->dev->vm->stop_reason;
	bool ended = why != VM_STOP_NONE && why != VM_STOP_REQUEST &&
		     why != VM_STOP_HOST;

	for (;;) {
		struct pollfd pfd = {.fd = c->out.fd, .events = POLLOUT};
		int ready;

		out_flush(c);
		if (!c->out_count)
			return;
		ready = poll(&pfd, 1, CLOSE_WAIT_MS);
		if (ready < 0 || (!ready && (!ended || end_signal_pending())))
			break;
	}
	log_msg(LOG_WARN, "%s: %zu bytes of output were not taken", c->dev->id,
		c->out_count);
}

void console_close(struct console *c)
{
	if (!c->dev)
		return;
	timer_fini(&c->in_timer);
	timer_fini(&c->out_timer);
	in_unwatch(c);
	if (c->out_count)
		out_finish(c);
	out_unwatch(c);
	if (c->out.fd >= 0)
		close(c->out.fd);
	free(c->in_buf);
	free(c->out_buf);
	c->dev = NULL;
}

void console_quiesce(struct console *c)
{
	c->paused = true;
	out_flush(c);
}

void console_resume(struct console *c)
{
	c->paused = false;
	console_wake(c);
}
