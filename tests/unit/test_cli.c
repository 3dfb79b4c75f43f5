/* SPDX-License-Identifier: Apache-2.0 */
/* The archive with the order, the terminal's keys, the encoding of input. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/guest_order.h"
#include "cli/host_file.h"
#include "cli/input_pump.h"
#include "cli/terminal.h"
#include "util/types.h"
#include "vireo/guest.h"

/* ---- archive, Linux early-userspace/buffer-format.rst -------------------- */

struct entry {
	char name[32];
	u32 mode, size;
	const u8 *data;
};

static u32 field(const u8 *header, unsigned index)
{
	char text[9] = "";

	memcpy(text, header + 6 + 8 * index, 8);
	return (u32)strtoul(text, NULL, 16);
}

/* The entry at *at, which moves on. */
static struct entry next_entry(const u8 *archive, size_t len, size_t *at)
{
	const u8 *header = archive + *at;
	struct entry entry = {"", 0, 0, NULL};
	u32 name_size;

	assert_true(*at % 4 == 0 && *at + 110 <= len);
	assert_memory_equal(header, "070701", 6);
	entry.mode = field(header, 1);
	entry.size = field(header, 6);
	name_size = field(header, 11);
	assert_true(name_size <= sizeof(entry.name));
	assert_int_equal(field(header, 12), 0);
	*at += 110;
	memcpy(entry.name, archive + *at, name_size);
	assert_int_equal(entry.name[name_size - 1], 0);
	*at = align_up(*at + name_size, 4);
	entry.data = archive + *at;
	*at = align_up(*at + entry.size, 4);
	assert_true(*at <= len);
	return entry;
}

static void check_order(const struct guest_order *order, const char *want,
			size_t want_len)
{
	struct entry entry;
	size_t len = 0, at = 0;
	u8 *archive = NULL;

	assert_int_equal(guest_order_pack(order, &archive, &len, NULL), 0);
	assert_int_equal(len % 4, 0);
	entry = next_entry(archive, len, &at);
	assert_string_equal(entry.name, "vireo");
	assert_true(S_ISDIR(entry.mode));
	entry = next_entry(archive, len, &at);
	assert_string_equal(entry.name, "vireo/run");
	assert_true(S_ISREG(entry.mode));
	assert_int_equal(entry.size, want_len);
	assert_memory_equal(entry.data, want, want_len);
	entry = next_entry(archive, len, &at);
	assert_string_equal(entry.name, "TRAILER!!!");
	assert_int_equal(at, len);
	free(archive);
}

static void test_order(void **unused)
{
	static const char plain[] = "arg=sh\0arg=-c\0arg=\0tty=0\0"
				    "stderr=ttyS1\0exit_port=5f4\0"
				    "ready_port=5f8";
	static const char tty[] = "env=TERM=vt100\0tty=1\0rows=24\0cols=80\0"
				  "exit_port=5f4";
	char sh[] = "sh", option[] = "-c", empty[] = "";
	char *argv[] = {sh, option, empty, NULL};
	const char *env[] = {"TERM=vt100", NULL};
	const struct guest_order with_command = {
		.argv = argv,
		.rows = 24,
		.err_device = "ttyS1",
		.exit_port = 0x5f4,
		.ready_port = 0x5f8,
	};
	const struct guest_order shell = {
		.env = env,
		.tty = true,
		.rows = 24,
		.cols = 80,
		.exit_port = 0x5f4,
	};

	check_order(&with_command, plain, sizeof(plain));
	check_order(&shell, tty, sizeof(tty));
}

static void put_file(const char *folder, const char *name)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(name, file);
	fclose(file);
}

/* What devices need, in order, once; what is not there is left out. */
static void test_modules(void **unused)
{
	static const char *const devices[] = {"virtio-rng", "virtio-rng,id=x",
					      "serial,port=0x3f8"};
	static const char want[] = "module=/vireo/virtio_ring.ko\0"
				   "module=/vireo/virtio.ko\0"
				   "module=/vireo/virtio-rng.ko\0"
				   "tty=0\0exit_port=0";
	char folder[] = "/tmp/vireo-modules-XXXXXX", command[64];
	struct guest_modules modules;
	const struct guest_order order = {.modules = &modules};
	size_t len = 0, at = 0;
	u8 *archive = NULL;
	struct entry entry;

	assert_non_null(mkdtemp(folder));
	put_file(folder, "virtio.ko");
	put_file(folder, "virtio_ring.ko");
	put_file(folder, "virtio-rng.ko");
	put_file(folder, "virtio_blk.ko");
	guest_modules_load(&modules, folder, devices, 0);
	assert_int_equal(modules.count, 0);
	guest_modules_load(&modules, folder, devices, ARRAY_SIZE(devices));
	assert_int_equal(guest_order_pack(&order, &archive, &len, NULL), 0);
	next_entry(archive, len, &at);
	entry = next_entry(archive, len, &at);
	assert_int_equal(entry.size, sizeof(want));
	assert_memory_equal(entry.data, want, sizeof(want));
	entry = next_entry(archive, len, &at);
	assert_string_equal(entry.name, "vireo/virtio_ring.ko");
	assert_memory_equal(entry.data, "virtio_ring.ko", 14);
	entry = next_entry(archive, len, &at);
	assert_string_equal(entry.name, "vireo/virtio.ko");
	entry = next_entry(archive, len, &at);
	assert_string_equal(entry.name, "vireo/virtio-rng.ko");
	free(archive);
	guest_modules_free(&modules);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	assert_int_equal(system(command), 0);
}

