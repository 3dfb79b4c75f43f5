/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus.
 *
 * Theory of operation. A map is an immutable array sorted by base. Writers
 * copy it, change the copy and publish it by one pointer store; readers load
 * the pointer once a unit. Not more than one lock is held around a callback:
 * the owner's.
 *
 * Reclamation. An access counts itself in readers[turn & 1] before it loads a
 * map, and counts itself out when it is done. Both are sequentially consistent
 * with the publishing store: an access that may have a map that was replaced at
 * some time was counted at that time, and stays counted where it is. So a
 * map may go once either count has been seen at 0 since; each of its lines
 * alone, for an access is in one of them all the while. Turning sends new
 * accesses to the other count, which is why each one does come to 0:
 *
 *     close the list, turn   wait for the count before the turn
 *     turn                   wait for the other one
 *     free the list
 *
 * Nobody blocks for it: a change of the map goes as far as it can, and the next
 * one goes on, since the one who changes it may stand in an access itself (a
 * guest that moves a BAR). Some three changes' maps stay, then, until the next
 * change or pause. Where an access does not end, as its thread is not run,
 * whoever makes more than BUS_KEPT_MAX maps is slowed down, more with each.
 *
 * Reference: [1] Intel SDM vol. 1, 19.3 "I/O address space": an access wider
 * than a byte goes to the ports of consecutive numbers.
 */
#include "vmm/bus.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmm/device.h"
#include "vmm/trace.h"

#define BUS_PIO_SIZE 0x10000ull

#define BUS_KEPT_MAX 64
#define BUS_SLOW_NS 200000ull	    /* for each map beyond that */
#define BUS_SLOWEST_NS 100000000ull /* 10 maps a second, then */

struct bus_map {
	struct bus_map *next; /* retired list */
	unsigned count;
	struct bus_region regions[];
};

/* ------------------------------------------------------------------------- */
/* Reclamation */

static struct bus_readers *bus_enter(struct bus *bus)
{
	/* Threads' stacks are far apart. */
	const u64 thread = (u64)__builtin_frame_address(0) >> 16;
	const u64 hash = thread * 0x9e3779b97f4a7c15ull >> 32;
	const u32 turn = atomic_load_explicit(&bus->turn, memory_order_relaxed);
	struct bus_readers *r = &bus->readers[turn & 1][hash % BUS_READERS];

	atomic_fetch_add(&r->count, 1);
	return r;
}

static void bus_exit(struct bus_readers *r)
{
	atomic_fetch_sub_explicit(&r->count, 1, memory_order_release);
}

/* Those counted before the last turn. */
static bool bus_has_drained(struct bus *bus)
{
	const u32 before = (atomic_load(&bus->turn) & 1) ^ 1;

	for (unsigned i = 0; i < BUS_READERS; i++)
		if (atomic_load(&bus->readers[before][i].count))
			return false;
	return true;
}

static void bus_turn(struct bus *bus)
{
	atomic_fetch_add(&bus->turn, 1);
}

static void bus_free_maps(struct bus *bus, struct bus_map **list)
{
	struct bus_map *map;

	while ((map = *list)) {
		*list = map->next;
		bus->kept--;
		free(map);
	}
}

/* bus->lock is held. */
static void bus_collect(struct bus *bus)
{
	for (;;) {
		if (!bus->leaving) {
			if (!bus->retired)
				return;
			bus->leaving = bus->retired;
			bus->retired = NULL;
			bus->half_way = false;
			bus_turn(bus);
		}
		if (!bus_has_drained(bus))
			return;
		if (bus->half_way) {
			bus_free_maps(bus, &bus->leaving);
		} else {
			bus->half_way = true;
			bus_turn(bus);
		}
	}
}

void bus_reclaim(struct bus *bus)
{
	pthread_mutex_lock(&bus->lock);
	bus_collect(bus);
	pthread_mutex_unlock(&bus->lock);
}

/* After a change of the map. */
static void bus_unlock(struct bus *bus)
{
	struct timespec pause = {0};

	bus_collect(bus);
	if (unlikely(bus->kept > BUS_KEPT_MAX))
		pause.tv_nsec =
			(long)min_u64((bus->kept - BUS_KEPT_MAX) * BUS_SLOW_NS,
				      BUS_SLOWEST_NS);
	pthread_mutex_unlock(&bus->lock);
	if (unlikely(pause.tv_nsec))
		nanosleep(&pause, NULL);
}

/* ------------------------------------------------------------------------- */
/* The map */

int bus_init(struct bus *bus)
{
	memset(bus, 0, sizeof(*bus));
	return -pthread_mutex_init(&bus->lock, NULL);
}

void bus_fini(struct bus *bus)
{
	bus_free_maps(bus, &bus->retired);
	bus_free_maps(bus, &bus->leaving);
	for (unsigned space = 0; space < BUS_SPACES; space++)
		free(atomic_exchange(&bus->map[space], NULL));
	pthread_mutex_destroy(&bus->lock);
}

