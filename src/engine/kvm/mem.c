/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM as KVM memory slots, and which of its pages were written.
 *
 * References: kvm.h [1] 4.35 (KVM_SET_USER_MEMORY_REGION), 4.8
 * (KVM_GET_DIRTY_LOG).
 *
 * A region that the guest may not write is a read-only slot: a write to it
 * arrives as an MMIO exit and goes to the bus; one it may not read has none.
 * Whether the guest may execute a page is for its own page tables to say.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"

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

static unsigned find_slot(const struct kvm_machine *m, gpa_t gpa, u64 len)
{
	unsigned i = 0;

	while (i < KVM_MAX_SLOTS &&
	       !(m->slots[i].len == len && (!len || m->slots[i].gpa == gpa)))
		i++;
	return i;
}

static void region_add(struct mem_listener *l, const struct mem_region *r)
{
	struct kvm_machine *m = container_of(l, struct kvm_machine, listener);
	unsigned index = find_slot(m, 0, 0);
	u32 flags = m->dirty_log ? KVM_MEM_LOG_DIRTY_PAGES : 0;
	int ret = -ENOSPC;

	if (!(r->rights & MEM_R))
		return;
	if (!(r->rights & MEM_W) && m->caps.readonly_mem)
		flags |= KVM_MEM_READONLY;
	if (index < KVM_MAX_SLOTS) {
		m->slots[index] =
			(struct kvm_slot){r->gpa, r->len, r->hva, flags};
		ret = set_slot(m, index);
	}
	if (!ret)
		return;
	if (index < KVM_MAX_SLOTS)
		m->slots[index].len = 0;
	m->mem_error = ret;
	log_msg(LOG_ERR, "KVM refuses guest memory at %#llx: %s",
		(unsigned long long)r->gpa, strerror(-ret));
}

static void region_remove(struct mem_listener *l, const struct mem_region *r)
{
	struct kvm_machine *m = container_of(l, struct kvm_machine, listener);
	unsigned index = find_slot(m, r->gpa, r->len);

	if (index == KVM_MAX_SLOTS)
		return;
	m->slots[index].len = 0;
	m->slots[index].flags = 0;
	set_slot(m, index);
}

int kvm_mem_init(struct kvm_machine *m, struct err *err)
{
	m->listener.add = region_add;
	m->listener.remove = region_remove;
	mem_listen(&m->vm->mem, &m->listener);
	return m->mem_error ? err_set(err, m->mem_error,
				      "KVM refuses the guest's memory: %s",
				      strerror(-m->mem_error))
			    : 0;
}

void kvm_mem_fini(struct kvm_machine *m)
{
	if (!m->listener.add)
		return;
	/* With the VM's descriptor all slots go at once. */
	m->listener.remove = NULL;
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

int kvm_dirty_get(struct vm *vm, gpa_t gpa, u64 *bits)
{
	struct kvm_machine *m = kvm_machine(vm);
	struct kvm_dirty_log log = {0};
	u64 words, *found;
	int ret;

	if (!m->dirty_log)
		return -EINVAL;
	while (log.slot < KVM_MAX_SLOTS &&
	       !(m->slots[log.slot].len && m->slots[log.slot].gpa == gpa))
		log.slot++;
	if (log.slot == KVM_MAX_SLOTS)
		return -ENOENT;
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
