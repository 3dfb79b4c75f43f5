/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Solo5 hvt calls against a hostile guest: what is served, what is refused
 * with a result, and what ends the guest.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/block.h"
#include "backend/net.h"
#include "chips/hvt.h"
#include "vireo/hvt_abi.h"
#include "hvt_machine.h"

/* One call; the block comes back. */
static void call(struct hvt_machine *m, unsigned number, void *block, u64 size)
{
	assert_true(mem_write(&m->vm->mem, HVT_MACHINE_BLOCK, block, size));
	hvt_machine_out(m, (u16)(HVT_PORT + number), HVT_MACHINE_BLOCK);
	assert_true(mem_read(&m->vm->mem, HVT_MACHINE_BLOCK, block, size));
}

static bool ended(const struct hvt_machine *m)
{
	return m->vm->stop_reason == VM_STOP_GUEST;
}

static void test_output(void **unused)
{
	struct hvt_puts puts = {HVT_MACHINE_BUFFER, 5};
	struct hvt_machine m;
	char text[8] = "";

	hvt_machine_make(&m);
	mem_write(&m.vm->mem, HVT_MACHINE_BUFFER, "hello", 5);
	call(&m, HVT_CALL_PUTS, &puts, sizeof(puts));
	assert_int_equal(read(m.out[0], text, 8), 5);
	assert_string_equal(text, "hello");
	assert_false(ended(&m));
	/* A reader that is slow makes the vCPU wait, not us. */
	puts.len = MIB(1);
	call(&m, HVT_CALL_PUTS, &puts, sizeof(puts));
	assert_false(ended(&m));
	assert_non_null(m.vm->vcpus[0]->wait);
	hvt_machine_drop(&m);
}

static void test_disk(void **unused)
{
	struct hvt_block_io io = {1, 512, HVT_MACHINE_BUFFER, 512, 9, 0};
	struct hvt_machine m;
	u8 bytes[512];

	hvt_machine_make(&m);
	memset(bytes, 0x5a, sizeof(bytes));
	mem_write(&m.vm->mem, HVT_MACHINE_BUFFER, bytes, 512);
	call(&m, HVT_CALL_BLOCK_WRITE, &io, sizeof(io));
	assert_int_equal(io.result, HVT_OK);
	mem_zero(&m.vm->mem, HVT_MACHINE_BUFFER, 512);
	call(&m, HVT_CALL_BLOCK_READ, &io, sizeof(io));
	assert_int_equal(io.result, HVT_OK);
	assert_memory_equal(mem_ptr(&m.vm->mem, HVT_MACHINE_BUFFER, 512), bytes,
			    512);
	hvt_machine_drop(&m);
}

static void test_disk_refuses(void **unused)
{
	static const struct hvt_block_io bad[] = {
		{0, 0, HVT_MACHINE_BUFFER, 512, 9, 0},
		{2, 0, HVT_MACHINE_BUFFER, 512, 9, 0},
		{63, 0, HVT_MACHINE_BUFFER, 512, 9, 0},
		{64, 0, HVT_MACHINE_BUFFER, 512, 9, 0},
		{~0ull, 0, HVT_MACHINE_BUFFER, 512, 9, 0},
		{1, 4096, HVT_MACHINE_BUFFER, 512, 9, 0},
		{1, 3585, HVT_MACHINE_BUFFER, 512, 9, 0},
		{1, ~0ull, HVT_MACHINE_BUFFER, 512, 9, 0},
		{1, 0, HVT_MACHINE_BUFFER, ~0ull, 9, 0},
		{1, 512, HVT_MACHINE_BUFFER, -512ull, 9, 0},
	};
	struct hvt_machine m;

	hvt_machine_make(&m);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct hvt_block_io io = bad[i];

		call(&m, HVT_CALL_BLOCK_READ, &io, sizeof(io));
		assert_int_equal(io.result, HVT_INVALID);
		io.result = 9;
		call(&m, HVT_CALL_BLOCK_WRITE, &io, sizeof(io));
		assert_int_equal(io.result, HVT_INVALID);
		assert_false(ended(&m));
	}
	hvt_machine_drop(&m);
}

