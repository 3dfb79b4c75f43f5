/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random sequences on several LAPICs against a model with one flag for each
 * vector and one comparison for each destination, as SDM vol. 3A 11.6.2 and
 * 11.8.3 word them; and messages from several threads at once.
 */
#include "unit.h"

#include <string.h>

#include "arch/x86.h"
#include "vm_fixture.h"

enum { TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0, SVR = 0xf0 };
enum { ISR = 0x100, TMR = 0x180, IRR = 0x200 };

#define CPUS 18

struct model {
	bool irr[256], isr[256], tmr[256];
	u8 tpr;
	bool enabled, x2apic, cluster;
	u8 ldr;
};

static struct {
	struct vm *vm;
	struct model cpu[CPUS];
	int broadcast; /* vector of the last EOI broadcast, -1 */
} world;

static struct lapic *lapic(unsigned id)
{
	return &world.vm->vcpus[id]->lapic;
}

static u32 rd(unsigned id, u32 off)
{
	u64 val;

	if (!world.cpu[id].x2apic)
		return lapic_mmio_read(lapic(id), off);
	assert_true(lapic_msr_read(lapic(id), 0x800 + off / 16, &val));
	return (u32)val;
}

static void wr(unsigned id, u32 off, u32 val)
{
	if (!world.cpu[id].x2apic)
		lapic_mmio_write(lapic(id), off, val);
	else
		assert_true(lapic_msr_write(lapic(id), 0x800 + off / 16, val));
}

static int top(const bool *set)
{
	int i;

	for (i = 255; i >= 0; i--)
		if (set[i])
			return i;
	return -1;
}

static u8 model_ppr(const struct model *m)
{
	int isr = top(m->isr);

	if (isr < 0 || m->tpr / 16 >= isr / 16)
		return m->tpr;
	return isr / 16 * 16;
}

static int model_pending(const struct model *m)
{
	int irr = top(m->irr);

	return irr >= 0 && irr / 16 > model_ppr(m) / 16 ? irr : -1;
}

static bool model_is_for(unsigned id, const struct lapic_msg *msg)
{
	const struct model *m = &world.cpu[id];

	if (!msg->logical)
		return msg->dest == id || msg->dest == 0xff ||
		       msg->dest == 0xffffffff;
	if (msg->dest == 0xffffffff)
		return true;
	if (m->x2apic)
		return msg->dest / 65536 == id / 16 &&
		       (msg->dest % 65536 >> id % 16 & 1);
	if (msg->dest > 0xff)
		return false;
	if (msg->dest == 0xff)
		return true;
	if (!m->cluster)
		return msg->dest & m->ldr;
	return (msg->dest / 16 == m->ldr / 16 || msg->dest / 16 == 15) &&
	       (msg->dest & m->ldr & 15);
}

static void compare(unsigned id)
{
	const struct model *m = &world.cpu[id];
	u32 word[3];
	unsigned i, bit;

	assert_int_equal(lapic_pending(lapic(id)), model_pending(m));
	assert_int_equal(rd(id, PPR), model_ppr(m));
	for (i = 0; i < 8; i++) {
		memset(word, 0, sizeof(word));
		for (bit = 0; bit < 32; bit++) {
			word[0] |= (u32)m->isr[i * 32 + bit] << bit;
			word[1] |= (u32)m->tmr[i * 32 + bit] << bit;
			word[2] |= (u32)m->irr[i * 32 + bit] << bit;
		}
		assert_int_equal(rd(id, ISR + i * 16), word[0]);
		assert_int_equal(rd(id, TMR + i * 16), word[1]);
		assert_int_equal(rd(id, IRR + i * 16), word[2]);
	}
}

static void on_eoi(struct device *dev, u8 vector)
{
	world.broadcast = vector;
}

static void random_message(u32 *seed)
{
	u32 r = fixture_random(seed);
	struct lapic_msg msg = {
		.vector = 16 + r % 240,
		.level = r & 0x1000,
		.logical = r & 0x2000,
		.dest = fixture_random(seed) % 256,
	};
	bool taken = false;
	unsigned i;

	if (r & 0x4000)
		msg.dest = (r >> 16 & 1) << 16 | (msg.dest << (r >> 20 & 8));
	if (!msg.logical && !(r & 0x8000))
		msg.dest %= CPUS;
	for (i = 0; i < CPUS; i++) {
		struct model *m = &world.cpu[i];

		if (!model_is_for(i, &msg) || !m->enabled)
			continue;
		m->irr[msg.vector] = true;
		m->tmr[msg.vector] = msg.level;
		taken = true;
	}
	assert_int_equal(lapic_deliver(world.vm, &msg), taken);
}

