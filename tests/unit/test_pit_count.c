/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 8254's counting against a model that does what the chip does: one step
 * per CLK pulse, as the 82C54 datasheet (231244-006) words each mode.
 */
#include "unit.h"

#include <string.h>

#include "chips/pit_count.h"
#include "vm_fixture.h"

struct model {
	unsigned mode;
	bool bcd, gate, out;
	bool load;     /* at the next CLK */
	bool counting; /* a count was loaded and not disabled */
	bool odd;      /* mode 3: what was loaded */
	bool half;     /* the low byte of a count was written */
	u32 cr, ce, modulus;
};

static void model_control(struct model *m, unsigned mode, bool bcd)
{
	*m = (struct model){.mode = mode,
			    .bcd = bcd,
			    .gate = m->gate,
			    .out = mode != 0,
			    .modulus = bcd ? 10000 : 65536};
}

/* Mode 0 only: the first of two bytes. */
static void model_first_byte(struct model *m)
{
	if (m->mode != 0)
		return;
	m->out = false;
	m->counting = m->load = false;
}

static void model_write(struct model *m, u32 count)
{
	bool triggered = m->mode == 1 || m->mode == 5;
	bool repeats = m->mode == 2 || m->mode == 3;

	m->cr = count;
	if (m->mode == 0)
		m->out = false;
	if (!triggered && (!repeats || !m->counting))
		m->load = true;
}

static void model_gate(struct model *m, bool gate)
{
	bool rose = gate && !m->gate;

	m->gate = gate;
	if (rose && m->cr && m->mode != 0 && m->mode != 4)
		m->load = true;
	if (!gate && (m->mode == 2 || m->mode == 3))
		m->out = true;
}

static void model_load(struct model *m)
{
	m->load = false;
	m->counting = true;
	m->odd = m->mode == 3 && (m->cr & 1);
	m->ce = m->cr - m->odd;
	if (m->mode == 1)
		m->out = false;
	if (m->mode == 4 || m->mode == 5)
		m->out = true;
}

static void model_square(struct model *m)
{
	if (m->odd && m->out && m->ce) {
		m->ce -= 2;
		return;
	}
	if (!(m->odd && m->out))
		m->ce -= 2;
	if (m->ce)
		return;
	m->out = !m->out;
	model_load(m);
}

static void model_clk(struct model *m)
{
	if (m->load) {
		model_load(m);
		return;
	}
	if (m->mode >= 4)
		m->out = true;
	if (!m->counting || (!m->gate && m->mode != 1 && m->mode != 5))
		return;
	if (m->mode == 3) {
		model_square(m);
		return;
	}
	if (m->mode == 2 && m->ce == 1) {
		model_load(m);
		m->out = true;
		return;
	}
	m->ce = m->ce ? m->ce - 1 : m->modulus - 1;
	if (m->mode == 2)
		m->out = m->ce != 1;
	else if (m->ce == 0)
		m->out = m->mode < 4;
}

static u16 model_count(const struct model *m)
{
	u32 v = m->ce % m->modulus;

	if (!m->bcd)
		return v;
	return v % 10 | (v / 10 % 10) << 4 | (v / 100 % 10) << 8 |
	       (v / 1000) << 12;
}

static u16 encode(const struct model *m, u32 count)
{
	struct model scratch = {
		.bcd = m->bcd, .ce = count, .modulus = m->modulus};

	return model_count(&scratch);
}

static u32 pick_count(u32 *seed, const struct model *m)
{
	u32 r = fixture_random(seed);

	if (r % 8 == 0)
		return m->modulus;
	return 2 + (r >> 3) % (r & 4 ? 9 : 40);
}

