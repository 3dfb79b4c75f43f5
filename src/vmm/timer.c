/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timer queue: a binary heap by deadline, the earliest at heap[0], and one
 * timerfd set to it.
 *
 * Theory of operation. Guest and host time run at the same rate, so the timerfd
 * (CLOCK_MONOTONIC, which wall-clock jumps do not touch) is set relative to
 * now, and only when the earliest deadline changed. A run takes the time once
 * and fires what was due then, each timer at most once: what is armed during a
 * run gets a deadline after it (timer_arm), so a run ends however devices
 * behave, and other events of the loop get their turn. While a callback runs
 * the queue is unlocked and `firing` names the timer, which timer_fini and
 * timer_queue_sync wait for.
 */
#include "vmm/timer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "util/fd.h"
#include "vmm/clock.h"
#include "vmm/device.h"
#include "vmm/trace.h"

/* ------------------------------------------------------------------------- */
/* The heap; callers hold q->lock */

static void heap_put(struct timer_queue *q, unsigned at, struct timer *t)
{
	q->heap[at] = t;
	t->index = (int)at;
}

static void heap_up(struct timer_queue *q, unsigned at, struct timer *t)
{
	while (at) {
		unsigned parent = (at - 1) / 2;

		if (q->heap[parent]->deadline_ns <= t->deadline_ns)
			break;
		heap_put(q, at, q->heap[parent]);
		at = parent;
	}
	heap_put(q, at, t);
}

static void heap_down(struct timer_queue *q, unsigned at, struct timer *t)
{
	for (;;) {
		unsigned child = 2 * at + 1;

		if (child >= q->count)
			break;
		if (child + 1 < q->count && q->heap[child + 1]->deadline_ns <
						    q->heap[child]->deadline_ns)
			child++;
		if (t->deadline_ns <= q->heap[child]->deadline_ns)
			break;
		heap_put(q, at, q->heap[child]);
		at = child;
	}
	heap_put(q, at, t);
}

static void heap_remove(struct timer_queue *q, struct timer *t)
{
	unsigned at = (unsigned)t->index;
	struct timer *last = q->heap[--q->count];

	t->index = -1;
	if (last == t)
		return;
	heap_down(q, at, last);
	heap_up(q, (unsigned)last->index, last);
}

static void heap_insert(struct timer_queue *q, struct timer *t)
{
	/* Timers are created with devices, never by a guest. */
	assert(q->count < TIMER_QUEUE_MAX);
	heap_up(q, q->count++, t);
}

/* ------------------------------------------------------------------------- */
/* The queue */

static u64 queue_deadline(const struct timer_queue *q)
{
	if (!q->count || q->clock->paused)
		return TIMER_NEVER;
	return q->heap[0]->deadline_ns;
}

/* Set the timerfd to the earliest deadline. q->lock is held. */
static void queue_set(struct timer_queue *q)
{
	u64 deadline = queue_deadline(q);
	struct itimerspec spec = {0};

	q->fd_deadline_ns = deadline;
	if (deadline != TIMER_NEVER) {
		u64 now = clock_ns(q->clock);
		/* 0 would switch it off. */
		u64 delta = deadline > now ? deadline - now : 1;

		spec.it_value.tv_sec = (time_t)(delta / NS_PER_SEC);
		spec.it_value.tv_nsec = (long)(delta % NS_PER_SEC);
	}
	timerfd_settime(q->fd, 0, &spec, NULL);
}

/* The same, where that is news. */
static void queue_program(struct timer_queue *q)
{
	if (queue_deadline(q) != q->fd_deadline_ns)
		queue_set(q);
}

int timer_queue_init(struct timer_queue *q, struct vm_clock *clock,
		     struct err *err)
{
	memset(q, 0, sizeof(*q));
	q->clock = clock;
	q->fd_deadline_ns = TIMER_NEVER;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->fired, NULL);
	q->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (q->fd < 0)
		return err_set(err, -errno, "cannot create a timer: %s",
			       strerror(errno));
	return 0;
}

