/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop. */
#include "vmm/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/fd.h"
#include "vmm/device.h"
#include "vmm/vm.h"

static int loop_ctl(struct loop *loop, int verb, struct loop_fd *lfd,
		    u32 events)
{
	struct epoll_event event = {.events = events, .data.ptr = lfd};

	return epoll_ctl(loop->epoll_fd, verb, lfd->fd, &event) ? -errno : 0;
}

int loop_add(struct loop *loop, struct loop_fd *lfd, u32 events)
{
	return loop_ctl(loop, EPOLL_CTL_ADD, lfd, events);
}

int loop_mod(struct loop *loop, struct loop_fd *lfd, u32 events)
{
	return loop_ctl(loop, EPOLL_CTL_MOD, lfd, events);
}

void loop_del(struct loop *loop, struct loop_fd *lfd)
{
	loop_ctl(loop, EPOLL_CTL_DEL, lfd, 0);
	/* It may be among the events that are still to be served. */
	for (int i = loop->next; i < loop->count; i++)
		if (loop->batch[i].data.ptr == lfd)
			loop->batch[i].data.ptr = NULL;
}

int loop_init(struct loop *loop, struct vm *vm, struct err *err)
{
	int ret;

	*loop = (struct loop){
		.vm = vm,
		.stop = {.kind = LOOP_STOP},
		.timer = {.kind = LOOP_TIMER, .fd = vm->timers.fd},
	};
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->stop.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->epoll_fd < 0 || loop->stop.fd < 0) {
		ret = -errno;
		goto fail;
	}
	ret = loop_add(loop, &loop->stop, EPOLLIN);
	if (!ret)
		ret = loop_add(loop, &loop->timer, EPOLLIN);
	if (ret)
		goto fail;
	return 0;
fail:
	loop_fini(loop);
	return err_set(err, ret, "cannot create the event loop: %s",
		       strerror(-ret));
}

void loop_fini(struct loop *loop)
{
	fd_close(&loop->epoll_fd);
	fd_close(&loop->stop.fd);
}

static void loop_ready(struct loop_fd *lfd, u32 events)
{
	struct device *dev = lfd->dev;

	if (dev)
		pthread_mutex_lock(&dev->lock);
	lfd->ready(lfd, events);
	if (dev)
		pthread_mutex_unlock(&dev->lock);
}

/* False: the loop ends. */
static bool loop_dispatch(struct loop *loop, const struct epoll_event *event)
{
	struct loop_fd *lfd = event->data.ptr;
	u64 count;

	if (!lfd)
		return true; /* deleted by an earlier event of its batch */
	switch (lfd->kind) {
	case LOOP_STOP:
		return read(lfd->fd, &count, sizeof(count)) < 0;
	case LOOP_TIMER:
		timer_queue_run(&loop->vm->timers);
		return true;
	case LOOP_FD:
		loop_ready(lfd, event->events);
		return true;
	}
	return true;
}

void loop_run(struct loop *loop)
{
	bool going = true;

	while (going) {
		loop->next = 0;
		loop->count =
			epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, -1);
		while (going && loop->next < loop->count)
			going = loop_dispatch(loop, &loop->batch[loop->next++]);
	}
	loop->count = 0;
}

void loop_stop(struct loop *loop)
{
	u64 one = 1;
	int saved = errno; /* a signal handler must leave it alone */

	/* Fails only if 2^64 - 2 stops are already waiting. */
	while (write(loop->stop.fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	errno = saved;
}
