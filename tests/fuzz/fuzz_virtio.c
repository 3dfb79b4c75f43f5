/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio devices against a hostile driver: registers, configuration space,
 * rings and requests that begin well-formed and are then written over, resets,
 * pauses and saved states that lie.
 *
 * The fuzzer is the driver and the event loop; a device's own threads are
 * waited for after each notification. What must hold: no assertion, no
 * sanitizer's report, nothing left in flight, and a state that was saved and
 * loaded saves the same.
 */
#include "unit.h"

#include "fuzz.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/platform.h"
#include "virtio/virtio.h"
#include "virtq_driver.h"
#include "vm_fixture.h"

enum {
	SLOT = 1,
	BAR = 0xc0000000,
	MSIX = 0xc0100000,
	RINGS = 0x10000,
	DATA = 0x80000,
	QUEUES = 2,
	MAX_STEPS = 300,
	DISK_SIZE = 1 << 20,
};

enum step {
	BAR_WRITE,    /* offset u16, width u8, value u64 */
	BAR_READ,     /* offset u16, width u8 */
	CONFIG_WRITE, /* register u8, width u8, value u32 */
	CONFIG_READ,  /* register u8, width u8 */
	MSIX_WRITE,   /* offset u16, value u32 */
	START,	      /* features to leave out u64, sizes u8 */
	REQUEST,      /* queue u8, counts u8, {place u16, length u16}... */
	HEADER,	      /* type u32, sector u64: what REQUESTs begin with */
	MEMORY,	      /* offset into the rings u24, count u8, bytes */
	NOTIFY,	      /* queue u8 */
	RESET,
	PAUSE,
	SAVE_LOAD, /* count u8, {offset u16, xor u8}... */
	STEPS,
};

struct input {
	const u8 *at;
	size_t left;
};

struct machine {
	struct vm *vm;
	struct virtio *v;
	struct driver queues[QUEUES];
	bool started;
};

static u64 take(struct input *in, unsigned bytes)
{
	u64 val = 0;

	for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
		val |= (u64)*in->at++ << (8 * i);
	return val;
}

static unsigned take_width(struct input *in)
{
	return 1u << take(in, 1) % 4;
}

/* ---- the machine --------------------------------------------------------- */

static void drop_line(void *arg, unsigned gsi, bool level)
{
}

static int drop_msi(void *arg, u64 addr, u32 data)
{
	return 0;
}

static const struct irq_engine_ops drop_ops = {
	.set = drop_line,
	.msi = drop_msi,
};

static u64 config_at(u64 reg)
{
	return PLAT_ECAM_BASE + (PCI_BDF(0, SLOT, 0) << 12) + reg;
}

static void put(struct machine *m, u64 addr, unsigned width, u64 val)
{
	bus_write(&m->vm->bus, BUS_MMIO, addr, width, 1, &val);
}

static u64 get(struct machine *m, u64 addr, unsigned width)
{
	u64 val = 0;

	bus_read(&m->vm->bus, BUS_MMIO, addr, width, 1, &val);
	return val;
}

static void make(struct machine *m, struct input *in)
{
	static int disk = -1;
	const u64 kind = take(in, 1);
	const char *type = kind & 1 ? "virtio-blk" : "virtio-rng";
	char options[128];
	int len;

	if (disk < 0)
		disk = memfd_create("disk", 0);
	if (ftruncate(disk, DISK_SIZE))
		abort();
	len = snprintf(options, sizeof(options), "slot=%d,packed=%s", SLOT,
		       kind & 2 ? "on" : "off");
	if (kind & 1)
		snprintf(options + len, sizeof(options) - (size_t)len,
			 ",path=/proc/self/fd/%d,queues=2,threads=%d%s", disk,
			 kind & 4 ? 1 : 3, kind & 8 ? ",ro" : "");
	*m = (struct machine){.vm = fixture_vm(1)};
	m->vm->irq.engine = &drop_ops;
	fixture_device(m->vm, "pci-host", NULL);
	m->v = to_virtio(fixture_device(m->vm, type, options));
	put(m, config_at(PCI_BAR0), 4, BAR);
	put(m, config_at(PCI_BAR0 + 4), 4, MSIX);
	put(m, config_at(PCI_COMMAND), 2, PCI_COMMAND_MEMORY);
	put(m, config_at(m->v->msix.capability + 2), 2, 0x8000);
}

/* The event loop's turn, or the threads': until nobody has anything to do. */
static void settle(struct machine *m)
{
	struct virtio *v = m->v;
	struct pollfd poll_fd = {.fd = v->kick.fd, .events = POLLIN};
	bool busy = true;

	if (!v->thread_count && poll(&poll_fd, 1, 0) == 1) {
		pthread_mutex_lock(&v->fn.dev.lock);
		v->kick.ready(&v->kick, EPOLLIN);
		pthread_mutex_unlock(&v->fn.dev.lock);
	}
	while (v->thread_count && busy) {
		pthread_mutex_lock(&v->fn.dev.lock);
		busy = !v->watched || virtio_is_busy(v);
		pthread_mutex_unlock(&v->fn.dev.lock);
		sched_yield();
	}
}

/* ---- steps --------------------------------------------------------------- */

