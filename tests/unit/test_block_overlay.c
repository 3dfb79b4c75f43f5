/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay against a model: random work with crashes in between. A crash is
 * the worst that storage may do: of what was written since the last fdatasync()
 * any part is there and any part is not. Also: reopening, files that are no
 * overlays, sharing.
 *
 * pwritev(), fdatasync() and fallocate() of the library under test come here
 * first (--wrap), so that what has been made durable is known.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "backend/block.h"
#include "storage_wrap.h"
#include "util/log.h"

enum {
	SECTOR = 512,
	SECTORS = 777, /* no multiple of a block */
	SIZE = SECTOR * SECTORS,
	FILE_MAX = 4 << 20,
	WRITES_MAX = 32768,
};

/* ---- storage that forgets ------------------------------------------------ */

struct written {
	u64 off;
	unsigned len;
	u8 *bytes; /* NULL: zeros */
};

static struct {
	ino_t watched;
	u8 durable[FILE_MAX];
	u64 len;
	struct written list[WRITES_MAX];
	unsigned count;
	bool fails; /* the next fdatasync() */
} storage;

static bool is_watched(int fd)
{
	struct stat st;

	return storage.watched && !fstat(fd, &st) &&
	       st.st_ino == storage.watched;
}

static void forget(void)
{
	while (storage.count)
		free(storage.list[--storage.count].bytes);
}

static void note(u64 off, const void *bytes, u64 len)
{
	struct written *w = &storage.list[storage.count++];

	assert_true(storage.count <= WRITES_MAX);
	*w = (struct written){off, (unsigned)len, NULL};
	if (!bytes)
		return;
	w->bytes = malloc(len);
	memcpy(w->bytes, bytes, len);
}

static void apply(u8 *image, const struct written *w)
{
	if (w->bytes)
		memcpy(image + w->off, w->bytes, w->len);
	else
		memset(image + w->off, 0, w->len);
}

