/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over PCI: a "modern" function, whose capabilities say where in BAR 0
 * each kind of register is.
 *
 *     BAR 0  0x0000  common configuration
 *            0x1000  ISR status
 *            0x2000  the device's configuration bytes
 *            0x3000  notifications, 4 bytes a queue
 *     BAR 1  MSI-X
 *
 * A register is accessed in its own width, the 64-bit ones in halves of 32
 * ([1] 4.1.3.1); anything else reads zero and writes nothing.
 *
 * References: [1] OASIS VIRTIO 1.2, 4.1.
 *
 * Not emulated: the legacy interface, notification data, shared memory.
 */
#include <errno.h>

#include "virtio/virtio.h"
#include "vmm/vm.h"

enum pci_identity { VENDOR = 0x1af4, FIRST_DEVICE = 0x1040, REVISION = 1 };

enum bar_layout {
	COMMON = 0x0000,
	ISR = 0x1000,
	DEVICE = 0x2000,
	NOTIFY = 0x3000,
	NOTIFY_STEP = 4,
	BLOCK = 0x1000, /* of each */
	BAR_SIZE = 0x4000,
};

enum capability_kind { /* [1] 4.1.4 */
		       CAP_VENDOR = 9,
		       CAP_COMMON = 1,
		       CAP_NOTIFY = 2,
		       CAP_ISR = 3,
		       CAP_DEVICE = 4,
		       CAP_PCI = 5,
};

/* ---- common configuration ------------------------------------------------ */

enum common_register { /* [1] 4.1.4.3 */
		       OFFERED_SELECT = 0,
		       OFFERED = 4,
		       ACCEPTED_SELECT = 8,
		       ACCEPTED = 12,
		       CONFIG_VECTOR = 16,
		       QUEUES = 18,
		       STATUS = 20,
		       GENERATION = 21,
		       QUEUE_SELECT = 22,
		       QUEUE_SIZE = 24,
		       QUEUE_VECTOR = 26,
		       QUEUE_ENABLE = 28,
		       QUEUE_NOTIFY = 30,
		       QUEUE_DESC = 32,
		       QUEUE_DRIVER = 40,
		       QUEUE_DEVICE = 48,
		       QUEUE_NOTIFY_DATA = 56,
		       QUEUE_RESET = 58,
		       COMMON_SIZE = 60,
};

/* The width of the register that begins there; 0: none does. */
static const u8 common_width[COMMON_SIZE] = {
	[OFFERED_SELECT] = 4,	[OFFERED] = 4,		 [ACCEPTED_SELECT] = 4,
	[ACCEPTED] = 4,		[CONFIG_VECTOR] = 2,	 [QUEUES] = 2,
	[STATUS] = 1,		[GENERATION] = 1,	 [QUEUE_SELECT] = 2,
	[QUEUE_SIZE] = 2,	[QUEUE_VECTOR] = 2,	 [QUEUE_ENABLE] = 2,
	[QUEUE_NOTIFY] = 2,	[QUEUE_DESC] = 4,	 [QUEUE_DESC + 4] = 4,
	[QUEUE_DRIVER] = 4,	[QUEUE_DRIVER + 4] = 4,	 [QUEUE_DEVICE] = 4,
	[QUEUE_DEVICE + 4] = 4, [QUEUE_NOTIFY_DATA] = 2, [QUEUE_RESET] = 2,
};

static u64 queue_read(struct virtio *v, u64 off)
{
	const struct virtq *q = virtio_queue(v);

	/* [1] 4.1.4.3.2: a queue of size 0 is not there. */
	if (!q)
		return 0;
	switch (off) {
	case QUEUE_SIZE:
		return q->regs->size;
	case QUEUE_VECTOR:
		return q->regs->vector;
	case QUEUE_ENABLE:
		return q->regs->enabled && !q->resetting;
	case QUEUE_NOTIFY:
	case QUEUE_NOTIFY_DATA:
		return v->regs->queue_select;
	case QUEUE_DESC:
		return q->regs->desc;
	case QUEUE_DESC + 4:
		return q->regs->desc >> 32;
	case QUEUE_DRIVER:
		return q->regs->driver;
	case QUEUE_DRIVER + 4:
		return q->regs->driver >> 32;
	case QUEUE_DEVICE:
		return q->regs->device;
	case QUEUE_DEVICE + 4:
		return q->regs->device >> 32;
	case QUEUE_RESET:
		return q->resetting;
	}
	return 0;
}

