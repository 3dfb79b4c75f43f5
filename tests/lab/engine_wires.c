/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine's ways past the run loop, by its operations alone: doorbells,
 * eventfds that raise interrupts, message routes, the dirty log.
 *
 *     engine_wires ENGINE
 *
 * On whatever is behind this host's /dev/kvm, and in the lab.
 */
#include "ops_machine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "arch/x86.h"

enum { NOTHING = 1, VECTOR = 0x51, LINE = 10 };

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

/* Signals since the last look. */
static u64 count_of(int fd)
{
	eventfd_t count = 0;

	return eventfd_read(fd, &count) ? 0 : count;
}

/* ---- doorbells --------------------------------------------------------- */

/* Writes of the guest's, one after another, and what becomes of them. */
struct ring {
	unsigned off, width;
	u64 val;
	bool rings;
};

struct program {
	u8 code[512];
	unsigned len;
};

static void put(struct program *p, const void *bytes, unsigned len)
{
	assert_true(p->len + len <= sizeof(p->code));
	memcpy(p->code + p->len, bytes, len);
	p->len += len;
}

/* mov rax, val; mov edx, port or edi, address; the write */
static void put_write(struct program *p, bool mmio, const struct ring *r)
{
	static const struct {
		u8 bytes[5], len;
	} codes[2][9] = {
		{
			[1] = {{0xee}, 1},	 /* out dx, al */
			[2] = {{0x66, 0xef}, 2}, /* out dx, ax */
			[4] = {{0xef}, 1},	 /* out dx, eax */
		},
		{
			[1] = {{0x88, 0x07}, 2},       /* mov [rdi], al */
			[2] = {{0x66, 0x89, 0x07}, 3}, /* mov [rdi], ax */
			[4] = {{0x89, 0x07}, 2},       /* mov [rdi], eax */
			[8] = {{0x48, 0x89, 0x07}, 3}, /* mov [rdi], rax */
		},
	};
	const u8 mov_rax[] = {0x48, 0xb8}, mov_at = mmio ? 0xbf : 0xba;
	const u32 at = (mmio ? OPS_MMIO : OPS_BELLS) + r->off;

	put(p, mov_rax, sizeof(mov_rax));
	put(p, &r->val, sizeof(r->val));
	put(p, &mov_at, 1);
	put(p, &at, sizeof(at));
	put(p, codes[mmio][r->width].bytes, codes[mmio][r->width].len);
}

/* A write rings or comes out unchanged, never both and never neither. */
static void check_rings(struct ops_machine *m, bool mmio, int fd,
			const struct ring *rings, unsigned count)
{
	static const u8 end[] = {0xe6, OPS_PORT}; /* out OPS_PORT, al */
	const struct ops_write *out = m->writes;
	struct program p = {.len = 0};
	u64 rung = 0;

	for (unsigned i = 0; i < count; i++)
		put_write(&p, mmio, &rings[i]);
	put(&p, end, sizeof(end));
	ops_load(m, p.code, p.len);
	ops_run_to_word(m);
	for (unsigned i = 0; i < count; i++) {
		const struct ring *r = &rings[i];
		u64 mask = r->width == 8 ? ~0ull : BIT(8 * r->width) - 1;

		rung += r->rings;
		if (r->rings)
			continue;
		assert_true(out < m->writes + m->write_count);
		assert_int_equal(out->mmio, mmio);
		assert_int_equal(out->off, r->off);
		assert_int_equal(out->width, r->width);
		assert_true(out->val == (r->val & mask));
		out++;
	}
	assert_ptr_equal(out, m->writes + m->write_count);
	assert_int_equal(count_of(fd), rung);
}

enum { BELL_OFF = 4 };

static const u64 bell_value = 0x1122334455667788;

