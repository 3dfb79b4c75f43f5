/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Solo5 hvt's two sides that a stranger writes: images, and what a guest asks
 * for once it runs. An input is
 *
 *     what, ...
 *
 * Images: what & 1 is 0. With what & 2 the rest is the file, else a list of
 * patches {offset u16, length u8, bytes} to a good one. What must hold: a file
 * is refused with its reason and nothing in memory, or loaded with no page both
 * writable and executable.
 *
 * Calls: {how u8, place u8, length u8, bytes of the block} again and again.
 * What must hold: the guest goes on or ends with a word about why, and neither
 * code that may not be written nor the disk's size changes.
 */
#define fail_msg(...) abort()

#include "fuzz.h"

#include <poll.h>
#include <sys/stat.h>

#include "boot_images.h"
#include "hvt_machine.h"
#include "util/log.h"

/* <elf.h> has names that arch/x86.h must have first. */
#include "hvt_images.h"

static bool is_zero(const u8 *bytes, size_t len)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, len - 1);
}

/* ---- images -------------------------------------------------------------- */

static u64 patched(const u8 *data, size_t len, u8 image[IMAGE_MAX])
{
	struct hvt_test_image good;

	hvt_test_image(&good);
	memcpy(image, &good, sizeof(good));
	while (len > 3) {
		u64 off = (data[0] | (u64)data[1] << 8) % sizeof(good);
		u64 count = min_u64(data[2], len - 3);

		memcpy(image + off, data + 3,
		       min_u64(count, sizeof(good) - off));
		data += 3 + count;
		len -= 3 + count;
	}
	return sizeof(good);
}

static void check_loaded(const struct guest_mem *mem)
{
	for (gpa_t gpa = 0; gpa < HVT_MACHINE_RAM; gpa += HVT_PAGE) {
		u32 rights = mem_rights(mem, gpa, HVT_PAGE);

		if ((rights & MEM_W) && (rights & MEM_X))
			abort();
	}
}

static void load(const struct boot_file *file)
{
	struct guest_mem mem = {0};
	struct hvt_image image;
	struct hvt_start start = {&image, file, "a line", 1000000000,
				  HVT_MACHINE_RAM};
	struct x86_state state;
	struct err err = {0};
	int ret = hvt_parse(&image, file, &err);

	if (ret != err.code || !ret != !err.msg[0])
		abort();
	if (ret)
		return;
	if (mem_init(&mem, HVT_MACHINE_RAM, NULL))
		abort();
	ret = hvt_load(&mem, &start, &state, &err);
	if (ret != err.code || !ret != !err.msg[0])
		abort();
	if (!ret)
		check_loaded(&mem);
	else if (!is_zero(mem_ptr(&mem, 0, HVT_MACHINE_RAM), HVT_MACHINE_RAM))
		abort();
	mem_fini(&mem);
}

static void image(u8 what, const u8 *data, size_t len)
{
	struct boot_file file = {.name = "app.hvt",
				 .len = min_u64(len, IMAGE_MAX)};
	struct guarded guarded;
	u8 bytes[IMAGE_MAX];

	if (what & 2)
		memcpy(bytes, data, file.len);
	else
		file.len = patched(data, len, bytes);
	guarded_create(&guarded, bytes, file.len);
	file.data = guarded.data;
	hvt_is(&file);
	load(&file);
	guarded_destroy(&guarded);
}

/* ---- calls --------------------------------------------------------------- */

static const u32 places[] = {
	HVT_MACHINE_BLOCK,
	HVT_MACHINE_BLOCK + 1,
	HVT_MACHINE_BUFFER,
	HVT_MACHINE_CODE - 8,
	HVT_MACHINE_CODE,
	HVT_MACHINE_CODE - 40,
	HVT_MACHINE_RAM - 8,
	HVT_MACHINE_RAM,
	HVT_MACHINE_RAM - 40,
	UINT32_MAX,
	0,
};

struct step {
	u8 how, place, len;
};

static void one_call(struct hvt_machine *m, const struct step *s,
		     const u8 *bytes)
{
	const u32 at = places[s->place % ARRAY_SIZE(places)];
	u16 port = (u16)(HVT_PORT + (s->how & 15));
	unsigned width = 1u << (s->how >> 4 & 3) & 7;
	u8 answer[8];

	if (at < HVT_MACHINE_CODE - 255 || at >= HVT_MACHINE_CODE + HVT_PAGE)
		mem_write(&m->vm->mem, at, bytes, s->len);
	if (s->how & 0x40 && s->len)
		send(m->wire[1], bytes, s->len, MSG_DONTWAIT);
	if (s->how & 0x80)
		bus_read(&m->vm->bus, BUS_PIO, port, width ? width : 4, 1,
			 answer);
	else if (width && width != 4)
		bus_write(&m->vm->bus, BUS_PIO, port, width, 1, bytes);
	else
		hvt_machine_out(m, port, at);
}

static void drain(const struct hvt_machine *m)
{
	char bytes[4096];

	while (recv(m->wire[1], bytes, sizeof(bytes), MSG_DONTWAIT) >= 0)
		;
	while (poll(&(struct pollfd){m->out[0], POLLIN, 0}, 1, 0) == 1 &&
	       read(m->out[0], bytes, sizeof(bytes)) > 0)
		;
}

static void check_kept(const struct hvt_machine *m)
{
	const u8 *code = mem_ptr(&m->vm->mem, HVT_MACHINE_CODE, HVT_PAGE);
	struct stat st;

	if (!is_zero(code, HVT_PAGE))
		abort();
	if (stat(m->path, &st) || st.st_size != HVT_MACHINE_DISK)
		abort();
	if (m->vm->stop_reason != VM_STOP_NONE && !m->vm->stop_message[0])
		abort();
}

static void calls(const u8 *data, size_t len)
{
	struct hvt_machine m;

	hvt_machine_make(&m);
	while (len >= 3 && m.vm->stop_reason == VM_STOP_NONE &&
	       !m.vm->vcpus[0]->wait) {
		struct step s = {data[0], data[1],
				 (u8)min_u64(data[2], len - 3)};
		u8 bytes[256] = {0};

		memcpy(bytes, data + 3, s.len);
		one_call(&m, &s, bytes);
		drain(&m);
		data += 3 + s.len;
		len -= 3u + s.len;
	}
	check_kept(&m);
	hvt_machine_drop(&m);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	log_set_level(LOG_ERR);
	if (len && data[0] & 1)
		calls(data + 1, len - 1);
	else if (len)
		image(data[0], data + 1, len - 1);
	return 0;
}
