/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks, pages, options, and what happens around main().
 *
 * References:
 * [1] Multiboot Specification 0.6.96, 3.3: boot information
 */
#include "expect.h"

#include "fault.h"
#include "print.h"
#include "segment.h"
#include "x86.h"

enum { MULTIBOOT_MAGIC = 0x2badb002, INFO_CMDLINE = 4, PAGE = 4096 };

/* [1] 3.3, the part that is used. */
struct boot_info {
	u32 flags, mem_lower, mem_upper, boot_device, cmdline;
};

extern u32 multiboot_magic, multiboot_info;

static unsigned checks, failures;
/* Far above the image, and what a loader may have put behind it. */
static ulong next_page = 16 << 20;

bool expect_at(bool fine, const char *text, const char *file, int line)
{
	checks++;
	if (!fine) {
		failures++;
		print("FAIL %s:%d: %s\n", file, line, text);
	}
	return fine;
}

bool expect_eq_at(u64 got, u64 want, const char *text, const char *file,
		  int line)
{
	checks++;
	if (got == want)
		return true;
	failures++;
	print("FAIL %s:%d: %s is %llx, not %llx\n", file, line, text,
	      (unsigned long long)got, (unsigned long long)want);
	return false;
}

void skip(const char *what)
{
	print("skip: %s\n", what);
}

static const char *match(const char *s, const char *name)
{
	while (*name) {
		if (*s++ != *name++)
			return NULL;
	}
	return *s == '=' ? s + 1 : NULL;
}

/* What follows "name=" on the command line; NULL where it is not there. */
static const char *option(const char *name)
{
	const struct boot_info *info = (void *)(ulong)multiboot_info;
	const char *s, *value = NULL;

	if (!(info->flags & INFO_CMDLINE))
		return NULL;
	for (s = (const char *)(ulong)info->cmdline; *s && !value; s++)
		value = match(s, name);
	return value;
}

static bool same_word(const char *s, const char *word)
{
	while (*word && *s == *word) {
		s++;
		word++;
	}
	return !*word && (*s == ',' || *s == ' ' || !*s);
}

bool lax(const char *name)
{
	const char *s = option("lax");

	while (s && *s && *s != ' ') {
		if (same_word(s, name))
			return true;
		while (*s && *s != ' ' && *s++ != ',')
			;
	}
	return false;
}

u64 lax_value(const char *name, u64 got, u64 want, u64 other)
{
	return got == other && lax(name) ? want : got;
}

void irq_wait_lax(void)
{
	if (lax("vmrun-shadow"))
		__asm__ volatile("sti; nop; pause; cli" : : : "memory");
	else
		irq_wait();
}

ulong option_number(const char *name, ulong val)
{
	const char *digits = option(name);

	if (!digits)
		return val;
	for (val = 0; *digits >= '0' && *digits <= '9'; digits++)
		val = val * 10 + (ulong)(*digits - '0');
	return val;
}

void *pages_alloc(unsigned count)
{
	u64 *page;

	page = (u64 *)next_page;
	next_page += count * PAGE;
	for (unsigned i = 0; i < count * PAGE / sizeof(*page); i++)
		page[i] = 0;
	return page;
}

void *page_alloc(void)
{
	return pages_alloc(1);
}

void lib_start(void)
{
	segments_load();
	faults_load();
	expect_eq(multiboot_magic, MULTIBOOT_MAGIC);
	main();
	print("%u checks, %u failures\n", checks, failures);
	guest_exit(failures ? GUEST_FAILED : GUEST_PASSED);
}
