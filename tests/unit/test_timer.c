/* SPDX-License-Identifier: Apache-2.0 */
/* Guest clock and timer queue: conversions, order, re-arming, freezing. */
#include "unit.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmm/clock.h"
#include "vmm/device.h"
#include "vmm/timer.h"

#define MSEC 1000000ull

static const struct clock_source nominal = {1000000, false, "test"};

static u64 host_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * NS_PER_SEC + (u64)ts.tv_nsec;
}

static void sleep_ns(u64 ns)
{
	struct timespec ts = {0, (long)ns};

	nanosleep(&ts, NULL);
}

/* ------------------------------------------------------------------------- */
/* Clock */

/* For all frequencies: the inverse is exact, and time does not go back. */
static void test_conversions(void **state)
{
	static const u64 khz[] = {1000000, 2596120, 3999999, 10000,
				  19200,   700001,  5800000};

	for (unsigned i = 0; i < ARRAY_SIZE(khz); i++) {
		struct clock_source source = {khz[i], false, "test"};
		struct vm_clock clock;
		u64 last = 0;

		clock_init(&clock, &source);
		clock.tsc_base = 12345;
		clock.ns_base = 678;
		for (u64 ns = 700; ns < NS_PER_SEC * 100000; ns = ns * 3 / 2) {
			u64 tsc = clock_ns_to_tsc(&clock, ns);

			assert_true(tsc >= last);
			last = tsc;
			assert_true(clock_tsc_to_ns(&clock, tsc) >= ns);
			assert_true(clock_tsc_to_ns(&clock, tsc - 1) < ns);
		}
		assert_int_equal(clock_tsc_to_ns(&clock, 1), 678);
		assert_int_equal(clock_ns_to_tsc(&clock, 1), 12345);
		clock_tsc_to_ns(&clock, UINT64_MAX);
		clock_ns_to_tsc(&clock, UINT64_MAX);
	}
}

/* A day of TSC is a day of ns, to a microsecond or so. */
static void test_rate(void **state)
{
	struct clock_source source = {2596120, false, "test"};
	struct vm_clock clock;
	s64 off;

	clock_init(&clock, &source);
	off = (s64)clock_tsc_to_ns(&clock, 86400 * 2596120000ull);
	off -= (s64)(86400 * NS_PER_SEC);
	assert_true(llabs(off) < 60000);
}

/* Host time around each step bounds guest time, however loaded the host. */
static void check_running(const struct clock_source *source)
{
	u64 before, after, ns, tsc, end;
	struct vm_clock clock;
	struct timespec ts;
	s64 wall;

	clock_init(&clock, source);
	assert_int_equal(clock_ns(&clock), 0);
	sleep_ns(MSEC);
	assert_int_equal(clock_tsc(&clock), 0);

	before = host_now();
	clock_read_wall(&clock);
	clock_start(&clock);
	after = host_now();
	sleep_ns(20 * MSEC);
	end = host_now();
	ns = clock_ns(&clock);
	assert_true(ns >= (end - after) / 1000 * 999);
	end = host_now();
	assert_true(ns <= (end - before) / 1000 * 1001 + 1000);
	tsc = clock_tsc(&clock);
	assert_true(clock_tsc_to_ns(&clock, tsc) >= ns);

	clock_pause(&clock);
	ns = clock_ns(&clock);
	tsc = clock_tsc(&clock);
	sleep_ns(20 * MSEC);
	assert_int_equal(clock_ns(&clock), ns);
	assert_int_equal(clock_tsc(&clock), tsc);
	before = host_now();
	clock_start(&clock);
	end = clock_ns(&clock);
	after = host_now();
	assert_true(end >= ns && end - ns <= (after - before) * 2);
	assert_true(clock_tsc(&clock) >= tsc);

	wall = (s64)clock_wall_ns(&clock);
	clock_gettime(CLOCK_REALTIME, &ts);
	wall -= (s64)ts.tv_sec * (s64)NS_PER_SEC + ts.tv_nsec;
	assert_true(llabs(wall) < (s64)NS_PER_SEC);
}

