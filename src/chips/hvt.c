/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of Solo5's hvt calls: a chip like any other, a range of
 * ports on the bus, only that its registers are blocks in guest memory.
 *
 * References: [1] include/vireo/hvt_abi.h.
 *
 * Theory of operation
 * -------------------
 * A call is an OUT: its block is copied in, checked, served, and copied back.
 * Two calls can take time. Polling waits for a frame or for its deadline, and
 * output waits where its reader is slow; neither waits here. The vCPU is told
 * to (vcpu.h), and `pending` says what is left to do when it comes back.
 *
 * All other ports, and all addresses without memory or of memory that the
 * guest may not touch so, are this device's too: there is nothing else on
 * this board, so to come here is the guest's end.
 */
#include "chips/hvt.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backend/block.h"
#include "backend/net.h"
#include "vireo/hvt_abi.h"
#include "vmm/device.h"
#include "vmm/vm.h"

enum {
	OUTPUT_STEP = 512, /* what a ready pipe or terminal takes at once */
	PORTS = 0x10000,
};
#define ADDRESSES BIT(52)

enum hvt_pending { PENDING_NONE, PENDING_POLL, PENDING_PUTS };

struct hvt_handle {
	struct block *block;
	struct net *net;
};

struct hvt {
	struct device dev;
	/* config */
	struct hvt_handle handles[HVT_ENTRIES_MAX];
	unsigned net_count;
	u8 net_handles[HVT_ENTRIES_MAX]; /* of fds[i] */
	/* regs */
	u64 halt_cookie;
	u32 pending;	 /* enum hvt_pending */
	u64 pending_gpa; /* the poll's block, or the text */
	u64 pending_len; /* of the text */
	/* host */
	struct vcpu_wait wait;
	struct pollfd fds[HVT_ENTRIES_MAX + 1];
};

static struct hvt *hvt_of(struct device *dev)
{
	return container_of(dev, struct hvt, dev);
}

#define broke(h, ...) vm_stop((h)->dev.vm, VM_STOP_GUEST, 0, __VA_ARGS__)

/* ---- guest memory ------------------------------------------------------ */

/* NULL, and the guest's end, where it may not do itself what it asks for. */
static void *guest_bytes(struct hvt *h, gpa_t gpa, u64 len, u32 rights)
{
	const struct guest_mem *mem = &h->dev.vm->mem;

	if (len <= mem->ram_size &&
	    (mem_rights(mem, gpa, len) & rights) == rights)
		return mem_ptr(mem, gpa, len);
	broke(h,
	      "the guest passed %#llx bytes at %#llx, which it may not %s "
	      "itself",
	      (unsigned long long)len, (unsigned long long)gpa,
	      rights & MEM_W ? "write" : "read");
	return NULL;
}

/* ---- output ------------------------------------------------------------ */

static int output_fd(const struct hvt *h)
{
	return h->dev.vm->consoles[0].out_fd;
}

static bool output_ready(const struct hvt *h)
{
	struct pollfd fd = {.fd = output_fd(h), .events = POLLOUT};

	/* An error is ready too: the write then finds it out. */
	return poll(&fd, 1, 0) != 0;
}

/* Write what goes; false: some is left, and the reader is slow. */
static bool output(struct hvt *h)
{
	while (h->pending_len && output_fd(h) >= 0) {
		const u64 step = min_u64(h->pending_len, OUTPUT_STEP);
		const u8 *text;
		ssize_t put;

		if (!output_ready(h))
			return false;
		text = guest_bytes(h, h->pending_gpa, step, MEM_R);
		if (!text)
			return true;
		put = write(output_fd(h), text, step);
		if (put < 0 && errno == EAGAIN)
			return false;
		if (put < 0 && errno != EINTR)
			return true; /* nobody reads any more */
		h->pending_gpa += put > 0 ? (u64)put : 0;
		h->pending_len -= put > 0 ? (u64)put : 0;
	}
	return true;
}

