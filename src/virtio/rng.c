/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng: random bytes from the host's kernel.
 *
 * References: [1] OASIS VIRTIO 1.2, 5.4 (entropy device).
 */
#include <sys/random.h>

#include "virtio/virtio.h"

enum { RNG_ID = 4, RNG_CLASS = 0x00ff00, RNG_MAX = 4096 /* a request */ };

struct rng {
	struct virtio virtio;
	/* regs */
	struct virtio_regs regs;
};

/* [1] 5.4.6: fewer bytes than asked for are fine, but not none. */
static u32 rng_request(struct virtio *v, struct virtio_request *req)
{
	u8 bytes[RNG_MAX];
	u64 want = min_u64(req->chain.in_len, sizeof(bytes));
	ssize_t got = getrandom(bytes, want, 0);

	if (got <= 0 || !virtio_write(req, 0, bytes, (u64)got))
		return 0;
	return (u32)got;
}

static const struct virtio_ops rng_ops = {
	.id = RNG_ID,
	.class_code = RNG_CLASS,
	.request = rng_request,
};

static int rng_create(struct device *dev, struct err *err)
{
	struct rng *rng = container_of(dev, struct rng, virtio.fn.dev);

	rng->virtio.ops = &rng_ops;
	rng->virtio.regs = &rng->regs;
	rng->virtio.queue_count = 1;
	return virtio_create(&rng->virtio, err);
}

static const struct device_option rng_options[] = {
	VIRTIO_OPTIONS(struct rng),
	{0},
};

static const struct device_type rng_type = {
	.name = "virtio-rng",
	.help = "random numbers",
	.options = rng_options,
	.save_version = 1,
	.create = rng_create,
	.destroy = virtio_destroy,
	VIRTIO_TYPE(struct rng, virtio_loaded),
};
DEVICE_TYPE(rng_type);
