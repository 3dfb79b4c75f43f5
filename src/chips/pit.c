/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 8254 timer with the PC's wiring: channel 0 is ISA IRQ 0, channel 2 has its
 * gate and output in port 0x61. The counting is in pit_count.c.
 *
 * References: [1] Intel 82C54 datasheet 231244-006.
 *             [2] Intel 82371SB (PIIX3) datasheet 290550, 2.5.6 (port 0x61).
 *
 * Theory of operation. Ticks are a function of guest time, so nothing drifts.
 * One host timer waits for channel 0's next rising edge; edges that passed
 * unseen, because host or guest were late, become one. pit_catch_up() reports
 * them to the line before anything changes, pit_settle() looks ahead after.
 *
 * In modes 2 and 3 the line falls right before it rises, not when OUT does:
 * only rising edges count for an edge-triggered input, the 8259 keeps an
 * unacknowledged request meanwhile, and the host saves a timer per tick.
 *
 * Not emulated: sound (the speaker's bit is kept), the DRAM refresh of channel
 * 1 (port 0x61 bit 4 toggles as its usual programming makes it), NMI sources.
 */
#include "arch/pit_state.h"
#include "chips/pit_count.h"

#include <errno.h>

#include "vmm/device.h"
#include "vmm/vm.h"

enum pit_ports {
	PIT_PORT = 0x40, /* channels 0 to 2, then control */
	PIT_CONTROL = 3, /* offset */
	PIT_PORT61 = 0x61,
	PIT_IRQ = 0,
};

enum pit_channels { PIT_SYSTEM = 0, PIT_SPEAKER = 2 };

enum pit_readback { /* [1] figure 8 */
		    READBACK_CHANNELS_SHIFT = 1,
		    READBACK_NO_STATUS = 1 << 4,
		    READBACK_NO_COUNT = 1 << 5,
		    READBACK = 3, /* in the select field */
};

enum port61 { /* [2] */
	      PORT61_GATE2 = 1 << 0,
	      PORT61_WRITABLE = 0xf,
	      PORT61_REFRESH = 1 << 4,
	      PORT61_OUT2 = 1 << 5,
	      REFRESH_TICKS = 18, /* 15 us */
};

/* The clock is 14.31818 MHz (315/22) / 12: 105 ticks in 88000 ns. */
#define PIT_TICKS 105u
#define PIT_TICKS_NS 88000u

struct pit {
	struct device dev;
	struct pit_state regs;
	struct irq_line line;
	struct timer timer;
	u64 rise_tick; /* next edge of channel 0 to report */
};

static struct pit *pit_of(struct device *dev)
{
	return container_of(dev, struct pit, dev);
}

static u64 pit_tick(u64 ns)
{
	return (unsigned __int128)ns * PIT_TICKS / PIT_TICKS_NS;
}

/* The first ns of a tick. */
static u64 pit_tick_ns(u64 tick)
{
	unsigned __int128 ns = (unsigned __int128)tick * PIT_TICKS_NS;

	return tick == PIT_NEVER ? TIMER_NEVER
				 : (ns + PIT_TICKS - 1) / PIT_TICKS;
}

/* ---- Channel 0's line ---- */

static void pit_catch_up(struct pit *pit, u64 tick)
{
	struct pit_channel_state *c = &pit->regs.channel[PIT_SYSTEM];

	/* The tick may be one where only a half ended: see pit_next_rise. */
	if (tick < pit->rise_tick || !pit_out(c, pit->rise_tick))
		return;
	irq_pulse(pit->line);
}

static void pit_settle(struct pit *pit, u64 tick)
{
	struct pit_channel_state *c = &pit->regs.channel[PIT_SYSTEM];
	unsigned mode = pit_mode(c);

	irq_set(pit->line, mode == 2 || mode == 3 || pit_out(c, tick));
	pit->rise_tick = pit_next_rise(c, tick);
	timer_arm(&pit->timer, pit_tick_ns(pit->rise_tick));
}

static void pit_fire(struct timer *timer, u64 now_ns)
{
	struct pit *pit = container_of(timer, struct pit, timer);
	u64 tick = pit_tick(now_ns);

	/* Armed before the engine took the chips over. */
	if (irq_is_engines(&pit->dev.vm->irq))
		return;
	pit_catch_up(pit, tick);
	pit_settle(pit, tick);
}

/* ---- Ports ---- */

static u64 pit_now(const struct pit *pit)
{
	return pit_tick(clock_ns(&pit->dev.vm->clock));
}

static void pit_read_back(struct pit *pit, u64 tick, u8 val)
{
	unsigned i;

	for (i = 0; i < PIT_CHANNELS; i++) {
		if (!(val >> READBACK_CHANNELS_SHIFT & 1u << i))
			continue;
		if (!(val & READBACK_NO_COUNT))
			pit_latch_count(&pit->regs.channel[i], tick);
		if (!(val & READBACK_NO_STATUS))
			pit_latch_status(&pit->regs.channel[i], tick);
	}
}

static void pit_write_control(struct pit *pit, u64 tick, u8 val)
{
	unsigned select = val >> PIT_SELECT_SHIFT;

	if (select == READBACK)
		pit_read_back(pit, tick, val);
	else if (!(val >> PIT_RW_SHIFT & 3))
		pit_latch_count(&pit->regs.channel[select], tick);
	else
		pit_set_control(&pit->regs.channel[select], val);
}

static u64 pit_read(struct device *dev, u64 off, unsigned width)
{
	struct pit *pit = pit_of(dev);
	u64 tick = pit_now(pit);

	/* [1] table 1: control is write-only. */
	if (off == PIT_CONTROL)
		return 0xff;
	pit_catch_up(pit, tick);
	if (tick >= pit->rise_tick)
		pit_settle(pit, tick);
	return pit_read_count(&pit->regs.channel[off], tick);
}

static void pit_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct pit *pit = pit_of(dev);
	u64 tick = pit_now(pit);

	pit_catch_up(pit, tick);
	if (off == PIT_CONTROL)
		pit_write_control(pit, tick, (u8)val);
	else
		pit_write_count(&pit->regs.channel[off], tick, (u8)val);
	pit_settle(pit, tick);
}

