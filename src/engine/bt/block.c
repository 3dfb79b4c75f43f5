/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks: where they are kept, how they are made, and how they die.
 *
 * Theory of operation
 * -------------------
 * Blocks live in an arena and are found by physical address and code size.
 * code_lock guards the hashes, the arena and the clearing of line bits; it is
 * never held while waiting for the exclusive section.
 *
 * A page gets its first block like this: inside the exclusive section its
 * `lines` word is set and all write entries of it leave the TLBs. From then on
 * every write to the page takes tlb.c's slow path, stores, and looks at the
 * line bits. Further blocks set their bits under code_lock alone, before they
 * read the bytes: tlb.c's store is ordered the other way round.
 *
 * A block that is written to is marked invalid and unlinked; the memory stays
 * until the arena is full. Then everything is dropped and the arena's other
 * half taken: a vCPU in the middle of an instruction may still hold a record
 * of the old half, so the halves only turn over when every vCPU has crossed a
 * block boundary since the last time.
 */
#include "engine/bt/decode.h"
#include "engine/bt/fpu.h"
#include "engine/bt/jit.h"
#include "engine/bt/mem.h"
#include "engine/bt/vm.h"

#include <errno.h>
#include <sys/mman.h>

#define BLOCK_MAX_INSNS 64

/* A page's blocks lie in 512 bytes of the table: a guest that runs little code
 * touches little of it. */
static unsigned hash_pa(gpa_t pa, u8 code)
{
	u64 page = (pa >> 12) * 0x9e3779b97f4a7c15ull >> 40;
	u64 place = (pa ^ pa >> 6 ^ code) & 63;

	return (unsigned)(page << 6 | place) & (BT_HASH_SIZE - 1);
}

static unsigned hash_page(gpa_t pa)
{
	return (unsigned)(pa >> 12 ^ pa >> 28) & (BT_HASH_SIZE - 1);
}

#define HASH_BYTES (BT_HASH_SIZE * sizeof(struct bt_block *))

#define ROOM_LEAST MIB(64)
#define ROOM_MOST MIB(512)

u64 bt_code_room(const struct bt_vm *bvm)
{
	u64 share = align_up(bvm->vm->mem.ram_size / 8, 4096);

	return min_u64(max_u64(share, ROOM_LEAST), ROOM_MOST);
}

int bt_code_init(struct bt_vm *bvm, struct err *err)
{
	bvm->arena_size = bt_code_room(bvm);
	bvm->hash = bt_reserve(HASH_BYTES);
	bvm->page_hash = bt_reserve(HASH_BYTES);
	bvm->arena = bt_reserve(2 * bvm->arena_size);
	if (bvm->hash && bvm->page_hash && bvm->arena)
		return 0;
	return err_set(err, -ENOMEM,
		       "no address space for the translation cache");
}

void bt_code_fini(struct bt_vm *bvm)
{
	if (bvm->hash)
		munmap(bvm->hash, HASH_BYTES);
	if (bvm->page_hash)
		munmap(bvm->page_hash, HASH_BYTES);
	if (bvm->arena)
		munmap(bvm->arena, 2 * bvm->arena_size);
}

/* ---- lines ------------------------------------------------------------- */

static u64 *page_lines(struct bt_vm *bvm, gpa_t pa)
{
	const struct bt_ram *ram = bt_ram_find(bvm, pa);

	return ram ? &ram->lines[(pa - ram->gpa) >> 12] : NULL;
}

static u64 line_mask(unsigned off, unsigned len)
{
	return (~0ull << (off >> 6)) & (~0ull >> (63 - ((off + len - 1) >> 6)));
}

/* Lines of `page` that the block covers; its two pages may be one. */
static u64 block_lines(const struct bt_block *b, gpa_t page)
{
	unsigned off = b->pa & 0xfff, len = b->bytes;
	u64 lines = 0;

	if (b->pa >> 12 == page >> 12)
		lines = line_mask(off, len < 4096 - off ? len : 4096 - off);
	if (b->pa2 == page)
		lines |= line_mask(0, off + len - 4096);
	return lines;
}