/* One random event of both, at tick t. */
static void poke(struct model *m, struct pit_channel_state *c, u64 t, u32 *seed)
{
	u32 r = fixture_random(seed), count;
	u16 bits;

	if (m->half) {
		count = pick_count(seed, m);
		bits = encode(m, count);
		pit_write_count(c, t, bits >> 8);
		count = (bits & 0xff00) | c->write_latch;
		/* What the two bytes really say. */
		if (m->bcd)
			count = (count & 15) + (count >> 4 & 15) * 10 +
				(count >> 8 & 15) * 100 + (count >> 12) * 1000;
		model_write(m, count ? count : m->modulus);
		m->half = false;
	} else if (r % 16 < 6) {
		bool gate = r & 16;

		/* A gate in the very tick of the strobe is not emulated. */
		if (m->mode == 4 && !m->out)
			return;
		pit_set_gate(c, t, gate);
		model_gate(m, gate);
	} else if (r % 16 < 14) {
		bits = encode(m, pick_count(seed, m));
		pit_write_count(c, t, bits & 0xff);
		model_first_byte(m);
		m->half = true;
	} else {
		unsigned mode = (r >> 8) % 6;
		bool bcd = r & 0x10000;

		pit_set_control(c, 3 << PIT_RW_SHIFT | mode << PIT_MODE_SHIFT |
					   bcd);
		model_control(m, mode, bcd);
	}
}

static void run_model(u32 seed, unsigned ticks)
{
	struct pit_channel_state c = {0};
	struct model m = {0};
	u64 t;

	pit_set_control(&c, 0x30);
	model_control(&m, 0, false);
	for (t = 1; t < ticks; t++) {
		model_clk(&m);
		if (pit_out(&c, t) != m.out)
			fail_msg("seed %u tick %u mode %u: OUT is %u", seed,
				 (unsigned)t, m.mode, !m.out);
		if (m.counting && !m.load &&
		    pit_count(&c, t) != model_count(&m))
			fail_msg("seed %u tick %u mode %u: count %u not %u",
				 seed, (unsigned)t, m.mode, pit_count(&c, t),
				 model_count(&m));
		while (fixture_random(&seed) % 24 == 0)
			poke(&m, &c, t, &seed);
	}
}

static void test_model(void **state)
{
	unsigned i;

	for (i = 1; i <= 400; i++)
		run_model(i * 2654435761u, 3000);
}

/* Looking only now and then must not matter. */
static void test_lazy(void **state)
{
	struct pit_channel_state often = {.gate = 1}, seldom;
	u32 seed = 7;
	u64 t;
	unsigned mode;

	for (mode = 0; mode < 6; mode++) {
		pit_set_control(&often, 0x30 | mode << 1);
		pit_write_count(&often, 10, 20);
		pit_write_count(&often, 10, 0);
		pit_set_gate(&often, 12, mode != 1 && mode != 5);
		pit_set_gate(&often, 13, true);
		pit_write_count(&often, 17, 33);
		pit_write_count(&often, 17, 0);
		seldom = often;
		for (t = 18; t < 500; t++) {
			bool out = pit_out(&often, t);
			u16 count = pit_count(&often, t);

			if (fixture_random(&seed) % 40)
				continue;
			assert_int_equal(out, pit_out(&seldom, t));
			assert_int_equal(count, pit_count(&seldom, t));
		}
	}
}

/* Next rise: the first tick at which OUT is high after low, no later. */
static void test_next_rise(void **state)
{
	struct pit_channel_state c = {.gate = 1};
	unsigned mode, n;
	u64 t, rise;
	bool before, out;

	for (mode = 0; mode < 5; mode++)
		for (n = 2; n < 12; n++) {
			pit_set_control(&c, 0x10 | mode << 1);
			pit_write_count(&c, 100, n);
			rise = pit_next_rise(&c, 100);
			before = pit_out(&c, 100);
			for (t = 101; t < 160; t++) {
				out = pit_out(&c, t);
				if (out && !before) {
					assert_int_equal(t, rise);
					rise = pit_next_rise(&c, t);
				}
				before = out;
			}
			assert_true(mode == 2 || mode == 3 ? rise < 200
							   : rise == PIT_NEVER);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_lazy),
		cmocka_unit_test(test_next_rise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
