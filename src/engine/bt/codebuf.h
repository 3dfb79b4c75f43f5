/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executable memory that is never writable and executable in one mapping: two
 * views of one sealed memfd. Writers reserve, write through the writable view,
 * and commit; nobody else flips protections.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"

struct codebuf {
	u8 *write; /* the writable view */
	u8 *exec;  /* the same bytes, executable */
	u64 size, used;
};

int codebuf_init(struct codebuf *buf, u64 size, struct err *err);
void codebuf_fini(struct codebuf *buf);

/* Room for `len` bytes in the writable view, 16-byte aligned; NULL: full. */
u8 *codebuf_reserve(struct codebuf *buf, u64 len);
/* Keep the first `len` bytes of what was reserved; their executable address. */
const u8 *codebuf_commit(struct codebuf *buf, u64 len);
/* Forget what is behind the first `used` bytes. */
void codebuf_reset(struct codebuf *buf, u64 used);