bool bt_block_covers(const struct bt_block *b, gpa_t pa, unsigned len)
{
	return block_lines(b, pa & ~0xfffull) & line_mask(pa & 0xfff, len);
}

/* ---- death ------------------------------------------------------------- */

static void unlink_hash(struct bt_vm *bvm, struct bt_block *b)
{
	struct bt_block **link = &bvm->hash[hash_pa(b->pa, b->code)];

	while (*link && *link != b)
		link = &(*link)->hash_next;
	if (*link)
		*link = b->hash_next;
}

/* Drop the page's blocks that touch `mask`, and those already invalid; then
 * its line bits are those of the rest. */
static void sweep_page(struct bt_vm *bvm, gpa_t page, u64 mask)
{
	struct bt_page_link **link = &bvm->page_hash[hash_page(page)];
	u64 *lines = page_lines(bvm, page);
	u64 left = 0;

	while (*link) {
		struct bt_block *b = (*link)->block;

		if (b->valid && (*link)->page != page) {
			link = &(*link)->next;
			continue;
		}
		if (b->valid && !(block_lines(b, page) & mask)) {
			left |= block_lines(b, page);
			link = &(*link)->next;
			continue;
		}
		if (b->valid) {
			unlink_hash(bvm, b);
			bt_jit_kill(bvm, b);
			bvm->deaths++;
		}
		b->valid = 0;
		*link = (*link)->next;
	}
	if (lines)
		__atomic_store_n(lines, left, __ATOMIC_SEQ_CST);
}

void bt_code_written(struct bt_vm *bvm, struct bt_cpu *self, gpa_t pa,
		     unsigned len)
{
	bt_lock(&bvm->code_lock);
	sweep_page(bvm, pa & ~0xfffull, line_mask(pa & 0xfff, len));
	bt_unlock(&bvm->code_lock);
	for (unsigned k = 0; k < bvm->vm->vcpu_count; k++) {
		struct vcpu *vcpu = bvm->vm->vcpus[k];
		struct bt_cpu *c = vcpu ? vcpu->engine : NULL;

		/* In the middle of a block that is gone: stop after this
		 * instruction. Only the caller and vCPUs that wait for the
		 * section can be there. */
		if (c && c->block && !c->block->valid)
			c->end = NULL;
	}
	if (self)
		self->stat.invalidated++;
}

/* Every vCPU has begun a block since the last flush. */
static bool halves_may_turn(const struct bt_vm *bvm, const struct bt_cpu *self)
{
	for (unsigned k = 0; k < bvm->vm->vcpu_count; k++) {
		const struct vcpu *vcpu = bvm->vm->vcpus[k];
		const struct bt_cpu *c = vcpu ? vcpu->engine : NULL;

		if (c && c != self && c->block && c->seen_epoch != bvm->epoch)
			return false;
	}
	return true;
}

static void drop_everything(struct bt_vm *bvm)
{
	madvise(bvm->hash, HASH_BYTES, MADV_DONTNEED);
	madvise(bvm->page_hash, HASH_BYTES, MADV_DONTNEED);
	for (unsigned k = 0; k < MEM_MAX_PIECES; k++)
		if (bvm->lines[k])
			madvise(bvm->lines[k],
				bvm->vm->mem.pieces[k].len >> 12 << 3,
				MADV_DONTNEED);
	for (unsigned k = 0; k < bvm->vm->vcpu_count; k++) {
		struct bt_cpu *c =
			bvm->vm->vcpus[k] ? bvm->vm->vcpus[k]->engine : NULL;

		for (unsigned j = 0; c && j < BT_JUMP_ENTRIES; j++)
			c->jump[j].block = NULL;
	}
	bvm->arena_half ^= 1;
	bvm->arena_used = 0;
	madvise(bvm->arena + bvm->arena_half * bvm->arena_size, bvm->arena_size,
		MADV_DONTNEED);
	bt_stub_flush(bvm);
	bt_jit_flush(bvm);
	bvm->deaths++;
	bvm->epoch++;
}

