/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtqueues: a driver and a device take turns at random, each asleep until the
 * other has a reason to tell it something; nothing is lost and nobody sleeps
 * for ever. Then drivers that lie.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "vm_fixture.h"
#include "virtq_driver.h"

enum { RING = 0x10000, DATA = 0x40000, BUFFER = 64 };

struct bench {
	struct guest_mem mem;
	struct virtq_regs regs;
	struct virtq q;
	struct driver d;
};

static void bench_start(struct bench *b, u16 size, u64 features)
{
	struct err err = {0};

	memset(b, 0, sizeof(*b));
	assert_int_equal(mem_init(&b->mem, MIB(1), &err), 0);
	b->q.mem = &b->mem;
	b->q.max_size = VIRTQ_MAX_SIZE;
	b->q.regs = &b->regs;
	virtq_reset(&b->q);
	driver_init(&b->d, &b->mem, RING, size, features);
	driver_regs(&b->d, &b->regs);
	virtq_enable(&b->q, features);
	assert_false(b->q.broken);
}

static void bench_end(struct bench *b)
{
	mem_fini(&b->mem);
}

/* ---- random schedules ---------------------------------------------------- */

enum { MAX_HELD = 16, BUFFERS = 70000 };

struct buffer {
	struct virtq_part parts[DRIVER_MAX_PARTS];
	unsigned out, in;
	u32 want; /* what the device will say it wrote */
	bool busy;
};

struct play {
	struct bench b;
	u32 seed;
	struct buffer buffers[VIRTQ_MAX_SIZE];
	unsigned added, got, kicks, interrupts;
	bool device_sleeps, driver_sleeps;
	struct virtq_chain held[MAX_HELD]; /* popped, not pushed */
	unsigned held_count;
};

static u32 roll(struct play *p, u32 sides)
{
	return fixture_random(&p->seed) % sides;
}

static void make_buffer(struct play *p, struct buffer *buffer)
{
	gpa_t at =
		DATA + (gpa_t)(buffer - p->buffers) * BUFFER * DRIVER_MAX_PARTS;

	buffer->out = roll(p, 4);
	buffer->in = roll(p, 4) + !buffer->out;
	buffer->want = 0;
	for (unsigned i = 0; i < buffer->out + buffer->in; i++) {
		buffer->parts[i] = (struct virtq_part){at + i * BUFFER,
						       1 + roll(p, BUFFER)};
		if (i >= buffer->out)
			buffer->want += buffer->parts[i].len;
	}
}

static void driver_turn(struct play *p)
{
	struct buffer *buffer;
	unsigned count = roll(p, 6);
	u32 written;

	while ((buffer = driver_get(&p->b.d, &written))) {
		assert_true(buffer->busy);
		assert_int_equal(written, buffer->want);
		buffer->busy = false;
		p->got++;
	}
	for (unsigned i = 0; i < p->b.d.size && count; i++) {
		buffer = &p->buffers[i];
		if (buffer->busy || p->added == BUFFERS)
			continue;
		make_buffer(p, buffer);
		if (!driver_add(&p->b.d, buffer->parts, buffer->out, buffer->in,
				buffer))
			break;
		buffer->busy = true;
		p->added++;
		count--;
	}
	if (driver_kick_wanted(&p->b.d)) {
		p->kicks++;
		p->device_sleeps = false;
	}
	if (roll(p, 2))
		driver_silence(&p->b.d);
	p->driver_sleeps = roll(p, 2) && !driver_listen(&p->b.d);
}

static struct buffer *buffer_of(struct play *p, const struct virtq_chain *chain)
{
	return &p->buffers[(chain->parts[0].gpa - DATA) /
			   (BUFFER * DRIVER_MAX_PARTS)];
}

static void device_pop(struct play *p)
{
	struct virtq_chain *chain = &p->held[p->held_count];
	const struct buffer *buffer;

	if (p->held_count == MAX_HELD || !virtq_pop(&p->b.q, chain))
		return;
	buffer = buffer_of(p, chain);
	assert_true(buffer->busy);
	assert_int_equal(chain->out, buffer->out);
	assert_int_equal(chain->in, buffer->in);
	for (unsigned i = 0; i < chain->out + chain->in; i++) {
		assert_true(chain->parts[i].gpa == buffer->parts[i].gpa);
		assert_int_equal(chain->parts[i].len, buffer->parts[i].len);
	}
	p->held_count++;
}

