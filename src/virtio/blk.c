/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk: a disk, in a file or on a block device of the host.
 *
 * Requests are answered on threads. A read that the host has in memory, and a
 * write, which goes to memory, are done at once by the thread that found them;
 * before everything else another one takes over (virtio_may_block).
 *
 * Data are as durable as the driver asks for: on storage after a flush, or,
 * where it did not agree to flushes or switched the write cache off, after each
 * write ([1] 5.2.6.2).
 *
 * References: [1] OASIS VIRTIO 1.2, 5.2.
 *
 * Not emulated: geometry, lifetime, secure erase, zones.
 */
#include <errno.h>
#include <string.h>

#include "backend/block.h"
#include "util/log.h"
#include "virtio/virtio.h"
#include "vmm/vm.h"

enum blk_limits {
	BLK_SECTOR = 512,
	BLK_ID_SIZE = 20,
	BLK_MAX_RANGES = 64,	 /* of a discard request */
	BLK_MAX_RANGE = 1 << 22, /* sectors in one of them, 2 GiB */
	BLK_MAX_QUEUES = 16,
};

enum blk_feature { /* [1] 5.2.3 */
		   BLK_F_SEG_MAX = 2,
		   BLK_F_RO = 5,
		   BLK_F_BLK_SIZE = 6,
		   BLK_F_FLUSH = 9,
		   BLK_F_TOPOLOGY = 10,
		   BLK_F_CONFIG_WCE = 11,
		   BLK_F_MQ = 12,
		   BLK_F_DISCARD = 13,
		   BLK_F_WRITE_ZEROES = 14,
};

enum blk_type { /* [1] 5.2.6 */
		BLK_IN = 0,
		BLK_OUT = 1,
		BLK_FLUSH = 4,
		BLK_GET_ID = 8,
		BLK_DISCARD = 11,
		BLK_WRITE_ZEROES = 13,
};

enum blk_status { BLK_OK = 0, BLK_IOERR = 1, BLK_UNSUPP = 2 };

struct blk_header {
	u32 type, reserved;
	u64 sector;
};
_Static_assert(sizeof(struct blk_header) == 16, "[1] 5.2.6");

struct blk_range {
	u64 sector;
	u32 count, flags;
};
_Static_assert(sizeof(struct blk_range) == 16, "[1] 5.2.6");

enum { BLK_UNMAP = 1 /* in a range's flags */ };

struct blk_config {   /* [1] 5.2.4 */
	u64 capacity; /* sectors */
	u32 size_max, seg_max;
	u32 geometry;
	u32 blk_size;
	u8 physical_block_exp, alignment_offset;
	u16 min_io_size;
	u32 opt_io_size;
	u8 writeback, unused;
	u16 num_queues;
	u32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
	u32 max_write_zeroes_sectors, max_write_zeroes_seg;
	u8 write_zeroes_may_unmap, unused2[3];
};
/* Without the padding of the struct's end. */
enum { BLK_CONFIG_SIZE = 60 };
_Static_assert(offsetof(struct blk_config, write_zeroes_may_unmap) == 56,
	       "[1] 5.2.4");

struct blk {
	struct virtio virtio;
	/* config */
	char *path, *overlay, *serial;
	u64 queues, threads;
	bool ro, discard, temporary;
	struct blk_config config;
	/* regs */
	struct {
		struct virtio_regs virtio;
		u8 writeback, reserved[7];
	} regs;
	/* host */
	struct block *block;
};

static struct blk *to_blk(struct virtio *v)
{
	return container_of(v, struct blk, virtio);
}

/* ---- requests ------------------------------------------------------------ */

static u8 status_of(struct virtio *v, const char *verb, int ret)
{
	if (!ret)
		return BLK_OK;
	if (ret == -EOPNOTSUPP)
		return BLK_UNSUPP;
	log_guest("%s: %s failed: %s", v->fn.dev.id, verb, strerror(-ret));
	return BLK_IOERR;
}

/* Whole sectors that there are; the byte they begin at in *off. */
static bool range_is_good(const struct blk *blk, u64 sector, u64 len, u64 *off)
{
	const u64 sectors = blk->block->size / BLK_SECTOR;

	*off = sector * BLK_SECTOR;
	return !(len % BLK_SECTOR) && sector <= sectors &&
	       len / BLK_SECTOR <= sectors - sector;
}