/* What a vCPU waits for another one to end its instruction. */
#define FLUSH_WAIT_NS 50000

/* At a block boundary of c, without code_lock. */
void bt_flush_code(struct bt_cpu *c)
{
	struct bt_vm *bvm = c->bvm;
	u32 epoch = bvm->epoch;

	c->block = NULL;
	bt_fpu_save(c); /* madvise is libc */
	for (;;) {
		bt_exclusive_begin(bvm, c);
		/* Else another one did it. */
		if (bvm->epoch == epoch && halves_may_turn(bvm, c))
			drop_everything(bvm);
		bt_exclusive_end(bvm, c);
		if (bvm->epoch != epoch)
			return;
		bt_sleep(c, &bvm->epoch, epoch, FLUSH_WAIT_NS);
	}
}

/* ---- birth ------------------------------------------------------------- */

/*
 * The block at pa whose last instruction, if it crosses the page, runs into
 * pa2. *crosses tells that there is one with another pa2.
 */
static struct bt_block *find(struct bt_cpu *c, gpa_t pa, gpa_t pa2,
			     bool *crosses)
{
	struct bt_block *b = c->bvm->hash[hash_pa(pa, c->code)];

	*crosses = false;
	for (; b; b = b->hash_next) {
		if (b->pa != pa || b->code != c->code)
			continue;
		if (b->pa2 == BT_NO_PAGE || b->pa2 == pa2)
			return b;
		*crosses = true;
	}
	return NULL;
}

/* What a decode works on: up to the page's end, then up to 15 bytes more. */
struct source {
	gpa_t pa, pa2; /* pa2 may be BT_NO_PAGE */
	gva_t lin;
	const u8 *bytes; /* host, up to the page's end */
	unsigned avail;
	u8 edge[2 * BT_MAX_INSN]; /* copy across the page's end */
};

/*
 * Line bits first, then the bytes (see tlb.c, bt_code_check). False: the page
 * has no code yet; claim_page() and start over.
 */
static bool set_lines(struct bt_vm *bvm, gpa_t pa, unsigned len)
{
	u64 *lines = page_lines(bvm, pa);

	if (!lines)
		return true; /* no RAM, no cache */
	if (!*lines)
		return false;
	__atomic_fetch_or(lines, line_mask(pa & 0xfff, len), __ATOMIC_SEQ_CST);
	return true;
}

static void claim_page(struct bt_cpu *c, gpa_t pa)
{
	const struct bt_ram *ram = bt_ram_find(c->bvm, pa);
	u64 *lines = page_lines(c->bvm, pa);

	if (!lines || __atomic_load_n(lines, __ATOMIC_SEQ_CST))
		return;
	bt_exclusive_begin(c->bvm, c);
	__atomic_fetch_or(lines, line_mask(pa & 0xfff, 1), __ATOMIC_SEQ_CST);
	bt_tlb_protect_page(c->bvm, ram, pa);
	bt_exclusive_end(c->bvm, c);
}

/* Bytes at `off` of the source, as many as one instruction can need. */
static const u8 *source_bytes(struct bt_cpu *c, struct source *src,
			      unsigned off, unsigned *avail)
{
	const struct bt_ram *ram;
	unsigned here = src->avail - off, k;

	*avail = here < BT_MAX_INSN ? here : BT_MAX_INSN;
	if (src->pa2 == BT_NO_PAGE)
		return src->bytes + off;
	ram = bt_ram_find(c->bvm, src->pa2);
	for (k = 0; k < *avail; k++)
		src->edge[k] = src->bytes[off + k];
	for (; k < BT_MAX_INSN; k++)
		src->edge[k] =
			ram ? ram->hva[src->pa2 - ram->gpa + k - here] : 0xff;
	*avail = BT_MAX_INSN;
	return src->edge;
}

static bool decode_at(struct bt_cpu *c, struct source *src, unsigned off,
		      struct bt_insn *insn, enum bt_decode_status *status)
{
	struct bt_parts parts;
	unsigned avail;
	const u8 *bytes = source_bytes(c, src, off, &avail);

