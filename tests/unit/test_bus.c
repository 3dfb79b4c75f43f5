/* SPDX-License-Identifier: Apache-2.0 */
/* The bus: widths, splits, straddles, all-ones, overlaps, readers at work. */
#include "unit.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "vmm/bus.h"
#include "vmm/device.h"

/* A device that remembers its accesses and answers with their offsets. */
struct probe {
	struct device dev;
	unsigned calls;
	u64 off[64], val[64];
	unsigned width[64];
	bool locked; /* in every call so far */
};

static void probe_log(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct probe *probe = container_of(dev, struct probe, dev);
	unsigned at = probe->calls++ % ARRAY_SIZE(probe->off);

	probe->off[at] = off;
	probe->width[at] = width;
	probe->val[at] = val;
	if (pthread_mutex_trylock(&dev->lock) != EBUSY)
		probe->locked = false;
}

/* Byte i of the region reads as 0x10 + i. More than width is for the bus. */
static u64 probe_read(struct device *dev, u64 off, unsigned width)
{
	probe_log(dev, off, width, 0);
	return 0x1716151413121110ull + 0x0101010101010101ull * off;
}

static void probe_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	probe_log(dev, off, width, val);
}

static void probe_init(struct probe *probe)
{
	memset(probe, 0, sizeof(*probe));
	pthread_mutex_init(&probe->dev.lock, NULL);
	probe->locked = true;
}

static struct bus_region region(struct probe *probe, u64 base, u64 size,
				u8 widths)
{
	return (struct bus_region){
		.name = "probe",
		.space = BUS_PIO,
		.base = base,
		.size = size,
		.widths = widths,
		.dev = &probe->dev,
		.read = probe_read,
		.write = probe_write,
	};
}

struct fixture {
	struct bus bus;
	struct probe probe;
};

static int setup(void **state)
{
	static struct fixture fixture;

	probe_init(&fixture.probe);
	*state = &fixture;
	return bus_init(&fixture.bus);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bus_fini(&f->bus);
	return !f->probe.locked;
}

static u64 in(struct bus *bus, u64 addr, unsigned width)
{
	u8 buf[9];
	u64 val = 0;

	buf[width] = 0x5a;
	bus_read(bus, BUS_PIO, addr, width, 1, buf);
	assert_int_equal(buf[width], 0x5a);
	memcpy(&val, buf, width);
	return val;
}

static void add(struct fixture *f, u64 base, u64 size, u8 widths)
{
	struct bus_region r = region(&f->probe, base, size, widths);

	assert_int_equal(bus_add(&f->bus, &r, NULL), 0);
}

static void test_widths(void **state)
{
	struct fixture *f = *state;
	const struct probe *p = &f->probe;
	u64 val = 0x8877665544332211;

	add(f, 0x100, 8, BUS_W1 | BUS_W2 | BUS_W4 | BUS_W8);
	assert_int_equal(in(&f->bus, 0x101, 1), 0x11);
	assert_int_equal(in(&f->bus, 0x100, 8), 0x1716151413121110);
	assert_int_equal(p->calls, 2);

	/* 4 bytes to a byte-wide device: four accesses, in order. */
	add(f, 0x200, 8, BUS_W1);
	f->probe.calls = 0;
	assert_int_equal(in(&f->bus, 0x202, 4), 0x15141312);
	assert_int_equal(p->calls, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(p->off[i], 2 + i);
		assert_int_equal(p->width[i], 1);
	}
	f->probe.calls = 0;
	bus_write(&f->bus, BUS_PIO, 0x200, 4, 1, &val);
	assert_int_equal(p->calls, 4);
	assert_int_equal(p->val[3], 0x44);

	/* The widest one that is accepted: 8 to a 1|4 device is two fours. */
	add(f, 0x300, 16, BUS_W1 | BUS_W4);
	f->probe.calls = 0;
	bus_write(&f->bus, BUS_PIO, 0x304, 8, 1, &val);
	assert_int_equal(p->calls, 2);
	assert_int_equal(p->width[0], 4);
	assert_int_equal(p->off[1], 8);
	assert_int_equal(p->val[0], 0x44332211);
	assert_int_equal(p->val[1], 0x88776655);
	f->probe.calls = 0;
	assert_int_equal(in(&f->bus, 0x304, 2), 0x1514);
	assert_int_equal(p->calls, 2);

	/* Narrower than the narrowest: all-ones, dropped, still claimed. */
	add(f, 0x400, 8, BUS_W4);
	f->probe.calls = 0;
	assert_int_equal(in(&f->bus, 0x400, 1), 0xff);
	assert_int_equal(in(&f->bus, 0x400, 2), 0xffff);
	bus_write(&f->bus, BUS_PIO, 0x400, 2, 1, &val);
	assert_int_equal(p->calls, 0);
	assert_int_equal(f->bus.unclaimed, 0);
}

