/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk whose changes go to a file of their own, over an image that stays as
 * it is and that many VMs may share.
 *
 * The file. Everything is little endian and lies where it is looked for, so
 * that nothing is ever allocated, moved or looked up; what is not written is a
 * hole of the file.
 *
 *     0         struct overlay_header
 *     MAP_OFF   one bit a block of 4 KiB: 1, the block is here; 0, in the image
 *     data_off  the blocks, each at data_off + its offset on the disk
 *
 * After a crash. A block's bit is on storage only after the block: a flush
 * brings data, then bits, and one at a time. A bit that never got there leaves
 * what the image has, and no flush had been answered. Bits change from 0 to 1
 * only, each by itself, so that no torn write makes anything of another one.
 *
 * Threads. Bits are read with the lock for reading and set with it for writing;
 * a write to blocks that are all here needs no more than the first.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/block.h"
#include "util/fd.h"
#include "util/log.h"

#define OVERLAY_MAGIC "VireoCoW"

enum {
	OVERLAY_VERSION = 1,
	BLOCK = 4096,
	MAP_OFF = 4096,
	MAP_PAGE =
		4096, /* bytes of the map that are read and written at once */
	MAP_BLOCKS = MAP_PAGE * 8, /* 128 MiB of disk */
	DATA_ALIGN = 1 << 20,
};

struct overlay_header {
	char magic[8];
	u32 version, block;
	u64 size;	   /* of the disk and its image, bytes */
	u64 data_off;	   /* bytes */
	u64 image_time[2]; /* when it was last modified: s, ns */
	u8 reserved[4048];
};
_Static_assert(sizeof(struct overlay_header) == MAP_OFF, "one page");

struct map_page {
	bool dirty;
	u8 bits[MAP_PAGE];
};

struct overlay {
	struct block block;
	struct block *image, *file;
	u64 data_off;
	bool temporary;		  /* nobody will ever open it again */
	pthread_rwlock_t lock;	  /* bits */
	pthread_mutex_t flushing; /* one at a time */
	pthread_mutex_t loading;
	u64 page_count;
	struct map_page **pages; /* NULL: not read yet */
};

static struct overlay *overlay_of(struct block *block)
{
	return container_of(block, struct overlay, block);
}

static u64 map_pages(u64 size)
{
	return (size + (u64)BLOCK * MAP_BLOCKS - 1) / ((u64)BLOCK * MAP_BLOCKS);
}

/* ---- the map ------------------------------------------------------------- */

static u64 page_off(u64 n)
{
	return MAP_OFF + n * MAP_PAGE;
}

static int load_page(struct overlay *o, u64 n, struct map_page **out)
{
	struct map_page *page;
	int ret = 0;

	pthread_mutex_lock(&o->loading);
	page = o->pages[n];
	if (!page) {
		page = calloc(1, sizeof(*page));
		ret = page ? block_read(o->file, page_off(n), page->bits,
					MAP_PAGE)
			   : -ENOMEM;
		if (!ret)
			__atomic_store_n(&o->pages[n], page, __ATOMIC_RELEASE);
		else
			free(page);
	}
	pthread_mutex_unlock(&o->loading);
	*out = page;
	return ret;
}

static int map_page(struct overlay *o, u64 block, struct map_page **out)
{
	const u64 n = block / MAP_BLOCKS;

	*out = __atomic_load_n(&o->pages[n], __ATOMIC_ACQUIRE);
	return *out ? 0 : load_page(o, n, out);
}

static int is_here(struct overlay *o, u64 block, bool *here)
{
	struct map_page *page;
	int ret = map_page(o, block, &page);

	*here = !ret && page->bits[block % MAP_BLOCKS / 8] >> block % 8 & 1;
	return ret;
}