static void test_running(void **state)
{
	struct clock_source source;

	check_running(&nominal);
	clock_probe(&source, NULL);
	assert_non_null(source.how);
	assert_in_range(source.tsc_khz, 10000, 10000000);
	check_running(&source);
}

/* ------------------------------------------------------------------------- */
/* Timers */

struct bench {
	struct vm_clock clock;
	struct timer_queue q;
};

struct tick {
	struct timer timer;
	unsigned fired, again;
	u64 period, at;
	struct tick *other;
	bool owner_locked;
};

static unsigned fire_order;

static void tick_fire(struct timer *t, u64 now_ns)
{
	struct tick *tick = container_of(t, struct tick, timer);

	tick->fired++;
	tick->at = ++fire_order;
	if (t->dev)
		tick->owner_locked = pthread_mutex_trylock(&t->dev->lock) != 0;
	if (tick->again) {
		tick->again--;
		timer_arm(t, t->deadline_ns + tick->period);
	}
	if (tick->other) {
		timer_arm(&tick->other->timer, 0);
		tick->other = NULL;
	}
}

static int setup(void **state)
{
	static struct bench bench;

	clock_init(&bench.clock, &nominal);
	*state = &bench;
	return timer_queue_init(&bench.q, &bench.clock, NULL);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	timer_queue_fini(&b->q);
	return 0;
}

/* What the event loop does, for at most ms; false: nothing came. */
static bool run_once(struct bench *b, int ms)
{
	struct pollfd pfd = {.fd = b->q.fd, .events = POLLIN};

	if (poll(&pfd, 1, ms) <= 0)
		return false;
	timer_queue_run(&b->q);
	return true;
}

static void tick_init(struct tick *tick, struct bench *b)
{
	memset(tick, 0, sizeof(*tick));
	timer_init(&tick->timer, &b->q, NULL, tick_fire);
}

static void check_heap(const struct timer_queue *q)
{
	for (unsigned i = 0; i < q->count; i++) {
		assert_int_equal(q->heap[i]->index, i);
		if (i)
			assert_true(q->heap[(i - 1) / 2]->deadline_ns <=
				    q->heap[i]->deadline_ns);
	}
}

static void test_heap(void **state)
{
	static struct tick ticks[200];
	struct bench *b = *state;
	unsigned seed = 1;

	for (unsigned i = 0; i < ARRAY_SIZE(ticks); i++)
		tick_init(&ticks[i], b);
	for (unsigned i = 0; i < 5000; i++) {
		struct tick *tick = &ticks[rand_r(&seed) % ARRAY_SIZE(ticks)];

		if (rand_r(&seed) % 3)
			timer_arm(&tick->timer,
				  1 + (u64)rand_r(&seed) % (10 * MSEC));
		else
			timer_disarm(&tick->timer);
		check_heap(&b->q);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(ticks); i++)
		if (i % 2)
			timer_fini(&ticks[i].timer);
	check_heap(&b->q);
	/* All that is left is due after 10 ms, and fires by deadline. */
	clock_start(&b->clock);
	sleep_ns(12 * MSEC);
	timer_queue_sync(&b->q);
	fire_order = 0;
	assert_true(run_once(b, 100));
	assert_int_equal(b->q.count, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(ticks); i += 2) {
		for (unsigned j = 0; j < i; j += 2) {
			const struct tick *x = &ticks[i], *y = &ticks[j];

			if (!x->fired || !y->fired)
				continue;
			if (x->timer.deadline_ns > y->timer.deadline_ns)
				assert_true(x->at > y->at);
		}
		assert_in_range(ticks[i].fired, 0, 1);
		assert_int_equal(ticks[i].timer.index, -1);
		assert_int_equal(ticks[i | 1].fired, 0);
		timer_fini(&ticks[i].timer);
	}
}

