/* SPDX-License-Identifier: Apache-2.0 */
/* Placing image bytes, command line and modules in guest memory. */
#include "boot/image.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096u

u16 boot_le16(const u8 *p)
{
	return (u16)(p[0] | p[1] << 8);
}

u32 boot_le32(const u8 *p)
{
	return boot_le16(p) | (u32)boot_le16(p + 2) << 16;
}

u64 boot_le64(const u8 *p)
{
	return boot_le32(p) | (u64)boot_le32(p + 4) << 32;
}

bool boot_range_ok(const struct guest_mem *mem, gpa_t gpa, u64 len)
{
	u64 low = mem_low_end(mem);

	if (gpa + len < gpa)
		return false;
	if (gpa >= MIB(1))
		return gpa + len <= low;
	return gpa >= BOOT_IMAGE_LOW && gpa + len <= min_u64(BOOT_EBDA, low);
}

static bool is_zero(const u8 *p, u64 len)
{
	return !p[0] && !memcmp(p, p + 1, len - 1);
}

/*
 * Through the memfd: a page of it costs a third of a fault on the mapping, and
 * pages that the guest never touches are never mapped. Short or refused writes
 * fall back to the accessor.
 */
static bool write_run(struct guest_mem *mem, gpa_t gpa, const u8 *src, u64 len)
{
	const struct mem_region *r = mem_find(mem, gpa);

	if (r && len >= PAGE && gpa - r->gpa + len <= r->len) {
		off_t off = (off_t)(r->fd_off + (gpa - r->gpa));

		if (pwrite(r->fd, src, len, off) == (ssize_t)len)
			return true;
	}
	return mem_write(mem, gpa, src, len);
}

int boot_place(struct guest_mem *mem, gpa_t gpa, const void *src, u64 len,
	       struct err *err)
{
	const u8 *p = src;
	u64 at = 0;

	while (at < len) {
		u64 run = at, end = at;

		/* Steps end at the guest's page boundaries. */
		while (end < len) {
			u64 step =
				min_u64(PAGE - (gpa + end) % PAGE, len - end);

			if (is_zero(p + end, step)) {
				at = end + step;
				break;
			}
			end += step;
			at = end;
		}
		if (end > run && !write_run(mem, gpa + run, p + run, end - run))
			return err_set(err, -EFAULT,
				       "cannot write %lu bytes of the image "
				       "to guest memory at %#lx",
				       (end - run), (gpa + run));
	}
	return 0;
}

int boot_put(struct guest_mem *mem, gpa_t gpa, const void *src, u64 len,
	     struct err *err)
{
	if (mem_write(mem, gpa, src, len))
		return 0;
	return err_set(err, -EFAULT,
		       "the guest has no RAM at %#lx for the boot structures",
		       gpa);
}

int boot_put_cmdline(struct guest_mem *mem, const char *cmdline, u64 max,
		     struct err *err)
{
	u64 len = cmdline ? strlen(cmdline) : 0;

	if (max > BOOT_CMDLINE_ROOM - 1)
		max = BOOT_CMDLINE_ROOM - 1;
	if (len > max)
		return err_set(err, -E2BIG,
			       "the command line has %lu bytes, the kernel "
			       "takes at most %lu",
			       len, max);
	return boot_put(mem, BOOT_CMDLINE, len ? cmdline : "", len + 1, err);
}

/* ---- modules ----------------------------------------------------------- */

u64 boot_module_size(const struct boot_config *config, unsigned i)
{
	u64 len = config->modules[i].len;

	if (i == 0 && config->initrd_tail.len)
		len = align_up(len, 4) + config->initrd_tail.len;
	return len;
}

int boot_place_module(struct guest_mem *mem, const struct boot_config *config,
		      unsigned i, gpa_t gpa, struct err *err)
{
	const struct boot_file *file = &config->modules[i];
	const struct boot_file *tail = &config->initrd_tail;
	int ret = boot_place(mem, gpa, file->data, file->len, err);

	if (ret || i || !tail->len)
		return ret;
	return boot_place(mem, gpa + align_up(file->len, 4), tail->data,
			  tail->len, err);
}

int boot_place_modules(struct guest_mem *mem, const struct boot_config *config,
		       gpa_t start, struct boot_range *ranges, struct err *err)
{
	u64 end = mem_low_end(mem);
	gpa_t at = max_u64(start, MIB(1));

	for (unsigned i = 0; i < config->module_count; i++) {
		u64 len = boot_module_size(config, i);
		int ret;

		at = align_up(at, PAGE);
		if (at > end || len > end - at)
			return err_set(err, -E2BIG,
				       "module %u (%s) has %lu bytes, only "
				       "%lu are free behind the kernel; give "
				       "the guest more memory",
				       i, config->modules[i].name, len,
				       (at < end ? end - at : 0));
		ret = boot_place_module(mem, config, i, at, err);
		if (ret)
			return ret;
		ranges[i] = (struct boot_range){at, at + len};
		at += len;
	}
	return 0;
}