/* All of the blocks that [off, off + len) touches; the map has been read. */
static void set_here(struct overlay *o, u64 off, u64 len)
{
	for (u64 b = off / BLOCK; b * BLOCK < off + len; b++) {
		struct map_page *page = o->pages[b / MAP_BLOCKS];

		page->bits[b % MAP_BLOCKS / 8] |= (u8)(1u << b % 8);
		page->dirty = true;
	}
}

struct run {
	u64 len; /* bytes from where it was asked for */
	bool here;
};

/* How far from `off` on, at most `len`, all is in the same place. */
static int run_at(struct overlay *o, u64 off, u64 len, struct run *run)
{
	u64 end = off + len, at = align_down(off, BLOCK) + BLOCK;
	int ret = is_here(o, off / BLOCK, &run->here);
	bool here = run->here;

	while (!ret && at < end) {
		ret = is_here(o, at / BLOCK, &here);
		if (here != run->here)
			break;
		at += BLOCK;
	}
	run->len = min_u64(at, end) - off;
	return ret;
}

/* ---- reads --------------------------------------------------------------- */

/* The vectors of bytes [from, from + len) of those in `src`. */
static unsigned slice(struct iovec *dst, const struct iovec *src, u64 from,
		      u64 len)
{
	unsigned count = 0;

	for (; len; src++) {
		u64 part;

		if (from >= src->iov_len) {
			from -= src->iov_len;
			continue;
		}
		part = min_u64(len, src->iov_len - from);
		dst[count].iov_base = (u8 *)src->iov_base + from;
		dst[count++].iov_len = part;
		len -= part;
		from = 0;
	}
	return count;
}

static u64 total(const struct iovec *iov, unsigned count)
{
	u64 len = 0;

	while (count--)
		len += iov[count].iov_len;
	return len;
}

static int read_runs(struct overlay *o, u64 off, const struct iovec *iov,
		     u64 len, bool now)
{
	struct iovec part[BLOCK_MAX_VECTORS];
	int ret = 0;

	for (u64 done = 0; !ret && done < len;) {
		struct block *from;
		struct run run;
		unsigned count;

		ret = run_at(o, off + done, len - done, &run);
		if (ret)
			break;
		from = run.here ? o->file : o->image;
		count = slice(part, iov, done, run.len);
		ret = from->ops->read(from,
				      off + done + (run.here ? o->data_off : 0),
				      part, count, now);
		done += run.len;
	}
	return ret;
}

static int overlay_read(struct block *block, u64 off, struct iovec *iov,
			unsigned count, bool now)
{
	struct overlay *o = overlay_of(block);
	int ret;

	if (now && pthread_rwlock_tryrdlock(&o->lock))
		return -EAGAIN;
	if (!now)
		pthread_rwlock_rdlock(&o->lock);
	ret = read_runs(o, off, iov, total(iov, count), now);
	pthread_rwlock_unlock(&o->lock);
	return ret;
}

/* ---- writes -------------------------------------------------------------- */

/* The block around `off` gets a copy of what the image has. */
static int copy_block(struct overlay *o, u64 off)
{
	const u64 start = align_down(off, BLOCK);
	const u64 len = min_u64(BLOCK, o->block.size - start);
	u8 bytes[BLOCK];
	int ret = block_read(o->image, start, bytes, len);

	return ret ? ret
		   : block_write(o->file, o->data_off + start, bytes, len);
}

/* The blocks at either end of which a part stays what it is: they must be here
 * first. Their bits stay 0 until the rest is here too. */
static int copy_ends(struct overlay *o, u64 off, u64 len)
{
	const u64 end = off + len;
	bool here = true;
	int ret = 0;

	if (off % BLOCK)
		ret = is_here(o, off / BLOCK, &here);
	if (!ret && !here)
		ret = copy_block(o, off);
	if (ret || !(end % BLOCK) || end == o->block.size)
		return ret;
	/* The first block may be the last one as well. */
	if (off % BLOCK && off / BLOCK == end / BLOCK)
		return 0;
	ret = is_here(o, end / BLOCK, &here);
	return !ret && !here ? copy_block(o, end) : ret;
}

