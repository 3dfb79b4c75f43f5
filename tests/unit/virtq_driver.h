/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of a virtqueue: a driver in the test process, written from the
 * specification and not from src/virtio. It asserts that the device gives back
 * what it was given, once.
 */
#pragma once

#include "virtio/virtq.h"

#define DRIVER_MAX_PARTS 8
/* Guest memory that driver_init() takes. */
#define DRIVER_MEMORY KIB(64)

struct driver_buffer {
	void *token; /* NULL: free */
	u16 places;  /* it takes in the ring */
};

struct driver {
	struct guest_mem *mem;
	u64 features;
	u16 size, free;
	gpa_t desc, driver, device, tables;
	/* How far each side is. */
	u16 avail, used;
	bool avail_wrap, used_wrap;
	u16 added;		       /* since the last driver_kick_wanted() */
	u16 next_free[VIRTQ_MAX_SIZE]; /* split: links of free descriptors */
	u16 first_free;
	struct driver_buffer buffers[VIRTQ_MAX_SIZE]; /* by id */
};

void driver_init(struct driver *d, struct guest_mem *mem, gpa_t base, u16 size,
		 u64 features);
/* What the device is to know. */
void driver_regs(const struct driver *d, struct virtq_regs *regs);

/* False: no room now. Parts 0 to `out` - 1 are read by the device. */
bool driver_add(struct driver *d, const struct virtq_part *parts, unsigned out,
		unsigned in, void *token);
/* After some additions: does the device want to be told? */
bool driver_kick_wanted(struct driver *d);
/* The next used buffer, NULL: none. */
void *driver_get(struct driver *d, u32 *written);
/* Ask for no interrupts; ask for them, and true: there is something. */
void driver_silence(struct driver *d);
bool driver_listen(struct driver *d);
