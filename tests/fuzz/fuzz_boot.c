/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile kernel images, found by coverage. An input is
 *
 *     kind, options, ...
 *
 * With kind 0 the rest is the file. Otherwise kind chooses a good image and
 * the rest is a list of patches {offset u16, length u8, bytes}: that reaches
 * behind checksums and magics from an empty corpus.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "boot_images.h"
#include "util/log.h"

enum fuzz_options {
	FUZZ_KASLR = 1 << 0,
	FUZZ_MODULES = 3 << 1,
	FUZZ_TAIL = 1 << 3,
	FUZZ_LONG_LINE = 1 << 4,
};

static u64 patched(u8 kind, const u8 *data, size_t len, u8 *image)
{
	unsigned kinds = 0;
	u64 image_len;

	while (image_builder_at(kinds))
		kinds++;
	image_len = image_builder_at(kind % kinds)(image);
	while (len > 3) {
		u64 off = (data[0] | (u64)data[1] << 8) % image_len;
		u64 count = min_u64(data[2], len - 3);

		memcpy(image + off, data + 3, min_u64(count, image_len - off));
		data += 3 + count;
		len -= 3 + count;
	}
	return image_len;
}

static void boot(struct guest_mem *mem, const struct boot_file *file,
		 u8 options)
{
	static const u8 bytes[5000] = "module";
	struct boot_config config = {
		.kernel = *file,
		.kaslr = options & FUZZ_KASLR,
		.module_count = (options & FUZZ_MODULES) >> 1,
		.cmdline = "quiet",
	};
	struct x86_state bsp;
	struct err err = {0};
	char line[4097];
	int ret;

	for (unsigned i = 0; i < config.module_count; i++)
		config.modules[i] = (struct boot_file){bytes, 4097 + i, "m"};
	if (options & FUZZ_TAIL)
		config.initrd_tail = (struct boot_file){bytes, 7, "tail"};
	if (options & FUZZ_LONG_LINE) {
		memset(line, 'x', sizeof(line) - 1);
		line[sizeof(line) - 1] = 0;
		config.cmdline = line;
	}
	ret = boot_load(mem, &config, &bsp, &err);
	if (ret != err.code || !ret != !err.msg[0])
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	static struct guest_mem mem;
	u8 image[IMAGE_MAX];
	struct guarded guarded;
	struct boot_file file = {.name = "kernel"};

	if (len < 2 || len > IMAGE_MAX)
		return 0;
	log_set_level(LOG_ERR);
	if (!mem.count && mem_init(&mem, MIB(64), NULL))
		abort();
	if (data[0]) {
		file.len = patched(data[0], data + 2, len - 2, image);
	} else {
		file.len = len - 2;
		memcpy(image, data + 2, len - 2);
	}
	guarded_create(&guarded, image, file.len);
	file.data = guarded.data;
	boot(&mem, &file, data[1]);
	guarded_destroy(&guarded);
	return 0;
}
