/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pair of 8259A interrupt controllers of a PC, with the edge/level control
 * registers that came with EISA.
 *
 * References: [1] Intel 8259A datasheet 231468-003.
 *             [2] Intel 82371SB (PIIX3) datasheet 290550, 2.5.5 and 2.5.9.
 *
 * An input that falls before the CPU acknowledges it withdraws its request,
 * edge-triggered or not ([1] "Interrupt sequence"); the acknowledge cycle then
 * gets IR7's vector without an ISR bit.
 *
 * Not emulated: MCS-80/85 mode (ICW4 bit 0 clear behaves as set), buffered
 * mode, LTIM of ICW1 (ELCR replaces it, [2]), cascades other than the PC's
 * (ICW3 is accepted and ignored).
 */
#include "arch/pic_state.h"

#include <errno.h>

#include "vmm/device.h"
#include "vmm/vm.h"

enum pic_ports {
	PIC_PORT_MASTER = 0x20,
	PIC_PORT_SLAVE = 0xa0,
	PIC_PORT_ELCR = 0x4d0, /* master, slave */
};

enum pic_bits {
	PIC_CASCADE = 2, /* IR input of the master */
	PIC_CASCADE_BIT = 1 << PIC_CASCADE,

	ICW1_ICW4 = 1 << 0,
	ICW1_SINGLE = 1 << 1,
	ICW1_SELECT = 1 << 4,
	ICW4_AEOI = 1 << 1,
	ICW4_SFNM = 1 << 4,

	OCW2_LEVEL = 7 << 0,
	OCW3_SELECT = 1 << 3,
	OCW3_RIS = 1 << 0,
	OCW3_RR = 1 << 1,
	OCW3_POLL = 1 << 2,
	OCW3_SMM = 1 << 5,
	OCW3_ESMM = 1 << 6,

	POLL_REQUEST = 1 << 7,
	/* [2]: IRQ 0, 1, 2 and 8, 13 are always edge-triggered. */
	ELCR_MASTER_BITS = 0xf8,
	ELCR_SLAVE_BITS = 0xde,
};

enum pic_ocw2 { /* [1] figure 8, bits 7:5 (R, SL, EOI) */
		OCW2_ROTATE_AEOI_CLEAR = 0,
		OCW2_EOI = 1,
		OCW2_NOP = 2,
		OCW2_EOI_SPECIFIC = 3,
		OCW2_ROTATE_AEOI_SET = 4,
		OCW2_ROTATE_EOI = 5,
		OCW2_SET_PRIORITY = 6,
		OCW2_ROTATE_EOI_SPECIFIC = 7,
};

struct pic {
	struct device dev;
	struct pic_state regs;
	bool intr; /* the master's INT output, derived from regs */
};

static struct pic *pic_of(struct device *dev)
{
	return container_of(dev, struct pic, dev);
}

/* ---- One 8259A ---- */

/* The input that the chip would acknowledge now, -1: none. */
static int pic_request(const struct pic_chip_state *c)
{
	u8 requests = c->irr & ~c->imr, in_service = c->isr;
	unsigned i, n;

	if (c->next_icw)
		return -1;
	/* [1] special mask mode: a masked level in service blocks nobody. */
	if (c->special_mask)
		in_service &= ~c->imr;
	for (i = 1; i <= 8; i++) {
		n = (c->lowest + i) & 7;
		/* [1] special fully nested mode: the slave's own priorities
		 * decide whether it may interrupt itself. */
		if ((c->icw4 & ICW4_SFNM) && n == PIC_CASCADE &&
		    (requests & PIC_CASCADE_BIT))
			return n;
		if (in_service & 1u << n)
			return -1;
		if (requests & 1u << n)
			return n;
	}
	return -1;
}

/* The end of the acknowledge sequence (or of a poll) for input n. */
static void pic_take(struct pic_chip_state *c, unsigned n)
{
	u8 bit = 1u << n;

	if (!(c->elcr & bit))
		c->irr &= ~bit;
	if (!(c->icw4 & ICW4_AEOI))
		c->isr |= bit;
	else if (c->rotate_on_aeoi)
		c->lowest = n;
}

static void pic_set_line(struct pic_chip_state *c, unsigned n, bool level)
{
	u8 bit = 1u << n, was = c->lines & bit;

	if (!level) {
		c->lines &= ~bit;
		c->irr &= ~bit;
		return;
	}
	c->lines |= bit;
	if ((c->elcr & bit) || !was)
		c->irr |= bit;
}

/* The highest level in service that an EOI without a level ends, -1: none. */
static int pic_top_in_service(const struct pic_chip_state *c)
{
	u8 in_service = c->isr;
	unsigned i, n;

	/* [1]: in special mask mode it does not touch masked levels. */
	if (c->special_mask)
		in_service &= ~c->imr;
	for (i = 1; i <= 8; i++) {
		n = (c->lowest + i) & 7;
		if (in_service & 1u << n)
			return n;
	}
	return -1;
}