/* Index of the last region whose base is addr or less, -1 if there is none. */
static int map_find(const struct bus_map *map, u64 addr)
{
	unsigned low = 0, high = map ? map->count : 0;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (map->regions[mid].base <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return (int)low - 1;
}

static void bus_publish(struct bus *bus, enum bus_space space,
			struct bus_map *map)
{
	struct bus_map *old = atomic_exchange(&bus->map[space], map);

	if (!old)
		return;
	old->next = bus->retired;
	bus->retired = old;
	bus->kept++;
}

static struct bus_map *map_alloc(unsigned count)
{
	struct bus_map *map;

	map = calloc(1, sizeof(*map) + count * sizeof(map->regions[0]));
	if (map)
		map->count = count;
	return map;
}

static int bus_insert(struct bus *bus, const struct bus_region *region,
		      struct err *err)
{
	const struct bus_map *old = atomic_load(&bus->map[region->space]);
	u64 last = region->base + region->size - 1;
	int before = map_find(old, last);
	unsigned count = old ? old->count : 0;
	unsigned at = (unsigned)(before + 1);
	const struct bus_region *near;
	struct bus_map *map;

	/* Regions do not overlap, so only the nearest one below can. */
	near = before >= 0 ? &old->regions[before] : NULL;
	if (near && near->base + (near->size - 1) >= region->base)
		return err_set(err, -EEXIST, "%s at %#llx overlaps %s at %#llx",
			       region->name, (unsigned long long)region->base,
			       near->name, (unsigned long long)near->base);
	map = map_alloc(count + 1);
	if (!map)
		return err_set(err, -ENOMEM, "out of memory");
	if (old) {
		memcpy(map->regions, old->regions, at * sizeof(*region));
		memcpy(map->regions + at + 1, old->regions + at,
		       (count - at) * sizeof(*region));
	}
	map->regions[at] = *region;
	bus_publish(bus, region->space, map);
	return 0;
}

int bus_add(struct bus *bus, const struct bus_region *region, struct err *err)
{
	u64 limit = region->space == BUS_PIO ? BUS_PIO_SIZE - 1 : UINT64_MAX;
	int ret;

	assert(region->space < BUS_SPACES);
	if (!region->size || region->base > limit ||
	    region->size - 1 > limit - region->base)
		return err_set(err, -EINVAL,
			       "%s: no such address range: %#llx+%#llx",
			       region->name, (unsigned long long)region->base,
			       (unsigned long long)region->size);
	pthread_mutex_lock(&bus->lock);
	ret = bus_insert(bus, region, err);
	bus_unlock(bus);
	return ret;
}

/* Publish the map without entry `at`; without memory, with it struck out. */
static void bus_drop(struct bus *bus, enum bus_space space, unsigned at)
{
	struct bus_map *old = atomic_load(&bus->map[space]);
	struct bus_map *map = map_alloc(old->count - 1);

	if (!map) {
		old->regions[at].read = NULL;
		old->regions[at].write = NULL;
		old->regions[at].dev = NULL;
		old->regions[at].name = "removed";
		return;
	}
	memcpy(map->regions, old->regions, at * sizeof(map->regions[0]));
	memcpy(map->regions + at, old->regions + at + 1,
	       (map->count - at) * sizeof(map->regions[0]));
	bus_publish(bus, space, map);
}

void bus_remove(struct bus *bus, enum bus_space space, u64 base)
{
	const struct bus_map *map;
	int at;

	pthread_mutex_lock(&bus->lock);
	map = atomic_load(&bus->map[space]);
	at = map_find(map, base);
	if (at >= 0 && map->regions[at].base == base)
		bus_drop(bus, space, (unsigned)at);
	bus_unlock(bus);
}

static bool bus_drop_one(struct bus *bus, enum bus_space space,
			 const struct device *dev)
{
	const struct bus_map *map = atomic_load(&bus->map[space]);

	for (unsigned i = 0; map && i < map->count; i++) {
		if (map->regions[i].dev == dev) {
			bus_drop(bus, space, i);
			return true;
		}
	}
	return false;
}

void bus_remove_owner(struct bus *bus, const struct device *dev)
{
	pthread_mutex_lock(&bus->lock);
	for (unsigned space = 0; space < BUS_SPACES; space++)
		while (bus_drop_one(bus, space, dev))
			;
	bus_unlock(bus);
}

/* ------------------------------------------------------------------------- */
/* Access */

/* The region that holds all of [addr, addr + width), or NULL. */
static const struct bus_region *bus_find(struct bus *bus, enum bus_space space,
					 u64 addr, unsigned width)
{
	const struct bus_map *map;
	const struct bus_region *r;
	int at;

	map = atomic_load(&bus->map[space]);
	at = map_find(map, addr);
	if (at < 0)
		return NULL;
	r = &map->regions[at];
	if (addr - r->base >= r->size || width > r->size - (addr - r->base))
		return NULL;
	return r;
}

static void region_lock(const struct bus_region *r)
{
	if (r->dev)
		pthread_mutex_lock(&r->dev->lock);
}

static void region_unlock(const struct bus_region *r)
{
	if (r->dev)
		pthread_mutex_unlock(&r->dev->lock);
}

static u64 width_mask(unsigned width)
{
	return width >= 8 ? UINT64_MAX : BIT(8 * width) - 1;
}

/* The widest access that the region takes, `width` or less; 0: none. */
static unsigned region_width(const struct bus_region *r, unsigned width)
{
	while (width && !(r->widths & width))
		width /= 2;
	return width;
}

static u64 region_read(const struct bus_region *r, u64 off, unsigned width)
{
	unsigned step = region_width(r, width);
	u64 val = 0;

	if (!step || !r->read)
		return width_mask(width);
	for (unsigned done = 0; done < width; done += step)
		val |= (r->read(r->dev, off + done, step) & width_mask(step))
		       << 8 * done;
	return val;
}

static void region_write(const struct bus_region *r, u64 off, unsigned width,
			 u64 val)
{
	unsigned step = region_width(r, width);

	if (!step || !r->write)
		return;
	for (unsigned done = 0; done < width; done += step)
		r->write(r->dev, off + done, step,
			 val >> 8 * done & width_mask(step));
}

static void bus_trace(const char *verb, const struct bus_region *r, u64 addr,
		      unsigned width, const void *buf)
{
	u64 val = 0;

	memcpy(&val, buf, width);
	trace(TRACE_BUS, "%s %s %#llx/%u = %#llx", r ? r->name : "nobody", verb,
	      (unsigned long long)addr, width, (unsigned long long)val);
}

static void bus_count_unclaimed(struct bus *bus)
{
	atomic_fetch_add_explicit(&bus->unclaimed, 1, memory_order_relaxed);
}

/* One unit that no region holds whole: byte by byte. */
static void bus_read_bytes(struct bus *bus, enum bus_space space, u64 addr,
			   unsigned width, u8 *buf)
{
	bool claimed = true;

	for (unsigned i = 0; i < width; i++) {
		const struct bus_region *r;

		/* What wraps past the top of the space is nobody's. */
		r = addr + i < addr ? NULL : bus_find(bus, space, addr + i, 1);
		buf[i] = 0xff;
		if (!r) {
			claimed = false;
			continue;
		}
		region_lock(r);
		buf[i] = (u8)region_read(r, addr + i - r->base, 1);
		region_unlock(r);
	}
	if (!claimed)
		bus_count_unclaimed(bus);
}

static void bus_write_bytes(struct bus *bus, enum bus_space space, u64 addr,
			    unsigned width, const u8 *buf)
{
	bool claimed = true;

	for (unsigned i = 0; i < width; i++) {
		const struct bus_region *r;

		r = addr + i < addr ? NULL : bus_find(bus, space, addr + i, 1);
		if (!r) {
			claimed = false;
			continue;
		}
		region_lock(r);
		region_write(r, addr + i - r->base, 1, buf[i]);
		region_unlock(r);
	}
	if (!claimed)
		bus_count_unclaimed(bus);
}

void bus_read(struct bus *bus, enum bus_space space, u64 addr, unsigned width,
	      unsigned count, void *buf)
{
	struct bus_readers *readers = bus_enter(bus);
	const struct bus_region *r = bus_find(bus, space, addr, width);
	u8 *to = buf;

	if (likely(r)) {
		region_lock(r);
		for (unsigned i = 0; i < count; i++, to += width) {
			u64 val = region_read(r, addr - r->base, width);

			memcpy(to, &val, width);
		}
		region_unlock(r);
	} else {
		for (unsigned i = 0; i < count; i++, to += width)
			bus_read_bytes(bus, space, addr, width, to);
	}
	if (trace_on(TRACE_BUS))
		bus_trace("read", r, addr, width, buf);
	bus_exit(readers);
}

void bus_write(struct bus *bus, enum bus_space space, u64 addr, unsigned width,
	       unsigned count, const void *buf)
{
	struct bus_readers *readers = bus_enter(bus);
	const struct bus_region *r = bus_find(bus, space, addr, width);
	const u8 *from = buf;

	if (trace_on(TRACE_BUS))
		bus_trace("write", r, addr, width, buf);
	if (likely(r)) {
		region_lock(r);
		for (unsigned i = 0; i < count; i++, from += width) {
			u64 val = 0;

			memcpy(&val, from, width);
			region_write(r, addr - r->base, width, val);
		}
		region_unlock(r);
	} else {
		for (unsigned i = 0; i < count; i++, from += width)
			bus_write_bytes(bus, space, addr, width, from);
	}
	bus_exit(readers);
}
