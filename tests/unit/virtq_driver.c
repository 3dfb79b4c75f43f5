/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reference: [1] OASIS VIRTIO 1.2, 2.7 (split) and 2.8 (packed), the driver's
 * requirements.
 */
#include "unit.h"

#include "virtq_driver.h"

#include <string.h>

enum { NEXT = 1, WRITE = 2, INDIRECT = 4, AVAIL = 1 << 7, USED = 1 << 15 };

static bool is_packed(const struct driver *d)
{
	return d->features & VIRTQ_F_PACKED;
}

static bool has_events(const struct driver *d)
{
	return d->features & VIRTQ_F_EVENT_IDX;
}

static void put(struct driver *d, gpa_t gpa, u64 val, unsigned width)
{
	assert_true(mem_write(d->mem, gpa, &val, width));
}

static u64 get(const struct driver *d, gpa_t gpa, unsigned width)
{
	u64 val = 0;

	assert_true(mem_read(d->mem, gpa, &val, width));
	return val;
}

void driver_init(struct driver *d, struct guest_mem *mem, gpa_t base, u16 size,
		 u64 features)
{
	memset(d, 0, sizeof(*d));
	d->mem = mem;
	d->features = features;
	d->size = d->free = size;
	d->desc = base;
	d->driver = base + 16 * VIRTQ_MAX_SIZE;
	d->device = d->driver + KIB(2);
	d->tables = d->device + KIB(4);
	d->avail_wrap = d->used_wrap = true;
	for (u16 i = 0; i < size; i++)
		d->next_free[i] = (u16)(i + 1);
	assert_true(mem_zero(mem, base, DRIVER_MEMORY));
}

void driver_regs(const struct driver *d, struct virtq_regs *regs)
{
	regs->desc = d->desc;
	regs->driver = d->driver;
	regs->device = d->device;
	regs->size = d->size;
}

static void put_desc(struct driver *d, gpa_t at, const struct virtq_part *part,
		     u16 third, u16 fourth)
{
	put(d, at, part->gpa, 8);
	put(d, at + 8, part->len, 4);
	put(d, at + 12, third, 2);
	mem_store16(d->mem, at + 14, fourth);
}

/* The parts as an indirect table, and the one part that leads to it. */
static struct virtq_part put_table(struct driver *d, u16 id,
				   const struct virtq_part *parts, unsigned out,
				   unsigned count)
{
	gpa_t table = d->tables + (gpa_t)id * 16 * DRIVER_MAX_PARTS;

	for (unsigned i = 0; i < count; i++) {
		u16 flags = i < out ? 0 : WRITE;

		if (is_packed(d))
			put_desc(d, table + 16 * i, &parts[i], 0, flags);
		else
			put_desc(d, table + 16 * i, &parts[i],
				 flags | (i + 1 < count ? NEXT : 0),
				 (u16)(i + 1));
	}
	return (struct virtq_part){table, 16 * count};
}

/* ---- adding -------------------------------------------------------------- */

static u16 take_free(struct driver *d)
{
	u16 id = d->first_free;

	d->first_free = d->next_free[id];
	d->free--;
	return id;
}

static void add_split(struct driver *d, const struct virtq_part *parts,
		      unsigned out, unsigned count, u16 more)
{
	u16 head = d->first_free;

	for (unsigned i = 0; i < count; i++) {
		u16 at = take_free(d);
		u16 flags = (i < out ? 0 : WRITE) | more |
			    (i + 1 < count ? NEXT : 0);

		put_desc(d, d->desc + 16 * at, &parts[i], flags, d->first_free);
	}
	put(d, d->driver + 4 + 2 * (d->avail % d->size), head, 2);
	d->avail++;
	mem_store16(d->mem, d->driver + 2, d->avail);
}

/* The first descriptor's flags last: they give the chain away. */
static void add_packed(struct driver *d, const struct virtq_part *parts,
		       unsigned out, unsigned count, u16 id)
{
	u16 more = count ? 0 : INDIRECT;
	gpa_t first = d->desc + 16 * d->avail + 14;
	u16 first_flags = 0;

	count = count ? count : 1;
	for (unsigned i = 0; i < count; i++) {
		u16 flags = (u16)((i < out || more ? 0 : WRITE) | more |
				  (i + 1 < count ? NEXT : 0) |
				  (d->avail_wrap ? AVAIL : USED));
		gpa_t at = d->desc + 16 * d->avail;

		put_desc(d, at, &parts[i], id,
			 i ? flags : (u16)get(d, at + 14, 2));
		if (!i)
			first_flags = flags;
		if (++d->avail == d->size) {
			d->avail = 0;
			d->avail_wrap = !d->avail_wrap;
		}
	}
	d->free = (u16)(d->free - count);
	mem_store16(d->mem, first, first_flags);
}

