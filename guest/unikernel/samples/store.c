/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References:
 * [1] RFC 3720, 12.1 and appendix B.4: CRC32C, its polynomial and test values
 */
#include "store.h"

enum {
	HEADER_MAGIC = 0x31564b56, /* "VKV1" */
	RECORD_MAGIC = 0x52564b56, /* "VKVR" */
	FLAG_DELETED = 1,
};

struct area_header {
	uint32_t magic;
	uint32_t sum; /* CRC32C of what follows */
	uint64_t generation;
	uint32_t block_size, area_blocks;
	uint32_t copied; /* records that were there when it was written */
	uint32_t start;	 /* what its first record has as `before` */
};

_Static_assert(sizeof(struct store_record) + STORE_KEY_MAX + STORE_VALUE_MAX <=
		       STORE_RECORD_MAX - STORE_BLOCK_MAX,
	       "a record and its padding have room");

/* ---- sums -------------------------------------------------------------- */

/* [1], reflected, bit by bit: records are short. */
static uint32_t crc32c(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t crc = ~0u;

	while (len--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static uint32_t header_sum(const struct area_header *h)
{
	return crc32c(&h->generation,
		      sizeof(*h) - offsetof(struct area_header, generation));
}

static size_t record_len(const struct store_record *r)
{
	return sizeof(*r) + r->key_len + r->value_len;
}

static uint32_t record_sum(const struct store_record *r)
{
	return crc32c(&r->generation,
		      record_len(r) -
			      offsetof(struct store_record, generation));
}

/* FNV-1a */
static uint64_t hash_of(struct store_text key)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < key.len; i++)
		hash = (hash ^ (uint8_t)key.data[i]) * 0x100000001b3;
	return hash;
}

/* ---- disk -------------------------------------------------------------- */

static uint64_t offset_of(const struct store *s, uint32_t area, uint32_t block)
{
	return ((uint64_t)area * s->area_blocks + block) * s->disk.block_size;
}

static uint32_t blocks_of(const struct store *s, size_t len)
{
	return (uint32_t)((len + s->disk.block_size - 1) / s->disk.block_size);
}

static struct store_record *record_of(struct store *s)
{
	return &s->record.head;
}

static struct store_text key_of(struct store *s)
{
	return (struct store_text){(const char *)s->record.bytes +
					   sizeof(struct store_record),
				   record_of(s)->key_len};
}

/* Blocks of the area in use to s->record, from its block `at` on. */
static bool read_blocks(struct store *s, uint32_t block, uint32_t at,
			uint32_t count)
{
	uint32_t size = s->disk.block_size;
	bool ok = block_read(&s->disk, offset_of(s, s->area, block + at),
			     s->record.bytes + (size_t)at * size,
			     (size_t)count * size);

	s->failed = s->failed || !ok;
	return ok;
}

/* The record at `block` to s->record. False: there is none. */
static bool read_record(struct store *s, uint32_t block)
{
	struct store_record *r = record_of(s);
	uint32_t blocks;

	if (block >= s->area_blocks || !read_blocks(s, block, 0, 1))
		return false;
	if (r->magic != RECORD_MAGIC || r->generation != s->generation ||
	    !r->key_len || r->key_len > STORE_KEY_MAX ||
	    r->value_len > STORE_VALUE_MAX)
		return false;
	blocks = blocks_of(s, record_len(r));
	if (blocks > s->area_blocks - block ||
	    (blocks > 1 && !read_blocks(s, block, 1, blocks - 1)))
		return false;
	return r->sum == record_sum(r);
}

/* s->record, with all but its links filled in, becomes the log's next. */
static bool append(struct store *s)
{
	struct store_record *r = record_of(s);
	size_t len = record_len(r);
	uint32_t blocks = blocks_of(s, len);

	r->magic = RECORD_MAGIC;
	r->generation = s->generation;
	r->before = s->last;
	r->sum = record_sum(r);
	memset(s->record.bytes + len, 0,
	       (size_t)blocks * s->disk.block_size - len);
	if (!block_write(&s->disk, offset_of(s, s->area, s->next),
			 s->record.bytes, (size_t)blocks * s->disk.block_size))
		return false;
	s->last = r->sum;
	s->next += blocks;
	return true;
}

