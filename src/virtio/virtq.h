/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtqueue: a ring in guest memory through which the driver makes buffers
 * available and the device gives them back used. Nobody else touches a ring.
 *
 * The driver is not to be trusted. Every word it wrote is read once, into
 * memory of our own, checked there and used from there; every address is RAM;
 * a chain has at most as many parts as the queue has places, so that neither a
 * loop nor a long table costs more than that. What breaks these rules makes
 * the queue broken: it gives nothing any more, until it is enabled anew.
 *
 * Threads: the owner's lock is held in all of these.
 *
 * References: [1] OASIS Virtual I/O Device (VIRTIO) 1.2: 2.7 (split), 2.8
 * (packed), 2.6 (queues).
 */
#pragma once

#include "util/types.h"
#include "vmm/mem.h"

#define VIRTQ_MAX_SIZE 256

/* Reserved feature bits that change what a ring looks like, [1] 6. */
#define VIRTQ_F_INDIRECT BIT(28)
#define VIRTQ_F_EVENT_IDX BIT(29)
#define VIRTQ_F_PACKED BIT(34)

/* Saved; the first part is the driver's choice, frozen while enabled. */
struct virtq_regs {
	u64 desc;   /* the descriptors; of a packed ring all there is */
	u64 driver; /* split: the available ring; packed: event suppression */
	u64 device; /* split: the used ring; packed: event suppression */
	u16 size;
	u16 vector; /* of MSI-X */
	u8 enabled;
	/* How far we are. Wrap counters are a packed ring's, [1] 2.8.1. */
	u8 avail_wrap, used_wrap;
	u8 reserved;
	u16 avail, used;
	u16 pushed; /* places used since the driver was last asked */
	u16 reserved2;
};

struct virtq_part {
	gpa_t gpa;
	u32 len; /* never 0 */
};

/* One buffer: `out` parts that the device reads, then `in` it writes. */
struct virtq_chain {
	u16 id;	    /* how the driver knows it */
	u16 places; /* it takes in a packed ring */
	u16 out, in;
	u64 out_len, in_len;
	struct virtq_part parts[VIRTQ_MAX_SIZE];
};

struct virtq {
	/* config */
	struct guest_mem *mem;
	u16 max_size;
	/* regs, in the device's group */
	struct virtq_regs *regs;
	/* host */
	u64 features;
	bool broken;
	bool silent;	    /* the driver was asked not to notify */
	bool resetting;	    /* by itself; until nothing is in flight */
	unsigned in_flight; /* popped, not yet pushed */
};

/* As at power-on: the largest size, no addresses, not enabled. */
void virtq_reset(struct virtq *q);
/*
 * The driver says the ring is ready. A size or an address that cannot be, or
 * (from a saved state) a position, makes it broken.
 */
void virtq_enable(struct virtq *q, u64 features);

/* Takes the next chain; false if there is none, or the queue is broken. */
bool virtq_pop(struct virtq *q, struct virtq_chain *chain);
/* Gives it back; `written` bytes of its `in` parts are good. */
void virtq_push(struct virtq *q, const struct virtq_chain *chain, u32 written);
/* Does the driver want to hear of what was pushed since the last call? */
bool virtq_wants_interrupt(struct virtq *q);

/* Is there something to pop? */
bool virtq_has_next(const struct virtq *q);
/* Ask the driver not to notify; a hint. */
void virtq_silence(struct virtq *q);
/* Ask it to. True: something is there already, and it may not. */
bool virtq_listen(struct virtq *q);
