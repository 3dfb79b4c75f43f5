/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory map that every boot protocol hands over.
 *
 * References: [1] ACPI Specification 6.5, section 15 (address range types).
 */
#include "boot/image.h"

enum e820_type { E820_RAM = 1, E820_RESERVED = 2 };

static unsigned add(struct boot_e820 *map, unsigned n, gpa_t start, gpa_t end,
		    u32 type)
{
	if (start >= end)
		return n;
	map[n] = (struct boot_e820){start, end - start, type};
	return n + 1;
}

unsigned boot_e820(const struct guest_mem *mem,
		   struct boot_e820 map[BOOT_E820_MAX])
{
	u64 low = mem_low_end(mem);
	unsigned n = 0;

	/*
	 * Conventional memory ends where a PC's BIOS keeps its EBDA; the ROM
	 * area belongs to our ACPI tables.
	 */
	n = add(map, n, 0, min_u64(BOOT_EBDA, low), E820_RAM);
	n = add(map, n, BOOT_EBDA, 0xa0000, E820_RESERVED);
	n = add(map, n, BOOT_ACPI, BOOT_ACPI + BOOT_ACPI_SIZE, E820_RESERVED);
	n = add(map, n, MIB(1), low, E820_RAM);
	n = add(map, n, MEM_HIGH_START, MEM_HIGH_START + mem_high_size(mem),
		E820_RAM);
	return n;
}
