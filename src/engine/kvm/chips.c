/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's 8259 pair, IOAPIC and 8254 from and to their models, and the
 * lines that lead to them.
 *
 * References: kvm.h [1] 4.24 to 4.27 (irqchip), 4.71 to 4.73 (8254). The
 * models' meanings: arch/pic_state.h, arch/ioapic_state.h, arch/pit_state.h.
 *
 * Theory of operation, lines. The kernel's chips remember an edge-triggered
 * line's level only to see the next edge, and loading an IOAPIC with such a
 * line up would make one. So levels are kept here, an IOAPIC is given those of
 * level-triggered pins alone, and what it is given back with is from here. A
 * device that wants a new edge lowers its line first, so none is lost.
 *
 * GSI 0 is the kernel 8254's own; our side of it stays low.
 *
 * The 8254. The kernel keeps the count and when it was loaded, but loading its
 * state starts every counter anew. A counter that runs out once (modes 0, 1, 4,
 * 5) is loaded with what is left of it; one that repeats begins a new period.
 * A channel that comes back as it was right after loading has not been touched
 * by the guest: it is what it was before.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arch/platform.h"

enum {
	GSI_PIT = 0,
	PIN_PIT = 2, /* on the IOAPIC */
	PIC_PINS = 16,
	TSS_ADDRESS = 0xfffbd000,	/* three pages that no guest uses */
	IDENTITY_MAP_ADDR = 0xfffbc000, /* and one; Intel's real mode */
	PIT_GATE2 = 1,
	PIT_SPEAKER = 2,
};

#define RTE_REMOTE_IRR BIT(14)
#define RTE_LEVEL BIT(15)
#define RTE_KNOWN 0xff0000000001ffffull

#define PIT_TICKS 105u /* in PIT_TICKS_NS, as the model has it */
#define PIT_TICKS_NS 88000u

int kvm_chips_init(struct kvm_machine *m, struct err *err)
{
	struct kvm_enable_cap wide_ids = {
		.cap = KVM_CAP_X2APIC_API,
		.args = {KVM_X2APIC_API_USE_32BIT_IDS |
			 KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK},
	};
	u64 identity = IDENTITY_MAP_ADDR;
	int ret;

	/* Needed on some Intel CPUs, harmless elsewhere. */
	kvm_ioctl(m->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	kvm_ioctl_num(m->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS);
	ret = kvm_ioctl_num(m->vm_fd, KVM_CREATE_IRQCHIP, 0);
	if (ret)
		return err_set(err, ret,
			       "KVM cannot create interrupt chips: %s",
			       strerror(-ret));
	ret = kvm_ioctl(m->vm_fd, KVM_ENABLE_CAP, &wide_ids);
	if (ret)
		return err_set(err, ret, "KVM has no whole x2APIC IDs: %s",
			       strerror(-ret));
	ret = kvm_set_routes(m);
	return ret ? err_set(err, ret, "KVM_SET_GSI_ROUTING: %s",
			     strerror(-ret))
		   : 0;
}

/* ---- lines ------------------------------------------------------------- */

static void line_set(void *engine_vm, unsigned gsi, bool level)
{
	struct kvm_machine *m = engine_vm;
	struct kvm_irq_level arg = {.irq = gsi, .level = level};
	u32 bit = 1u << gsi;

	if (!!(m->lines & bit) == level)
		return;
	m->lines ^= bit;
	kvm_ioctl(m->vm_fd, KVM_IRQ_LINE, &arg);
}

static int send_msi(void *engine_vm, u64 addr, u32 data)
{
	return kvm_send_msi(engine_vm, addr, data);
}

/* ---- 8259 -------------------------------------------------------------- */

/* The kernel's init_state: 0, or the ICW it waits for less one. */
static void pic_put(const struct pic_chip_state *from, u8 own_lines,
		    struct kvm_pic_state *to)
{
	*to = (struct kvm_pic_state){
		.last_irr = from->lines & ~own_lines,
		.irr = from->irr,
		.imr = from->imr,
		.isr = from->isr,
		.priority_add = (from->lowest + 1) & 7,
		.irq_base = from->vector_base,
		.read_reg_select = from->read_isr,
		.poll = from->poll,
		.special_mask = from->special_mask,
		.init_state = from->next_icw ? from->next_icw - 1 : 0,
		.auto_eoi = from->icw4 >> 1 & 1,
		.rotate_on_auto_eoi = from->rotate_on_aeoi,
		.special_fully_nested_mode = from->icw4 >> 4 & 1,
		.init4 = from->icw1 & 1,
		.elcr = from->elcr,
	};
}

static void pic_get(const struct kvm_pic_state *from, struct pic_chip_state *to)
{
	*to = (struct pic_chip_state){
		.lines = from->last_irr,
		.irr = from->irr,
		.imr = from->imr,
		.isr = from->isr,
		.elcr = from->elcr,
		.vector_base = from->irq_base & 0xf8,
		/* ICW1: initialization, cascaded; ICW4: 8086 mode. */
		.icw1 = 0x10 | !!from->init4,
		.icw4 = (u8)(1 | !!from->auto_eoi << 1 |
			     !!from->special_fully_nested_mode << 4),
		.next_icw = from->init_state ? from->init_state + 1 : 0,
		.lowest = (from->priority_add + 7) & 7,
		.read_isr = !!from->read_reg_select,
		.poll = !!from->poll,
		.special_mask = !!from->special_mask,
		.rotate_on_aeoi = !!from->rotate_on_auto_eoi,
	};
}

static int put_pic(struct kvm_machine *m, const struct pic_state *pic)
{
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_PIC_MASTER};
	int ret;

	pic_put(&pic->chip[PIC_MASTER], 1u << GSI_PIT, &chip.chip.pic);
	chip.chip.pic.elcr_mask = 0xf8;
	ret = kvm_ioctl(m->vm_fd, KVM_SET_IRQCHIP, &chip);
	if (ret)
		return ret;
	chip.chip_id = KVM_IRQCHIP_PIC_SLAVE;
	pic_put(&pic->chip[PIC_SLAVE], 0, &chip.chip.pic);
	chip.chip.pic.elcr_mask = 0xde;
	return kvm_ioctl(m->vm_fd, KVM_SET_IRQCHIP, &chip);
}

