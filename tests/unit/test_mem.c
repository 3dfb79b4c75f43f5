/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: bounds, the 32-bit hole, guards, seals, listeners. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/mem.h"

static void test_sizes(void **state)
{
	static const u64 bad[] = {0,
				  4096,
				  MEM_MIN_RAM - 4096,
				  MIB(2) + 1,
				  MIB(2) + 512,
				  MEM_MAX_RAM + 4096,
				  UINT64_MAX,
				  UINT64_MAX - 4095};
	struct guest_mem mem;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {0};

		assert_int_equal(mem_init(&mem, bad[i], &err), -EINVAL);
		assert_int_equal(err.code, -EINVAL);
		assert_int_equal(mem.fd, -1);
		mem_fini(&mem);
	}
	assert_int_equal(mem_init(&mem, MEM_MIN_RAM, NULL), 0);
	assert_int_equal(mem.count, 1);
	assert_int_equal(mem_low_end(&mem), MEM_MIN_RAM);
	assert_int_equal(mem_high_size(&mem), 0);
	mem_fini(&mem);
	mem_fini(&mem); /* twice is fine */
}

/* Every (gpa, len) near an edge is inside one region or refused. */
static void check_edges(const struct guest_mem *mem, u64 edge)
{
	static const u64 lens[] = {0,	 1,    2,	   8,
				   4096, 4097, UINT64_MAX, UINT64_MAX - 4096};

	for (int d = -9; d <= 9; d++) {
		for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
			gpa_t gpa = edge + (u64)(s64)d;
			const struct mem_region *r = NULL;
			bool inside = false;

			for (unsigned n = 0; n < mem->count; n++) {
				unsigned __int128 last = gpa;

				r = &mem->regions[n];
				last += lens[i];
				inside |= gpa >= r->gpa &&
					  gpa < r->gpa + r->len &&
					  last <= r->gpa + r->len;
			}
			assert_int_equal(!!mem_ptr(mem, gpa, lens[i]), inside);
		}
	}
}

static void test_bounds(void **state)
{
	u64 val = 0x1122334455667788, back = 0;
	struct guest_mem mem;

	assert_int_equal(mem_init(&mem, GIB(3) + MIB(16), NULL), 0);
	assert_int_equal(mem.count, 2);
	assert_int_equal(mem_low_end(&mem), GIB(3));
	assert_int_equal(mem_high_size(&mem), MIB(16));
	check_edges(&mem, 0);
	check_edges(&mem, GIB(3));
	check_edges(&mem, GIB(4));
	check_edges(&mem, GIB(4) + MIB(16));
	check_edges(&mem, UINT64_MAX);

	assert_true(mem_write(&mem, GIB(3) - 8, &val, 8));
	assert_true(mem_read(&mem, GIB(3) - 8, &back, 8));
	assert_int_equal(back, val);
	/* Refused whole: nothing of it is written. */
	assert_false(mem_write(&mem, GIB(3) - 4, &back, 8));
	assert_true(mem_read(&mem, GIB(3) - 8, &back, 8));
	assert_int_equal(back, val);
	assert_false(mem_write(&mem, GIB(3), &val, 1));
	assert_false(mem_read(&mem, GIB(4) - 1, &back, 2));
	assert_false(mem_zero(&mem, GIB(4) + MIB(16) - 1, 2));
	assert_true(mem_zero(&mem, GIB(3) - 8, 8));
	assert_true(mem_read(&mem, GIB(3) - 8, &back, 8));
	assert_int_equal(back, 0);
	/* The two regions are different memory of one file. */
	assert_true(mem_write(&mem, GIB(4), &val, 8));
	assert_true(mem_read(&mem, 0, &back, 8));
	assert_int_equal(back, 0);
	assert_int_equal(mem.regions[1].fd_off, GIB(3));
	assert_int_equal(pread(mem.fd, &back, 8, (off_t)GIB(3)), 8);
	assert_int_equal(back, val);
	mem_fini(&mem);
}

