/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a virtio device, whatever the transport: status, features, and
 * the life of queues.
 *
 * Theory of operation. Requests may be in flight on other threads when the
 * driver resets the device or one of its queues. The reset is then noted, no
 * further request is begun, and it happens when the last of them is back, which
 * is thrown away. Until then the status (a queue's reset register) reads as
 * before; drivers poll it ([1] 2.4.2, 2.6.1). One that does not poll and goes
 * on at once waits in its next write, see settle().
 *
 * References: [1] OASIS VIRTIO 1.2: 2.1 (status), 2.2 (features), 2.4 (reset),
 * 2.5 (configuration), 2.6 (queues), 3.1 (initialization).
 */
#include "virtio/virtio.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "util/log.h"
#include "util/text.h"
#include "vmm/vm.h"

bool virtio_is_busy(const struct virtio *v)
{
	for (unsigned i = 0; i < v->queue_count; i++)
		if (v->queues[i].in_flight)
			return true;
	return false;
}

bool virtio_is_running(const struct virtio *v)
{
	const u8 both = VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET;

	return (v->regs->status & both) == VIRTIO_DRIVER_OK && !v->resetting &&
	       !v->paused;
}

bool virtio_has(const struct virtio *v, unsigned feature)
{
	return v->regs->accepted[feature / 64] & BIT(feature % 64);
}

static void ignore(struct virtio *v)
{
	v->ignored++;
	log_guest("%s: a write at the wrong time", v->fn.dev.id);
}

/* ---- interrupts ---------------------------------------------------------- */

static void config_interrupt(struct virtio *v)
{
	v->interrupts++;
	v->transport->interrupt(v, VIRTIO_ISR_CONFIG, v->regs->config_vector);
}

void virtio_config_changed(struct virtio *v)
{
	v->regs->generation++;
	if (v->regs->status & VIRTIO_DRIVER_OK)
		config_interrupt(v);
}

/* [1] 2.1.2 */
void virtio_break(struct virtio *v)
{
	if (v->regs->status & VIRTIO_NEEDS_RESET)
		return;
	v->broken++;
	v->regs->status |= VIRTIO_NEEDS_RESET;
	log_guest("%s: the driver broke the rules, needs reset", v->fn.dev.id);
	if (v->regs->status & VIRTIO_DRIVER_OK)
		config_interrupt(v);
}

/* ---- reset --------------------------------------------------------------- */

/* Of all but the transport's own registers; nothing is in flight. */
static void reset_now(struct virtio *v)
{
	struct virtio_regs *regs = v->regs;

	v->resetting = false;
	memset(regs->accepted, 0, sizeof(regs->accepted));
	regs->offered_select = regs->accepted_select = 0;
	regs->queue_select = 0;
	regs->config_vector = 0xffff;
	regs->status = regs->isr = 0;
	for (unsigned i = 0; i < v->queue_count; i++)
		virtq_reset(&v->queues[i]);
	virtio_update_doorbells(v);
	if (v->ops->reset)
		v->ops->reset(v);
}

void virtio_settled(struct virtio *v)
{
	for (unsigned i = 0; i < v->queue_count; i++)
		if (v->queues[i].resetting && !v->queues[i].in_flight)
			virtq_reset(&v->queues[i]);
	if (virtio_is_busy(v))
		return;
	if (v->resetting)
		reset_now(v);
	pthread_cond_broadcast(&v->idle);
}

/* A driver that did not wait for its reset waits here. */
static void settle(struct virtio *v)
{
	while (v->resetting)
		pthread_cond_wait(&v->idle, &v->fn.dev.lock);
}

static void begin_reset(struct virtio *v)
{
	v->resetting = true;
	for (unsigned i = 0; i < v->queue_count; i++)
		v->queues[i].resetting = true;
	virtio_settled(v);
}

/* ---- status and features ------------------------------------------------- */

u8 virtio_get_status(struct virtio *v)
{
	return v->regs->status;
}

/* [1] 3.1.1: features are agreed if we can do without the others. */
static bool features_are_good(const struct virtio *v)
{
	const u64 *accepted = v->regs->accepted;

	return (accepted[0] & VIRTIO_F_VERSION_1) &&
	       !(accepted[0] & ~v->features[0]) &&
	       !(accepted[1] & ~v->features[1]);
}

void virtio_set_status(struct virtio *v, u8 status)
{
	const u8 steps = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FAILED;
	u8 *now = &v->regs->status, before;

	if (!status) {
		begin_reset(v);
		return;
	}
	settle(v);
	before = *now;
	/* Bits are set; only a reset clears them. */
	*now |= status & steps;
	if ((status & VIRTIO_FEATURES_OK) && features_are_good(v))
		*now |= VIRTIO_FEATURES_OK;
	if ((status & VIRTIO_DRIVER_OK) && (*now & VIRTIO_FEATURES_OK))
		*now |= VIRTIO_DRIVER_OK;
	if (!(*now & ~before & VIRTIO_DRIVER_OK))
		return;
	if (v->ops->start)
		v->ops->start(v);
	virtio_serve_kick(v);
}

u32 virtio_get_features(const struct virtio *v, bool accepted)
{
	const u32 select =
		accepted ? v->regs->accepted_select : v->regs->offered_select;
	const u64 *set = accepted ? v->regs->accepted : v->features;

	return select < 4 ? (u32)(set[select / 2] >> (32 * (select % 2))) : 0;
}

void virtio_set_features(struct virtio *v, u32 bits)
{
	const u32 select = v->regs->accepted_select;
	const unsigned shift = 32 * (select % 2);
	u64 *set;

	settle(v);
	if (v->regs->status & VIRTIO_FEATURES_OK) {
		ignore(v);
	} else if (select < 4) {
		set = &v->regs->accepted[select / 2];
		*set &= ~(0xffffffffull << shift);
		*set |= (u64)bits << shift;
	}
}

/* ---- queues -------------------------------------------------------------- */

struct virtq *virtio_queue(struct virtio *v)
{
	settle(v);
	return v->regs->queue_select < v->queue_count
		       ? &v->queues[v->regs->queue_select]
		       : NULL;
}

struct virtq_regs *virtio_queue_to_set(struct virtio *v)
{
	struct virtq *q = virtio_queue(v);

	if (q && !q->regs->enabled)
		return q->regs;
	ignore(v);
	return NULL;
}

void virtio_queue_enable(struct virtio *v)
{
	struct virtq *q = virtio_queue(v);

	/* [1] 3.1.1: queues come after features. */
	if (!q || q->regs->enabled || !(v->regs->status & VIRTIO_FEATURES_OK)) {
		ignore(v);
		return;
	}
	virtq_enable(q, v->regs->accepted[0]);
	if (q->broken)
		virtio_break(v);
	virtio_update_doorbells(v);
	virtio_serve_kick(v);
}

void virtio_queue_reset(struct virtio *v)
{
	struct virtq *q = virtio_queue(v);

	if (!q) {
		ignore(v);
		return;
	}
	q->resetting = true;
	virtio_settled(v);
	virtio_update_doorbells(v);
}

static void update_doorbell(struct virtio *v, unsigned i)
{
	struct doorbell *doorbell = &v->bells[i];
	struct engine_doorbell want = {.fd = v->kick.fd};
	bool on = v->regs->queues[i].enabled &&
		  v->transport->doorbell(v, i, &want);

	if (on && doorbell->vm && doorbell->bell.addr == want.addr)
		return;
	doorbell_clear(doorbell);
	if (!on)
		return;
	doorbell->bell = want;
	doorbell_set(doorbell, v->fn.dev.vm);
}

void virtio_update_doorbells(struct virtio *v)
{
	for (unsigned i = 0; i < v->queue_count; i++)
		update_doorbell(v, i);
}

void virtio_notify(struct virtio *v, unsigned queue)
{
	v->notifications++;
	if (queue < v->queue_count && virtio_is_running(v))
		virtio_serve_kick(v);
}

/* ---- configuration bytes ------------------------------------------------- */

u64 virtio_config_read(const struct virtio *v, u64 off, unsigned width)
{
	if (off + width > v->config_len)
		return 0;
	return pci_get(v->config + off, width);
}

void virtio_config_write(struct virtio *v, u64 off, unsigned width, u64 val)
{
	settle(v);
	if (!v->ops->config_write || off + width > v->config_len)
		ignore(v);
	else
		v->ops->config_write(v, off, width, val);
}

/* ---- life ---------------------------------------------------------------- */

int virtio_create(struct virtio *v, struct err *err)
{
	int ret;

	assert(v->queue_count >= 1 && v->queue_count <= VIRTIO_MAX_QUEUES);
	assert(v->threads <= VIRTIO_MAX_THREADS);
	v->transport = v->mmio ? &virtio_mmio : &virtio_pci;
	v->features[0] |= VIRTIO_F_VERSION_1 | VIRTIO_F_RING_RESET |
			  VIRTQ_F_INDIRECT | VIRTQ_F_EVENT_IDX;
	if (v->packed)
		v->features[0] |= VIRTQ_F_PACKED;
	pthread_cond_init(&v->idle, NULL);
	pthread_cond_init(&v->work, NULL);
	v->kick.fd = -1;
	for (unsigned i = 0; i < v->queue_count; i++) {
		v->queues[i].mem = &v->fn.dev.vm->mem;
		v->queues[i].max_size = VIRTQ_MAX_SIZE;
		v->queues[i].regs = &v->regs->queues[i];
	}
	ret = v->transport->plug(v, err);
	return ret ? ret : virtio_serve_start(v, err);
}

void virtio_destroy(struct device *dev)
{
	struct virtio *v = to_virtio(dev);

	/* One whose options were refused has not begun. */
	if (!v->transport)
		return;
	virtio_serve_stop(v);
	for (unsigned i = 0; i < v->queue_count; i++)
		doorbell_clear(&v->bells[i]);
	pthread_cond_destroy(&v->idle);
	pthread_cond_destroy(&v->work);
}

void virtio_reset(struct device *dev)
{
	struct virtio *v = to_virtio(dev);

	begin_reset(v);
	settle(v);
	v->transport->reset(v);
}

void virtio_quiesce(struct device *dev)
{
	struct virtio *v = to_virtio(dev);

	v->paused = true;
	virtio_finish_all(v);
}

void virtio_resume(struct device *dev)
{
	struct virtio *v = to_virtio(dev);

	v->paused = false;
	virtio_serve_kick(v);
}

void virtio_stats(struct device *dev, struct text *out)
{
	const struct virtio *v = to_virtio(dev);

	text_put(out, "%s.requests %llu\n", dev->id,
		 (unsigned long long)v->requests);
	text_put(out, "%s.notifications %llu\n", dev->id,
		 (unsigned long long)v->notifications);
	text_put(out, "%s.interrupts %llu\n", dev->id,
		 (unsigned long long)v->interrupts);
	text_put(out, "%s.broken %llu\n", dev->id,
		 (unsigned long long)v->broken);
	text_put(out, "%s.ignored_writes %llu\n", dev->id,
		 (unsigned long long)v->ignored);
}

/* ---- saved state --------------------------------------------------------- */

static bool queue_is_good(const struct virtio *v, unsigned i)
{
	const struct virtq_regs *r = &v->regs->queues[i];

	if (i >= v->queue_count)
		return !r->enabled && !r->size;
	/* The size may be anything: it is the driver's until it is used. */
	return r->enabled <= 1 && r->avail_wrap <= 1 && r->used_wrap <= 1 &&
	       !r->reserved && !r->reserved2 &&
	       (!r->enabled || (v->regs->status & VIRTIO_FEATURES_OK));
}

static bool regs_are_good(const struct virtio *v)
{
	const u8 known = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK |
			 VIRTIO_FEATURES_OK | VIRTIO_NEEDS_RESET |
			 VIRTIO_FAILED;
	const struct virtio_regs *regs = v->regs;
	bool good =
		!(regs->status & ~known) && regs->isr <= 3 && !regs->reserved;

	if (regs->status & VIRTIO_FEATURES_OK)
		good &= features_are_good(v);
	else
		good &= !(regs->status & VIRTIO_DRIVER_OK);
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		good &= queue_is_good(v, i);
	return good;
}

static void rebuild_queue(struct virtio *v, unsigned i)
{
	struct virtq *q = &v->queues[i];

	q->broken = false;
	if (!q->regs->enabled)
		return;
	virtq_enable(q, v->regs->accepted[0]);
	if (q->broken)
		virtio_break(v);
}

int virtio_loaded(struct device *dev, struct err *err)
{
	struct virtio *v = to_virtio(dev);
	int ret;

	if (!regs_are_good(v))
		return err_set(err, -EINVAL, "%s: saved state is not valid",
			       dev->id);
	ret = v->transport->loaded(v, err);
	if (ret)
		return ret;
	for (unsigned i = 0; i < v->queue_count; i++)
		rebuild_queue(v, i);
	virtio_update_doorbells(v);
	if ((v->regs->status & VIRTIO_DRIVER_OK) && v->ops->start)
		v->ops->start(v);
	virtio_serve_kick(v);
	return 0;
}
