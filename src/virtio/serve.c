/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who looks after a device's queues, and requests as devices see them.
 *
 * Theory of operation. An eventfd says that there may be something to do,
 * signalled by the engine (a doorbell) or by virtio_notify(). Either the event
 * loop watches it, and answers requests itself; or threads do: one of those
 * that have nothing to do watches (`watched`), the others wait on `work`. Who
 * finds a request answers it and looks again, and leaves the eventfd alone
 * meanwhile, as it will look at the rings anyway. Only a thread that may block
 * calls for another one (virtio_may_block).
 *
 * So a fast disk is one busy thread, without wake-ups between threads, and a
 * slow one has as many requests under way as there are threads. Nobody runs
 * while there is nothing to do, and while somebody runs the driver is asked not
 * to notify.
 *
 * The driver hears of what is done when there is nothing more to do, when a
 * thread is about to block, and at the latest after BATCH requests.
 */
#include "virtio/virtio.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/fd.h"
#include "vmm/vm.h"

enum {
	BATCH = 16,
	LOOP_WORK = 256, /* requests in a row on the event loop */
};

/* ---- requests ------------------------------------------------------------ */

unsigned virtio_iov(const struct virtio_request *req, bool writable, u64 off,
		    u64 len, struct iovec *iov)
{
	const struct virtq_chain *chain = &req->chain;
	const struct virtq_part *part = chain->parts;
	u64 all = writable ? chain->in_len : chain->out_len;
	unsigned count = 0;

	if (off > all || len > all - off)
		return 0;
	part += writable ? chain->out : 0;
	for (; len; part++) {
		u64 here;

		if (off >= part->len) {
			off -= part->len;
			continue;
		}
		here = min_u64(len, part->len - off);
		/* It was RAM when it was popped, and RAM stays. */
		iov[count].iov_base = mem_ptr(req->mem, part->gpa + off, here);
		iov[count++].iov_len = here;
		len -= here;
		off = 0;
	}
	return count;
}

bool virtio_read(const struct virtio_request *req, u64 off, void *buf, u64 len)
{
	struct iovec iov[VIRTQ_MAX_SIZE];
	unsigned count = virtio_iov(req, false, off, len, iov);
	u8 *to = buf;

	for (unsigned i = 0; i < count; to += iov[i++].iov_len)
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
	return count || !len;
}

bool virtio_write(const struct virtio_request *req, u64 off, const void *buf,
		  u64 len)
{
	struct iovec iov[VIRTQ_MAX_SIZE];
	unsigned count = virtio_iov(req, true, off, len, iov);
	const u8 *from = buf;

	for (unsigned i = 0; i < count; from += iov[i++].iov_len)
		memcpy(iov[i].iov_base, from, iov[i].iov_len);
	return count || !len;
}

/* ---- queues, with the lock held ------------------------------------------ */

static void interrupt_driver(struct virtio *v)
{
	v->unsaid = 0;
	for (unsigned i = 0; i < v->queue_count; i++) {
		struct virtq *q = &v->queues[i];

		if (!virtq_wants_interrupt(q))
			continue;
		v->interrupts++;
		v->transport->interrupt(v, VIRTIO_ISR_QUEUE, q->regs->vector);
	}
}

/* Takes turns among the queues. */
static bool next_request(struct virtio *v, struct virtio_request *req)
{
	for (unsigned i = 0; i < v->queue_count; i++) {
		unsigned at = v->turn++ % v->queue_count;
		struct virtq *q = &v->queues[at];

		if (!virtio_is_running(v))
			return false;
		if (virtq_pop(q, &req->chain)) {
			virtq_silence(q);
			req->queue = at;
			req->mem = q->mem;
			return true;
		}
		if (q->broken)
			virtio_break(v);
	}
	return false;
}

static void finish_request(struct virtio *v, struct virtio_request *req,
			   u32 written)
{
	struct virtq *q = &v->queues[req->queue];

	virtq_push(q, &req->chain, written);
	v->requests++;
	if (!q->in_flight)
		virtio_settled(v);
	if (++v->unsaid == BATCH)
		interrupt_driver(v);
}

/* True: there is something again, and nobody will tell us. */
static bool listen_to_all(struct virtio *v)
{
	bool more = false;

	for (unsigned i = 0; i < v->queue_count && virtio_is_running(v); i++)
		more |= virtq_listen(&v->queues[i]);
	return more;
}

void virtio_finish_all(struct virtio *v)
{
	while (virtio_is_busy(v))
		pthread_cond_wait(&v->idle, &v->fn.dev.lock);
	interrupt_driver(v);
}

