/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and values on a block device, safe against a cut at any moment.
 *
 * Layout. The disk is two areas of the same size; each has a header in its
 * first block and records behind it, which begin at block boundaries. One area
 * is in use, records are only ever appended to it. When it is full, the
 * records that still count are copied to the other area and its header is
 * written last: that one block is the switch.
 *
 * Why it is safe. What has been written is not written again before its area
 * has been left for the other one, so that no cut can harm an older record. A
 * record is valid by its checksum, which covers the checksum of the record
 * before, the first one's a random number in the header: the log ends at the
 * first record that is torn, missing or a leftover of an earlier life of the
 * area. A header says how many records were copied and is believed only if all
 * of them are there; else the other area, which still has them, is in use. This
 * also holds where the disk writes in another order than it was told, but for a
 * whole life of an area.
 *
 * A change is there when store_set() has returned, as far as block_write()
 * (unikernel.h) promises that.
 *
 * Owned by the caller; one thread.
 */
#pragma once

#include <unikernel.h>

enum {
	STORE_KEY_MAX = 255,
	STORE_VALUE_MAX = 4096,
	STORE_BLOCK_MAX = 4096,
	STORE_RECORD_MAX =
		3 * STORE_BLOCK_MAX, /* header, key, value, padding */
};

enum store_result {
	STORE_OK,
	STORE_NONE,    /* no such key */
	STORE_INVALID, /* no key, or key or value too long */
	STORE_FULL,    /* the disk has no room for it */
	STORE_FAILED,  /* the disk failed, or no longer has what it had */
	STORE_FOREIGN, /* the disk holds something else, or is damaged */
	STORE_SMALL,   /* the disk has no room for a store, or blocks too big */
	STORE_MEMORY,  /* not enough memory for the index */
};

/* As on the disk; key and value follow. */
struct store_record {
	uint32_t magic;
	uint32_t sum; /* CRC32C of what follows, key and value included */
	uint64_t generation;
	uint32_t before; /* the sum of the record before */
	uint32_t value_len;
	uint16_t key_len;
	uint16_t flags;
	uint32_t pad;
};

/* Where a key's record is; block 0: none. */
struct store_slot {
	uint64_t hash;
	uint32_t block, blocks; /* within the area */
};

struct store {
	struct block disk;
	uint32_t area_blocks;
	uint32_t area;	     /* in use, 0 or 1 */
	uint64_t generation; /* of that area; the other one's is another */
	uint64_t newest;     /* the highest generation on the disk */
	uint32_t next;	     /* block that the next record goes to */
	uint32_t start;	     /* what the area's first record follows */
	uint32_t last;	     /* checksum of the record before it */
	uint32_t live;	     /* blocks of all records that count */
	uint32_t count;	     /* keys */
	uint32_t slot_mask;
	struct store_slot *slots;
	bool failed; /* a read failed, so that what is there is not known */
	union {	     /* work space */
		struct store_record head;
		uint8_t bytes[STORE_RECORD_MAX];
	} record;
};

/*
 * What is on the disk; an empty one (its two header blocks are zero) becomes a
 * store. `s` is all zero before.
 */
enum store_result store_open(struct store *s, const struct block *disk);

/* How many slots store_open() will ask memory_take() for. */
uint32_t store_slots(const struct block *disk);

/* Strings with their lengths; a value may hold any bytes. */
struct store_text {
	const char *data;
	size_t len;
};

enum store_result store_set(struct store *s, struct store_text key,
			    struct store_text value);
enum store_result store_delete(struct store *s, struct store_text key);

/* The value lies in `s` until the next call. */
enum store_result store_get(struct store *s, struct store_text key,
			    struct store_text *value);

/*
 * The keys in no order: `cursor` is 0 at first; STORE_NONE behind the last. A
 * change in between may hide or repeat keys.
 */
enum store_result store_next(struct store *s, uint32_t *cursor,
			     struct store_text *key);

const char *store_error(enum store_result result);
