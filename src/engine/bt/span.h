/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory by the page: for state images, which are too long for loads and
 * stores. The caller has probed the range, so nothing here raises but for a
 * mapping that changed under it; the instruction is then run again.
 */
#pragma once

#include "engine/bt/mem.h"

static inline void bt_copy(void *dst, const void *src, u64 len)
{
	__asm__ volatile("rep movsb"
			 : "+D"(dst), "+S"(src), "+c"(len)
			 :
			 : "memory");
}

static inline void bt_zero(void *dst, u64 len)
{
	__asm__ volatile("rep stosb"
			 : "+D"(dst), "+c"(len)
			 : "a"(0)
			 : "memory");
}

static inline unsigned bt_page_part(gva_t va, unsigned len)
{
	unsigned room = 4096 - (va & 0xfff);

	return len < room ? len : room;
}

/* As bt_probe(), with the TLB asked for each page. */
static inline void bt_probe_span(struct bt_cpu *c, gva_t va, unsigned len,
				 bool write)
{
	while (len) {
		unsigned part = bt_page_part(va, len);

		bt_probe(c, va, part, write);
		len -= part;
		va = (va + part) & c->lin_mask;
	}
}

static inline void bt_read_span(struct bt_cpu *c, gva_t va, void *dst,
				unsigned len)
{
	u8 *to = dst;

	while (len) {
		unsigned part = bt_page_part(va, len);
		const void *from = bt_rptr(c, va, part);

		if (likely(from != NULL))
			bt_copy(to, from, part);
		else
			bt_load_bytes(c, va, to, part);
		to += part;
		len -= part;
		va = (va + part) & c->lin_mask;
	}
}

static inline void bt_write_span(struct bt_cpu *c, gva_t va, const void *src,
				 unsigned len)
{
	const u8 *from = src;

	while (len) {
		unsigned part = bt_page_part(va, len);
		void *to = bt_wptr(c, va, part);

		if (likely(to != NULL))
			bt_copy(to, from, part);
		else
			bt_store_bytes(c, va, from, part);
		from += part;
		len -= part;
		va = (va + part) & c->lin_mask;
	}
}