static void check_bell(struct ops_machine *m, const struct engine_doorbell *b)
{
	u64 high = b->len ? BIT(8 * b->len - 1) : 0;
	struct ring r[24];
	unsigned n = 0;

	for (unsigned w = 1; w <= (b->mmio ? 8 : 4); w *= 2) {
		bool mine = !b->len || w == b->len, any = mine && !b->match;

		r[n++] = (struct ring){BELL_OFF, w, bell_value, mine};
		r[n++] = (struct ring){BELL_OFF, w, bell_value + 1, any};
		r[n++] = (struct ring){BELL_OFF, w, bell_value ^ high,
				       high ? any : mine};
	}
	/* Bits that the write does not have do not count. */
	if (b->match && b->len < 8)
		r[n++] = (struct ring){BELL_OFF, b->len,
				       bell_value ^ BIT(8 * b->len), true};
	/* Not beside it, not across it. */
	r[n++] = (struct ring){BELL_OFF + 1, 1, bell_value, false};
	r[n++] = (struct ring){BELL_OFF - 1, 2, bell_value, false};
	check_rings(m, b->mmio, b->fd, r, n);
}

static void check_doorbell(struct ops_machine *m, bool mmio, u8 len, bool match)
{
	u64 mask = len == 8 ? ~0ull : BIT(8 * len) - 1;
	const struct engine_doorbell bell = {
		.mmio = mmio,
		.addr = (mmio ? OPS_MMIO : OPS_BELLS) + BELL_OFF,
		.len = len,
		.match = match,
		.value = match ? bell_value & mask : 0,
		.fd = new_eventfd(),
	};
	const struct ring silent = {BELL_OFF, len ? len : 1, bell_value, false};

	assert_int_equal(m->engine->doorbell(m->vm, &bell, true), 0);
	assert_int_equal(m->engine->doorbell(m->vm, &bell, true), -EEXIST);
	check_bell(m, &bell);
	assert_int_equal(m->engine->doorbell(m->vm, &bell, false), 0);
	assert_int_equal(m->engine->doorbell(m->vm, &bell, false), -ENOENT);
	check_rings(m, mmio, bell.fd, &silent, 1);
	close(bell.fd);
}

static void test_doorbell(void **state)
{
	for (unsigned mmio = 0; mmio < 2; mmio++) {
		check_doorbell(*state, mmio, 0, false);
		for (u8 len = 1; len <= (mmio ? 8 : 4); len *= 2) {
			check_doorbell(*state, mmio, len, false);
			check_doorbell(*state, mmio, len, true);
		}
	}
}

/* Queues that share an address are told apart by the value. */
static void test_doorbells_share(void **state)
{
	struct ops_machine *m = *state;
	struct engine_doorbell bell[3];

	for (unsigned i = 0; i < ARRAY_SIZE(bell); i++) {
		bell[i] = (struct engine_doorbell){.mmio = true,
						   .addr = OPS_MMIO,
						   .len = 2,
						   .match = true,
						   .value = i,
						   .fd = new_eventfd()};
		assert_int_equal(m->engine->doorbell(m->vm, &bell[i], true), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bell); i++) {
		const struct ring r[] = {{0, 2, i, true}, {0, 2, 3, false}};

		check_rings(m, true, bell[i].fd, r, ARRAY_SIZE(r));
		for (unsigned k = 0; k < ARRAY_SIZE(bell); k++)
			assert_int_equal(count_of(bell[k].fd), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bell); i++) {
		assert_int_equal(m->engine->doorbell(m->vm, &bell[i], false),
				 0);
		close(bell[i].fd);
	}
}

/* Each unit of a string instruction is a write. */
static void test_doorbell_string(void **state)
{
	static const u8 code[] = {
		0xf3, 0x6e,	/* rep outsb */
		0xe6, OPS_PORT, /* out OPS_PORT, al */
	};
	struct ops_machine *m = *state;
	const struct engine_doorbell bell = {
		.addr = OPS_BELLS, .len = 1, .fd = new_eventfd()};

	assert_int_equal(m->engine->doorbell(m->vm, &bell, true), 0);
	m->state.gpr[X86_RCX] = 5;
	m->state.gpr[X86_RSI] = OPS_DATA;
	m->state.gpr[X86_RDX] = OPS_BELLS;
	ops_load(m, code, sizeof(code));
	ops_run_to_word(m);
	assert_int_equal(m->write_count, 0);
	assert_int_equal(count_of(bell.fd), 5);
	close(bell.fd);
}

/* ---- interrupts from eventfds ------------------------------------------ */

