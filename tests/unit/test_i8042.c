/* SPDX-License-Identifier: Apache-2.0 */
/* Keyboard controller: what systems ask when they probe, and how they reset. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "irq_record.h"
#include "vm_fixture.h"

enum { DATA = 0x60, COMMAND = 0x64, PORT_A = 0x92, IRQ = 1 };
enum { FULL = 0x01, TIMEOUT = 0x40, AUX = 0x20 };

struct bench {
	struct vm *vm;
	struct device *dev;
	struct irq_record irq;
};

static int setup(void **state)
{
	static struct bench b;

	b = (struct bench){.vm = fixture_vm(1)};
	irq_record_attach(&b.irq, &b.vm->irq);
	b.dev = fixture_device(b.vm, "i8042", NULL);
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	vm_destroy(((struct bench *)*state)->vm);
	return 0;
}

static u8 status(struct bench *b)
{
	return fixture_inb(b->vm, COMMAND);
}

static void command(struct bench *b, u8 val)
{
	fixture_outb(b->vm, COMMAND, val);
}

static void data(struct bench *b, u8 val)
{
	fixture_outb(b->vm, DATA, val);
}

/* The next byte, which must be there. */
static u8 answer(struct bench *b)
{
	assert_true(status(b) & FULL);
	return fixture_inb(b->vm, DATA);
}

static void expect(struct bench *b, const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(answer(b), (u8)bytes[i]);
	assert_false(status(b) & FULL);
}

/* ---- controller ---- */

static void test_self_test(void **state)
{
	struct bench *b = *state;

	assert_int_equal(status(b), 0x14);
	command(b, 0xaa);
	assert_int_equal(status(b), 0x1d);
	assert_int_equal(answer(b), 0x55);
	command(b, 0xab);
	assert_int_equal(answer(b), 0x00);
	command(b, 0xa9); /* no auxiliary device */
	assert_int_not_equal(answer(b), 0x00);
}

static void test_command_byte(void **state)
{
	struct bench *b = *state;

	command(b, 0x20);
	assert_int_equal(answer(b), 0x65);
	command(b, 0xad);
	command(b, 0x20);
	assert_int_equal(answer(b), 0x75);
	command(b, 0xae);
	command(b, 0xa8);
	command(b, 0x20);
	assert_int_equal(answer(b), 0x45);
	command(b, 0x60);
	assert_int_equal(status(b), 0x1c);
	data(b, 0x30);
	assert_int_equal(status(b), 0x10); /* the system flag went too */
	command(b, 0x20);
	assert_int_equal(answer(b), 0x30);
	for (u8 i = 1; i < 32; i++) {
		command(b, 0x60 + i);
		data(b, i ^ 0xa5);
	}
	for (u8 i = 1; i < 32; i++) {
		command(b, 0x20 + i);
		assert_int_equal(answer(b), i ^ 0xa5);
	}
}

static void test_commands_end_what_was_begun(void **state)
{
	struct bench *b = *state;

	data(b, 0xf2); /* three bytes wait */
	command(b, 0xaa);
	expect(b, "\x55", 1);
	command(b, 0x60);
	command(b, 0xad);
	data(b, 0xee); /* is the keyboard's, and turns it on */
	expect(b, "\xee", 1);
	command(b, 0x20);
	expect(b, "\x65", 1);
}

static void test_echo_and_aux(void **state)
{
	struct bench *b = *state;

	command(b, 0xd2);
	data(b, 0x42);
	assert_true(b->irq.level[IRQ]);
	expect(b, "\x42", 1);
	/* Linux takes the missing flag for "no auxiliary port". */
	command(b, 0xd3);
	data(b, 0x5a);
	assert_false(status(b) & AUX);
	expect(b, "\x5a", 1);
	command(b, 0xd4);
	data(b, 0xf2);
	assert_int_equal(status(b) & (AUX | TIMEOUT), AUX | TIMEOUT);
	assert_false(b->irq.level[IRQ]);
	expect(b, "\xfe", 1);
}

static void test_a20_reads_back(void **state)
{
	struct bench *b = *state;

	command(b, 0xd0);
	assert_int_equal(answer(b) & 0x03, 0x03);
	command(b, 0xd1);
	data(b, 0xdd); /* off */
	command(b, 0xd0);
	assert_int_equal(answer(b) & 0x03, 0x01);
	command(b, 0xd1);
	data(b, 0xdf);
	command(b, 0xd0);
	assert_int_equal(answer(b) & 0x03, 0x03);
	assert_int_equal(fixture_inb(b->vm, PORT_A), 0x02);
	fixture_outb(b->vm, PORT_A, 0x00);
	assert_int_equal(fixture_inb(b->vm, PORT_A), 0x00);
	assert_int_equal(b->vm->stop_reason, VM_STOP_NONE);
}

