/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each field of a Solo5 hvt image, changed: every bit of it flipped by itself,
 * and some values beside. The table covers the file byte by byte and says for
 * each field which values are refused; what is refused leaves a sentence and
 * no trace in memory, what is of no meaning changes nothing.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "arch/x86.h"
#include "hvt_images.h"

#define RAM MIB(4)

enum verdict {
	SAME,	 /* taken, and the machine is the same */
	TAKEN,	 /* taken, and what it changes is the image's business */
	REFUSED, /* with a sentence */
	EITHER,	 /* what it points to decides */
};

struct field {
	const char *name;
	u64 at, width;
	enum verdict others; /* all values but the good one, or: */
	enum verdict (*judge)(u64 val);
};

/* ---- what depends on the value ----------------------------------------- */

static enum verdict taken_if(bool fine)
{
	return fine ? TAKEN : REFUSED;
}

static bool in_file(u64 off, u64 len)
{
	return off <= sizeof(struct hvt_test_image) &&
	       len <= sizeof(struct hvt_test_image) - off;
}

static u64 up(u64 val)
{
	return (val + 0xfff) & ~0xfffull;
}

static enum verdict judge_phnum(u64 val)
{
	/* The manifest's is the fifth; more of them are whatever is there. */
	return val < 5 || !in_file(64, val * sizeof(Elf64_Phdr)) ? REFUSED
								 : EITHER;
}

static enum verdict judge_entry(u64 val)
{
	return taken_if(val >= 0x100000 && val < 0x101000);
}

static enum verdict judge_code_flags(u64 val)
{
	return taken_if((val & (PF_X | PF_W)) == PF_X);
}

static enum verdict judge_offset(u64 val)
{
	return taken_if(in_file(val, 64));
}

/* The entry point must stay inside, the data begin at 0x102000. */
static enum verdict judge_code_address(u64 val)
{
	return taken_if(val >= 0x100000 && val < 0x101000);
}

static enum verdict judge_code_file_size(u64 val)
{
	return taken_if(val && val <= 64);
}

static enum verdict judge_code_size(u64 val)
{
	return taken_if(val >= 64 && val <= 0x2000);
}

static enum verdict judge_align(u64 val)
{
	return val == 0x2000 ? TAKEN : REFUSED;
}

static enum verdict judge_data_flags(u64 val)
{
	return taken_if((val & (PF_X | PF_W)) != (PF_X | PF_W));
}

static enum verdict judge_data_address(u64 val)
{
	return taken_if(val >= 0x101000 && val < RAM &&
			up(val + 0x1800) <= RAM);
}

static enum verdict judge_data_file_size(u64 val)
{
	return taken_if(val <= 0x1800 &&
			in_file(offsetof(struct hvt_test_image, data), val));
}

static enum verdict judge_data_size(u64 val)
{
	return taken_if(val >= 64 && val < RAM && up(0x102000 + val) <= RAM);
}

static enum verdict judge_abi_size(u64 val)
{
	return val >= sizeof(struct hvt_abi_note) ? SAME : REFUSED;
}

static enum verdict judge_manifest_size(u64 val)
{
	return val >= sizeof(((struct hvt_test_image *)NULL)->manifest)
		       ? SAME
		       : REFUSED;
}

static enum verdict judge_type(u64 val)
{
	return taken_if(val == HVT_ENTRY_BLOCK || val == HVT_ENTRY_NET);
}

static enum verdict judge_name(u64 val)
{
	return taken_if(val);
}

/* ---- all fields, in the file's order ----------------------------------- */

#define AT(field)                               \
	offsetof(struct hvt_test_image, field), \
		sizeof(((struct hvt_test_image *)NULL)->field)
#define HEADER(i, field) #i "." #field, AT(headers[i].field)
#define ENTRY(i, field) "entry " #i "." #field, AT(manifest.entries[i].field)
/* Bytes from one of an entry's name on. */
#define NAME(i, from, count)                                                \
	"entry " #i " name",                                                \
		offsetof(struct hvt_test_image, manifest.entries[i].name) + \
			(from),                                             \
		(count)
/* Headers of which only place and size in the file count. */
#define NOTE_HEADER(i, kind, judge)                                        \
	{HEADER(i, p_type), kind, NULL}, {HEADER(i, p_flags), SAME, NULL}, \
		{HEADER(i, p_offset), kind, NULL},                         \
		{HEADER(i, p_vaddr), SAME, NULL},                          \
		{HEADER(i, p_paddr), SAME, NULL},                          \
		{HEADER(i, p_filesz), SAME, judge},                        \
		{HEADER(i, p_memsz), SAME, NULL},                          \
	{                                                                  \
		HEADER(i, p_align), SAME, NULL                             \
	}
/* What the board fills in. */
#define ENTRY_REST(i)                                                  \
	{ENTRY(i, block), TAKEN, NULL}, {ENTRY(i, host), TAKEN, NULL}, \
		{ENTRY(i, attached), REFUSED, NULL},                   \
	{                                                              \
		ENTRY(i, pad), TAKEN, NULL                             \
	}

