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
	struct mem_region *r = &mem->pieces[mem->piece_count];
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
	mem->piece_count++;
	mem->regions[mem->count++] = *r;
	mem->ram_size += len;
	return 0;
}

static int mem_init_below(struct guest_mem *mem, u64 ram_size, u64 hole,
			  struct err *err)
{
	u64 low = min_u64(ram_size, hole);
	int ret = mem_create_fd(ram_size, err);

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

int mem_init(struct guest_mem *mem, u64 ram_size, struct err *err)
{
	*mem = (struct guest_mem){.fd = -1};
	if (ram_size < MEM_MIN_RAM || ram_size > MEM_MAX_RAM ||
	    ram_size % MEM_PAGE)
		return err_set(err, -EINVAL,
			       "guest memory must be 1 MiB to 1 TiB, "
			       "in steps of 4 KiB");
	return mem_init_below(mem, ram_size, MEM_HOLE_START, err);
}

int mem_init_flat(struct guest_mem *mem, u64 ram_size, struct err *err)
{
	*mem = (struct guest_mem){.fd = -1};
	if (ram_size < MEM_MIN_RAM || ram_size > MEM_MAX_FLAT ||
	    ram_size % MEM_PAGE)
		return err_set(err, -EINVAL,
			       "this guest's memory must be 1 MiB to 4 GiB, "
			       "in steps of 4 KiB");
	return mem_init_below(mem, ram_size, MEM_MAX_FLAT, err);
}

void mem_fini(struct guest_mem *mem)
{
	for (unsigned i = 0; i < mem->piece_count; i++) {
		struct mem_region *r = &mem->pieces[i];

		munmap(r->hva - MEM_PAGE, r->len + 2 * MEM_PAGE);
	}
	mem->piece_count = 0;
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

int mem_commit(struct guest_mem *mem, struct err *err)
{
	int ret = 0;

	for (struct mem_listener *l = mem->listeners; !ret && l; l = l->next)
		if (l->commit)
			ret = l->commit(l, err);
	return ret;
}

void mem_written(const struct guest_mem *mem, gpa_t gpa, u64 len)
{
	for (struct mem_listener *l = mem->listeners; l; l = l->next)
		if (l->written)
			l->written(l, gpa, len);
}

/* ------------------------------------------------------------------------- */
/* Rights */

static gpa_t region_end(const struct mem_region *r)
{
	return r->gpa + r->len;
}

/* Is `next` the same memory a little further on? */
static bool continues(const struct mem_region *r, const struct mem_region *next)
{
	return region_end(r) == next->gpa && r->hva + r->len == next->hva;
}

/* The part of `r` that lies in [start, end), empty: len 0. */
static struct mem_region part_of(const struct mem_region *r, gpa_t start,
				 gpa_t end)
{
	struct mem_region part = *r;

	start = max_u64(start, r->gpa);
	end = min_u64(end, region_end(r));
	part.len = start < end ? end - start : 0;
	part.gpa = start;
	part.fd_off += start - r->gpa;
	part.hva += start - r->gpa;
	return part;
}

struct mem_list {
	struct mem_region regions[3 * MEM_MAX_REGIONS];
	unsigned count;
};

static void list_add(struct mem_list *list, const struct mem_region *r)
{
	struct mem_region *last = &list->regions[list->count];

	if (!r->len)
		return;
	if (list->count && last[-1].rights == r->rights &&
	    continues(&last[-1], r)) {
		last[-1].len += r->len;
		return;
	}
	*last = *r;
	list->count++;
}

/* mem->regions with the rights of [start, end) changed. */
static void list_protected(const struct guest_mem *mem, gpa_t start, gpa_t end,
			   u32 rights, struct mem_list *list)
{
	list->count = 0;
	for (unsigned i = 0; i < mem->count; i++) {
		const struct mem_region *r = &mem->regions[i];
		const struct mem_region before = part_of(r, 0, start);
		const struct mem_region after = part_of(r, end, ~0ull);
		struct mem_region inside = part_of(r, start, end);

		inside.rights = rights;
		list_add(list, &before);
		list_add(list, &inside);
		list_add(list, &after);
	}
}

static void mem_replace(struct guest_mem *mem, const struct mem_list *list)
{
	for (struct mem_listener *l = mem->listeners; l; l = l->next)
		for (unsigned i = mem->count; l->remove && i-- > 0;)
			l->remove(l, &mem->regions[i]);
	memcpy(mem->regions, list->regions,
	       list->count * sizeof(list->regions[0]));
	mem->count = list->count;
	for (struct mem_listener *l = mem->listeners; l; l = l->next)
		for (unsigned i = 0; l->add && i < mem->count; i++)
			l->add(l, &mem->regions[i]);
}

int mem_protect(struct guest_mem *mem, gpa_t gpa, u64 len, u32 rights)
{
	struct mem_list list;

	if (!len || (gpa | len) % MEM_PAGE || !mem_ptr(mem, gpa, len))
		return -EINVAL;
	list_protected(mem, gpa, gpa + len, rights, &list);
	if (list.count > MEM_MAX_REGIONS)
		return -ENOSPC;
	mem_replace(mem, &list);
	return 0;
}

u32 mem_rights(const struct guest_mem *mem, gpa_t gpa, u64 len)
{
	u32 rights = mem_ptr(mem, gpa, len) ? MEM_RWX : 0;

	for (unsigned i = 0; rights && i < mem->count; i++)
		if (part_of(&mem->regions[i], gpa, gpa + len).len)
			rights &= mem->regions[i].rights;
	return rights;
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
	for (unsigned i = 0; i < mem->piece_count; i++) {
		const struct mem_region *r = &mem->pieces[i];

		/* gpa is inside, so neither subtraction wraps. */
		if (gpa - r->gpa < r->len && len <= r->len - (gpa - r->gpa))
			return r->hva + (gpa - r->gpa);
	}
	return NULL;
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
	mem_written(mem, gpa, len);
	return true;
}

bool mem_zero(struct guest_mem *mem, gpa_t gpa, u64 len)
{
	void *dst = mem_ptr(mem, gpa, len);

	if (!dst)
		return false;
	memset(dst, 0, len);
	mem_written(mem, gpa, len);
	return true;
}

u16 mem_load16(const struct guest_mem *mem, gpa_t gpa)
{
	const u16 *src = mem_ptr(mem, gpa, sizeof(*src));

	return src && !(gpa & 1) ? __atomic_load_n(src, __ATOMIC_ACQUIRE) : 0;
}

void mem_store16(const struct guest_mem *mem, gpa_t gpa, u16 val)
{
	u16 *dst = mem_ptr(mem, gpa, sizeof(*dst));

	if (!dst || (gpa & 1))
		return;
	__atomic_store_n(dst, val, __ATOMIC_RELEASE);
	mem_written(mem, gpa, sizeof(*dst));
}

u64 mem_low_end(const struct guest_mem *mem)
{
	return mem->piece_count ? mem->pieces[0].len : 0;
}

u64 mem_high_size(const struct guest_mem *mem)
{
	return mem->piece_count > 1 ? mem->pieces[1].len : 0;
}
