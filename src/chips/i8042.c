/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyboard controller (8042 of an AT), its keyboard, and port 0x92.
 *
 * References: [1] IBM PS/2 Hardware Interface Technical Reference, Keyboard and
 * Auxiliary Device Controller. [2] IBM Keyboard (101-/102-key) Technical
 * Reference. [3] IBM PS/2 Model 80 Technical Reference, system control port A.
 *
 * Not emulated: key strokes (nobody types here; the keyboard answers its
 * commands, so that probing it is quick), an auxiliary device, the input port's
 * straps, and gate A20: its bits read back, addresses are never masked.
 *
 * Guests reach this chip mostly to reset the machine, which it does at once.
 */
#include <errno.h>
#include <string.h>

#include "vmm/device.h"
#include "vmm/vm.h"

enum { I8042_DATA = 0x60, I8042_COMMAND = 0x64, I8042_PORT_A = 0x92 };

enum i8042_bits {
	/* [1] status register */
	STATUS_OUTPUT_FULL = 0x01,
	STATUS_SYSTEM = 0x04,
	STATUS_COMMAND = 0x08,	/* the last write went to 0x64 */
	STATUS_UNLOCKED = 0x10, /* keyboard lock is off */
	STATUS_AUX_FULL = 0x20,
	STATUS_TIMEOUT = 0x40,
	/* [1] command byte */
	CB_INT_KEYBOARD = 0x01,
	CB_INT_AUX = 0x02,
	CB_SYSTEM = 0x04,
	CB_NO_KEYBOARD = 0x10, /* its clock is held low */
	CB_NO_AUX = 0x20,
	CB_TRANSLATE = 0x40,
	/* [1] output port */
	OUT_NOT_RESET = 0x01,
	OUT_A20 = 0x02,
	OUT_FULL = 0x10,
	OUT_AUX_FULL = 0x20,
	OUT_LINES = 0xc0, /* keyboard clock and data */
	/* [3] system control port A */
	PORT_A_RESET = 0x01,
	PORT_A_A20 = 0x02,
};

/* [1] controller commands */
enum i8042_command {
	CMD_READ_RAM = 0x20, /* to 0x3f */
	CMD_WRITE_RAM = 0x60,
	CMD_AUX_DISABLE = 0xa7,
	CMD_AUX_ENABLE = 0xa8,
	CMD_AUX_TEST = 0xa9,
	CMD_SELF_TEST = 0xaa,
	CMD_KEYBOARD_TEST = 0xab,
	CMD_KEYBOARD_DISABLE = 0xad,
	CMD_KEYBOARD_ENABLE = 0xae,
	CMD_READ_INPUT = 0xc0,
	CMD_READ_OUTPUT = 0xd0,
	CMD_WRITE_OUTPUT = 0xd1,
	CMD_ECHO_KEYBOARD = 0xd2,
	CMD_ECHO_AUX = 0xd3,
	CMD_WRITE_AUX = 0xd4,
	CMD_PULSE = 0xf0, /* to 0xff; clear bits go low for 6 us */
};

/* [2] keyboard commands and answers */
enum keyboard_byte {
	KBD_SET_LEDS = 0xed,
	KBD_ECHO = 0xee,
	KBD_SCANCODE_SET = 0xf0,
	KBD_IDENTIFY = 0xf2,
	KBD_SET_RATE = 0xf3,
	KBD_ENABLE = 0xf4,
	KBD_DISABLE = 0xf5,
	KBD_DEFAULTS = 0xf6,
	KBD_ALL_KEYS_FIRST = 0xf7,
	KBD_ALL_KEYS_LAST = 0xfa,
	KBD_KEY_TYPE_FIRST = 0xfb,
	KBD_KEY_TYPE_LAST = 0xfd,
	KBD_RESEND = 0xfe,
	KBD_RESET = 0xff,
	KBD_ACK = 0xfa,
	KBD_PASSED = 0xaa,
	KBD_ID1 = 0xab,
	KBD_ID2 = 0x83,
};

enum { I8042_RAM = 32, I8042_QUEUE = 8 };

/* The controller's default after a BIOS: translating, keyboard on. */
enum { CB_DEFAULT = CB_TRANSLATE | CB_NO_AUX | CB_SYSTEM | CB_INT_KEYBOARD };

struct i8042_byte {
	u8 data;
	u8 status; /* STATUS_AUX_FULL, STATUS_TIMEOUT */
};