/* With the lock for writing, if not all of [off, off + len) is here, and
 * else for reading. */
static int lock_for(struct overlay *o, u64 off, u64 len, bool *all)
{
	struct run run;
	int ret;

	pthread_rwlock_rdlock(&o->lock);
	ret = run_at(o, off, len, &run);
	*all = !ret && run.here && run.len == len;
	if (ret || *all)
		return ret;
	pthread_rwlock_unlock(&o->lock);
	pthread_rwlock_wrlock(&o->lock);
	/* set_here() cannot fail: what it needs of the map is here. */
	for (u64 b = off / BLOCK; !ret && b * BLOCK < off + len;
	     b = align_down(b, MAP_BLOCKS) + MAP_BLOCKS) {
		struct map_page *page;

		ret = map_page(o, b, &page);
	}
	return ret;
}

static int overlay_write(struct block *block, u64 off, struct iovec *iov,
			 unsigned count)
{
	struct overlay *o = overlay_of(block);
	const u64 len = total(iov, count);
	bool all;
	int ret;

	if (!len)
		return 0;
	ret = lock_for(o, off, len, &all);
	if (!ret && !all)
		ret = copy_ends(o, off, len);
	if (!ret)
		ret = o->file->ops->write(o->file, o->data_off + off, iov,
					  count);
	if (!ret && !all)
		set_here(o, off, len);
	pthread_rwlock_unlock(&o->lock);
	return ret;
}

/* ---- zeros --------------------------------------------------------------- */

/* At most what is left of two blocks. */
static int write_zeros(struct overlay *o, u64 off, u64 len)
{
	static const u8 zeros[2 * BLOCK];

	return len ? block_write(&o->block, off, zeros, len) : 0;
}

/* Whole blocks. */
static int zero_blocks(struct overlay *o, u64 off, u64 len, bool unmap)
{
	bool all;
	int ret;

	if (!len)
		return 0;
	ret = lock_for(o, off, len, &all);
	if (!ret)
		ret = o->file->ops->zero(o->file, o->data_off + off, len,
					 unmap);
	if (!ret && !all)
		set_here(o, off, len);
	pthread_rwlock_unlock(&o->lock);
	return ret;
}

static int overlay_zero(struct block *block, u64 off, u64 len, bool unmap)
{
	struct overlay *o = overlay_of(block);
	const u64 end = off + len;
	u64 first = align_up(off, BLOCK), last = align_down(end, BLOCK);
	int ret;

	if (first >= last)
		first = last = end;
	ret = write_zeros(o, off, min_u64(first, end) - off);
	if (!ret)
		ret = zero_blocks(o, first, last - first, unmap);
	return ret ? ret : write_zeros(o, last, end - last);
}

/* Zeros of this file hide what the image has. */
static int overlay_discard(struct block *block, u64 off, u64 len)
{
	return overlay_zero(block, off, len, true);
}

/* ---- flushes ------------------------------------------------------------- */

struct dirty {
	u64 n;
	u8 bits[MAP_PAGE];
};

static bool is_dirty(const struct overlay *o, u64 n)
{
	return o->pages[n] && o->pages[n]->dirty;
}

/* Bits that are set by now; their data have been written. With the lock for
 * writing. -ENOMEM. */
static int collect(struct overlay *o, struct dirty **out, u64 *count)
{
	u64 want = 0, have = 0;
	struct dirty *list;

	for (u64 n = 0; n < o->page_count; n++)
		want += is_dirty(o, n);
	*count = 0;
	list = want ? malloc(want * sizeof(*list)) : NULL;
	if (want && !list)
		return -ENOMEM;
	for (u64 n = 0; have < want; n++) {
		if (!is_dirty(o, n))
			continue;
		list[have].n = n;
		memcpy(list[have++].bits, o->pages[n]->bits, MAP_PAGE);
		o->pages[n]->dirty = false;
	}
	*out = list;
	*count = have;
	return 0;
}

