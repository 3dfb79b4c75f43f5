/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM with one virtio device in PCI slot 1, and its driver: from reset to
 * running, requests, interrupts. The test is the guest, and (for devices
 * without threads) the event loop.
 */
#pragma once

#include "virtio/virtio.h"
#include "virtq_driver.h"

#define BENCH_QUEUES 4
#define BENCH_BAR 0xc0000000u
#define BENCH_MSIX 0xc0100000u
/* Memory for tests' buffers; rings are below. */
#define BENCH_DATA 0x80000u

/* [1] 4.1.4.3; the test's own copy of where things are. */
enum bench_register {
	R_OFFERED_SELECT = 0x00,
	R_OFFERED = 0x04,
	R_ACCEPTED_SELECT = 0x08,
	R_ACCEPTED = 0x0c,
	R_CONFIG_VECTOR = 0x10,
	R_QUEUES = 0x12,
	R_STATUS = 0x14,
	R_GENERATION = 0x15,
	R_SELECT = 0x16,
	R_SIZE = 0x18,
	R_VECTOR = 0x1a,
	R_ENABLE = 0x1c,
	R_NOTIFY_OFF = 0x1e,
	R_DESC = 0x20,
	R_DRIVER = 0x28,
	R_DEVICE = 0x30,
	R_RESET = 0x3a,
	R_ISR = 0x1000,
	R_CONFIG = 0x2000,
	R_NOTIFY = 0x3000,
};

struct virtio_bench {
	struct vm *vm;
	struct virtio *v;
	struct driver queues[BENCH_QUEUES];
	_Atomic unsigned messages; /* MSIs in all */
	_Atomic u32 vector_hits[BENCH_QUEUES + 1];
	_Atomic bool pin;
};

/* A VM and the device, BARs mapped, MSI-X on; entry i is message data i. */
void bench_open(struct virtio_bench *b, const char *type, const char *options);
/* Only the VM and the device, with its options; no BARs. */
void bench_open_mmio(struct virtio_bench *b, const char *type,
		     const char *options);
void bench_close(struct virtio_bench *b);

u64 bench_get(struct virtio_bench *b, u64 reg, unsigned width);
void bench_put(struct virtio_bench *b, u64 reg, unsigned width, u64 val);
u32 bench_config(struct virtio_bench *b, unsigned reg, unsigned width);
void bench_set_config(struct virtio_bench *b, unsigned reg, unsigned width,
		      u32 val);

/* The feature bits offered, and the steps of [1] 3.1.1 with these accepted. */
u64 bench_offered(struct virtio_bench *b);
void bench_agree(struct virtio_bench *b, u64 features);
/* Set up queue i with vector i, `size` places. */
void bench_queue(struct virtio_bench *b, unsigned i, u16 size);
/* All of it, with every feature that is offered but `without`. */
void bench_start(struct virtio_bench *b, u64 without, unsigned queues);

/* Let the event loop answer, if it has to. */
void bench_loop(struct virtio_bench *b);
/* Notify, and let the event loop answer. */
void bench_kick(struct virtio_bench *b, unsigned queue);
/* One request: sent, answered, returned; how much the device wrote. */
u32 bench_request(struct virtio_bench *b, unsigned queue,
		  const struct virtq_part *parts, unsigned out, unsigned in);
/* Wait until the count of a queue's interrupts is this. */
void bench_wait(struct virtio_bench *b, unsigned queue, u32 hits);