static const struct field fields[] = {
	{"magic", 0, SELFMAG, REFUSED, NULL},
	{"class", EI_CLASS, 1, REFUSED, NULL},
	{"byte order", EI_DATA, 1, REFUSED, NULL},
	{"rest of e_ident", EI_VERSION, EI_NIDENT - EI_VERSION, SAME, NULL},
	{"e_type", AT(elf.e_type), REFUSED, NULL},
	{"e_machine", AT(elf.e_machine), REFUSED, NULL},
	{"e_version", AT(elf.e_version), REFUSED, NULL},
	{"e_entry", AT(elf.e_entry), TAKEN, judge_entry},
	{"e_phoff", AT(elf.e_phoff), REFUSED, NULL},
	{"e_shoff", AT(elf.e_shoff), SAME, NULL},
	{"e_flags", AT(elf.e_flags), SAME, NULL},
	{"e_ehsize", AT(elf.e_ehsize), REFUSED, NULL},
	{"e_phentsize", AT(elf.e_phentsize), REFUSED, NULL},
	{"e_phnum", AT(elf.e_phnum), REFUSED, judge_phnum},
	{"e_shentsize", AT(elf.e_shentsize), SAME, NULL},
	{"e_shnum", AT(elf.e_shnum), SAME, NULL},
	{"e_shstrndx", AT(elf.e_shstrndx), SAME, NULL},

	{HEADER(0, p_type), REFUSED, NULL},
	{HEADER(0, p_flags), REFUSED, judge_code_flags},
	{HEADER(0, p_offset), REFUSED, judge_offset},
	{HEADER(0, p_vaddr), REFUSED, judge_code_address},
	{HEADER(0, p_paddr), SAME, NULL},
	{HEADER(0, p_filesz), REFUSED, judge_code_file_size},
	{HEADER(0, p_memsz), REFUSED, judge_code_size},
	{HEADER(0, p_align), REFUSED, judge_align},
	{HEADER(1, p_type), TAKEN, NULL},
	{HEADER(1, p_flags), REFUSED, judge_data_flags},
	{HEADER(1, p_offset), REFUSED, judge_offset},
	{HEADER(1, p_vaddr), REFUSED, judge_data_address},
	{HEADER(1, p_paddr), SAME, NULL},
	{HEADER(1, p_filesz), REFUSED, judge_data_file_size},
	{HEADER(1, p_memsz), REFUSED, judge_data_size},
	{HEADER(1, p_align), REFUSED, judge_align},
	NOTE_HEADER(2, SAME, NULL),
	NOTE_HEADER(3, REFUSED, judge_abi_size),
	NOTE_HEADER(4, REFUSED, judge_manifest_size),
	{"decoy", AT(decoy), SAME, NULL},
	{"decoy's data", AT(decoy_data), SAME, NULL},

	{"abi owner size", AT(abi.note.owner_size), REFUSED, NULL},
	{"abi size", AT(abi.note.desc_size), REFUSED, NULL},
	{"abi type", AT(abi.note.type), REFUSED, NULL},
	{"abi owner", offsetof(struct hvt_test_image, abi.note.owner), 6,
	 REFUSED, NULL},
	{"abi owner's end", offsetof(struct hvt_test_image, abi.note.owner) + 6,
	 2, SAME, NULL},
	{"abi target", AT(abi.target), REFUSED, NULL},
	{"abi version", AT(abi.version), REFUSED, NULL},
	{"abi reserved", AT(abi.reserved), SAME, NULL},
	{"padding", AT(pad), SAME, NULL},

	{"owner size", AT(manifest.note.owner_size), REFUSED, NULL},
	{"size", AT(manifest.note.desc_size), REFUSED, NULL},
	{"type", AT(manifest.note.type), REFUSED, NULL},
	{"owner", offsetof(struct hvt_test_image, manifest.note.owner), 6,
	 REFUSED, NULL},
	{"owner's end",
	 offsetof(struct hvt_test_image, manifest.note.owner) + 6, 2, SAME,
	 NULL},
	{"manifest padding", AT(manifest.pad), SAME, NULL},
	{"manifest version", AT(manifest.version), REFUSED, NULL},
	{"manifest count", AT(manifest.count), REFUSED, NULL},
	{NAME(0, 0, 1), REFUSED, NULL},
	{NAME(0, 1, 66), TAKEN, NULL},
	{NAME(0, 67, 1), REFUSED, NULL},
	{ENTRY(0, type), REFUSED, NULL},
	ENTRY_REST(0),
	{NAME(1, 0, 1), REFUSED, judge_name},
	{NAME(1, 1, 66), TAKEN, NULL},
	{NAME(1, 67, 1), REFUSED, NULL},
	{ENTRY(1, type), REFUSED, judge_type},
	ENTRY_REST(1),
	{NAME(2, 0, 1), REFUSED, judge_name},
	{NAME(2, 1, 66), TAKEN, NULL},
	{NAME(2, 67, 1), REFUSED, NULL},
	{ENTRY(2, type), REFUSED, judge_type},
	ENTRY_REST(2),
	{"code", AT(code), TAKEN, NULL},
	{"data", AT(data), TAKEN, NULL},
};

