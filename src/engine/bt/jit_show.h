/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translations for people: --bt-dump and --bt-perf-map. Uses libc: callers have
 * saved the guest's FPU state (bt_fpu_save()).
 *
 * The map is what perf looks for, /tmp/perf-PID.map: "address bytes name" a
 * line, in hexadecimal. It has no times: a line is good for as long as the code
 * stands. So it starts over when all translations are dropped, and it stays
 * behind at the end, for perf reads it when it reports.
 */
#pragma once

#include "engine/bt/jit_translate.h"
#include "engine/bt/jit_verify.h"
#include "engine/engine.h"

/* Letters of --bt-dump: the three passes. */
enum jit_dump { JIT_DUMP_DECODE = 1, JIT_DUMP_ANALYSE = 2, JIT_DUMP_EMIT = 4 };

struct jit_show {
	u32 dump; /* OR of enum jit_dump */
	int dump_fd, map_fd;
};

/* NULL in *out where nothing is to be shown; -errno with the reason in err. */
int jit_show_open(struct jit_show **out, const struct engine_options *options,
		  const struct bt_jit *jit, struct err *err);
void jit_show_close(struct jit_show *show);
/* A translation has been committed. */
void jit_show_made(const struct jit *j);
/* What the translator made breaks a rule: tell all of it, and abort. */
_Noreturn void jit_show_rejected(const struct jit *j,
				 const struct jit_verdict *verdict);
/* All are dropped. */
void jit_show_dropped(const struct bt_jit *jit);