/* ---- the event loop ------------------------------------------------------ */

static void kick_ready(struct loop_fd *kick, u32 events)
{
	struct virtio *v = container_of(kick, struct virtio, kick);
	unsigned left = LOOP_WORK;
	u64 count;

	if (read(kick->fd, &count, sizeof(count)) < 0)
		return;
	do {
		while (left && next_request(v, v->request)) {
			finish_request(v, v->request,
				       v->ops->request(v, v->request));
			left--;
		}
		interrupt_driver(v);
		/* Others have a right to the loop, too. */
		if (!left) {
			virtio_serve_kick(v);
			return;
		}
	} while (listen_to_all(v));
}

/* ---- threads ------------------------------------------------------------- */

static void answer(struct virtio *v, struct virtio_request *req)
{
	u32 written;

	pthread_mutex_unlock(&v->fn.dev.lock);
	written = v->ops->request(v, req);
	pthread_mutex_lock(&v->fn.dev.lock);
	finish_request(v, req, written);
}

/* Nothing to do. */
static void rest(struct virtio *v)
{
	u64 count;

	interrupt_driver(v);
	if (v->watched) {
		v->waiting++;
		pthread_cond_wait(&v->work, &v->fn.dev.lock);
		v->waiting--;
		return;
	}
	v->watched = true;
	if (!listen_to_all(v)) {
		pthread_mutex_unlock(&v->fn.dev.lock);
		while (read(v->kick.fd, &count, sizeof(count)) < 0)
			;
		pthread_mutex_lock(&v->fn.dev.lock);
	}
	v->watched = false;
}

static void *thread_main(void *arg)
{
	struct virtio *v = arg;
	struct virtio_request req;

	pthread_mutex_lock(&v->fn.dev.lock);
	while (!v->stopping) {
		if (next_request(v, &req))
			answer(v, &req);
		else
			rest(v);
	}
	pthread_mutex_unlock(&v->fn.dev.lock);
	return NULL;
}

void virtio_may_block(struct virtio *v)
{
	if (!v->thread_count)
		return;
	pthread_mutex_lock(&v->fn.dev.lock);
	interrupt_driver(v);
	if (!v->watched && v->waiting)
		pthread_cond_signal(&v->work);
	pthread_mutex_unlock(&v->fn.dev.lock);
}

/* ---- life ---------------------------------------------------------------- */

void virtio_serve_kick(struct virtio *v)
{
	const u64 one = 1;

	/* A thread that is at work looks at the rings before it rests. */
	if (v->thread_count && !v->watched)
		return;
	while (write(v->kick.fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static int start_threads(struct virtio *v)
{
	sigset_t all, before;
	int ret = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (!ret && v->thread_count < v->threads) {
		ret = -pthread_create(&v->thread[v->thread_count], NULL,
				      thread_main, v);
		v->thread_count += !ret;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret;
}

int virtio_serve_start(struct virtio *v, struct err *err)
{
	const int flags = EFD_CLOEXEC | (v->threads ? 0 : EFD_NONBLOCK);
	int ret;

	v->kick = (struct loop_fd){
		.kind = LOOP_FD,
		.fd = eventfd(0, flags),
		.dev = &v->fn.dev,
		.ready = kick_ready,
	};
	if (v->kick.fd < 0)
		return err_set(err, -errno, "%s: no eventfd: %s", v->fn.dev.id,
			       strerror(errno));
	if (v->threads) {
		ret = start_threads(v);
	} else {
		v->request = calloc(1, sizeof(*v->request));
		ret = v->request
			      ? loop_add(&v->fn.dev.vm->loop, &v->kick, EPOLLIN)
			      : -ENOMEM;
	}
	return ret ? err_set(err, ret, "%s: cannot start: %s", v->fn.dev.id,
			     strerror(-ret))
		   : 0;
}

void virtio_serve_stop(struct virtio *v)
{
	pthread_mutex_lock(&v->fn.dev.lock);
	v->stopping = true;
	pthread_cond_broadcast(&v->work);
	if (v->watched)
		virtio_serve_kick(v);
	pthread_mutex_unlock(&v->fn.dev.lock);
	while (v->thread_count)
		pthread_join(v->thread[--v->thread_count], NULL);
	if (v->request)
		loop_del(&v->fn.dev.vm->loop, &v->kick);
	free(v->request);
	v->request = NULL;
	fd_close(&v->kick.fd);
}