/* What could not be read is zero, not what was there before. */
static void clear(const struct virtio_request *req, u64 len)
{
	struct iovec iov[VIRTQ_MAX_SIZE];
	unsigned count = virtio_iov(req, true, 0, len, iov);

	while (count--)
		memset(iov[count].iov_base, 0, iov[count].iov_len);
}

static u8 blk_in(struct blk *blk, const struct virtio_request *req, u64 sector)
{
	const u64 len = req->chain.in_len - 1;
	struct block *block = blk->block;
	struct iovec iov[VIRTQ_MAX_SIZE];
	unsigned count;
	u64 off;
	int ret = -EIO;

	if (range_is_good(blk, sector, len, &off)) {
		count = virtio_iov(req, true, 0, len, iov);
		ret = block->ops->read(block, off, iov, count, true);
		if (ret == -EAGAIN) {
			virtio_may_block(&blk->virtio);
			count = virtio_iov(req, true, 0, len, iov);
			ret = block->ops->read(block, off, iov, count, false);
		}
	}
	if (ret)
		clear(req, len);
	return status_of(&blk->virtio, "a read", ret);
}

static int blk_flush(struct blk *blk)
{
	virtio_may_block(&blk->virtio);
	return blk->block->ops->flush(blk->block);
}

/* Is what is written to be on storage before the driver hears of it? */
static bool is_written_through(const struct blk *blk)
{
	return !virtio_has(&blk->virtio, BLK_F_FLUSH) ||
	       !__atomic_load_n(&blk->regs.writeback, __ATOMIC_RELAXED);
}

static u8 blk_out(struct blk *blk, const struct virtio_request *req, u64 sector)
{
	const u64 len = req->chain.out_len - sizeof(struct blk_header);
	struct iovec iov[VIRTQ_MAX_SIZE];
	unsigned count;
	u64 off;
	int ret = -EIO;

	if (range_is_good(blk, sector, len, &off) && !blk->ro) {
		count = virtio_iov(req, false, sizeof(struct blk_header), len,
				   iov);
		ret = blk->block->ops->write(blk->block, off, iov, count);
	}
	if (!ret && is_written_through(blk))
		ret = blk_flush(blk);
	return status_of(&blk->virtio, "a write", ret);
}

/* [1] 5.2.6: without a final 0 where it is as long as can be. */
static u8 blk_get_id(const struct blk *blk, const struct virtio_request *req)
{
	const char *id = *blk->serial ? blk->serial : blk->virtio.fn.dev.id;
	u64 len = min_u64(req->chain.in_len - 1, BLK_ID_SIZE);

	len = min_u64(len, strlen(id));
	return virtio_write(req, 0, id, len) ? BLK_OK : BLK_IOERR;
}

static u8 erase(struct blk *blk, const struct blk_range *range, u32 type)
{
	struct block *block = blk->block;
	const u64 len = (u64)range->count * BLK_SECTOR;
	bool unmap = range->flags & BLK_UNMAP;
	u64 off;
	int ret;

	if (range->flags & ~BLK_UNMAP || (type == BLK_DISCARD && unmap))
		return BLK_UNSUPP;
	if (!range_is_good(blk, range->sector, len, &off) || blk->ro)
		return BLK_IOERR;
	if (!len)
		return BLK_OK;
	if (type == BLK_DISCARD)
		ret = block->ops->discard(block, off, len);
	else
		ret = block->ops->zero(block, off, len, unmap && blk->discard);
	return status_of(&blk->virtio, "a discard", ret);
}

static u8 blk_erase(struct blk *blk, const struct virtio_request *req, u32 type)
{
	const u64 len = req->chain.out_len - sizeof(struct blk_header);
	struct blk_range ranges[BLK_MAX_RANGES];
	u8 status = BLK_OK;

	if (!virtio_has(&blk->virtio, type == BLK_DISCARD ? BLK_F_DISCARD
							  : BLK_F_WRITE_ZEROES))
		return BLK_UNSUPP;
	if (!len || len > sizeof(ranges) || len % sizeof(ranges[0]) ||
	    !virtio_read(req, sizeof(struct blk_header), ranges, len))
		return BLK_IOERR;
	virtio_may_block(&blk->virtio);
	for (u64 i = 0; status == BLK_OK && i < len / sizeof(ranges[0]); i++)
		status = erase(blk, &ranges[i], type);
	if (status == BLK_OK && is_written_through(blk))
		status = status_of(&blk->virtio, "a flush", blk_flush(blk));
	return status;
}