static void test_nobody(void **state)
{
	struct fixture *f = *state;
	u32 val = 0;

	assert_int_equal(in(&f->bus, 0, 1), 0xff);
	add(f, 0x100, 4, BUS_W1);
	assert_int_equal(in(&f->bus, 0xff, 1), 0xff);
	assert_int_equal(in(&f->bus, 0x104, 2), 0xffff);
	assert_int_equal(in(&f->bus, 0xfffc, 4), 0xffffffff);
	bus_read(&f->bus, BUS_MMIO, 0x100, 4, 1, &val);
	assert_int_equal(val, 0xffffffff);
	bus_write(&f->bus, BUS_MMIO, 0x100, 4, 1, &val);
	assert_int_equal(f->probe.calls, 0);
	assert_int_equal(f->bus.unclaimed, 6);
}

static void test_no_callbacks(void **state)
{
	struct fixture *f = *state;
	struct bus_region r = {
		.name = "ignored", .base = 0x80, .size = 1, .widths = BUS_W1};
	u8 val = 1;

	assert_int_equal(bus_add(&f->bus, &r, NULL), 0);
	bus_write(&f->bus, BUS_PIO, 0x80, 1, 1, &val);
	assert_int_equal(in(&f->bus, 0x80, 1), 0xff);
	assert_int_equal(f->bus.unclaimed, 0);
}

static void test_straddle(void **state)
{
	struct fixture *f = *state;
	const struct probe *p = &f->probe;
	u64 val = 0x8877665544332211;

	add(f, 0x100, 4, BUS_W1 | BUS_W2 | BUS_W4);
	/* Past the end: the bytes outside are all-ones. */
	assert_int_equal(in(&f->bus, 0x102, 4), 0xffff1312);
	assert_int_equal(p->calls, 2);
	assert_int_equal(p->width[0], 1);
	assert_int_equal(f->bus.unclaimed, 1);
	/* Before the start. */
	assert_int_equal(in(&f->bus, 0xff, 4), 0x121110ff);
	/* Over both ends. */
	assert_int_equal(in(&f->bus, 0xfe, 8), 0xffff13121110ffff);
	f->probe.calls = 0;
	bus_write(&f->bus, BUS_PIO, 0xfe, 8, 1, &val);
	assert_int_equal(p->calls, 4);
	assert_int_equal(p->off[0], 0);
	assert_int_equal(p->val[0], 0x33);
	assert_int_equal(p->val[3], 0x66);
	/* From one region into the next: each has its own bytes. */
	add(f, 0x104, 4, BUS_W1);
	f->bus.unclaimed = 0;
	assert_int_equal(in(&f->bus, 0x102, 4), 0x11101312);
	assert_int_equal(f->bus.unclaimed, 0);
}

