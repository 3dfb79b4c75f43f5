/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over memory-mapped registers, version 2: a page each, announced in the
 * DSDT, and one level-triggered line. An interrupt costs two accesses more than
 * MSI-X does; PCI is the way where there is one.
 *
 * Registers are 32 bits wide ([1] 4.2.2.2): other widths read zero and write
 * nothing, but in the device's own configuration bytes.
 *
 * References: [1] OASIS VIRTIO 1.2, 4.2.
 *
 * Not emulated: the legacy interface, shared memory.
 */
#include <errno.h>

#include "arch/platform.h"
#include "virtio/virtio.h"
#include "vmm/vm.h"

enum mmio_register { /* [1] table 4.1 */
		     MAGIC = 0x000,
		     VERSION = 0x004,
		     DEVICE_ID = 0x008,
		     VENDOR_ID = 0x00c,
		     OFFERED = 0x010,
		     OFFERED_SELECT = 0x014,
		     ACCEPTED = 0x020,
		     ACCEPTED_SELECT = 0x024,
		     QUEUE_SELECT = 0x030,
		     QUEUE_SIZE_MAX = 0x034,
		     QUEUE_SIZE = 0x038,
		     QUEUE_READY = 0x044,
		     QUEUE_NOTIFY = 0x050,
		     INTERRUPT_STATUS = 0x060,
		     INTERRUPT_ACK = 0x064,
		     STATUS = 0x070,
		     QUEUE_DESC = 0x080,
		     QUEUE_DESC_HIGH = 0x084,
		     QUEUE_DRIVER = 0x090,
		     QUEUE_DRIVER_HIGH = 0x094,
		     QUEUE_DEVICE = 0x0a0,
		     QUEUE_DEVICE_HIGH = 0x0a4,
		     SHARED_LEN = 0x0b0, /* and base, 16 bytes: all ones, there
					    is none */
		     SHARED_END = 0x0c0,
		     QUEUE_RESET = 0x0c0,
		     GENERATION = 0x0fc,
		     CONFIG = 0x100,
};

#define MMIO_MAGIC 0x74726976u	/* "virt" */
#define MMIO_VENDOR 0x4f524956u /* "VIRO" */

static u64 queue_read(struct virtio *v, u64 off)
{
	const struct virtq *q = virtio_queue(v);

	if (!q)
		return 0;
	switch (off) {
	case QUEUE_SIZE_MAX:
		return q->max_size;
	case QUEUE_READY:
		return q->regs->enabled && !q->resetting;
	case QUEUE_RESET:
		return q->resetting;
	}
	return 0;
}

static u64 register_read(struct virtio *v, u64 off)
{
	switch (off) {
	case MAGIC:
		return MMIO_MAGIC;
	case VERSION:
		return 2;
	case DEVICE_ID:
		return v->ops->id;
	case VENDOR_ID:
		return MMIO_VENDOR;
	case OFFERED:
		return virtio_get_features(v, false);
	case INTERRUPT_STATUS:
		return v->regs->isr;
	case STATUS:
		return virtio_get_status(v);
	case GENERATION:
		return v->regs->generation;
	}
	if (off >= SHARED_LEN && off < SHARED_END)
		return UINT32_MAX;
	return queue_read(v, off);
}

/* What can be set while the queue is not yet ready. */
static void queue_set(struct virtio *v, u64 off, u64 val)
{
	struct virtq_regs *r = virtio_queue_to_set(v);
	const bool high = off & 4;

	if (!r)
		return;
	switch (off) {
	case QUEUE_SIZE:
		/* 0 is no size: to be refused as such. */
		r->size = val <= UINT16_MAX ? (u16)val : 0;
		break;
	case QUEUE_DESC:
	case QUEUE_DESC_HIGH:
		virtio_set_half(&r->desc, high, val);
		break;
	case QUEUE_DRIVER:
	case QUEUE_DRIVER_HIGH:
		virtio_set_half(&r->driver, high, val);
		break;
	case QUEUE_DEVICE:
	case QUEUE_DEVICE_HIGH:
		virtio_set_half(&r->device, high, val);
		break;
	}
}

