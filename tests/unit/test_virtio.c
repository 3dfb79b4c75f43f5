/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio on PCI, with a device made for the purpose: it answers a request with
 * the bytes that it was sent, backwards; on threads, when the test allows it.
 *
 * Reference: [1] OASIS VIRTIO 1.2.
 */
#include "unit.h"

#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>

#include "vm_fixture.h"
#include "virtio_bench.h"

enum { ID = 42, FEATURE = 3, HIGH_FEATURE = 70 };

struct echo {
	struct virtio virtio;
	/* config */
	u64 threads;
	bool held; /* requests wait for `go` */
	u8 config[6];
	/* regs */
	struct virtio_regs regs;
	/* host */
	sem_t go, began;
	unsigned starts, resets, config_writes;
};

static struct echo *to_echo(struct virtio *v)
{
	return container_of(v, struct echo, virtio);
}

static u32 echo_request(struct virtio *v, struct virtio_request *req)
{
	u8 bytes[256], back[256];
	u64 len = min_u64(req->chain.out_len, req->chain.in_len);

	len = min_u64(len, sizeof(bytes));
	if (to_echo(v)->held) {
		virtio_may_block(v);
		sem_post(&to_echo(v)->began);
		sem_wait(&to_echo(v)->go);
	}
	assert_true(virtio_read(req, 0, bytes, len));
	for (u64 i = 0; i < len; i++)
		back[i] = bytes[len - 1 - i];
	assert_true(virtio_write(req, 0, back, len));
	assert_false(virtio_read(req, req->chain.out_len, bytes, 1));
	assert_false(virtio_write(req, 1, back, req->chain.in_len));
	return (u32)len;
}

static void echo_start(struct virtio *v)
{
	to_echo(v)->starts++;
}

static void echo_reset(struct virtio *v)
{
	to_echo(v)->resets++;
}

static void echo_config_write(struct virtio *v, u64 off, unsigned width,
			      u64 val)
{
	pci_put(to_echo(v)->config + off, val, width);
	to_echo(v)->config_writes += width;
}

static const struct virtio_ops echo_ops = {
	.id = ID,
	.class_code = 0xff0000,
	.request = echo_request,
	.config_write = echo_config_write,
	.start = echo_start,
	.reset = echo_reset,
};

static int echo_create(struct device *dev, struct err *err)
{
	struct echo *echo = to_echo(to_virtio(dev));

	memcpy(echo->config, "config", 6);
	sem_init(&echo->go, 0, 0);
	sem_init(&echo->began, 0, 0);
	echo->virtio.ops = &echo_ops;
	echo->virtio.regs = &echo->regs;
	echo->virtio.queue_count = 3;
	echo->virtio.threads = (unsigned)echo->threads;
	echo->virtio.features[0] = BIT(FEATURE);
	echo->virtio.features[1] = BIT(HIGH_FEATURE - 64);
	echo->virtio.config = echo->config;
	echo->virtio.config_len = sizeof(echo->config);
	return virtio_create(&echo->virtio, err);
}

static const struct device_option echo_options[] = {
	VIRTIO_OPTIONS(struct echo),
	{"threads", OPT_NUM, offsetof(struct echo, threads), "0", "threads"},
	{"held", OPT_BOOL, offsetof(struct echo, held), "off", "held back"},
	{0},
};

static const struct device_type echo_type = {
	.name = "echo",
	.options = echo_options,
	.save_version = 1,
	.create = echo_create,
	.destroy = virtio_destroy,
	VIRTIO_TYPE(struct echo, virtio_loaded),
};
DEVICE_TYPE(echo_type);

static const struct virtq_part hello[] = {{BENCH_DATA, 3},
					  {BENCH_DATA + 16, 3},
					  {BENCH_DATA + 32, 2},
					  {BENCH_DATA + 48, 14}};

static void put_hello(struct virtio_bench *b)
{
	assert_true(mem_write(&b->vm->mem, BENCH_DATA, "hel", 3));
	assert_true(mem_write(&b->vm->mem, BENCH_DATA + 16, "lo!", 3));
	assert_true(mem_zero(&b->vm->mem, BENCH_DATA + 32, 64));
}

static void check_answer(struct virtio_bench *b)
{
	char first[3] = "", second[15] = "";

	mem_read(&b->vm->mem, BENCH_DATA + 32, first, 2);
	mem_read(&b->vm->mem, BENCH_DATA + 48, second, 14);
	assert_string_equal(first, "!o");
	assert_string_equal(second, "lleh");
}