/* Any of those it holds: out of order. */
static void device_push(struct play *p)
{
	unsigned i;

	if (!p->held_count)
		return;
	i = roll(p, p->held_count);
	virtq_push(&p->b.q, &p->held[i], (u32)p->held[i].in_len);
	p->held[i] = p->held[--p->held_count];
}

static void device_turn(struct play *p)
{
	unsigned count = roll(p, 8);

	while (count--)
		roll(p, 2) ? device_pop(p) : device_push(p);
	if (virtq_wants_interrupt(&p->b.q)) {
		p->interrupts++;
		p->driver_sleeps = false;
	}
	if (roll(p, 2))
		virtq_silence(&p->b.q);
	/* With what it holds it does not go to sleep for long. */
	p->device_sleeps =
		roll(p, 2) && !p->held_count && !virtq_listen(&p->b.q);
	assert_false(p->b.q.broken);
}

static void play(u16 size, u64 features, u32 seed)
{
	struct play *p = calloc(1, sizeof(*p));
	unsigned idle = 0;

	assert_non_null(p);
	p->seed = seed;
	bench_start(&p->b, size, features);
	while (p->got < BUFFERS) {
		bool driver = roll(p, 2);

		if (driver ? p->driver_sleeps : p->device_sleeps) {
			/* With both asleep the driver may want to send more;
			 * but what is under way would never come. */
			if (p->driver_sleeps && p->device_sleeps) {
				assert_int_equal(p->got, p->added);
				p->driver_sleeps = false;
			}
			assert_true(++idle < 1000);
			continue;
		}
		idle = 0;
		driver ? driver_turn(p) : device_turn(p);
	}
	assert_int_equal(p->added, BUFFERS);
	assert_int_equal(p->b.q.in_flight, 0);
	assert_true(p->kicks < BUFFERS && p->interrupts < BUFFERS);
	bench_end(&p->b);
	free(p);
}

static void play_all(u64 kind)
{
	static const u16 sizes[] = {1, 2, 8, 64, 256};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		for (unsigned more = 0; more < 4; more++) {
			u64 features = kind;

			features |= more & 1 ? VIRTQ_F_EVENT_IDX : 0;
			features |= more & 2 ? VIRTQ_F_INDIRECT : 0;
			/* Direct chains need places. */
			if (sizes[i] < 8 && !(more & 2))
				continue;
			play(sizes[i], features, 1 + more);
		}
}

static void test_split(void **state)
{
	play_all(0);
}

static void test_packed(void **state)
{
	play_all(VIRTQ_F_PACKED);
	/* Any number of places. */
	play(7, VIRTQ_F_PACKED | VIRTQ_F_EVENT_IDX, 9);
	play(100, VIRTQ_F_PACKED | VIRTQ_F_EVENT_IDX | VIRTQ_F_INDIRECT, 10);
}

/* ---- drivers that lie ---------------------------------------------------- */

static u64 desc_at(const struct bench *b, unsigned i)
{
	return b->d.desc + 16 * i;
}

/* What follows is in the upper half of `flags`: NEXT | TO(2). */
#define TO(next) ((u32)(next) << 16)

static void put_desc(struct bench *b, gpa_t at, u64 addr, u32 len, u32 flags)
{
	bool packed = b->q.features & VIRTQ_F_PACKED;
	u16 next = (u16)(flags >> 16);
	struct {
		u64 addr;
		u32 len;
		u16 third, fourth;
	} desc = {addr, len, packed ? next : (u16)flags,
		  packed ? (u16)(flags | 1 << 7) : next};

	assert_true(mem_write(&b->mem, at, &desc, sizeof(desc)));
}

/* Split: head 0 is available. (Packed descriptors make themselves so.) */
static void offer(struct bench *b)
{
	mem_store16(&b->mem, b->d.driver + 2, 1);
}

static struct virtq_chain chain;

static void expect_broken(struct bench *b)
{
	offer(b);
	assert_false(virtq_pop(&b->q, &chain));
	assert_true(b->q.broken);
	assert_int_equal(b->q.in_flight, 0);
	/* And so it stays. */
	assert_false(virtq_has_next(&b->q));
	assert_false(virtq_listen(&b->q));
	assert_false(virtq_wants_interrupt(&b->q));
	bench_end(b);
}

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