/* The top of each space: what wraps is nobody's, not address 0's. */
static void test_top(void **state)
{
	struct fixture *f = *state;
	struct bus_region r = region(&f->probe, UINT64_MAX - 3, 4, BUS_W1);
	u32 val;

	add(f, 0, 4, BUS_W1);
	add(f, 0xfffe, 2, BUS_W1);
	assert_int_equal(in(&f->bus, 0xfffe, 4), 0xffff1110);
	r.space = BUS_MMIO;
	assert_int_equal(bus_add(&f->bus, &r, NULL), 0);
	r.base = 0;
	assert_int_equal(bus_add(&f->bus, &r, NULL), 0);
	bus_read(&f->bus, BUS_MMIO, UINT64_MAX - 1, 4, 1, &val);
	assert_int_equal(val, 0xffff1312);
	bus_read(&f->bus, BUS_MMIO, UINT64_MAX - 3, 4, 1, &val);
	assert_int_equal(val, 0x13121110);
}

static void test_strings(void **state)
{
	struct fixture *f = *state;
	const struct probe *p = &f->probe;
	u16 units[3] = {0x1111, 0x2222, 0x3333};

	add(f, 0x1f0, 2, BUS_W2);
	bus_write(&f->bus, BUS_PIO, 0x1f0, 2, 3, units);
	assert_int_equal(p->calls, 3);
	assert_int_equal(p->off[2], 0);
	assert_int_equal(p->val[1], 0x2222);
	assert_int_equal(p->val[2], 0x3333);
	bus_read(&f->bus, BUS_PIO, 0x1f0, 2, 3, units);
	assert_int_equal(units[2], 0x1110);
	bus_read(&f->bus, BUS_PIO, 0x300, 2, 3, units);
	assert_int_equal(units[2], 0xffff);
}

static void test_map(void **state)
{
	struct fixture *f = *state;
	struct bus_region r = region(&f->probe, 0x100, 0x10, BUS_W1);
	struct err err = {0};
	static const struct {
		u64 base, size;
		int ret;
	} cases[] = {
		{0x100, 0x10, -EEXIST},
		{0x0, 0x101, -EEXIST},
		{0x10f, 1, -EEXIST},
		{0x0, 0x10000, -EEXIST},
		{0x108, 0x100, -EEXIST},
		{0xf0, 0x10, 0},
		{0x110, 1, 0},
		{0x0, 0, -EINVAL},
		{0x10000, 1, -EINVAL},
		{0xffff, 2, -EINVAL},
		{1, UINT64_MAX, -EINVAL},
		{0xffff, 1, 0},
		{0, 1, 0},
	};

	assert_int_equal(bus_add(&f->bus, &r, &err), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		r.base = cases[i].base;
		r.size = cases[i].size;
		assert_int_equal(bus_add(&f->bus, &r, &err), cases[i].ret);
	}
	assert_int_equal(err.code, -EEXIST);
	assert_non_null(strstr(err.msg, "0x100"));
	bus_remove(&f->bus, BUS_PIO, 0x101); /* no base: nothing happens */
	assert_int_equal(in(&f->bus, 0x101, 1), 0x11);
	bus_remove(&f->bus, BUS_PIO, 0x100);
	assert_int_equal(in(&f->bus, 0x101, 1), 0xff);
	assert_int_equal(in(&f->bus, 0xf0, 1), 0x10);
	assert_int_equal(in(&f->bus, 0x110, 1), 0x10);
	/* The whole space, and the top of 64 bits, fit. */
	r.space = BUS_MMIO;
	r.base = 1;
	r.size = UINT64_MAX;
	assert_int_equal(bus_add(&f->bus, &r, NULL), 0);
	bus_remove_owner(&f->bus, &f->probe.dev);
	assert_int_equal(in(&f->bus, 0x110, 1), 0xff);
	assert_int_equal(in(&f->bus, 0xf0, 1), 0xff);
	assert_int_equal(bus_add(&f->bus, &r, NULL), 0);
}