static void test_sealed(void **state)
{
	struct guest_mem mem;

	assert_int_equal(mem_init(&mem, MIB(4), NULL), 0);
	assert_int_equal(fcntl(mem.fd, F_GET_SEALS) &
				 (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
			 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(ftruncate(mem.fd, 4096), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(mem.fd, (off_t)MIB(8)), -1);
	assert_true(fcntl(mem.fd, F_GETFD) & FD_CLOEXEC);
	mem_fini(&mem);
}

static bool faults(volatile u8 *at)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		/* Not a sanitizer's handler: the plain signal. */
		signal(SIGSEGV, SIG_DFL);
		_exit(*at);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void test_guards(void **state)
{
	struct guest_mem mem;

	assert_int_equal(mem_init(&mem, GIB(3) + MIB(1), NULL), 0);
	for (unsigned i = 0; i < mem.count; i++) {
		u8 *hva = mem.regions[i].hva;

		assert_int_equal((u64)hva % MIB(2), 0);
		assert_true(faults(hva - 1));
		assert_false(faults(hva));
		assert_false(faults(hva + mem.regions[i].len - 1));
		assert_true(faults(hva + mem.regions[i].len));
	}
	mem_fini(&mem);
}

struct spy {
	struct mem_listener l;
	unsigned added, removed, writes;
	gpa_t gpa;
	u64 len;
};

static void spy_add(struct mem_listener *l, const struct mem_region *r)
{
	struct spy *spy = container_of(l, struct spy, l);

	assert_int_equal(r->rights, MEM_RWX);
	spy->added++;
}

static void spy_remove(struct mem_listener *l, const struct mem_region *r)
{
	container_of(l, struct spy, l)->removed++;
}

static void spy_written(struct mem_listener *l, gpa_t gpa, u64 len)
{
	struct spy *spy = container_of(l, struct spy, l);

	spy->writes++;
	spy->gpa = gpa;
	spy->len = len;
}

static void test_listeners(void **state)
{
	struct spy a = {.l = {.add = spy_add,
			      .remove = spy_remove,
			      .written = spy_written}};
	struct spy b = a, never = a;
	struct mem_listener deaf = {0};
	struct guest_mem mem;

	assert_int_equal(mem_init(&mem, GIB(3) + MIB(1), NULL), 0);
	mem_listen(&mem, &a.l);
	mem_listen(&mem, &b.l);
	mem_listen(&mem, &deaf);
	assert_int_equal(a.added, 2);
	assert_int_equal(b.added, 2);
	assert_true(mem_write(&mem, 0x1234, "abc", 3));
	assert_int_equal(a.writes, 1);
	assert_int_equal(a.gpa, 0x1234);
	assert_int_equal(a.len, 3);
	assert_false(mem_write(&mem, GIB(3), "abc", 3));
	assert_int_equal(a.writes, 1);
	assert_true(mem_zero(&mem, 0x2000, 4096));
	assert_int_equal(b.writes, 2);
	assert_int_equal(b.len, 4096);
	mem_unlisten(&mem, &never.l);
	assert_int_equal(never.removed, 0);
	mem_unlisten(&mem, &a.l);
	assert_int_equal(a.removed, 2);
	assert_true(mem_write(&mem, 0, "x", 1));
	assert_int_equal(a.writes, 2);
	assert_int_equal(b.writes, 3);
	mem_unlisten(&mem, &b.l);
	mem_unlisten(&mem, &deaf);
	assert_null(mem.listeners);
	mem_fini(&mem);
}

struct careful {
	struct mem_listener l;
	unsigned commits;
	int answer;
};

static int careful_commit(struct mem_listener *l, struct err *err)
{
	struct careful *careful = container_of(l, struct careful, l);

	careful->commits++;
	return careful->answer ? err_set(err, careful->answer, "no slot") : 0;
}

/* Nothing is committed but on demand, and the first refusal is the answer. */
static void test_commit(void **state)
{
	struct careful a = {.l = {.commit = careful_commit}}, b = a;
	struct err err = {0};
	struct guest_mem mem;

	assert_int_equal(mem_init(&mem, MIB(4), NULL), 0);
	mem_listen(&mem, &a.l);
	mem_listen(&mem, &b.l);
	assert_int_equal(mem_protect(&mem, 0, 4096, MEM_R), 0);
	assert_int_equal(a.commits + b.commits, 0);
	assert_int_equal(mem_commit(&mem, &err), 0);
	assert_int_equal(a.commits, 1);
	assert_int_equal(b.commits, 1);
	b.answer = -ENOSPC;
	assert_int_equal(mem_commit(&mem, &err), -ENOSPC);
	assert_string_equal(err.msg, "no slot");
	assert_int_equal(a.commits, 1);
	mem_unlisten(&mem, &a.l);
	mem_unlisten(&mem, &b.l);
	mem_fini(&mem);
}

/* ---- rights ------------------------------------------------------------ */

static unsigned rights_seen;

/* A listener's own list must be the memory's, whatever was split or joined. */
static void count_add(struct mem_listener *l, const struct mem_region *r)
{
	rights_seen++;
}

static void count_remove(struct mem_listener *l, const struct mem_region *r)
{
	rights_seen--;
}

static void test_protect(void **state)
{
	struct mem_listener counter = {.add = count_add,
				       .remove = count_remove};
	struct guest_mem mem;
	u64 val = 0;

	assert_int_equal(mem_init_flat(&mem, GIB(4), NULL), 0);
	assert_int_equal(mem.count, 1);
	assert_int_equal(mem_low_end(&mem), GIB(4));
	rights_seen = 0;
	mem_listen(&mem, &counter);
	assert_int_equal(mem_protect(&mem, MIB(1), MIB(2), MEM_R | MEM_X), 0);
	assert_int_equal(mem.count, 3);
	assert_int_equal(mem.regions[1].gpa, MIB(1));
	assert_int_equal(mem.regions[1].len, MIB(2));
	assert_int_equal(mem.regions[2].fd_off, MIB(3));
	assert_int_equal(rights_seen, 3);
	/* An accessor passes over the border, a question hears of it. */
	assert_true(mem_write(&mem, MIB(1) - 4, &val, 8));
	assert_int_equal(mem_rights(&mem, MIB(1) - 4, 4), MEM_RWX);
	assert_int_equal(mem_rights(&mem, MIB(1) - 4, 8), MEM_R | MEM_X);
	assert_int_equal(mem_rights(&mem, MIB(1), 0), MEM_RWX);
	assert_int_equal(mem_rights(&mem, GIB(4) - 4, 8), 0);
	assert_int_equal(mem_rights(&mem, UINT64_MAX, 2), 0);
	/* Over several regions, then everything back into one. */
	assert_int_equal(mem_protect(&mem, KIB(4), MIB(2), MEM_R), 0);
	assert_int_equal(mem.count, 4);
	assert_int_equal(mem_rights(&mem, 0, MIB(3) + 1), MEM_R);
	assert_int_equal(mem_protect(&mem, 0, GIB(4), MEM_RWX), 0);
	assert_int_equal(mem.count, 1);
	assert_int_equal(rights_seen, 1);
	mem_unlisten(&mem, &counter);
	assert_int_equal(rights_seen, 0);
	mem_fini(&mem);
}

static void test_protect_limits(void **state)
{
	struct guest_mem mem;
	unsigned i;

	assert_int_equal(mem_init(&mem, GIB(3) + MIB(1), NULL), 0);
	assert_int_equal(mem_protect(&mem, 0, 0, MEM_R), -EINVAL);
	assert_int_equal(mem_protect(&mem, 1, 4096, MEM_R), -EINVAL);
	assert_int_equal(mem_protect(&mem, 0, 4097, MEM_R), -EINVAL);
	assert_int_equal(mem_protect(&mem, GIB(3) - 4096, 8192, MEM_R),
			 -EINVAL);
	assert_int_equal(mem_protect(&mem, GIB(4) + MIB(1), 4096, MEM_R),
			 -EINVAL);
	for (i = 0; i < (MEM_MAX_REGIONS - 2) / 2; i++)
		assert_int_equal(mem_protect(&mem, 8192 * i + 4096, 4096, 0),
				 0);
	assert_int_equal(mem.count, MEM_MAX_REGIONS);
	assert_int_equal(mem_protect(&mem, 8192 * i + 4096, 4096, 0), -ENOSPC);
	assert_int_equal(mem.count, MEM_MAX_REGIONS);
	mem_fini(&mem);
	assert_int_equal(mem_init_flat(&mem, GIB(4) + 4096, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_sealed),
		cmocka_unit_test(test_guards),
		cmocka_unit_test(test_listeners),
		cmocka_unit_test(test_commit),
		cmocka_unit_test(test_protect),
		cmocka_unit_test(test_protect_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