static void test_deadline(void **state)
{
	struct bench *b = *state;
	struct tick tick;
	u64 start;

	tick_init(&tick, b);
	clock_start(&b->clock);
	start = clock_ns(&b->clock);
	timer_arm(&tick.timer, start + 20 * MSEC);
	timer_arm(&tick.timer, start + 5 * MSEC); /* earlier */
	while (!tick.fired)
		assert_true(run_once(b, 1000));
	assert_in_range(clock_ns(&b->clock) - start, 5 * MSEC, 10000 * MSEC);
	assert_int_equal(tick.fired, 1);
	assert_false(run_once(b, 30));

	/* Later; disarmed; disarmed by NEVER; in the past. */
	start = clock_ns(&b->clock);
	timer_arm(&tick.timer, start + 2 * MSEC);
	timer_arm(&tick.timer, start + 10 * MSEC);
	while (tick.fired < 2)
		assert_true(run_once(b, 1000));
	assert_true(clock_ns(&b->clock) - start >= 10 * MSEC);
	timer_arm(&tick.timer, start);
	timer_disarm(&tick.timer);
	timer_disarm(&tick.timer);
	assert_false(run_once(b, 5));
	timer_arm(&tick.timer, start);
	timer_arm(&tick.timer, TIMER_NEVER);
	assert_false(run_once(b, 5));
	timer_arm(&tick.timer, 0);
	assert_true(run_once(b, 1000));
	assert_int_equal(tick.fired, 3);
	timer_fini(&tick.timer);
	timer_fini(&tick.timer); /* twice is fine */
}

/* A period far below what it takes, and a long gap: one event a run. */
static void test_catch_up(void **state)
{
	struct bench *b = *state;
	struct tick tick;
	unsigned runs = 0;

	tick_init(&tick, b);
	tick.period = 1;
	tick.again = 1000000;
	clock_start(&b->clock);
	timer_arm(&tick.timer, 1);
	sleep_ns(20 * MSEC); /* 20 million periods */
	assert_true(run_once(b, 1000));
	assert_int_equal(tick.fired, 1);
	while (tick.fired < 20 && run_once(b, 1000)) {
		runs++;
		assert_true(tick.fired <= runs + 1);
	}
	assert_true(tick.timer.deadline_ns >= 20 * MSEC);
	timer_fini(&tick.timer);
}

/* Two that arm each other in the past take turns, run by run. */
static void test_ping_pong(void **state)
{
	struct tick ping, pong;
	struct bench *b = *state;

	tick_init(&ping, b);
	tick_init(&pong, b);
	clock_start(&b->clock);
	ping.other = &pong;
	pong.other = &ping;
	timer_arm(&ping.timer, 0);
	assert_true(run_once(b, 1000));
	assert_int_equal(ping.fired, 1);
	assert_int_equal(pong.fired, 0);
	assert_true(run_once(b, 1000));
	assert_int_equal(ping.fired, 1);
	assert_int_equal(pong.fired, 1);
	assert_true(run_once(b, 1000));
	assert_int_equal(ping.fired, 2);
	timer_fini(&ping.timer);
	timer_fini(&pong.timer);
}

static void test_frozen(void **state)
{
	struct bench *b = *state;
	struct tick tick;
	u64 left;

	tick_init(&tick, b);
	timer_arm(&tick.timer, 100 * MSEC); /* before the start */
	assert_false(run_once(b, 10));
	clock_start(&b->clock);
	timer_queue_sync(&b->q);
	sleep_ns(2 * MSEC);
	clock_pause(&b->clock);
	timer_queue_sync(&b->q);
	assert_false(run_once(b, 10));
	timer_queue_run(&b->q);
	assert_int_equal(tick.fired, 0);
	left = tick.timer.deadline_ns - clock_ns(&b->clock);
	assert_in_range(left, 0, 98 * MSEC);
	clock_start(&b->clock);
	timer_queue_sync(&b->q);
	while (!tick.fired)
		assert_true(run_once(b, 1000));
	assert_true(clock_ns(&b->clock) >= 100 * MSEC);
	timer_fini(&tick.timer);
}