struct i8042_regs {
	u8 ram[I8042_RAM]; /* [0] is the command byte */
	u8 output_port;
	u8 port_a;
	u8 status;	     /* SYSTEM and COMMAND */
	u8 expects;	     /* command whose data byte comes next, or 0 */
	u8 keyboard_expects; /* the same for the keyboard */
	u8 scancode_set;
	u8 last_sent; /* by the keyboard, for RESEND */
	u8 count;     /* of the bytes that wait to be read, first at [0] */
	struct i8042_byte queue[I8042_QUEUE];
};

struct i8042 {
	struct device dev;
	/* config */
	u64 irq;
	bool keyboard;
	/* regs */
	struct i8042_regs regs;
	/* host */
	struct irq_line line;
};

static struct i8042 *to_i8042(struct device *dev)
{
	return container_of(dev, struct i8042, dev);
}

/* ---- output buffer --------------------------------------------------------
 */

/* IRQ 1 is up while a byte of the keyboard's side waits, [1]. */
static void i8042_update(struct i8042 *c)
{
	struct i8042_regs *r = &c->regs;
	bool full = r->count && !(r->queue[0].status & STATUS_AUX_FULL);

	irq_set(c->line, full && (r->ram[0] & CB_INT_KEYBOARD));
}

static void i8042_queue(struct i8042 *c, u8 data, u8 status)
{
	struct i8042_regs *r = &c->regs;

	if (r->count == I8042_QUEUE)
		return;
	r->queue[r->count++] = (struct i8042_byte){data, status};
	i8042_update(c);
}

static u8 i8042_read_data(struct i8042 *c)
{
	struct i8042_regs *r = &c->regs;
	u8 data = r->queue[0].data; /* empty: the last one again */

	if (!r->count)
		return data;
	r->count--;
	irq_set(c->line, false); /* every byte is an edge */
	if (r->count) {
		memmove(r->queue, r->queue + 1, r->count * sizeof(*r->queue));
		i8042_update(c);
	}
	return data;
}

/* ---- keyboard -------------------------------------------------------------
 */

/*
 * [1] scan code translation, of the bytes that this keyboard sends: two of its
 * identification and the number of the scan code set are also scan codes.
 */
static u8 keyboard_translate(u8 data)
{
	switch (data) {
	case 0x01:
		return 0x43;
	case 0x02:
		return 0x41;
	case 0x03:
		return 0x3f;
	case KBD_ID2:
		return 0x41;
	default:
		return data;
	}
}

static void keyboard_send(struct i8042 *c, u8 data)
{
	struct i8042_regs *r = &c->regs;

	r->last_sent = data;
	if (r->ram[0] & CB_TRANSLATE)
		data = keyboard_translate(data);
	i8042_queue(c, data, 0);
}

/* The byte that belongs to a command; only the scan code set has an effect. */
static void keyboard_argument(struct i8042 *c, u8 command, u8 data)
{
	struct i8042_regs *r = &c->regs;

	keyboard_send(c, KBD_ACK);
	if (command != KBD_SCANCODE_SET)
		return;
	if (!data)
		keyboard_send(c, r->scancode_set);
	else if (data <= 3)
		r->scancode_set = data;
}

static void keyboard_command(struct i8042 *c, u8 data)
{
	struct i8042_regs *r = &c->regs;

	switch (data) {
	case KBD_ECHO:
		keyboard_send(c, KBD_ECHO);
		return;
	case KBD_RESEND:
		keyboard_send(c, r->last_sent);
		return;
	case KBD_IDENTIFY:
		keyboard_send(c, KBD_ACK);
		keyboard_send(c, KBD_ID1);
		keyboard_send(c, KBD_ID2);
		return;
	case KBD_RESET:
		r->scancode_set = 2;
		keyboard_send(c, KBD_ACK);
		keyboard_send(c, KBD_PASSED);
		return;
	case KBD_SET_LEDS:
	case KBD_SCANCODE_SET:
	case KBD_SET_RATE:
	case KBD_KEY_TYPE_FIRST ... KBD_KEY_TYPE_LAST:
		r->keyboard_expects = data;
		keyboard_send(c, KBD_ACK);
		return;
	case KBD_DEFAULTS:
		r->scancode_set = 2;
		keyboard_send(c, KBD_ACK);
		return;
	case KBD_ENABLE:
	case KBD_DISABLE:
	case KBD_ALL_KEYS_FIRST ... KBD_ALL_KEYS_LAST:
		keyboard_send(c, KBD_ACK);
		return;
	default:
		keyboard_send(c, KBD_RESEND);
		return;
	}
}

