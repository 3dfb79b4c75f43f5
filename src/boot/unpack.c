/* SPDX-License-Identifier: Apache-2.0 */
/* The table of kernel compressions, told apart by their first bytes. */
#include "boot/unpack.h"

#include <errno.h>
#include <string.h>

#include "boot/unpack_internal.h"

/* What Linux's x86 build offers (arch/x86/Kconfig, HAVE_KERNEL_*). */
static const struct unpack_format formats[] = {
	{"gzip", {0x1f, 0x8b, 8}, 3, 4, unpack_gzip},
	{"bzip2", {'B', 'Z', 'h'}, 3, 0, unpack_bzip2},
	{"lzma", {0x5d, 0, 0}, 3, 0, unpack_lzma},
	{"xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6, 0, unpack_xz},
	{"lzo", {0x89, 'L', 'Z', 'O', 0, 13, 10, 26, 10}, 9, 0, unpack_lzo},
	{"lz4", {0x02, 0x21, 0x4c, 0x18}, 4, 0, unpack_lz4},
	{"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4, 0, unpack_zstd},
};

const struct unpack_format *unpack_at(unsigned index)
{
	return index < ARRAY_SIZE(formats) ? &formats[index] : NULL;
}

const struct unpack_format *unpack_find(const u8 *src, u64 len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (len >= formats[i].magic_len &&
		    !memcmp(src, formats[i].magic, formats[i].magic_len))
			return &formats[i];
	return NULL;
}

int unpack_emit(struct unpack_sink *sink, const u8 *data, u64 len,
		struct err *err)
{
	int ret;

	if (!len)
		return 0;
	if (len > sink->limit - sink->total)
		return err_set(err, -EINVAL,
			       "the kernel unpacks to more than the %lu bytes "
			       "that its header announces",
			       sink->limit);
	ret = sink->write(sink, data, len, err);
	sink->total += len;
	return ret;
}

int unpack_no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "no memory to unpack the kernel");
}