static u64 common_read(struct virtio *v, u64 off)
{
	switch (off) {
	case OFFERED_SELECT:
		return v->regs->offered_select;
	case OFFERED:
		return virtio_get_features(v, false);
	case ACCEPTED_SELECT:
		return v->regs->accepted_select;
	case ACCEPTED:
		return virtio_get_features(v, true);
	case CONFIG_VECTOR:
		return v->regs->config_vector;
	case QUEUES:
		return v->queue_count;
	case STATUS:
		return virtio_get_status(v);
	case GENERATION:
		return v->regs->generation;
	case QUEUE_SELECT:
		return v->regs->queue_select;
	}
	return queue_read(v, off);
}

/* [1] 4.1.5.1.2.1: one that is not there reads back as none. */
static u16 vector_of(const struct virtio *v, u64 val)
{
	return val < v->msix.count ? (u16)val : 0xffff;
}

/* What can be set while the queue is not yet enabled. */
static void queue_set(struct virtio *v, u64 off, u64 val)
{
	struct virtq_regs *r = virtio_queue_to_set(v);
	const bool high = off & 4;

	if (!r)
		return;
	switch (off) {
	case QUEUE_SIZE:
		r->size = (u16)val;
		break;
	case QUEUE_VECTOR:
		r->vector = vector_of(v, val);
		break;
	case QUEUE_DESC:
	case QUEUE_DESC + 4:
		virtio_set_half(&r->desc, high, val);
		break;
	case QUEUE_DRIVER:
	case QUEUE_DRIVER + 4:
		virtio_set_half(&r->driver, high, val);
		break;
	case QUEUE_DEVICE:
	case QUEUE_DEVICE + 4:
		virtio_set_half(&r->device, high, val);
		break;
	}
}

static void common_write(struct virtio *v, u64 off, u64 val)
{
	switch (off) {
	case OFFERED_SELECT:
		v->regs->offered_select = (u32)val;
		break;
	case ACCEPTED_SELECT:
		v->regs->accepted_select = (u32)val;
		break;
	case ACCEPTED:
		virtio_set_features(v, (u32)val);
		break;
	case CONFIG_VECTOR:
		v->regs->config_vector = vector_of(v, val);
		break;
	case STATUS:
		virtio_set_status(v, (u8)val);
		break;
	case QUEUE_SELECT:
		v->regs->queue_select = (u16)val;
		break;
	case QUEUE_ENABLE:
		if (val == 1) /* [1] 4.1.4.3.2: never 0 */
			virtio_queue_enable(v);
		break;
	case QUEUE_RESET:
		if (val == 1 && (v->regs->accepted[0] & VIRTIO_F_RING_RESET))
			virtio_queue_reset(v);
		break;
	default:
		queue_set(v, off, val);
	}
}

/* ---- BAR 0 --------------------------------------------------------------- */

static void update_pin(struct virtio *v)
{
	pci_set_intx(&v->fn, v->regs->isr && !msix_is_on(&v->msix));
}

/* [1] 4.1.4.5.1: reading clears it. */
static u64 isr_read(struct virtio *v)
{
	const u8 isr = v->regs->isr;

	v->regs->isr = 0;
	update_pin(v);
	return isr;
}

