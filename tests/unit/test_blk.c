/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk: every request, good and bad, against a file and a copy of what
 * should be in it; disks that fail, files that are no disks.
 *
 * Reference: [1] OASIS VIRTIO 1.2, 5.2.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/block.h"
#include "vm_fixture.h"
#include "virtio_bench.h"

enum { SECTOR = 512, SECTORS = 2048, SIZE = SECTOR * SECTORS };
enum { IN, OUT, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK, IOERR, UNSUPP };
enum { F_RO = 5, F_FLUSH = 9, F_WCE = 11, F_DISCARD = 13, F_ZEROES = 14 };

/* In guest memory. */
enum { HEADER = BENCH_DATA, STATUS = BENCH_DATA + 16, BYTES = BENCH_DATA + 64 };

struct disk {
	struct virtio_bench b;
	char path[32];
	u8 want[SIZE]; /* what should be on it */
};

static void make_file(struct disk *d)
{
	int fd;

	strcpy(d->path, "/tmp/vireo-blk-XXXXXX");
	fd = mkstemp(d->path);
	assert_true(fd >= 0);
	for (unsigned i = 0; i < SIZE; i++)
		d->want[i] = (u8)(i * 7 + i / SECTOR);
	assert_int_equal(write(fd, d->want, SIZE), SIZE);
	close(fd);
}

static struct disk *disk_open(const char *options, u64 without)
{
	struct disk *d = calloc(1, sizeof(*d));
	char text[128];

	assert_non_null(d);
	make_file(d);
	snprintf(text, sizeof(text), "path=%s,%s", d->path, options);
	bench_open(&d->b, "virtio-blk", text);
	bench_start(&d->b, without, 1);
	return d;
}

/* Is the file what it should be? */
static void disk_close(struct disk *d)
{
	u8 *got = malloc(SIZE);
	int fd = open(d->path, O_RDONLY);

	assert_non_null(got);
	bench_close(&d->b);
	assert_int_equal(read(fd, got, SIZE), SIZE);
	assert_memory_equal(got, d->want, SIZE);
	close(fd);
	unlink(d->path);
	free(got);
	free(d);
}

static void put_header(struct disk *d, u32 type, u64 sector)
{
	const struct {
		u32 type, reserved;
		u64 sector;
	} header = {type, 0, sector};

	assert_true(mem_write(&d->b.vm->mem, HEADER, &header, 16));
	assert_true(mem_write(&d->b.vm->mem, STATUS, "\xee", 1));
}

/* Bytes out or in from BYTES on; the status. */
static u8 request(struct disk *d, u32 type, u64 sector, u32 out, u32 in)
{
	const struct virtq_part parts[] = {
		{HEADER, 16}, {BYTES, out ? out : in}, {STATUS, 1}};
	const struct virtq_part short_parts[] = {parts[0], parts[2]};
	u8 status = 0;
	u32 written;

	put_header(d, type, sector);
	written = out || in ? bench_request(&d->b, 0, parts, out ? 2 : 1,
					    out ? 1 : 2)
			    : bench_request(&d->b, 0, short_parts, 1, 1);
	assert_int_equal(written, in + 1);
	assert_true(mem_read(&d->b.vm->mem, STATUS, &status, 1));
	return status;
}

static void expect_read(struct disk *d, u64 sector, u32 len)
{
	static u8 got[SIZE];

	assert_true(mem_zero(&d->b.vm->mem, BYTES, len));
	assert_int_equal(request(d, IN, sector, 0, len), OK);
	assert_true(mem_read(&d->b.vm->mem, BYTES, got, len));
	assert_memory_equal(got, d->want + sector * SECTOR, len);
}

static u8 write_disk(struct disk *d, u64 sector, u32 len, u8 fill)
{
	u8 bytes[16 * SECTOR];

	memset(bytes, fill, len);
	assert_true(mem_write(&d->b.vm->mem, BYTES, bytes, len));
	return request(d, OUT, sector, len, 0);
}

/* ---- what works ---------------------------------------------------------- */