static u8 answer(struct blk *blk, const struct virtio_request *req,
		 const struct blk_header *header)
{
	switch (header->type) {
	case BLK_IN:
		return blk_in(blk, req, header->sector);
	case BLK_OUT:
		return blk_out(blk, req, header->sector);
	case BLK_FLUSH:
		return status_of(&blk->virtio, "a flush", blk_flush(blk));
	case BLK_GET_ID:
		return blk_get_id(blk, req);
	case BLK_DISCARD:
	case BLK_WRITE_ZEROES:
		return blk_erase(blk, req, header->type);
	}
	return BLK_UNSUPP;
}

/* A request without room for a status cannot even be refused. */
static u32 blk_request(struct virtio *v, struct virtio_request *req)
{
	const u64 last = req->chain.in_len - 1;
	struct blk_header header;
	u8 status;

	if (!req->chain.in_len || !virtio_read(req, 0, &header, sizeof(header)))
		return 0;
	if (header.type != BLK_IN)
		clear(req, last);
	status = answer(to_blk(v), req, &header);
	virtio_write(req, last, &status, 1);
	return (u32)last + 1;
}

/* ---- configuration ------------------------------------------------------- */

/* [1] 5.2.5: the write cache can be switched, nothing else. */
static void blk_config_write(struct virtio *v, u64 off, unsigned width, u64 val)
{
	struct blk *blk = to_blk(v);

	if (off != offsetof(struct blk_config, writeback) || width != 1 ||
	    !virtio_has(v, BLK_F_CONFIG_WCE))
		return;
	blk->config.writeback = val & 1;
	__atomic_store_n(&blk->regs.writeback, val & 1, __ATOMIC_RELAXED);
}

static void blk_reset(struct virtio *v)
{
	struct blk *blk = to_blk(v);

	blk->config.writeback = blk->regs.writeback = 1;
}

static const struct virtio_ops blk_ops = {
	.id = 2,
	.class_code = 0x018000, /* mass storage, of no common kind */
	.request = blk_request,
	.config_write = blk_config_write,
	.reset = blk_reset,
};

static u8 log2_of(u32 power)
{
	return (u8)__builtin_ctz(power);
}

static void fill_config(struct blk *blk)
{
	const u32 physical = blk->block->physical_sector;

	blk->config = (struct blk_config){
		.capacity = blk->block->size / BLK_SECTOR,
		.seg_max = VIRTQ_MAX_SIZE - 2, /* header and status */
		.blk_size = BLK_SECTOR,
		.physical_block_exp = log2_of(physical / BLK_SECTOR),
		.min_io_size = (u16)(physical / BLK_SECTOR),
		.writeback = 1,
		.num_queues = (u16)blk->queues,
		.max_discard_sectors = BLK_MAX_RANGE,
		.max_discard_seg = BLK_MAX_RANGES,
		.discard_sector_alignment = physical / BLK_SECTOR,
		.max_write_zeroes_sectors = BLK_MAX_RANGE,
		.max_write_zeroes_seg = BLK_MAX_RANGES,
		.write_zeroes_may_unmap = blk->discard,
	};
	blk->virtio.config = (u8 *)&blk->config;
	blk->virtio.config_len = BLK_CONFIG_SIZE;
}

static u64 features_of(const struct blk *blk)
{
	u64 features = BIT(BLK_F_SEG_MAX) | BIT(BLK_F_BLK_SIZE) |
		       BIT(BLK_F_FLUSH) | BIT(BLK_F_TOPOLOGY) |
		       BIT(BLK_F_CONFIG_WCE) | BIT(BLK_F_MQ);

	if (blk->ro)
		return features | BIT(BLK_F_RO);
	if (blk->discard)
		features |= BIT(BLK_F_DISCARD);
	return features | BIT(BLK_F_WRITE_ZEROES);
}

/* ---- life ---------------------------------------------------------------- */