/* Many regions: the search finds each, and nothing between them. */
static void test_search(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 100; i++)
		add(f, 8 + (i * 37 % 100) * 16, 8, BUS_W1);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(in(&f->bus, 8 + i * 16, 1), 0x10);
		assert_int_equal(in(&f->bus, 8 + i * 16 + 7, 1), 0x17);
		assert_int_equal(in(&f->bus, i * 16 + 7, 1), 0xff);
	}
	bus_reclaim(&f->bus);
	assert_int_equal(in(&f->bus, 8, 1), 0x10);
}

/* ------------------------------------------------------------------------- */
/* A region that is always there must be found while others come and go. */

struct race {
	struct bus bus;
	_Atomic bool done;
	_Atomic unsigned misses;
};

static u64 seven(struct device *dev, u64 off, unsigned width)
{
	return 7;
}

static void *reader(void *arg)
{
	struct race *race = arg;
	u8 val;

	while (!atomic_load(&race->done)) {
		bus_read(&race->bus, BUS_PIO, 0x3f8, 1, 1, &val);
		if (val != 7)
			atomic_fetch_add(&race->misses, 1);
		bus_read(&race->bus, BUS_PIO, 0x100, 1, 1, &val);
		if (val != 7 && val != 0xff)
			atomic_fetch_add(&race->misses, 1);
	}
	return NULL;
}