static void test_reads_and_writes(void **state)
{
	struct disk *d = disk_open("", 0);
	u32 seed = 5;

	for (unsigned i = 0; i < 300; i++) {
		u32 count = 1 + fixture_random(&seed) % 16;
		u64 at = fixture_random(&seed) % (SECTORS - count + 1);

		if (i % 2) {
			expect_read(d, at, count * SECTOR);
			continue;
		}
		assert_int_equal(write_disk(d, at, count * SECTOR, (u8)i), OK);
		memset(d->want + at * SECTOR, (u8)i, count * SECTOR);
	}
	assert_int_equal(request(d, FLUSH, 0, 0, 0), OK);
	expect_read(d, SECTORS - 1, SECTOR);
	assert_int_equal(request(d, IN, 0, 0, 0), OK); /* none is fine */
	disk_close(d);
}

/* Header and data cut anywhere: the parts are one string of bytes. */
static void test_odd_parts(void **state)
{
	struct disk *d = disk_open("", 0);
	const struct virtq_part parts[] = {{HEADER, 5},	       {HEADER + 5, 11},
					   {BYTES, 1},	       {BYTES + 1, 300},
					   {BYTES + 301, 211}, {STATUS, 1}};
	const struct virtq_part in[] = {
		{HEADER, 16}, {BYTES, 511}, {BYTES + 511, 513}, {STATUS, 1}};
	u8 status = 0xee, got[1024];

	put_header(d, OUT, 3);
	memset(d->want + 3 * SECTOR, 0x5a, SECTOR);
	assert_true(
		mem_write(&d->b.vm->mem, BYTES, d->want + 3 * SECTOR, SECTOR));
	assert_int_equal(bench_request(&d->b, 0, parts, 5, 1), 1);
	mem_read(&d->b.vm->mem, STATUS, &status, 1);
	assert_int_equal(status, OK);
	put_header(d, IN, 2);
	assert_int_equal(bench_request(&d->b, 0, in, 1, 3), 1025);
	mem_read(&d->b.vm->mem, BYTES, got, 1024);
	assert_memory_equal(got, d->want + 2 * SECTOR, 1024);
	disk_close(d);
}

static void test_id(void **state)
{
	struct disk *d = disk_open("serial=0123456789abcdefghijklmn", 0);
	char got[22] = "";

	assert_int_equal(request(d, GET_ID, 0, 0, 20), OK);
	mem_read(&d->b.vm->mem, BYTES, got, 20);
	assert_string_equal(got, "0123456789abcdefghij");
	disk_close(d);
	d = disk_open("id=root", 0);
	assert_int_equal(request(d, GET_ID, 0, 0, 21), OK);
	mem_read(&d->b.vm->mem, BYTES, got, 21);
	assert_string_equal(got, "root");
	disk_close(d);
}

static void test_config(void **state)
{
	struct disk *d = disk_open("queues=4", 0);

	assert_int_equal(bench_get(&d->b, R_QUEUES, 2), 4);
	assert_int_equal(bench_get(&d->b, R_CONFIG, 4), SECTORS);
	assert_int_equal(bench_get(&d->b, R_CONFIG + 12, 4), 254);
	assert_int_equal(bench_get(&d->b, R_CONFIG + 20, 4), SECTOR);
	assert_int_equal(bench_get(&d->b, R_CONFIG + 34, 2), 4);
	/* Only the write cache is the driver's. */
	bench_put(&d->b, R_CONFIG, 4, 1);
	assert_int_equal(bench_get(&d->b, R_CONFIG, 4), SECTORS);
	assert_int_equal(bench_get(&d->b, R_CONFIG + 32, 1), 1);
	bench_put(&d->b, R_CONFIG + 32, 1, 0);
	assert_int_equal(bench_get(&d->b, R_CONFIG + 32, 1), 0);
	assert_int_equal(write_disk(d, 0, SECTOR, 1), OK);
	memset(d->want, 1, SECTOR);
	bench_start(&d->b, 0, 1); /* a reset switches it on again */
	assert_int_equal(bench_get(&d->b, R_CONFIG + 32, 1), 1);
	disk_close(d);
}