static void start_wait(struct hvt *h, enum hvt_pending pending, u64 deadline)
{
	h->pending = pending;
	h->wait.deadline = deadline;
	if (vcpu_wait(h->dev.vm->vcpus[0], &h->wait))
		return;
	broke(h, "the guest made a call while another one waits");
}

static void go_on_with_output(struct hvt *h)
{
	h->pending = PENDING_NONE;
	if (output(h))
		return;
	h->fds[0] = (struct pollfd){.fd = output_fd(h), .events = POLLOUT};
	h->wait.count = 1;
	start_wait(h, PENDING_PUTS, TIMER_NEVER);
}

static void call_puts(struct hvt *h, void *block, gpa_t gpa)
{
	const struct hvt_puts *puts = block;

	if (!guest_bytes(h, puts->data, puts->len, MEM_R))
		return;
	h->pending_gpa = puts->data;
	h->pending_len = puts->len;
	go_on_with_output(h);
}

/* ---- time -------------------------------------------------------------- */

/* The host's clock, corrections of it included; no timer hangs on it. */
static void call_walltime(struct hvt *h, void *block, gpa_t gpa)
{
	struct hvt_walltime *walltime = block;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	walltime->ns = (u64)now.tv_sec * NS_PER_SEC + (u64)now.tv_nsec;
}

static void fill_poll_fds(struct hvt *h)
{
	for (unsigned i = 0; i < h->net_count; i++)
		h->fds[i] = (struct pollfd){
			.fd = h->handles[h->net_handles[i]].net->fd,
			.events = POLLIN,
		};
	h->wait.count = h->net_count;
}

static void poll_result(const struct hvt *h, struct hvt_poll *p)
{
	p->ready = 0;
	p->count = 0;
	for (unsigned i = 0; i < h->net_count; i++) {
		if (!h->fds[i].revents)
			continue;
		p->ready |= BIT(h->net_handles[i]);
		p->count++;
	}
}

static void call_poll(struct hvt *h, void *block, gpa_t gpa)
{
	const u64 now = clock_ns(&h->dev.vm->clock);
	struct hvt_poll *p = block;
	u64 deadline = now + p->timeout_ns;

	fill_poll_fds(h);
	if (h->net_count && poll(h->fds, h->net_count, 0) < 0)
		memset(h->fds, 0, sizeof(h->fds));
	poll_result(h, p);
	if (p->count || !p->timeout_ns)
		return;
	h->pending_gpa = gpa;
	start_wait(h, PENDING_POLL, deadline < now ? TIMER_NEVER : deadline);
}

static void end_poll(struct hvt *h)
{
	struct guest_mem *mem = &h->dev.vm->mem;
	struct hvt_poll p;

	h->pending = PENDING_NONE;
	/* The block was checked when the call came. */
	if (!mem_read(mem, h->pending_gpa, &p, sizeof(p)))
		return;
	poll_result(h, &p);
	mem_write(mem, h->pending_gpa, &p, sizeof(p));
}

static void hvt_waited(struct vcpu_wait *wait)
{
	struct hvt *h = container_of(wait, struct hvt, wait);

	if (h->pending == PENDING_POLL)
		end_poll(h);
	else if (h->pending == PENDING_PUTS)
		go_on_with_output(h);
}

/* ---- disks ------------------------------------------------------------- */

static struct block *block_of(struct hvt *h, const struct hvt_block_io *io)
{
	struct block *block = io->handle < HVT_ENTRIES_MAX
				      ? h->handles[io->handle].block
				      : NULL;

	if (!block || io->offset >= block->size ||
	    io->len > block->size - io->offset)
		return NULL;
	return block;
}

static void block_failed(struct hvt *h, const char *verb, int ret)
{
	vm_stop(h->dev.vm, VM_STOP_HOST, 0, "Fatal error when %s: %s", verb,
		strerror(-ret));
}

static void call_block_write(struct hvt *h, void *p, gpa_t gpa)
{
	struct hvt_block_io *io = p;
	struct block *block = block_of(h, io);
	const void *data;
	int ret;

	io->result = HVT_INVALID;
	if (!block)
		return;
	data = guest_bytes(h, io->data, io->len, MEM_R);
	if (!data)
		return;
	ret = block_write(block, io->offset, data, io->len);
	if (ret)
		block_failed(h, "writing", ret);
	io->result = HVT_OK;
}

