/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split ring: a table of descriptors, and two rings of indices.
 *
 *     desc     size * {addr, len, flags, next}
 *     driver   flags, idx, size * head, used_event
 *     device   flags, idx, size * {id, len}, avail_event
 *
 * References: [1] OASIS VIRTIO 1.2: 2.7.4 (layout, alignment), 2.7.5
 * (descriptors), 2.7.7 and 2.7.10 (suppressing interrupts and notifications).
 */
#include "virtio/virtq_internal.h"

enum split_layout {
	RING_FLAGS = 0,
	RING_IDX = 2,
	RING_ENTRIES = 4,
	AVAIL_ENTRY = 2,
	USED_ENTRY = 8,
	/* Either ring's flags: the other side need not be told. */
	RING_NO_SIGNAL = 1,
};

static gpa_t used_event(const struct virtq *q)
{
	return q->regs->driver + RING_ENTRIES + AVAIL_ENTRY * q->regs->size;
}

static gpa_t avail_event(const struct virtq *q)
{
	return q->regs->device + RING_ENTRIES + USED_ENTRY * q->regs->size;
}

static bool split_is_valid(const struct virtq *q)
{
	const struct virtq_regs *r = q->regs;
	u64 avail_len = used_event(q) + 2 - r->driver;
	u64 used_len = avail_event(q) + 2 - r->device;

	return !(r->size & (r->size - 1)) && !(r->desc & 15) &&
	       !(r->driver & 1) && !(r->device & 3) &&
	       mem_ptr(q->mem, r->desc, 16 * r->size) &&
	       mem_ptr(q->mem, r->driver, avail_len) &&
	       mem_ptr(q->mem, r->device, used_len);
}

static u16 avail_idx(const struct virtq *q)
{
	return mem_load16(q->mem, q->regs->driver + RING_IDX);
}

static bool split_has_next(const struct virtq *q)
{
	return avail_idx(q) != q->regs->avail;
}

/* Descriptors of a table, from `at` along their links. */
static bool walk(struct virtq *q, struct virtq_chain *chain,
		 const struct virtq_desc *table_desc, u16 at)
{
	gpa_t table = table_desc ? table_desc->addr : q->regs->desc;
	unsigned count = q->regs->size;

	if (table_desc)
		count = virtq_indirect_count(q, table_desc);
	if (table_desc && !count)
		return false;
	for (unsigned left = count; left; left--) {
		struct virtq_desc desc;

		if (at >= count)
			return virtq_break(q, "no such descriptor");
		mem_read(q->mem, table + 16 * at, &desc, sizeof(desc));
		if (desc.split.flags & VIRTQ_DESC_INDIRECT) {
			/* Neither nested nor followed, [1] 2.7.5.3.1. */
			if (table_desc || (desc.split.flags & VIRTQ_DESC_NEXT))
				return virtq_break(q, "indirect, and more");
			return walk(q, chain, &desc, 0);
		}
		if (!virtq_add_part(q, chain, &desc, desc.split.flags))
			return false;
		if (!(desc.split.flags & VIRTQ_DESC_NEXT))
			return true;
		at = desc.split.next;
	}
	return virtq_break(q, "a chain that goes round");
}

static bool split_pop(struct virtq *q, struct virtq_chain *chain)
{
	struct virtq_regs *r = q->regs;
	u16 at = r->avail & (r->size - 1);

	/* [1] 2.7.13.3: never more than the ring has places. */
	if ((u16)(avail_idx(q) - r->avail) > r->size)
		return virtq_break(q, "more is available than there is");
	chain->id =
		mem_load16(q->mem, r->driver + RING_ENTRIES + AVAIL_ENTRY * at);
	chain->places = 1;
	if (!walk(q, chain, NULL, chain->id))
		return false;
	r->avail++;
	return true;
}

static void split_push(struct virtq *q, const struct virtq_chain *chain,
		       u32 written)
{
	struct virtq_regs *r = q->regs;
	const u32 entry[2] = {chain->id, written};
	u16 at = r->used & (r->size - 1);

	mem_write(q->mem, r->device + RING_ENTRIES + USED_ENTRY * at, entry,
		  sizeof(entry));
	r->used++;
	r->pushed++;
	mem_store16(q->mem, r->device + RING_IDX, r->used);
}

static bool split_wants_interrupt(struct virtq *q)
{
	const struct virtq_regs *r = q->regs;

	if (q->features & VIRTQ_F_EVENT_IDX)
		return virtq_passes(mem_load16(q->mem, used_event(q)), r->used,
				    (u16)(r->used - r->pushed));
	return !(mem_load16(q->mem, r->driver + RING_FLAGS) & RING_NO_SIGNAL);
}

/* With event indices there is nothing to say: the last one is passed. */
static void split_silence(struct virtq *q)
{
	if (!(q->features & VIRTQ_F_EVENT_IDX))
		mem_store16(q->mem, q->regs->device + RING_FLAGS,
			    RING_NO_SIGNAL);
}

static void split_listen(struct virtq *q)
{
	if (q->features & VIRTQ_F_EVENT_IDX)
		mem_store16(q->mem, avail_event(q), q->regs->avail);
	else
		mem_store16(q->mem, q->regs->device + RING_FLAGS, 0);
}

const struct virtq_kind virtq_split = {
	.is_valid = split_is_valid,
	.has_next = split_has_next,
	.pop = split_pop,
	.push = split_push,
	.wants_interrupt = split_wants_interrupt,
	.silence = split_silence,
	.listen = split_listen,
};