static void keyboard_write(struct i8042 *c, u8 data)
{
	struct i8042_regs *r = &c->regs;
	u8 command = r->keyboard_expects;

	r->ram[0] &= (u8)~CB_NO_KEYBOARD; /* [1]: sending turns it on */
	r->keyboard_expects = 0;
	if (!c->keyboard)
		i8042_queue(c, KBD_RESEND, STATUS_TIMEOUT);
	else if (command && data < KBD_SET_LEDS)
		keyboard_argument(c, command, data);
	else
		keyboard_command(c, data);
}

/* ---- controller ------------------------------------------------------------
 */

static void i8042_reset_machine(struct i8042 *c)
{
	vm_stop(c->dev.vm, VM_STOP_RESET, 0, "reset by %s", c->dev.id);
}

static void output_port_write(struct i8042 *c, u8 data)
{
	c->regs.output_port = data | OUT_LINES;
	if (!(data & OUT_NOT_RESET))
		i8042_reset_machine(c);
}

static u8 output_port_read(const struct i8042_regs *r)
{
	u8 port = r->output_port & (u8) ~(OUT_FULL | OUT_AUX_FULL);

	if (r->count)
		port |= r->queue[0].status & STATUS_AUX_FULL ? OUT_AUX_FULL
							     : OUT_FULL;
	return port;
}

static void command_byte_write(struct i8042 *c, u8 data)
{
	struct i8042_regs *r = &c->regs;

	r->ram[0] = data;
	r->status &= (u8)~STATUS_SYSTEM;
	if (data & CB_SYSTEM)
		r->status |= STATUS_SYSTEM;
	i8042_update(c);
}

static void i8042_command(struct i8042 *c, u8 command)
{
	struct i8042_regs *r = &c->regs;

	r->expects = 0;
	switch (command) {
	case CMD_READ_RAM ... CMD_READ_RAM + I8042_RAM - 1:
		i8042_queue(c, r->ram[command - CMD_READ_RAM], 0);
		break;
	case CMD_WRITE_RAM ... CMD_WRITE_RAM + I8042_RAM - 1:
	case CMD_WRITE_OUTPUT ... CMD_WRITE_AUX:
		r->expects = command;
		break;
	case CMD_AUX_DISABLE:
		r->ram[0] |= CB_NO_AUX;
		break;
	case CMD_AUX_ENABLE:
		r->ram[0] &= (u8)~CB_NO_AUX;
		break;
	case CMD_AUX_TEST:
		i8042_queue(c, 0x01, 0); /* clock line stuck low: nothing */
		break;
	case CMD_SELF_TEST:
		r->count = 0;
		r->status |= STATUS_SYSTEM;
		i8042_queue(c, 0x55, 0);
		break;
	case CMD_KEYBOARD_TEST:
		i8042_queue(c, 0x00, 0);
		break;
	case CMD_KEYBOARD_DISABLE:
		r->ram[0] |= CB_NO_KEYBOARD;
		break;
	case CMD_KEYBOARD_ENABLE:
		r->ram[0] &= (u8)~CB_NO_KEYBOARD;
		break;
	case CMD_READ_INPUT:
		i8042_queue(c, 0x80, 0); /* not locked */
		break;
	case CMD_READ_OUTPUT:
		i8042_queue(c, output_port_read(r), 0);
		break;
	case CMD_PULSE ... 0xff:
		if (!(command & OUT_NOT_RESET))
			i8042_reset_machine(c);
		break;
	default: /* others do nothing, [1] */
		break;
	}
}

static void i8042_write_data(struct i8042 *c, u8 data)
{
	struct i8042_regs *r = &c->regs;
	u8 command = r->expects;

	r->expects = 0;
	switch (command) {
	case CMD_WRITE_RAM:
		command_byte_write(c, data);
		break;
	case CMD_WRITE_RAM + 1 ... CMD_WRITE_RAM + I8042_RAM - 1:
		r->ram[command - CMD_WRITE_RAM] = data;
		break;
	case CMD_WRITE_OUTPUT:
		output_port_write(c, data);
		break;
	case CMD_ECHO_KEYBOARD:
		i8042_queue(c, data, 0);
		break;
	case CMD_ECHO_AUX:
		/* Without an auxiliary port this is a byte like any other,
		 * which tells drivers so at once. */
		i8042_queue(c, data, 0);
		break;
	case CMD_WRITE_AUX:
		i8042_queue(c, KBD_RESEND, STATUS_AUX_FULL | STATUS_TIMEOUT);
		break;
	default:
		keyboard_write(c, data);
		break;
	}
}