static void random_take(unsigned id)
{
	struct model *m = &world.cpu[id];
	int vector = model_pending(m);

	if (vector < 0)
		return;
	lapic_ack(lapic(id), (u8)vector);
	m->irr[vector] = false;
	m->isr[vector] = true;
}

static void random_eoi(unsigned id)
{
	struct model *m = &world.cpu[id];
	int vector = top(m->isr), expect = -1;

	if (vector >= 0) {
		m->isr[vector] = false;
		expect = m->tmr[vector] ? vector : -1;
	}
	world.broadcast = -1;
	fixture_events(world.vm, id);
	wr(id, EOI, 0);
	assert_int_equal(world.broadcast, expect);
	/* Whoever waited for it is told. */
	if (vector >= 0)
		assert_int_equal(fixture_events(world.vm, id) != 0,
				 model_pending(m) >= 0);
}

static void random_address(unsigned id, u32 r)
{
	struct model *m = &world.cpu[id];

	if (m->x2apic)
		return;
	m->ldr = r >> 24;
	m->cluster = r & 1;
	wr(id, LDR, r);
	wr(id, DFR, m->cluster ? 0 : 0xffffffff);
}

static void step(u32 *seed)
{
	u32 r = fixture_random(seed), val = fixture_random(seed);
	unsigned id = val % CPUS;
	struct model *m = &world.cpu[id];

	switch (r % 16) {
	case 0:
		m->tpr = val >> 8;
		wr(id, TPR, m->tpr);
		break;
	case 1:
		m->tpr = val >> 8 & 0xf0;
		lapic_set_cr8(lapic(id), m->tpr / 16);
		break;
	case 2:
		random_address(id, val);
		break;
	case 3:
		m->enabled = val & 0x7000;
		wr(id, SVR, m->enabled ? 0x1ff : 0xff);
		break;
	case 4 ... 8:
		random_message(seed);
		break;
	case 9 ... 12:
		random_take(id);
		break;
	default:
		random_eoi(id);
		break;
	}
	compare(id);
}

static void test_random(void **state)
{
	struct device ioapic = {0};
	unsigned round, i;
	u32 seed;

	for (round = 1; round <= 20; round++) {
		memset(&world, 0, sizeof(world));
		world.vm = fixture_vm(CPUS);
		ioapic.vm = world.vm;
		pthread_mutex_init(&ioapic.lock, NULL);
		world.vm->irq.ioapic.dev = &ioapic;
		world.vm->irq.eoi = on_eoi;
		for (i = 0; i < CPUS; i++) {
			if (round % 2 && (i % 3 == 0 || round % 4 == 3)) {
				assert_true(lapic_msr_write(
					lapic(i), MSR_APIC_BASE, 0xfee00c00));
				world.cpu[i].x2apic = true;
			}
		}
		seed = round * 2654435761u;
		for (i = 0; i < 4000; i++)
			step(&seed);
		for (i = 0; i < CPUS; i++)
			compare(i);
		pthread_mutex_destroy(&ioapic.lock);
		vm_destroy(world.vm);
	}
}

/* ---- Threads ---- */

#define SENDERS 3
#define ROUNDS 20000

struct sender {
	struct vm *vm;
	u8 vector;
	_Atomic u32 sent, seen;
};

/* Sends again when the vCPU has taken the one before. */
static void *sender_main(void *arg)
{
	struct sender *s = arg;
	struct lapic_msg msg = {.dest = 0, .vector = s->vector};
	unsigned i;

	for (i = 1; i <= ROUNDS; i++) {
		atomic_store(&s->sent, i);
		msg.level = i & 1;
		lapic_deliver(s->vm, &msg);
		while (atomic_load(&s->seen) < i)
			sched_yield();
	}
	return NULL;
}

/* No message is lost, and none is taken without an event. */
static void test_threads(void **state)
{
	struct sender senders[SENDERS];
	pthread_t threads[SENDERS];
	struct vm *vm = fixture_vm(1);
	struct lapic *l = &vm->vcpus[0]->lapic;
	unsigned i, taken = 0;
	int vector;

	lapic_mmio_write(l, SVR, 0x1ff);
	for (i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){.vm = vm, .vector = 0x31 + i * 16};
		pthread_create(&threads[i], NULL, sender_main, &senders[i]);
	}
	while (taken < SENDERS * ROUNDS) {
		if (!fixture_events(vm, 0)) {
			sched_yield();
			continue;
		}
		while ((vector = lapic_pending(l)) >= 0) {
			struct sender *s = &senders[(vector - 0x31) / 16];

			lapic_ack(l, (u8)vector);
			assert_int_equal(
				l->regs.tmr[vector / 32] >> vector % 32 & 1,
				s->sent & 1);
			lapic_eoi(l);
			taken++;
			atomic_store(&s->seen, s->sent);
		}
	}
	for (i = 0; i < SENDERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(lapic_pending(l), -1);
	vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