static void test_net(void **unused)
{
	struct hvt_net_io io = {2, HVT_MACHINE_BUFFER, 60, 9, 0};
	struct hvt_poll poll = {.timeout_ns = 0};
	struct hvt_machine m;
	u8 frame[64] = {1, 2, 3};

	hvt_machine_make(&m);
	call(&m, HVT_CALL_NET_READ, &io, sizeof(io));
	assert_int_equal(io.result, HVT_AGAIN);
	call(&m, HVT_CALL_POLL, &poll, sizeof(poll));
	assert_int_equal(poll.ready, 0);
	assert_int_equal(send(m.wire[1], frame, 42, 0), 42);
	poll.timeout_ns = ~0ull;
	call(&m, HVT_CALL_POLL, &poll, sizeof(poll));
	assert_int_equal(poll.ready, BIT(2));
	assert_int_equal(poll.count, 1);
	call(&m, HVT_CALL_NET_READ, &io, sizeof(io));
	assert_int_equal(io.result, HVT_OK);
	assert_int_equal(io.len, 42);
	assert_memory_equal(mem_ptr(&m.vm->mem, HVT_MACHINE_BUFFER, 42), frame,
			    42);
	io = (struct hvt_net_io){2, HVT_MACHINE_BUFFER, 42, 9, 0};
	call(&m, HVT_CALL_NET_WRITE, &io, sizeof(io));
	assert_int_equal(io.result, HVT_OK);
	assert_int_equal(recv(m.wire[1], frame, 64, 0), 42);
	/* No frame, no network, a disk. */
	io.len = 13;
	call(&m, HVT_CALL_NET_WRITE, &io, sizeof(io));
	assert_int_equal(io.result, HVT_INVALID);
	io = (struct hvt_net_io){1, HVT_MACHINE_BUFFER, 42, 9, 0};
	call(&m, HVT_CALL_NET_WRITE, &io, sizeof(io));
	assert_int_equal(io.result, HVT_INVALID);
	io.handle = 1ull << 32 | 2;
	call(&m, HVT_CALL_NET_READ, &io, sizeof(io));
	assert_int_equal(io.result, HVT_INVALID);
	assert_false(ended(&m));
	hvt_machine_drop(&m);
}

static void test_halt(void **unused)
{
	struct hvt_halt halt = {HVT_MACHINE_BUFFER, 0x107, 0};
	struct hvt_machine m;

	hvt_machine_make(&m);
	call(&m, HVT_CALL_HALT, &halt, sizeof(halt));
	assert_int_equal(m.vm->stop_reason, VM_STOP_DEBUG_EXIT);
	assert_int_equal(m.vm->stop_code, 7);
	assert_int_equal(hvt_halt_cookie(m.dev), HVT_MACHINE_BUFFER);
	hvt_machine_drop(&m);
}

/* ---- the guest's end --------------------------------------------------- */

static void check_ends(unsigned number, gpa_t block, const void *bytes,
		       u64 size)
{
	struct hvt_machine m;

	hvt_machine_make(&m);
	mem_write(&m.vm->mem, block, bytes, size);
	hvt_machine_out(&m, (u16)(HVT_PORT + number), (u32)block);
	assert_true(ended(&m));
	assert_true(m.vm->stop_message[0]);
	hvt_machine_drop(&m);
}

