/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtio device is to the rest of Vireo, and what it has to bring: an
 * id, feature bits, a number of queues, configuration bytes, and a function
 * that handles one request. Rings, registers, features, status and interrupts
 * are done by virtio.c and the transport (PCI, or registers in memory).
 *
 *     struct rng {
 *             struct virtio virtio;      first
 *             struct virtio_regs regs;   the saved group, or the first in it
 *     };
 *
 * Its create fills virtio.regs, .ops, and what is optional (config, features),
 * and calls virtio_create(); VIRTIO_TYPE() is the rest of its descriptor.
 *
 * Threads. A device works on the event loop, with its lock held, and so must
 * not block; or, if `threads` is not 0, on threads of its own, where request()
 * is called without the lock, and may. All else is called with the lock held.
 *
 * Life of a request: popped by the core, answered by request() with the number
 * of bytes that it wrote, pushed by the core. A reset waits for those under way
 * and gives none of them back: the driver reads the status until it is 0.
 *
 * References: [1] OASIS VIRTIO 1.2, chapters 2 (facilities), 3 (operation).
 */
#pragma once

#include <pthread.h>
#include <sys/uio.h>

#include "virtio/virtq.h"
#include "vmm/device.h"
#include "vmm/doorbell.h"
#include "vmm/loop.h"
#include "vmm/msix.h"

#define VIRTIO_MAX_QUEUES 32
#define VIRTIO_MAX_THREADS 16

/* [1] 6, offered for every device. */
#define VIRTIO_F_VERSION_1 BIT(32)
#define VIRTIO_F_RING_RESET BIT(40)

enum virtio_status { /* [1] 2.1 */
		     VIRTIO_ACKNOWLEDGE = 1,
		     VIRTIO_DRIVER = 2,
		     VIRTIO_DRIVER_OK = 4,
		     VIRTIO_FEATURES_OK = 8,
		     VIRTIO_NEEDS_RESET = 64,
		     VIRTIO_FAILED = 128,
};

/* Why the driver is interrupted: bits of the ISR status, [1] 4.1.4.5. */
enum virtio_isr { VIRTIO_ISR_QUEUE = 1, VIRTIO_ISR_CONFIG = 2 };

struct virtio;

struct virtio_request {
	unsigned queue;
	struct guest_mem *mem;
	struct virtq_chain chain;
};

struct virtio_ops {
	u16 id;		/* [1] 5 */
	u32 class_code; /* of the PCI function */
	/* Answer a request; the number of bytes written for the driver. */
	u32 (*request)(struct virtio *v, struct virtio_request *req);
	/* The driver writes configuration bytes; NULL: they are read-only. */
	void (*config_write)(struct virtio *v, u64 off, unsigned width,
			     u64 val);
	/* The features are agreed, work begins; and: it has ended. */
	void (*start)(struct virtio *v);
	void (*reset)(struct virtio *v);
};

/* Saved; all that the driver can observe but the device's own. */
struct virtio_regs {
	u8 space[PCI_CONFIG_SIZE];
	struct msix_regs msix;
	u64 accepted[2]; /* feature bits 0 to 127 */
	u32 offered_select, accepted_select;
	u16 queue_select, config_vector;
	u8 status, generation, isr, reserved;
	struct virtq_regs queues[VIRTIO_MAX_QUEUES];
};

/* How registers and interrupts get to the driver. */
struct virtio_transport {
	int (*plug)(struct virtio *v, struct err *err);
	void (*reset)(struct virtio *v);
	int (*loaded)(struct virtio *v, struct err *err);
	/* Because of `isr`, by this MSI-X vector where there is MSI-X. */
	void (*interrupt)(struct virtio *v, enum virtio_isr isr, u16 vector);
	/* Where a write tells about this queue; false: nowhere yet. */
	bool (*doorbell)(struct virtio *v, unsigned queue,
			 struct engine_doorbell *bell);
};

struct virtio {
	struct pci_function fn; /* has struct device; else unused without PCI */
	/* config */
	const struct virtio_ops *ops;
	const struct virtio_transport *transport;
	u64 features[2]; /* the device's own, offered */
	unsigned queue_count;
	u8 *config; /* what the driver reads, little endian */
	unsigned config_len;
	unsigned threads;
	bool packed; /* packed rings are offered */
	bool mmio;   /* not on PCI */
	u64 slot;    /* PCI: of bus 0 */
	struct pci_ident ident;
	struct msix msix;
	u8 window; /* PCI: where the capability for access to BARs is */
	/* regs, in the device's group */
	struct virtio_regs *regs;
	/* host */
	struct virtq queues[VIRTIO_MAX_QUEUES];
	struct doorbell bells[VIRTIO_MAX_QUEUES];
	struct loop_fd kick; /* its eventfd: some queue was notified */
	struct virtio_request *request; /* the event loop's */
	bool resetting, paused;
	pthread_cond_t idle; /* nothing is in flight */
	/* threads */
	pthread_t thread[VIRTIO_MAX_THREADS];
	unsigned thread_count; /* that run */
	bool stopping, watched;
	unsigned waiting; /* threads with nothing to do */
	unsigned turn;	  /* the queue that is next */
	unsigned unsaid;  /* requests that the driver may not know of */
	pthread_cond_t work;
	/* counters */
	u64 requests, interrupts, broken, ignored;
	u64 notifications; /* that came here, and not by a doorbell */
};

