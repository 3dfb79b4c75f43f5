/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSRs of struct x86_state, one row each.
 *
 * References: kvm.h [1] 4.18 (KVM_GET_MSRS), 4.19 (KVM_SET_MSRS).
 *
 * Hosts differ in what they let us set. A refused MSR that every guest needs is
 * an error; any other is told with --verbose, once, and kept here, so that it
 * is saved as it was loaded.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "arch/x86.h"
#include "util/log.h"

struct row {
	u32 first;
	u8 count;
	u8 feature; /* enum cpu_feature; FEAT_BASE: every policy's */
	bool needed;
	u16 slot; /* offset in struct x86_msrs */
};

#define SLOT(field) ((u16)offsetof(struct x86_msrs, field))

/*
 * EFER, the segment bases and APIC_BASE go with the special registers, the
 * deadline with the LAPIC. The wall clock is not written back: the guest has it
 * in its memory, and KVM would write it there anew.
 */
static const struct row rows[] = {
	{MSR_STAR, 1, FEAT_SYSCALL, true, SLOT(star)},
	{MSR_LSTAR, 1, FEAT_SYSCALL, true, SLOT(lstar)},
	{MSR_CSTAR, 1, FEAT_SYSCALL, false, SLOT(cstar)},
	{MSR_SFMASK, 1, FEAT_SYSCALL, true, SLOT(sfmask)},
	{MSR_KERNEL_GS_BASE, 1, FEAT_BASE, true, SLOT(kernel_gs_base)},
	{MSR_SYSENTER_CS, 1, FEAT_BASE, true, SLOT(sysenter_cs)},
	{MSR_SYSENTER_ESP, 1, FEAT_BASE, true, SLOT(sysenter_esp)},
	{MSR_SYSENTER_EIP, 1, FEAT_BASE, true, SLOT(sysenter_eip)},
	{MSR_PAT, 1, FEAT_BASE, true, SLOT(pat)},
	{MSR_TSC_AUX, 1, FEAT_RDTSCP, false, SLOT(tsc_aux)},
	{MSR_TSC_ADJUST, 1, FEAT_TSC_ADJUST, true, SLOT(tsc_adjust)},
	{MSR_MISC_ENABLE, 1, FEAT_BASE, false, SLOT(misc_enable)},
	{MSR_SPEC_CTRL, 1, FEAT_SPEC_CTRL, false, SLOT(spec_ctrl)},
	{MSR_DEBUGCTL, 1, FEAT_BASE, false, SLOT(debugctl)},
	{MSR_MTRR_DEF_TYPE, 1, FEAT_BASE, false, SLOT(mtrr_def_type)},
	{MSR_MTRR_FIX64K, 1, FEAT_BASE, false, SLOT(mtrr_fixed[0])},
	{MSR_MTRR_FIX16K_8, 2, FEAT_BASE, false, SLOT(mtrr_fixed[1])},
	{MSR_MTRR_FIX4K_C0, 8, FEAT_BASE, false, SLOT(mtrr_fixed[3])},
	{MSR_KVM_SYSTEM_TIME, 1, FEAT_BASE, false, SLOT(kvm_system_time)},
	{MSR_KVM_PV_EOI, 1, FEAT_BASE, false, SLOT(kvm_pv_eoi)},
};

#define MTRR_PAIRS 8
#define MAX_ENTRIES 64

struct msr_buffer {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[MAX_ENTRIES];
	u16 slots[MAX_ENTRIES];
	bool needed[MAX_ENTRIES];
};

static struct kvm_msr_entry *entries_of(struct msr_buffer *buf)
{
	return buf->head.entries;
}

static u64 *slot_of(struct x86_msrs *msrs, u16 slot)
{
	return (u64 *)(void *)((u8 *)msrs + slot);
}

static void add_msr(struct msr_buffer *buf, u32 msr, u16 slot, bool needed)
{
	unsigned n = buf->head.nmsrs++;

	entries_of(buf)[n] = (struct kvm_msr_entry){.index = msr};
	buf->slots[n] = slot;
	buf->needed[n] = needed;
}

/* Every MSR that a policy's guests have. */
static void list_msrs(struct msr_buffer *buf, const struct cpu_policy *policy)
{
	memset(buf, 0, sizeof(*buf));
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];

		if (row->feature != FEAT_BASE && !cpu_has(policy, row->feature))
			continue;
		for (unsigned n = 0; n < row->count; n++)
			add_msr(buf, row->first + n,
				(u16)(row->slot + n * sizeof(u64)),
				row->needed);
	}
	for (unsigned n = 0; n < MTRR_PAIRS; n++) {
		u16 at = (u16)(n * sizeof(u64));

		add_msr(buf, MSR_MTRR_BASE0 + 2 * n,
			(u16)(SLOT(mtrr_base) + at), false);
		add_msr(buf, MSR_MTRR_BASE0 + 2 * n + 1,
			(u16)(SLOT(mtrr_mask) + at), false);
	}
	/* A register of AMD's in spite of its number: others refuse it. */
	add_msr(buf, MSR_XSS, SLOT(xss), false);
}

/* True the first time. */
static bool note_refused(struct kvm_machine *m, u32 msr)
{
	struct kvm_refused *r = &m->refused;
	bool first = true;

	pthread_mutex_lock(&m->refused_lock);
	for (unsigned i = 0; i < r->count; i++)
		first = first && r->msrs[i] != msr;
	if (first && r->count < ARRAY_SIZE(r->msrs))
		r->msrs[r->count++] = msr;
	pthread_mutex_unlock(&m->refused_lock);
	return first;
}