/* ---- what a driver finds ------------------------------------------------- */

/* Walks the list as a driver does: kind -> offset of the capability. */
static void find_capabilities(struct virtio_bench *b, u8 at_kind[16])
{
	u8 at = (u8)bench_config(b, PCI_CAPABILITIES, 1);
	unsigned count = 0;

	memset(at_kind, 0, 16);
	while (at) {
		assert_true(++count < 20);
		if (bench_config(b, at, 1) == 9)
			at_kind[bench_config(b, at + 3, 1)] = at;
		at = (u8)bench_config(b, at + 1, 1);
	}
}

static void test_identity(void **state)
{
	static const u32 places[][3] = {
		{1, 0, 60}, {2, 0x3000, 12}, {3, 0x1000, 1}, {4, 0x2000, 6}};
	struct virtio_bench b;
	u8 caps[16];

	bench_open(&b, "echo", "");
	assert_int_equal(bench_config(&b, 0, 4), 0x106a1af4);
	assert_int_equal(bench_config(&b, PCI_REVISION, 4), 0xff000001);
	find_capabilities(&b, caps);
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		u8 at = caps[places[i][0]];

		assert_int_not_equal(at, 0);
		assert_int_equal(bench_config(&b, at + 4, 1), 0);
		assert_int_equal(bench_config(&b, at + 8, 4), places[i][1]);
		assert_int_equal(bench_config(&b, at + 12, 4), places[i][2]);
	}
	assert_int_equal(bench_config(&b, caps[2] + 16, 4), 4);
	assert_int_equal(bench_get(&b, R_QUEUES, 2), 3);
	bench_close(&b);
}

/* Every offset in every width: only registers answer, and none falls over. */
static void test_widths(void **state)
{
	static const struct {
		u8 off, width;
	} registers[] = {{0, 4},  {4, 4},  {8, 4},  {12, 4}, {16, 2}, {18, 2},
			 {20, 1}, {21, 1}, {22, 2}, {24, 2}, {26, 2}, {28, 2},
			 {30, 2}, {32, 4}, {36, 4}, {40, 4}, {44, 4}, {48, 4},
			 {52, 4}, {56, 2}, {58, 2}};
	u8 known[64] = {0};
	struct virtio_bench b;

	bench_open(&b, "echo", "");
	for (unsigned i = 0; i < ARRAY_SIZE(registers); i++)
		known[registers[i].off] = registers[i].width;
	for (unsigned width = 1; width <= 4; width *= 2)
		for (u64 off = 0; off + width <= 0x4000; off++) {
			bool is_register = off < 64 && known[off] == width;

			if (!is_register && (off < 0x2000 || off >= 0x2006))
				assert_int_equal(bench_get(&b, off, width), 0);
			bench_put(&b, off, width, 0);
		}
	bench_close(&b);
}

static void test_config_bytes(void **state)
{
	struct virtio_bench b;

	bench_open(&b, "echo", "");
	assert_int_equal(bench_get(&b, R_CONFIG, 4), 0x666e6f63);
	assert_int_equal(bench_get(&b, R_CONFIG + 5, 1), 'g');
	assert_int_equal(bench_get(&b, R_CONFIG + 4, 4), 0);
	bench_put(&b, R_CONFIG + 1, 1, 'x');
	bench_put(&b, R_CONFIG + 4, 4, 0);
	assert_int_equal(bench_get(&b, R_CONFIG, 4), 0x666e7863);
	assert_int_equal(to_echo(b.v)->config_writes, 1);
	bench_close(&b);
}

/* [1] 4.1.4.9: all of BAR 0 through configuration space. */
static void test_window(void **state)
{
	struct virtio_bench b;
	u8 caps[16], at;

	bench_open(&b, "echo", "");
	find_capabilities(&b, caps);
	at = caps[5];
	assert_int_not_equal(at, 0);
	bench_set_config(&b, at + 8, 4, R_STATUS);
	bench_set_config(&b, at + 12, 4, 1);
	bench_set_config(&b, at + 16, 1, 1);
	assert_int_equal(bench_get(&b, R_STATUS, 1), 1);
	assert_int_equal(bench_config(&b, at + 16, 1), 1);
	bench_set_config(&b, at + 8, 4, R_QUEUES);
	bench_set_config(&b, at + 12, 4, 2);
	assert_int_equal(bench_config(&b, at + 16, 2), 3);
	/* Nowhere: another BAR, past the end, odd lengths. */
	bench_set_config(&b, at + 16, 4, 0x77777777);
	for (unsigned bar = 2; bar < 256; bar++) {
		bench_set_config(&b, at + 4, 1, bar);
		assert_int_equal(bench_config(&b, at + 16, 4), 0x77777777);
	}
	bench_set_config(&b, at + 4, 1, 0);
	bench_set_config(&b, at + 8, 4, 0x4000);
	assert_int_equal(bench_config(&b, at + 16, 4), 0x77777777);
	bench_set_config(&b, at + 8, 4, 0);
	for (u32 len = 0; len < 64; len++) {
		if (len == 1 || len == 2 || len == 4)
			continue;
		bench_set_config(&b, at + 12, 4, len);
		assert_int_equal(bench_config(&b, at + 16, 4), 0x77777777);
	}
	bench_close(&b);
}