/* Guest time 0 is a deadline like any other: due as soon as time runs. */
static void test_due_at_start(void **state)
{
	struct bench *b = *state;
	struct tick first, second;

	tick_init(&first, b);
	tick_init(&second, b);
	timer_arm(&first.timer, 0);
	clock_start(&b->clock);
	timer_queue_sync(&b->q);
	timer_arm(&second.timer, clock_ns(&b->clock) + MSEC);
	while (!second.fired)
		assert_true(run_once(b, 1000));
	assert_int_equal(first.fired, 1);
	timer_fini(&first.timer);
	timer_fini(&second.timer);
}

static void test_owner_lock(void **state)
{
	struct bench *b = *state;
	struct device dev = {.id = "owner"};
	struct tick tick;

	pthread_mutex_init(&dev.lock, NULL);
	memset(&tick, 0, sizeof(tick));
	timer_init(&tick.timer, &b->q, &dev, tick_fire);
	clock_start(&b->clock);
	timer_arm(&tick.timer, 0);
	assert_true(run_once(b, 1000));
	assert_true(tick.owner_locked);
	assert_int_equal(pthread_mutex_trylock(&dev.lock), 0);
	timer_fini(&tick.timer);
}

/* ------------------------------------------------------------------------- */
/* Arming and disarming against a firing loop; after fini it never fires. */

struct storm {
	struct bench bench;
	_Atomic bool done;
};

static void *storm_loop(void *arg)
{
	struct storm *storm = arg;

	while (!atomic_load(&storm->done))
		run_once(&storm->bench, 1);
	return NULL;
}

struct victim {
	struct timer timer;
	_Atomic bool alive;
	_Atomic unsigned fired, late;
};

static void victim_fire(struct timer *t, u64 now_ns)
{
	struct victim *victim = container_of(t, struct victim, timer);

	atomic_fetch_add(&victim->fired, 1);
	timer_arm(t, now_ns);
	if (!atomic_load(&victim->alive))
		atomic_fetch_add(&victim->late, 1);
}

static void test_storm(void **state)
{
	static struct victim victims[8];
	static struct storm storm;
	unsigned seed = 7;
	pthread_t thread;

	clock_init(&storm.bench.clock, &nominal);
	assert_int_equal(
		timer_queue_init(&storm.bench.q, &storm.bench.clock, NULL), 0);
	clock_start(&storm.bench.clock);
	pthread_create(&thread, NULL, storm_loop, &storm);
	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(victims); i++) {
			timer_init(&victims[i].timer, &storm.bench.q, NULL,
				   victim_fire);
			atomic_store(&victims[i].alive, true);
		}
		for (unsigned i = 0; i < 50; i++) {
			struct victim *v = &victims[rand_r(&seed) % 8];

			if (rand_r(&seed) & 1)
				timer_arm(&v->timer,
					  clock_ns(&storm.bench.clock) +
						  rand_r(&seed) % 50000);
			else
				timer_disarm(&v->timer);
		}
		/* Now and then the loop gets its turn for certain. */
		while (round % 50 == 0 && !atomic_load(&victims[0].fired)) {
			timer_arm(&victims[0].timer, 0);
			sleep_ns(MSEC);
		}
		for (unsigned i = 0; i < ARRAY_SIZE(victims); i++) {
			timer_fini(&victims[i].timer);
			atomic_store(&victims[i].alive, false);
			atomic_store(&victims[i].fired, 0);
		}
		assert_int_equal(storm.bench.q.count, 0);
	}
	atomic_store(&storm.done, true);
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(victims); i++) {
		assert_int_equal(victims[i].late, 0);
		assert_int_equal(victims[i].fired, 0); /* since fini */
	}
	timer_queue_fini(&storm.bench.q);
}

#define timer_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conversions), cmocka_unit_test(test_rate),
		cmocka_unit_test(test_running),	    timer_test(test_heap),
		timer_test(test_deadline),	    timer_test(test_catch_up),
		timer_test(test_ping_pong),	    timer_test(test_frozen),
		timer_test(test_due_at_start),	    timer_test(test_owner_lock),
		cmocka_unit_test(test_storm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