static void test_publish(void **state)
{
	static struct race race;
	struct bus_region r = {.name = "seven",
			       .base = 0x3f8,
			       .size = 8,
			       .widths = BUS_W1,
			       .read = seven};
	pthread_t threads[2];

	assert_int_equal(bus_init(&race.bus), 0);
	assert_int_equal(bus_add(&race.bus, &r, NULL), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, reader, &race);
	r.size = 1;
	for (unsigned round = 0; round < 300; round++) {
		for (u64 base = 0x100; base < 0x108; base++) {
			r.base = base;
			bus_add(&race.bus, &r, NULL);
		}
		for (u64 base = 0x100; base < 0x108; base++)
			bus_remove(&race.bus, BUS_PIO, base);
	}
	atomic_store(&race.done, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(race.misses, 0);
	bus_fini(&race.bus);
}

/* ---- reclamation ------------------------------------------------------- */

/*
 * A guest that moves a BAR for ever: from a handler of another space, by a
 * thread that is itself in an access, while others use the region wherever it
 * is and a handler of theirs makes an access of its own.
 */
enum { MOVES = 30000, PLACES = 64, WINDOW = 0x1000, CROWD = 3 };

struct mover {
	struct bus bus;
	u64 place; /* of the window; the mover's own */
	unsigned most_kept;
	_Atomic bool done;
	_Atomic u64 strange, seen;
};

static u64 window_read(struct device *dev, u64 off, unsigned width)
{
	return 0x5a;
}

static struct bus_region window_at(u64 place)
{
	return (struct bus_region){.name = "window",
				   .space = BUS_MMIO,
				   .base = place * WINDOW,
				   .size = WINDOW,
				   .widths = BUS_W1,
				   .read = window_read};
}

/* The device of port 0x10, whose write moves the window. */
struct mover_device {
	struct device dev;
	struct mover *mover;
};

static void move(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct mover *m = container_of(dev, struct mover_device, dev)->mover;
	const struct bus_region next = window_at(val);

	bus_remove(&m->bus, BUS_MMIO, m->place * WINDOW);
	bus_add(&m->bus, &next, NULL);
	m->place = val;
}

/* Port 0x20 leads to the window, as a host bridge's ports do. */
static u64 forward(struct device *dev, u64 off, unsigned width)
{
	struct mover *m = container_of(dev, struct mover_device, dev)->mover;
	u8 val;

	bus_read(&m->bus, BUS_MMIO, 5 * WINDOW, 1, 1, &val);
	return val;
}

static void *crowd(void *arg)
{
	struct mover *m = arg;
	u64 place = 0;
	u8 val;

	while (!atomic_load(&m->done)) {
		bus_read(&m->bus, BUS_MMIO, place++ % PLACES * WINDOW, 1, 1,
			 &val);
		if (val == 0x5a)
			atomic_fetch_add(&m->seen, 1);
		else if (val != 0xff)
			atomic_fetch_add(&m->strange, 1);
		bus_read(&m->bus, BUS_PIO, 0x20, 1, 1, &val);
		if (val != 0x5a && val != 0xff)
			atomic_fetch_add(&m->strange, 1);
	}
	return NULL;
}

static void test_moves(void **state)
{
	static struct mover m;
	struct mover_device mover = {.mover = &m}, bridge = {.mover = &m};
	const struct bus_region first = window_at(0);
	const struct bus_region ports[] = {
		{"move", BUS_PIO, 0x10, 1, BUS_W1, &mover.dev, NULL, move},
		{"bridge", BUS_PIO, 0x20, 1, BUS_W1, &bridge.dev, forward,
		 NULL},
	};
	pthread_t threads[CROWD];

	pthread_mutex_init(&mover.dev.lock, NULL);
	pthread_mutex_init(&bridge.dev.lock, NULL);
	assert_int_equal(bus_init(&m.bus), 0);
	assert_int_equal(bus_add(&m.bus, &first, NULL), 0);
	assert_int_equal(bus_add(&m.bus, &ports[0], NULL), 0);
	assert_int_equal(bus_add(&m.bus, &ports[1], NULL), 0);
	for (unsigned i = 0; i < CROWD; i++)
		pthread_create(&threads[i], NULL, crowd, &m);
	for (unsigned i = 0; i < MOVES; i++) {
		const u8 place = (u8)(i * 7 % PLACES);

		bus_write(&m.bus, BUS_PIO, 0x10, 1, 1, &place);
		m.most_kept =
			m.bus.kept > m.most_kept ? m.bus.kept : m.most_kept;
	}
	/* The others meet the window, whoever had the CPU until now. */
	while (!atomic_load(&m.seen))
		sched_yield();
	atomic_store(&m.done, true);
	for (unsigned i = 0; i < CROWD; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(m.strange, 0);
	/* To come so far, an access must not end for minutes (bus.c). */
	print_message("at most %u maps kept\n", m.most_kept);
	assert_in_range(m.most_kept, 1, MOVES / 30);
	bus_reclaim(&m.bus);
	assert_int_equal(m.bus.kept, 0);
	bus_fini(&m.bus);
}

/* While an access is under way nothing that it may look at goes. */
static u64 change_and_look(struct device *dev, u64 off, unsigned width)
{
	struct mover *m = container_of(dev, struct mover_device, dev)->mover;

	for (u64 place = 1; place < 4; place++) {
		const struct bus_region next = window_at(place);

		bus_remove(&m->bus, BUS_PIO, 0x30);
		bus_add(&m->bus, &next, NULL);
		bus_remove(&m->bus, BUS_MMIO, place * WINDOW);
	}
	bus_reclaim(&m->bus);
	return m->bus.kept;
}

static void test_own_map(void **state)
{
	static struct mover m;
	struct mover_device self = {.mover = &m};
	const struct bus_region own = {
		"own",	   BUS_PIO,	    0x30, 1, BUS_W1,
		&self.dev, change_and_look, NULL};
	u8 kept = 0;

	pthread_mutex_init(&self.dev.lock, NULL);
	assert_int_equal(bus_init(&m.bus), 0);
	assert_int_equal(bus_add(&m.bus, &own, NULL), 0);
	bus_read(&m.bus, BUS_PIO, 0x30, 1, 1, &kept);
	/* Its own, and what followed it but for the maps in force. */
	assert_int_equal(kept, 6);
	bus_reclaim(&m.bus);
	assert_int_equal(m.bus.kept, 0);
	bus_fini(&m.bus);
}

#define bus_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		bus_test(test_widths),
		bus_test(test_nobody),
		bus_test(test_no_callbacks),
		bus_test(test_straddle),
		bus_test(test_top),
		bus_test(test_strings),
		bus_test(test_map),
		bus_test(test_search),
		cmocka_unit_test(test_publish),
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_own_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