/* ---- keys ---------------------------------------------------------------- */

struct pressed {
	unsigned leave, power;
};

static void on_leave(void *arg)
{
	struct pressed *pressed = arg;

	pressed->leave++;
}

static void on_power(void *arg)
{
	struct pressed *pressed = arg;

	pressed->power++;
}

/* Feed the parts one after another; what the guest gets, in all. */
static size_t feed(struct terminal *terminal, const char *const *parts, u8 *got)
{
	size_t total = 0;

	for (; *parts; parts++) {
		size_t len = strlen(*parts);
		u8 buf[64];

		memcpy(buf, *parts, len);
		terminal_filter(terminal, buf, &len);
		assert_true(len <= strlen(*parts) + 1);
		memcpy(got + total, buf, len);
		total += len;
	}
	return total;
}

static void test_keys(void **unused)
{
	static const struct {
		const char *parts[5];
		const char *guest;
		unsigned leave, power;
	} rows[] = {
		{{"abc"}, "abc", 0, 0},
		{{"\1x"}, "", 1, 0},
		{{"\1", "X"}, "", 1, 0},
		{{"a\1", "pb"}, "ab", 0, 1},
		{{"\1\1"}, "\1", 0, 0},
		{{"\1", "\1"}, "\1", 0, 0},
		{{"\1\1x"}, "\1x", 0, 0},
		{{"\1\1\1x"}, "\1", 1, 0},
		{{"\1q"}, "\1q", 0, 0},
		{{"\1", "quit", "\1", "\1"}, "\1quit\1", 0, 0},
		{{"\1", "q\1x"}, "\1q", 1, 0},
		{{"xp"}, "xp", 0, 0},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pressed pressed = {0, 0};
		struct terminal terminal = {
			.fd = -1,
			.leave = on_leave,
			.power_button = on_power,
			.arg = &pressed,
		};
		u8 got[64];
		size_t len = feed(&terminal, rows[i].parts, got);

		assert_int_equal(len, strlen(rows[i].guest));
		assert_memory_equal(got, rows[i].guest, len);
		assert_int_equal(pressed.leave, rows[i].leave);
		assert_int_equal(pressed.power, rows[i].power);
	}
}

/* ---- input --------------------------------------------------------------- */

/* What a terminal line in canonical mode makes of the encoded bytes: appends
 * to out, returns the number of hand-overs; *ended is set by an empty one. */
struct line_discipline {
	u8 out[8192];
	size_t len, line;
	bool quoted, ended;
};

static void discipline(struct line_discipline *d, const u8 *in, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		assert_false(d->ended);
		if (!d->quoted && in[i] == GUEST_QUOTE) {
			d->quoted = true;
			continue;
		}
		if (!d->quoted && in[i] == GUEST_EOF) {
			d->ended = !d->line;
			d->line = 0;
			continue;
		}
		d->quoted = false;
		d->out[d->len++] = in[i];
		d->line = in[i] == '\n' ? 0 : d->line + 1;
		assert_true(d->line <= GUEST_LINE_MAX);
	}
}

static void test_input(void **unused)
{
	static const size_t cuts[] = {1, 7, 1024, 1025, 3000};
	static u8 in[3000], encoded[3 * 3000 + 2];

	/* All values, long lines, and pieces without an end of line. */
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (u8)(i < 1500 ? i : 'a' + i % 7);
	for (unsigned c = 0; c < ARRAY_SIZE(cuts); c++) {
		struct line_discipline d = {.len = 0};
		struct input_line line = {0};

		for (size_t at = 0; at < sizeof(in); at += cuts[c]) {
			size_t len = min_u64(cuts[c], sizeof(in) - at);
			size_t put = input_encode(&line, in + at, len, encoded);

			assert_true(put <= input_encoded_max(len));
			discipline(&d, encoded, put);
			assert_false(d.ended);
			/* Nothing waits for a byte that may never come. */
			assert_int_equal(d.line, 0);
			assert_int_equal(d.len, at + len);
		}
		discipline(&d, encoded, input_encode_end(&line, encoded));
		assert_true(d.ended);
		assert_memory_equal(d.out, in, sizeof(in));
	}
}

/* ---- files --------------------------------------------------------------- */

static void test_files(void **unused)
{
	struct host_file file = {0};
	struct err err = {0};
	int ends[2];

	assert_true(host_file_open(&file, "/nonexistent", &err) < 0);
	assert_non_null(strstr(err.msg, "/nonexistent"));
	assert_true(host_file_open(&file, "/tmp", NULL) < 0);
	assert_true(host_file_open(&file, "/dev/null", NULL) < 0);
	host_file_close(&file);

	assert_int_equal(host_file_open(&file, "/proc/self/exe", NULL), 0);
	assert_true(file.mapped);
	assert_memory_equal(file.data,
			    "\x7f"
			    "ELF",
			    4);
	host_file_close(&file);

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "image", 5), 5);
	close(ends[1]);
	assert_int_equal(dup2(ends[0], 99), 99);
	assert_int_equal(host_file_open(&file, "/proc/self/fd/99", NULL), 0);
	assert_false(file.mapped);
	assert_int_equal(file.len, 5);
	host_file_close(&file);
	close(ends[0]);
	close(99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order), cmocka_unit_test(test_modules),
		cmocka_unit_test(test_keys),  cmocka_unit_test(test_input),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