/* The cascade's line is the slave's output, which the model computes. */
static int get_pic(struct kvm_machine *m, struct pic_state *pic)
{
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_PIC_MASTER};
	u32 lines = m->lines | 1u << GSI_PIT;
	int ret = kvm_ioctl(m->vm_fd, KVM_GET_IRQCHIP, &chip);

	pic_get(&chip.chip.pic, &pic->chip[PIC_MASTER]);
	pic->chip[PIC_MASTER].lines &= 1u << 2;
	pic->chip[PIC_MASTER].lines |= lines & 0xfb;
	if (ret)
		return ret;
	chip.chip_id = KVM_IRQCHIP_PIC_SLAVE;
	ret = kvm_ioctl(m->vm_fd, KVM_GET_IRQCHIP, &chip);
	pic_get(&chip.chip.pic, &pic->chip[PIC_SLAVE]);
	pic->chip[PIC_SLAVE].lines = lines >> 8 & 0xff;
	return ret;
}

/* ---- IOAPIC ------------------------------------------------------------ */

static u32 ioapic_level_pins(const u64 *rte)
{
	u32 pins = 0;

	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		if (rte[pin] & RTE_LEVEL)
			pins |= 1u << pin;
	return pins;
}

static int put_ioapic(struct kvm_machine *m, const struct ioapic_state *ioapic)
{
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};
	struct kvm_ioapic_state *to = &chip.chip.ioapic;

	to->base_address = PLAT_IOAPIC_BASE;
	to->ioregsel = ioapic->index;
	to->id = ioapic->id >> 24;
	to->irr = ioapic->lines & ioapic_level_pins(ioapic->rte) &
		  ~(1u << PIN_PIT);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		to->redirtbl[pin].bits = ioapic->rte[pin];
	return kvm_ioctl(m->vm_fd, KVM_SET_IRQCHIP, &chip);
}

static int get_ioapic(struct kvm_machine *m, struct ioapic_state *ioapic)
{
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};
	const struct kvm_ioapic_state *from = &chip.chip.ioapic;
	int ret = kvm_ioctl(m->vm_fd, KVM_GET_IRQCHIP, &chip);

	*ioapic = (struct ioapic_state){
		.id = from->id << 24,
		.index = from->ioregsel & 0xff,
		.lines = (m->lines & ~(1u << GSI_PIT)) | 1u << PIN_PIT,
	};
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		ioapic->rte[pin] = from->redirtbl[pin].bits & RTE_KNOWN;
	return ret;
}