/* ---- The pair ---- */

/* Recompute the slave's INT into the master and the master's INTR. */
static void pic_update(struct pic *pic)
{
	struct pic_chip_state *c = pic->regs.chip;
	bool intr;

	pic_set_line(&c[PIC_MASTER], PIC_CASCADE,
		     pic_request(&c[PIC_SLAVE]) >= 0);
	intr = pic_request(&c[PIC_MASTER]) >= 0;
	if (intr && !pic->intr)
		lapic_extint_raised(pic->dev.vm);
	pic->intr = intr;
}

/* One chip's INTA: its vector; INT falls for the moment. */
static unsigned pic_inta(struct pic *pic, enum pic_chip which)
{
	struct pic_chip_state *c = &pic->regs.chip[which];
	int n = pic_request(c);

	/* [1]: withdrawn meanwhile, so "default IR7". */
	if (n < 0)
		return c->vector_base + 7;
	pic_take(c, n);
	if (which == PIC_SLAVE)
		pic_set_line(&pic->regs.chip[PIC_MASTER], PIC_CASCADE, false);
	else if (n == PIC_CASCADE)
		return pic_inta(pic, PIC_SLAVE);
	return c->vector_base + n;
}

static void pic_set(struct device *dev, unsigned pin, bool level)
{
	struct pic *pic = pic_of(dev);

	pic_set_line(&pic->regs.chip[pin / 8], pin % 8, level);
	pic_update(pic);
}

static bool pic_extint_pending(struct device *dev)
{
	return pic_of(dev)->intr;
}

static unsigned pic_extint_ack(struct device *dev)
{
	struct pic *pic = pic_of(dev);
	unsigned vector = pic_inta(pic, PIC_MASTER);

	pic->intr = false;
	pic_update(pic);
	return vector;
}

/* ---- Ports ---- */

static void pic_write_icw1(struct pic_chip_state *c, u8 val)
{
	/* [1] "Initialization command words": edges are forgotten, IR7 has the
	 * lowest priority, special mask off, IRR is read. */
	c->irr = c->lines & c->elcr;
	c->imr = c->isr = 0;
	c->lowest = 7;
	c->read_isr = c->poll = c->special_mask = c->rotate_on_aeoi = 0;
	c->icw1 = val;
	c->icw4 = 0;
	c->next_icw = 2;
}

static void pic_write_icw(struct pic *pic, struct pic_chip_state *c, u8 val)
{
	u8 last = c->icw1 & ICW1_ICW4 ? 4 : c->icw1 & ICW1_SINGLE ? 2 : 3;

	if (c->next_icw == 2)
		c->vector_base = val & 0xf8;
	/* Only the master has a slave to nest. */
	if (c->next_icw == 4)
		c->icw4 = c == pic->regs.chip ? val : val & ~ICW4_SFNM;
	if (c->next_icw == last)
		c->next_icw = 0;
	else if (c->next_icw == 2 && (c->icw1 & ICW1_SINGLE))
		c->next_icw = 4;
	else
		c->next_icw++;
}

static void pic_write_ocw2(struct pic_chip_state *c, u8 val)
{
	unsigned command = val >> 5;
	int n = val & OCW2_LEVEL;

	switch (command) {
	case OCW2_ROTATE_AEOI_CLEAR:
	case OCW2_ROTATE_AEOI_SET:
		c->rotate_on_aeoi = command == OCW2_ROTATE_AEOI_SET;
		break;
	case OCW2_SET_PRIORITY:
		c->lowest = n;
		break;
	case OCW2_EOI:
	case OCW2_ROTATE_EOI:
		n = pic_top_in_service(c);
		if (n < 0)
			break;
		__attribute__((fallthrough));
	case OCW2_EOI_SPECIFIC:
	case OCW2_ROTATE_EOI_SPECIFIC:
		c->isr &= ~(1u << n);
		if (command >= OCW2_ROTATE_EOI)
			c->lowest = n;
		break;
	default: /* OCW2_NOP */
		break;
	}
}

static void pic_write_ocw3(struct pic_chip_state *c, u8 val)
{
	if (val & OCW3_ESMM)
		c->special_mask = !!(val & OCW3_SMM);
	/* [1]: poll overrides a register read in the same word. */
	if (val & OCW3_POLL)
		c->poll = 1;
	else if (val & OCW3_RR)
		c->read_isr = val & OCW3_RIS;
}

static void pic_write_chip(struct pic *pic, enum pic_chip which, u64 off,
			   u8 val)
{
	struct pic_chip_state *c = &pic->regs.chip[which];

	if (off == 1 && c->next_icw)
		pic_write_icw(pic, c, val);
	else if (off == 1)
		c->imr = val;
	else if (val & ICW1_SELECT)
		pic_write_icw1(c, val);
	else if (val & OCW3_SELECT)
		pic_write_ocw3(c, val);
	else
		pic_write_ocw2(c, val);
	pic_update(pic);
}