static u64 bar_read(struct device *dev, u64 off, unsigned width)
{
	struct virtio *v = to_virtio(dev);
	const u64 at = off % BLOCK;

	switch (off - at) {
	case COMMON:
		return at < COMMON_SIZE && common_width[at] == width
			       ? common_read(v, at)
			       : 0;
	case ISR:
		return at ? 0 : isr_read(v);
	case DEVICE:
		return virtio_config_read(v, at, width);
	}
	return 0;
}

static void bar_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct virtio *v = to_virtio(dev);
	const u64 at = off % BLOCK;

	switch (off - at) {
	case COMMON:
		if (at < COMMON_SIZE && common_width[at] == width)
			common_write(v, at, val);
		break;
	case DEVICE:
		virtio_config_write(v, at, width, val);
		break;
	case NOTIFY:
		virtio_notify(v, (unsigned)(at / NOTIFY_STEP));
		break;
	}
}

static u64 msix_read(struct device *dev, u64 off, unsigned width)
{
	return msix_bar_read(&to_virtio(dev)->msix, off, width);
}

static void msix_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	msix_bar_write(&to_virtio(dev)->msix, off, width, val);
}

static const struct pci_bar bars[PCI_BARS] = {
	{
		.kind = PCI_BAR_MEM32,
		.name = "virtio",
		.size = BAR_SIZE,
		.widths = BUS_W1 | BUS_W2 | BUS_W4,
		.read = bar_read,
		.write = bar_write,
	},
	{
		.kind = PCI_BAR_MEM32,
		.name = "virtio-msix",
		.size = MSIX_BAR_SIZE,
		.widths = MSIX_BAR_WIDTHS,
		.read = msix_read,
		.write = msix_write,
	},
};

/* ---- configuration space ------------------------------------------------- */

/* [1] 4.1.4: a window on the BARs for who cannot map them. */
enum window_layout {
	WINDOW_BAR = 4, /* in the capability */
	WINDOW_OFFSET = 8,
	WINDOW_LENGTH = 12,
	WINDOW_DATA = 16,
	WINDOW_SIZE = 20,
};

/* Where the window is; false: nowhere that it could be. */
static bool window_at(const struct virtio *v, const struct pci_bar **bar,
		      u64 *off, unsigned *width)
{
	const u8 *cap = v->fn.space + v->window;
	const u64 len = pci_get(cap + WINDOW_LENGTH, 4);

	*bar = cap[WINDOW_BAR] < PCI_BARS ? &bars[cap[WINDOW_BAR]] : NULL;
	*off = pci_get(cap + WINDOW_OFFSET, 4);
	*width = (unsigned)len;
	return *bar && (len == 1 || len == 2 || len == 4) &&
	       ((*bar)->widths & len) && !(*off % len) && *off < (*bar)->size;
}

static void config_reading(struct pci_function *fn, u64 off, unsigned width)
{
	struct virtio *v = to_virtio(&fn->dev);
	u8 *data = fn->space + v->window + WINDOW_DATA;
	const struct pci_bar *bar;
	unsigned len;
	u64 at;

	if (pci_touches(off, width, v->window + WINDOW_DATA, 4) &&
	    window_at(v, &bar, &at, &len))
		pci_put(data, bar->read(&fn->dev, at, len), len);
}

static void config_written(struct pci_function *fn, u64 off, unsigned width)
{
	struct virtio *v = to_virtio(&fn->dev);
	const u8 *data = fn->space + v->window + WINDOW_DATA;
	const struct pci_bar *bar;
	unsigned len;
	u64 at;

	msix_config_written(&v->msix, off, width);
	update_pin(v);
	if (pci_touches(off, width, PCI_COMMAND, 2) ||
	    pci_touches(off, width, PCI_BAR0, 4))
		virtio_update_doorbells(v);
	if (pci_touches(off, width, v->window + WINDOW_DATA, 4) &&
	    window_at(v, &bar, &at, &len))
		bar->write(&fn->dev, at, len, pci_get(data, len));
}

static const struct pci_config_ops config_ops = {
	.reading = config_reading,
	.written = config_written,
};

