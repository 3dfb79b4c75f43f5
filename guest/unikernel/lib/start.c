/* SPDX-License-Identifier: Apache-2.0 */
/* From entry to main() and from its return to the end; memory to take. */
#include "internal.h"

enum { WORDS_MAX = 256 };

/* What makes a file an image of this interface, see unikernel.ld. */
extern const struct hvt_abi_note unikernel_abi;
const struct hvt_abi_note unikernel_abi
	__attribute__((section(".note.unikernel.abi"), aligned(4), used)) = {
		.note = {sizeof(HVT_NOTE_OWNER),
			 sizeof(unikernel_abi) - sizeof(struct hvt_note),
			 HVT_NOTE_ABI, HVT_NOTE_OWNER},
		.target = HVT_TARGET_HVT,
		.version = HVT_ABI_VERSION,
};

/* What gcc -mstack-protector-guard=global compares with. */
uintptr_t __stack_chk_guard;

static char words_text[HVT_CMDLINE_MAX];
static char *words[WORDS_MAX + 1];
static uintptr_t memory_next;

/* ---- end --------------------------------------------------------------- */

void exit(int status)
{
	struct hvt_halt halt = {.status = (uint32_t)status & 0xff};

	for (;;)
		hvt_call(HVT_CALL_HALT, &halt);
}

void abort(void)
{
	exit(HVT_STATUS_ABORT);
}

void panic(const char *fmt, ...)
{
	char text[256];
	va_list list;

	va_start(list, fmt);
	format_list(text, sizeof(text), fmt, list);
	va_end(list);
	print("panic: %s\n", text);
	abort();
}

/* The stack is not to be trusted, the caller's frame least of all. */
void __stack_chk_fail(void)
{
	static const char text[] = "panic: a function wrote beyond its stack "
				   "frame\n";

	console_write(text, sizeof(text) - 1);
	abort();
}

/* ---- memory ------------------------------------------------------------ */

static uintptr_t memory_first(void)
{
	uintptr_t end = (uintptr_t)unikernel_end;

	/* The host's view has no bss that lies behind all of the file. */
	if (end < boot_info()->image_end)
		end = boot_info()->image_end;
	return memory_next ? memory_next : end;
}

void *memory_take(size_t len, size_t align)
{
	uintptr_t at = memory_first(), end = boot_info()->mem_size;

	if (!align || align & (align - 1) || at + align - 1 > end)
		return NULL;
	at = (at + align - 1) & -align;
	if (len > end - at)
		return NULL;
	memory_next = at + len;
	return (void *)at;
}

size_t memory_left(void)
{
	uintptr_t at = memory_first(), end = boot_info()->mem_size;

	return at < end ? end - at : 0;
}

/* ---- start ------------------------------------------------------------- */

/* Words without quoting: the host has joined its arguments by spaces. */
static int split_cmdline(void)
{
	static char name[] = "unikernel";
	const char *from = (const char *)boot_info()->cmdline;
	char *to = words_text;
	int count = 0;

	words[count++] = name;
	while (from && to < words_text + sizeof(words_text) - 1) {
		while (*from == ' ')
			from++;
		if (!*from)
			break;
		if (count == WORDS_MAX)
			panic("more than %d arguments", WORDS_MAX - 1);
		words[count++] = to;
		while (*from && *from != ' ' &&
		       to < words_text + sizeof(words_text) - 1)
			*to++ = *from++;
		*to++ = 0;
	}
	return count;
}

/* Has no array: not among the functions that compare with the guard. */
void unikernel_start(void)
{
	/* A zero byte below: no text that is too long can carry it. */
	__stack_chk_guard = random_number() << 8;
	if ((uintptr_t)unikernel_end > boot_info()->mem_size)
		panic("the image ends at %p, memory at %#lx: more --mem",
		      (void *)unikernel_end, boot_info()->mem_size);
	exit(main(split_cmdline(), words));
}
