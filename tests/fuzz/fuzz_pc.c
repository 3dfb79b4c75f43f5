/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole board "pc" against a hostile guest: ports, memory-mapped and
 * configuration registers in all widths, LAPICs, IOAPIC, MSIs, lines, resets,
 * time that jumps, save and load in the middle, saved states that lie.
 *
 * The fuzzer is the guest, both its CPUs, the clock and the event loop: one
 * thread, and nothing depends on the host's time. What must hold: no assertion,
 * no sanitizer's report, and a state that was saved and loaded saves the same.
 */
#define fail_msg(...) abort()

#include "fuzz.h"

#include "fuzz_pc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "arch/platform.h"
#include "board/board.h"
#include "chips/acpi_pm.h"
#include "util/log.h"
#include "vm_fixture.h"

struct input {
	const u8 *at;
	size_t left;
};

static u64 take(struct input *in, unsigned bytes)
{
	u64 val = 0;

	for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
		val |= (u64)*in->at++ << (8 * i);
	return val;
}

/* ---- the machine --------------------------------------------------------- */

struct pipe_end {
	int in[2], out[2]; /* the guest reads in[0], writes out[1] */
};

struct machine {
	struct vm *vm;
	struct board board;
	struct pipe_end pipes[PC_SERIALS];
};

static void pipe_open(int fds[2])
{
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) ||
	    fcntl(fds[0], F_SETPIPE_SZ, 4096) < 0)
		abort();
}

static struct vm *board_create(struct machine *m, struct board *board)
{
	const struct board_config config = {
		.serials = PC_SERIALS,
		.serial_options = "eof=4",
		.debug_exit = "",
	};
	struct vm *vm = fixture_vm(PC_CPUS);

	for (unsigned i = 0; i < PC_SERIALS; i++)
		vm->consoles[i] = (struct vm_console){
			.in_fd = m->pipes[i].in[0],
			.out_fd = m->pipes[i].out[1],
		};
	vm->clock.wall_offset_ns = 1700000000ull * NS_PER_SEC;
	if (board_pc(vm, &config, board, NULL))
		abort();
	return vm;
}

static void machine_create(struct machine *m)
{
	for (unsigned i = 0; i < PC_SERIALS; i++) {
		pipe_open(m->pipes[i].in);
		pipe_open(m->pipes[i].out);
	}
	m->vm = board_create(m, &m->board);
}

static void machine_destroy(struct machine *m)
{
	vm_destroy(m->vm);
	for (unsigned i = 0; i < PC_SERIALS; i++)
		for (unsigned k = 0; k < 2; k++) {
			close(m->pipes[i].in[k]);
			close(m->pipes[i].out[k]);
		}
}

/* One turn of the event loop, but for timers. */
static void pump(struct vm *vm)
{
	struct epoll_event events[8];
	int count = epoll_wait(vm->loop.epoll_fd, events, 8, 0);

	for (int i = 0; i < count; i++) {
		struct loop_fd *lfd = events[i].data.ptr;

		if (lfd->kind != LOOP_FD)
			continue;
		pthread_mutex_lock(&lfd->dev->lock);
		lfd->ready(lfd, events[i].events);
		pthread_mutex_unlock(&lfd->dev->lock);
	}
}

/* As timer_queue_run(), at a time of ours. */
static void run_timers(struct vm *vm)
{
	struct timer_queue *q = &vm->timers;

	q->run_ns = clock_ns(&vm->clock);
	while (q->count && q->heap[0]->deadline_ns <= q->run_ns) {
		struct timer *t = q->heap[0];

		timer_disarm(t);
		q->firing = t;
		if (t->dev)
			pthread_mutex_lock(&t->dev->lock);
		t->fire(t, q->run_ns);
		if (t->dev)
			pthread_mutex_unlock(&t->dev->lock);
		q->firing = NULL;
	}
	q->run_ns = 0;
}

/* ---- accesses ------------------------------------------------------------ */

static const struct pc_region pc_memory[] = {
	{PLAT_ECAM_BASE, MIB(256)},
	{PLAT_ECAM_BASE, 4096},
	{PLAT_IOAPIC_BASE, 4096},
	{PLAT_LAPIC_BASE, 4096},
	{PLAT_PCI_MMIO_BASE, PLAT_PCI_MMIO_SIZE},
	{0xffffffff00000000, 0x100000000},
	{0, 0x100000000},
};

