/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting of one 8254 channel.
 *
 * References: [1] Intel 82C54 datasheet 231244-006, "Mode definitions".
 *
 * Theory of operation. Nothing counts. A write at tick t makes the counter
 * take its value at t + 1 (load_tick), and what it and OUT are at a later tick
 * follows from how many ticks passed since:
 *
 *   mode 0  OUT low until `period` ticks passed      one count, may be stopped
 *        1  OUT low for `period` ticks               started by the gate
 *        2  OUT low in the last tick of each period  repeats
 *        3  OUT high in the longer half of each      repeats, counts by two
 *        4  OUT low in tick number `period`          one count, may be stopped
 *        5  the same                                 started by the gate
 *
 * In modes 2 and 3 a new count waits for the end of the period or half: then
 * switch_tick says when, and pit_advance() lets it happen.
 *
 * Not emulated: the counter's old value in the one tick between a write and the
 * load (null count says so in the status), counts below 2 in modes 2 and 3
 * (OUT stands still; [1] does not allow them).
 */
#include "chips/pit_count.h"

enum pit_modes { PIT_RATE = 2, PIT_SQUARE = 3 };

enum pit_rw { PIT_RW_LOW = 1, PIT_RW_HIGH = 2, PIT_RW_BOTH = 3 };

enum pit_status { PIT_STATUS_NULL = 1 << 6, PIT_STATUS_OUT = 1 << 7 };

unsigned pit_mode(const struct pit_channel_state *c)
{
	unsigned mode = c->control >> PIT_MODE_SHIFT & 7;

	return mode > 5 ? mode & 3 : mode; /* 11x is 01x */
}

static unsigned pit_rw(const struct pit_channel_state *c)
{
	return c->control >> PIT_RW_SHIFT & 3;
}

static bool pit_repeats(const struct pit_channel_state *c)
{
	return pit_mode(c) == PIT_RATE || pit_mode(c) == PIT_SQUARE;
}

/* Modes 1 and 5: the gate starts, and its level means nothing. */
static bool pit_is_triggered(const struct pit_channel_state *c)
{
	return pit_mode(c) == 1 || pit_mode(c) == 5;
}

/* Counts of the largest counter: 0 as written. */
static u32 pit_modulus(const struct pit_channel_state *c)
{
	return c->control & PIT_BCD ? 10000 : 65536;
}

/* ---- Where in a period ---- */

struct pit_position {
	u64 in_period; /* ticks since it began */
	u64 in_half;   /* mode 3: since OUT changed */
	u64 half_end;  /* mode 3: ticks from period begin to end of half */
	bool high;     /* mode 3: OUT */
};

static struct pit_position pit_position(const struct pit_channel_state *c,
					u64 elapsed)
{
	struct pit_position p = {.in_period = elapsed % c->period};
	u64 first = (c->period + c->start_high) / 2;

	p.high = (p.in_period < first) == !!c->start_high;
	p.in_half = p.in_period < first ? p.in_period : p.in_period - first;
	p.half_end = p.in_period < first ? first : c->period;
	return p;
}

static u64 pit_elapsed(const struct pit_channel_state *c, u64 tick)
{
	if (c->phase != PIT_COUNTING)
		return c->elapsed;
	return tick > c->load_tick ? tick - c->load_tick : 0;
}

/* The first tick after `tick` where a waiting count may take over. */
static u64 pit_cycle_end(const struct pit_channel_state *c, u64 tick)
{
	struct pit_position p = pit_position(c, tick - c->load_tick);

	return tick - p.in_period +
	       (pit_mode(c) == PIT_SQUARE ? p.half_end : c->period);
}

static bool pit_is_waiting_reload(const struct pit_channel_state *c)
{
	return c->null_count && pit_repeats(c) && c->phase == PIT_COUNTING;
}

static void pit_advance(struct pit_channel_state *c, u64 tick)
{
	if (!pit_is_waiting_reload(c) || tick < c->switch_tick)
		return;
	if (pit_mode(c) == PIT_SQUARE)
		c->start_high =
			pit_position(c, c->switch_tick - c->load_tick).high;
	c->load_tick = c->switch_tick;
	c->period = c->reload;
	c->null_count = 0;
}

