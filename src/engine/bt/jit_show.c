/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What translations look like, and perf's map of them; see jit_show.h.
 *
 * References: [1] Linux, tools/perf/Documentation/jit-interface.txt.
 */
#include "engine/bt/jit_show.h"

#include "engine/bt/disasm.h"
#include "util/fd.h"
#include "util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- perf's map -------------------------------------------------------- */

static const char *const mode_name[MMU_COUNT] = {"user", "kernel", "kernel_ac"};

static void map_line(int fd, const u8 *at, u64 size, const char *name)
{
	char line[160];
	int len = snprintf(line, sizeof(line), "%" PRIx64 " %" PRIx64 " %s\n",
			   (u64)at, size, name);

	fd_write_all(fd, line, (size_t)len);
}

static void map_thunks(int fd, const struct bt_jit *jit)
{
	map_line(fd, jit->code.exec, jit->thunks_end, "bt:thunks");
}

static void map_translation(int fd, const struct jit *j)
{
	const struct bt_trans *t = j->t;
	u64 rip = j->c->gpr[17];
	char name[96];

	snprintf(name, sizeof(name),
		 "%s:0x%" PRIx64 "+0x%x[%u_bytes,%u_insns]%s",
		 mode_name[t->mode], rip & ~(u64)0xfff, t->page_off,
		 j->b->bytes, j->b->count,
		 t->level == LEVEL_PLAIN ? "plain" : "");
	map_line(fd, j->jit->code.exec + t->code, t->size, name);
}

/* Others can write to /tmp: no link is followed, no other's file taken. */
static int map_open(struct err *err)
{
	char path[64];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, -errno, "--bt-perf-map: %s: %s", path,
			       strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_nlink != 1 || ftruncate(fd, 0)) {
		close(fd);
		return err_set(err, -EPERM,
			       "--bt-perf-map: %s is not ours to write", path);
	}
	return fd;
}

/* ---- dumps ------------------------------------------------------------- */

static void put_bytes(struct text *t, const u8 *bytes, unsigned len)
{
	for (unsigned k = 0; k < len; k++)
		text_put(t, "%02x", bytes[k]);
	text_put(t, "%*s ", len < 12 ? 2 * (int)(12 - len) : 0, "");
}

/* One instruction of 64-bit code; its length, 0: it is none. */
static unsigned put_insn(struct text *t, const u8 *bytes, unsigned avail,
			 u64 ip, u64 features)
{
	struct bt_insn insn;
	struct bt_parts parts;
	char line[96];

	if (bt_decode(bytes, avail, W64, features, &insn, &parts) ==
	    BT_DECODE_MORE)
		return 0;
	bt_disasm(&insn, &parts, ip, line, sizeof(line));
	put_bytes(t, bytes, insn.len);
	text_put(t, "%s", line);
	return insn.len;
}

static void put_flags(struct text *t, u16 flags)
{
	static const struct {
		u16 bit;
		char name;
	} names[] = {{FLAG_OF, 'o'}, {FLAG_SF, 's'}, {FLAG_ZF, 'z'},
		     {FLAG_AF, 'a'}, {FLAG_PF, 'p'}, {FLAG_CF, 'c'}};

	for (unsigned k = 0; k < ARRAY_SIZE(names); k++)
		text_put(t, "%c", flags & names[k].bit ? names[k].name : '-');
}

/* d: the guest's instructions. */
static void dump_decode(struct text *t, const struct jit *j)
{
	for (unsigned n = 0; n < j->b->count; n++) {
		unsigned at = j->t->at[n].guest;

		text_put(t, "d %3u %#" PRIx64 " ", n, j->c->gpr[17] + at);
		put_insn(t, j->bytes + at, j->b->bytes - at, j->c->gpr[17] + at,
			 j->c->policy->features);
		text_put(t, "\n");
	}
}

/* a: flags that are live before each, and whose stack access the window
 * covers. */
static void dump_analyse(struct text *t, const struct jit *j)
{
	text_put(t, "a window [rsp%+d, %+d)\n", j->t->win_lo,
		 j->t->win_lo + j->t->win_size);
	for (unsigned n = 0; n < j->b->count; n++) {
		text_put(t, "a %3u live ", n);
		put_flags(t, j->note[n].live);
		text_put(t, "%s\n", j->note[n].window ? " window" : "");
	}
}

static const char *thunk_name(const struct bt_jit *jit, const u8 *at)
{
	const struct {
		const u8 *at;
		const char *name;
	} thunks[] = {
		{jit->exec, "exec"},	 {jit->exec_f, "exec_f"},
		{jit->link_f, "link_f"}, {jit->window, "window"},
		{jit->fpu, "fpu"},	 {jit->poll_f, "poll_f"},
		{jit->lost_f, "lost_f"}, {jit->miss, "miss"},
	};

	for (unsigned k = 0; k < ARRAY_SIZE(thunks); k++)
		if (thunks[k].at == at)
			return thunks[k].name;
	return NULL;
}

/* Behind a call of a thunk stands a word of data. */
static unsigned put_thunk(struct text *t, const struct jit *j, const u8 *bytes,
			  const u8 *exec)
{
	s32 delta;
	u32 word;
	const char *name;

	if (bytes[0] != 0xe8 && bytes[0] != 0xe9)
		return 0;
	memcpy(&delta, bytes + 1, 4);
	name = thunk_name(j->jit, exec + 5 + delta);
	if (!name)
		return 0;
	text_put(t, "  ; %s", name);
	if (bytes[0] == 0xe9)
		return 0;
	memcpy(&word, bytes + 5, 4);
	text_put(t, " %u", word >> 24);
	return 4;
}