static void test_bad_addresses(void **unused)
{
	static const gpa_t bad[] = {HVT_MACHINE_RAM,
				    HVT_MACHINE_RAM - 1,
				    HVT_MACHINE_RAM - 511,
				    GIB(4),
				    BIT(63),
				    ~0ull,
				    ~0ull - 511};
	const struct hvt_walltime time = {0};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct hvt_puts puts = {bad[i], 512};
		const struct hvt_block_io io = {1, 0, bad[i], 512, 0, 0};
		const struct hvt_net_io net = {2, bad[i], 512, 0, 0};
		const struct hvt_halt halt = {bad[i], 0, 0};

		check_ends(HVT_CALL_PUTS, HVT_MACHINE_BLOCK, &puts,
			   sizeof(puts));
		check_ends(HVT_CALL_BLOCK_READ, HVT_MACHINE_BLOCK, &io,
			   sizeof(io));
		check_ends(HVT_CALL_BLOCK_WRITE, HVT_MACHINE_BLOCK, &io,
			   sizeof(io));
		check_ends(HVT_CALL_NET_READ, HVT_MACHINE_BLOCK, &net,
			   sizeof(net));
		check_ends(HVT_CALL_NET_WRITE, HVT_MACHINE_BLOCK, &net,
			   sizeof(net));
		check_ends(HVT_CALL_HALT, HVT_MACHINE_BLOCK, &halt,
			   sizeof(halt));
	}
	/* The block itself, and what the host must not write for it. */
	check_ends(HVT_CALL_WALLTIME, HVT_MACHINE_RAM - 7, &time, 0);
	check_ends(HVT_CALL_WALLTIME, 0xfffffff8, &time, 0);
	check_ends(HVT_CALL_WALLTIME, HVT_MACHINE_CODE, &time, 0);
	check_ends(
		HVT_CALL_BLOCK_READ, HVT_MACHINE_BLOCK,
		&(struct hvt_block_io){1, 0, HVT_MACHINE_CODE - 8, 512, 0, 0},
		sizeof(struct hvt_block_io));
}

static void test_bad_ports(void **unused)
{
	static const struct {
		u16 port;
		u8 width;
		bool read;
	} bad[] = {
		{0x500, 4, false}, {0x509, 4, false},  {0x501, 2, false},
		{0x501, 1, false}, {0x501, 4, true},   {0x80, 1, false},
		{0x3f8, 1, true},  {0xffff, 1, false},
	};
	const u64 block = HVT_MACHINE_BLOCK;
	struct hvt_machine m;
	u32 val = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		hvt_machine_make(&m);
		if (bad[i].read)
			bus_read(&m.vm->bus, BUS_PIO, bad[i].port, bad[i].width,
				 1, &val);
		else
			bus_write(&m.vm->bus, BUS_PIO, bad[i].port,
				  bad[i].width, 1, &block);
		assert_true(ended(&m));
		hvt_machine_drop(&m);
	}
}

static void test_translation_fault(void **unused)
{
	struct hvt_machine m;

	hvt_machine_make(&m);
	fixture_write32(m.vm, HVT_MACHINE_CODE, 1);
	assert_true(ended(&m));
	assert_non_null(
		strstr(m.vm->stop_message, "host/guest translation fault"));
	hvt_machine_drop(&m);
}

/* ---- any block --------------------------------------------------------- */

static const u64 edges[] = {
	0,
	1,
	2,
	3,
	13,
	14,
	60,
	63,
	64,
	511,
	512,
	513,
	4095,
	4096,
	4097,
	8192,
	HVT_MACHINE_BLOCK,
	HVT_MACHINE_BLOCK + 8,
	HVT_MACHINE_BUFFER,
	HVT_MACHINE_BUFFER + 1,
	HVT_MACHINE_CODE - 8,
	HVT_MACHINE_CODE - 1,
	HVT_MACHINE_CODE,
	HVT_MACHINE_CODE + 8,
	HVT_MACHINE_CODE + 4095,
	HVT_MACHINE_CODE + 4096,
	HVT_MACHINE_RAM - 4096,
	HVT_MACHINE_RAM - 8,
	HVT_MACHINE_RAM - 1,
	HVT_MACHINE_RAM,
	HVT_MACHINE_RAM + 1,
	MIB(16),
	UINT16_MAX,
	UINT32_MAX,
	GIB(4),
	BIT(63),
	-4096ull,
	-512ull,
	-8ull,
	~0ull,
};

static u64 draw(u64 *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return *seed >> 33;
}