	*status = bt_decode(bytes, avail, c->code, c->policy->features, insn,
			    &parts);
	if (*status == BT_DECODE_OK && bt_rows[insn->row].attrs & ROW_SIMD)
		return bt_stub_attach(c, &parts, insn);
	return true;
}

enum build { BUILD_OK, BUILD_CLAIM, BUILD_CLAIM2, BUILD_FULL, BUILD_CROSS };

static void store_insn(struct bt_insn *dst, const struct bt_insn *src)
{
	const u64 *from = (const u64 *)(const void *)src;
	u64 *to = (u64 *)(void *)dst;

	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
}

/*
 * Decode into b. The block ends at a control transfer, at the page's end, or
 * after BLOCK_MAX_INSNS. An instruction that crosses the page is only taken as
 * the first: then it is a block of its own.
 */
static enum build fill_block(struct bt_cpu *c, struct source *src,
			     struct bt_block *b)
{
	unsigned off = 0;
	bool cross = src->pa2 != BT_NO_PAGE;

	while (b->count < BLOCK_MAX_INSNS) {
		struct bt_insn insn;
		enum bt_decode_status status;
		unsigned lines = src->avail - off < BT_MAX_INSN
					 ? src->avail - off
					 : BT_MAX_INSN;

		if (!set_lines(c->bvm, src->pa + off, lines))
			return BUILD_CLAIM;
		if (!decode_at(c, src, off, &insn, &status))
			return BUILD_FULL;
		if (status == BT_DECODE_MORE) {
			if (!b->count)
				return BUILD_CROSS;
			break;
		}
		store_insn(&b->insn[b->count++], &insn);
		off += insn.len;
		if (cross || off >= src->avail || bt_ends_block(&insn) ||
		    status != BT_DECODE_OK)
			break;
	}
	b->bytes = (u16)off;
	c->stat.decoded += b->count;
	return BUILD_OK;
}

static void link_page(struct bt_vm *bvm, struct bt_page_link *link,
		      struct bt_block *b, gpa_t pa)
{
	unsigned h = hash_page(pa);

	link->page = pa & ~0xfffull;
	link->block = b;
	link->next = bvm->page_hash[h];
	bvm->page_hash[h] = link;
}

/* Returns the bytes the block takes of the arena. */
static u64 link_block(struct bt_vm *bvm, struct bt_block *b)
{
	unsigned h = hash_pa(b->pa, b->code);
	u64 size = sizeof(*b) + b->count * sizeof(struct bt_insn);

	b->valid = 1;
	b->hash_next = bvm->hash[h];
	bvm->hash[h] = b;
	link_page(bvm, &b->link, b, b->pa);
	if (b->pa2 == BT_NO_PAGE)
		return size;
	link_page(bvm, (struct bt_page_link *)(void *)((u8 *)b + size), b,
		  b->pa2);
	return size + sizeof(struct bt_page_link);
}

void *bt_arena_alloc(struct bt_vm *bvm, u64 len)
{
	u8 *at = bvm->arena + bvm->arena_half * bvm->arena_size +
		 bvm->arena_used;

	if (bvm->arena_used + len > bvm->arena_size)
		return NULL;
	bvm->arena_used += align_up(len, 8);
	return at;
}

/* Under code_lock. */
static enum build build(struct bt_cpu *c, struct source *src,
			struct bt_block **out)
{
	struct bt_vm *bvm = c->bvm;
	u64 room = sizeof(struct bt_block) + sizeof(struct bt_page_link) +
		   BLOCK_MAX_INSNS * sizeof(struct bt_insn);
	struct bt_block *b;
	enum build ret;