/* Asleep until an interrupt comes. */
static void expect_vector(struct ops_machine *m, u8 vector)
{
	static const u8 code[] = {
		0xfb,	    /* 1: sti */
		0xf4,	    /* hlt */
		0xeb, 0xfc, /* jmp 1b */
	};

	ops_load(m, code, sizeof(code));
	assert_int_equal(ops_run_to_word(m), vector);
}

/* The kernel may deliver by a thread of its own: late is not never. */
static void expect_nothing(struct ops_machine *m)
{
	static const u8 code[] = {
		0xfb,			 /* sti */
		0xb9, 200,	0, 0, 0, /* mov ecx, 200 */
		0xe2, 0xfe,		 /* loop . */
		0xfa,			 /* cli */
		0xb0, NOTHING,		 /* mov al, NOTHING */
		0xe6, OPS_PORT,		 /* out OPS_PORT, al */
	};

	nanosleep(&(const struct timespec){.tv_nsec = 3000000}, NULL);
	ops_load(m, code, sizeof(code));
	assert_int_equal(ops_run_to_word(m), NOTHING);
}

static void signal_fd(int fd)
{
	assert_int_equal(eventfd_write(fd, 1), 0);
}

static unsigned route(struct ops_machine *m, u32 data)
{
	int gsi = m->engine->msi_route(m->vm, OPS_LAPIC, data);

	assert_true(gsi >= IRQ_GSI_COUNT);
	return (unsigned)gsi;
}

static void test_irqfd(void **state)
{
	struct ops_machine *m = *state;
	int fd[2] = {new_eventfd(), new_eventfd()};
	unsigned gsi[2] = {route(m, VECTOR), route(m, VECTOR + 0x10)};

	assert_int_not_equal(gsi[0], gsi[1]);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(m->engine->irqfd(m->vm, fd[i], gsi[i], true),
				 0);
	assert_int_equal(m->engine->irqfd(m->vm, fd[0], gsi[0], true), -EBUSY);
	for (unsigned i = 0; i < 6; i++) {
		signal_fd(fd[i & 1]);
		expect_vector(m, (u8)(VECTOR + 0x10 * (i & 1)));
		/* It was taken, by nobody but the engine. */
		assert_int_equal(count_of(fd[i & 1]), 0);
	}
	expect_nothing(m);
	assert_int_equal(m->engine->irqfd(m->vm, fd[0], gsi[0], false), 0);
	signal_fd(fd[0]);
	expect_nothing(m);
	assert_int_equal(count_of(fd[0]), 1);
	signal_fd(fd[1]);
	expect_vector(m, VECTOR + 0x10);
	close(fd[0]);
	close(fd[1]);
}

static void test_irqfd_bad(void **state)
{
	struct ops_machine *m = *state;

	assert_int_equal(m->engine->irqfd(m->vm, -1, route(m, VECTOR), true),
			 -EBADF);
}

/* A signal from before the engine had the descriptor is not lost. */
static void test_irqfd_earlier(void **state)
{
	struct ops_machine *m = *state;
	int fd = new_eventfd();

	signal_fd(fd);
	assert_int_equal(m->engine->irqfd(m->vm, fd, route(m, VECTOR), true),
			 0);
	expect_vector(m, VECTOR);
	close(fd);
}

/* Nor one while the VM stands still, when the chips are not the engine's. */
static void test_irqfd_paused(void **state)
{
	struct ops_machine *m = *state;
	int fd = new_eventfd(), late = new_eventfd();
	unsigned gsi = route(m, VECTOR), other = route(m, VECTOR + 0x10);
	struct err err = {0};

	assert_int_equal(m->engine->irqfd(m->vm, fd, gsi, true), 0);
	for (unsigned i = 0; i < 2; i++) {
		clock_pause(&m->vm->clock);
		assert_int_equal(m->engine->pause(m->vm, &err), 0);
		signal_fd(fd);
		if (i)
			assert_int_equal(
				m->engine->irqfd(m->vm, late, other, true), 0);
		clock_start(&m->vm->clock);
		assert_int_equal(m->engine->resume(m->vm, &err), 0);
		expect_vector(m, VECTOR);
	}
	signal_fd(late);
	expect_vector(m, VECTOR + 0x10);
	/* One that goes meanwhile stays away. */
	clock_pause(&m->vm->clock);
	assert_int_equal(m->engine->pause(m->vm, &err), 0);
	assert_int_equal(m->engine->irqfd(m->vm, fd, gsi, false), 0);
	clock_start(&m->vm->clock);
	assert_int_equal(m->engine->resume(m->vm, &err), 0);
	signal_fd(fd);
	expect_nothing(m);
	close(fd);
	close(late);
}