/* ---- 8254 -------------------------------------------------------------- */

static u64 monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * NS_PER_SEC + (u64)ts.tv_nsec;
}

static u64 pit_tick(const struct kvm_machine *m)
{
	return (u64)((unsigned __int128)clock_ns(&m->vm->clock) * PIT_TICKS /
		     PIT_TICKS_NS);
}

static unsigned pit_mode(u8 control)
{
	unsigned mode = control >> 1 & 7;

	return mode > 5 ? mode & 3 : mode;
}

static bool pit_repeats(unsigned mode)
{
	return mode == 2 || mode == 3;
}

struct kvm_pit_given {
	struct pit_state model;
	struct kvm_pit_state2 kernel;
};

/* The kernel counts at once, or not at all (count 0 is its 65536). */
static void pit_channel_put(const struct pit_channel_state *from, u64 tick,
			    struct kvm_pit_channel_state *to)
{
	u64 elapsed = from->elapsed, left;

	*to = (struct kvm_pit_channel_state){
		.count = from->reload,
		.latched_count = from->latch,
		.count_latched = from->latched ? from->control >> 4 & 3 : 0,
		.status_latched = from->status_latched,
		.status = from->status,
		.read_state = from->control >> 4 & 3,
		.write_state = from->control >> 4 & 3,
		.write_latch = from->write_latch,
		.rw_mode = from->control >> 4 & 3,
		.mode = (u8)pit_mode(from->control),
		.bcd = from->control & 1,
		.gate = from->gate,
	};
	/* Its names for the halves of a pair: 3 the low, 4 the high. */
	if (to->rw_mode == 3) {
		to->read_state = from->read_high ? 4 : 3;
		to->write_state = from->write_high ? 4 : 3;
		to->count_latched = from->latched ? to->read_state : 0;
	}
	if (from->phase != PIT_COUNTING || pit_repeats(to->mode))
		return;
	if (tick > from->load_tick)
		elapsed = tick - from->load_tick;
	left = elapsed < from->period ? from->period - elapsed : 0;
	to->count = left ? (u32)left : 1;
}

static int put_pit(struct kvm_machine *m, const struct pit_state *pit)
{
	struct kvm_pit_config config = {.flags = KVM_PIT_SPEAKER_DUMMY};
	struct kvm_reinject_control reinject = {.pit_reinject = 0};
	struct kvm_pit_state2 state = {0};
	u64 tick = pit_tick(m);
	int ret = 0;

	if (!m->pit_given)
		m->pit_given = calloc(1, sizeof(*m->pit_given));
	if (!m->pit_given)
		return -ENOMEM;
	if (!m->has_pit)
		ret = kvm_ioctl(m->vm_fd, KVM_CREATE_PIT2, &config);
	if (ret)
		return ret;
	/* As the chip does: a tick that nobody takes is lost. */
	if (!m->has_pit && kvm_has_cap(m->kvm_fd, KVM_CAP_REINJECT_CONTROL))
		ret = kvm_ioctl(m->vm_fd, KVM_REINJECT_CONTROL, &reinject);
	if (ret)
		return ret;
	m->has_pit = true;
	for (unsigned i = 0; i < PIT_CHANNELS; i++)
		pit_channel_put(&pit->channel[i], tick, &state.channels[i]);
	state.channels[PIT_SPEAKER].gate = pit->port61 & PIT_GATE2;
	if (pit->port61 & 2)
		state.flags |= KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	ret = kvm_ioctl(m->vm_fd, KVM_SET_PIT2, &state);
	if (ret)
		return ret;
	m->pit_given->model = *pit;
	return kvm_ioctl(m->vm_fd, KVM_GET_PIT2, &m->pit_given->kernel);
}