static void access_bus(struct vm *vm, struct input *in, enum bus_space space,
		       bool write)
{
	bool ports = space == BUS_PIO;
	const struct pc_region *regions = ports ? pc_ports : pc_memory;
	const struct pc_region *r =
		&regions[take(in, 1) % (ports ? ARRAY_SIZE(pc_ports)
					      : ARRAY_SIZE(pc_memory))];
	u64 addr = r->base + take(in, ports ? 1 : 4) % r->size;
	u8 shape = (u8)take(in, 1);
	unsigned width = 1u << (shape & 3);
	unsigned count = ports ? (shape >> 2 & 31) + 1u : 1;
	u8 buf[32 * 8];

	if (!write) {
		bus_read(&vm->bus, space, addr, width, count, buf);
		return;
	}
	memset(buf, 0, sizeof(buf));
	for (unsigned i = 0; i < count * width; i += 4) {
		u32 val = (u32)take(in, 4);

		memcpy(buf + i, &val, 4);
	}
	bus_write(&vm->bus, space, addr, width, count, buf);
}

static void access_pci(struct vm *vm, struct input *in, bool write)
{
	bool ecam = take(in, 1) & 1;
	u64 bdf = take(in, 2), reg = take(in, 2) & 0xfff;
	unsigned width = 1u << (take(in, 1) & 3);
	u32 select = (u32)(BIT(31) | bdf << 8 | (reg & 0xfc));
	u64 val = write ? take(in, 4) : 0, addr = 0xcfc + (reg & 3);
	enum bus_space space = ecam ? BUS_MMIO : BUS_PIO;

	if (ecam)
		addr = PLAT_ECAM_BASE + (bdf << 12) + reg;
	else
		bus_write(&vm->bus, BUS_PIO, 0xcf8, 4, 1, &select);
	if (write)
		bus_write(&vm->bus, space, addr, width, 1, &val);
	else
		bus_read(&vm->bus, space, addr, width, 1, &val);
}

static void access_ioapic(struct vm *vm, struct input *in)
{
	u32 reg = (u32)take(in, 1), shape = (u32)take(in, 1);

	fixture_write32(vm, PLAT_IOAPIC_BASE, reg);
	if (shape & SHAPE_WRITE)
		fixture_write32(vm, PLAT_IOAPIC_BASE + 0x10, (u32)take(in, 4));
	else
		fixture_read32(vm, PLAT_IOAPIC_BASE + 0x10);
}

static void access_cmos(struct vm *vm, struct input *in)
{
	u8 reg = (u8)take(in, 1), shape = (u8)take(in, 1);

	fixture_outb(vm, 0x70, reg);
	if (shape & SHAPE_WRITE)
		fixture_outb(vm, 0x71, (u8)take(in, 1));
	else
		fixture_inb(vm, 0x71);
}

/* ---- CPUs ---------------------------------------------------------------- */

static struct lapic *take_cpu(struct vm *vm, struct input *in)
{
	return &vm->vcpus[take(in, 1) % PC_CPUS]->lapic;
}

/* Registers, and what lies between and behind them. */
static u32 take_lapic_reg(struct input *in)
{
	u32 reg = (u32)take(in, 1);

	return reg < 0xf8 ? (reg & 0x3f) * 16 + (reg >> 6) * 4
			  : 0x400 + (reg & 7) * 0x180;
}

static u32 take_msr(struct input *in)
{
	u32 msr = (u32)take(in, 1);

	if (msr >= 0xf0)
		return msr & 1 ? MSR_APIC_BASE : MSR_TSC_DEADLINE;
	return MSR_X2APIC_FIRST + (msr & 0x3f);
}

static void access_lapic(struct vm *vm, struct input *in, bool write)
{
	struct lapic *lapic = take_cpu(vm, in);
	u32 reg = take_lapic_reg(in);

	if (!lapic_mmio_covers(lapic, lapic->regs.apic_base & ~0xfffull))
		return;
	if (write)
		lapic_mmio_write(lapic, reg, (u32)take(in, 4));
	else
		lapic_mmio_read(lapic, reg);
}

static void access_msr(struct vm *vm, struct input *in, bool write)
{
	struct lapic *lapic = take_cpu(vm, in);
	u32 msr = take_msr(in);
	u64 val = write ? take(in, 8) : 0;

	if (write)
		lapic_msr_write(lapic, msr, val);
	else
		lapic_msr_read(lapic, msr, &val);
}

