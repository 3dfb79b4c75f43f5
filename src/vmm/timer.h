/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One-shot timers in guest time, kept in one heap with one timerfd.
 *
 * A timer fires on the event loop's thread, with its owner's lock held where
 * it has an owner. A timer that is re-armed or disarmed while it is about to
 * fire may still fire once: the callback compares the time with what its
 * device is waiting for. After timer_fini() it never fires again.
 *
 * A periodic device re-arms in its callback. However far behind it is, its
 * next turn comes TIMER_MIN_PERIOD_NS after the present one at the earliest, so
 * that neither a long pause nor a hostile period floods guest or host. A device
 * that fell behind drops the periods it missed: fire() gets the present time.
 *
 * Locks: device before queue; fire() runs without the queue's lock.
 */
#pragma once

#include <pthread.h>

#include "util/err.h"
#include "util/types.h"

struct device;
struct vm_clock;
struct timer_queue;

struct timer {
	struct timer_queue *queue;
	struct device *dev; /* lock holder during fire, may be NULL */
	void (*fire)(struct timer *timer, u64 now_ns);
	u64 deadline_ns; /* guest ns; valid while index >= 0 */
	int index;	 /* place in the heap, -1: not armed */
};

#define TIMER_QUEUE_MAX 1024
#define TIMER_MIN_PERIOD_NS 20000
#define TIMER_NEVER UINT64_MAX

struct timer_queue {
	struct vm_clock *clock;
	pthread_mutex_t lock;
	int fd;		      /* timerfd, watched by the event loop */
	u64 fd_deadline_ns;   /* what fd is set to, TIMER_NEVER: off */
	u64 run_ns;	      /* the time a run is for, 0 between runs */
	struct timer *firing; /* timer_fini() waits for it */
	pthread_cond_t fired;
	unsigned count;
	struct timer *heap[TIMER_QUEUE_MAX];
};

int timer_queue_init(struct timer_queue *q, struct vm_clock *clock,
		     struct err *err);
void timer_queue_fini(struct timer_queue *q);
/* Called by the event loop when q->fd is readable. */
void timer_queue_run(struct timer_queue *q);
/*
 * The clock was paused or started: stop or set the timerfd. Returns when no
 * callback is under way; not to be called from one.
 */
void timer_queue_sync(struct timer_queue *q);

void timer_init(struct timer *t, struct timer_queue *q, struct device *dev,
		void (*fire)(struct timer *t, u64 now_ns));
/* Must not be called from the timer's own callback, nor with its owner's lock
 * held. A timer that was never initialized (all zero) is fine. */
void timer_fini(struct timer *t);
/* A deadline that has passed fires at once. TIMER_NEVER disarms. */
void timer_arm(struct timer *t, u64 deadline_ns);
void timer_disarm(struct timer *t);
/*
 * Disarm it, for an owner that will sleep until the deadline itself and then
 * fire or arm it. Returns the deadline, TIMER_NEVER if it was not armed (it may
 * be about to fire).
 */
u64 timer_take(struct timer *t);