static void call_block_read(struct hvt *h, void *p, gpa_t gpa)
{
	struct hvt_block_io *io = p;
	struct block *block = block_of(h, io);
	void *data;
	int ret;

	io->result = HVT_INVALID;
	if (!block)
		return;
	data = guest_bytes(h, io->data, io->len, MEM_R | MEM_W);
	if (!data)
		return;
	ret = block_read(block, io->offset, data, io->len);
	mem_written(&h->dev.vm->mem, io->data, io->len);
	if (ret)
		block_failed(h, "reading", ret);
	io->result = HVT_OK;
}

/* ---- networks ---------------------------------------------------------- */

static struct net *net_of(struct hvt *h, u64 handle)
{
	return handle < HVT_ENTRIES_MAX ? h->handles[handle].net : NULL;
}

/* A frame that the host has no room for is lost, as on any network. */
static void call_net_write(struct hvt *h, void *p, gpa_t gpa)
{
	struct hvt_net_io *io = p;
	struct net *net = net_of(h, io->handle);
	const void *data;

	io->result = HVT_INVALID;
	if (!net)
		return;
	data = guest_bytes(h, io->data, io->len, MEM_R);
	if (data && net->ops->send(net, data, io->len) != -EINVAL)
		io->result = HVT_OK;
}

static void call_net_read(struct hvt *h, void *p, gpa_t gpa)
{
	struct hvt_net_io *io = p;
	struct net *net = net_of(h, io->handle);
	void *data;
	s64 got;

	io->result = HVT_INVALID;
	if (!net)
		return;
	data = guest_bytes(h, io->data, io->len, MEM_R | MEM_W);
	if (!data)
		return;
	got = net->ops->receive(net, data, io->len);
	io->result = HVT_AGAIN;
	if (got == -EAGAIN)
		return;
	if (got < 0) {
		block_failed(h, "reading", (int)got);
		return;
	}
	mem_written(&h->dev.vm->mem, io->data, (u64)got);
	io->len = (u64)got;
	io->result = HVT_OK;
}

/* ---- end --------------------------------------------------------------- */

static void call_halt(struct hvt *h, void *block, gpa_t gpa)
{
	const struct hvt_halt *halt = block;

	if (halt->cookie &&
	    !guest_bytes(h, halt->cookie, HVT_HALT_COOKIE_SIZE, MEM_R))
		return;
	h->halt_cookie = halt->cookie;
	vm_stop(h->dev.vm, VM_STOP_DEBUG_EXIT, (int)(halt->status & 0xff),
		"the guest halted with status %u", halt->status);
}

gpa_t hvt_halt_cookie(const struct device *dev)
{
	return container_of(dev, const struct hvt, dev)->halt_cookie;
}

/* ---- dispatch ---------------------------------------------------------- */

union hvt_block {
	struct hvt_walltime walltime;
	struct hvt_puts puts;
	struct hvt_poll poll;
	struct hvt_block_io block;
	struct hvt_net_io net;
	struct hvt_halt halt;
};

struct hvt_call_row {
	void (*call)(struct hvt *h, void *block, gpa_t gpa);
	u16 size;
	bool answers; /* in its block */
};

static const struct hvt_call_row calls[HVT_CALL_COUNT] = {
	[HVT_CALL_WALLTIME] = {call_walltime, sizeof(struct hvt_walltime),
			       true},
	[HVT_CALL_PUTS] = {call_puts, sizeof(struct hvt_puts), false},
	[HVT_CALL_POLL] = {call_poll, sizeof(struct hvt_poll), true},
	[HVT_CALL_BLOCK_WRITE] = {call_block_write, sizeof(struct hvt_block_io),
				  true},
	[HVT_CALL_BLOCK_READ] = {call_block_read, sizeof(struct hvt_block_io),
				 true},
	[HVT_CALL_NET_WRITE] = {call_net_write, sizeof(struct hvt_net_io),
				true},
	[HVT_CALL_NET_READ] = {call_net_read, sizeof(struct hvt_net_io), true},
	[HVT_CALL_HALT] = {call_halt, sizeof(struct hvt_halt), false},
};