static void step_cpu(struct vm *vm, struct input *in)
{
	u8 how = (u8)take(in, 1);
	unsigned id = how % PC_CPUS;
	struct lapic *lapic = &vm->vcpus[id]->lapic;
	u32 events = fixture_events(vm, id);
	int vector;

	if (events & VCPU_EV_INIT)
		lapic_reset(lapic, true);
	vector = lapic_pending(lapic);
	if (vector >= 0)
		lapic_ack(lapic, (u8)vector);
	else if (lapic_accepts_extint(lapic) && irq_extint_pending(&vm->irq))
		irq_extint_ack(&vm->irq);
	lapic_eoi_may_wait(lapic);
	if (how & CPU_EOI)
		lapic_eoi(lapic);
}

static void step_msi(struct vm *vm, struct input *in)
{
	u64 addr = take(in, 4);
	u32 data = (u32)take(in, 4);

	/* Nearly always where MSIs go. */
	if ((addr & 0xf0000000) != 0xf0000000)
		addr = PLAT_LAPIC_BASE | (addr & 0xfffff);
	lapic_deliver_msi(vm, addr, data);
}

/* ---- time, resets -------------------------------------------------------- */

static void step_time(struct vm *vm, struct input *in)
{
	unsigned shift = (unsigned)take(in, 1) % 56;
	u64 ns = take(in, 1) << shift, now = vm->clock.paused_tsc;

	vm->clock.paused_tsc = now + ns < now ? UINT64_MAX : now + ns;
	run_timers(vm);
	pump(vm);
}

static void step_reset(struct vm *vm)
{
	device_reset_all(vm);
	for (unsigned i = 0; i < PC_CPUS; i++) {
		fixture_events(vm, i);
		lapic_reset(&vm->vcpus[i]->lapic, false);
	}
}

/* ---- saved states -------------------------------------------------------- */

static struct device *take_device(struct vm *vm, struct input *in)
{
	struct device *dev = vm->devices;
	unsigned n = (unsigned)take(in, 1) % 16;

	while (n-- && dev->next)
		dev = dev->next;
	return dev;
}

static void must_save(struct device *dev, struct device_blob *blob)
{
	if (device_save(dev, blob, NULL))
		abort();
}

/* Loads what one has saved, and it is the same afterwards. */
static void check_load(struct device *dev, const struct device_blob *saved)
{
	struct device_blob again;
	struct err err = {0};

	if (device_load(dev, saved, &err)) {
		fprintf(stderr, "%s\n", err.msg);
		abort();
	}
	must_save(dev, &again);
	if (!memcmp(saved, &again, sizeof(again)))
		return;
	for (unsigned i = 0; i < saved->size; i++)
		if (saved->data[i] != again.data[i])
			fprintf(stderr, "%s: byte %u is %#x, was %#x\n",
				dev->id, i, again.data[i], saved->data[i]);
	abort();
}

static void step_save(struct vm *vm, struct input *in)
{
	struct device *dev = take_device(vm, in);
	struct device_blob blob;

	device_quiesce_all(vm);
	must_save(dev, &blob);
	check_load(dev, &blob);
	device_resume_all(vm);
}

static void patch(struct input *in, void *data, size_t len)
{
	for (unsigned n = (unsigned)take(in, 1) % 8 + 1; n && len; n--) {
		size_t off = take(in, 2) % len;

		((u8 *)data)[off] ^= (u8)take(in, 1);
	}
}

/* A file that lies: refused or taken, but never trusted. */
static void step_load(struct vm *vm, struct input *in)
{
	struct device *dev = take_device(vm, in);
	struct device_blob blob, after;

	device_quiesce_all(vm);
	must_save(dev, &blob);
	after = blob;
	patch(in, after.data, after.size);
	if (device_load(dev, &after, NULL)) {
		must_save(dev, &after);
		if (memcmp(&after, &blob, sizeof(blob)))
			abort();
	}
	device_resume_all(vm);
}

/* Mail taken and the timer looked at: then the registers say it all. */
static struct lapic_regs lapic_save(struct lapic *lapic)
{
	u64 deadline;

	lapic_pending(lapic);
	lapic_msr_read(lapic, MSR_TSC_DEADLINE, &deadline);
	return lapic->regs;
}

static void step_lapic_load(struct vm *vm, struct input *in)
{
	struct lapic *lapic = take_cpu(vm, in);
	struct lapic_regs regs = lapic_save(lapic);

	patch(in, &regs, sizeof(regs));
	lapic->regs = regs;
	lapic_loaded(lapic);
}

static void move_lapic(struct lapic *from, struct lapic *to)
{
	struct lapic_regs regs = lapic_save(from);

	to->regs = regs;
	lapic_loaded(to);
	if (memcmp(&regs, &to->regs, sizeof(regs)) || from->route != to->route)
		abort();
}

