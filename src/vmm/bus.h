/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus: where an engine's port and MMIO exits go, and nowhere else.
 *
 *     engine -> bus_access() -> region->read / region->write
 *
 * The bus checks bounds and widths, splits what a device does not take whole,
 * answers all-ones where nobody is home, and holds the owner's lock around the
 * callback, so that device code contains no lock calls.
 *
 * The map is a sorted array that is published whole; a running vCPU sees the
 * old one or the new one, never half of each. Any thread may make accesses, and
 * a handler may change the map, also the one it was called through; its region
 * stays as it is until it returns. Maps that were replaced are freed once no
 * access can be looking at them (bus.c).
 */
#pragma once

#include <pthread.h>

#include "util/err.h"
#include "util/types.h"

struct device;

/* BUS_PCICFG: addr is that of ECAM, bus << 20 | device << 15 | function << 12 |
 * register; the PCI host bridge's ports and window arrive there. */
enum bus_space { BUS_PIO, BUS_MMIO, BUS_PCICFG, BUS_SPACES };

/* Access widths a region takes, OR-ed. Others are split into the widest
 * accepted smaller one; narrower than the narrowest reads all-ones and drops
 * writes. */
enum bus_width { BUS_W1 = 1, BUS_W2 = 2, BUS_W4 = 4, BUS_W8 = 8 };

struct bus_region {
	const char *name; /* for traces; lives as long as the region */
	enum bus_space space;
	u64 base;
	u64 size;
	u8 widths;	    /* OR of enum bus_width */
	struct device *dev; /* owner; its lock is held in both callbacks */
	/* off is relative to base; width is 1, 2, 4 or 8 and never crosses the
	 * region's end. A NULL callback reads all-ones / drops the write. */
	u64 (*read)(struct device *dev, u64 off, unsigned width);
	void (*write)(struct device *dev, u64 off, unsigned width, u64 val);
};

struct bus_map;

/* Accesses under way, by a few bits of their threads' stacks: a line each. */
#define BUS_READERS 8
struct bus_readers {
	_Atomic u32 count;
	u8 line[60];
};

struct bus {
	struct bus_map *_Atomic map[BUS_SPACES];
	pthread_mutex_t lock;  /* writers only */
	_Atomic u64 unclaimed; /* accesses that nobody answered */

	/* Reclamation, see bus.c. */
	_Atomic u32 turn; /* its lowest bit says where accesses are counted */
	struct bus_readers readers[2][BUS_READERS];
	struct bus_map *retired; /* replaced since `leaving` was closed */
	struct bus_map *leaving; /* waits for both counts to have been 0 */
	bool half_way;		 /* one of them has */
	unsigned kept;		 /* maps in the two lists */
};

int bus_init(struct bus *bus);
void bus_fini(struct bus *bus);

/*
 * Copy `region` into the map. -EEXIST if it overlaps another one, -EINVAL for
 * an empty or wrapping range, -ENOMEM.
 */
int bus_add(struct bus *bus, const struct bus_region *region, struct err *err);
void bus_remove(struct bus *bus, enum bus_space space, u64 base);
/* All regions of a device; device_destroy does it. */
void bus_remove_owner(struct bus *bus, const struct device *dev);
/* Free what maps can be freed: all, while no thread is in an access. Changes of
 * the map do so by themselves. */
void bus_reclaim(struct bus *bus);

/*
 * One guest access: `count` units of `width` (1, 2, 4, 8) bytes at `addr`,
 * to or from `buf` (little endian, count * width bytes). count > 1 is a string
 * port instruction: every unit goes to the same address. Never fails.
 *
 * An access that is not wholly inside one region is made byte by byte, each
 * byte to whoever owns it; bytes that nobody owns read all-ones.
 */
void bus_read(struct bus *bus, enum bus_space space, u64 addr, unsigned width,
	      unsigned count, void *buf);
void bus_write(struct bus *bus, enum bus_space space, u64 addr, unsigned width,
	       unsigned count, const void *buf);