static int write_map(struct overlay *o, const struct dirty *list, u64 count)
{
	int ret = 0;

	for (u64 i = 0; !ret && i < count; i++)
		ret = block_write(o->file, page_off(list[i].n), list[i].bits,
				  MAP_PAGE);
	return ret ? ret : o->file->ops->flush(o->file);
}

static int overlay_flush(struct block *block)
{
	struct overlay *o = overlay_of(block);
	struct dirty *list = NULL;
	u64 count;
	int ret;

	if (o->temporary)
		return 0;
	pthread_mutex_lock(&o->flushing);
	pthread_rwlock_wrlock(&o->lock);
	ret = collect(o, &list, &count);
	pthread_rwlock_unlock(&o->lock);
	if (!ret)
		ret = o->file->ops->flush(o->file);
	if (!ret && count)
		ret = write_map(o, list, count);
	if (ret && count) {
		pthread_rwlock_wrlock(&o->lock);
		for (u64 i = 0; i < count; i++)
			o->pages[list[i].n]->dirty = true;
		pthread_rwlock_unlock(&o->lock);
	}
	pthread_mutex_unlock(&o->flushing);
	free(list);
	return ret;
}

/* ---- life ---------------------------------------------------------------- */

static void overlay_close(struct block *block)
{
	struct overlay *o = overlay_of(block);
	int ret = o->pages && o->file ? overlay_flush(block) : 0;

	if (ret)
		log_msg(LOG_WARN,
			"a disk's last changes could not be written: %s",
			strerror(-ret));
	for (u64 n = 0; o->pages && n < o->page_count; n++)
		free(o->pages[n]);
	free(o->pages);
	block_close(o->file);
	block_close(o->image);
	pthread_rwlock_destroy(&o->lock);
	pthread_mutex_destroy(&o->flushing);
	pthread_mutex_destroy(&o->loading);
	free(o);
}

static const struct block_ops overlay_ops = {
	.read = overlay_read,
	.write = overlay_write,
	.flush = overlay_flush,
	.discard = overlay_discard,
	.zero = overlay_zero,
	.close = overlay_close,
};

static int image_time(const char *path, u64 time[2], struct err *err)
{
	struct stat st;

	if (stat(path, &st))
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	time[0] = (u64)st.st_mtim.tv_sec;
	time[1] = (u64)st.st_mtim.tv_nsec;
	return 0;
}

/* The header comes last: without one a file is no overlay. */
static int format(int fd, const struct overlay *o, const u64 time[2])
{
	const u64 map_end = page_off(map_pages(o->block.size));
	struct overlay_header h = {
		.magic = OVERLAY_MAGIC,
		.version = OVERLAY_VERSION,
		.block = BLOCK,
		.size = o->block.size,
		.data_off = align_up(map_end, DATA_ALIGN),
		.image_time = {time[0], time[1]},
	};

	if (ftruncate(fd, (off_t)(h.data_off + o->block.size)) || fsync(fd) ||
	    pwrite(fd, &h, sizeof(h), 0) != sizeof(h) || fsync(fd))
		return -errno;
	return 0;
}