/* Sector by sector: storage tears between sectors, not in them. */
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int count, off_t off)
{
	static u8 bytes[FILE_MAX];
	size_t len = 0;

	for (int i = 0; i < count; i++) {
		memcpy(bytes + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	for (size_t at = 0; is_watched(fd) && at < len; at += SECTOR)
		note((u64)off + at, bytes + at, min_u64(SECTOR, len - at));
	return __real_pwritev64(fd, iov, count, off);
}

int __wrap_fallocate64(int fd, int mode, off_t off, off_t len)
{
	if (is_watched(fd))
		note((u64)off, NULL, (u64)len);
	return __real_fallocate64(fd, mode, off, len);
}

int __wrap_fdatasync(int fd)
{
	if (!is_watched(fd))
		return __real_fdatasync(fd);
	if (storage.fails) {
		storage.fails = false;
		errno = EIO;
		return -1;
	}
	for (unsigned i = 0; i < storage.count; i++)
		apply(storage.durable, &storage.list[i]);
	forget();
	return 0;
}

/* ---- the disk and what it may hold ----------------------------------------
 */

struct disk {
	char image[40], path[40];
	struct block *block;
	u64 seed;
	u32 version, flushed_version;
	/* By sector: what the last flush made durable, what was written last.
	 */
	u32 flushed[SECTORS], now[SECTORS];
	bool zeroed[SECTORS]; /* since the flush */
};

static u64 draw(struct disk *d, u64 limit)
{
	d->seed = d->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (d->seed >> 33) % limit;
}

/* Version 0 is the image's; zeros have no version. */
#define ZEROS UINT32_MAX

static void fill(u8 bytes[SECTOR], unsigned sector, u32 version)
{
	u64 *words = (void *)bytes;

	for (unsigned i = 0; i < SECTOR / 8; i++)
		words[i] = version == ZEROS ? 0
					    : ((u64)sector << 32 | version) + 1;
}

static u32 version_of(const u8 bytes[SECTOR], unsigned sector)
{
	const u64 *words = (const void *)bytes;
	u32 version = words[0] ? (u32)(words[0] - 1) : ZEROS;
	u8 want[SECTOR];

	fill(want, sector, version);
	assert_memory_equal(bytes, want, SECTOR);
	return version;
}

static void write_file(const char *path, const u8 *bytes, u64 len)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

static void make_image(struct disk *d)
{
	static u8 bytes[SIZE];

	for (unsigned s = 0; s < SECTORS; s++)
		fill(bytes + s * SECTOR, s, 0);
	snprintf(d->image, sizeof(d->image), "/tmp/overlay-image-%d", getpid());
	snprintf(d->path, sizeof(d->path), "/tmp/overlay-%d", getpid());
	unlink(d->path);
	write_file(d->image, bytes, SIZE);
}

static int open_disk(struct disk *d, struct err *err)
{
	const struct block_overlay_config config = {.image = d->image,
						    .path = d->path};

	d->block = NULL;
	return block_open_overlay(&d->block, &config, err);
}

/* From here on storage forgets what is not flushed. */
static void watch(const struct disk *d)
{
	struct stat st;
	int fd = open(d->path, O_RDONLY);

	assert_true(fd >= 0 && !fstat(fd, &st) && st.st_size <= FILE_MAX);
	storage.watched = st.st_ino;
	storage.len = (u64)st.st_size;
	assert_int_equal(pread(fd, storage.durable, storage.len, 0),
			 st.st_size);
	close(fd);
}

static void do_write(struct disk *d, unsigned sector, unsigned count)
{
	static u8 bytes[64 * SECTOR];
	struct iovec iov[3];
	u64 first = draw(d, count * SECTOR + 1), rest = count * SECTOR - first;

	d->version++;
	for (unsigned i = 0; i < count; i++) {
		fill(bytes + i * SECTOR, sector + i, d->version);
		d->now[sector + i] = d->version;
	}
	iov[0] = (struct iovec){bytes, first};
	iov[1] = (struct iovec){bytes, 0};
	iov[2] = (struct iovec){bytes + first, rest};
	assert_int_equal(
		d->block->ops->write(d->block, (u64)sector * SECTOR, iov, 3),
		0);
}

static void do_zero(struct disk *d, unsigned sector, unsigned count)
{
	const u64 off = (u64)sector * SECTOR, len = (u64)count * SECTOR;
	int ret = draw(d, 2)
			  ? d->block->ops->discard(d->block, off, len)
			  : d->block->ops->zero(d->block, off, len, draw(d, 2));

	assert_int_equal(ret, 0);
	for (unsigned i = 0; i < count; i++) {
		d->now[sector + i] = ZEROS;
		d->zeroed[sector + i] = true;
	}
}

static void check_read(struct disk *d, unsigned sector, unsigned count)
{
	static u8 bytes[SIZE];

	assert_int_equal(block_read(d->block, (u64)sector * SECTOR, bytes,
				    (u64)count * SECTOR),
			 0);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(version_of(bytes + i * SECTOR, sector + i),
				 d->now[sector + i]);
}

static void do_flush(struct disk *d)
{
	storage.fails = !draw(d, 5);
	if (d->block->ops->flush(d->block))
		return; /* nothing was promised */
	memcpy(d->flushed, d->now, sizeof(d->now));
	memset(d->zeroed, 0, sizeof(d->zeroed));
	d->flushed_version = d->version;
}

static void work(struct disk *d, unsigned steps)
{
	while (steps--) {
		unsigned sector = (unsigned)draw(d, SECTORS);
		unsigned most = (unsigned)min_u64(SECTORS - sector, 64);
		unsigned count = 1 + (unsigned)draw(d, most);

		switch (draw(d, 16)) {
		case 0:
			do_flush(d);
			break;
		case 1:
		case 2:
			do_zero(d, sector, count);
			break;
		case 3:
		case 4:
		case 5:
			check_read(d, sector, count);
			break;
		default:
			do_write(d, sector, draw(d, 2) ? count : 1);
		}
	}
}

/* Durable is what was flushed, and any of what was written after it. */
static void crash(struct disk *d)
{
	const unsigned keep = (unsigned)draw(d, 4);

	for (unsigned i = 0; i < storage.count; i++)
		if (draw(d, 4) <= keep)
			apply(storage.durable, &storage.list[i]);
	forget();
	storage.watched = 0;
	block_close(d->block);
	write_file(d->path, storage.durable, storage.len);
	assert_int_equal(truncate(d->path, (off_t)storage.len), 0);
}

/* Each sector is what was flushed or something later. */
static void check_survived(struct disk *d)
{
	static u8 bytes[SIZE];

	assert_int_equal(block_read(d->block, 0, bytes, SIZE), 0);
	for (unsigned s = 0; s < SECTORS; s++) {
		u32 version = version_of(bytes + s * SECTOR, s);

		if (version == ZEROS && d->zeroed[s])
			; /* a later state than the flush's */
		else if (version == ZEROS || version <= d->flushed_version)
			assert_int_equal(version, d->flushed[s]);
		d->now[s] = d->flushed[s] = version;
	}
	memset(d->zeroed, 0, sizeof(d->zeroed));
	d->flushed_version = d->version;
}

static void test_crashes(void **unused)
{
	static struct disk d;
	struct err err = {0};

	d.seed = 42;
	make_image(&d);
	for (unsigned round = 0; round < 300; round++) {
		if (open_disk(&d, &err))
			fail_msg("round %u: %s", round, err.msg);
		assert_int_equal(d.block->size, SIZE);
		check_survived(&d);
		watch(&d);
		work(&d, 10 + (unsigned)draw(&d, 60));
		check_read(&d, 0, SECTORS);
		crash(&d);
	}
	unlink(d.path);
	unlink(d.image);
}

/* Closed in order, everything is there; the image is what it was. */
static void test_reopen(void **unused)
{
	static struct disk d;
	static u8 bytes[SIZE];
	int fd;

	d.seed = 7;
	make_image(&d);
	for (unsigned round = 0; round < 20; round++) {
		assert_int_equal(open_disk(&d, NULL), 0);
		check_read(&d, 0, SECTORS);
		work(&d, 50);
		storage.fails = false;
		block_close(d.block);
	}
	fd = open(d.image, O_RDONLY);
	assert_int_equal(read(fd, bytes, SIZE), SIZE);
	for (unsigned s = 0; s < SECTORS; s++)
		assert_int_equal(version_of(bytes + s * SECTOR, s), 0);
	close(fd);
	unlink(d.path);
	unlink(d.image);
}

/* More than one page of the map, and a file that stays small. */
static void test_large(void **unused)
{
	const u64 size = MIB(300), edge = MIB(128);
	static u8 bytes[65536], got[65536];
	static struct disk d;
	struct stat st;

	make_image(&d);
	assert_int_equal(truncate(d.image, (off_t)size), 0);
	memset(bytes, 0x5a, sizeof(bytes));
	assert_int_equal(open_disk(&d, NULL), 0);
	assert_int_equal(block_write(d.block, edge - 30000, bytes, 65536), 0);
	assert_int_equal(block_write(d.block, size - 512, bytes, 512), 0);
	block_close(d.block);
	assert_int_equal(open_disk(&d, NULL), 0);
	assert_int_equal(block_read(d.block, edge - 30000, got, 65536), 0);
	assert_memory_equal(got, bytes, 65536);
	assert_int_equal(block_read(d.block, edge - 30512, got, 512), 0);
	assert_int_equal(got[0] | got[511], 0);
	assert_int_equal(block_read(d.block, size - 1024, got, 1024), 0);
	assert_int_equal(got[511], 0);
	assert_int_equal(got[512], 0x5a);
	block_close(d.block);
	assert_int_equal(stat(d.path, &st), 0);
	assert_true((u64)st.st_blocks * 512 < MIB(2));
	unlink(d.path);
	unlink(d.image);
}

static void expect_error(struct disk *d, int want, const char *word)
{
	struct err err = {0};

	assert_int_equal(open_disk(d, &err), want);
	assert_non_null(strstr(err.msg, word));
}

static void test_refused(void **unused)
{
	static struct disk d;
	struct disk other;
	u8 header[40];
	int fd;

	make_image(&d);
	write_file(d.path, (const u8 *)"mine", 4);
	expect_error(&d, -EINVAL, "no overlay");
	unlink(d.path);
	assert_int_equal(open_disk(&d, NULL), 0);
	other = d;
	expect_error(&other, -EBUSY, "in use");
	block_close(d.block);
	assert_int_equal(truncate(d.image, SIZE + 512), 0);
	expect_error(&d, -EINVAL, "over an image of");
	assert_int_equal(truncate(d.image, SIZE), 0);
	fd = open(d.path, O_RDWR);
	assert_int_equal(pread(fd, header, sizeof(header), 0), sizeof(header));
	/* Where the data begin: in the map, nowhere, behind the file. */
	for (u64 off = 0; off <= FILE_MAX; off += FILE_MAX / 2 + 4096) {
		assert_int_equal(pwrite(fd, &off, 8, 24), 8);
		expect_error(&d, -EINVAL, "damaged");
	}
	header[8]++;
	assert_int_equal(pwrite(fd, header, sizeof(header), 0), sizeof(header));
	expect_error(&d, -EINVAL, "version");
	close(fd);
	unlink(d.path);
	strcpy(d.path, "/nowhere/overlay");
	expect_error(&d, -ENOENT, "cannot be made");
	unlink(d.image);
	expect_error(&d, -ENOENT, d.image);
}

/* Two temporary ones over the same image know nothing of each other. */
static void test_temporary(void **unused)
{
	static struct disk d;
	struct block *blocks[2];
	u8 bytes[SECTOR];

	make_image(&d);
	for (unsigned i = 0; i < 2; i++) {
		const struct block_overlay_config config = {.image = d.image};

		assert_int_equal(block_open_overlay(&blocks[i], &config, NULL),
				 0);
		fill(bytes, 3, i + 1);
		assert_int_equal(
			block_write(blocks[i], 3 * SECTOR, bytes, SECTOR), 0);
		assert_int_equal(blocks[i]->ops->flush(blocks[i]), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(
			block_read(blocks[i], 3 * SECTOR, bytes, SECTOR), 0);
		assert_int_equal(version_of(bytes, 3), i + 1);
		block_close(blocks[i]);
	}
	unlink(d.image);
}

/* To look at only: an overlay that is there, and nothing is written. */
static void test_read_only(void **unused)
{
	static struct disk d;
	struct block_overlay_config config = {.read_only = true};
	struct err err = {0};
	struct block *block;
	u8 bytes[SECTOR];

	make_image(&d);
	config.image = d.image;
	config.path = d.path;
	assert_int_equal(block_open_overlay(&block, &config, &err), -ENOENT);
	assert_int_equal(open_disk(&d, NULL), 0);
	do_write(&d, 5, 1);
	block_close(d.block);
	assert_int_equal(block_open_overlay(&block, &config, &err), 0);
	assert_int_equal(block_read(block, 5 * SECTOR, bytes, SECTOR), 0);
	assert_int_equal(version_of(bytes, 5), d.now[5]);
	assert_int_not_equal(block_write(block, 0, bytes, SECTOR), 0);
	block_close(block);
	unlink(d.path);
	unlink(d.image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crashes),
		cmocka_unit_test(test_reopen),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_temporary),
		cmocka_unit_test(test_read_only),
	};

	log_set_level(LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