/* ---- OUT and the count ---- */

bool pit_out(struct pit_channel_state *c, u64 tick)
{
	u64 elapsed;

	pit_advance(c, tick);
	elapsed = pit_elapsed(c, tick);
	if (c->phase == PIT_WAITING ||
	    (c->phase == PIT_COUNTING && tick < c->load_tick))
		return c->before_load;
	switch (pit_mode(c)) {
	case 0:
	case 1:
		return elapsed >= c->period;
	case PIT_RATE:
		return c->phase == PIT_STOPPED || c->period < 2 ||
		       elapsed % c->period != c->period - 1;
	case PIT_SQUARE:
		return c->phase == PIT_STOPPED || c->period < 2 ||
		       pit_position(c, elapsed).high;
	default: /* the strobe ends, whatever the gate does */
		return c->phase == PIT_STOPPED || elapsed != c->period;
	}
}

static u16 pit_to_bcd(u32 val)
{
	return val % 10 | (val / 10 % 10) << 4 | (val / 100 % 10) << 8 |
	       (val / 1000 % 10) << 12;
}

/* Digits above 9 count as what they are worth. */
static u32 pit_from_bcd(u16 bcd)
{
	return (bcd & 15) + (bcd >> 4 & 15) * 10 + (bcd >> 8 & 15) * 100 +
	       (bcd >> 12) * 1000;
}

u16 pit_count(struct pit_channel_state *c, u64 tick)
{
	u32 modulus = pit_modulus(c);
	u64 elapsed, val;

	pit_advance(c, tick);
	elapsed = pit_elapsed(c, tick);
	if (!c->period)
		val = 0;
	else if (pit_mode(c) == PIT_RATE)
		val = c->period - elapsed % c->period;
	else if (pit_mode(c) == PIT_SQUARE)
		val = (c->period & ~1u) - 2 * pit_position(c, elapsed).in_half;
	else
		val = c->period + modulus - elapsed % modulus;
	val %= modulus;
	return c->control & PIT_BCD ? pit_to_bcd(val) : val;
}

u64 pit_next_rise(struct pit_channel_state *c, u64 tick)
{
	u64 rise;

	pit_advance(c, tick);
	if (c->phase != PIT_COUNTING)
		return PIT_NEVER;
	if (pit_repeats(c)) {
		if (c->period < 2 && !c->null_count)
			return PIT_NEVER;
		if (tick < c->load_tick)
			tick = c->load_tick;
		/* Where a count waits, what follows its half is not known
		 * yet: look again then. */
		rise = pit_cycle_end(c, tick);
		if (pit_mode(c) == PIT_SQUARE && !c->null_count &&
		    pit_out(c, tick))
			rise = pit_cycle_end(c, rise);
		return rise;
	}
	rise = c->load_tick + c->period + (pit_mode(c) >= 4);
	return rise > tick ? rise : PIT_NEVER;
}

/* ---- Control word and counts ---- */

void pit_set_control(struct pit_channel_state *c, u8 control)
{
	u8 gate = c->gate;

	/* [1] "Write operations": all logic of the channel starts anew. */
	*c = (struct pit_channel_state){
		.control = control & 0x3f,
		.gate = gate,
		.null_count = 1,
	};
	c->before_load = pit_mode(c) != 0;
}

static void pit_load(struct pit_channel_state *c, u64 tick)
{
	c->period = c->reload;
	c->load_tick = tick + 1;
	c->elapsed = 0;
	c->start_high = 1;
	c->null_count = 0;
	c->phase = c->gate || pit_is_triggered(c) ? PIT_COUNTING : PIT_STOPPED;
}

