/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host does to a serial port: slow, stopped, closed and odd
 * descriptors. A real event loop runs beside the test, which is the guest.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "irq_record.h"
#include "util/fd.h"
#include "vm_fixture.h"

enum { THR, IER, FCR, LCR, MCR, LSR, BASE = 0x3f8, IRQ = 4 };
/* The transmitter is busy with less than 16 bytes of room in its ring. */
enum { RING = 8192 - 15, PIPE_SIZE = 4096, MEGABYTE = 1 << 20 };
enum { LSR_READY = 0x01, LSR_THRE = 0x20 };

struct bench {
	struct vm *vm;
	struct irq_record irq;
	pthread_t loop;
};

static void *loop_thread(void *vm)
{
	loop_run(&((struct vm *)vm)->loop);
	return NULL;
}

static void start(struct bench *b, int in_fd, int out_fd)
{
	*b = (struct bench){.vm = fixture_vm(1)};
	irq_record_attach(&b->irq, &b->vm->irq);
	b->vm->consoles[0].in_fd = in_fd;
	b->vm->consoles[0].out_fd = out_fd;
}

static void run(struct bench *b)
{
	fixture_device(b->vm, "serial", NULL);
	clock_start(&b->vm->clock);
	timer_queue_sync(&b->vm->timers);
	assert_int_equal(pthread_create(&b->loop, NULL, loop_thread, b->vm), 0);
}

static void stop(struct bench *b, enum vm_stop_reason reason)
{
	vm_stop(b->vm, reason, 0, "test");
	pthread_join(b->loop, NULL);
	vm_destroy(b->vm);
}

static u8 in(struct bench *b, unsigned reg)
{
	return fixture_inb(b->vm, (u16)(BASE + reg));
}

static void out(struct bench *b, unsigned reg, unsigned val)
{
	fixture_outb(b->vm, (u16)(BASE + reg), (u8)val);
}

static void pause_ms(long ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&ts, NULL);
}

/* Wait up to two seconds for a bit of LSR. */
static bool lsr_comes(struct bench *b, u8 bit)
{
	for (int i = 0; i < 20000; i++) {
		struct timespec ts = {0, 100000};

		if (in(b, LSR) & bit)
			return true;
		nanosleep(&ts, NULL);
	}
	return false;
}

/* Byte i of a long text: no period that a lost block could hide in. */
static u8 text(u32 i)
{
	return (u8)(i * 31 + (i >> 8) * 17 + (i >> 16));
}

/* Send text until the transmitter stays busy; how much it was. */
static u32 send_until_busy(struct bench *b)
{
	u32 sent = 0;

	for (int patience = 50; patience; patience--) {
		while (in(b, LSR) & LSR_THRE) {
			out(b, THR, text(sent++));
			patience = 50;
			assert_true(sent < 4 * MEGABYTE);
		}
		pause_ms(1);
	}
	return sent;
}

static void expect_text(int fd, u32 from, u32 count)
{
	u8 buf[4096];

	while (count) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		ssize_t len;

		assert_int_equal(poll(&pfd, 1, 2000), 1);
		len = read(fd, buf, min_u64(sizeof(buf), count));
		assert_true(len > 0);
		for (ssize_t i = 0; i < len; i++)
			assert_int_equal(buf[i], text(from++));
		count -= (u32)len;
	}
}

/* ---- output ---- */

static void test_full_pipe_is_back_pressure(void **unused)
{
	struct bench b;
	int fds[2], flags;
	u32 sent, more = 0;

	assert_int_equal(pipe(fds), 0);
	fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);
	flags = fcntl(fds[1], F_GETFL);
	start(&b, -1, fds[1]);
	run(&b);
	sent = send_until_busy(&b);
	assert_in_range(sent, RING, RING + PIPE_SIZE);
	/* Busy is no interrupt; room is one. */
	out(&b, IER, 0x02);
	assert_false(b.irq.level[IRQ]);
	expect_text(fds[0], 0, sent - RING / 2);
	assert_true(lsr_comes(&b, LSR_THRE));
	assert_true(b.irq.level[IRQ]);
	expect_text(fds[0], sent - RING / 2, RING / 2);
	while (more < 100)
		out(&b, THR, text(sent + more++));
	expect_text(fds[0], sent, more);
	/* The description is the caller's: it blocks as before. */
	assert_int_equal(fcntl(fds[1], F_GETFL), flags);
	stop(&b, VM_STOP_POWEROFF);
	close(fds[0]);
	close(fds[1]);
}