static bool write_header(struct store *s, uint32_t copied)
{
	struct area_header h = {
		.magic = HEADER_MAGIC,
		.generation = s->generation,
		.block_size = s->disk.block_size,
		.area_blocks = s->area_blocks,
		.copied = copied,
		.start = s->start,
	};

	h.sum = header_sum(&h);
	memset(s->record.bytes, 0, s->disk.block_size);
	memcpy(s->record.bytes, &h, sizeof(h));
	return block_write(&s->disk, offset_of(s, s->area, 0), s->record.bytes,
			   s->disk.block_size);
}

/* ---- index ------------------------------------------------------------- */

/* The key's slot, or the free one where it would be. NULL: the disk failed. */
static struct store_slot *find(struct store *s, struct store_text key)
{
	uint64_t hash = hash_of(key);
	uint32_t at = (uint32_t)hash & s->slot_mask;

	for (;; at = (at + 1) & s->slot_mask) {
		struct store_slot *slot = &s->slots[at];

		if (!slot->block)
			return slot;
		if (slot->hash != hash)
			continue;
		if (!read_record(s, slot->block))
			return NULL;
		if (record_of(s)->key_len == key.len &&
		    !memcmp(key_of(s).data, key.data, key.len))
			return slot;
	}
}

/* Linear probing without tombstones: what the gap would hide moves into it. */
static void close_gap(struct store *s, struct store_slot *gone)
{
	uint32_t gap = (uint32_t)(gone - s->slots), at = gap;

	for (;;) {
		uint32_t home;

		at = (at + 1) & s->slot_mask;
		if (!s->slots[at].block)
			break;
		home = (uint32_t)s->slots[at].hash & s->slot_mask;
		if (((at - home) & s->slot_mask) < ((at - gap) & s->slot_mask))
			continue;
		s->slots[gap] = s->slots[at];
		gap = at;
	}
	s->slots[gap] = (struct store_slot){0};
}

/* The record that append() has put, or the scan has found, at `block`. */
static void note(struct store *s, struct store_slot *slot, uint32_t block,
		 struct store_slot fresh)
{
	s->live -= slot->block ? slot->blocks : 0;
	s->count -= slot->block ? 1 : 0;
	if (fresh.block) {
		fresh.block = block;
		*slot = fresh;
		s->live += fresh.blocks;
		s->count++;
	} else if (slot->block) {
		close_gap(s, slot);
	}
}

/* ---- opening ----------------------------------------------------------- */

static void forget(struct store *s)
{
	memset(s->slots, 0, ((size_t)s->slot_mask + 1) * sizeof(*s->slots));
	s->next = 1;
	s->live = s->count = 0;
}

/* One record of the log to the index. False: the log ends before it. */
static bool replay(struct store *s)
{
	char key[STORE_KEY_MAX];
	struct store_text text = {key, 0};
	struct store_slot fresh = {0};
	struct store_slot *slot;
	uint32_t sum, blocks;
	bool deleted;

	if (!read_record(s, s->next) || record_of(s)->before != s->last)
		return false;
	/* find() reads other records to the same place. */
	sum = record_of(s)->sum;
	blocks = blocks_of(s, record_len(record_of(s)));
	deleted = record_of(s)->flags & FLAG_DELETED;
	text.len = record_of(s)->key_len;
	memcpy(key, key_of(s).data, text.len);
	if (!deleted)
		fresh = (struct store_slot){hash_of(text), 1, blocks};
	slot = find(s, text);
	if (!slot)
		return false;
	note(s, slot, s->next, fresh);
	s->last = sum;
	s->next += blocks;
	return true;
}

/* False: not all that the header promises is there. */
static bool load(struct store *s, uint32_t area, const struct area_header *h)
{
	forget(s);
	s->area = area;
	s->generation = h->generation;
	s->start = s->last = h->start;
	for (uint32_t i = 0; i < h->copied; i++)
		if (!replay(s))
			return false;
	while (replay(s))
		;
	return true;
}

enum header_kind { HEADER_GOOD, HEADER_BLANK, HEADER_BAD };

