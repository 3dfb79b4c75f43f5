/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest-physical memory: a short list of regions and the one accessor through
 * which everything but an engine's own fast path touches guest RAM.
 *
 * RAM is one sealed memfd, mapped shared, split around the 32-bit hole
 * [MEM_HOLE_START, 4 GiB), or in one piece on machines that have none. Rights
 * split it further. A region list is built before the first vCPU runs;
 * listeners (engines, later vhost and VFIO) hear of each change. Those for
 * whom a change is dear gather them and act when mem_commit() says so: once,
 * for a VM that starts, whatever the loader did to its rights.
 *
 * What a region's rights do not allow goes to the bus as if there were no RAM
 * (a read without MEM_R, a write without MEM_W), which is how ROM and flash
 * work; a fetch without MEM_X is the engine's to refuse, where it can see it.
 *
 * Rules for callers (devices, loaders): copy in once, check the copy, use the
 * copy. DMA resolves to RAM only, never to a device. A write through here
 * tells the listeners, so that the engine drops translations of that page.
 *
 * Threads: the map is read-only once the VM runs; the bytes are shared with
 * the guest and may change under a reader at any time.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"

#define MEM_HOLE_START GIB(3) /* RAM below 4 GiB ends here at the latest */
#define MEM_HIGH_START GIB(4)
#define MEM_MAX_REGIONS 16
#define MEM_MIN_RAM MIB(1)
#define MEM_MAX_RAM GIB(1024)
#define MEM_MAX_FLAT GIB(4)
#define MEM_MAX_PIECES 2 /* of the address space that RAM lies in */

enum mem_rights { MEM_R = 1, MEM_W = 2, MEM_X = 4, MEM_RWX = 7 };

struct mem_region {
	gpa_t gpa;  /* page-aligned */
	u64 len;    /* bytes, multiple of 4096 */
	u32 rights; /* enum mem_rights: what the guest may do */
	int fd;	    /* backing memfd, owned by guest_mem */
	u64 fd_off;
	u8 *hva; /* host mapping of the whole region */
};

struct mem_listener {
	void (*add)(struct mem_listener *l, const struct mem_region *r);
	void (*remove)(struct mem_listener *l, const struct mem_region *r);
	/* The regions are those announced so far; 0 or -errno. Optional. */
	int (*commit)(struct mem_listener *l, struct err *err);
	/* Bytes changed by someone other than a vCPU. Never blocks long. */
	void (*written)(struct mem_listener *l, gpa_t gpa, u64 len);
	struct mem_listener *next;
};

struct guest_mem {
	struct mem_region regions[MEM_MAX_REGIONS]; /* sorted by gpa */
	unsigned count;
	struct mem_region pieces[MEM_MAX_PIECES]; /* as mapped */
	unsigned piece_count;
	u64 ram_size; /* bytes, the sum of the regions */
	int fd;
	struct mem_listener *listeners;
};

/*
 * Reserve `ram_size` bytes (multiple of 4096, MEM_MIN_RAM..MEM_MAX_RAM), zero
 * and not yet populated. Returns 0, -EINVAL, -ENOMEM or memfd's errno.
 */
int mem_init(struct guest_mem *mem, u64 ram_size, struct err *err);
/* The same in one piece from 0; up to MEM_MAX_FLAT. */
int mem_init_flat(struct guest_mem *mem, u64 ram_size, struct err *err);
void mem_fini(struct guest_mem *mem);

/* Regions present at the time of the call are announced at once, and are for
 * the caller to commit. Callbacks of a listener may be NULL. */
void mem_listen(struct guest_mem *mem, struct mem_listener *l);
void mem_unlisten(struct guest_mem *mem, struct mem_listener *l);
/* The guest is about to run in what there is now. */
int mem_commit(struct guest_mem *mem, struct err *err);

/*
 * What the guest may do with [gpa, gpa+len), whole pages of RAM; before the
 * first vCPU runs. -EINVAL where there is no RAM, -ENOSPC for more regions
 * than MEM_MAX_REGIONS.
 */
int mem_protect(struct guest_mem *mem, gpa_t gpa, u64 len, u32 rights);
/* What it may do with all of [gpa, gpa+len); 0 where some of it is no RAM. */
u32 mem_rights(const struct guest_mem *mem, gpa_t gpa, u64 len);

/*
 * Copy between host and guest, whatever the guest's rights. All of
 * [gpa, gpa+len) must be RAM in one piece; otherwise nothing is copied and
 * false is returned.
 */
bool mem_read(const struct guest_mem *mem, gpa_t gpa, void *dst, u64 len);
bool mem_write(struct guest_mem *mem, gpa_t gpa, const void *src, u64 len);
bool mem_zero(struct guest_mem *mem, gpa_t gpa, u64 len);

/*
 * The words by which a guest and a device tell each other how far they are:
 * two bytes at an even address, 0 or no effect where there is no RAM. A load is
 * an acquire, a store a release.
 */
u16 mem_load16(const struct guest_mem *mem, gpa_t gpa);
void mem_store16(const struct guest_mem *mem, gpa_t gpa, u16 val);

/*
 * The region that holds gpa, or NULL. For engines and for bulk I/O vectors;
 * devices use mem_read and mem_write.
 */
const struct mem_region *mem_find(const struct guest_mem *mem, gpa_t gpa);

/*
 * Host pointer to [gpa, gpa+len) of RAM in one piece, or NULL. Whoever writes
 * through it (a read() of the host's, say) then calls mem_written().
 */
void *mem_ptr(const struct guest_mem *mem, gpa_t gpa, u64 len);
void mem_written(const struct guest_mem *mem, gpa_t gpa, u64 len);

/* First byte after RAM below 4 GiB, and RAM bytes from 4 GiB on. */
u64 mem_low_end(const struct guest_mem *mem);
u64 mem_high_size(const struct guest_mem *mem);