void timer_queue_fini(struct timer_queue *q)
{
	if (!q->clock) /* never initialized */
		return;
	fd_close(&q->fd);
	pthread_mutex_destroy(&q->lock);
	pthread_cond_destroy(&q->fired);
	q->clock = NULL;
}

/* Called and returns with q->lock held; released around the callback. */
static void queue_fire(struct timer_queue *q, struct timer *t)
{
	struct device *dev = t->dev;
	u64 now = q->run_ns;

	heap_remove(q, t);
	q->firing = t;
	pthread_mutex_unlock(&q->lock);

	trace(TRACE_TIMER, "%s at %llu ns", dev ? dev->id : "lapic",
	      (unsigned long long)now);
	if (dev)
		pthread_mutex_lock(&dev->lock);
	t->fire(t, now);
	if (dev)
		pthread_mutex_unlock(&dev->lock);

	pthread_mutex_lock(&q->lock);
	q->firing = NULL;
	pthread_cond_broadcast(&q->fired);
}

void timer_queue_run(struct timer_queue *q)
{
	u64 expirations;

	/* Level-triggered: read it empty. Spurious runs are harmless. */
	while (read(q->fd, &expirations, sizeof(expirations)) < 0 &&
	       errno == EINTR)
		;
	pthread_mutex_lock(&q->lock);
	q->run_ns = clock_ns(q->clock);
	while (!q->clock->paused && q->count &&
	       q->heap[0]->deadline_ns <= q->run_ns)
		queue_fire(q, q->heap[0]);
	q->run_ns = 0;
	/* It has expired: whatever it was set to, set it anew. */
	queue_set(q);
	pthread_mutex_unlock(&q->lock);
}

void timer_queue_sync(struct timer_queue *q)
{
	pthread_mutex_lock(&q->lock);
	while (q->firing)
		pthread_cond_wait(&q->fired, &q->lock);
	queue_set(q);
	pthread_mutex_unlock(&q->lock);
}

/* ------------------------------------------------------------------------- */
/* Timers */

void timer_init(struct timer *t, struct timer_queue *q, struct device *dev,
		void (*fire)(struct timer *t, u64 now_ns))
{
	*t = (struct timer){
		.queue = q,
		.dev = dev,
		.fire = fire,
		.index = -1,
	};
}

void timer_fini(struct timer *t)
{
	struct timer_queue *q = t->queue;

	if (!q)
		return;
	pthread_mutex_lock(&q->lock);
	/* A callback under way may arm it once more: wait, then take it out. */
	while (q->firing == t)
		pthread_cond_wait(&q->fired, &q->lock);
	if (t->index >= 0)
		heap_remove(q, t);
	queue_program(q);
	pthread_mutex_unlock(&q->lock);
	t->queue = NULL;
}

void timer_arm(struct timer *t, u64 deadline_ns)
{
	struct timer_queue *q = t->queue;

	pthread_mutex_lock(&q->lock);
	if (t->index >= 0)
		heap_remove(q, t);
	if (q->firing == t)
		deadline_ns =
			max_u64(deadline_ns, q->run_ns + TIMER_MIN_PERIOD_NS);
	else if (q->run_ns)
		deadline_ns = max_u64(deadline_ns, q->run_ns + 1);
	t->deadline_ns = deadline_ns;
	if (deadline_ns != TIMER_NEVER)
		heap_insert(q, t);
	/* A run sets the timerfd once, when it ends. */
	if (!q->run_ns)
		queue_program(q);
	pthread_mutex_unlock(&q->lock);
}

u64 timer_take(struct timer *t)
{
	struct timer_queue *q = t->queue;
	u64 deadline_ns = TIMER_NEVER;

	pthread_mutex_lock(&q->lock);
	if (t->index >= 0) {
		deadline_ns = t->deadline_ns;
		heap_remove(q, t);
		if (!q->run_ns)
			queue_program(q);
	}
	pthread_mutex_unlock(&q->lock);
	return deadline_ns;
}

void timer_disarm(struct timer *t)
{
	timer_take(t);
}
