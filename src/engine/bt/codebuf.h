/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executable memory that is never writable and executable in one mapping: two
 * views of one sealed memfd, or of one anonymous mapping. Writers reserve,
 * write through the writable view, and commit; nobody else flips protections.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"

struct codebuf {
	u8 *write; /* the writable view */
	u8 *exec;  /* the same bytes, executable */
	u64 size, used;
};

/* What the two views are of. perf looks names of code up in its map file only
 * where the mapping is anonymous, so there is that kind, too. */
enum codebuf_kind { CODEBUF_FD, CODEBUF_ANON };

int codebuf_init(struct codebuf *buf, u64 size, enum codebuf_kind kind,
		 struct err *err);
void codebuf_fini(struct codebuf *buf);

/* The rest is inline: it is called while guest SIMD state is live. */

/* Room for `len` bytes in the writable view, 16-byte aligned; NULL: full. */
static inline u8 *codebuf_reserve(struct codebuf *buf, u64 len)
{
	return buf->used + len > buf->size ? NULL : buf->write + buf->used;
}

/* Keep the first `len` bytes of what was reserved; their executable address. */
static inline const u8 *codebuf_commit(struct codebuf *buf, u64 len)
{
	const u8 *at = buf->exec + buf->used;

	buf->used = align_up(buf->used + len, 16);
	return at;
}

/* Forget what is behind the first `used` bytes. */
static inline void codebuf_reset(struct codebuf *buf, u64 used)
{
	buf->used = used;
}