static void *slow_reader(void *arg)
{
	int fd = *(int *)arg;
	u8 *all = malloc(2 * MEGABYTE);
	size_t len = 0;
	u32 seed = 1;
	ssize_t ret;

	while ((ret = read(fd, all + len, 1 + fixture_random(&seed) % 9000)) >
	       0) {
		len += (size_t)ret;
		if (fixture_random(&seed) % 16 == 0)
			pause_ms(1);
	}
	for (u32 i = 0; i < len; i++)
		if (all[i] != text(i))
			len = i;
	free(all);
	return (void *)len;
}

static void test_a_megabyte_out(void **unused)
{
	struct bench b;
	pthread_t reader;
	void *len;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	start(&b, -1, fds[1]);
	run(&b);
	pthread_create(&reader, NULL, slow_reader, &fds[0]);
	for (u32 i = 0; i < MEGABYTE; i++) {
		if (!(in(&b, LSR) & LSR_THRE))
			assert_true(lsr_comes(&b, LSR_THRE));
		out(&b, THR, text(i));
	}
	stop(&b, VM_STOP_POWEROFF); /* waits for what is left */
	close(fds[1]);
	pthread_join(reader, &len);
	assert_int_equal((size_t)len, MEGABYTE);
	close(fds[0]);
}

static void test_last_words(void **unused)
{
	static const enum vm_stop_reason reasons[] = {
		VM_STOP_POWEROFF, VM_STOP_REQUEST, VM_STOP_DEBUG_EXIT};

	for (unsigned i = 0; i < ARRAY_SIZE(reasons); i++) {
		struct bench b;
		int fds[2];

		assert_int_equal(pipe(fds), 0);
		start(&b, -1, fds[1]);
		run(&b);
		for (u32 at = 0; at < 700; at++)
			out(&b, THR, text(at));
		stop(&b, reasons[i]);
		expect_text(fds[0], 0, 700);
		close(fds[0]);
		close(fds[1]);
	}
}

static void *late_reader(void *arg)
{
	pause_ms(400);
	return slow_reader(arg);
}

/* A guest that ended by itself has its last words heard, however late. */
static void test_end_waits_for_reader(void **unused)
{
	struct bench b;
	pthread_t reader;
	void *len;
	int fds[2];
	u32 sent;

	assert_int_equal(pipe(fds), 0);
	fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);
	start(&b, -1, fds[1]);
	run(&b);
	sent = send_until_busy(&b);
	pthread_create(&reader, NULL, late_reader, &fds[0]);
	stop(&b, VM_STOP_POWEROFF);
	close(fds[1]);
	pthread_join(reader, &len);
	assert_int_equal((size_t)len, sent);
	close(fds[0]);
}

/* Told to stop, a VM does not wait for a reader that does not read. */
static void test_stop_with_stuck_reader(void **unused)
{
	struct timespec before, after;
	struct bench b;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);
	start(&b, -1, fds[1]);
	run(&b);
	send_until_busy(&b);
	clock_gettime(CLOCK_MONOTONIC, &before);
	stop(&b, VM_STOP_REQUEST);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_in_range(after.tv_sec - before.tv_sec, 0, 2);
	close(fds[0]);
	close(fds[1]);
}

static void test_reader_goes_away(void **unused)
{
	struct bench b;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	start(&b, -1, fds[1]);
	run(&b);
	close(fds[0]);
	for (u32 i = 0; i < 5 * RING; i++) {
		assert_true(lsr_comes(&b, LSR_THRE));
		out(&b, THR, 'x');
	}
	stop(&b, VM_STOP_POWEROFF);
	close(fds[1]);
}