/* ---- discard and zeroes -------------------------------------------------- */

struct range {
	u64 sector;
	u32 count, flags;
};

static u8 erase(struct disk *d, u32 type, const struct range *ranges,
		unsigned count)
{
	u32 len = count * (u32)sizeof(*ranges);

	assert_true(mem_write(&d->b.vm->mem, BYTES, ranges, len));
	return request(d, type, 0, len, 0);
}

static u64 blocks_of(const struct disk *d)
{
	struct stat st;

	assert_int_equal(stat(d->path, &st), 0);
	return (u64)st.st_blocks;
}

static void test_erase(void **state)
{
	static const struct range ranges[] = {
		{0, 1024, 0}, {1500, 8, 0}, {2047, 1, 0}, {5, 0, 0}};
	static const u32 types[] = {DISCARD, ZEROES};

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct disk *d = disk_open("", 0);
		u64 before = blocks_of(d);

		assert_int_equal(erase(d, types[i], ranges, 4), OK);
		for (unsigned j = 0; j < 4; j++)
			memset(d->want + ranges[j].sector * SECTOR, 0,
			       ranges[j].count * SECTOR);
		expect_read(d, 1000, 64 * SECTOR);
		if (types[i] == DISCARD)
			assert_true(blocks_of(d) < before);
		disk_close(d);
	}
}

static void test_bad_ranges(void **state)
{
	static const struct {
		struct range range;
		u32 type;
		u8 status;
	} cases[] = {
		{{SECTORS, 1, 0}, DISCARD, IOERR},
		{{SECTORS - 1, 2, 0}, DISCARD, IOERR},
		{{0, UINT32_MAX, 0}, ZEROES, IOERR},
		{{UINT64_MAX, 1, 0}, ZEROES, IOERR},
		{{UINT64_MAX / SECTOR, UINT32_MAX, 0}, DISCARD, IOERR},
		{{0, 1, 1}, DISCARD, UNSUPP},
		{{0, 1, 2}, DISCARD, UNSUPP},
		{{0, 1, 2}, ZEROES, UNSUPP},
		{{0, 1, 0x80000000}, ZEROES, UNSUPP},
	};
	struct range many[65] = {{0}};
	struct disk *d = disk_open("", 0);

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(erase(d, cases[i].type, &cases[i].range, 1),
				 cases[i].status);
	assert_int_equal(erase(d, DISCARD, many, 64), OK);
	assert_int_equal(erase(d, DISCARD, many, 65), IOERR);
	assert_int_equal(request(d, DISCARD, 0, 0, 0), IOERR);
	assert_int_equal(request(d, DISCARD, 0, 17, 0), IOERR);
	disk_close(d);
	/* CVE class C31: what was not agreed is not done. */
	d = disk_open("", BIT(F_DISCARD) | BIT(F_ZEROES));
	assert_int_equal(erase(d, DISCARD, &(struct range){0, 8, 0}, 1),
			 UNSUPP);
	assert_int_equal(erase(d, ZEROES, &(struct range){0, 8, 0}, 1), UNSUPP);
	disk_close(d);
	d = disk_open("discard=off", 0);
	assert_false(bench_offered(&d->b) & BIT(F_DISCARD));
	assert_true(bench_offered(&d->b) & BIT(F_ZEROES));
	disk_close(d);
}

/* ---- what does not ------------------------------------------------------- */