	if (bvm->arena_used + room > bvm->arena_size)
		return BUILD_FULL;
	b = (struct bt_block *)(void *)(bvm->arena +
					bvm->arena_half * bvm->arena_size +
					bvm->arena_used);
	if (src->pa2 != BT_NO_PAGE && !set_lines(bvm, src->pa2, BT_MAX_INSN))
		return BUILD_CLAIM2;
	b->pa = src->pa;
	b->pa2 = src->pa2;
	b->code = c->code;
	b->count = 0;
	b->bytes = 0;
	b->heat = 0;
	b->trans = NULL;
	ret = fill_block(c, src, b);
	if (ret != BUILD_OK)
		return ret;
	if (b->bytes <= src->avail)
		b->pa2 = BT_NO_PAGE; /* #UD or so: it did not need it */
	bvm->arena_used += link_block(bvm, b);
	*out = b;
	return BUILD_OK;
}

static void source_init(struct bt_cpu *c, struct source *src, gva_t lin,
			gpa_t pa)
{
	const struct bt_ram *ram = bt_ram_find(c->bvm, pa);
	unsigned k;

	src->pa = pa;
	src->pa2 = BT_NO_PAGE;
	src->lin = lin;
	src->avail = 4096 - (pa & 0xfff);
	if (ram) {
		src->bytes = ram->hva + (pa - ram->gpa);
		return;
	}
	/* Code in ROM, flash or nowhere: fetched byte by byte. */
	for (k = 0; k < BT_MAX_INSN && k < src->avail; k++)
		src->edge[k] = (u8)bt_phys_load(c, pa + k, 1);
	src->bytes = src->edge;
	src->avail = k;
}

static gpa_t next_page(struct bt_cpu *c, gva_t lin)
{
	return bt_translate_fetch(c, ((lin | 0xfff) + 1) & c->lin_mask);
}

struct bt_block *bt_block_lookup(struct bt_cpu *c, gva_t lin)
{
	gpa_t pa = bt_translate_fetch(c, lin);
	struct bt_vm *bvm = c->bvm;
	struct bt_block *b;
	struct source src;
	enum build ret;
	bool crosses;

	bt_lock(&bvm->code_lock);
	b = find(c, pa, BT_NO_PAGE, &crosses);
	bt_unlock(&bvm->code_lock);
	if (b)
		return b;
	source_init(c, &src, lin, pa);
	if (crosses) {
		src.pa2 = next_page(c, lin);
		bt_lock(&bvm->code_lock);
		b = find(c, pa, src.pa2, &crosses);
		bt_unlock(&bvm->code_lock);
	}
	while (!b) {
		bt_lock(&bvm->code_lock);
		ret = build(c, &src, &b);
		bt_unlock(&bvm->code_lock);
		if (ret == BUILD_CLAIM)
			claim_page(c, src.pa);
		else if (ret == BUILD_CLAIM2)
			claim_page(c, src.pa2);
		else if (ret == BUILD_FULL)
			bt_flush_code(c);
		else if (ret == BUILD_CROSS)
			src.pa2 = next_page(c, lin);
	}
	return b;
}

/* Stubs are shared by all vCPUs. */
static bool decode_locked(struct bt_cpu *c, struct source *src,
			  struct bt_insn *insn, enum bt_decode_status *status)
{
	bool room;

	bt_lock(&c->bvm->code_lock);
	room = decode_at(c, src, 0, insn, status);
	bt_unlock(&c->bvm->code_lock);
	return room;
}

void bt_decode_one(struct bt_cpu *c, struct bt_insn *insn)
{
	struct source src;
	gva_t lin = (c->gpr[17] + c->seg_base[X86_CS]) & c->lin_mask;
	u64 room = c->seg[X86_CS].limit - c->gpr[17];
	enum bt_decode_status status;
	bool stub;

	if (c->gpr[17] > c->seg[X86_CS].limit)
		bt_gp(c);
	source_init(c, &src, lin, bt_translate_fetch(c, lin));
	stub = decode_locked(c, &src, insn, &status);
	if (status == BT_DECODE_MORE && room >= src.avail) {
		src.pa2 = next_page(c, lin);
		stub = decode_locked(c, &src, insn, &status);
	}
	if (status == BT_DECODE_MORE || insn->len > room + 1)
		bt_gp(c);
	if (!stub) {
		bt_flush_code(c);
		bt_decode_one(c, insn);
	}
}