static void test_no_descriptors(void **unused)
{
	struct bench b;

	start(&b, -1, -1);
	run(&b);
	for (u32 i = 0; i < 3 * RING; i++)
		out(&b, THR, 'x');
	assert_int_equal(in(&b, LSR), 0x60);
	stop(&b, VM_STOP_POWEROFF);
}

/* ---- input ---- */

static void *writer(void *arg)
{
	int fd = *(int *)arg;
	u8 buf[1000];

	for (u32 done = 0; done < MEGABYTE;) {
		u32 len = (u32)min_u64(sizeof(buf), MEGABYTE - done);

		for (u32 i = 0; i < len; i++)
			buf[i] = text(done + i);
		assert_int_equal(fd_write_all(fd, buf, len), 0);
		done += len;
	}
	close(fd);
	return NULL;
}

static void test_a_megabyte_in(void **unused)
{
	struct bench b;
	pthread_t thread;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	start(&b, fds[0], -1);
	run(&b);
	out(&b, FCR, 0xc1);
	pthread_create(&thread, NULL, writer, &fds[1]);
	for (u32 i = 0; i < MEGABYTE; i++) {
		u32 spins = 0;
		u8 lsr;

		while (!((lsr = in(&b, LSR)) & LSR_READY))
			assert_true(spins++ < 20000000);
		assert_int_equal(lsr, 0x61);
		assert_int_equal(in(&b, THR), text(i));
	}
	pthread_join(thread, NULL);
	stop(&b, VM_STOP_POWEROFF);
	close(fds[0]);
}

static void test_files(void **unused)
{
	char in_name[] = "/tmp/vireo-test-XXXXXX";
	char out_name[] = "/tmp/vireo-test-XXXXXX";
	int in_fd = mkstemp(in_name), out_fd = mkstemp(out_name);
	struct bench b;

	unlink(in_name);
	unlink(out_name);
	for (u32 i = 0; i < 300; i++) {
		u8 byte = text(i);

		assert_int_equal(write(in_fd, &byte, 1), 1);
	}
	lseek(in_fd, 0, SEEK_SET);
	start(&b, in_fd, out_fd);
	run(&b);
	out(&b, FCR, 0x01);
	for (u32 i = 0; i < 300; i++) { /* the guest echoes */
		assert_true(lsr_comes(&b, LSR_READY));
		out(&b, THR, in(&b, THR));
	}
	pause_ms(5);
	assert_int_equal(in(&b, LSR), 0x60);
	stop(&b, VM_STOP_POWEROFF);
	lseek(out_fd, 0, SEEK_SET);
	expect_text(out_fd, 0, 300);
	close(in_fd);
	close(out_fd);
}

static void test_socket_both_ways(void **unused)
{
	struct bench b;
	int fds[2];
	u32 sent;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	start(&b, fds[0], fds[0]);
	run(&b);
	assert_int_equal(write(fds[1], "ping", 4), 4);
	for (const char *c = "ping"; *c; c++) {
		assert_true(lsr_comes(&b, LSR_READY));
		assert_int_equal(in(&b, THR), *c);
	}
	sent = send_until_busy(&b);
	assert_in_range(sent, RING, 2 * MEGABYTE);
	expect_text(fds[1], 0, sent);
	assert_true(lsr_comes(&b, LSR_THRE));
	stop(&b, VM_STOP_REQUEST);
	close(fds[0]);
	close(fds[1]);
}

/* ---- the filter ---- */

/* Doubles '2', swallows '!' and counts it. */
static void filter(void *arg, u8 *buf, size_t *len)
{
	_Atomic unsigned *count = arg;
	u8 *bang = memchr(buf, '!', *len);

	if (bang) {
		memmove(bang, bang + 1, *len - (size_t)(bang - buf) - 1);
		--*len;
		++*count;
	}
	if (*len && buf[*len - 1] == '2')
		buf[(*len)++] = '2';
}