/* An id that no buffer has; in a split ring the first free descriptor is it. */
static u16 free_id(const struct driver *d)
{
	u16 id = 0;

	if (!is_packed(d))
		return d->first_free;
	while (d->buffers[id].token)
		id++;
	return id;
}

bool driver_add(struct driver *d, const struct virtq_part *parts, unsigned out,
		unsigned in, void *token)
{
	unsigned count = out + in;
	bool indirect = (d->features & VIRTQ_F_INDIRECT) && count > 1;
	unsigned places = indirect ? 1 : count;
	struct virtq_part table;
	u16 id;

	assert_in_range(count, 1, DRIVER_MAX_PARTS);
	if (places > d->free)
		return false;
	id = free_id(d);
	assert_null(d->buffers[id].token);
	d->buffers[id] = (struct driver_buffer){token, (u16)places};
	if (indirect)
		table = put_table(d, id, parts, out, count);
	if (is_packed(d))
		add_packed(d, indirect ? &table : parts, out,
			   indirect ? 0 : count, id);
	else if (indirect)
		add_split(d, &table, 1, 1, INDIRECT);
	else
		add_split(d, parts, out, count, 0);
	d->added = (u16)(d->added + (is_packed(d) ? places : 1));
	return true;
}

static bool passes(u16 event, u16 new, u16 old)
{
	return (u16)(new - event - 1) < (u16)(new - old);
}

bool driver_kick_wanted(struct driver *d)
{
	u16 old = (u16)(d->avail - d->added), event;

	if (!d->added)
		return false;
	d->added = 0;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (is_packed(d)) {
		u16 flags = mem_load16(d->mem, d->device + 2);

		if (flags != 2)
			return flags == 0;
		event = mem_load16(d->mem, d->device);
		if (event >> 15 != d->avail_wrap)
			event = (u16)((event & 0x7fff) - d->size);
		else
			event &= 0x7fff;
		return passes(event, d->avail, old);
	}
	if (!has_events(d))
		return !(mem_load16(d->mem, d->device) & 1);
	event = mem_load16(d->mem, d->device + 4 + 8 * d->size);
	return passes(event, d->avail, old);
}

/* ---- getting back -------------------------------------------------------- */

static bool has_used(const struct driver *d)
{
	u16 flags;

	if (!is_packed(d))
		return mem_load16(d->mem, d->device + 2) != d->used;
	flags = mem_load16(d->mem, d->desc + 16 * d->used + 14);
	return !(flags & AVAIL) == !(flags & USED) &&
	       !(flags & USED) == !d->used_wrap;
}

static u16 get_split(struct driver *d, u32 *written)
{
	gpa_t entry = d->device + 4 + 8 * (d->used % d->size);
	u64 id = get(d, entry, 4);

	assert_true(id < d->size);
	*written = (u32)get(d, entry + 4, 4);
	d->used++;
	for (u16 i = 0, at = (u16)id; i < d->buffers[id].places; i++) {
		u16 next = (u16)get(d, d->desc + 16 * at + 14, 2);

		d->next_free[at] = d->first_free;
		d->first_free = at;
		d->free++;
		at = next;
	}
	return (u16)id;
}

static u16 get_packed(struct driver *d, u32 *written)
{
	gpa_t entry = d->desc + 16 * d->used;
	u64 id = get(d, entry + 12, 2);

	assert_true(id < d->size);
	*written = (u32)get(d, entry + 8, 4);
	d->used = (u16)(d->used + d->buffers[id].places);
	d->free = (u16)(d->free + d->buffers[id].places);
	if (d->used >= d->size) {
		d->used = (u16)(d->used - d->size);
		d->used_wrap = !d->used_wrap;
	}
	return (u16)id;
}

void *driver_get(struct driver *d, u32 *written)
{
	void *token;
	u16 id;

	if (!has_used(d))
		return NULL;
	id = is_packed(d) ? get_packed(d, written) : get_split(d, written);
	token = d->buffers[id].token;
	assert_non_null(token);
	d->buffers[id].token = NULL;
	return token;
}

void driver_silence(struct driver *d)
{
	if (is_packed(d))
		mem_store16(d->mem, d->driver + 2, 1);
	else if (!has_events(d))
		mem_store16(d->mem, d->driver, 1);
}

bool driver_listen(struct driver *d)
{
	if (is_packed(d)) {
		mem_store16(d->mem, d->driver,
			    (u16)(d->used | d->used_wrap << 15));
		mem_store16(d->mem, d->driver + 2, has_events(d) ? 2 : 0);
	} else if (has_events(d)) {
		mem_store16(d->mem, d->driver + 4 + 2 * d->size, d->used);
	} else {
		mem_store16(d->mem, d->driver, 0);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return has_used(d);
}
