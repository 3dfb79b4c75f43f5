/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM as KVM memory slots, and which of its pages were written.
 *
 * References: kvm.h [1] 4.35 (KVM_SET_USER_MEMORY_REGION), 4.8
 * (KVM_GET_DIRTY_LOG).
 *
 * A region that the guest may not write is a read-only slot: a write to it
 * arrives as an MMIO exit and goes to the bus; one it may not read has none.
 * Read-only regions next to each other share a slot.
 * Whether the guest may execute a page is for its own page tables to say.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int set_slot(struct kvm_machine *m, unsigned index)
{
	const struct kvm_slot *slot = &m->slots[index];
	struct kvm_userspace_memory_region region = {
		.slot = index,
		.flags = slot->flags,
		.guest_phys_addr = slot->gpa,
		.memory_size = slot->len,
		.userspace_addr = (u64)slot->hva,
	};

	return kvm_ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static int refused(gpa_t gpa, int error, struct err *err)
{
	return err_set(err, error, "KVM refuses guest memory at %#llx: %s",
		       (unsigned long long)gpa, strerror(-error));
}

static void drop_slot(struct kvm_machine *m, unsigned index)
{
	m->slots[index].len = 0;
	m->slots[index].flags = 0;
	set_slot(m, index);
}

static int add_slot(struct kvm_machine *m, const struct kvm_slot *slot)
{
	unsigned index = 0;
	int ret;

	while (index < KVM_MAX_SLOTS && m->slots[index].len)
		index++;
	if (index == KVM_MAX_SLOTS)
		return -ENOSPC;
	m->slots[index] = *slot;
	ret = set_slot(m, index);
	if (ret)
		m->slots[index].len = 0;
	return ret;
}

/* What a region is to be for KVM; len 0: nothing. */
static struct kvm_slot slot_of(const struct kvm_machine *m,
			       const struct mem_region *r)
{
	struct kvm_slot slot = {r->gpa, r->len, r->hva, 0};

	if (!(r->rights & MEM_R))
		slot.len = 0;
	if (!(r->rights & MEM_W) && m->caps.readonly_mem)
		slot.flags |= KVM_MEM_READONLY;
	if (m->dirty_log)
		slot.flags |= KVM_MEM_LOG_DIRTY_PAGES;
	return slot;
}

static bool same_slot(const struct kvm_slot *a, const struct kvm_slot *b)
{
	return a->gpa == b->gpa && a->len == b->len && a->hva == b->hva &&
	       a->flags == b->flags;
}

struct slots {
	unsigned count;
	struct kvm_slot slot[KVM_MAX_SLOTS];
};

static int want(struct slots *slots, const struct kvm_slot *slot)
{
	struct kvm_slot *last = slots->slot + slots->count - 1;

	/* Nothing is written in either, so no dirty page is told of the one
	 * where the other is asked for. */
	if (slots->count && slot->flags & KVM_MEM_READONLY &&
	    last->flags == slot->flags && last->gpa + last->len == slot->gpa &&
	    last->hva + last->len == slot->hva) {
		last->len += slot->len;
		return 0;
	}
	if (slots->count == KVM_MAX_SLOTS)
		return -ENOSPC;
	slots->slot[slots->count++] = *slot;
	return 0;
}

/* In the order of their addresses, as regions are. */
static int wanted(const struct kvm_machine *m, struct slots *slots)
{
	const struct guest_mem *mem = &m->vm->mem;
	int ret = 0;

	slots->count = 0;
	for (unsigned i = 0; !ret && i < mem->count; i++) {
		const struct kvm_slot slot = slot_of(m, &mem->regions[i]);

		if (slot.len)
			ret = want(slots, &slot);
	}
	return ret;
}

static bool is_among(const struct kvm_slot *slots, unsigned count,
		     const struct kvm_slot *slot)
{
	for (unsigned i = 0; i < count; i++)
		if (slots[i].len && same_slot(&slots[i], slot))
			return true;
	return false;
}

/*
 * Only what differs, and in few slots: each that comes or goes costs a grace
 * period of the host's kernel, a millisecond and more where it is busy.
 */
static int commit(struct mem_listener *l, struct err *err)
{
	struct kvm_machine *m = container_of(l, struct kvm_machine, listener);
	struct slots slots;
	int ret = wanted(m, &slots);

	for (unsigned i = 0; !ret && i < KVM_MAX_SLOTS; i++)
		if (m->slots[i].len &&
		    !is_among(slots.slot, slots.count, &m->slots[i]))
			drop_slot(m, i);
	for (unsigned i = 0; !ret && i < slots.count; i++) {
		const struct kvm_slot *slot = &slots.slot[i];

		if (is_among(m->slots, KVM_MAX_SLOTS, slot))
			continue;
		ret = add_slot(m, slot);
		if (ret)
			return refused(slot->gpa, ret, err);
	}
	return ret ? err_set(err, ret, "KVM: too many regions of memory") : 0;
}

void kvm_mem_init(struct kvm_machine *m)
{
	m->listener.commit = commit;
	mem_listen(&m->vm->mem, &m->listener);
}

void kvm_mem_fini(struct kvm_machine *m)
{
	/* With the VM's descriptor all slots go at once. */
	mem_unlisten(&m->vm->mem, &m->listener);
}

int kvm_dirty_log(struct vm *vm, bool on)
{
	struct kvm_machine *m = kvm_machine(vm);
	int ret = 0;

	m->dirty_log = on;
	for (unsigned i = 0; !ret && i < KVM_MAX_SLOTS; i++) {
		if (!m->slots[i].len)
			continue;
		m->slots[i].flags &= ~(u32)KVM_MEM_LOG_DIRTY_PAGES;
		if (on)
			m->slots[i].flags |= KVM_MEM_LOG_DIRTY_PAGES;
		ret = set_slot(m, i);
	}
	return ret;
}

/* A region begins there; one that is read-only may be in a slot with others. */
static bool has_region(const struct kvm_slot *slot, gpa_t gpa)
{
	if (slot->flags & KVM_MEM_READONLY)
		return gpa >= slot->gpa && gpa - slot->gpa < slot->len;
	return slot->len && gpa == slot->gpa;
}

int kvm_dirty_get(struct vm *vm, gpa_t gpa, u64 *bits)
{
	struct kvm_machine *m = kvm_machine(vm);
	struct kvm_dirty_log log = {0};
	u64 words, *found;
	int ret;

	if (!m->dirty_log)
		return -EINVAL;
	while (log.slot < KVM_MAX_SLOTS &&
	       !has_region(&m->slots[log.slot], gpa))
		log.slot++;
	if (log.slot == KVM_MAX_SLOTS)
		return -ENOENT;
	if (m->slots[log.slot].flags & KVM_MEM_READONLY)
		return 0;
	words = (m->slots[log.slot].len / 4096 + 63) / 64;
	found = calloc(words, sizeof(*found));
	if (!found)
		return -ENOMEM;
	log.dirty_bitmap = found;
	ret = kvm_ioctl(m->vm_fd, KVM_GET_DIRTY_LOG, &log);
	for (u64 i = 0; !ret && i < words; i++)
		bits[i] |= found[i];
	free(found);
	return ret;
}