static void test_filter(void **unused)
{
	_Atomic unsigned count = 0;
	struct bench b;
	u8 fill[1000];
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	start(&b, fds[0], -1);
	b.vm->consoles[0].filter = filter;
	b.vm->consoles[0].filter_arg = &count;
	run(&b);
	assert_int_equal(write(fds[1], "1!2", 3), 3);
	for (const char *c = "122"; *c; c++) {
		assert_true(lsr_comes(&b, LSR_READY));
		assert_int_equal(in(&b, THR), *c);
	}
	/* A guest that takes nothing does not keep the key from working. */
	memset(fill, '.', sizeof(fill));
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(fd_write_all(fds[1], fill, sizeof(fill)), 0);
	assert_int_equal(write(fds[1], "!", 1), 1);
	for (int i = 0; i < 2000 && count < 2; i++)
		pause_ms(1);
	assert_int_equal(count, 2);
	for (unsigned i = 0; i < 65536; i++) {
		assert_true(in(&b, LSR) & LSR_READY);
		assert_int_equal(in(&b, THR), '.');
	}
	stop(&b, VM_STOP_POWEROFF);
	close(fds[0]);
	close(fds[1]);
}

/* ---- terminals ---- */

static int open_pty(int *master)
{
	struct termios raw;
	int slave;

	*master = posix_openpt(O_RDWR | O_NOCTTY);
	if (*master < 0)
		return -1;
	assert_int_equal(grantpt(*master), 0);
	assert_int_equal(unlockpt(*master), 0);
	slave = open(ptsname(*master), O_RDWR | O_NOCTTY);
	assert_true(slave >= 0);
	tcgetattr(slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	return slave;
}

static void test_stopped_terminal(void **unused)
{
	int master, slave = open_pty(&master), flags;
	struct bench b;
	u32 sent;

	if (slave < 0)
		skip();
	flags = fcntl(slave, F_GETFL);
	start(&b, slave, slave);
	run(&b);
	assert_int_equal(tcflow(slave, TCOOFF), 0);
	sent = send_until_busy(&b);
	assert_in_range(sent, RING, MEGABYTE);
	assert_int_equal(tcflow(slave, TCOON), 0);
	expect_text(master, 0, sent);
	assert_true(lsr_comes(&b, LSR_THRE));
	assert_int_equal(write(master, "k", 1), 1);
	assert_true(lsr_comes(&b, LSR_READY));
	assert_int_equal(in(&b, THR), 'k');
	assert_int_equal(fcntl(slave, F_GETFL), flags);
	stop(&b, VM_STOP_POWEROFF);
	close(slave);
	close(master);
}

/* A master cannot be opened again: bytes, each after a poll. */
static void test_terminal_master(void **unused)
{
	int master, slave = open_pty(&master);
	struct bench b;
	u32 sent;

	if (slave < 0)
		skip();
	start(&b, -1, master);
	run(&b);
	sent = send_until_busy(&b);
	expect_text(slave, 0, sent);
	assert_true(lsr_comes(&b, LSR_THRE));
	stop(&b, VM_STOP_POWEROFF);
	close(slave);
	close(master);
}

/* ---- pause ---- */

static void test_pause_holds_input(void **unused)
{
	struct bench b;
	int to[2], from[2];

	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	start(&b, to[0], from[1]);
	run(&b);
	out(&b, THR, text(0));
	device_quiesce_all(b.vm);
	expect_text(from[0], 0, 1); /* at once */
	assert_int_equal(write(to[1], "x", 1), 1);
	pause_ms(10);
	assert_int_equal(in(&b, LSR), 0x60);
	device_resume_all(b.vm);
	assert_true(lsr_comes(&b, LSR_READY));
	stop(&b, VM_STOP_POWEROFF);
	for (int i = 0; i < 2; i++) {
		close(to[i]);
		close(from[i]);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full_pipe_is_back_pressure),
		cmocka_unit_test(test_a_megabyte_out),
		cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_end_waits_for_reader),
		cmocka_unit_test(test_stop_with_stuck_reader),
		cmocka_unit_test(test_reader_goes_away),
		cmocka_unit_test(test_no_descriptors),
		cmocka_unit_test(test_a_megabyte_in),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_socket_both_ways),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_stopped_terminal),
		cmocka_unit_test(test_terminal_master),
		cmocka_unit_test(test_pause_holds_input),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("console", tests, NULL, NULL);
}