/* ---- from reset to running ----------------------------------------------- */

static void test_features(void **state)
{
	const u64 all =
		BIT(FEATURE) | BIT(28) | BIT(29) | BIT(32) | BIT(34) | BIT(40);
	struct virtio_bench b;

	bench_open(&b, "echo", "");
	assert_true(bench_offered(&b) == all);
	bench_put(&b, R_OFFERED_SELECT, 4, 2);
	assert_int_equal(bench_get(&b, R_OFFERED, 4), BIT(HIGH_FEATURE - 64));
	for (u32 select = 3; select < 40; select++) {
		bench_put(&b, R_OFFERED_SELECT, 4, select);
		assert_int_equal(bench_get(&b, R_OFFERED, 4), 0);
	}
	/* Without version 1, or with what is not offered: no. */
	bench_agree(&b, BIT(FEATURE));
	assert_int_equal(bench_get(&b, R_STATUS, 1), 3);
	bench_agree(&b, BIT(32) | BIT(0));
	assert_int_equal(bench_get(&b, R_STATUS, 1), 3);
	bench_agree(&b, BIT(32) | BIT(63));
	assert_int_equal(bench_get(&b, R_STATUS, 1), 3);
	bench_put(&b, R_ACCEPTED_SELECT, 4, 7);
	bench_put(&b, R_ACCEPTED, 4, 0xffffffff);
	bench_agree(&b, BIT(32) | BIT(FEATURE));
	assert_int_equal(bench_get(&b, R_STATUS, 1), 11);
	/* CVE-2026-5747: settled is settled. */
	bench_put(&b, R_ACCEPTED_SELECT, 4, 0);
	bench_put(&b, R_ACCEPTED, 4, 0);
	assert_int_equal(bench_get(&b, R_ACCEPTED, 4), BIT(FEATURE));
	assert_true(virtio_has(b.v, FEATURE));
	assert_false(virtio_has(b.v, HIGH_FEATURE));
	bench_close(&b);
}

static void test_status_takes_its_steps(void **state)
{
	struct virtio_bench b;

	bench_open(&b, "echo", "");
	bench_put(&b, R_STATUS, 1, VIRTIO_DRIVER_OK);
	assert_int_equal(bench_get(&b, R_STATUS, 1), 0);
	bench_put(&b, R_STATUS, 1, 0x70);
	assert_int_equal(bench_get(&b, R_STATUS, 1), 0);
	bench_agree(&b, BIT(32));
	bench_put(&b, R_STATUS, 1, 15);
	bench_put(&b, R_STATUS, 1, 1); /* bits stay */
	assert_int_equal(bench_get(&b, R_STATUS, 1), 15);
	assert_int_equal(to_echo(b.v)->starts, 1);
	bench_put(&b, R_STATUS, 1, 0);
	assert_int_equal(bench_get(&b, R_STATUS, 1), 0);
	bench_close(&b);
}

/* No register of a queue changes once it is enabled. */
static void test_enabled_queues_are_frozen(void **state)
{
	static const u8 regs[] = {R_SIZE,   R_VECTOR, R_DESC,
				  R_DRIVER, R_DEVICE, R_DESC + 4};
	struct virtio_bench b;
	struct virtq_regs before;

	bench_open(&b, "echo", "");
	bench_start(&b, 0, 3);
	bench_put(&b, R_SELECT, 2, 1);
	before = b.v->regs->queues[1];
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
		bench_put(&b, regs[i], 2, 1);
		bench_put(&b, regs[i], 4, 1);
		bench_put(&b, regs[i], 8, 1);
	}
	bench_put(&b, R_ENABLE, 2, 0);
	assert_memory_equal(&before, &b.v->regs->queues[1], sizeof(before));
	/* Nor is there a fourth queue. */
	bench_put(&b, R_SELECT, 2, 3);
	assert_int_equal(bench_get(&b, R_SIZE, 2), 0);
	bench_put(&b, R_ENABLE, 2, 1);
	bench_put(&b, R_SIZE, 2, 8);
	bench_put(&b, R_SELECT, 2, 0xffff);
	bench_put(&b, R_RESET, 2, 1);
	bench_put(&b, R_ENABLE, 2, 1);
	bench_close(&b);
}

