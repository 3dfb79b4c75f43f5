/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM: one sealed memfd and its mappings.
 *
 * Each region is mapped inside a reservation of its own that is a little
 * larger, so that inaccessible pages surround it: an offset that slipped past a
 * check faults instead of reaching host data. Mappings start on a 2 MiB
 * boundary, which huge pages need.
 *
 * Not here yet: ROM, private copies over a snapshot file, device memory.
 */
#include "vmm/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/fd.h"

enum {
	MEM_PAGE = 4096,
	MEM_HUGE = 2 << 20,
	/* MFD_NOEXEC_SEAL, since Linux 6.3; older ones say EINVAL. */
	MEM_NOEXEC_SEAL = 0x0008,
};

/* ------------------------------------------------------------------------- */
/* Set-up */

static int mem_create_fd(u64 size, struct err *err)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("vireo-ram", flags | MEM_NOEXEC_SEAL);
	int ret;

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("vireo-ram", flags);
	if (fd < 0)
		return err_set(err, -errno, "cannot create guest memory: %s",
			       strerror(errno));
	/* Whoever shares it can count on its size: no SIGBUS by truncation. */
	if (ftruncate(fd, (off_t)size) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		ret = err_set(err, -errno,
			      "cannot reserve %llu MiB of guest memory: %s",
			      (unsigned long long)(size >> 20),
			      strerror(errno));
		close(fd);
		return ret;
	}
	return fd;
}

/*
 * Reserve enough to find a 2 MiB boundary with a page before it, map there,
 * and give back what is outside the region and its two guard pages.
 */
static u8 *mem_map(int fd, u64 fd_off, u64 len)
{
	const int flags = MAP_SHARED | MAP_NORESERVE | MAP_FIXED;
	u64 reserved = len + MEM_HUGE + 2 * MEM_PAGE;
	u8 *area, *hva, *end;

	area = mmap(NULL, reserved, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return NULL;
	hva = (u8 *)align_up((u64)area + MEM_PAGE, MEM_HUGE);
	if (mmap(hva, len, PROT_READ | PROT_WRITE, flags, fd, (off_t)fd_off) ==
	    MAP_FAILED) {
		munmap(area, reserved);
		return NULL;
	}
	end = hva + len + MEM_PAGE;
	munmap(area, (u64)(hva - MEM_PAGE - area));
	munmap(end, (u64)(area + reserved - end));
	/* Best effort both: a kernel without huge pages; a smaller dump. */
	madvise(hva, len, MADV_HUGEPAGE);
	madvise(hva, len, MADV_DONTDUMP);
	return hva;
}

static int mem_add_ram(struct guest_mem *mem, gpa_t gpa, u64 fd_off, u64 len,
		       struct err *err)
{
	struct mem_region *r = &mem->regions[mem->count];
	u8 *hva;

	hva = mem_map(mem->fd, fd_off, len);
	if (!hva)
		return err_set(err, -ENOMEM,
			       "cannot map %llu MiB of guest memory",
			       (unsigned long long)(len >> 20));
	*r = (struct mem_region){
		.gpa = gpa,
		.len = len,
		.rights = MEM_RWX,
		.fd = mem->fd,
		.fd_off = fd_off,
		.hva = hva,
	};
	mem->count++;
	mem->ram_size += len;
	return 0;
}

int mem_init(struct guest_mem *mem, u64 ram_size, struct err *err)
{
	u64 low = min_u64(ram_size, MEM_HOLE_START);
	int ret;

	*mem = (struct guest_mem){.fd = -1};
	if (ram_size < MEM_MIN_RAM || ram_size > MEM_MAX_RAM ||
	    ram_size % MEM_PAGE)
		return err_set(err, -EINVAL,
			       "guest memory must be 1 MiB to 1 TiB, "
			       "in steps of 4 KiB");
	ret = mem_create_fd(ram_size, err);
	if (ret < 0)
		return ret;
	mem->fd = ret;
	ret = mem_add_ram(mem, 0, 0, low, err);
	if (!ret && ram_size > low)
		ret = mem_add_ram(mem, MEM_HIGH_START, low, ram_size - low,
				  err);
	if (ret)
		mem_fini(mem);
	return ret;
}

void mem_fini(struct guest_mem *mem)
{
	for (unsigned i = 0; i < mem->count; i++) {
		struct mem_region *r = &mem->regions[i];

		munmap(r->hva - MEM_PAGE, r->len + 2 * MEM_PAGE);
	}
	mem->count = 0;
	mem->ram_size = 0;
	fd_close(&mem->fd);
}

/* ------------------------------------------------------------------------- */
/* Listeners */

void mem_listen(struct guest_mem *mem, struct mem_listener *l)
{
	l->next = mem->listeners;
	mem->listeners = l;
	for (unsigned i = 0; l->add && i < mem->count; i++)
		l->add(l, &mem->regions[i]);
}

void mem_unlisten(struct guest_mem *mem, struct mem_listener *l)
{
	struct mem_listener **at = &mem->listeners;

	while (*at && *at != l)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = l->next;
	for (unsigned i = mem->count; l->remove && i-- > 0;)
		l->remove(l, &mem->regions[i]);
}

static void mem_tell_written(const struct guest_mem *mem, gpa_t gpa, u64 len)
{
	for (struct mem_listener *l = mem->listeners; l; l = l->next)
		if (l->written)
			l->written(l, gpa, len);
}

/* ------------------------------------------------------------------------- */
/* Access */

const struct mem_region *mem_find(const struct guest_mem *mem, gpa_t gpa)
{
	for (unsigned i = 0; i < mem->count; i++)
		if (gpa - mem->regions[i].gpa < mem->regions[i].len)
			return &mem->regions[i];
	return NULL;
}

void *mem_ptr(const struct guest_mem *mem, gpa_t gpa, u64 len)
{
	const struct mem_region *r = mem_find(mem, gpa);

	/* gpa is inside, so neither subtraction wraps. */
	if (!r || len > r->len - (gpa - r->gpa))
		return NULL;
	return r->hva + (gpa - r->gpa);
}

bool mem_read(const struct guest_mem *mem, gpa_t gpa, void *dst, u64 len)
{
	const void *src = mem_ptr(mem, gpa, len);

	if (!src)
		return false;
	memcpy(dst, src, len);
	return true;
}

bool mem_write(struct guest_mem *mem, gpa_t gpa, const void *src, u64 len)
{
	void *dst = mem_ptr(mem, gpa, len);

	if (!dst)
		return false;
	memcpy(dst, src, len);
	mem_tell_written(mem, gpa, len);
	return true;
}

bool mem_zero(struct guest_mem *mem, gpa_t gpa, u64 len)
{
	void *dst = mem_ptr(mem, gpa, len);

	if (!dst)
		return false;
	memset(dst, 0, len);
	mem_tell_written(mem, gpa, len);
	return true;
}

u64 mem_low_end(const struct guest_mem *mem)
{
	const struct mem_region *r = mem_find(mem, 0);

	return r ? r->len : 0;
}

u64 mem_high_size(const struct guest_mem *mem)
{
	const struct mem_region *r = mem_find(mem, MEM_HIGH_START);

	return r ? r->len : 0;
}
