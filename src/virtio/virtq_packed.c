/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed ring: one ring of descriptors that driver and device both write,
 * and a word pair of each that says when it wants to be told.
 *
 *     desc     size * {addr, len, id, flags}
 *     driver   {place, flags}, written by the driver
 *     device   {place, flags}, written by us
 *
 * Whose turn a descriptor is follows from two of its flags and a wrap counter
 * of each side, which turns over whenever that side comes to the ring's start.
 *
 * References: [1] OASIS VIRTIO 1.2: 2.8.1 (wrap counters), 2.8.7 (indirect),
 * 2.8.10 (event suppression), 2.8.13 and 2.8.14 (layouts).
 */
#include "virtio/virtq_internal.h"

enum packed_layout {
	DESC_FLAGS = 14,
	EVENT_PLACE = 0,
	EVENT_FLAGS = 2,
	EVENT_SIZE = 4,
	EVENT_WRAP = 1 << 15, /* in the place */
};

/* [1] 2.8.10 */
enum packed_event { EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2 };

static bool packed_is_valid(const struct virtq *q)
{
	const struct virtq_regs *r = q->regs;

	return !(r->desc & 15) && !(r->driver & 3) && !(r->device & 3) &&
	       r->avail < r->size && r->used < r->size && r->avail_wrap <= 1 &&
	       r->used_wrap <= 1 && mem_ptr(q->mem, r->desc, 16 * r->size) &&
	       mem_ptr(q->mem, r->driver, EVENT_SIZE) &&
	       mem_ptr(q->mem, r->device, EVENT_SIZE);
}

static u16 flags_at(const struct virtq *q, u16 at)
{
	return mem_load16(q->mem, q->regs->desc + 16 * at + DESC_FLAGS);
}

static bool is_available(u16 flags, u8 wrap)
{
	bool avail = flags & VIRTQ_DESC_AVAIL;
	bool used = flags & VIRTQ_DESC_USED;

	return avail != used && avail == wrap;
}

static bool packed_has_next(const struct virtq *q)
{
	return is_available(flags_at(q, q->regs->avail), q->regs->avail_wrap);
}

/* `places` further, in either direction of time. */
static void advance(u16 *at, u8 *wrap, u16 places, u16 size)
{
	*at = (u16)(*at + places);
	if (*at >= size) {
		*at = (u16)(*at - size);
		*wrap ^= 1;
	}
}

/* [1] 2.8.7: entries in their order; only "write" counts among their flags. */
static bool walk_table(struct virtq *q, struct virtq_chain *chain,
		       const struct virtq_desc *table)
{
	unsigned count = virtq_indirect_count(q, table);

	for (unsigned i = 0; i < count; i++) {
		struct virtq_desc desc;

		mem_read(q->mem, table->addr + 16 * i, &desc, sizeof(desc));
		if (!virtq_add_part(q, chain, &desc, desc.packed.flags))
			return false;
	}
	return count;
}

static bool packed_pop(struct virtq *q, struct virtq_chain *chain)
{
	struct virtq_regs *r = q->regs;
	u16 at = r->avail, flags;
	u8 wrap = r->avail_wrap;

	do {
		struct virtq_desc desc;

		if (chain->places == r->size)
			return virtq_break(q, "a chain that goes round");
		/* The rest is there once the flags say so. */
		flags = flags_at(q, at);
		mem_read(q->mem, r->desc + 16 * at, &desc, sizeof(desc));
		chain->id = desc.packed.id;
		chain->places++;
		advance(&at, &wrap, 1, r->size);
		if (flags & VIRTQ_DESC_INDIRECT) {
			if (flags & VIRTQ_DESC_NEXT || chain->places > 1)
				return virtq_break(q, "indirect, and more");
			if (!walk_table(q, chain, &desc))
				return false;
		} else if (!virtq_add_part(q, chain, &desc, flags)) {
			return false;
		}
	} while (flags & VIRTQ_DESC_NEXT);
	r->avail = at;
	r->avail_wrap = wrap;
	return true;
}

static void packed_push(struct virtq *q, const struct virtq_chain *chain,
			u32 written)
{
	struct virtq_regs *r = q->regs;
	struct {
		u32 len;
		u16 id;
	} __attribute__((packed)) const used = {written, chain->id};
	u16 flags = r->used_wrap ? VIRTQ_DESC_AVAIL | VIRTQ_DESC_USED : 0;
	gpa_t at = r->desc + 16 * r->used;

	mem_write(q->mem, at + offsetof(struct virtq_desc, len), &used,
		  sizeof(used));
	mem_store16(q->mem, at + DESC_FLAGS,
		    written ? flags | VIRTQ_DESC_WRITE : flags);
	advance(&r->used, &r->used_wrap, chain->places, r->size);
	r->pushed = (u16)(r->pushed + chain->places);
}

static bool packed_wants_interrupt(struct virtq *q)
{
	const struct virtq_regs *r = q->regs;
	u16 event = mem_load16(q->mem, r->driver + EVENT_FLAGS) & 3;
	u16 place;

	if (event != EVENT_DESC || !(q->features & VIRTQ_F_EVENT_IDX))
		return event == EVENT_ENABLE;
	place = mem_load16(q->mem, r->driver + EVENT_PLACE);
	/* Of the round before this one: as if the ring went on. */
	if (!(place & EVENT_WRAP) != !r->used_wrap)
		place = (u16)((place & ~EVENT_WRAP) - r->size);
	else
		place &= (u16)~EVENT_WRAP;
	return virtq_passes(place, r->used, (u16)(r->used - r->pushed));
}

static void packed_silence(struct virtq *q)
{
	mem_store16(q->mem, q->regs->device + EVENT_FLAGS, EVENT_DISABLE);
}

static void packed_listen(struct virtq *q)
{
	const struct virtq_regs *r = q->regs;
	u16 event = EVENT_ENABLE;

	if (q->features & VIRTQ_F_EVENT_IDX) {
		mem_store16(q->mem, r->device + EVENT_PLACE,
			    (u16)(r->avail | r->avail_wrap << 15));
		event = EVENT_DESC;
	}
	mem_store16(q->mem, r->device + EVENT_FLAGS, event);
}

const struct virtq_kind virtq_packed = {
	.is_valid = packed_is_valid,
	.has_next = packed_has_next,
	.pop = packed_pop,
	.push = packed_push,
	.wants_interrupt = packed_wants_interrupt,
	.silence = packed_silence,
	.listen = packed_listen,
};