static void test_vectors_that_are_not_there(void **state)
{
	struct virtio_bench b;

	bench_open(&b, "echo", "");
	bench_put(&b, R_CONFIG_VECTOR, 2, 3);
	assert_int_equal(bench_get(&b, R_CONFIG_VECTOR, 2), 3);
	bench_put(&b, R_CONFIG_VECTOR, 2, 4);
	assert_int_equal(bench_get(&b, R_CONFIG_VECTOR, 2), 0xffff);
	bench_put(&b, R_VECTOR, 2, 0x8000);
	assert_int_equal(bench_get(&b, R_VECTOR, 2), 0xffff);
	bench_close(&b);
}

/* ---- requests ------------------------------------------------------------ */

static void echo_once(struct virtio_bench *b, unsigned queue)
{
	put_hello(b);
	assert_int_equal(bench_request(b, queue, hello, 2, 2), 6);
	check_answer(b);
}

static void test_requests(void **state)
{
	static const u64 without[] = {0, VIRTQ_F_PACKED, VIRTQ_F_EVENT_IDX,
				      VIRTQ_F_PACKED | VIRTQ_F_EVENT_IDX |
					      VIRTQ_F_INDIRECT};

	for (unsigned i = 0; i < ARRAY_SIZE(without); i++)
		for (unsigned threads = 0; threads < 4; threads += 3) {
			struct virtio_bench b;

			bench_open(&b, "echo",
				   threads ? "threads=3" : "threads=0");
			bench_start(&b, without[i], 3);
			for (unsigned j = 0; j < 100; j++)
				echo_once(&b, j % 3);
			bench_wait(&b, 0, 34);
			bench_wait(&b, 1, 33);
			bench_wait(&b, 2, 33);
			bench_close(&b);
		}
}

/* Without MSI-X: the pin, and the register that tells why. */
static void test_pin_and_isr(void **state)
{
	struct virtio_bench b;

	bench_open(&b, "echo", "");
	bench_set_config(&b, b.v->msix.capability + 2, 2, 0);
	bench_start(&b, 0, 1);
	echo_once(&b, 0);
	assert_true(b.pin);
	assert_int_equal(bench_get(&b, R_ISR, 1), 1);
	assert_false(b.pin);
	assert_int_equal(bench_get(&b, R_ISR, 1), 0);
	virtio_config_changed(b.v);
	echo_once(&b, 0);
	assert_int_equal(bench_get(&b, R_GENERATION, 1), 1);
	assert_int_equal(bench_get(&b, R_ISR, 1), 3);
	assert_int_equal(b.messages, 0);
	/* Switching MSI-X on silences it. */
	virtio_config_changed(b.v);
	assert_true(b.pin);
	bench_set_config(&b, b.v->msix.capability + 2, 2, 0x8000);
	assert_false(b.pin);
	bench_close(&b);
}

static void test_config_interrupt(void **state)
{
	struct virtio_bench b;

	bench_open(&b, "echo", "");
	virtio_config_changed(b.v); /* nobody is there */
	assert_int_equal(b.messages, 0);
	bench_start(&b, 0, 1);
	bench_put(&b, R_CONFIG_VECTOR, 2, 3);
	virtio_config_changed(b.v);
	assert_int_equal(b.vector_hits[3], 1);
	bench_close(&b);
}

