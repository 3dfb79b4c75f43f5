/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's one event loop: epoll with typed references, one switch. All host
 * events that are no vCPU's arrive here.
 *
 * Threads: loop_add and loop_mod from any thread. loop_del is called on the
 * loop's own thread (a callback may remove itself or another one) or while the
 * loop does not run; after it, ready() is not called again.
 */
#pragma once

#include <sys/epoll.h>

#include "util/err.h"
#include "util/types.h"

struct device;
struct vm;

enum loop_kind {
	LOOP_STOP,  /* loop_stop() was called */
	LOOP_TIMER, /* the timer queue's timerfd */
	LOOP_FD,    /* a device's or back end's descriptor */
};

struct loop_fd {
	enum loop_kind kind;
	int fd;
	struct device *dev; /* its lock is held during ready(), may be NULL */
	/* events: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR */
	void (*ready)(struct loop_fd *lfd, u32 events);
};

#define LOOP_BATCH 16

struct loop {
	int epoll_fd;
	struct vm *vm;
	struct loop_fd stop; /* eventfd */
	struct loop_fd timer;
	/* The events being served, [next..count) still to do. */
	struct epoll_event batch[LOOP_BATCH];
	int next, count;
};

int loop_init(struct loop *loop, struct vm *vm, struct err *err);
void loop_fini(struct loop *loop);

/* Watch lfd->fd; -errno. `events` may be 0 to pause it. */
int loop_add(struct loop *loop, struct loop_fd *lfd, u32 events);
int loop_mod(struct loop *loop, struct loop_fd *lfd, u32 events);
void loop_del(struct loop *loop, struct loop_fd *lfd);

/* Runs until loop_stop(), which may be called before it, and from any thread or
 * signal handler. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
