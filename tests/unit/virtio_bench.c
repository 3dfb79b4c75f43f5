/* SPDX-License-Identifier: Apache-2.0 */
/* Reference: [1] OASIS VIRTIO 1.2, 3.1 and 4.1. */
#include "unit.h"

#include "virtio_bench.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "arch/platform.h"
#include "vm_fixture.h"

enum { RINGS = 0x10000, SLOT = 1 };

static void record_set(void *arg, unsigned gsi, bool level)
{
	((struct virtio_bench *)arg)->pin = level;
}

static int record_msi(void *arg, u64 addr, u32 data)
{
	struct virtio_bench *b = arg;

	assert_true(addr == 0xfee00000 && data <= BENCH_QUEUES);
	b->vector_hits[data]++;
	b->messages++;
	return 0;
}

static const struct irq_engine_ops record_ops = {
	.set = record_set,
	.msi = record_msi,
};

u32 bench_config(struct virtio_bench *b, unsigned reg, unsigned width)
{
	u32 val = 0;

	bus_read(&b->vm->bus, BUS_MMIO,
		 PLAT_ECAM_BASE + (PCI_BDF(0, SLOT, 0) << 12) + reg, width, 1,
		 &val);
	return val;
}

void bench_set_config(struct virtio_bench *b, unsigned reg, unsigned width,
		      u32 val)
{
	bus_write(&b->vm->bus, BUS_MMIO,
		  PLAT_ECAM_BASE + (PCI_BDF(0, SLOT, 0) << 12) + reg, width, 1,
		  &val);
}

u64 bench_get(struct virtio_bench *b, u64 reg, unsigned width)
{
	u64 val = 0;

	bus_read(&b->vm->bus, BUS_MMIO, BENCH_BAR + reg, width, 1, &val);
	return val;
}

void bench_put(struct virtio_bench *b, u64 reg, unsigned width, u64 val)
{
	bus_write(&b->vm->bus, BUS_MMIO, BENCH_BAR + reg, width, 1, &val);
}

static void msix_on(struct virtio_bench *b)
{
	unsigned cap = b->v->msix.capability;

	for (unsigned i = 0; i <= BENCH_QUEUES; i++) {
		fixture_write32(b->vm, BENCH_MSIX + 16 * i, 0xfee00000);
		fixture_write32(b->vm, BENCH_MSIX + 16 * i + 8, i);
		fixture_write32(b->vm, BENCH_MSIX + 16 * i + 12, 0);
	}
	bench_set_config(b, cap + 2, 2, 0x8000);
}

void bench_open_mmio(struct virtio_bench *b, const char *type,
		     const char *options)
{
	memset(b, 0, sizeof(*b));
	b->vm = fixture_vm(1);
	b->vm->irq.engine = &record_ops;
	b->vm->irq.engine_vm = b;
	fixture_device(b->vm, "pci-host", NULL);
	b->v = to_virtio(fixture_device(b->vm, type, options));
}

void bench_open(struct virtio_bench *b, const char *type, const char *options)
{
	char text[512];

	snprintf(text, sizeof(text), "slot=%d,%s", SLOT, options);
	bench_open_mmio(b, type, text);
	bench_set_config(b, PCI_BAR0, 4, BENCH_BAR);
	bench_set_config(b, PCI_BAR0 + 4, 4, BENCH_MSIX);
	bench_set_config(b, PCI_COMMAND, 2,
			 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	msix_on(b);
}

void bench_close(struct virtio_bench *b)
{
	vm_destroy(b->vm);
}

u64 bench_offered(struct virtio_bench *b)
{
	u64 low;

	bench_put(b, R_OFFERED_SELECT, 4, 0);
	low = bench_get(b, R_OFFERED, 4);
	bench_put(b, R_OFFERED_SELECT, 4, 1);
	return low | bench_get(b, R_OFFERED, 4) << 32;
}

void bench_agree(struct virtio_bench *b, u64 features)
{
	bench_put(b, R_STATUS, 1, 0);
	while (bench_get(b, R_STATUS, 1))
		sched_yield();
	bench_put(b, R_STATUS, 1, VIRTIO_ACKNOWLEDGE);
	bench_put(b, R_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		bench_put(b, R_ACCEPTED_SELECT, 4, i);
		bench_put(b, R_ACCEPTED, 4, (u32)(features >> 32 * i));
	}
	bench_put(b, R_STATUS, 1, 11);
}

void bench_queue(struct virtio_bench *b, unsigned i, u16 size)
{
	struct driver *d = &b->queues[i];
	struct virtq_regs regs;

	driver_init(d, &b->vm->mem, RINGS + i * DRIVER_MEMORY, size,
		    b->v->regs->accepted[0]);
	driver_regs(d, &regs);
	bench_put(b, R_SELECT, 2, i);
	bench_put(b, R_SIZE, 2, size);
	bench_put(b, R_VECTOR, 2, i);
	bench_put(b, R_DESC, 8, regs.desc);
	bench_put(b, R_DRIVER, 8, regs.driver);
	bench_put(b, R_DEVICE, 8, regs.device);
	bench_put(b, R_ENABLE, 2, 1);
}

void bench_start(struct virtio_bench *b, u64 without, unsigned queues)
{
	bench_agree(b, bench_offered(b) & ~without);
	assert_int_equal(bench_get(b, R_STATUS, 1), 11);
	bench_put(b, R_CONFIG_VECTOR, 2, BENCH_QUEUES);
	for (unsigned i = 0; i < queues; i++)
		bench_queue(b, i, 16);
	bench_put(b, R_STATUS, 1, 15);
	assert_int_equal(bench_get(b, R_STATUS, 1), 15);
}

/* What loop_run() does with the device's event, if it is there. */
void bench_loop(struct virtio_bench *b)
{
	struct virtio *v = b->v;
	struct pollfd poll_fd = {.fd = v->kick.fd, .events = POLLIN};

	while (!v->thread_count && poll(&poll_fd, 1, 0) == 1) {
		pthread_mutex_lock(&v->fn.dev.lock);
		v->kick.ready(&v->kick, EPOLLIN);
		pthread_mutex_unlock(&v->fn.dev.lock);
	}
}

void bench_kick(struct virtio_bench *b, unsigned queue)
{
	bench_put(b, R_NOTIFY + 4 * queue, 2, queue);
	bench_loop(b);
}

void bench_wait(struct virtio_bench *b, unsigned queue, u32 hits)
{
	while (b->vector_hits[queue] < hits)
		sched_yield();
	assert_int_equal(b->vector_hits[queue], hits);
}

u32 bench_request(struct virtio_bench *b, unsigned queue,
		  const struct virtq_part *parts, unsigned out, unsigned in)
{
	struct driver *d = &b->queues[queue];
	u32 written = 0;
	void *got = NULL;

	driver_listen(d);
	assert_true(driver_add(d, parts, out, in, &written));
	if (driver_kick_wanted(d))
		bench_kick(b, queue);
	while (!(got = driver_get(d, &written)) && b->v->thread_count)
		sched_yield();
	assert_ptr_equal(got, &written);
	return written;
}