/* A ring that breaks the rules stops the device, until it is reset. */
static void test_needs_reset(void **state)
{
	static const struct virtq_part outside = {0xfffff000, 64};
	struct virtio_bench b;
	u32 written;

	bench_open(&b, "echo", "");
	bench_start(&b, 0, 2);
	bench_put(&b, R_CONFIG_VECTOR, 2, 3);
	assert_true(driver_add(&b.queues[0], &outside, 1, 0, &written));
	bench_kick(&b, 0);
	assert_int_equal(bench_get(&b, R_STATUS, 1), 15 | VIRTIO_NEEDS_RESET);
	assert_int_equal(b.vector_hits[3], 1);
	assert_int_equal(b.v->broken, 1);
	/* The other queue is silent as well. */
	assert_true(driver_add(&b.queues[1], hello, 2, 2, &written));
	bench_kick(&b, 1);
	assert_null(driver_get(&b.queues[1], &written));
	bench_start(&b, 0, 2);
	echo_once(&b, 0);
	echo_once(&b, 1);
	/* And one that is nowhere, as it is enabled. */
	bench_agree(&b, bench_offered(&b));
	bench_put(&b, R_SELECT, 2, 0);
	bench_put(&b, R_DESC, 8, 0xfee00000);
	bench_put(&b, R_ENABLE, 2, 1);
	assert_int_equal(bench_get(&b, R_STATUS, 1), 11 | VIRTIO_NEEDS_RESET);
	bench_close(&b);
}

/* ---- resets with work under way ------------------------------------------ */

static void begin_held(struct virtio_bench *b, unsigned queue, u32 *written)
{
	put_hello(b);
	assert_true(driver_add(&b->queues[queue], hello, 2, 2, written));
	bench_kick(b, queue);
	sem_wait(&to_echo(b->v)->began);
}

/* The device is reset when its last request is back, which is dropped. */
static void test_reset_under_load(void **state)
{
	struct virtio_bench b;
	u32 written[2];

	bench_open(&b, "echo", "threads=2,held=on");
	bench_start(&b, 0, 2);
	begin_held(&b, 0, &written[0]);
	begin_held(&b, 1, &written[1]);
	bench_put(&b, R_STATUS, 1, 0);
	assert_int_equal(bench_get(&b, R_STATUS, 1), 15);
	sem_post(&to_echo(b.v)->go);
	assert_int_equal(bench_get(&b, R_STATUS, 1), 15);
	sem_post(&to_echo(b.v)->go);
	while (bench_get(&b, R_STATUS, 1))
		sched_yield();
	assert_null(driver_get(&b.queues[0], &written[0]));
	assert_null(driver_get(&b.queues[1], &written[1]));
	assert_int_equal(b.messages, 0);
	to_echo(b.v)->held = false;
	bench_start(&b, 0, 2);
	echo_once(&b, 0);
	bench_close(&b);
}

static void *post_soon(void *go)
{
	sched_yield();
	sem_post(go);
	return NULL;
}

/* One that does not poll waits in its next write. */
static void test_reset_without_polling(void **state)
{
	struct virtio_bench b;
	pthread_t thread;
	u32 written;

	bench_open(&b, "echo", "threads=1,held=on");
	bench_start(&b, 0, 1);
	begin_held(&b, 0, &written);
	bench_put(&b, R_STATUS, 1, 0);
	pthread_create(&thread, NULL, post_soon, &to_echo(b.v)->go);
	bench_put(&b, R_STATUS, 1, 1);
	assert_int_equal(bench_get(&b, R_STATUS, 1), 1);
	assert_null(driver_get(&b.queues[0], &written));
	pthread_join(thread, NULL);
	bench_close(&b);
}

static void test_queue_reset(void **state)
{
	struct virtio_bench b;
	u32 written;

	bench_open(&b, "echo", "threads=2,held=on");
	bench_start(&b, 0, 2);
	begin_held(&b, 0, &written);
	bench_put(&b, R_SELECT, 2, 0);
	bench_put(&b, R_RESET, 2, 1);
	assert_int_equal(bench_get(&b, R_RESET, 2), 1);
	to_echo(b.v)->held = false;
	echo_once(&b, 1); /* the other one goes on */
	sem_post(&to_echo(b.v)->go);
	while (bench_get(&b, R_RESET, 2))
		sched_yield();
	assert_int_equal(bench_get(&b, R_ENABLE, 2), 0);
	assert_null(driver_get(&b.queues[0], &written));
	bench_queue(&b, 0, 8);
	assert_int_equal(bench_get(&b, R_ENABLE, 2), 1);
	echo_once(&b, 0);
	echo_once(&b, 1);
	bench_close(&b);
}

/* What the driver did is counted, and what it did wrong. */
static void test_counters(void **state)
{
	struct virtio_bench b;
	char text[512];

	bench_open(&b, "echo", "");
	bench_start(&b, 0, 1);
	for (unsigned i = 0; i < 7; i++)
		echo_once(&b, 0);
	bench_put(&b, R_SELECT, 2, 0);
	bench_put(&b, R_SIZE, 2, 1);
	device_stats(b.vm, text, sizeof(text));
	assert_string_equal(text, "echo0.requests 7\n"
				  "echo0.notifications 7\n"
				  "echo0.interrupts 7\n"
				  "echo0.broken 0\n"
				  "echo0.ignored_writes 1\n");
	bench_close(&b);
}