static int open_block(struct blk *blk, struct err *err)
{
	const struct block_config plain = {
		.path = blk->path,
		.read_only = blk->ro,
		.locked = true,
	};
	const struct block_overlay_config over = {
		.image = blk->path,
		.path = blk->temporary ? NULL : blk->overlay,
		.read_only = blk->ro,
	};

	if (blk->temporary && (*blk->overlay || blk->ro))
		return err_set(err, -EINVAL,
			       "%s: a disk that is temporary has neither an "
			       "overlay of its own nor is it read-only",
			       blk->path);
	if (blk->temporary || *blk->overlay)
		return block_open_overlay(&blk->block, &over, err);
	return block_open(&blk->block, &plain, err);
}

static int open_disk(struct blk *blk, struct err *err)
{
	int ret = open_block(blk, err);

	if (ret)
		return ret;
	if (!blk->block->size || blk->block->size % BLK_SECTOR)
		return err_set(err, -EINVAL,
			       "%s: %llu bytes are no disk, which has a "
			       "multiple of %d",
			       blk->path, (unsigned long long)blk->block->size,
			       BLK_SECTOR);
	return 0;
}

static int check_number(const char *name, u64 val, u64 most, struct err *err)
{
	if (val >= 1 && val <= most)
		return 0;
	return err_set(err, -EINVAL, "virtio-blk: %s=%llu: 1 to %llu", name,
		       (unsigned long long)val, (unsigned long long)most);
}

static int blk_create(struct device *dev, struct err *err)
{
	struct blk *blk = to_blk(to_virtio(dev));
	int ret;

	if (!blk->queues)
		blk->queues = min_u64(dev->vm->vcpu_count, BLK_MAX_QUEUES);
	ret = check_number("queues", blk->queues, BLK_MAX_QUEUES, err);
	if (!ret)
		ret = check_number("threads", blk->threads, VIRTIO_MAX_THREADS,
				   err);
	if (!ret)
		ret = open_disk(blk, err);
	if (ret)
		return ret;
	fill_config(blk);
	blk->virtio.ops = &blk_ops;
	blk->virtio.regs = &blk->regs.virtio;
	blk->virtio.features[0] = features_of(blk);
	blk->virtio.queue_count = (unsigned)blk->queues;
	blk->virtio.threads = (unsigned)blk->threads;
	return virtio_create(&blk->virtio, err);
}

static void blk_destroy(struct device *dev)
{
	virtio_destroy(dev);
	block_close(to_blk(to_virtio(dev))->block);
}

static int blk_loaded(struct device *dev, struct err *err)
{
	struct blk *blk = to_blk(to_virtio(dev));
	static const u8 none[sizeof(blk->regs.reserved)];

	if (blk->regs.writeback > 1 ||
	    memcmp(blk->regs.reserved, none, sizeof(none)) != 0)
		return err_set(err, -EINVAL, "%s: saved state is not valid",
			       dev->id);
	blk->config.writeback = blk->regs.writeback;
	return virtio_loaded(dev, err);
}

static const struct device_option blk_options[] = {
	{"path", OPT_STR, offsetof(struct blk, path), NULL,
	 "file or block device of the host"},
	{"ro", OPT_BOOL, offsetof(struct blk, ro), "off",
	 "read-only, for the guest and for us"},
	{"overlay", OPT_STR, offsetof(struct blk, overlay), "",
	 "file for what changes, made if it is not there; path stays as it is"},
	{"temporary", OPT_BOOL, offsetof(struct blk, temporary), "off",
	 "what changes is gone when the VM ends; path stays as it is"},
	{"discard", OPT_BOOL, offsetof(struct blk, discard), "on",
	 "what the guest discards is given back to the host"},
	{"serial", OPT_STR, offsetof(struct blk, serial), "",
	 "name that the guest reads, up to 20 bytes (the device's id)"},
	{"queues", OPT_NUM, offsetof(struct blk, queues), "0",
	 "request queues, 1 to 16; 0: one a CPU"},
	{"threads", OPT_NUM, offsetof(struct blk, threads), "4",
	 "requests that may wait for storage at once, 1 to 16"},
	VIRTIO_OPTIONS(struct blk),
	{0},
};

static const struct device_type blk_type = {
	.name = "virtio-blk",
	.help = "a disk",
	.options = blk_options,
	.save_version = 1,
	.create = blk_create,
	.destroy = blk_destroy,
	VIRTIO_TYPE(struct blk, blk_loaded),
};
DEVICE_TYPE(blk_type);