/* [1] "Poll command": the read acts as an acknowledge. */
static u8 pic_poll(struct pic *pic, enum pic_chip which)
{
	struct pic_chip_state *c = &pic->regs.chip[which];
	int n = pic_request(c);

	c->poll = 0;
	if (n < 0)
		return 0;
	pic_take(c, n);
	if (which == PIC_SLAVE)
		pic_set_line(&pic->regs.chip[PIC_MASTER], PIC_CASCADE, false);
	pic->intr = false;
	pic_update(pic);
	return POLL_REQUEST | n;
}

static u64 pic_read_chip(struct pic *pic, enum pic_chip which, u64 off)
{
	const struct pic_chip_state *c = &pic->regs.chip[which];

	if (c->poll)
		return pic_poll(pic, which);
	if (off == 1)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

static u64 pic_read_master(struct device *dev, u64 off, unsigned width)
{
	return pic_read_chip(pic_of(dev), PIC_MASTER, off);
}

static u64 pic_read_slave(struct device *dev, u64 off, unsigned width)
{
	return pic_read_chip(pic_of(dev), PIC_SLAVE, off);
}

static void pic_write_master(struct device *dev, u64 off, unsigned width,
			     u64 val)
{
	pic_write_chip(pic_of(dev), PIC_MASTER, off, (u8)val);
}

static void pic_write_slave(struct device *dev, u64 off, unsigned width,
			    u64 val)
{
	pic_write_chip(pic_of(dev), PIC_SLAVE, off, (u8)val);
}

static u64 pic_read_elcr(struct device *dev, u64 off, unsigned width)
{
	return pic_of(dev)->regs.chip[off].elcr;
}

static void pic_write_elcr(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct pic *pic = pic_of(dev);
	struct pic_chip_state *c = &pic->regs.chip[off];

	c->elcr = (u8)val & (off ? ELCR_SLAVE_BITS : ELCR_MASTER_BITS);
	/* A level input that is high requests, whatever it was before. */
	c->irr |= c->lines & c->elcr;
	pic_update(pic);
}

/* ---- Device ---- */

/* Until it is initialized the pair stays silent: all inputs masked. */
static void pic_reset(struct device *dev)
{
	struct pic *pic = pic_of(dev);
	struct pic_chip_state *c;
	unsigned i;

	for (i = 0; i < PIC_CHIPS; i++) {
		c = &pic->regs.chip[i];
		*c = (struct pic_chip_state){
			.lines = c->lines, .imr = 0xff, .lowest = 7};
	}
	pic->intr = false;
	pic_update(pic);
}

static int pic_loaded(struct device *dev, struct err *err)
{
	struct pic *pic = pic_of(dev);
	unsigned i;

	for (i = 0; i < PIC_CHIPS; i++) {
		const struct pic_chip_state *c = &pic->regs.chip[i];

		if (c->lowest > 7 || c->next_icw > 4 || c->next_icw == 1)
			return err_set(err, -EINVAL,
				       "saved 8259 state is not valid");
	}
	pic->intr = false;
	pic_update(pic);
	return 0;
}

static const struct bus_region pic_regions[] = {
	{.name = "pic-master",
	 .base = PIC_PORT_MASTER,
	 .read = pic_read_master,
	 .write = pic_write_master},
	{.name = "pic-slave",
	 .base = PIC_PORT_SLAVE,
	 .read = pic_read_slave,
	 .write = pic_write_slave},
	{.name = "pic-elcr",
	 .base = PIC_PORT_ELCR,
	 .read = pic_read_elcr,
	 .write = pic_write_elcr},
};

static int pic_create(struct device *dev, struct err *err)
{
	struct irq_router *router = &dev->vm->irq;
	unsigned i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(pic_regions); i++) {
		struct bus_region region = pic_regions[i];

		region.space = BUS_PIO;
		region.size = 2;
		region.widths = BUS_W1;
		region.dev = dev;
		ret = bus_add(&dev->vm->bus, &region, err);
		if (ret)
			return ret;
	}
	router->pic = (struct irq_sink){dev, pic_set, &pic_of(dev)->regs};
	router->extint_pending = pic_extint_pending;
	router->extint_ack = pic_extint_ack;
	return 0;
}

static void pic_destroy(struct device *dev)
{
	struct irq_router *router = &dev->vm->irq;

	if (router->pic.dev != dev)
		return;
	router->pic = (struct irq_sink){0};
	router->extint_pending = NULL;
	router->extint_ack = NULL;
}

static const struct device_type pic_type = {
	.name = "pic",
	.help = "8259A interrupt controller pair with ELCR",
	.size = sizeof(struct pic),
	.save_version = 1,
	.regs_offset = offsetof(struct pic, regs),
	.regs_size = sizeof(struct pic_state),
	.create = pic_create,
	.destroy = pic_destroy,
	.reset = pic_reset,
	.loaded = pic_loaded,
};
DEVICE_TYPE(pic_type);