/* The answers of a broken queue are nobody's, after loading too. */
static void test_broken_is_saved(void **state)
{
	static const struct virtq_part outside = {0xfffff000, 64};
	struct device_blob blob, again;
	struct virtio_bench b;
	struct err err = {0};
	u32 written;

	bench_open(&b, "echo", "threads=2");
	bench_start(&b, VIRTQ_F_EVENT_IDX, 1);
	driver_listen(&b.queues[0]);
	put_hello(&b);
	assert_true(driver_add(&b.queues[0], hello, 2, 2, &written));
	assert_true(driver_add(&b.queues[0], &outside, 1, 0, &err));
	bench_kick(&b, 0);
	while (!(bench_get(&b, R_STATUS, 1) & VIRTIO_NEEDS_RESET))
		sched_yield();
	device_quiesce_all(b.vm);
	assert_int_equal(device_save(&b.v->fn.dev, &blob, &err), 0);
	assert_int_equal(b.v->regs->queues[0].pushed, 0);
	assert_int_equal(device_load(&b.v->fn.dev, &blob, &err), 0);
	device_resume_all(b.vm);
	device_quiesce_all(b.vm);
	assert_int_equal(device_save(&b.v->fn.dev, &again, &err), 0);
	assert_memory_equal(&blob, &again, sizeof(blob));
	bench_close(&b);
}

static void test_destroyed_at_work(void **state)
{
	struct virtio_bench b;
	pthread_t thread;
	u32 written;

	bench_open(&b, "echo", "threads=3,held=on");
	bench_start(&b, 0, 1);
	begin_held(&b, 0, &written);
	pthread_create(&thread, NULL, post_soon, &to_echo(b.v)->go);
	pthread_join(thread, NULL);
	bench_close(&b);
}

/* ---- pause, save, load --------------------------------------------------- */

static void test_pause(void **state)
{
	struct virtio_bench b;
	pthread_t thread;
	u32 written;

	bench_open(&b, "echo", "threads=2,held=on");
	bench_start(&b, 0, 1);
	begin_held(&b, 0, &written);
	pthread_create(&thread, NULL, post_soon, &to_echo(b.v)->go);
	device_quiesce_all(b.vm);
	/* It is done, and said so, before the pause. */
	assert_non_null(driver_get(&b.queues[0], &written));
	assert_int_equal(b.vector_hits[0], 1);
	pthread_join(thread, NULL);
	to_echo(b.v)->held = false;
	put_hello(&b);
	assert_true(driver_add(&b.queues[0], hello, 2, 2, &written));
	bench_kick(&b, 0);
	assert_null(driver_get(&b.queues[0], &written));
	driver_listen(&b.queues[0]);
	device_resume_all(b.vm);
	bench_wait(&b, 0, 2);
	assert_non_null(driver_get(&b.queues[0], &written));
	bench_close(&b);
}

static void test_save_load(void **state)
{
	struct device_blob blob, bad;
	struct virtio_regs *regs = (void *)bad.data;
	struct virtio_bench b;
	struct err err = {0};

	bench_open(&b, "echo", "");
	bench_start(&b, 0, 3);
	for (unsigned i = 0; i < 21; i++)
		echo_once(&b, 2);
	assert_int_equal(device_save(&b.v->fn.dev, &blob, &err), 0);
	device_reset_all(b.vm);
	assert_int_equal(device_load(&b.v->fn.dev, &blob, &err), 0);
	echo_once(&b, 2);
	assert_int_equal(b.vector_hits[2], 22);

#define REFUSED(change)                                                 \
	do {                                                            \
		bad = blob;                                             \
		change;                                                 \
		assert_int_equal(device_load(&b.v->fn.dev, &bad, &err), \
				 -EINVAL);                              \
	} while (0)
	REFUSED(regs->status = 0x20);
	REFUSED(regs->status = VIRTIO_DRIVER_OK);
	REFUSED(regs->accepted[0] |= BIT(5));
	REFUSED(regs->accepted[1] |= BIT(40));
	REFUSED(regs->accepted[0] = 0);
	REFUSED(regs->isr = 4);
	REFUSED(regs->queues[3].size = 8);
	REFUSED(regs->queues[0].enabled = 2);
	REFUSED(regs->queues[0].used_wrap = 2);
	REFUSED(regs->queues[3].enabled = 1);
	REFUSED(regs->space[0] ^= 1);
	REFUSED(regs->msix.pending = BIT(60));
#undef REFUSED
	/* What a driver can write, a state can hold. */
	bench_put(&b, R_STATUS, 1, 0);
	bench_put(&b, R_SELECT, 2, 1);
	bench_put(&b, R_SIZE, 2, 0x8000);
	assert_int_equal(device_save(&b.v->fn.dev, &bad, &err), 0);
	assert_int_equal(device_load(&b.v->fn.dev, &bad, &err), 0);
	/* A place that is none: loaded, and to be reset. */
	bad = blob;
	regs->queues[0].avail = 0x7000;
	assert_int_equal(device_load(&b.v->fn.dev, &bad, &err), 0);
	assert_int_equal(bench_get(&b, R_STATUS, 1), 15 | VIRTIO_NEEDS_RESET);
	bench_close(&b);
}