static void test_bad_requests(void **state)
{
	static const struct {
		u64 sector;
		u32 len;
	} bad[] = {
		{SECTORS, SECTOR},    {SECTORS - 1, 2 * SECTOR},
		{0, SECTOR - 1},      {0, 1},
		{UINT64_MAX, SECTOR}, {UINT64_MAX / SECTOR, SECTOR},
		{BIT(55), SECTOR},    {SECTORS + 1, SECTOR},
	};
	static const u8 zeros[2 * SECTOR];
	struct disk *d = disk_open("", 0);
	u8 got[2 * SECTOR];

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(request(d, OUT, bad[i].sector, bad[i].len, 0),
				 IOERR);
		memset(got, 0xcc, sizeof(got));
		mem_write(&d->b.vm->mem, BYTES, got, sizeof(got));
		assert_int_equal(request(d, IN, bad[i].sector, 0, bad[i].len),
				 IOERR);
		/* CVE class C15: nothing old in what was not read. */
		mem_read(&d->b.vm->mem, BYTES, got, bad[i].len);
		assert_memory_equal(got, zeros, bad[i].len);
	}
	for (u32 type = 0; type < 40; type++)
		if (type != IN && type != OUT && type != FLUSH &&
		    type != GET_ID && type != DISCARD && type != ZEROES)
			assert_int_equal(request(d, type, 0, 0, 64), UNSUPP);
	disk_close(d);
}

/* Without room for a status, or without a whole header. */
static void test_stunted_requests(void **state)
{
	const struct virtq_part parts[] = {{HEADER, 15}, {STATUS, 1}},
				out = {HEADER, 16}, in = {STATUS, 1};
	struct disk *d = disk_open("", 0);

	put_header(d, FLUSH, 0);
	assert_int_equal(bench_request(&d->b, 0, parts, 1, 1), 0);
	assert_int_equal(bench_request(&d->b, 0, &out, 1, 0), 0);
	assert_int_equal(bench_request(&d->b, 0, &in, 0, 1), 0);
	expect_read(d, 0, SECTOR);
	disk_close(d);
}

static void test_read_only(void **state)
{
	struct disk *d = disk_open("ro", 0);
	const struct range range = {0, 8, 0};

	assert_true(bench_offered(&d->b) & BIT(F_RO));
	bench_start(&d->b, BIT(F_RO), 1); /* whether it agrees or not */
	expect_read(d, 7, SECTOR);
	assert_int_equal(write_disk(d, 7, SECTOR, 0), IOERR);
	assert_int_equal(erase(d, DISCARD, &range, 1), UNSUPP);
	assert_int_equal(erase(d, ZEROES, &range, 1), UNSUPP);
	assert_int_equal(request(d, FLUSH, 0, 0, 0), OK);
	disk_close(d);
}

/* The host's file ends early, and so storage fails. */
static void test_failing_disk(void **state)
{
	struct disk *d = disk_open("", 0);
	u8 byte = 0;

	assert_int_equal(truncate(d->path, SIZE / 2), 0);
	assert_int_equal(request(d, IN, SECTORS / 2, 0, SECTOR), IOERR);
	assert_int_equal(request(d, IN, SECTORS / 2 - 1, 0, 2 * SECTOR), IOERR);
	mem_read(&d->b.vm->mem, BYTES, &byte, 1);
	assert_int_equal(byte, 0);
	expect_read(d, SECTORS / 2 - 1, SECTOR);
	assert_int_equal(truncate(d->path, SIZE), 0);
	memset(d->want + SIZE / 2, 0, SIZE / 2);
	expect_read(d, SECTORS / 2, SECTOR);
	disk_close(d);
}

/* Many at once on several threads and queues. */
static void test_at_once(void **state)
{
	struct disk *d = disk_open("queues=3,threads=4", 0);
	u32 written;

	bench_start(&d->b, 0, 3);
	for (unsigned round = 0; round < 200; round++) {
		unsigned done = 0;

		for (unsigned i = 0; i < 12; i++) {
			gpa_t at = BENCH_DATA + i * KIB(8);
			const u32 header[] = {i % 3 ? IN : FLUSH, 0, i * 8, 0};
			const struct virtq_part parts[] = {
				{at, 16},
				{at + 64, i % 3 ? KIB(4) : 64},
				{at + 32, 1}};

			mem_write(&d->b.vm->mem, at, header, 16);
			assert_true(driver_add(&d->b.queues[i % 3], parts, 1, 2,
					       d));
		}
		for (unsigned i = 0; i < 3; i++)
			if (driver_kick_wanted(&d->b.queues[i]))
				bench_kick(&d->b, i);
		while (done < 12)
			for (unsigned i = 0; i < 3; i++)
				while (driver_get(&d->b.queues[i], &written))
					done++;
		for (unsigned i = 1; i < 12; i++) {
			u8 got[KIB(4)];

			if (i % 3 == 0)
				continue;
			mem_read(&d->b.vm->mem, BENCH_DATA + i * KIB(8) + 64,
				 got, sizeof(got));
			assert_memory_equal(got, d->want + i * KIB(4),
					    sizeof(got));
		}
	}
	disk_close(d);
}

