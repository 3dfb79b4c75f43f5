/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small loads, run as a process on the host and inside guests, each for some
 * time: how often it went round in a second.
 *
 *   guestbench [SECONDS [CASE…]]   default: 0.3 s of every case but those
 *                                  for two CPUs
 *
 * Of each case two lines tell, both with the process's monotonic clock, so
 * that whoever reads them as they come can compare it with a clock of his:
 *
 *   begin CASE CLOCK
 *   end CASE CLOCK OPERATIONS_PER_SECOND
 *
 * What is measured must not change with this file's looks: the numbers are
 * compared over years. A case does a bundle of operations and returns how
 * many; it is called once beforehand, which sets up what it keeps.
 */
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <emmintrin.h>

/* Results go here, so that the compiler leaves the work in; a signal handler
 * gets no other way to it. */
static volatile uint64_t sink;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The usual generator of Numerical Recipes: fast, and good in its high bits. */
static uint32_t next(uint32_t seed)
{
	return seed * 1664525 + 1013904223;
}

/* ---- the processor ------------------------------------------------------ */

static uint32_t ror(uint32_t x, int count)
{
	return x >> count | x << (32 - count);
}

static void sha256_block(uint32_t h[8], const uint8_t *data, const uint32_t *k)
{
	uint32_t w[64];
	uint32_t a = h[0], b = h[1], c = h[2], d = h[3];
	uint32_t e = h[4], f = h[5], g = h[6], i = h[7];

	for (int t = 0; t < 16; t++) {
		memcpy(&w[t], data + t * 4L, 4);
		w[t] = __builtin_bswap32(w[t]);
	}
	for (int t = 16; t < 64; t++) {
		uint32_t x = w[t - 15], y = w[t - 2];

		w[t] = w[t - 16] + w[t - 7] +
		       (ror(x, 7) ^ ror(x, 18) ^ x >> 3) +
		       (ror(y, 17) ^ ror(y, 19) ^ y >> 10);
	}
	for (int t = 0; t < 64; t++) {
		uint32_t t1 = i + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) +
			      ((e & f) ^ (~e & g)) + k[t] + w[t];
		uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) +
			      ((a & b) ^ (a & c) ^ (b & c));

		i = g;
		g = f;
		f = e;
		e = d + t1;
		d = c;
		c = b;
		b = a;
		a = t1 + t2;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
	h[5] += f;
	h[6] += g;
	h[7] += i;
}