/* A line, as the guest has programmed the IOAPIC. */
static void test_irqfd_line(void **state)
{
	static const u8 code[] = {
		/* mov dword [rdi], 0x10 + 2 * LINE */
		0xc7, 0x07, 0x10 + 2 * LINE, 0, 0, 0,
		/* mov dword [rdi+0x10], VECTOR */
		0xc7, 0x47, 0x10, VECTOR, 0, 0, 0, 0xe6,
		OPS_PORT, /* out OPS_PORT, al */
	};
	struct ops_machine *m = *state;
	int fd = new_eventfd();

	m->state.gpr[X86_RDI] = 0xfec00000;
	assert_int_equal(m->engine->irqfd(m->vm, fd, LINE, true), 0);
	ops_load(m, code, sizeof(code));
	ops_run_to_word(m);
	for (unsigned i = 0; i < 3; i++) {
		signal_fd(fd);
		expect_vector(m, VECTOR);
	}
	expect_nothing(m);
	close(fd);
}

static void test_msi_routes(void **state)
{
	struct ops_machine *m = *state;
	int fd = new_eventfd(), most = 0, gsi;
	unsigned first = route(m, VECTOR);

	assert_int_equal(m->engine->irqfd(m->vm, fd, first, true), 0);
	/* All of them; each is its own. */
	while ((gsi = m->engine->msi_route(m->vm, OPS_LAPIC, VECTOR + 1)) > 0) {
		assert_true(gsi > most);
		most = gsi;
	}
	assert_int_equal(gsi, -ENOSPC);
	assert_true(most - (int)first >= 200);
	signal_fd(fd);
	expect_vector(m, VECTOR);
	/* Without its route a signal is nothing; the GSI's next route is the
	 * old descriptor's. */
	assert_int_equal(m->engine->msi_unroute(m->vm, first), 0);
	signal_fd(fd);
	expect_nothing(m);
	assert_int_equal(route(m, VECTOR + 2), first);
	signal_fd(fd);
	expect_vector(m, VECTOR + 2);
	assert_int_equal(m->engine->msi_unroute(m->vm, LINE), -EINVAL);
	assert_int_equal(m->engine->msi_unroute(m->vm, 1000000), -EINVAL);
	close(fd);
}

/* ---- the dirty log ----------------------------------------------------- */

enum {
	READ_ONLY = MIB(2), /* a page that splits RAM */
	ABOVE = READ_ONLY + 4096,
	WORDS = OPS_RAM / 4096 / 64,
};

static bool bit(const u64 *bits, u64 page)
{
	return bits[page / 64] >> page % 64 & 1;
}

static unsigned count_bits(const u64 *bits)
{
	unsigned count = 0;

	for (unsigned i = 0; i < WORDS; i++)
		count += (unsigned)__builtin_popcountll(bits[i]);
	return count;
}

/* The guest writes a byte to each page. */
static void write_pages(struct ops_machine *m, u64 first, unsigned pages)
{
	static const u8 code[] = {
		0x88, 0x07, /* 1: mov [rdi], al */
		0x48, 0x81,	0xc7, 0x00,
		0x10, 0x00,	0x00, /* add rdi, 4096 */
		0xff, 0xc9,	      /* dec ecx */
		0x75, 0xf3,	      /* jnz 1b */
		0xe6, OPS_PORT,	      /* out OPS_PORT, al */
	};

	m->state.gpr[X86_RDI] = first;
	m->state.gpr[X86_RCX] = pages;
	ops_load(m, code, sizeof(code));
	ops_run_to_word(m);
}

static void get(struct ops_machine *m, gpa_t region, u64 bits[WORDS])
{
	memset(bits, 0, WORDS * sizeof(*bits));
	assert_int_equal(m->engine->dirty_get(m->vm, region, bits), 0);
}

