/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unikernel's key-value store (guest/unikernel/samples/store.c) on a disk
 * that loses power: at every block that a run writes, with that block torn at
 * several places, and with the last writes done in part and in any order.
 *
 * What the guest's library would do, block_read(), block_write() and
 * memory_take(), is done here.
 */
#include "unit.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "util/types.h"

enum {
	SIZE = 512,
	BLOCKS = 2 * 40,
	KEYS = 7,
	OPS = 160,
	VALUE_MAX = 1500,
	WRITES_MAX = 4096,
	NEVER = WRITES_MAX,
	LAST = 24, /* writes that may be lost or not, one by one */
};

/* One block that was written, and what had been there. */
struct write {
	u32 block;
	u8 old[SIZE], fresh[SIZE];
};

static u8 media[BLOCKS * SIZE];
static struct write writes[WRITES_MAX];
static unsigned write_count, cut_at, torn_at;
static bool read_fails;
static u8 arena[1 << 16] __attribute__((aligned(64)));

static const struct block disk = {1, SIZE, sizeof(media)};

void *memory_take(size_t len, size_t align)
{
	assert_true(len <= sizeof(arena) && align <= 64);
	memset(arena, 0, len);
	return arena;
}

static u32 next_random(u32 *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

/* Not the same twice is what counts. */
uint64_t random_number(void)
{
	static uint32_t state;

	return next_random(&state);
}

bool block_read(const struct block *block, uint64_t off, void *data, size_t len)
{
	assert_true(!(off % SIZE) && !(len % SIZE) &&
		    off + len <= sizeof(media));
	memcpy(data, media + off, len);
	return !read_fails;
}

bool block_write(const struct block *block, uint64_t off, const void *data,
		 size_t len)
{
	assert_true(!(off % SIZE) && !(len % SIZE) &&
		    off + len <= sizeof(media));
	for (size_t at = 0; at < len; at += SIZE) {
		u32 n = (u32)((off + at) / SIZE);
		struct write *w = &writes[write_count];

		if (write_count > cut_at)
			return false;
		w->block = n;
		memcpy(w->old, media + off + at, SIZE);
		memcpy(w->fresh, (const u8 *)data + at, SIZE);
		memcpy(media + off + at, w->fresh,
		       write_count == cut_at ? torn_at : SIZE);
		if (write_count++ == cut_at)
			return false;
		assert_true(write_count < WRITES_MAX);
	}
	return true;
}

/* ---- the model --------------------------------------------------------- */

/* A value is made of its number; 0: the key is not there. */
struct model {
	u32 value[KEYS];
	u32 pending_key, pending_value; /* a change whose answer did not come */
	bool pending;
};

static struct store_text key_text(u32 key, char *buf)
{
	int len = snprintf(buf, 32, "key-%u", key);

	return (struct store_text){buf, (size_t)len};
}

static struct store_text value_text(u32 number, char *buf)
{
	size_t len = number * 2654435761u % VALUE_MAX;

	for (size_t i = 0; i < len; i++)
		buf[i] = (char)(number + i * 7);
	return (struct store_text){buf, len};
}

/* A change; false where the disk no longer takes any. */
static bool change(struct store *s, struct model *m, u32 key, u32 number)
{
	char key_buf[32], value_buf[VALUE_MAX];
	struct store_text name = key_text(key, key_buf);
	enum store_result result;

	m->pending = true;
	m->pending_key = key;
	m->pending_value = number;
	if (number)
		result = store_set(s, name, value_text(number, value_buf));
	else
		result = store_delete(s, name);
	if (result == STORE_FAILED || result == STORE_FOREIGN)
		return false;
	m->pending = false;
	if (result == STORE_NONE)
		assert_int_equal(m->value[key], 0);
	else if (result == STORE_OK)
		m->value[key] = number;
	else
		assert_int_equal(result, STORE_FULL);
	return true;
}

static bool run(struct store *s, struct model *m, u32 seed, u32 ops)
{
	for (u32 i = 0; i < ops; i++) {
		u32 key = next_random(&seed) % KEYS;
		u32 number = next_random(&seed) % 4 ? seed % 100000 + 1 : 0;

		if (!change(s, m, key, number))
			return false;
	}
	return true;
}

static bool has(struct store *s, u32 key, u32 number)
{
	char key_buf[32], value_buf[VALUE_MAX];
	struct store_text want = value_text(number, value_buf), have;
	enum store_result result = store_get(s, key_text(key, key_buf), &have);

	if (!number)
		return result == STORE_NONE;
	return result == STORE_OK && have.len == want.len &&
	       !memcmp(have.data, want.data, want.len);
}

/* All is as the model has it; an unanswered change happened or did not. */
static void check(struct store *s, struct model *m)
{
	u32 count = 0;

	for (u32 key = 0; key < KEYS; key++) {
		if (m->pending && key == m->pending_key &&
		    has(s, key, m->pending_value))
			m->value[key] = m->pending_value;
		assert_true(has(s, key, m->value[key]));
		count += m->value[key] != 0;
	}
	m->pending = false;
	assert_int_equal(s->count, count);
}

static void power_on(void)
{
	write_count = 0;
	cut_at = NEVER;
	read_fails = false;
}

static struct store *open_store(struct store *s)
{
	memset(s, 0, sizeof(*s));
	assert_int_equal(store_open(s, &disk), STORE_OK);
	return s;
}

/* ---- tests ------------------------------------------------------------- */

static struct store store;

static void test_keeps(void **state)
{
	struct model m = {.pending = false};

	memset(media, 0, sizeof(media));
	power_on();
	open_store(&store);
	for (u32 i = 0; i < 20; i++) {
		write_count = 0;
		assert_true(run(&store, &m, i, OPS));
		check(&store, &m);
		check(open_store(&store), &m);
	}
	/* Areas have changed many times. */
	assert_true(store.generation > 20);
}

static void cut(u32 at, u32 torn)
{
	struct model m = {.pending = false};
	bool whole;

	memset(media, 0, sizeof(media));
	power_on();
	cut_at = at;
	torn_at = torn;
	memset(&store, 0, sizeof(store));
	whole = store_open(&store, &disk) == STORE_OK &&
		run(&store, &m, 1, OPS);
	assert_false(whole);
	power_on();
	check(open_store(&store), &m);
	assert_true(run(&store, &m, 2, 20));
	check(&store, &m);
	check(open_store(&store), &m);
}

static void test_cut_anywhere(void **state)
{
	static const u32 torn[] = {0, 7, 300, SIZE};
	struct model m = {.pending = false};
	u32 all;

	memset(media, 0, sizeof(media));
	power_on();
	open_store(&store);
	assert_true(run(&store, &m, 1, OPS));
	all = write_count;
	assert_true(all > 2 * OPS && store.generation > 3);
	for (u32 at = 0; at < all; at++)
		for (u32 i = 0; i < sizeof(torn) / sizeof(*torn); i++)
			cut(at, torn[i]);
}

/* Of the last writes each was done or was not; which is up to `seed`. */
static void lose_some(u32 seed)
{
	u32 first = write_count > LAST ? write_count - LAST : 1;

	for (u32 i = write_count; i-- > first;)
		memcpy(media + writes[i].block * SIZE, writes[i].old, SIZE);
	for (u32 i = first; i < write_count; i++)
		if (next_random(&seed) & 1)
			memcpy(media + writes[i].block * SIZE, writes[i].fresh,
			       SIZE);
}

/* What had been set, in order, and by which write each key first was. */
struct history {
	u32 known[OPS], count;
	u32 first[KEYS];
};

/*
 * What is there after a cut, as the store itself tells it: values that once
 * were set, and some value where the key was there before the lost writes.
 */
static void take_as_is(struct store *s, struct model *m,
		       const struct history *h)
{
	memset(m, 0, sizeof(*m));
	for (u32 key = 0; key < KEYS; key++) {
		bool old = h->first[key] && h->first[key] + LAST < write_count;
		bool found = !old && has(s, key, 0);

		for (u32 i = 0; i < h->count && !found; i++) {
			found = has(s, key, h->known[i]);
			if (found)
				m->value[key] = h->known[i];
		}
		assert_true(found);
	}
}

static void test_any_order(void **state)
{
	for (u32 round = 0; round < 400; round++) {
		struct model m = {.pending = false};
		struct history h = {.count = 0};
		u32 seed = round;

		memset(media, 0, sizeof(media));
		power_on();
		open_store(&store);
		for (u32 i = 0; i < round % OPS; i++) {
			u32 key = next_random(&seed) % KEYS;
			u32 number = next_random(&seed) % 100000 + 1;

			assert_true(change(&store, &m, key, number));
			h.known[h.count++] = number;
			if (!h.first[key])
				h.first[key] = write_count;
		}
		lose_some(round);
		cut_at = NEVER;
		take_as_is(open_store(&store), &m, &h);
		power_on();
		/* Nothing that was lost comes back by itself. */
		for (u32 i = 0; i < 8; i++) {
			assert_true(run(&store, &m, round + i, 1));
			check(open_store(&store), &m);
		}
	}
}

static void test_full(void **state)
{
	char key_buf[32], value_buf[STORE_VALUE_MAX] = {0};
	const struct store_text big = {value_buf, SIZE};
	u32 count = 0;

	memset(media, 0, sizeof(media));
	power_on();
	open_store(&store);
	while (store_set(&store, key_text(count, key_buf), big) == STORE_OK)
		count++;
	assert_int_equal(store_set(&store, key_text(count, key_buf), big),
			 STORE_FULL);
	assert_in_range(count, BLOCKS / 2 / 2 - 2, BLOCKS / 2 / 2);
	/* A full disk gives everything back. */
	for (u32 i = 0; i < count; i++)
		assert_int_equal(store_delete(&store, key_text(i, key_buf)),
				 STORE_OK);
	assert_int_equal(open_store(&store)->count, 0);
}

static void test_refuses(void **state)
{
	const struct store_text empty = {"", 0}, key = {"k", 1};
	struct store_text value = {(const char *)media, STORE_VALUE_MAX + 1};
	struct block small = {1, SIZE, 30 * SIZE}, wide = {1, 8192, 1 << 20};

	power_on();
	memset(&store, 0, sizeof(store));
	assert_int_equal(store_open(&store, &small), STORE_SMALL);
	assert_int_equal(store_open(&store, &wide), STORE_SMALL);
	memset(media, 'x', sizeof(media));
	assert_int_equal(store_open(&store, &disk), STORE_FOREIGN);
	for (size_t i = 0; i < sizeof(media); i++)
		assert_int_equal(media[i], 'x');

	memset(media, 0, sizeof(media));
	open_store(&store);
	assert_int_equal(store_set(&store, empty, key), STORE_INVALID);
	assert_int_equal(store_set(&store, key, value), STORE_INVALID);
	value.len = 1;
	assert_int_equal(store_set(&store, key, value), STORE_OK);

	/* A log that cannot be read has no end that may be written to. */
	read_fails = true;
	assert_int_equal(store_open(&store, &disk), STORE_FAILED);
	assert_int_equal(store_get(&store, key, &value), STORE_NONE);
}

static void test_commands(void **state)
{
	static const struct {
		const char *line, *reply;
	} cases[] = {
		{"set a one two", "OK\n"},
		{"get a", "VALUE one two\n"},
		{"get a\r", "VALUE one two\n"},
		{"set b ", "OK\n"},
		{"get b", "VALUE \n"},
		{"count", "COUNT 2\n"},
		{"del a", "OK\n"},
		{"del a", "NONE\n"},
		{"get a", "NONE\n"},
		{"get", "ERROR key or value too long, or no key\n"},
		{"set", "ERROR key or value too long, or no key\n"},
		{"get a b", "ERROR set KEY VALUE, get KEY, del KEY, count, "
			    "keys\n"},
		{"", "ERROR set KEY VALUE, get KEY, del KEY, count, keys\n"},
	};
	struct command_list list = {0};
	char reply[COMMAND_REPLY];

	memset(media, 0, sizeof(media));
	power_on();
	open_store(&store);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct store_text line = {cases[i].line, strlen(cases[i].line)};
		size_t len = command_run(&store, line, reply, &list);

		assert_int_equal(len, strlen(cases[i].reply));
		assert_memory_equal(reply, cases[i].reply, len);
	}
	assert_int_equal(command_run(&store, (struct store_text){"keys", 4},
				     reply, &list),
			 0);
	assert_int_equal(command_next(&store, &list, reply), 6);
	assert_memory_equal(reply, "KEY b\n", 6);
	assert_int_equal(command_next(&store, &list, reply), 4);
	assert_memory_equal(reply, "END\n", 4);
	assert_false(list.active);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keeps),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_refuses),
		cmocka_unit_test(test_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