static const u64 kinds[] = {VIRTQ_F_INDIRECT,
			    VIRTQ_F_INDIRECT | VIRTQ_F_PACKED};

#define EACH_KIND(b, body)                                          \
	for (unsigned kind = 0; kind < ARRAY_SIZE(kinds); kind++) { \
		bench_start(b, 8, kinds[kind]);                     \
		body;                                               \
		expect_broken(b);                                   \
	}

/* A part outside RAM, over its end, round the end of the address space. */
static void test_parts_outside_ram(void **state)
{
	static const struct {
		u64 addr;
		u32 len;
	} cases[] = {
		{MIB(1), 1},	     {MIB(1) - 4, 8}, {0, 0x100001},
		{0xffffffffffff, 1}, {UINT64_MAX, 2}, {0x1000, 0xffffffff},
		{0xe0000000, 4096},  {UINT64_MAX, 0},
	};
	struct bench b;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		EACH_KIND(&b, put_desc(&b, desc_at(&b, 0), cases[i].addr,
				       cases[i].len, WRITE));
}

static void test_read_behind_write(void **state)
{
	struct bench b;

	EACH_KIND(&b, {
		put_desc(&b, desc_at(&b, 0), DATA, 8, WRITE | NEXT | TO(1));
		put_desc(&b, desc_at(&b, 1), DATA, 8, 0);
	});
}

/* CVE-2016-6490: nothing in them, and they go on for ever. */
static void test_loops(void **state)
{
	struct bench b;

	EACH_KIND(&b, {
		for (u16 i = 0; i < 8; i++)
			put_desc(&b, desc_at(&b, i), DATA, 0,
				 NEXT | TO((i + 1) % 8));
	});
	/* One that leads to itself. */
	bench_start(&b, 8, 0);
	put_desc(&b, desc_at(&b, 0), DATA, 8, NEXT);
	expect_broken(&b);
}

static void test_links_that_lead_nowhere(void **state)
{
	struct bench b;

	bench_start(&b, 8, 0);
	put_desc(&b, desc_at(&b, 0), DATA, 8, NEXT | TO(8));
	expect_broken(&b);
	bench_start(&b, 8, 0);
	mem_store16(&b.mem, b.d.driver + 4, 0xffff); /* a head */
	expect_broken(&b);
}

/* CVE-2019-14835, CVE-2020-10722: indirect tables. */
static void test_indirect_tables(void **state)
{
	static const struct {
		u64 addr;
		u32 len, flags;
	} cases[] = {
		{DATA, 0, INDIRECT},
		{DATA, 15, INDIRECT},
		{DATA, 17, INDIRECT},
		{DATA, 16 * (VIRTQ_MAX_SIZE + 1), INDIRECT},
		{DATA, 0xfffffff0, INDIRECT},
		{MIB(1) - 16, 32, INDIRECT},
		{UINT64_MAX - 15, 16, INDIRECT},
		{DATA, 16, INDIRECT | NEXT},
	};
	struct bench b;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		EACH_KIND(&b, put_desc(&b, desc_at(&b, 0), cases[i].addr,
				       cases[i].len, cases[i].flags));
	/* In a table: one more table, a loop, a link behind its end. */
	bench_start(&b, 8, VIRTQ_F_INDIRECT);
	put_desc(&b, desc_at(&b, 0), DATA, 32, INDIRECT);
	put_desc(&b, DATA, DATA, 32, INDIRECT);
	expect_broken(&b);
	bench_start(&b, 8, VIRTQ_F_INDIRECT);
	put_desc(&b, desc_at(&b, 0), DATA, 32, INDIRECT);
	put_desc(&b, DATA, DATA, 8, NEXT | TO(1));
	put_desc(&b, DATA + 16, DATA, 8, NEXT);
	expect_broken(&b);
	bench_start(&b, 8, VIRTQ_F_INDIRECT);
	put_desc(&b, desc_at(&b, 0), DATA, 32, INDIRECT);
	put_desc(&b, DATA, DATA, 8, NEXT | TO(2));
	expect_broken(&b);
	/* Not agreed. */
	bench_start(&b, 8, 0);
	put_desc(&b, desc_at(&b, 0), DATA, 32, INDIRECT);
	expect_broken(&b);
}

