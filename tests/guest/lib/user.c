/* SPDX-License-Identifier: Apache-2.0 */
/* Code in ring 3. */
#include "user.h"

enum { PAGE = 4096 };

ulong user_flags = 2;

static u8 *text_page, *stack_page;

static bool is_paged(void)
{
	return cr0_read() & CR0_PG;
}

/* 64-bit builds are paged from the start; their 32-bit kin run unpaged. */
static void set_up(void)
{
	struct paging paging;

	if (text_page)
		return;
	text_page = page_alloc();
	stack_page = page_alloc();
	if (sizeof(ulong) == 4)
		return;
	paging_boot(&paging);
	user_map(&paging);
}

void user_map(struct paging *paging)
{
	set_up();
	paging_map(paging, USER_BASE, 1, (ulong)text_page | PTE_P | PTE_U);
	paging_map(paging, USER_BASE + PAGE, 1,
		   (ulong)stack_page | PTE_P | PTE_W | PTE_U);
}

ulong user_text(void)
{
	set_up();
	return is_paged() ? USER_BASE : (ulong)text_page;
}

ulong user_stack(void)
{
	set_up();
	return is_paged() ? USER_BASE + 2 * PAGE : (ulong)stack_page + PAGE;
}

static void copy_text(const u8 *start, const u8 *end)
{
	size_t len = (size_t)(end - start);

	set_up();
	/* With the int3 that BLOB() puts behind the code. */
	for (size_t i = 0; i <= len && i < PAGE; i++)
		((volatile u8 *)text_page)[i] = start[i];
}

void user_run_in(const u8 *start, const u8 *end, ulong arg, u16 cs, u16 ss)
{
	copy_text(start, end);
	try_begin();
	user_enter(user_text(), user_stack(), arg, cs | (ulong)ss << 16);
	user_flags = 2;
}

void user_run_at(const u8 *start, const u8 *end, u16 cs, ulong ip)
{
	copy_text(start, end);
	try_begin();
	user_enter(ip, user_stack(), 0, cs | (ulong)USER_DATA << 16);
	user_flags = 2;
}

void user_run(const u8 *start, const u8 *end, ulong arg)
{
	u16 cs = FOR_WIDTH(USER_CODE32, USER_CODE64);

	user_run_in(start, end, arg, cs, USER_DATA);
}

void user_run32(const u8 *start, const u8 *end, ulong arg)
{
	user_run_in(start, end, arg, USER_CODE32, USER_DATA);
}