/*
 * KVM_GET_MSRS and KVM_SET_MSRS stop at the first entry they refuse and return
 * how many went well: `refused` is called for it, and they go on behind it.
 */
static int transfer(struct kvm_cpu *k, unsigned long request,
		    struct msr_buffer *buf,
		    int (*refused)(struct kvm_cpu *k, struct msr_buffer *buf,
				   unsigned n))
{
	struct msr_buffer *rest = buf;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[MAX_ENTRIES];
	} part;
	unsigned done = 0, total = buf->head.nmsrs;
	int ret;

	while (done < total) {
		struct kvm_msr_entry *from = &entries_of(rest)[done];

		memset(&part.head, 0, sizeof(part.head));
		part.head.nmsrs = total - done;
		memcpy(part.head.entries, from, (total - done) * sizeof(*from));
		ret = kvm_ioctl(k->fd, request, &part);
		if (ret < 0)
			return ret;
		memcpy(from, part.head.entries, (unsigned)ret * sizeof(*from));
		done += (unsigned)ret;
		if (done == total)
			break;
		ret = refused(k, buf, done++);
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- get --------------------------------------------------------------- */

/* What KVM does not have is as it was loaded. */
static int get_refused(struct kvm_cpu *k, struct msr_buffer *buf, unsigned n)
{
	entries_of(buf)[n].data = *slot_of(&k->msrs, buf->slots[n]);
	return 0;
}

int kvm_get_msrs(struct kvm_cpu *k, struct x86_msrs *msrs)
{
	struct msr_buffer buf;
	u64 wall;
	int ret;

	*msrs = k->msrs;
	list_msrs(&buf, k->vcpu->vm->cpu);
	ret = transfer(k, KVM_GET_MSRS, &buf, get_refused);
	for (unsigned n = 0; !ret && n < buf.head.nmsrs; n++)
		*slot_of(msrs, buf.slots[n]) = entries_of(&buf)[n].data;
	if (!ret && !kvm_get_msr(k, MSR_KVM_WALL_CLOCK, &wall) && wall)
		msrs->kvm_wall_clock = wall;
	return ret;
}

/* ---- set --------------------------------------------------------------- */

static int set_refused(struct kvm_cpu *k, struct msr_buffer *buf, unsigned n)
{
	const struct kvm_msr_entry *entry = &entries_of(buf)[n];
	u64 have;

	/* It has this value already, or nobody misses it. */
	if (!entry->data ||
	    (!kvm_get_msr(k, entry->index, &have) && have == entry->data))
		return 0;
	if (buf->needed[n])
		return -ENOTSUP;
	if (note_refused(k->machine, entry->index))
		log_msg(LOG_INFO,
			"KVM refuses MSR %#x = %#llx: the guest does without",
			entry->index, (unsigned long long)entry->data);
	return 0;
}

/* Where KVM has not got it, as on AMD's without LBR virtualization, each write
 * of it is a line in the host's log, and 0 is what it has, as any new vCPU. */
static void leave_out_debugctl(struct kvm_cpu *k, struct msr_buffer *buf)
{
	struct kvm_msr_entry *entries = entries_of(buf);
	unsigned n = 0, last;
	u64 have = 0;

	while (n < buf->head.nmsrs && entries[n].index != MSR_DEBUGCTL)
		n++;
	if (n == buf->head.nmsrs ||
	    (k->used && kvm_get_msr(k, MSR_DEBUGCTL, &have)) ||
	    have != entries[n].data)
		return;
	last = --buf->head.nmsrs;
	entries[n] = entries[last];
	buf->slots[n] = buf->slots[last];
	buf->needed[n] = buf->needed[last];
}

int kvm_set_msrs(struct kvm_cpu *k, const struct x86_msrs *msrs,
		 struct err *err)
{
	struct msr_buffer buf;
	int ret;

	k->msrs = *msrs;
	list_msrs(&buf, k->vcpu->vm->cpu);
	for (unsigned n = 0; n < buf.head.nmsrs; n++)
		entries_of(&buf)[n].data = *slot_of(&k->msrs, buf.slots[n]);
	leave_out_debugctl(k, &buf);
	ret = transfer(k, KVM_SET_MSRS, &buf, set_refused);
	if (ret)
		return err_set(err, ret,
			       "KVM refuses an MSR that the guest needs: %s",
			       strerror(-ret));
	return 0;
}

/* ---- one --------------------------------------------------------------- */

union one_msr {
	struct kvm_msrs head;
	u8 bytes[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

int kvm_get_msr(struct kvm_cpu *k, u32 msr, u64 *val)
{
	union one_msr arg = {.head = {.nmsrs = 1}};
	int ret;

	arg.head.entries[0].index = msr;
	ret = kvm_ioctl(k->fd, KVM_GET_MSRS, &arg);
	*val = arg.head.entries[0].data;
	return ret < 0 ? ret : ret == 1 ? 0 : -ENOTSUP;
}

int kvm_set_msr(struct kvm_cpu *k, u32 msr, u64 val)
{
	union one_msr arg = {.head = {.nmsrs = 1}};
	int ret;

	arg.head.entries[0].index = msr;
	arg.head.entries[0].data = val;
	ret = kvm_ioctl(k->fd, KVM_SET_MSRS, &arg);
	return ret < 0 ? ret : ret == 1 ? 0 : -ENOTSUP;
}