/* ---- one change -------------------------------------------------------- */

/* Where loading may leave anything: tables, boot information, segments. */
static const struct {
	gpa_t gpa;
	u64 len;
} places[] = {{0x1000, 0x8000}, {0x10000, 0x3000}, {0x100000, 0x8000}};

static u8 good[sizeof(places) / sizeof(places[0])][0x8000];

struct bench {
	struct guest_mem mem;
	struct x86_state state;
	struct err err;
};

static int load(struct bench *b, const struct hvt_test_image *image)
{
	const struct boot_file file = {(const u8 *)image, sizeof(*image),
				       "test.hvt"};
	struct hvt_image parsed;
	const struct hvt_start start = {
		.image = &parsed,
		.file = &file,
		.cmdline = "one two",
		.tsc_hz = 123456789,
		.mem_size = RAM,
	};
	int ret;

	b->err = (struct err){0};
	ret = hvt_parse(&parsed, &file, &b->err);
	return ret ? ret : hvt_load(&b->mem, &start, &b->state, &b->err);
}

/* Every value is one change; memory is as new before and after. */
static bool is_zero(struct bench *b)
{
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		const u8 *p = mem_ptr(&b->mem, places[i].gpa, places[i].len);

		if (p[0] || memcmp(p, p + 1, places[i].len - 1) != 0)
			return false;
	}
	return true;
}

static bool is_good(struct bench *b)
{
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		if (memcmp(mem_ptr(&b->mem, places[i].gpa, places[i].len),
			   good[i], places[i].len) != 0)
			return false;
	return b->state.rip == 0x100010;
}

static void check(struct bench *b, const struct hvt_test_image *image,
		  const struct field *field, u64 val, enum verdict want)
{
	int ret = load(b, image);

	if (want == EITHER)
		want = ret ? REFUSED : TAKEN;
	if (!ret != (want != REFUSED))
		fail_msg("%s = %#lx: %s", field->name, val,
			 ret ? b->err.msg : "taken");
	if (ret && (b->err.code != ret || !b->err.msg[0] ||
		    (ret != -EINVAL && ret != -ENOTSUP && ret != -E2BIG)))
		fail_msg("%s = %#lx: %d, '%s'", field->name, val, ret,
			 b->err.msg);
	if (ret && !is_zero(b))
		fail_msg("%s = %#lx: refused, but begun", field->name, val);
	if (want == SAME && !is_good(b))
		fail_msg("%s = %#lx: of no meaning, but another machine",
			 field->name, val);
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		mem_zero(&b->mem, places[i].gpa, places[i].len);
}

static unsigned set(struct bench *b, const struct field *field, u64 at,
		    u64 width, u64 val)
{
	struct hvt_test_image image;
	u64 before = 0;

	hvt_test_image(&image);
	memcpy(&before, (u8 *)&image + at, width);
	if (!memcmp(&before, &val, width))
		return 0;
	memcpy((u8 *)&image + at, &val, width);
	check(b, &image, field, val,
	      field->judge ? field->judge(val) : field->others);
	return 1;
}

/* A field of up to 8 bytes as a number, a longer one by bytes. */
static unsigned change(struct bench *b, const struct field *field)
{
	const u64 step = field->width <= 8 && field->judge ? field->width : 1;
	unsigned count = 0;

	for (u64 at = field->at; at < field->at + field->width; at += step) {
		const u64 ones = step == 8 ? ~0ull : BIT(step * 8) - 1;
		struct hvt_test_image image;
		u64 now = 0;

		hvt_test_image(&image);
		memcpy(&now, (u8 *)&image + at, step);
		for (unsigned bit = 0; bit < step * 8; bit++)
			count += set(b, field, at, step, now ^ BIT(bit));
		count += set(b, field, at, step, 0);
		count += set(b, field, at, step, ones);
		count += set(b, field, at, step, ones >> 1);
		count += set(b, field, at, step, (now + 1) & ones);
		count += set(b, field, at, step, (now - 1) & ones);
		count += set(b, field, at, step, (0 - now) & ones);
	}
	return count;
}

/* ---- tests ------------------------------------------------------------- */

static void test_table(void **unused)
{
	u64 at = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
		if (fields[i].at != at)
			fail_msg("%s begins at %lu, what is before it ends at "
				 "%lu",
				 fields[i].name, fields[i].at, at);
		at += fields[i].width;
	}
	assert_int_equal(at, sizeof(struct hvt_test_image));
}

static void test_fields(void **unused)
{
	struct hvt_test_image image;
	struct bench b = {0};
	unsigned count = 0;

	assert_int_equal(mem_init_flat(&b.mem, RAM, NULL), 0);
	hvt_test_image(&image);
	assert_int_equal(load(&b, &image), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		memcpy(good[i], mem_ptr(&b.mem, places[i].gpa, places[i].len),
		       places[i].len);
		mem_zero(&b.mem, places[i].gpa, places[i].len);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		count += change(&b, &fields[i]);
	print_message("%u changes\n", count);
	mem_fini(&b.mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