static void test_resets(void **state)
{
	static const struct {
		u16 port;
		u8 first, second; /* second goes to 0x60 where first waits */
	} ways[] = {
		{COMMAND, 0xfe, 0},
		{COMMAND, 0xf0, 0},
		{COMMAND, 0xd1, 0xde},
		{PORT_A, 0x01, 0},
	};

	teardown(state);
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		struct bench *b;

		setup(state);
		b = *state;
		command(b, 0xff); /* pulses nothing */
		assert_int_equal(b->vm->stop_reason, VM_STOP_NONE);
		fixture_outb(b->vm, ways[i].port, ways[i].first);
		if (ways[i].second)
			data(b, ways[i].second);
		assert_int_equal(b->vm->stop_reason, VM_STOP_RESET);
		teardown(state);
	}
	setup(state);
}

/* ---- keyboard ---- */

static void test_keyboard_commands(void **state)
{
	struct bench *b = *state;

	data(b, 0xff);
	assert_true(b->irq.level[IRQ]);
	expect(b, "\xfa\xaa", 2);
	assert_false(b->irq.level[IRQ]);
	data(b, 0xf2); /* translated: 83 is read as 41 */
	expect(b, "\xfa\xab\x41", 3);
	data(b, 0xfe);
	expect(b, "\x41", 1);
	data(b, 0xee);
	expect(b, "\xee", 1);
	data(b, 0xed);
	expect(b, "\xfa", 1);
	data(b, 0x07);
	expect(b, "\xfa", 1);
	data(b, 0xf3);
	data(b, 0x00);
	expect(b, "\xfa\xfa", 2);
	data(b, 0xf4);
	data(b, 0xf5);
	data(b, 0xf6);
	expect(b, "\xfa\xfa\xfa", 3);
	data(b, 0x12); /* no command */
	expect(b, "\xfe", 1);
}

static void test_untranslated(void **state)
{
	struct bench *b = *state;

	command(b, 0x60);
	data(b, 0x05);
	data(b, 0xf2);
	expect(b, "\xfa\xab\x83", 3);
	data(b, 0xf0);
	data(b, 0x00);
	expect(b, "\xfa\xfa\x02", 3);
	data(b, 0xf0);
	data(b, 0x03);
	data(b, 0xf0);
	data(b, 0x00);
	expect(b, "\xfa\xfa\xfa\xfa\x03", 5);
}

static void test_interrupts(void **state)
{
	struct bench *b = *state;

	data(b, 0xf2);
	assert_int_equal(b->irq.edges[IRQ], 1);
	answer(b);
	assert_int_equal(b->irq.edges[IRQ], 2); /* one edge a byte */
	answer(b);
	answer(b);
	assert_int_equal(b->irq.edges[IRQ], 3);
	command(b, 0x60);
	data(b, 0x64); /* disabled */
	data(b, 0xee);
	assert_false(b->irq.level[IRQ]);
	command(b, 0x60);
	data(b, 0x65);
	assert_true(b->irq.level[IRQ]);
	expect(b, "\xee", 1);
}

static void test_no_keyboard(void **state)
{
	struct bench *b = *state;

	vm_destroy(b->vm);
	b->vm = fixture_vm(1);
	b->dev = fixture_device(b->vm, "i8042", "keyboard=off");
	data(b, 0xf2);
	assert_int_equal(status(b) & TIMEOUT, TIMEOUT);
	expect(b, "\xfe", 1);
}

/* ---- life ---- */

static void test_save_load(void **state)
{
	struct bench *b = *state;
	struct device_blob blob;
	struct err err = {0};

	data(b, 0xf2);
	assert_int_equal(answer(b), 0xfa);
	command(b, 0x60);
	assert_int_equal(device_save(b->dev, &blob, &err), 0);
	device_reset_all(b->vm);
	assert_false(b->irq.level[IRQ]);
	assert_int_equal(device_load(b->dev, &blob, &err), 0);
	assert_true(b->irq.level[IRQ]);
	expect(b, "\xab\x41", 2);
	data(b, 0x77); /* still the command byte */
	command(b, 0x20);
	expect(b, "\x77", 1);
	memset(blob.data, 0xff, blob.size);
	assert_int_equal(device_load(b->dev, &blob, &err), -EINVAL);
}

static void test_nonsense(void **state)
{
	struct bench *b = *state;
	u32 seed = 5;

	for (int i = 0; i < 100000; i++) {
		u32 random = fixture_random(&seed);
		u8 val = (u8)random;

		if (random & 0x100)
			data(b, val);
		else if (val < 0xf0)
			command(b, val);
		if (random & 0x200)
			fixture_inb(b->vm, DATA);
	}
	while (status(b) & FULL)
		fixture_inb(b->vm, DATA);
	command(b, 0xaa);
	expect(b, "\x55", 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_self_test),
		TEST(test_command_byte),
		TEST(test_commands_end_what_was_begun),
		TEST(test_echo_and_aux),
		TEST(test_a20_reads_back),
		TEST(test_resets),
		TEST(test_keyboard_commands),
		TEST(test_untranslated),
		TEST(test_interrupts),
		TEST(test_no_keyboard),
		TEST(test_save_load),
		TEST(test_nonsense),
	};
#undef TEST

	return cmocka_run_group_tests_name("i8042", tests, NULL, NULL);
}