static u64 pit_read_port61(struct device *dev, u64 off, unsigned width)
{
	struct pit *pit = pit_of(dev);
	u64 tick = pit_now(pit);
	u8 val = pit->regs.port61;

	if (tick / REFRESH_TICKS & 1)
		val |= PORT61_REFRESH;
	if (pit_out(&pit->regs.channel[PIT_SPEAKER], tick))
		val |= PORT61_OUT2;
	return val;
}

static void pit_write_port61(struct device *dev, u64 off, unsigned width,
			     u64 val)
{
	struct pit *pit = pit_of(dev);

	pit->regs.port61 = val & PORT61_WRITABLE;
	pit_set_gate(&pit->regs.channel[PIT_SPEAKER], pit_now(pit),
		     val & PORT61_GATE2);
}

/* ---- Device ---- */

/*
 * The chip has no reset: what it does before a control word is undefined [1].
 * Guests that keep time by another clock use channel 0 to sleep, and some of
 * them rely on firmware for its mode and write counts alone (Solo5's virtio
 * target does). So it takes counts of two bytes; until one comes it is still.
 */
static void pit_reset(struct device *dev)
{
	struct pit *pit = pit_of(dev);
	unsigned i;

	pit->regs = (struct pit_state){0};
	for (i = 0; i < PIT_CHANNELS; i++)
		pit->regs.channel[i].gate = i != PIT_SPEAKER;
	pit->regs.channel[PIT_SYSTEM].control = 3 << PIT_RW_SHIFT;
	pit_settle(pit, pit_now(pit));
}

static bool pit_channel_is_valid(const struct pit_channel_state *c, u64 tick)
{
	if (c->phase > PIT_STOPPED || c->period > 65536 || c->reload > 65536 ||
	    c->control > 0x3f || c->start_high > 1 ||
	    c->latched > PIT_LATCH_BOTH)
		return false;
	if (c->phase == PIT_WAITING)
		return true;
	if (c->null_count && (pit_mode(c) == 2 || pit_mode(c) == 3) &&
	    c->phase == PIT_COUNTING && c->switch_tick < c->load_tick)
		return false;
	return c->period && c->reload && c->load_tick <= tick + 1;
}

static int pit_loaded(struct device *dev, struct err *err)
{
	struct pit *pit = pit_of(dev);
	u64 tick = pit_now(pit);
	unsigned i;

	for (i = 0; i < PIT_CHANNELS; i++)
		if (!pit_channel_is_valid(&pit->regs.channel[i], tick))
			return err_set(err, -EINVAL,
				       "saved 8254 channel %u is not valid", i);
	pit_settle(pit, tick);
	return 0;
}

/* An edge before the pause is not the next machine's to make. */
static void pit_quiesce(struct device *dev)
{
	struct pit *pit = pit_of(dev);
	u64 tick = pit_now(pit);

	pit_catch_up(pit, tick);
	pit_settle(pit, tick);
}

static int pit_create(struct device *dev, struct err *err)
{
	struct pit *pit = pit_of(dev);
	struct bus_region region = {
		.name = "pit",
		.space = BUS_PIO,
		.base = PIT_PORT,
		.size = 4,
		.widths = BUS_W1,
		.dev = dev,
		.read = pit_read,
		.write = pit_write,
	};
	int ret;

	pit->line = irq_line(&dev->vm->irq, PIT_IRQ);
	dev->vm->irq.pit = (struct irq_sink){dev, NULL, &pit->regs};
	timer_init(&pit->timer, &dev->vm->timers, dev, pit_fire);
	ret = bus_add(&dev->vm->bus, &region, err);
	if (ret)
		return ret;
	region.name = "port61";
	region.base = PIT_PORT61;
	region.size = 1;
	region.read = pit_read_port61;
	region.write = pit_write_port61;
	return bus_add(&dev->vm->bus, &region, err);
}

static void pit_destroy(struct device *dev)
{
	if (dev->vm->irq.pit.dev == dev)
		dev->vm->irq.pit = (struct irq_sink){0};
	timer_fini(&pit_of(dev)->timer);
}

static const struct device_type pit_type = {
	.name = "pit",
	.help = "8254 timer and port 0x61",
	.size = sizeof(struct pit),
	.save_version = 1,
	.regs_offset = offsetof(struct pit, regs),
	.regs_size = sizeof(struct pit_state),
	.create = pit_create,
	.destroy = pit_destroy,
	.reset = pit_reset,
	.loaded = pit_loaded,
	.quiesce = pit_quiesce,
};
DEVICE_TYPE(pit_type);