static inline struct virtio *to_virtio(struct device *dev)
{
	return container_of(dev, struct virtio, fn.dev);
}

/* ---- for a device's type ------------------------------------------------- */

int virtio_create(struct virtio *v, struct err *err);
void virtio_destroy(struct device *dev);
void virtio_reset(struct device *dev);
int virtio_loaded(struct device *dev, struct err *err);
void virtio_quiesce(struct device *dev);
void virtio_resume(struct device *dev);
void virtio_stats(struct device *dev, struct text *out);

/* In the table of options of a device whose struct has a struct virtio. */
#define VIRTIO_OPTIONS(type)                                             \
	{"slot", OPT_NUM, offsetof(type, virtio.slot), NULL,             \
	 "on PCI, 1 to 31"},                                             \
		{"mmio", OPT_BOOL, offsetof(type, virtio.mmio), "off",   \
		 "registers in memory instead of PCI"},                  \
	{                                                                \
		"packed", OPT_BOOL, offsetof(type, virtio.packed), "on", \
			"offer packed rings"                             \
	}

/* In its struct device_type; what is left are names, options and create. */
#define VIRTIO_TYPE(type, loaded_)                                             \
	.size = sizeof(type), .regs_offset = offsetof(type, regs),             \
	.regs_size = sizeof(((type *)0)->regs), .reset = virtio_reset,         \
	.loaded = loaded_, .quiesce = virtio_quiesce, .resume = virtio_resume, \
	.stats = virtio_stats

/* For boards: the slot of a device that is virtio and not on PCI; else -1. */
int virtio_mmio_slot(const struct device *dev);

/* ---- for a device's work ------------------------------------------------- */

bool virtio_has(const struct virtio *v, unsigned feature);
/* Configuration bytes have changed by themselves. */
void virtio_config_changed(struct virtio *v);

/* Bytes of a request's readable or writable parts, `off` from the start of
 * these. False, and nothing done, where there are fewer. */
bool virtio_read(const struct virtio_request *req, u64 off, void *buf, u64 len);
bool virtio_write(const struct virtio_request *req, u64 off, const void *buf,
		  u64 len);
/*
 * [off, off+len) of the readable parts, or of the writable ones, as vectors for
 * a system call: `iov` has room for VIRTQ_MAX_SIZE. How many; 0: no such bytes.
 */
unsigned virtio_iov(const struct virtio_request *req, bool writable, u64 off,
		    u64 len, struct iovec *iov);
/*
 * On a thread of the device's own: what follows may block. Somebody else looks
 * after the queues meanwhile.
 */
void virtio_may_block(struct virtio *v);

/* ---- for transports ------------------------------------------------------ */

u8 virtio_get_status(struct virtio *v);
void virtio_set_status(struct virtio *v, u8 status);
/* 32 of the 128 bits, by what was selected. */
u32 virtio_get_features(const struct virtio *v, bool accepted);
void virtio_set_features(struct virtio *v, u32 bits);
/* The selected queue, NULL: there is none. */
struct virtq *virtio_queue(struct virtio *v);
/* For the driver's choices; NULL once it is enabled, and that is counted. */
struct virtq_regs *virtio_queue_to_set(struct virtio *v);
/* Half of a 64-bit register. */
static inline void virtio_set_half(u64 *reg, bool high, u64 val)
{
	const unsigned shift = high ? 32 : 0;

	*reg &= ~(0xffffffffull << shift);
	*reg |= (u64)(u32)val << shift;
}
void virtio_queue_enable(struct virtio *v);
void virtio_queue_reset(struct virtio *v);
/* The driver says "look". */
void virtio_notify(struct virtio *v, unsigned queue);
/* A device's configuration bytes; none there: zeros. */
u64 virtio_config_read(const struct virtio *v, u64 off, unsigned width);
void virtio_config_write(struct virtio *v, u64 off, unsigned width, u64 val);
/* What a doorbell's place depends on has changed. */
void virtio_update_doorbells(struct virtio *v);

/* ---- for virtio.c and its siblings --------------------------------------- */

extern const struct virtio_transport virtio_pci, virtio_mmio;

/* Start and stop whatever looks after the queues. */
int virtio_serve_start(struct virtio *v, struct err *err);
void virtio_serve_stop(struct virtio *v);
/* Look at all queues, soon. */
void virtio_serve_kick(struct virtio *v);
/* A queue is broken, or the device is: the driver must reset it. */
void virtio_break(struct virtio *v);
bool virtio_is_running(const struct virtio *v);
bool virtio_is_busy(const struct virtio *v);
/* Wait until nothing is in flight, and tell the driver. */
void virtio_finish_all(struct virtio *v);
/* A request less is in flight. */
void virtio_settled(struct virtio *v);