static void set_ready(struct virtio *v, u64 val)
{
	if (val == 1)
		virtio_queue_enable(v);
	else if (!val)
		virtio_queue_reset(v);
}

static void update_line(struct virtio *v)
{
	irq_set(v->fn.line, v->regs->isr);
}

static void register_write(struct virtio *v, u64 off, u64 val)
{
	switch (off) {
	case OFFERED_SELECT:
		v->regs->offered_select = (u32)val;
		break;
	case ACCEPTED:
		virtio_set_features(v, (u32)val);
		break;
	case ACCEPTED_SELECT:
		v->regs->accepted_select = (u32)val;
		break;
	case QUEUE_SELECT:
		/* Beyond 16 bits there is none either. */
		v->regs->queue_select = (u16)min_u64(val, UINT16_MAX);
		break;
	case QUEUE_READY:
		set_ready(v, val);
		break;
	case QUEUE_NOTIFY:
		virtio_notify(v, (unsigned)val);
		break;
	case INTERRUPT_ACK:
		v->regs->isr &= (u8)~val;
		update_line(v);
		break;
	case STATUS:
		virtio_set_status(v, (u8)val);
		update_line(v);
		break;
	case QUEUE_RESET:
		if (val == 1 && (v->regs->accepted[0] & VIRTIO_F_RING_RESET))
			virtio_queue_reset(v);
		break;
	default:
		queue_set(v, off, val);
	}
}

static u64 mmio_read(struct device *dev, u64 off, unsigned width)
{
	struct virtio *v = to_virtio(dev);

	if (off >= CONFIG)
		return virtio_config_read(v, off - CONFIG, width);
	return width == 4 ? register_read(v, off) : 0;
}

static void mmio_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct virtio *v = to_virtio(dev);

	if (off >= CONFIG)
		virtio_config_write(v, off - CONFIG, width, val);
	else if (width == 4)
		register_write(v, off, val);
}

int virtio_mmio_slot(const struct device *dev)
{
	const struct virtio *v = container_of(dev, struct virtio, fn.dev);

	return dev->type->reset == virtio_reset && v->mmio ? (int)v->slot : -1;
}

/* ---- the transport ------------------------------------------------------- */

static u64 base_of(const struct virtio *v)
{
	return PLAT_VIRTIO_BASE + v->slot * PLAT_VIRTIO_SIZE;
}

static int plug(struct virtio *v, struct err *err)
{
	const struct bus_region region = {
		.name = v->fn.dev.id,
		.space = BUS_MMIO,
		.base = base_of(v),
		.size = PLAT_VIRTIO_SIZE,
		.widths = BUS_W1 | BUS_W2 | BUS_W4,
		.dev = &v->fn.dev,
		.read = mmio_read,
		.write = mmio_write,
	};

	if (v->slot >= PLAT_VIRTIO_SLOTS)
		return err_set(err, -EINVAL, "%s: slot=%llu: 0 to %u",
			       v->fn.dev.type->name,
			       (unsigned long long)v->slot,
			       PLAT_VIRTIO_SLOTS - 1);
	v->fn.line =
		irq_line_shared(&v->fn.dev.vm->irq, pci_gsi((unsigned)v->slot));
	return bus_add(&v->fn.dev.vm->bus, &region, err);
}

static int loaded(struct virtio *v, struct err *err)
{
	update_line(v);
	return 0;
}

static void interrupt(struct virtio *v, enum virtio_isr isr, u16 vector)
{
	v->regs->isr |= (u8)isr;
	update_line(v);
}

static bool doorbell(struct virtio *v, unsigned queue,
		     struct engine_doorbell *bell)
{
	bell->mmio = true;
	bell->addr = base_of(v) + QUEUE_NOTIFY;
	bell->len = 4;
	bell->match = true;
	bell->value = queue;
	return true;
}

const struct virtio_transport virtio_mmio = {
	.plug = plug,
	.reset = update_line,
	.loaded = loaded,
	.interrupt = interrupt,
	.doorbell = doorbell,
};