static void put_entry(struct text *t, const struct bt_trans *tr, unsigned off)
{
	const struct {
		u16 at;
		const char *name;
	} entries[] = {{tr->ind, "ind"},
		       {tr->poll, "poll"},
		       {tr->body, "body"},
		       {tr->lost, "lost"}};

	for (unsigned k = 0; k < ARRAY_SIZE(entries); k++)
		if (entries[k].at == off)
			text_put(t, "e     %s:\n", entries[k].name);
	for (unsigned n = 0; n < tr->block->count; n++)
		if (tr->at[n].host == off)
			text_put(t, "e   insn %u:\n", n);
}

/* e: host code by offset into the code memory. */
static void dump_emit(struct text *t, const struct jit *j)
{
	const struct bt_jit *jit = j->jit;
	unsigned off = 8;

	while (off < j->t->size) {
		const u8 *bytes = jit->code.write + j->t->code + off;
		const u8 *exec = jit->code.exec + j->t->code + off;
		unsigned len;

		put_entry(t, j->t, off);
		text_put(t, "e %08x ", j->t->code + off);
		len = put_insn(t, bytes, j->t->size - off, j->t->code + off,
			       ~0ull);
		if (len)
			len += put_thunk(t, j, bytes, exec);
		text_put(t, "\n");
		off += len ? len : 1;
	}
}

#define DUMP_BYTES (256 * 1024)

static void dump(const struct jit_show *show, const struct jit *j)
{
	struct text t = {malloc(DUMP_BYTES), DUMP_BYTES, 0};

	if (!t.buf)
		return;
	text_put(&t,
		 "block %s rip %#" PRIx64 " pa %#" PRIx64
		 ": %u instructions, %u "
		 "bytes, %u of code at %#x%s\n",
		 mode_name[j->t->mode], j->c->gpr[17], j->b->pa, j->b->count,
		 j->b->bytes, j->t->size, j->t->code,
		 j->t->level == LEVEL_PLAIN ? ", no window" : "");
	if (show->dump & JIT_DUMP_DECODE)
		dump_decode(&t, j);
	if (show->dump & JIT_DUMP_ANALYSE)
		dump_analyse(&t, j);
	if (show->dump & JIT_DUMP_EMIT)
		dump_emit(&t, j);
	fd_write_all(show->dump_fd, t.buf, t.used < t.len ? t.used : t.len - 1);
	free(t.buf);
}

/* LETTERS or LETTERS,FILE. */
static int dump_open(struct jit_show *show, const char *what, struct err *err)
{
	const char *comma = strchr(what, ',');

	for (const char *p = what; *p && p != comma; p++)
		show->dump |= *p == 'd'	  ? JIT_DUMP_DECODE
			      : *p == 'a' ? JIT_DUMP_ANALYSE
					  : JIT_DUMP_EMIT;
	show->dump_fd =
		comma ? open(comma + 1,
			     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)
		      : dup(STDERR_FILENO);
	if (show->dump_fd < 0)
		return err_set(err, -errno, "--bt-dump: %s: %s",
			       comma ? comma + 1 : "standard error",
			       strerror(errno));
	return 0;
}

/* ---- the whole --------------------------------------------------------- */

int jit_show_open(struct jit_show **out, const struct engine_options *options,
		  const struct bt_jit *jit, struct err *err)
{
	struct jit_show *show;
	int ret = 0;

	*out = NULL;
	if (!options || (!options->bt_dump && !options->bt_perf_map))
		return 0;
	show = calloc(1, sizeof(*show));
	if (!show)
		return err_set(err, -ENOMEM, "out of memory");
	show->dump_fd = show->map_fd = -1;
	*out = show;
	if (options->bt_dump)
		ret = dump_open(show, options->bt_dump, err);
	if (!ret && options->bt_perf_map) {
		show->map_fd = map_open(err);
		if (show->map_fd < 0)
			return show->map_fd;
		map_thunks(show->map_fd, jit);
	}
	return ret;
}

void jit_show_close(struct jit_show *show)
{
	if (!show)
		return;
	if (show->dump_fd >= 0)
		close(show->dump_fd);
	if (show->map_fd >= 0)
		close(show->map_fd);
	free(show);
}

void jit_show_made(const struct jit *j)
{
	const struct jit_show *show = j->jit->show;

	if (show->dump)
		dump(show, j);
	if (show->map_fd >= 0)
		map_translation(show->map_fd, j);
}

void jit_show_rejected(const struct jit *j, const struct jit_verdict *verdict)
{
	const struct jit_show show = {
		.dump = JIT_DUMP_DECODE | JIT_DUMP_ANALYSE | JIT_DUMP_EMIT,
		.dump_fd = STDERR_FILENO,
		.map_fd = -1,
	};

	dump(&show, j);
	fprintf(stderr,
		"vireo: internal error: emitted code at %08x: %s (see above)\n",
		j->t->code + verdict->off, verdict->why);
	abort();
}

void jit_show_dropped(const struct bt_jit *jit)
{
	const struct jit_show *show = jit->show;

	if (show->map_fd < 0)
		return;
	if (ftruncate(show->map_fd, 0) == 0 &&
	    lseek(show->map_fd, 0, SEEK_SET) == 0)
		map_thunks(show->map_fd, jit);
}