/* A block of area `area`, to s->record. */
static bool is_blank(struct store *s, uint32_t area, uint32_t block)
{
	s->area = area;
	if (!read_blocks(s, block, 0, 1))
		return false;
	for (uint32_t i = 0; i < s->disk.block_size; i++)
		if (s->record.bytes[i])
			return false;
	return true;
}

static enum header_kind read_header(struct store *s, uint32_t area,
				    struct area_header *h)
{
	if (is_blank(s, area, 0))
		return HEADER_BLANK;
	memcpy(h, s->record.bytes, sizeof(*h));
	if (h->magic == HEADER_MAGIC && h->sum == header_sum(h) &&
	    h->block_size == s->disk.block_size &&
	    h->area_blocks == s->area_blocks)
		return HEADER_GOOD;
	h->generation = 0;
	return HEADER_BAD;
}

/* Nothing was ever kept: all is blank, but for a first header that was cut. */
static bool is_unused(struct store *s, const struct area_header *h,
		      const enum header_kind *kind)
{
	if (kind[1] != HEADER_BLANK || kind[0] == HEADER_GOOD)
		return false;
	return kind[0] == HEADER_BLANK ||
	       (h->magic == HEADER_MAGIC && is_blank(s, 0, 1));
}

/*
 * Random, so that what an earlier life of the area has left, or a move that
 * was cut, cannot continue the new log.
 */
static void start_log(struct store *s, uint32_t area)
{
	s->area = area;
	s->generation = ++s->newest;
	s->start = (uint32_t)random_number();
	s->last = s->start;
	s->next = 1;
}

static enum store_result format_disk(struct store *s)
{
	forget(s);
	start_log(s, 0);
	return write_header(s, 0) ? STORE_OK : STORE_FAILED;
}

static enum store_result load_newest(struct store *s)
{
	struct area_header h[2] = {{0}};
	enum header_kind kind[2];
	uint32_t first;

	s->failed = false;
	s->newest = 0;
	for (uint32_t i = 0; i < 2; i++)
		kind[i] = read_header(s, i, &h[i]);
	if (!s->failed && is_unused(s, &h[0], kind) && !s->failed)
		return format_disk(s);
	first = h[1].generation > h[0].generation;
	s->newest = h[first].generation;
	for (uint32_t i = 0; i < 2; i++, first = !first) {
		bool good =
			kind[first] == HEADER_GOOD && load(s, first, &h[first]);

		/* A log must not seem to end where it could not be read. */
		if (s->failed)
			return STORE_FAILED;
		if (good)
			return STORE_OK;
	}
	return STORE_FOREIGN;
}

static uint32_t area_blocks_of(const struct block *disk)
{
	uint64_t blocks = disk->capacity / 2 / disk->block_size;

	return blocks < INT32_MAX ? (uint32_t)blocks : INT32_MAX;
}

/* As many records as an area holds fill half of the slots at most. */
uint32_t store_slots(const struct block *disk)
{
	uint32_t slots = 16;

	while (slots / 2 < area_blocks_of(disk))
		slots *= 2;
	return slots;
}

enum store_result store_open(struct store *s, const struct block *disk)
{
	uint32_t slots = store_slots(disk);

	s->disk = *disk;
	s->area_blocks = area_blocks_of(disk);
	if (disk->block_size > STORE_BLOCK_MAX || s->area_blocks < 16)
		return STORE_SMALL;
	s->slot_mask = slots - 1;
	s->slots = memory_take((size_t)slots * sizeof(*s->slots), 64);
	if (!s->slots)
		return STORE_MEMORY;
	return load_newest(s);
}

/* ---- changes ----------------------------------------------------------- */

/* Where the copy of a record went, kept in the index of the old area. */
static bool copy_record(struct store *from, struct store *to,
			struct store_slot *slot)
{
	uint32_t at = to->next;

	if (!read_record(from, slot->block))
		return false;
	to->record = from->record;
	if (!append(to))
		return false;
	slot->block = at;
	return true;
}

/* After a failure the index is half of each area: all is read again. */
static enum store_result again(struct store *s)
{
	return load_newest(s) == STORE_OK ? STORE_FAILED : STORE_FOREIGN;
}