/* Parts before a table and in it: together no more than there may be. */
static void test_long_chains(void **state)
{
	struct bench b;

	for (unsigned over = 0; over < 2; over++) {
		bench_start(&b, 8, VIRTQ_F_INDIRECT);
		put_desc(&b, desc_at(&b, 0), DATA, 8, NEXT | TO(1));
		put_desc(&b, desc_at(&b, 1), DATA,
			 16 * (VIRTQ_MAX_SIZE - 1 + over), INDIRECT);
		for (unsigned i = 0; i < VIRTQ_MAX_SIZE - 1 + over; i++)
			put_desc(
				&b, DATA + 16 * i, DATA, 8,
				(i + 1 < VIRTQ_MAX_SIZE - 1 + over ? NEXT : 0) |
					TO(i + 1));
		if (over) {
			expect_broken(&b);
			continue;
		}
		offer(&b);
		assert_true(virtq_pop(&b.q, &chain));
		assert_int_equal(chain.out, VIRTQ_MAX_SIZE);
		bench_end(&b);
	}
}

/* CVE-2016-5403: more buffers than the ring has. */
static void test_too_much_available(void **state)
{
	struct bench b;

	bench_start(&b, 8, 0);
	put_desc(&b, desc_at(&b, 0), DATA, 8, 0);
	mem_store16(&b.mem, b.d.driver + 2, 9);
	assert_false(virtq_pop(&b.q, &chain));
	assert_true(b.q.broken);
	bench_end(&b);
}

static void test_empty_parts_are_left_out(void **state)
{
	struct bench b;

	bench_start(&b, 8, 0);
	put_desc(&b, desc_at(&b, 0), DATA, 0, NEXT | TO(1));
	put_desc(&b, desc_at(&b, 1), DATA, 8, WRITE);
	offer(&b);
	assert_true(virtq_pop(&b.q, &chain));
	assert_int_equal(chain.out, 0);
	assert_int_equal(chain.in, 1);
	bench_end(&b);
}

static void expect_refused(struct bench *b, u64 features)
{
	virtq_enable(&b->q, features);
	assert_true(b->q.broken);
	assert_false(virtq_has_next(&b->q));
	driver_regs(&b->d, &b->regs);
}

/* Rings over the end of RAM, misaligned, of a size that is none. */
static void test_rings_that_cannot_be(void **state)
{
	struct bench b;

	for (unsigned kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		u64 features = kinds[kind];
		u64 *addrs[] = {&b.regs.desc, &b.regs.driver, &b.regs.device};
		static const u64 bad[] = {MIB(1),   MIB(1) - 2, UINT64_MAX - 1,
					  RING + 1, 0xfee00000, GIB(4)};

		bench_start(&b, 64, features);
		for (unsigned i = 0; i < ARRAY_SIZE(addrs); i++)
			for (unsigned j = 0; j < ARRAY_SIZE(bad); j++) {
				*addrs[i] = bad[j];
				expect_refused(&b, features);
			}
		b.regs.size = 0;
		expect_refused(&b, features);
		b.regs.size = VIRTQ_MAX_SIZE + 1;
		expect_refused(&b, features);
		b.regs.size = 0xffff;
		expect_refused(&b, features);
		bench_end(&b);
	}
	bench_start(&b, 64, 0);
	b.regs.size = 63; /* no power of two */
	expect_refused(&b, 0);
	bench_end(&b);
	bench_start(&b, 64, VIRTQ_F_PACKED);
	b.regs.avail = 64; /* as a saved state may say */
	expect_refused(&b, VIRTQ_F_PACKED);
	bench_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_packed),
		cmocka_unit_test(test_parts_outside_ram),
		cmocka_unit_test(test_read_behind_write),
		cmocka_unit_test(test_loops),
		cmocka_unit_test(test_links_that_lead_nowhere),
		cmocka_unit_test(test_indirect_tables),
		cmocka_unit_test(test_long_chains),
		cmocka_unit_test(test_too_much_available),
		cmocka_unit_test(test_empty_parts_are_left_out),
		cmocka_unit_test(test_rings_that_cannot_be),
	};

	return cmocka_run_group_tests_name("virtq", tests, NULL, NULL);
}
