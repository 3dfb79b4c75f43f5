/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X capability, table and pending bits.
 *
 * References: [1] PCI Local Bus Specification 3.0, 6.8.2.
 *
 * Not emulated: that messages need bus mastering; a function without it has no
 * business to raise any.
 */
#include "vmm/msix.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "vmm/vm.h"

enum msix_layout {
	MSIX_CAPABILITY = 0x11,
	MSIX_CAPABILITY_LEN = 12,
	MSIX_CONTROL = 2, /* in the capability, 2 bytes */
	MSIX_PBA = 0x800, /* in the BAR, behind the table */
	MSIX_ENTRY_MASKED = 1,
};

#define MSIX_CONTROL_MASK_ALL (1u << 14)
#define MSIX_CONTROL_ENABLE (1u << 15)

_Static_assert(sizeof(struct msix_entry) == 16, "[1] figure 6-11");
_Static_assert(MSIX_MAX_VECTORS * sizeof(struct msix_entry) <= MSIX_PBA,
	       "the pending bits lie behind the table");

void msix_add(struct msix *msix, struct pci_function *fn, unsigned bar,
	      unsigned count)
{
	u8 body[MSIX_CAPABILITY_LEN - 2];

	assert(count >= 1 && count <= MSIX_MAX_VECTORS);
	pci_put(body, count - 1, 2);
	pci_put(body + 2, bar, 4);
	pci_put(body + 6, MSIX_PBA | bar, 4);
	msix->fn = fn;
	msix->count = count;
	msix->capability = pci_add_capability(fn, MSIX_CAPABILITY, body,
					      MSIX_CAPABILITY_LEN);
	pci_put(fn->writable + msix->capability + MSIX_CONTROL,
		MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK_ALL, 2);
}

void msix_reset(struct msix *msix)
{
	memset(msix->regs, 0, sizeof(*msix->regs));
	for (unsigned i = 0; i < msix->count; i++)
		msix->regs->table[i].control = MSIX_ENTRY_MASKED;
}

int msix_loaded(const struct msix *msix, struct err *err)
{
	const u64 there = msix->count < 64 ? BIT(msix->count) - 1 : UINT64_MAX;
	bool good = !(msix->regs->pending & ~there);

	for (unsigned i = 0; i < MSIX_MAX_VECTORS; i++) {
		const struct msix_entry *entry = &msix->regs->table[i];

		if (i < msix->count)
			good &= !(entry->control & ~MSIX_ENTRY_MASKED) &&
				!(entry->addr & 3);
		else
			good &= !entry->addr && !entry->data && !entry->control;
	}
	return good ? 0
		    : err_set(err, -EINVAL,
			      "%s: saved MSI-X table is not valid",
			      msix->fn->dev.id);
}

/* ---- sending ------------------------------------------------------------- */

static u64 msix_control(const struct msix *msix)
{
	return pci_get(msix->fn->space + msix->capability + MSIX_CONTROL, 2);
}

bool msix_is_on(const struct msix *msix)
{
	return msix_control(msix) & MSIX_CONTROL_ENABLE;
}

static bool is_masked(const struct msix *msix, unsigned vector)
{
	return (msix_control(msix) & MSIX_CONTROL_MASK_ALL) ||
	       (msix->regs->table[vector].control & MSIX_ENTRY_MASKED);
}

void msix_raise(struct msix *msix, unsigned vector)
{
	const struct msix_entry *entry;

	if (vector >= msix->count || !msix_is_on(msix))
		return;
	entry = &msix->regs->table[vector];
	if (is_masked(msix, vector)) {
		msix->regs->pending |= BIT(vector);
		return;
	}
	msix->regs->pending &= ~BIT(vector);
	irq_msi(&msix->fn->dev.vm->irq, entry->addr, entry->data);
}

/* Masks have changed: what waited for them goes. */
static void send_pending(struct msix *msix)
{
	for (unsigned i = 0; msix->regs->pending >> i && i < msix->count; i++)
		if (msix->regs->pending & BIT(i))
			msix_raise(msix, i);
}

void msix_config_written(struct msix *msix, u64 off, unsigned width)
{
	if (pci_touches(off, width, msix->capability + MSIX_CONTROL, 2))
		send_pending(msix);
}

/* ---- the BAR ------------------------------------------------------------- */

u64 msix_bar_read(const struct msix *msix, u64 off, unsigned width)
{
	const u64 table = msix->count * sizeof(struct msix_entry);

	if (off + width <= table)
		return pci_get((const u8 *)msix->regs->table + off, width);
	if (off >= MSIX_PBA && off + width <= MSIX_PBA + 8)
		return pci_get((const u8 *)&msix->regs->pending +
				       (off - MSIX_PBA),
			       width);
	return 0;
}

/* Pending bits are the device's alone ([1] 6.8.2.10). */
void msix_bar_write(struct msix *msix, u64 off, unsigned width, u64 val)
{
	struct msix_entry *entry;

	/* [1] 6.8.2: aligned, so that it is all in one entry. */
	if (off % width || off + width > msix->count * sizeof(*entry))
		return;
	pci_put((u8 *)msix->regs->table + off, val, width);
	entry = &msix->regs->table[off / sizeof(*entry)];
	entry->addr &= ~3ull; /* [1] 6.8.2.7 */
	entry->control &= MSIX_ENTRY_MASKED;
	send_pending(msix);
}