/*
 * The log has every page that was written since the last look. It may have
 * others that are in use, but not such as were never touched.
 */
static void test_dirty_log(void **state)
{
	struct ops_machine *m = *state;
	u64 bits[WORDS];
	const u64 data = OPS_DATA / 4096;

	assert_int_equal(m->engine->dirty_get(m->vm, 0, bits), -EINVAL);
	write_pages(m, OPS_DATA, 3); /* before: not in it */
	assert_int_equal(m->engine->dirty_log(m->vm, true), 0);
	assert_int_equal(m->engine->dirty_get(m->vm, 4096, bits), -ENOENT);
	get(m, 0, bits);
	write_pages(m, OPS_DATA + 70 * 4096, 2);
	write_pages(m, OPS_RAM - 4096, 1);
	get(m, 0, bits);
	assert_true(bit(bits, data + 70) && bit(bits, data + 71));
	assert_true(bit(bits, OPS_RAM / 4096 - 1));
	assert_false(bit(bits, data + 69) || bit(bits, data + 72));
	assert_false(bit(bits, data) || bit(bits, OPS_RAM / 4096 - 2));
	get(m, 0, bits);
	assert_int_equal(count_bits(bits), 0);
	/* Again, and none of the others. */
	write_pages(m, OPS_DATA + 71 * 4096, 1);
	get(m, 0, bits);
	assert_true(bit(bits, data + 71));
	assert_false(bit(bits, data + 70) || bit(bits, OPS_RAM / 4096 - 1));
	/* Set bits of the caller's stay. */
	write_pages(m, OPS_DATA, 1);
	memset(bits, 0, sizeof(bits));
	bits[WORDS - 1] = 1;
	assert_int_equal(m->engine->dirty_get(m->vm, 0, bits), 0);
	assert_true(bit(bits, data) && bits[WORDS - 1] == 1);
	assert_int_equal(m->engine->dirty_log(m->vm, false), 0);
	assert_int_equal(m->engine->dirty_get(m->vm, 0, bits), -EINVAL);
	write_pages(m, OPS_DATA, 1);
}

/* Bits count from the start of the region that was asked for. */
static void test_dirty_regions(void **state)
{
	struct ops_machine *m = *state;
	struct err err = {0};
	u64 bits[WORDS];

	assert_int_equal(m->engine->dirty_log(m->vm, true), 0);
	assert_int_equal(
		mem_protect(&m->vm->mem, READ_ONLY, 4096, MEM_R | MEM_X), 0);
	assert_int_equal(mem_commit(&m->vm->mem, &err), 0);
	get(m, 0, bits);
	get(m, ABOVE, bits);
	get(m, READ_ONLY, bits);
	write_pages(m, READ_ONLY - 4096, 4);
	get(m, 0, bits);
	assert_true(bit(bits, READ_ONLY / 4096 - 1));
	assert_false(bit(bits, READ_ONLY / 4096 - 2));
	/* What may not be written was not. */
	get(m, READ_ONLY, bits);
	assert_int_equal(count_bits(bits), 0);
	get(m, ABOVE, bits);
	assert_true(bit(bits, 0) && bit(bits, 1));
	assert_false(bit(bits, 2));
}

#define WITH_MACHINE(test) \
	cmocka_unit_test_setup_teardown(test, ops_setup, ops_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH_MACHINE(test_doorbell),
		WITH_MACHINE(test_doorbells_share),
		WITH_MACHINE(test_doorbell_string),
		WITH_MACHINE(test_irqfd),
		WITH_MACHINE(test_irqfd_bad),
		WITH_MACHINE(test_irqfd_earlier),
		WITH_MACHINE(test_irqfd_paused),
		WITH_MACHINE(test_irqfd_line),
		WITH_MACHINE(test_msi_routes),
		WITH_MACHINE(test_dirty_log),
		WITH_MACHINE(test_dirty_regions),
	};
	const struct engine_ops *engine = ops_engine(argc, argv);

	if (!engine->doorbell || !engine->irqfd || !engine->dirty_log) {
		printf("%s has no such operations\n", engine->name);
		return OPS_SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
