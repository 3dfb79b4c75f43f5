/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16550A registers and interrupts, after [1] the PC16550D data sheet, on a VM
 * whose clock the test moves. What the host does is test_console's.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "irq_record.h"
#include "vm_fixture.h"

enum { THR, IER, FCR, LCR, MCR, LSR, MSR, SCR };
enum { RBR = THR, IIR = FCR, BASE = 0x3f8, IRQ = 4, MSEC = 1000000 };
enum { TIMEOUT_NS = 200000 };

struct bench {
	struct vm *vm;
	struct device *dev;
	struct irq_record irq;
	int in[2], out[2]; /* pipes; the test's ends are in[1], out[0] */
};

static int setup(void **state)
{
	static struct bench b;

	b = (struct bench){.vm = fixture_vm(1)};
	irq_record_attach(&b.irq, &b.vm->irq);
	assert_int_equal(pipe2(b.in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(b.out, O_CLOEXEC | O_NONBLOCK), 0);
	b.vm->consoles[0].in_fd = b.in[0];
	b.vm->consoles[0].out_fd = b.out[1];
	b.dev = fixture_device(b.vm, "serial", NULL);
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	vm_destroy(b->vm);
	close(b->in[0]);
	close(b->in[1]);
	close(b->out[0]);
	close(b->out[1]);
	return 0;
}

static u8 in(struct bench *b, unsigned reg)
{
	return fixture_inb(b->vm, (u16)(BASE + reg));
}

static void out(struct bench *b, unsigned reg, unsigned val)
{
	fixture_outb(b->vm, (u16)(BASE + reg), (u8)val);
}

/* What the event loop would do with the events that there are now. */
static void serve(struct bench *b)
{
	struct epoll_event events[8];
	int count = epoll_wait(b->vm->loop.epoll_fd, events, 8, 0);

	for (int i = 0; i < count; i++) {
		struct loop_fd *lfd = events[i].data.ptr;

		if (lfd->kind != LOOP_FD)
			continue;
		pthread_mutex_lock(&lfd->dev->lock);
		lfd->ready(lfd, events[i].events);
		pthread_mutex_unlock(&lfd->dev->lock);
	}
}

static void later(struct bench *b, u64 ns)
{
	fixture_time(b->vm, clock_ns(&b->vm->clock) + ns);
}

/* True if the event loop would sleep. */
static bool loop_is_idle(struct bench *b)
{
	struct epoll_event event;

	return epoll_wait(b->vm->loop.epoll_fd, &event, 1, 0) == 0;
}

/* Into loopback with both FIFOs on and empty. */
static void loopback(struct bench *b, unsigned fcr)
{
	out(b, MCR, 0x10);
	in(b, MSR);
	out(b, FCR, fcr);
}

static void type(struct bench *b, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		out(b, THR, 'a' + i);
}

/* ---- registers ---- */

static void test_reset_values(void **state)
{
	struct bench *b = *state;

	out(b, SCR, 0x5a);
	out(b, IER, 0xff);
	out(b, MCR, 0xff);
	out(b, FCR, 0xc1);
	assert_int_equal(in(b, IER), 0x0f);
	assert_int_equal(in(b, MCR), 0x1f);
	out(b, LCR, 0x80);
	out(b, THR, 0x34);
	out(b, IER, 0x12);
	device_reset_all(b->vm);
	assert_int_equal(in(b, IER), 0);
	assert_int_equal(in(b, IIR), 0x01);
	assert_int_equal(in(b, LCR), 0);
	assert_int_equal(in(b, MCR), 0);
	assert_int_equal(in(b, LSR), 0x60);
	assert_int_equal(in(b, MSR), 0xb0);
	/* [1] table 1: not touched by master reset */
	assert_int_equal(in(b, SCR), 0x5a);
	out(b, LCR, 0x83);
	assert_int_equal(in(b, THR), 0x34);
	assert_int_equal(in(b, IER), 0x12);
}

static void test_divisor_latch(void **state)
{
	struct bench *b = *state;

	out(b, IER, 0x05);
	out(b, LCR, 0x80);
	assert_int_equal(in(b, THR), 12); /* 9600 baud */
	out(b, THR, 1);
	out(b, IER, 0xee);
	assert_int_equal(in(b, THR), 1);
	assert_int_equal(in(b, IER), 0xee);
	out(b, LCR, 0x03);
	assert_int_equal(in(b, IER), 0x05);
}

static void test_wide_access_is_split(void **state)
{
	struct bench *b = *state;
	u32 val = 0;

	out(b, SCR, 0x77);
	bus_read(&b->vm->bus, BUS_PIO, BASE + 4, 4, 1, &val);
	assert_int_equal(val, 0x77b06000);
}

/* The steps by which Linux tells a 16550A, 8250_port.c autoconfig. */
static void test_identification(void **state)
{
	struct bench *b = *state;

	out(b, IER, 0);
	assert_int_equal(in(b, IER), 0);
	out(b, IER, 0x0f);
	assert_int_equal(in(b, IER) & 0x0f, 0x0f);
	out(b, IER, 0);
	out(b, MCR, 0x10 | 0x0a);
	assert_int_equal(in(b, MSR) & 0xf0, 0x90);
	out(b, MCR, 0);
	out(b, FCR, 0x01);
	assert_int_equal(in(b, IIR) >> 6, 3);
	out(b, FCR, 0);
	assert_int_equal(in(b, IIR) >> 6, 0);
}

/* ---- modem ---- */

static void test_modem_loopback(void **state)
{
	struct bench *b = *state;

	assert_int_equal(in(b, MSR), 0xb0);
	out(b, MCR, 0x10); /* all inputs drop: CTS, DSR, DCD change */
	assert_int_equal(in(b, MSR), 0x0b);
	assert_int_equal(in(b, MSR), 0x00);
	out(b, MCR, 0x11); /* DTR -> DSR */
	assert_int_equal(in(b, MSR), 0x22);
	out(b, MCR, 0x12); /* RTS -> CTS */
	assert_int_equal(in(b, MSR), 0x13);
	out(b, MCR, 0x14); /* OUT1 -> RI, whose rising edge does not count */
	assert_int_equal(in(b, MSR), 0x41);
	out(b, MCR, 0x18); /* OUT2 -> DCD; RI's trailing edge does */
	assert_int_equal(in(b, MSR), 0x8c);
	out(b, IER, 0x08);
	assert_false(b->irq.level[IRQ]);
	out(b, MCR, 0x10);
	assert_true(b->irq.level[IRQ]);
	assert_int_equal(in(b, IIR), 0x00);
	assert_true(b->irq.level[IRQ]);
	in(b, MSR);
	assert_false(b->irq.level[IRQ]);
}

/* ---- transmitter ---- */

static void test_thre_interrupt(void **state)
{
	struct bench *b = *state;
	unsigned edges;

	out(b, IER, 0x02);
	assert_true(b->irq.level[IRQ]);
	assert_int_equal(in(b, IIR), 0x02);
	assert_false(b->irq.level[IRQ]); /* reading IIR withdraws it */
	assert_int_equal(in(b, IIR), 0x01);
	out(b, IER, 0); /* off and on with an empty transmitter: again */
	out(b, IER, 0x02);
	assert_int_equal(in(b, IIR), 0x02);
	/* Every byte sent is an edge, even if IIR is never read. */
	edges = b->irq.edges[IRQ];
	out(b, THR, 'x');
	assert_int_equal(b->irq.edges[IRQ], edges + 1);
	out(b, THR, 'y');
	assert_int_equal(b->irq.edges[IRQ], edges + 2);
	assert_int_equal(in(b, LSR), 0x60);
	out(b, IER, 0);
	assert_false(b->irq.level[IRQ]);
}

static void test_output_is_gathered(void **state)
{
	struct bench *b = *state;
	char buf[4096];

	out(b, THR, 'h');
	out(b, THR, 'i');
	assert_int_equal(read(b->out[0], buf, sizeof(buf)), -1);
	later(b, MSEC);
	assert_int_equal(read(b->out[0], buf, sizeof(buf)), 2);
	assert_memory_equal(buf, "hi", 2);
	/* A batch does not wait for the timer. */
	for (int i = 0; i < 1024; i++)
		out(b, THR, '.');
	assert_int_equal(read(b->out[0], buf, sizeof(buf)), 1024);
	/* An idle port needs no timer. */
	later(b, MSEC);
	assert_int_equal(b->vm->timers.count, 0);
}

static void test_busy_transmitter(void **state)
{
	struct bench *b = *state;
	char buf[65536];
	unsigned sent = 0, got = 0;
	ssize_t ret;

	fcntl(b->out[1], F_SETPIPE_SZ, 4096);
	for (; in(b, LSR) == 0x60; sent++)
		out(b, THR, 'x');
	assert_int_equal(in(b, LSR), 0);
	assert_true(loop_is_idle(b));
	out(b, IER, 0x02);
	assert_int_equal(in(b, IIR), 0x01);
	while ((ret = read(b->out[0], buf, sizeof(buf))) > 0) {
		got += (unsigned)ret;
		serve(b);
	}
	assert_int_equal(got, sent);
	assert_int_equal(in(b, IIR), 0x02);
	assert_int_equal(in(b, LSR), 0x60);
	/* Nothing left to write: the pipe's room is no event any more. */
	assert_true(loop_is_idle(b));
}

static void test_quiesce_flushes(void **state)
{
	struct bench *b = *state;
	char buf[8];

	out(b, THR, 'h');
	device_quiesce_all(b->vm);
	assert_int_equal(read(b->out[0], buf, sizeof(buf)), 1);
	assert_int_equal(write(b->in[1], "x", 1), 1);
	serve(b);
	serve(b);
	assert_int_equal(in(b, LSR), 0x60);
	assert_true(loop_is_idle(b));
	device_resume_all(b->vm);
	serve(b);
	assert_int_equal(in(b, LSR), 0x61);
}

/* ---- receiver ---- */

static void test_receive_without_fifo(void **state)
{
	struct bench *b = *state;

	loopback(b, 0);
	out(b, IER, 0x01);
	out(b, THR, 'a');
	assert_true(b->irq.level[IRQ]);
	assert_int_equal(in(b, IIR), 0x04);
	assert_int_equal(in(b, LSR), 0x61);
	out(b, THR, 'b'); /* overrun: the first one is destroyed */
	assert_int_equal(in(b, LSR), 0x63);
	assert_int_equal(in(b, LSR), 0x61);
	assert_int_equal(in(b, RBR), 'b');
	assert_false(b->irq.level[IRQ]);
	assert_int_equal(in(b, LSR), 0x60);
}

static void test_trigger_levels(void **state)
{
	static const u8 levels[] = {1, 4, 8, 14};
	struct bench *b = *state;

	out(b, IER, 0x01);
	for (unsigned i = 0; i < 4; i++) {
		loopback(b, 0x07 | i << 6);
		type(b, levels[i] - 1u);
		assert_false(b->irq.level[IRQ]);
		assert_int_equal(in(b, IIR), 0xc1);
		type(b, 1);
		assert_true(b->irq.level[IRQ]);
		assert_int_equal(in(b, IIR), 0xc4);
		in(b, RBR); /* below the level */
		assert_false(b->irq.level[IRQ]);
	}
}

static void test_fifo_timeout(void **state)
{
	struct bench *b = *state;
	unsigned edges;

	loopback(b, 0x87);
	out(b, IER, 0x01);
	type(b, 3);
	later(b, TIMEOUT_NS - 1);
	assert_false(b->irq.level[IRQ]);
	out(b, THR, 'd'); /* the silence starts anew */
	later(b, TIMEOUT_NS - 1);
	assert_false(b->irq.level[IRQ]);
	later(b, 1);
	assert_true(b->irq.level[IRQ]);
	assert_int_equal(in(b, IIR), 0xcc);
	/* Reading a byte ends it, silence with bytes left brings an edge. */
	edges = b->irq.edges[IRQ];
	assert_int_equal(in(b, RBR), 'a');
	assert_false(b->irq.level[IRQ]);
	later(b, TIMEOUT_NS);
	assert_int_equal(b->irq.edges[IRQ], edges + 1);
	assert_int_equal(in(b, RBR), 'b');
	assert_int_equal(in(b, RBR), 'c');
	assert_int_equal(in(b, RBR), 'd');
	later(b, 10 * TIMEOUT_NS);
	assert_false(b->irq.level[IRQ]);
	assert_int_equal(b->vm->timers.count, 0);
}

static void test_fifo_overrun(void **state)
{
	struct bench *b = *state;

	loopback(b, 0x07);
	out(b, IER, 0x05);
	type(b, 16);
	assert_int_equal(in(b, IIR), 0xc4);
	type(b, 1); /* nothing in the FIFO is destroyed */
	assert_int_equal(in(b, IIR), 0xc6);
	assert_int_equal(in(b, LSR), 0x63);
	assert_int_equal(in(b, IIR), 0xc4);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(in(b, RBR), 'a' + i);
	assert_int_equal(in(b, LSR), 0x60);
}

static void test_break_is_seen_at_the_top(void **state)
{
	struct bench *b = *state;

	loopback(b, 0x07);
	out(b, THR, 'a');
	out(b, LCR, 0x40);
	out(b, LCR, 0);
	out(b, IER, 0x04);
	assert_int_equal(in(b, LSR), 0xe1); /* an error, further down */
	assert_false(b->irq.level[IRQ]);
	assert_int_equal(in(b, RBR), 'a');
	assert_true(b->irq.level[IRQ]);
	assert_int_equal(in(b, IIR), 0xc6);
	assert_int_equal(in(b, LSR), 0xf9);
	assert_int_equal(in(b, LSR), 0x61);
	assert_int_equal(in(b, RBR), 0);
}

static void test_priorities(void **state)
{
	struct bench *b = *state;

	loopback(b, 0x07);
	out(b, IER, 0x0f);
	out(b, MCR, 0x12);
	type(b, 17);
	assert_int_equal(in(b, IIR), 0xc6);
	in(b, LSR);
	assert_int_equal(in(b, IIR), 0xc4);
	out(b, FCR, 0x03); /* clear the receiver */
	assert_int_equal(in(b, IIR), 0xc2);
	assert_int_equal(in(b, IIR), 0xc0);
	in(b, MSR);
	assert_int_equal(in(b, IIR), 0xc1);
}

static void test_fifo_control(void **state)
{
	struct bench *b = *state;

	loopback(b, 0x01);
	type(b, 5);
	out(b, FCR, 0x00); /* changing the enable bit clears */
	assert_int_equal(in(b, LSR), 0x60);
	out(b, FCR, 0x01);
	type(b, 5);
	out(b, FCR, 0xc1); /* the level alone does not */
	assert_int_equal(in(b, LSR), 0x61);
	out(b, FCR, 0x03);
	assert_int_equal(in(b, LSR), 0x60);
}

/* ---- from the host ---- */

static void test_input_flow(void **state)
{
	struct bench *b = *state;
	u8 text[100];
	int left = 0;

	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (u8)(i * 7);
	assert_int_equal(write(b->in[1], text, sizeof(text)), sizeof(text));
	out(b, FCR, 0x81);
	serve(b);
	serve(b);
	/* The rest waits in the pipe. */
	assert_int_equal(ioctl(b->in[0], FIONREAD, &left), 0);
	assert_int_equal(left, 84);
	assert_true(loop_is_idle(b));
	for (unsigned i = 0; i < sizeof(text); i++) {
		if (!(in(b, LSR) & 1))
			serve(b);
		assert_int_equal(in(b, LSR), 0x61);
		assert_int_equal(in(b, RBR), text[i]);
	}
	assert_int_equal(in(b, LSR), 0x60);
}

static void test_no_input_in_loopback(void **state)
{
	struct bench *b = *state;

	loopback(b, 0x01);
	assert_int_equal(write(b->in[1], "x", 1), 1);
	serve(b);
	assert_int_equal(in(b, LSR), 0x60);
	out(b, MCR, 0);
	serve(b);
	assert_int_equal(in(b, LSR), 0x61);
	assert_int_equal(in(b, RBR), 'x');
}

static void test_end_of_input(void **state)
{
	struct bench *b = *state;

	vm_destroy(b->vm);
	b->vm = fixture_vm(1);
	b->vm->consoles[0].in_fd = b->in[0];
	fixture_device(b->vm, "serial", "eof=4");
	assert_int_equal(write(b->in[1], "ab", 2), 2);
	close(b->in[1]);
	b->in[1] = -1;
	for (const char *c = "ab\4"; *c; c++) {
		serve(b);
		assert_int_equal(in(b, LSR), 0x61);
		assert_int_equal(in(b, RBR), *c);
	}
	serve(b);
	assert_int_equal(in(b, LSR), 0x60);
	/* A closed pipe is not watched, or it would spin. */
	assert_true(loop_is_idle(b));
}

/* ---- life ---- */

static void test_save_load(void **state)
{
	struct bench *b = *state;
	struct device_blob blob;
	struct err err = {0};
	unsigned refused = 0;

	loopback(b, 0x47);
	out(b, IER, 0x01);
	out(b, SCR, 0x99);
	type(b, 5);
	assert_int_equal(device_save(b->dev, &blob, &err), 0);
	device_reset_all(b->vm);
	assert_false(b->irq.level[IRQ]);
	assert_int_equal(device_load(b->dev, &blob, &err), 0);
	assert_true(b->irq.level[IRQ]);
	assert_int_equal(in(b, IIR), 0xc4);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(in(b, RBR), 'a' + i);
	/* What cannot have been saved is refused, and changes nothing. */
	for (unsigned i = 0; i < blob.size; i++) {
		u8 saved = blob.data[i];

		blob.data[i] = 0xff;
		if (device_load(b->dev, &blob, &err))
			refused++;
		blob.data[i] = saved;
		device_reset_all(b->vm);
	}
	assert_int_equal(refused, 7);
	out(b, SCR, 0x99);
	memset(blob.data, 0xff, blob.size);
	assert_int_equal(device_load(b->dev, &blob, &err), -EINVAL);
	assert_int_equal(in(b, SCR), 0x99);
	assert_int_equal(in(b, LSR), 0x60);
}

static void test_bad_options(void **state)
{
	static const char *const bad[] = {
		"port=0x2f8,console=4", "port=0xffff", "irq=24,port=0x2f8",
		"port=0x3f8",		"port=x",      "speed=9600",
	};
	struct bench *b = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {0};

		assert_null(device_add(b->vm, "serial", bad[i], &err));
		assert_true(err.code < 0);
		assert_true(strlen(err.msg) > 0);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_reset_values),
		TEST(test_divisor_latch),
		TEST(test_wide_access_is_split),
		TEST(test_identification),
		TEST(test_modem_loopback),
		TEST(test_thre_interrupt),
		TEST(test_output_is_gathered),
		TEST(test_busy_transmitter),
		TEST(test_quiesce_flushes),
		TEST(test_receive_without_fifo),
		TEST(test_trigger_levels),
		TEST(test_fifo_timeout),
		TEST(test_fifo_overrun),
		TEST(test_break_is_seen_at_the_top),
		TEST(test_priorities),
		TEST(test_fifo_control),
		TEST(test_input_flow),
		TEST(test_no_input_in_loopback),
		TEST(test_end_of_input),
		TEST(test_save_load),
		TEST(test_bad_options),
	};
#undef TEST

	return cmocka_run_group_tests_name("serial", tests, NULL, NULL);
}