/* ---- registers in memory ------------------------------------------------- */

enum { PAGE = 0xfeb00000 + 3 * 0x1000 };

static void set_queue_by_mmio(struct virtio_bench *b, struct driver *d)
{
	struct virtq_regs regs;

	driver_init(d, &b->vm->mem, 0x10000, 8, b->v->regs->accepted[0]);
	driver_regs(d, &regs);
	fixture_write32(b->vm, PAGE + 0x30, 0);
	assert_int_equal(fixture_read32(b->vm, PAGE + 0x34), 256);
	fixture_write32(b->vm, PAGE + 0x38, 8);
	fixture_write32(b->vm, PAGE + 0x80, (u32)regs.desc);
	fixture_write32(b->vm, PAGE + 0x84, 0);
	fixture_write32(b->vm, PAGE + 0x90, (u32)regs.driver);
	fixture_write32(b->vm, PAGE + 0xa0, (u32)regs.device);
	fixture_write32(b->vm, PAGE + 0x44, 1);
	assert_int_equal(fixture_read32(b->vm, PAGE + 0x44), 1);
}

static void start_by_mmio(struct virtio_bench *b)
{
	fixture_write32(b->vm, PAGE + 0x70, 0);
	fixture_write32(b->vm, PAGE + 0x70, 3);
	for (u32 i = 0; i < 2; i++) {
		fixture_write32(b->vm, PAGE + 0x14, i);
		fixture_write32(b->vm, PAGE + 0x24, i);
		fixture_write32(b->vm, PAGE + 0x20,
				fixture_read32(b->vm, PAGE + 0x10));
	}
	fixture_write32(b->vm, PAGE + 0x70, 11);
	set_queue_by_mmio(b, &b->queues[0]);
	fixture_write32(b->vm, PAGE + 0x70, 15);
	assert_int_equal(fixture_read32(b->vm, PAGE + 0x70), 15);
}

static void echo_by_mmio(struct virtio_bench *b)
{
	u32 written;

	put_hello(b);
	driver_listen(&b->queues[0]);
	assert_true(driver_add(&b->queues[0], hello, 2, 2, &written));
	fixture_write32(b->vm, PAGE + 0x50, 0);
	bench_loop(b);
	assert_non_null(driver_get(&b->queues[0], &written));
	check_answer(b);
}

