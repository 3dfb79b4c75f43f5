/* SPDX-License-Identifier: Apache-2.0 */
/* A cpio archive in the kernel's initramfs format. */
#include "cli/cpio.h"

#include <string.h>

static void put(struct cpio *cpio, const void *data, size_t len)
{
	static const char zeros[4];

	if (len)
		fwrite(data, 1, len, cpio->out);
	cpio->size += len;
	len = -cpio->size & 3;
	fwrite(zeros, 1, len, cpio->out);
	cpio->size += len;
}

/* [1]: magic, then thirteen fields of eight hexadecimal digits. */
void cpio_add(struct cpio *cpio, const char *name, u32 mode, const void *data,
	      size_t len)
{
	const u32 name_len = (u32)strlen(name) + 1;
	const u32 fields[13] = {
		[0] = ++cpio->inode, [1] = mode,      [4] = 1, /* links */
		[6] = (u32)len,	     [11] = name_len,
	};

	cpio->size += (size_t)fprintf(cpio->out, "070701");
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		cpio->size += (size_t)fprintf(cpio->out, "%08X", fields[i]);
	put(cpio, name, name_len);
	put(cpio, data, len);
}

void cpio_end(struct cpio *cpio)
{
	cpio_add(cpio, "TRAILER!!!", 0, NULL, 0);
}