static void step_move(struct machine *m)
{
	struct board board;
	struct vm *vm = board_create(m, &board);
	struct device *from, *to;

	vm->clock.paused_tsc = m->vm->clock.paused_tsc;
	device_quiesce_all(m->vm);
	device_quiesce_all(vm);
	for (unsigned i = 0; i < PC_CPUS; i++)
		move_lapic(&m->vm->vcpus[i]->lapic, &vm->vcpus[i]->lapic);
	for (from = m->vm->devices; from; from = from->next) {
		struct device_blob blob;

		must_save(from, &blob);
		to = device_find(vm, from->id);
		if (!to)
			abort();
		check_load(to, &blob);
	}
	device_resume_all(vm);
	vm_destroy(m->vm);
	m->vm = vm;
	m->board = board;
}

/* ---- consoles ------------------------------------------------------------ */

static void step_input(struct machine *m, struct input *in)
{
	int fd = m->pipes[take(in, 1) % PC_SERIALS].in[1];
	size_t len = min_u64(take(in, 1), in->left);

	/* A full pipe takes nothing, and that is fine. */
	if (write(fd, in->at, len) < 0 && !len)
		abort();
	in->at += len;
	in->left -= len;
	pump(m->vm);
}

static void step_drain(struct machine *m, struct input *in)
{
	int fd = m->pipes[take(in, 1) % PC_SERIALS].out[0];
	u8 buf[512];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
	pump(m->vm);
}

/* ---- steps --------------------------------------------------------------- */

static void access_step(struct vm *vm, enum pc_step step, struct input *in)
{
	switch (step) {
	case STEP_PORT_READ:
	case STEP_PORT_WRITE:
		access_bus(vm, in, BUS_PIO, step == STEP_PORT_WRITE);
		break;
	case STEP_MMIO_READ:
	case STEP_MMIO_WRITE:
		access_bus(vm, in, BUS_MMIO, step == STEP_MMIO_WRITE);
		break;
	case STEP_PCI_READ:
	case STEP_PCI_WRITE:
		access_pci(vm, in, step == STEP_PCI_WRITE);
		break;
	case STEP_IOAPIC:
		access_ioapic(vm, in);
		break;
	case STEP_CMOS:
		access_cmos(vm, in);
		break;
	case STEP_LAPIC_READ:
	case STEP_LAPIC_WRITE:
		access_lapic(vm, in, step == STEP_LAPIC_WRITE);
		break;
	default:
		access_msr(vm, in, step == STEP_MSR_WRITE);
		break;
	}
}

static void state_step(struct machine *m, enum pc_step step, struct input *in)
{
	switch (step) {
	case STEP_RESET:
		step_reset(m->vm);
		break;
	case STEP_SAVE:
		step_save(m->vm, in);
		break;
	case STEP_LOAD:
		step_load(m->vm, in);
		break;
	case STEP_LAPIC_LOAD:
		step_lapic_load(m->vm, in);
		break;
	case STEP_MOVE:
		step_move(m);
		break;
	case STEP_INPUT:
		step_input(m, in);
		break;
	case STEP_DRAIN:
		step_drain(m, in);
		break;
	case STEP_BUTTON:
		acpi_pm_power_button(m->board.power);
		break;
	default:
		device_quiesce_all(m->vm);
		device_resume_all(m->vm);
		break;
	}
}

static void run_step(struct machine *m, struct input *in)
{
	enum pc_step step = take(in, 1) % STEP_COUNT;
	unsigned gsi;

	switch (step) {
	case STEP_MSI:
		step_msi(m->vm, in);
		break;
	case STEP_LINE:
		gsi = (unsigned)take(in, 1) % (IRQ_GSI_COUNT + 1);
		irq_set(irq_line(&m->vm->irq, gsi), take(in, 1) & 1);
		break;
	case STEP_CPU:
		step_cpu(m->vm, in);
		break;
	case STEP_TIME:
		step_time(m->vm, in);
		break;
	default:
		if (step < STEP_MSI)
			access_step(m->vm, step, in);
		else
			state_step(m, step, in);
	}
	/* A guest that has switched itself off is not asked to stop here. */
	m->vm->state = VM_CREATED;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	struct input in = {data, len};
	struct machine m;

	log_set_level(LOG_ERR);
	machine_create(&m);
	for (unsigned n = 0; in.left && n < PC_MAX_STEPS; n++)
		run_step(&m, &in);
	machine_destroy(&m);
	return 0;
}