/* ---- opening ------------------------------------------------------------- */

static void refuse(const char *options, int code, const char *why)
{
	struct vm *vm = fixture_vm(1);
	struct err err = {0};

	assert_null(device_add(vm, "virtio-blk", options, &err));
	if (code)
		assert_int_equal(err.code, code);
	if (!strstr(err.msg, why))
		fail_msg("%s: %s", options, err.msg);
	vm_destroy(vm);
}

static void test_no_disks(void **state)
{
	struct disk d;
	char text[128];
	int fd;

	refuse("slot=1,path=/nonexistent/disk", -ENOENT, "No such file");
	refuse("slot=1,path=/tmp", -EISDIR, "Is a directory");
	refuse("slot=1,path=/dev/null,ro", -ENOTBLK, "cannot be a disk");
	refuse("slot=1", -EINVAL, "path= is missing");
	make_file(&d);
	snprintf(text, sizeof(text), "slot=1,path=%s,threads=17", d.path);
	refuse(text, -EINVAL, "threads=17: 1 to 16");
	snprintf(text, sizeof(text), "slot=1,path=%s,queues=17", d.path);
	refuse(text, -EINVAL, "queues=17: 1 to 16");
	snprintf(text, sizeof(text), "slot=32,path=%s", d.path);
	refuse(text, -EINVAL, "slot=32");
	snprintf(text, sizeof(text), "slot=1,path=%s,format", d.path);
	refuse(text, -EINVAL, "'format' is not key=value");
	snprintf(text, sizeof(text), "slot=1,path=%s", d.path);
	fd = open(d.path, O_RDONLY);
	assert_int_equal(flock(fd, LOCK_SH), 0);
	refuse(text, -EBUSY, "in use");
	close(fd);
	assert_int_equal(truncate(d.path, 1000), 0);
	refuse(text, -EINVAL, "1000 bytes are no disk");
	assert_int_equal(truncate(d.path, 0), 0);
	refuse(text, -EINVAL, "0 bytes are no disk");
	unlink(d.path);
}

/* The write cache is part of what is saved. */
static void test_save_load(void **state)
{
	struct disk *d = disk_open("", 0);
	struct device *dev = &d->b.v->fn.dev;
	struct device_blob blob;
	struct err err = {0};

	bench_put(&d->b, R_CONFIG + 32, 1, 0);
	expect_read(d, 0, SECTOR);
	device_quiesce_all(d->b.vm);
	assert_int_equal(device_save(dev, &blob, &err), 0);
	device_reset_all(d->b.vm);
	assert_int_equal(device_load(dev, &blob, &err), 0);
	device_resume_all(d->b.vm);
	assert_int_equal(bench_get(&d->b, R_CONFIG + 32, 1), 0);
	expect_read(d, 9, SECTOR);
	blob.data[blob.size - 1] = 1;
	assert_int_equal(device_load(dev, &blob, &err), -EINVAL);
	disk_close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_and_writes),
		cmocka_unit_test(test_odd_parts),
		cmocka_unit_test(test_id),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_erase),
		cmocka_unit_test(test_bad_ranges),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_stunted_requests),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_failing_disk),
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_no_disks),
		cmocka_unit_test(test_save_load),
	};

	return cmocka_run_group_tests_name("blk", tests, NULL, NULL);
}