/* Where a name leads to a file without one. */
static int create_nameless(void)
{
	const char *folder = getenv("TMPDIR");

	return open(folder && *folder ? folder : "/var/tmp",
		    O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

/* The file, made if there is none; a name to open it by in `path`. */
static int make_file(struct overlay *o,
		     const struct block_overlay_config *config, char path[32],
		     struct err *err)
{
	const char *name = config->path ? config->path : "a temporary file";
	u64 time[2] = {0};
	int ret = image_time(config->image, time, err);
	int fd;

	if (ret)
		return ret;
	fd = config->path ? open(config->path,
				 O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600)
			  : create_nameless();
	if (fd < 0 && errno == EEXIST)
		return -EEXIST;
	ret = fd < 0 ? -errno : format(fd, o, time);
	if (ret && fd >= 0 && config->path)
		unlink(config->path);
	if (ret && fd >= 0)
		close(fd);
	if (ret)
		return err_set(err, ret, "%s cannot be made: %s", name,
			       strerror(-ret));
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

static int check_header(const struct overlay *o,
			const struct block_overlay_config *config,
			const struct overlay_header *h, struct err *err)
{
	const char *path = config->path;
	u64 map_end = page_off(map_pages(o->block.size)), time[2] = {0};

	if (memcmp(h->magic, OVERLAY_MAGIC, sizeof(h->magic)) != 0)
		return err_set(err, -EINVAL,
			       "%s is no overlay; if its making was "
			       "interrupted, remove it",
			       path);
	if (h->version != OVERLAY_VERSION || h->block != BLOCK)
		return err_set(err, -EINVAL,
			       "%s is an overlay of version %u, which this "
			       "Vireo does not know",
			       path, h->version);
	if (h->size != o->block.size)
		return err_set(err, -EINVAL,
			       "%s is over an image of %llu bytes, %s has %llu",
			       path, (unsigned long long)h->size, config->image,
			       (unsigned long long)o->block.size);
	if (h->data_off < map_end || h->data_off % BLOCK ||
	    o->file->size < o->block.size ||
	    h->data_off > o->file->size - o->block.size)
		return err_set(err, -EINVAL, "%s is damaged or cut off", path);
	if (!image_time(config->image, time, NULL) &&
	    memcmp(time, h->image_time, sizeof(time)) != 0)
		log_msg(LOG_WARN,
			"%s has been modified since %s was made over it: "
			"unless its contents are the same, the disk is damaged",
			config->image, path);
	return 0;
}

static int open_file(struct overlay *o,
		     const struct block_overlay_config *config, struct err *err)
{
	struct block_config file = {
		.path = config->path,
		.read_only = config->read_only,
		.locked = true,
	};
	struct overlay_header h;
	char path[32];
	int made = -EEXIST, ret;

	if (!config->read_only)
		made = make_file(o, config, path, err);
	if (made < 0 && made != -EEXIST)
		return made;
	if (made >= 0)
		file.path = path;
	ret = block_open(&o->file, &file, err);
	if (made >= 0)
		close(made);
	if (ret)
		return ret;
	memset(&h, 0, sizeof(h));
	if (o->file->size >= sizeof(h))
		ret = block_read(o->file, 0, &h, sizeof(h));
	if (ret)
		return err_set(err, ret, "%s: %s", file.path, strerror(-ret));
	ret = check_header(o, config, &h, err);
	o->data_off = h.data_off;
	return ret;
}

int block_open_overlay(struct block **out,
		       const struct block_overlay_config *config,
		       struct err *err)
{
	const struct block_config image = {
		.path = config->image,
		.read_only = true,
		.locked = true,
	};
	struct overlay *o = calloc(1, sizeof(*o));
	int ret;

	if (!o)
		return err_set(err, -ENOMEM, "out of memory");
	o->block.ops = &overlay_ops;
	o->temporary = !config->path;
	o->block.physical_sector = BLOCK;
	pthread_rwlock_init(&o->lock, NULL);
	pthread_mutex_init(&o->flushing, NULL);
	pthread_mutex_init(&o->loading, NULL);
	ret = block_open(&o->image, &image, err);
	if (!ret) {
		o->block.size = o->image->size;
		ret = open_file(o, config, err);
	}
	if (!ret) {
		o->page_count = map_pages(o->block.size);
		o->pages = calloc(o->page_count + 1, sizeof(*o->pages));
		ret = o->pages ? 0 : err_set(err, -ENOMEM, "out of memory");
	}
	if (ret)
		overlay_close(&o->block);
	else
		*out = &o->block;
	return ret;
}