/* To the other area, leaving behind what no longer counts. */
static enum store_result move(struct store *s, struct store *to)
{
	memcpy(to, s, sizeof(*s));
	start_log(to, !s->area);
	for (uint32_t i = 0; i <= s->slot_mask; i++)
		if (s->slots[i].block && !copy_record(s, to, &s->slots[i]))
			return again(s);
	if (!write_header(to, s->count))
		return again(s);
	memcpy(s, to, sizeof(*s));
	return STORE_OK;
}

/* `spare` stays free: a full disk must be able to take a deletion. */
static enum store_result make_room(struct store *s, uint32_t blocks,
				   uint32_t spare)
{
	static struct store other; /* too big for the stack */

	if (s->live + blocks + spare > s->area_blocks - 1)
		return STORE_FULL;
	if (s->area_blocks - s->next >= blocks)
		return STORE_OK;
	return move(s, &other);
}

static enum store_result change(struct store *s, struct store_text key,
				struct store_text value, uint16_t flags)
{
	struct store_record head = {.value_len = (uint32_t)value.len,
				    .key_len = (uint16_t)key.len,
				    .flags = flags};
	uint32_t blocks = blocks_of(s, record_len(&head)), at;
	struct store_slot fresh = {0};
	enum store_result result = make_room(s, blocks, flags ? 0 : 1);
	struct store_slot *slot;

	if (result != STORE_OK)
		return result;
	slot = find(s, key);
	if (!slot)
		return STORE_FAILED;
	if (flags & FLAG_DELETED && !slot->block)
		return STORE_NONE;
	s->record.head = head;
	memcpy(s->record.bytes + sizeof(head), key.data, key.len);
	memcpy(s->record.bytes + sizeof(head) + key.len, value.data, value.len);
	at = s->next;
	if (!append(s))
		return STORE_FAILED;
	if (!(flags & FLAG_DELETED))
		fresh = (struct store_slot){hash_of(key), 1, blocks};
	note(s, slot, at, fresh);
	return STORE_OK;
}

enum store_result store_set(struct store *s, struct store_text key,
			    struct store_text value)
{
	if (!key.len || key.len > STORE_KEY_MAX || value.len > STORE_VALUE_MAX)
		return STORE_INVALID;
	return change(s, key, value, 0);
}

enum store_result store_delete(struct store *s, struct store_text key)
{
	const struct store_text nothing = {"", 0};

	if (!key.len || key.len > STORE_KEY_MAX)
		return STORE_INVALID;
	return change(s, key, nothing, FLAG_DELETED);
}

/* ---- questions --------------------------------------------------------- */

enum store_result store_get(struct store *s, struct store_text key,
			    struct store_text *value)
{
	struct store_slot *slot;

	if (!key.len || key.len > STORE_KEY_MAX)
		return STORE_INVALID;
	slot = find(s, key);
	if (!slot)
		return STORE_FAILED;
	if (!slot->block)
		return STORE_NONE;
	value->data = (const char *)s->record.bytes +
		      sizeof(struct store_record) + record_of(s)->key_len;
	value->len = record_of(s)->value_len;
	return STORE_OK;
}

enum store_result store_next(struct store *s, uint32_t *cursor,
			     struct store_text *key)
{
	for (; *cursor <= s->slot_mask; ++*cursor) {
		if (!s->slots[*cursor].block)
			continue;
		if (!read_record(s, s->slots[*cursor].block))
			return STORE_FAILED;
		*key = key_of(s);
		++*cursor;
		return STORE_OK;
	}
	return STORE_NONE;
}

const char *store_error(enum store_result result)
{
	static const char *const texts[] = {
		[STORE_OK] = "no error",
		[STORE_NONE] = "no such key",
		[STORE_INVALID] = "key or value too long, or no key",
		[STORE_FULL] = "the disk is full",
		[STORE_FAILED] = "the disk failed",
		[STORE_FOREIGN] = "the disk is neither empty nor a sound store",
		[STORE_SMALL] = "the disk is too small, or its blocks too big",
		[STORE_MEMORY] = "not enough memory for the index",
	};

	return texts[result];
}
