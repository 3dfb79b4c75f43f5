/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's paravirtual interfaces: kvmclock, wall clock, end of interrupt.
 *
 * References: [1] Linux Documentation/virt/kvm/x86/msr.rst (layouts and the
 *                 version protocol), cpuid.rst.
 *
 * A kvmclock page says system_time + (TSC - tsc_timestamp) * mul >> 32, and
 * that is vm_clock's own formula: it is written once, at registration, and
 * when the vCPU's TSC is moved. A pause stops TSC and ns together.
 *
 * Only that system_time is never 0: guests take a page that says 0 for one that
 * nobody has written (Nanos does, and gives kvmclock up). Guest time 0 is 1 ns
 * there. Once the base moves, at a hand-over, the page is exact, and that step
 * is no step back: more than 1 ns of the TSC has passed since the last reader.
 *
 * PV EOI: with an interrupt in service that nothing waits behind, bit 0 of the
 * guest's word tells it to clear the bit in place of an EOI. We look at the
 * word before anybody looks at the LAPIC: cleared means EOI.
 *
 * Everything here that touches guest memory runs outside (bt_leave), through
 * the one accessor; a page that is not RAM is not written.
 */
#include "engine/bt/sys.h"
#include "vmm/vm.h"

#define PV_ENABLED BIT(0)

struct pv_clock {
	u32 version; /* odd: being written */
	u32 pad0;
	u64 tsc_timestamp;
	u64 system_time;
	u32 tsc_to_system_mul;
	s8 tsc_shift;
	u8 flags;
	u8 pad[2];
};
_Static_assert(sizeof(struct pv_clock) == 32, "[1], guest ABI");

enum { PV_CLOCK_TSC_STABLE = 1 };

struct pv_wall_clock {
	u32 version, sec, nsec;
};
_Static_assert(sizeof(struct pv_wall_clock) == 12, "[1], guest ABI");

/* ---- kvmclock ---------------------------------------------------------- */

void bt_pv_write_clock(struct bt_cpu *c)
{
	struct vm *vm = c->vcpu->vm;
	gpa_t page = c->msr.kvm_system_time & ~PV_ENABLED;
	u64 mult = vm->clock.tsc_to_ns_mult;
	struct pv_clock clock = {0};
	u32 version;

	if (!(c->msr.kvm_system_time & PV_ENABLED) ||
	    !mem_read(&vm->mem, page, &version, sizeof(version)))
		return;
	/* The factor has 32 bits: below 1 GHz it needs the shift's help. */
	while (mult >> 32) {
		mult >>= 1;
		clock.tsc_shift++;
	}
	clock.version = (version | 1) + 2;
	clock.tsc_timestamp = vm->clock.tsc_base + c->msr.tsc_adjust;
	clock.system_time = max_u64(vm->clock.ns_base, 1);
	clock.tsc_to_system_mul = (u32)mult;
	clock.flags = PV_CLOCK_TSC_STABLE;
	mem_write(&vm->mem, page, &clock, sizeof(clock));
	clock.version++;
	mem_write(&vm->mem, page, &clock.version, sizeof(clock.version));
}

/* Only a fixed clock's base moves while it stands still. */
int bt_pv_resume(struct vm *vm, struct err *err)
{
	for (unsigned i = 0; vm->clock.tsc_fixed && i < vm->vcpu_count; i++)
		bt_pv_write_clock(vm->vcpus[i]->engine);
	return 0;
}

bool bt_pv_set_system_time(struct bt_cpu *c, u64 val)
{
	/* [1]: 4-byte aligned; bit 0 enables. */
	if (val & 2)
		return false;
	c->msr.kvm_system_time = val;
	bt_leave(c);
	bt_pv_write_clock(c);
	bt_enter(c);
	return true;
}

/* Wall time at guest time zero; the guest adds its kvmclock. */
bool bt_pv_set_wall_clock(struct bt_cpu *c, u64 val)
{
	struct vm *vm = c->vcpu->vm;
	struct pv_wall_clock wall;
	u64 ns;

	c->msr.kvm_wall_clock = val;
	bt_leave(c);
	if (mem_read(&vm->mem, val, &wall.version, sizeof(wall.version))) {
		ns = clock_wall_ns(&vm->clock) - clock_ns(&vm->clock);
		wall.version = (wall.version | 1) + 2;
		wall.sec = (u32)(ns / NS_PER_SEC);
		wall.nsec = (u32)(ns % NS_PER_SEC);
		mem_write(&vm->mem, val, &wall, sizeof(wall));
		wall.version++;
		mem_write(&vm->mem, val, &wall.version, sizeof(wall.version));
	}
	bt_enter(c);
	return true;
}

/* ---- end of interrupt -------------------------------------------------- */

bool bt_pv_set_eoi(struct bt_cpu *c, u64 val)
{
	if (val & 2)
		return false;
	bt_leave(c);
	bt_pv_eoi_sync(c);
	bt_enter(c);
	c->msr.kvm_pv_eoi = val;
	return true;
}

void bt_pv_eoi_offer(struct bt_cpu *c)
{
	struct guest_mem *mem = &c->vcpu->vm->mem;
	gpa_t word = c->msr.kvm_pv_eoi & ~PV_ENABLED;
	u8 val;

	if (!(c->msr.kvm_pv_eoi & PV_ENABLED) ||
	    !lapic_eoi_may_wait(&c->vcpu->lapic) ||
	    !mem_read(mem, word, &val, sizeof(val)))
		return;
	val |= 1;
	c->pv_eoi_armed = mem_write(mem, word, &val, sizeof(val));
}

void bt_pv_eoi_sync(struct bt_cpu *c)
{
	struct guest_mem *mem = &c->vcpu->vm->mem;
	gpa_t word = c->msr.kvm_pv_eoi & ~PV_ENABLED;
	u8 val = 0;

	if (likely(!c->pv_eoi_armed))
		return;
	c->pv_eoi_armed = 0;
	if (!mem_read(mem, word, &val, sizeof(val)) || !(val & 1)) {
		lapic_eoi(&c->vcpu->lapic);
		return;
	}
	/* Not ended yet: it will be, by the LAPIC's register. */
	val &= 0xfe;
	mem_write(mem, word, &val, sizeof(val));
}
