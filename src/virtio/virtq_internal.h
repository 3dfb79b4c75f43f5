/* SPDX-License-Identifier: Apache-2.0 */
/* What the two kinds of ring share. Sibling files only. */
#pragma once

#include "virtio/virtq.h"

/* [1] 2.7.5 and 2.8.5: the bits are the same ones in both. */
enum virtq_desc_flags {
	VIRTQ_DESC_NEXT = 1 << 0,
	VIRTQ_DESC_WRITE = 1 << 1,
	VIRTQ_DESC_INDIRECT = 1 << 2,
	VIRTQ_DESC_AVAIL = 1 << 7, /* packed only, and the next one */
	VIRTQ_DESC_USED = 1 << 15,
};

/* Both descriptors are 16 bytes: where, how much, and then two words. */
struct virtq_desc {
	u64 addr;
	u32 len;
	union {
		struct {
			u16 flags, next;
		} split;
		struct {
			u16 id, flags;
		} packed;
	};
};
_Static_assert(sizeof(struct virtq_desc) == 16, "[1] 2.7.5, 2.8.13");

/* Appends a part, of a guest's descriptor; false: the queue is broken. */
bool virtq_add_part(struct virtq *q, struct virtq_chain *chain,
		    const struct virtq_desc *desc, u16 flags);
/* How many descriptors an indirect one leads to; 0: broken. */
unsigned virtq_indirect_count(struct virtq *q, const struct virtq_desc *desc);
/* Marks the queue broken, and says false. */
bool virtq_break(struct virtq *q, const char *why);
/* [1] 2.7.10: is `event` among the places (old, new]? */
static inline bool virtq_passes(u16 event, u16 new, u16 old)
{
	return (u16)(new - event - 1) < (u16)(new - old);
}

/* One kind of ring, as virtq.h has the functions. */
struct virtq_kind {
	bool (*is_valid)(const struct virtq *q);
	bool (*has_next)(const struct virtq *q);
	bool (*pop)(struct virtq *q, struct virtq_chain *chain);
	void (*push)(struct virtq *q, const struct virtq_chain *chain,
		     u32 written);
	bool (*wants_interrupt)(struct virtq *q);
	void (*silence)(struct virtq *q);
	void (*listen)(struct virtq *q);
};

extern const struct virtq_kind virtq_split;
extern const struct virtq_kind virtq_packed;