/* Mostly what is good or nearly so, for calls to get anywhere. */
static u64 any_value(u64 *seed)
{
	static const u64 good[] = {0,
				   1,
				   2,
				   60,
				   512,
				   1024,
				   HVT_MACHINE_BUFFER,
				   HVT_MACHINE_BUFFER + 512};
	const u64 kind = draw(seed) % 16;

	if (!kind)
		return draw(seed) << draw(seed) % 40;
	return kind < 4 ? edges[draw(seed) % ARRAY_SIZE(edges)]
			: good[draw(seed) % ARRAY_SIZE(good)];
}

static void any_call(struct hvt_machine *m, u64 *seed)
{
	static const u32 places[] = {
		HVT_MACHINE_BLOCK,  HVT_MACHINE_BLOCK,	  HVT_MACHINE_BLOCK,
		HVT_MACHINE_BLOCK,  HVT_MACHINE_BLOCK,	  HVT_MACHINE_BLOCK,
		HVT_MACHINE_BLOCK,  HVT_MACHINE_BLOCK,	  HVT_MACHINE_BLOCK,
		HVT_MACHINE_BLOCK,  HVT_MACHINE_BLOCK,	  HVT_MACHINE_BLOCK,
		HVT_MACHINE_BUFFER, HVT_MACHINE_CODE - 8, HVT_MACHINE_CODE - 16,
		HVT_MACHINE_CODE,   HVT_MACHINE_RAM - 8,  UINT32_MAX,
	};
	const u32 at = places[draw(seed) % ARRAY_SIZE(places)];
	/* The last two are rare: they are the end. */
	const u64 kind = draw(seed) % 64;
	const u16 number = (u16)(kind < 2 ? HVT_CALL_HALT + kind : kind % 8);
	u64 block[5];

	for (unsigned i = 0; i < ARRAY_SIZE(block); i++)
		block[i] = any_value(seed);
	if (at < HVT_MACHINE_CODE - sizeof(block) ||
	    at >= HVT_MACHINE_CODE + 4096)
		mem_write(&m->vm->mem, at, block, sizeof(block));
	if (draw(seed) % 4 == 0)
		assert_int_equal(send(m->wire[1], block, 40, 0), 40);
	hvt_machine_out(m, (u16)(HVT_PORT + number), at);
}

/* Of what the guest may not write nothing changes, nor the disk's size. */
static void check_kept(const struct hvt_machine *m)
{
	static const u8 code[4096];
	const u8 *now = mem_ptr(&m->vm->mem, HVT_MACHINE_CODE, sizeof(code));
	struct stat st;

	assert_memory_equal(now, code, sizeof(code));
	assert_int_equal(stat(m->path, &st), 0);
	assert_int_equal(st.st_size, 4096);
}

static void drain(int fd)
{
	char bytes[4096];

	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) >= 0)
		;
}

static void test_any_calls(void **unused)
{
	unsigned served = 0, machines = 0;
	u64 seed = 7;

	while (machines < 2000) {
		struct hvt_machine m;

		hvt_machine_make(&m);
		machines++;
		while (m.vm->stop_reason == VM_STOP_NONE &&
		       !m.vm->vcpus[0]->wait) {
			any_call(&m, &seed);
			served += m.vm->stop_reason == VM_STOP_NONE;
			drain(m.wire[1]);
		}
		if (m.vm->stop_reason != VM_STOP_NONE)
			assert_true(m.vm->stop_message[0]);
		assert_true(m.vm->stop_reason == VM_STOP_NONE ||
			    m.vm->stop_reason == VM_STOP_GUEST ||
			    m.vm->stop_reason == VM_STOP_DEBUG_EXIT);
		check_kept(&m);
		hvt_machine_drop(&m);
	}
	/* Not all were refused. */
	assert_true(served > machines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_output),
		cmocka_unit_test(test_disk),
		cmocka_unit_test(test_disk_refuses),
		cmocka_unit_test(test_net),
		cmocka_unit_test(test_halt),
		cmocka_unit_test(test_bad_addresses),
		cmocka_unit_test(test_bad_ports),
		cmocka_unit_test(test_translation_fault),
		cmocka_unit_test(test_any_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