static u8 i8042_status(const struct i8042_regs *r)
{
	u8 status = r->status | STATUS_UNLOCKED;

	if (r->count)
		status |= STATUS_OUTPUT_FULL | r->queue[0].status;
	return status;
}

static u64 i8042_data_read(struct device *dev, u64 off, unsigned width)
{
	return i8042_read_data(to_i8042(dev));
}

static void i8042_data_write(struct device *dev, u64 off, unsigned width,
			     u64 val)
{
	struct i8042 *c = to_i8042(dev);

	c->regs.status &= (u8)~STATUS_COMMAND;
	i8042_write_data(c, (u8)val);
}

static u64 i8042_status_read(struct device *dev, u64 off, unsigned width)
{
	return i8042_status(&to_i8042(dev)->regs);
}

static void i8042_command_write(struct device *dev, u64 off, unsigned width,
				u64 val)
{
	struct i8042 *c = to_i8042(dev);

	c->regs.status |= STATUS_COMMAND;
	i8042_command(c, (u8)val);
}

static u64 port_a_read(struct device *dev, u64 off, unsigned width)
{
	return to_i8042(dev)->regs.port_a;
}

/* [3]: a rising bit 0 pulses the CPU's reset. */
static void port_a_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct i8042 *c = to_i8042(dev);
	u8 rising = (u8)val & ~c->regs.port_a;

	c->regs.port_a = val & (PORT_A_RESET | PORT_A_A20);
	if (rising & PORT_A_RESET)
		i8042_reset_machine(c);
}

/* ---- life
 * -------------------------------------------------------------------- */

static void i8042_reset(struct device *dev)
{
	struct i8042 *c = to_i8042(dev);

	c->regs = (struct i8042_regs){
		.ram = {CB_DEFAULT},
		.output_port = OUT_LINES | OUT_A20 | OUT_NOT_RESET,
		.port_a = PORT_A_A20,
		.status = STATUS_SYSTEM,
		.scancode_set = 2,
	};
	i8042_update(c);
}

static int i8042_create(struct device *dev, struct err *err)
{
	struct i8042 *c = to_i8042(dev);
	struct bus_region regions[] = {
		{.base = I8042_DATA,
		 .read = i8042_data_read,
		 .write = i8042_data_write},
		{.base = I8042_COMMAND,
		 .read = i8042_status_read,
		 .write = i8042_command_write},
		{.base = I8042_PORT_A,
		 .read = port_a_read,
		 .write = port_a_write},
	};
	unsigned i;
	int ret = 0;

	if (c->irq >= IRQ_GSI_COUNT)
		return err_set(err, -EINVAL, "%s: irq is 0 to %d", dev->id,
			       IRQ_GSI_COUNT - 1);
	c->line = irq_line(&dev->vm->irq, (unsigned)c->irq);
	i8042_reset(dev);
	for (i = 0; i < ARRAY_SIZE(regions) && !ret; i++) {
		regions[i].name = dev->id;
		regions[i].space = BUS_PIO;
		regions[i].size = 1;
		regions[i].widths = BUS_W1;
		regions[i].dev = dev;
		ret = bus_add(&dev->vm->bus, &regions[i], err);
	}
	return ret;
}

static int i8042_loaded(struct device *dev, struct err *err)
{
	struct i8042 *c = to_i8042(dev);

	if (c->regs.count > I8042_QUEUE)
		return err_set(err, -EINVAL, "%s: saved state is not valid",
			       dev->id);
	i8042_update(c);
	return 0;
}

static const struct device_option i8042_options[] = {
	{"irq", OPT_NUM, offsetof(struct i8042, irq), "1", "interrupt line"},
	{"keyboard", OPT_BOOL, offsetof(struct i8042, keyboard), "on",
	 "a keyboard without hands is attached"},
	{0},
};

static const struct device_type i8042_type = {
	.name = "i8042",
	.help = "keyboard controller with reset and A20",
	.size = sizeof(struct i8042),
	.options = i8042_options,
	.save_version = 1,
	.regs_offset = offsetof(struct i8042, regs),
	.regs_size = sizeof(struct i8042_regs),
	.create = i8042_create,
	.reset = i8042_reset,
	.loaded = i8042_loaded,
};
DEVICE_TYPE(i8042_type);
