/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both kinds of ring have in common: life, checks of a chain's parts,
 * and what a broken queue does (nothing).
 *
 * References: [1] OASIS VIRTIO 1.2, 2.6 and 2.7.5.3 (indirect descriptors).
 */
#include "virtio/virtq.h"

#include <string.h>

#include "util/log.h"
#include "virtio/virtq_internal.h"

static const struct virtq_kind *kind_of(const struct virtq *q)
{
	return q->features & VIRTQ_F_PACKED ? &virtq_packed : &virtq_split;
}

static bool is_usable(const struct virtq *q)
{
	return q->regs->enabled && !q->broken && !q->resetting;
}

bool virtq_break(struct virtq *q, const char *why)
{
	log_guest("virtqueue: %s", why);
	q->broken = true;
	q->regs->pushed = 0; /* whoever is told of this looks at all of it */
	return false;
}

void virtq_reset(struct virtq *q)
{
	*q->regs = (struct virtq_regs){
		.size = q->max_size,
		.vector = 0xffff,
		.avail_wrap = 1,
		.used_wrap = 1,
	};
	q->broken = false;
	q->silent = false;
	q->resetting = false;
}

void virtq_enable(struct virtq *q, u64 features)
{
	q->features = features;
	q->regs->enabled = 1;
	q->silent = false;
	q->broken = false;
	if (!q->regs->size || q->regs->size > q->max_size ||
	    !kind_of(q)->is_valid(q))
		virtq_break(q, "its ring cannot be where it is said to be");
}

/* ---- chains -------------------------------------------------------------- */

bool virtq_add_part(struct virtq *q, struct virtq_chain *chain,
		    const struct virtq_desc *desc, u16 flags)
{
	unsigned at = chain->out + chain->in;
	bool in = flags & VIRTQ_DESC_WRITE;

	if (!in && chain->in)
		return virtq_break(q, "a part to read behind one to write");
	if (!mem_ptr(q->mem, desc->addr, desc->len))
		return virtq_break(q, "a part is not in RAM");
	if (!desc->len)
		return true;
	if (at == q->max_size)
		return virtq_break(q, "a chain is too long");
	chain->parts[at] = (struct virtq_part){desc->addr, desc->len};
	if (in) {
		chain->in++;
		chain->in_len += desc->len;
	} else {
		chain->out++;
		chain->out_len += desc->len;
	}
	/* [1] 2.7.5: at most 2^32 bytes in all. */
	if (chain->in_len + chain->out_len > BIT(32))
		return virtq_break(q, "a chain of more than 4 GiB");
	return true;
}

unsigned virtq_indirect_count(struct virtq *q, const struct virtq_desc *desc)
{
	unsigned count = desc->len / sizeof(*desc);

	if (!(q->features & VIRTQ_F_INDIRECT)) {
		virtq_break(q, "an indirect descriptor that was not agreed");
		return 0;
	}
	if (!count || desc->len % sizeof(*desc) || count > q->max_size ||
	    !mem_ptr(q->mem, desc->addr, desc->len)) {
		virtq_break(q, "an indirect table that cannot be");
		return 0;
	}
	return count;
}

/* ---- the ring ------------------------------------------------------------ */

bool virtq_has_next(const struct virtq *q)
{
	return is_usable(q) && kind_of(q)->has_next(q);
}

bool virtq_pop(struct virtq *q, struct virtq_chain *chain)
{
	if (!virtq_has_next(q))
		return false;
	chain->places = 0;
	chain->out = chain->in = 0;
	chain->out_len = chain->in_len = 0;
	if (!kind_of(q)->pop(q, chain))
		return false;
	q->in_flight++;
	return true;
}

/* What the device wrote may have been code: said before the driver is told. */
static void mark_written(struct virtq *q, const struct virtq_chain *chain)
{
	for (unsigned i = 0; i < chain->in; i++) {
		const struct virtq_part *part = &chain->parts[chain->out + i];

		mem_written(q->mem, part->gpa, part->len);
	}
}

void virtq_push(struct virtq *q, const struct virtq_chain *chain, u32 written)
{
	mark_written(q, chain);
	q->in_flight--;
	if (is_usable(q))
		kind_of(q)->push(q, chain, written);
}

bool virtq_wants_interrupt(struct virtq *q)
{
	bool wants;

	if (!is_usable(q) || !q->regs->pushed)
		return false;
	/* What was pushed is seen before we look whether it is waited for. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	wants = kind_of(q)->wants_interrupt(q);
	q->regs->pushed = 0;
	return wants;
}

void virtq_silence(struct virtq *q)
{
	if (!is_usable(q) || q->silent)
		return;
	q->silent = true;
	kind_of(q)->silence(q);
}

bool virtq_listen(struct virtq *q)
{
	if (!is_usable(q))
		return false;
	q->silent = false;
	kind_of(q)->listen(q);
	/* The wish is seen before we look for the last time. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return virtq_has_next(q);
}