static void start_queue(struct machine *m, unsigned i, u16 size)
{
	struct driver *d = &m->queues[i];
	struct virtq_regs regs;

	driver_init(d, &m->vm->mem, RINGS + i * DRIVER_MEMORY, size,
		    m->v->regs->accepted[0]);
	driver_regs(d, &regs);
	put(m, BAR + 0x16, 2, i);
	put(m, BAR + 0x18, 2, size);
	put(m, BAR + 0x1a, 2, i);
	put(m, BAR + 0x20, 8, regs.desc);
	put(m, BAR + 0x28, 8, regs.driver);
	put(m, BAR + 0x30, 8, regs.device);
	put(m, BAR + 0x1c, 2, 1);
}

static void start(struct machine *m, struct input *in)
{
	const u64 features = m->v->features[0] & ~take(in, 8);
	const u64 size = take(in, 1);

	put(m, BAR + 0x14, 1, 0);
	settle(m);
	put(m, BAR + 0x14, 1, 3);
	for (u32 i = 0; i < 2; i++) {
		put(m, BAR + 0x08, 4, i);
		put(m, BAR + 0x0c, 4, (u32)(features >> 32 * i));
	}
	put(m, BAR + 0x14, 1, 11);
	for (unsigned i = 0; i < m->v->queue_count && i < QUEUES; i++)
		start_queue(m, i, (u16)(1u << (size >> 4 * i) % 9));
	put(m, BAR + 0x14, 1, 15);
	m->started = true;
}

static void request(struct machine *m, struct input *in)
{
	struct driver *d = &m->queues[take(in, 1) % QUEUES];
	const u64 counts = take(in, 1);
	unsigned out = counts % 4, in_count = (counts >> 4) % 4;
	struct virtq_part parts[DRIVER_MAX_PARTS] = {{DATA, 16}};

	if (!d->size || !(out + in_count))
		return;
	for (unsigned i = out ? 1 : 0; i < out + in_count; i++) {
		parts[i].gpa = DATA + take(in, 2);
		parts[i].len = (u32)take(in, 2);
	}
	driver_add(d, parts, out, in_count, m);
}

static void memory(struct machine *m, struct input *in)
{
	u64 gpa = RINGS + take(in, 3) % (QUEUES * DRIVER_MEMORY);

	for (u64 count = take(in, 1) % 32; count; count--) {
		u8 byte = (u8)take(in, 1);

		mem_write(&m->vm->mem, gpa++, &byte, 1);
	}
}

static void header(struct machine *m, struct input *in)
{
	u32 words[4] = {(u32)take(in, 4)};

	words[2] = (u32)take(in, 4);
	words[3] = (u32)take(in, 4);
	mem_write(&m->vm->mem, DATA, words, sizeof(words));
}

static void save_load(struct machine *m, struct input *in)
{
	struct device *dev = &m->v->fn.dev;
	static struct device_blob blob, again;
	struct err err = {0};
	unsigned count = (unsigned)take(in, 1) % 4;

	settle(m);
	device_quiesce_all(m->vm);
	if (device_save(dev, &blob, &err))
		abort();
	for (unsigned i = 0; i < count; i++)
		blob.data[take(in, 2) % blob.size] ^= (u8)take(in, 1);
	if (device_load(dev, &blob, &err) && !count)
		abort();
	if (device_save(dev, &again, &err))
		abort();
	if (!count && memcmp(&blob, &again, sizeof(blob)) != 0)
		abort();
	device_resume_all(m->vm);
	settle(m);
}

static void registers(struct machine *m, enum step what, struct input *in)
{
	u64 at = what == CONFIG_WRITE || what == CONFIG_READ ? take(in, 1)
							     : take(in, 2);
	unsigned width = take_width(in);

	switch (what) {
	case BAR_WRITE:
		put(m, BAR + at, width, take(in, 8));
		break;
	case BAR_READ:
		get(m, BAR + at, width);
		break;
	case CONFIG_WRITE:
		put(m, config_at(at), width, take(in, 4));
		break;
	case CONFIG_READ:
		get(m, config_at(at), width);
		break;
	default:
		put(m, MSIX + at, 4, take(in, 4));
	}
}

static void step(struct machine *m, struct input *in)
{
	const enum step what = take(in, 1) % STEPS;

	switch (what) {
	case START:
		start(m, in);
		break;
	case REQUEST:
		request(m, in);
		break;
	case HEADER:
		header(m, in);
		break;
	case MEMORY:
		memory(m, in);
		break;
	case NOTIFY:
		put(m, BAR + 0x3000 + 4 * (take(in, 1) % 4), 2, 0);
		settle(m);
		break;
	case RESET:
		device_reset_all(m->vm);
		break;
	case PAUSE:
		device_quiesce_all(m->vm);
		device_resume_all(m->vm);
		break;
	case SAVE_LOAD:
		save_load(m, in);
		break;
	default:
		registers(m, what, in);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	struct input in = {data, len};
	struct machine m;

	make(&m, &in);
	for (unsigned i = 0; in.left && i < MAX_STEPS; i++)
		step(&m, &in);
	settle(&m);
	device_quiesce_all(m.vm);
	if (virtio_is_busy(m.v))
		abort();
	vm_destroy(m.vm);
	return 0;
}