/* The rounds of SHA-256, with constants that are as good for a measurement. */
static uint64_t int_sha256(void)
{
	static uint8_t data[64 * 64];
	static uint32_t k[64];
	uint32_t h[8] = {1, 2, 3, 4, 5, 6, 7, 8};

	if (!k[0])
		for (uint32_t i = 0; i < 64; i++)
			k[i] = 0x428a2f98U * (i + 1);
	for (size_t i = 0; i < sizeof(data); i += 64)
		sha256_block(h, data + i, k);
	sink += h[0];
	return sizeof(data);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint64_t int_qsort(void)
{
	enum { COUNT = 4096 };
	static uint32_t a[COUNT];
	static uint32_t seed = 1;

	for (int i = 0; i < COUNT; i++)
		a[i] = seed = next(seed);
	qsort(a, COUNT, sizeof(*a), compare);
	sink += a[7];
	return COUNT;
}

/* One cycle through 4 MiB, in random order. */
static uint32_t *chain_create(uint32_t count)
{
	uint32_t *chain = malloc(count * sizeof(*chain));
	uint32_t seed = 3;

	if (!chain)
		abort();
	for (uint32_t i = 0; i < count; i++)
		chain[i] = i;
	for (uint32_t i = count - 1; i > 0; i--) {
		uint32_t j, old = chain[i];

		seed = next(seed);
		j = seed % i;
		chain[i] = chain[j];
		chain[j] = old;
	}
	return chain;
}

static uint64_t mem_chase(void)
{
	enum { COUNT = 1 << 20, STEPS = 100000 };
	static uint32_t *chain;
	uint32_t at = 0;

	if (!chain)
		chain = chain_create(COUNT);
	for (int i = 0; i < STEPS; i++)
		at = chain[at];
	sink += at;
	return STEPS;
}

static uint64_t mem_copy(void)
{
	static char a[1 << 20], b[1 << 20];

	memcpy(a, b, sizeof(a));
	sink += (uint64_t)a[5];
	return sizeof(a);
}

static uint64_t fp_nbody(void)
{
	double x[4] = {0, 1, 2, 3}, v[4] = {.1, .2, .3, .4};

	for (int step = 0; step < 1000; step++) {
		for (int i = 0; i < 4; i++) {
			for (int j = 0; j < 4; j++) {
				double d = x[i] - x[j], r;

				if (i == j)
					continue;
				r = 1.0 / sqrt(d * d + .01);
				v[i] -= d * r * r * r * 1e-3;
				x[i] += v[i] * 1e-3;
			}
		}
	}
	sink += (uint64_t)(x[0] * 1000);
	return 12000;
}

static uint64_t fp_x87(void)
{
	long double a = 1.0L, b = 3.0L;

	for (int i = 0; i < 4000; i++) {
		a = a / 1.0000001L + b;
		b = b * 0.999999L - a * 1e-9L;
	}
	sink += (uint64_t)a;
	return 8000;
}

static uint64_t simd_int(void)
{
	__m128i a = _mm_set1_epi32(3), b = _mm_set1_epi32(7);

	for (int i = 0; i < 10000; i++) {
		a = _mm_add_epi32(a, b);
		b = _mm_xor_si128(_mm_slli_epi32(b, 3), a);
		a = _mm_shuffle_epi32(a, 0x39);
	}
	sink += (uint64_t)_mm_cvtsi128_si32(a);
	return 40000;
}

static int times_3(int x)
{
	return x * 3 + 1;
}

static int flip(int x)
{
	return x ^ 0x55;
}

static int less_7(int x)
{
	return x - 7;
}

static int twice(int x)
{
	return (int)((unsigned)x << 1);
}

struct callee {
	int (*call)(int);
};

static uint64_t call_indirect(void)
{
	static struct callee callees[4] = {
		{times_3}, {flip}, {less_7}, {twice}};
	volatile int x = 1;
	uint32_t seed = 9;

	for (int i = 0; i < 10000; i++) {
		seed = next(seed);
		x = callees[seed >> 30].call(x);
	}
	sink += (uint64_t)x;
	return 10000;
}

static uint64_t fib(uint64_t n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint64_t call_fib(void)
{
	sink += fib(20);
	return 21891;
}

/* ---- the kernel --------------------------------------------------------- */

static uint64_t sys_getppid(void)
{
	for (int i = 0; i < 1000; i++)
		syscall(SYS_getppid);
	return 1000;
}

static void echo(int in, int out)
{
	char c;

	while (read(in, &c, 1) == 1)
		if (write(out, &c, 1) != 1)
			break;
	_exit(0);
}

static uint64_t sys_pipe_pingpong(void)
{
	static int there[2], back[2];
	char c = 0;

	if (!there[1]) {
		if (pipe(there) || pipe(back))
			return 0;
		if (!fork()) {
			close(there[1]);
			close(back[0]);
			echo(there[0], back[1]);
		}
		close(there[0]);
		close(back[1]);
	}
	for (int i = 0; i < 100; i++)
		if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
			return 0;
	return 100;
}

static uint64_t sys_fork(void)
{
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
	return 10;
}

static uint64_t sys_exec(void)
{
	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();

		if (!pid) {
			execl("/proc/self/exe", "guestbench", "noop", NULL);
			_exit(1);
		}
		waitpid(pid, NULL, 0);
	}
	return 5;
}

static uint64_t sys_pagefault(void)
{
	enum { SIZE = 1 << 20, PAGE = 4096 };
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return 0;
	for (int i = 0; i < SIZE; i += PAGE)
		p[i] = 1;
	munmap(p, SIZE);
	return SIZE / PAGE;
}

static void count_signal(int sig)
{
	(void)sig;
	sink++;
}

static uint64_t sys_signal(void)
{
	signal(SIGUSR1, count_signal);
	for (int i = 0; i < 100; i++)
		raise(SIGUSR1);
	return 100;
}

/* On whatever is at TMPDIR, /tmp by default: a tmpfs in the guest. */
static uint64_t sys_file(void)
{
	static char data[65536];
	static char path[256];
	const char *folder = getenv("TMPDIR");
	int fd;

	if (!path[0])
		snprintf(path, sizeof(path), "%s/guestbench.%d",
			 folder ? folder : "/tmp", getpid());
	fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
	if (fd < 0)
		return 0;
	for (int i = 0; i < 16; i++)
		if (write(fd, data, sizeof(data)) < 0)
			break;
	lseek(fd, 0, SEEK_SET);
	while (read(fd, data, sizeof(data)) > 0)
		;
	close(fd);
	unlink(path);
	return 2 << 20;
}

/* ---- two processors ----------------------------------------------------- */

enum { SORT_HALF = 1 << 16 };

static void sort_half(uint32_t *half, uint32_t seed)
{
	for (int i = 0; i < SORT_HALF; i++)
		half[i] = seed = next(seed);
	qsort(half, SORT_HALF, sizeof(*half), compare);
	_exit(0);
}

/* Both halves in turn, the lower head first; the checksum depends on order. */
static uint32_t merge(const uint32_t *a, const uint32_t *b)
{
	const uint32_t *a_end = a + SORT_HALF, *b_end = b + SORT_HALF;
	uint32_t sum = 0;

	while (a < a_end && b < b_end)
		sum = sum * 31 + (*a <= *b ? *a++ : *b++);
	while (a < a_end)
		sum = sum * 31 + *a++;
	while (b < b_end)
		sum = sum * 31 + *b++;
	return sum;
}

/* Two processes sort a half each; one merges. */
static uint64_t two_sort(void)
{
	static uint32_t *data;
	pid_t pids[2];

	if (!data)
		data = mmap(NULL, sizeof(*data) * 2 * SORT_HALF,
			    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);
	if (data == MAP_FAILED)
		return 0;
	for (uint32_t i = 0; i < 2; i++) {
		pids[i] = fork();
		if (!pids[i])
			sort_half(data + i * SORT_HALF, i + 1);
	}
	for (int i = 0; i < 2; i++)
		if (pids[i] < 0 || waitpid(pids[i], NULL, 0) < 0)
			return 0;
	sink += merge(data, data + SORT_HALF);
	return 2ULL * SORT_HALF;
}

static int stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

/* sys_pipe_pingpong between the first two CPUs. */
static uint64_t two_pipe_pingpong(void)
{
	static int started;

	if (!started) {
		/* Inherited by the process that answers, which is made now. */
		if (stay_on(1) || !sys_pipe_pingpong() || stay_on(0))
			return 0;
		started = 1;
	}
	return sys_pipe_pingpong();
}

/* ---- all of them -------------------------------------------------------- */

static const struct test_case {
	const char *name;
	uint64_t (*run)(void);
	int cpus; /* more than one: only where it is named */
} cases[] = {
	{"int_sha256", int_sha256, 1},
	{"int_qsort", int_qsort, 1},
	{"mem_chase", mem_chase, 1},
	{"mem_copy", mem_copy, 1},
	{"fp_nbody", fp_nbody, 1},
	{"fp_x87", fp_x87, 1},
	{"simd_int", simd_int, 1},
	{"call_indirect", call_indirect, 1},
	{"call_fib", call_fib, 1},
	{"sys_getppid", sys_getppid, 1},
	{"sys_pipe_pingpong", sys_pipe_pingpong, 1},
	{"sys_fork", sys_fork, 1},
	{"sys_exec", sys_exec, 1},
	{"sys_pagefault", sys_pagefault, 1},
	{"sys_signal", sys_signal, 1},
	{"sys_file", sys_file, 1},
	{"two_sort", two_sort, 2},
	{"two_pipe_pingpong", two_pipe_pingpong, 2},
};

static int wanted(const struct test_case *test, char **names)
{
	if (!*names)
		return test->cpus == 1;
	for (; *names; names++)
		if (!strcmp(test->name, *names))
			return 1;
	return 0;
}

/* False where the case cannot do its work. */
static int measure(const struct test_case *test, double seconds)
{
	uint64_t count = 0, done;
	double begun, t;

	if (!test->run())
		return 0;
	printf("begin %s %.6f\n", test->name, now());
	/* A serial port that still sends would take part in what follows. */
	tcdrain(STDOUT_FILENO);
	begun = now();
	do {
		done = test->run();
		count += done;
		t = now();
	} while (done && t - begun < seconds);
	printf("end %s %.6f %.6g\n", test->name, now(),
	       (double)count / (t - begun));
	return done != 0;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 0.3;
	char **names = argv + (argc > 2 ? 2 : argc);
	int failed = 0;

	if (argc > 1 && !strcmp(argv[1], "noop"))
		return 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (!wanted(&cases[i], names))
			continue;
		if (!measure(&cases[i], seconds)) {
			fprintf(stderr, "%s: failed\n", cases[i].name);
			failed = 1;
		}
	}
	return failed;
}
