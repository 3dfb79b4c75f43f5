/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The indirect functions of a loaded library, by its dynamic symbol table.
 *
 * References:
 * [1] System V ABI, Dynamic Linking: the dynamic section
 * [2] glibc elf/elf.h: DT_GNU_HASH, STT_GNU_IFUNC
 */
#include "ifunc.h"

#include <link.h>
#include <stdlib.h>
#include <string.h>

struct search {
	const char *library;
	const char **names;
	size_t max, count;
};

/* The table has no length; the last chain of the hash table ends with it. */
static size_t symbol_count(const uint32_t *hash)
{
	uint32_t buckets = hash[0], first = hash[1], words = hash[2];
	const uint32_t *bucket = hash + 4 + words * (sizeof(ElfW(Addr)) / 4);
	const uint32_t *chain = bucket + buckets;
	uint32_t last = 0;

	for (uint32_t i = 0; i < buckets; i++)
		last = bucket[i] > last ? bucket[i] : last;
	if (last < first)
		return first;
	while (!(chain[last - first] & 1))
		last++;
	return last + 1;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const ElfW(Dyn) * dynamic_of(const struct dl_phdr_info *info)
{
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			return (const void *)(info->dlpi_addr +
					      info->dlpi_phdr[i].p_vaddr);
	return NULL;
}

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *s = arg;
	const ElfW(Dyn) *dyn = dynamic_of(info);
	const ElfW(Sym) *symbols = NULL;
	const uint32_t *hash = NULL;
	const char *strings = NULL;
	size_t count;

	if (!dyn || !strstr(info->dlpi_name, s->library))
		return 0;
	for (; dyn->d_tag != DT_NULL; dyn++) {
		if (dyn->d_tag == DT_SYMTAB)
			symbols = (const void *)dyn->d_un.d_ptr;
		else if (dyn->d_tag == DT_STRTAB)
			strings = (const void *)dyn->d_un.d_ptr;
		else if (dyn->d_tag == DT_GNU_HASH)
			hash = (const void *)dyn->d_un.d_ptr;
	}
	if (!symbols || !strings || !hash)
		return 1;
	count = symbol_count(hash);
	for (size_t i = 0; i < count && s->count < s->max; i++)
		if (ELF64_ST_TYPE(symbols[i].st_info) == STT_GNU_IFUNC)
			s->names[s->count++] = strings + symbols[i].st_name;
	return 1;
}

size_t symbols_indirect(const char *library, const char **names, size_t max)
{
	struct search s = {.library = library, .names = names, .max = max};
	size_t kept = 0;

	dl_iterate_phdr(look, &s);
	qsort(names, s.count, sizeof(*names), by_name);
	for (size_t i = 0; i < s.count; i++)
		if (!kept || strcmp(names[kept - 1], names[i]))
			names[kept++] = names[i];
	return kept;
}