/* [1] 4.1.4: `extra` is what follows the common part, 0 or 4 bytes. */
static u8 add_capability(struct virtio *v, enum capability_kind kind, u32 off,
			 u32 len, u32 extra)
{
	const bool long_one = kind == CAP_NOTIFY || kind == CAP_PCI;
	const u8 size = long_one ? WINDOW_SIZE : WINDOW_DATA;
	u8 body[WINDOW_SIZE - 2] = {size, (u8)kind};

	pci_put(body + WINDOW_OFFSET - 2, off, 4);
	pci_put(body + WINDOW_LENGTH - 2, len, 4);
	pci_put(body + WINDOW_DATA - 2, extra, 4);
	return pci_add_capability(&v->fn, CAP_VENDOR, body, size);
}

static void add_capabilities(struct virtio *v)
{
	u8 *writable;

	add_capability(v, CAP_COMMON, COMMON, COMMON_SIZE, 0);
	add_capability(v, CAP_ISR, ISR, 1, 0);
	if (v->config_len)
		add_capability(v, CAP_DEVICE, DEVICE, v->config_len, 0);
	add_capability(v, CAP_NOTIFY, NOTIFY, NOTIFY_STEP * v->queue_count,
		       NOTIFY_STEP);
	v->window = add_capability(v, CAP_PCI, 0, 0, 0);
	writable = v->fn.writable + v->window;
	writable[WINDOW_BAR] = 0xff;
	pci_put(writable + WINDOW_OFFSET, UINT64_MAX, 8);
	pci_put(writable + WINDOW_DATA, UINT32_MAX, 4);
	msix_add(&v->msix, &v->fn, 1, v->queue_count + 1);
}

/* ---- the transport ------------------------------------------------------- */

static int plug(struct virtio *v, struct err *err)
{
	if (v->slot < 1 || v->slot >= PCI_SLOTS)
		return err_set(err, -EINVAL, "%s: slot=%llu: 1 to %d",
			       v->fn.dev.type->name,
			       (unsigned long long)v->slot, PCI_SLOTS - 1);
	v->ident = (struct pci_ident){
		.vendor = VENDOR,
		.device = (u16)(FIRST_DEVICE + v->ops->id),
		.class_code = v->ops->class_code,
		.revision = REVISION,
		.subsystem_vendor = VENDOR,
		.subsystem = (u16)(FIRST_DEVICE + v->ops->id),
		.interrupt_pin = 1,
	};
	v->fn.ident = &v->ident;
	v->fn.bars = bars;
	v->fn.ops = &config_ops;
	v->fn.bdf = PCI_BDF(0, (u16)v->slot, 0);
	v->fn.space = v->regs->space;
	v->msix.regs = &v->regs->msix;
	add_capabilities(v);
	return pci_function_plug(&v->fn, err);
}

static void reset(struct virtio *v)
{
	pci_function_reset(&v->fn);
	msix_reset(&v->msix);
}

static int loaded(struct virtio *v, struct err *err)
{
	int ret = msix_loaded(&v->msix, err);

	return ret ? ret : pci_function_loaded(&v->fn, err);
}

static void interrupt(struct virtio *v, enum virtio_isr isr, u16 vector)
{
	if (msix_is_on(&v->msix)) {
		msix_raise(&v->msix, vector);
		return;
	}
	v->regs->isr |= (u8)isr;
	update_pin(v);
}

static bool doorbell(struct virtio *v, unsigned queue,
		     struct engine_doorbell *bell)
{
	bell->mmio = true;
	bell->addr = v->fn.mapped[0] + NOTIFY + NOTIFY_STEP * queue;
	return v->fn.mapped[0] != PCI_UNMAPPED;
}

const struct virtio_transport virtio_pci = {
	.plug = plug,
	.reset = reset,
	.loaded = loaded,
	.interrupt = interrupt,
	.doorbell = doorbell,
};