static void test_mmio(void **state)
{
	struct virtio_bench b;
	u64 val = 0;

	bench_open_mmio(&b, "echo", "slot=3,mmio");
	assert_int_equal(fixture_read32(b.vm, PAGE), 0x74726976);
	assert_int_equal(fixture_read32(b.vm, PAGE + 4), 2);
	assert_int_equal(fixture_read32(b.vm, PAGE + 8), ID);
	for (u64 off = 0; off < 0x100; off++)
		for (unsigned width = 1; width <= 2; width *= 2) {
			bus_write(&b.vm->bus, BUS_MMIO, PAGE + off, width, 1,
				  &off);
			bus_read(&b.vm->bus, BUS_MMIO, PAGE + off, width, 1,
				 &val);
			assert_int_equal(val, 0);
		}
	assert_int_equal(fixture_read32(b.vm, PAGE + 0x100), 0x666e6f63);
	assert_int_equal(fixture_read32(b.vm, PAGE + 0xb0), UINT32_MAX);
	assert_int_equal(fixture_read32(b.vm, PAGE + 0xbc), UINT32_MAX);
	start_by_mmio(&b);
	assert_true(b.v->bells[0].bell.match);
	echo_by_mmio(&b);
	assert_true(b.pin);
	assert_int_equal(fixture_read32(b.vm, PAGE + 0x60), 1);
	fixture_write32(b.vm, PAGE + 0x64, 2);
	assert_true(b.pin);
	fixture_write32(b.vm, PAGE + 0x64, 1);
	assert_false(b.pin);
	/* [1] 4.2.2.2: a queue is stopped by its ready register. */
	fixture_write32(b.vm, PAGE + 0x44, 0);
	assert_int_equal(fixture_read32(b.vm, PAGE + 0x44), 0);
	set_queue_by_mmio(&b, &b.queues[0]);
	echo_by_mmio(&b);
	/* A reset silences the line, frozen is frozen, sizes are checked. */
	start_by_mmio(&b);
	assert_false(b.pin);
	fixture_write32(b.vm, PAGE + 0x80, 0x1234);
	echo_by_mmio(&b);
	fixture_write32(b.vm, PAGE + 0x30, 1);
	fixture_write32(b.vm, PAGE + 0x38, 0x10008);
	fixture_write32(b.vm, PAGE + 0x44, 1);
	assert_int_equal(fixture_read32(b.vm, PAGE + 0x70),
			 15 | VIRTIO_NEEDS_RESET);
	fixture_write32(b.vm, PAGE + 0x30, 0x10000);
	assert_int_equal(fixture_read32(b.vm, PAGE + 0x34), 0);
	bench_close(&b);
}

/* ---- doorbells ----------------------------------------------------------- */

static void test_doorbells(void **state)
{
	struct virtio_bench b;
	const struct doorbell *bell;

	bench_open(&b, "echo", "");
	bell = b.v->bells;
	assert_null(b.vm->doorbells);
	bench_start(&b, 0, 2);
	assert_ptr_equal(bell[0].vm, b.vm);
	assert_true(bell[0].bell.mmio);
	assert_true(bell[0].bell.addr == BENCH_BAR + 0x3000);
	assert_true(bell[1].bell.addr == BENCH_BAR + 0x3004);
	assert_null(bell[2].vm);
	/* They move with the BAR, and go with decoding, and with a reset. */
	bench_set_config(&b, PCI_BAR0, 4, BENCH_BAR + 0x10000);
	assert_true(bell[1].bell.addr == BENCH_BAR + 0x13004);
	bench_set_config(&b, PCI_COMMAND, 2, 0);
	assert_null(b.vm->doorbells);
	bench_set_config(&b, PCI_BAR0, 4, BENCH_BAR);
	bench_set_config(&b, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_true(bell[0].bell.addr == BENCH_BAR + 0x3000);
	bench_put(&b, R_STATUS, 1, 0);
	assert_null(b.vm->doorbells);
	bench_close(&b);
}

/* ---- rng ----------------------------------------------------------------- */

static void test_rng(void **state)
{
	const struct virtq_part part = {BENCH_DATA, 32},
				big = {BENCH_DATA, 0x10000};
	u8 bytes[3][32] = {{0}};
	struct virtio_bench b;

	bench_open(&b, "virtio-rng", "");
	bench_start(&b, 0, 1);
	for (unsigned i = 1; i < 3; i++) {
		assert_int_equal(bench_request(&b, 0, &part, 0, 1), 32);
		mem_read(&b.vm->mem, BENCH_DATA, bytes[i], 32);
		for (unsigned j = 0; j < i; j++)
			assert_memory_not_equal(bytes[i], bytes[j], 32);
	}
	assert_int_equal(bench_request(&b, 0, &big, 0, 1), 4096);
	/* Nothing to write to: nothing written. */
	assert_int_equal(bench_request(&b, 0, &part, 1, 0), 0);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_widths),
		cmocka_unit_test(test_config_bytes),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_status_takes_its_steps),
		cmocka_unit_test(test_enabled_queues_are_frozen),
		cmocka_unit_test(test_vectors_that_are_not_there),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_pin_and_isr),
		cmocka_unit_test(test_config_interrupt),
		cmocka_unit_test(test_needs_reset),
		cmocka_unit_test(test_reset_under_load),
		cmocka_unit_test(test_reset_without_polling),
		cmocka_unit_test(test_queue_reset),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_broken_is_saved),
		cmocka_unit_test(test_destroyed_at_work),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_save_load),
		cmocka_unit_test(test_mmio),
		cmocka_unit_test(test_doorbells),
		cmocka_unit_test(test_rng),
	};

	return cmocka_run_group_tests_name("virtio", tests, NULL, NULL);
}