static void hvt_call(struct hvt *h, unsigned number, gpa_t gpa)
{
	const struct hvt_call_row *row = &calls[number];
	union hvt_block block;
	void *p = guest_bytes(h, gpa, row->size,
			      row->answers ? MEM_R | MEM_W : MEM_R);

	if (!p)
		return;
	if (h->pending) {
		broke(h, "the guest made a call while another one waits");
		return;
	}
	memcpy(&block, p, row->size);
	row->call(h, &block, gpa);
	if (row->answers)
		mem_write(&h->dev.vm->mem, gpa, &block, row->size);
}

static void port_write(struct device *dev, u64 port, unsigned width, u64 val)
{
	struct hvt *h = hvt_of(dev);
	const u64 number = port - HVT_PORT;

	if (width == 4 && number < HVT_CALL_COUNT && calls[number].call)
		hvt_call(h, (unsigned)number, (u32)val);
	else
		broke(h,
		      "Invalid guest port access: port=%#llx, %u bytes written",
		      (unsigned long long)port, width);
}

static u64 port_read(struct device *dev, u64 port, unsigned width)
{
	broke(hvt_of(dev),
	      "Invalid guest port access: port=%#llx, %u bytes read",
	      (unsigned long long)port, width);
	return ~0ull;
}

static void refuse(struct device *dev, gpa_t gpa, const char *verb)
{
	const bool ram = mem_ptr(&dev->vm->mem, gpa, 1);

	broke(hvt_of(dev),
	      "host/guest translation fault: address %#llx was %s, which %s",
	      (unsigned long long)gpa, verb,
	      ram ? "its segment does not allow" : "is beyond its memory");
}

static void memory_write(struct device *dev, u64 gpa, unsigned width, u64 val)
{
	refuse(dev, gpa, "written");
}

static u64 memory_read(struct device *dev, u64 gpa, unsigned width)
{
	refuse(dev, gpa, "read");
	return ~0ull;
}

/* ------------------------------------------------------------------------- */

void hvt_attach_block(struct device *dev, unsigned handle, struct block *block)
{
	hvt_of(dev)->handles[handle].block = block;
}

void hvt_attach_net(struct device *dev, unsigned handle, struct net *net)
{
	struct hvt *h = hvt_of(dev);

	h->handles[handle].net = net;
	h->net_handles[h->net_count++] = (u8)handle;
}

static int hvt_create(struct device *dev, struct err *err)
{
	struct hvt *h = hvt_of(dev);
	const struct bus_region ports = {
		.name = dev->id,
		.space = BUS_PIO,
		.size = PORTS,
		.widths = BUS_W1 | BUS_W2 | BUS_W4,
		.dev = dev,
		.read = port_read,
		.write = port_write,
	};
	const struct bus_region memory = {
		.name = dev->id,
		.space = BUS_MMIO,
		.size = ADDRESSES,
		.widths = BUS_W1 | BUS_W2 | BUS_W4 | BUS_W8,
		.dev = dev,
		.read = memory_read,
		.write = memory_write,
	};
	int ret = bus_add(&dev->vm->bus, &ports, err);

	h->wait.dev = dev;
	h->wait.fds = h->fds;
	h->wait.done = hvt_waited;
	return ret ? ret : bus_add(&dev->vm->bus, &memory, err);
}

static void hvt_destroy(struct device *dev)
{
	struct hvt *h = hvt_of(dev);

	for (unsigned i = 0; i < HVT_ENTRIES_MAX; i++) {
		block_close(h->handles[i].block);
		net_close(h->handles[i].net);
	}
}

static const struct device_type hvt_type = {
	.name = "hvt-calls",
	.help = "Solo5 hvt calls: console, time, disks, networks",
	.size = sizeof(struct hvt),
	.create = hvt_create,
	.destroy = hvt_destroy,
};
DEVICE_TYPE(hvt_type);