/* A whole count has been written. */
static void pit_set_count(struct pit_channel_state *c, u64 tick, u16 val)
{
	u32 count = c->control & PIT_BCD ? pit_from_bcd(val) : val;

	pit_advance(c, tick);
	c->reload = count ? count : pit_modulus(c);
	if (pit_is_triggered(c)) {
		c->null_count = 1;
		return;
	}
	if (!pit_repeats(c) || c->phase == PIT_WAITING) {
		pit_load(c, tick);
		return;
	}
	/* Modes 2 and 3 under way. Stopped: the gate's rise takes it. */
	if (c->phase == PIT_COUNTING && tick < c->load_tick) {
		c->period = c->reload;
		return;
	}
	if (c->phase == PIT_COUNTING && !c->null_count)
		c->switch_tick = pit_cycle_end(c, tick);
	c->null_count = 1;
}

void pit_write_count(struct pit_channel_state *c, u64 tick, u8 val)
{
	switch (pit_rw(c)) {
	case PIT_RW_LOW:
		pit_set_count(c, tick, val);
		break;
	case PIT_RW_HIGH:
		pit_set_count(c, tick, val << 8);
		break;
	case PIT_RW_BOTH:
		c->write_high = !c->write_high;
		if (!c->write_high) {
			pit_set_count(c, tick, val << 8 | c->write_latch);
			break;
		}
		c->write_latch = val;
		/* [1] mode 0: the first byte stops the count, OUT is low. */
		if (pit_mode(c) == 0 && c->phase != PIT_WAITING) {
			c->elapsed = pit_elapsed(c, tick);
			c->phase = PIT_WAITING;
			c->null_count = 1;
		}
		break;
	default: /* no control word since reset */
		break;
	}
}

/* ---- Gate ---- */

static void pit_gate_rise(struct pit_channel_state *c, u64 tick)
{
	if (!c->reload)
		return;
	if (pit_is_triggered(c) || pit_repeats(c)) {
		c->before_load = pit_out(c, tick);
		pit_load(c, tick);
	} else if (c->phase == PIT_STOPPED) {
		if (tick >= c->load_tick)
			c->load_tick = tick - c->elapsed;
		c->phase = PIT_COUNTING;
	}
}

static void pit_gate_fall(struct pit_channel_state *c, u64 tick)
{
	if (pit_is_triggered(c) || c->phase != PIT_COUNTING)
		return;
	c->elapsed = pit_elapsed(c, tick);
	c->phase = PIT_STOPPED;
}

void pit_set_gate(struct pit_channel_state *c, u64 tick, bool gate)
{
	pit_advance(c, tick);
	if (gate == !!c->gate)
		return;
	c->gate = gate;
	if (gate)
		pit_gate_rise(c, tick);
	else
		pit_gate_fall(c, tick);
}

/* ---- Reading ---- */

/* [1] "Counter latch command": a latch that was not read yet stays. */
void pit_latch_count(struct pit_channel_state *c, u64 tick)
{
	if (c->latched)
		return;
	c->latch = pit_count(c, tick);
	c->latched = pit_rw(c);
}

void pit_latch_status(struct pit_channel_state *c, u64 tick)
{
	bool out = pit_out(c, tick);

	if (c->status_latched)
		return;
	c->status = c->control;
	if (out)
		c->status |= PIT_STATUS_OUT;
	if (c->null_count || c->phase == PIT_WAITING ||
	    (c->phase == PIT_COUNTING && tick < c->load_tick))
		c->status |= PIT_STATUS_NULL;
	c->status_latched = 1;
}

u8 pit_read_count(struct pit_channel_state *c, u64 tick)
{
	u16 count;

	if (c->status_latched) {
		c->status_latched = 0;
		return c->status;
	}
	count = c->latched ? c->latch : pit_count(c, tick);
	switch (pit_rw(c)) {
	case PIT_RW_LOW:
		c->latched = PIT_LATCH_NONE;
		return count & 0xff;
	case PIT_RW_HIGH:
		c->latched = PIT_LATCH_NONE;
		return count >> 8;
	case PIT_RW_BOTH:
		c->read_high = !c->read_high;
		if (c->read_high)
			return count & 0xff;
		c->latched = PIT_LATCH_NONE;
		return count >> 8;
	default:
		return 0xff;
	}
}