static void pit_channel_get(const struct kvm_pit_channel_state *from, u64 tick,
			    u64 elapsed, struct pit_channel_state *to)
{
	unsigned rw = from->rw_mode & 3;

	*to = (struct pit_channel_state){
		.reload = from->count > 65536 ? 65536 : from->count,
		.latch = from->latched_count,
		.control =
			(u8)(rw << 4 | (from->mode & 7) << 1 | (from->bcd & 1)),
		.gate = !!from->gate,
		.start_high = 1,
		.status_latched = !!from->status_latched,
		.status = from->status,
		.read_high = rw == 3 && from->read_state == 4,
		.write_high = rw == 3 && from->write_state == 4,
		.write_latch = from->write_latch,
	};
	if (from->count_latched)
		to->latched = (u8)rw;
	/* No control word yet, or no count since. */
	if (!rw || !from->count) {
		to->reload = 0;
		to->null_count = !!rw;
		to->before_load = from->mode != 0;
		return;
	}
	to->period = to->reload;
	to->phase = PIT_COUNTING;
	to->load_tick = tick > elapsed ? tick - elapsed : 0;
}

/* The kernel has told of it, by its own clock: the model is not to do so once
 * more. */
static void pit_channel_expire(struct pit_channel_state *channel, u64 tick)
{
	u64 start = tick > channel->period ? tick - channel->period : 0;

	if (channel->phase == PIT_COUNTING && channel->load_tick > start)
		channel->load_tick = start;
}

static void get_pit_channel(struct kvm_machine *m, unsigned i,
			    const struct kvm_pit_channel_state *from,
			    struct pit_channel_state *to)
{
	const struct kvm_pit_given *given = m->pit_given;
	u64 now = monotonic_ns(), tick = pit_tick(m), elapsed = 0;
	u64 loaded = (u64)from->count_load_time;

	if (loaded && now > loaded)
		elapsed = (u64)((unsigned __int128)(now - loaded) * PIT_TICKS /
				PIT_TICKS_NS);
	if (memcmp(from, &given->kernel.channels[i], sizeof(*from)) != 0) {
		pit_channel_get(from, tick, elapsed, to);
		return;
	}
	*to = given->model.channel[i];
	if (!i && !pit_repeats(from->mode) && elapsed >= from->count)
		pit_channel_expire(to, tick);
}

static int get_pit(struct kvm_machine *m, struct pit_state *pit)
{
	struct kvm_pit_state2 state = {0};
	int ret = kvm_ioctl(m->vm_fd, KVM_GET_PIT2, &state);

	for (unsigned i = 0; i < PIT_CHANNELS; i++)
		get_pit_channel(m, i, &state.channels[i], &pit->channel[i]);
	/* Two bits are the kernel's, the others go nowhere. */
	pit->port61 = m->pit_given->model.port61 & 0xc;
	if (state.channels[PIT_SPEAKER].gate)
		pit->port61 |= PIT_GATE2;
	if (state.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON)
		pit->port61 |= 2;
	return ret;
}

/* ---- all --------------------------------------------------------------- */

/* Levels from the chip that sees them all; the 8259's two pins aside. */
static u32 lines_of(const struct irq_chips *chips)
{
	u32 lines = 0;

	if (chips->has_ioapic)
		lines = chips->ioapic.lines & ~(1u << PIN_PIT);
	else if (chips->has_pic)
		lines = (chips->pic.chip[PIC_MASTER].lines & 0xfbu) |
			(u32)chips->pic.chip[PIC_SLAVE].lines << 8;
	return lines & ~(1u << GSI_PIT);
}

static int chips_put(void *engine_vm, const struct irq_chips *chips)
{
	struct kvm_machine *m = engine_vm;
	int ret = 0;

	m->lines = lines_of(chips);
	if (chips->has_pic)
		ret = put_pic(m, &chips->pic);
	if (!ret && chips->has_ioapic)
		ret = put_ioapic(m, &chips->ioapic);
	if (!ret && chips->has_pit)
		ret = put_pit(m, &chips->pit);
	return ret;
}

static int chips_get(void *engine_vm, struct irq_chips *chips)
{
	struct kvm_machine *m = engine_vm;
	int ret = get_pic(m, &chips->pic);

	if (!ret)
		ret = get_ioapic(m, &chips->ioapic);
	if (!ret && m->has_pit)
		ret = get_pit(m, &chips->pit);
	return ret;
}

const struct irq_engine_ops kvm_irq_ops = {
	.put = chips_put,
	.get = chips_get,
	.set = line_set,
	.msi = send_msi,
};
