/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serial port: a 16550A UART at ISA ports.
 *
 * References: [1] National Semiconductor PC16550D data sheet (TI SNLS378C),
 * section 8, registers.
 *
 * Not emulated: line speed, parity and framing (a byte is sent as it is
 * written), DMA mode, the modem lines (the other end is always there), and the
 * PC's gating of the interrupt with OUT2, which small kernels forget to set.
 *
 * Theory of operation
 *
 * Sent bytes go to the console's ring at once, so the transmitter is always
 * empty. Only when the ring lacks room for a FIFO full it shows busy (THRE and
 * TEMT low) until the host has taken some; drivers then wait as they would for
 * a slow line. Received bytes are taken from the console only as the FIFO has
 * room; an overrun needs loopback.
 */
#include <errno.h>

#include "backend/console.h"
#include "util/log.h"
#include "vmm/device.h"
#include "vmm/vm.h"

/* [1] table 2; offsets 0 and 1 are the divisor while DLAB is set */
enum serial_reg {
	SERIAL_RBR_THR = 0,
	SERIAL_IER = 1,
	SERIAL_IIR_FCR = 2,
	SERIAL_LCR = 3,
	SERIAL_MCR = 4,
	SERIAL_LSR = 5,
	SERIAL_MSR = 6,
	SERIAL_SCR = 7,
	SERIAL_PORTS = 8,
};

enum serial_bits {
	/* [1] 8.7, interrupt enable */
	IER_RDA = 0x01,
	IER_THRE = 0x02,
	IER_RLS = 0x04,
	IER_MS = 0x08,
	IER_MASK = 0x0f,
	/* [1] 8.6, interrupt identification, highest priority first */
	IIR_RLS = 0x06,
	IIR_RDA = 0x04,
	IIR_TIMEOUT = 0x0c,
	IIR_THRE = 0x02,
	IIR_MS = 0x00,
	IIR_NONE = 0x01,
	IIR_FIFO = 0xc0,
	/* [1] 8.5, FIFO control */
	FCR_ENABLE = 0x01,
	FCR_RX_RESET = 0x02,
	FCR_KEPT = 0xc9, /* what is no command: enable, DMA mode, trigger */
	FCR_TRIGGER_SHIFT = 6,
	/* [1] 8.1, line control */
	LCR_BREAK = 0x40,
	LCR_DLAB = 0x80,
	/* [1] 8.8, modem control */
	MCR_DTR = 0x01,
	MCR_RTS = 0x02,
	MCR_OUT1 = 0x04,
	MCR_OUT2 = 0x08,
	MCR_LOOP = 0x10,
	MCR_MASK = 0x1f,
	/* [1] 8.4, line status */
	LSR_DR = 0x01,
	LSR_OE = 0x02,
	LSR_FE = 0x08,
	LSR_BI = 0x10,
	LSR_THRE = 0x20,
	LSR_TEMT = 0x40,
	LSR_FIFO_ERROR = 0x80,
	/* [1] 8.9, modem status; the deltas are the same bits >> 4 */
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
	MSR_CONNECTED = MSR_CTS | MSR_DSR | MSR_DCD,
};

enum { SERIAL_FIFO = 16, SERIAL_DIVISOR_9600 = 12 };

/*
 * [1] 8.11: a receive FIFO below its trigger level interrupts after four
 * character times of silence. As the line's speed is not modelled, neither is
 * that time; this is what it would be at some 200,000 baud.
 */
#define SERIAL_TIMEOUT_NS 200000ull

struct serial_regs {
	u8 ier, fcr, lcr, mcr, scr, dll, dlm;
	u8 overrun;	    /* LSR_OE or 0 */
	u8 msr_delta;	    /* MSR bits 3:0 */
	u8 thre_pending;    /* the THRE interrupt, until IIR is read */
	u8 timeout_pending; /* the FIFO timeout, until a byte is read */
	u8 busy;	    /* THRE and TEMT are low */
	u8 rx_head, rx_count;
	u8 rx_data[SERIAL_FIFO];
	u8 rx_error[SERIAL_FIFO]; /* LSR_FE, LSR_BI of that byte */
};

struct serial {
	struct device dev;
	/* config */
	u64 port, irq, console_index, eof;
	/* regs */
	struct serial_regs regs;
	/* host */
	struct irq_line line;
	struct console console;
	struct timer timeout;
	u64 timeout_ns; /* guest ns when the FIFO times out */
	bool timeout_armed;
};

static struct serial *to_serial(struct device *dev)
{
	return container_of(dev, struct serial, dev);
}

/* ---- interrupts -------------------------------------------------------- */

static unsigned rx_capacity(const struct serial_regs *r)
{
	return r->fcr & FCR_ENABLE ? SERIAL_FIFO : 1;
}

static unsigned rx_trigger(const struct serial_regs *r)
{
	static const u8 level[] = {1, 4, 8, 14};

	return r->fcr & FCR_ENABLE ? level[r->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

/* Errors show when their byte is next to be read, [1] 8.4. */
static u8 rx_top_error(const struct serial_regs *r)
{
	return r->rx_count ? r->rx_error[r->rx_head] : 0;
}

static u8 serial_source(const struct serial_regs *r)
{
	if ((r->ier & IER_RLS) && (r->overrun || rx_top_error(r)))
		return IIR_RLS;
	if ((r->ier & IER_RDA) && r->timeout_pending)
		return IIR_TIMEOUT;
	if ((r->ier & IER_RDA) && r->rx_count >= rx_trigger(r))
		return IIR_RDA;
	if ((r->ier & IER_THRE) && r->thre_pending)
		return IIR_THRE;
	if ((r->ier & IER_MS) && r->msr_delta)
		return IIR_MS;
	return IIR_NONE;
}

static void serial_update(struct serial *s)
{
	irq_set(s->line, serial_source(&s->regs) != IIR_NONE);
}

/*
 * Start the silence anew. The timer itself is left where it is if it runs:
 * it looks at timeout_ns when it fires.
 */
static void timeout_restart(struct serial *s)
{
	struct serial_regs *r = &s->regs;

	r->timeout_pending = 0;
	if (!r->rx_count || !(r->ier & IER_RDA) || !(r->fcr & FCR_ENABLE)) {
		s->timeout_ns = 0;
		return;
	}
	s->timeout_ns = clock_ns(&s->dev.vm->clock) + SERIAL_TIMEOUT_NS;
	if (!s->timeout_armed) {
		s->timeout_armed = true;
		timer_arm(&s->timeout, s->timeout_ns);
	}
}

static void timeout_fire(struct timer *timer, u64 now_ns)
{
	struct serial *s = container_of(timer, struct serial, timeout);

	s->timeout_armed = false;
	if (!s->timeout_ns)
		return;
	if (now_ns < s->timeout_ns) {
		s->timeout_armed = true;
		timer_arm(timer, s->timeout_ns);
		return;
	}
	s->timeout_ns = 0;
	s->regs.timeout_pending = 1;
	serial_update(s);
}

/* ---- receiver ---------------------------------------------------------- */

static void rx_clear(struct serial *s)
{
	s->regs.rx_head = 0;
	s->regs.rx_count = 0;
	timeout_restart(s);
}

/* [1] 8.4, OE: a full FIFO keeps what it has, a full RBR is overwritten. */
static void rx_push(struct serial_regs *r, u8 data, u8 error)
{
	unsigned tail;

	if (r->rx_count == rx_capacity(r)) {
		r->overrun = LSR_OE;
		if (r->fcr & FCR_ENABLE)
			return;
		r->rx_count = 0;
	}
	tail = (r->rx_head + r->rx_count++) % SERIAL_FIFO;
	r->rx_data[tail] = data;
	r->rx_error[tail] = error;
}

static u8 rx_read(struct serial *s)
{
	struct serial_regs *r = &s->regs;
	u8 data = r->rx_data[r->rx_head]; /* empty: the last one again */

	if (!r->rx_count)
		return data;
	if (--r->rx_count)
		r->rx_head = (r->rx_head + 1) % SERIAL_FIFO;
	timeout_restart(s);
	serial_update(s);
	if (!r->rx_count)
		console_wake(&s->console);
	return data;
}

static size_t serial_room(struct device *dev)
{
	struct serial_regs *r = &to_serial(dev)->regs;

	return r->mcr & MCR_LOOP ? 0 : rx_capacity(r) - r->rx_count;
}

static void serial_input(struct device *dev, const u8 *buf, size_t len)
{
	struct serial *s = to_serial(dev);

	while (len--)
		rx_push(&s->regs, *buf++, 0);
	timeout_restart(s);
	serial_update(s);
}

/* ---- transmitter ------------------------------------------------------- */

static bool tx_has_room(const struct serial *s)
{
	return console_room(&s->console) >= SERIAL_FIFO;
}

/*
 * [1] 8.6: writing THR withdraws the interrupt, the byte's departure raises it
 * again. Both happen here, as drivers wait for the edge.
 */
static void tx_write(struct serial *s, u8 data)
{
	struct serial_regs *r = &s->regs;

	r->thre_pending = 0;
	serial_update(s);
	if (r->mcr & MCR_LOOP) {
		rx_push(r, data, 0);
		timeout_restart(s);
	} else if (console_room(&s->console)) {
		console_write(&s->console, &data, 1);
	}
	r->busy = !tx_has_room(s);
	r->thre_pending = !r->busy;
	serial_update(s);
}

static void serial_writable(struct device *dev)
{
	struct serial *s = to_serial(dev);

	if (!s->regs.busy || !tx_has_room(s))
		return;
	s->regs.busy = 0;
	s->regs.thre_pending = 1;
	serial_update(s);
}

static const struct console_ops serial_console_ops = {
	.room = serial_room,
	.input = serial_input,
	.writable = serial_writable,
};

/* ---- registers --------------------------------------------------------- */

static u8 iir_read(struct serial *s)
{
	struct serial_regs *r = &s->regs;
	u8 iir = serial_source(r);

	if (iir == IIR_THRE) {
		r->thre_pending = 0;
		serial_update(s);
	}
	return iir | (r->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static u8 lsr_read(struct serial *s)
{
	struct serial_regs *r = &s->regs;
	u8 lsr = r->overrun | rx_top_error(r);
	unsigned i;

	if (r->rx_count)
		lsr |= LSR_DR;
	if (!r->busy)
		lsr |= LSR_THRE | LSR_TEMT;
	for (i = 0; (r->fcr & FCR_ENABLE) && i < r->rx_count; i++)
		if (r->rx_error[(r->rx_head + i) % SERIAL_FIFO])
			lsr |= LSR_FIFO_ERROR;
	r->overrun = 0;
	r->rx_error[r->rx_head] = 0;
	serial_update(s);
	return lsr;
}

/* [1] 8.8: in loopback the modem inputs are wired to the outputs. */
static u8 msr_lines(u8 mcr)
{
	u8 lines = 0;

	if (!(mcr & MCR_LOOP))
		return MSR_CONNECTED;
	if (mcr & MCR_RTS)
		lines |= MSR_CTS;
	if (mcr & MCR_DTR)
		lines |= MSR_DSR;
	if (mcr & MCR_OUT1)
		lines |= MSR_RI;
	if (mcr & MCR_OUT2)
		lines |= MSR_DCD;
	return lines;
}

static u8 msr_read(struct serial *s)
{
	u8 msr = msr_lines(s->regs.mcr) | s->regs.msr_delta;

	s->regs.msr_delta = 0;
	serial_update(s);
	return msr;
}

static void mcr_write(struct serial *s, u8 val)
{
	struct serial_regs *r = &s->regs;
	u8 before = msr_lines(r->mcr), after, changed;

	r->mcr = val & MCR_MASK;
	after = msr_lines(r->mcr);
	changed = before ^ after;
	if (after & MSR_RI) /* [1] 8.9: TERI is the trailing edge only */
		changed &= (u8)~MSR_RI;
	r->msr_delta |= changed >> 4;
	serial_update(s);
	console_wake(&s->console);
}

static void ier_write(struct serial *s, u8 val)
{
	struct serial_regs *r = &s->regs;
	u8 enabled = val & ~r->ier;

	r->ier = val & IER_MASK;
	/* Enabling it with an empty transmitter interrupts at once. */
	if ((enabled & IER_THRE) && !r->busy)
		r->thre_pending = 1;
	if (enabled & IER_RDA)
		timeout_restart(s);
	serial_update(s);
}

/* [1] 8.5: changing the enable bit clears both FIFOs. */
static void fcr_write(struct serial *s, u8 val)
{
	struct serial_regs *r = &s->regs;
	bool toggled = (r->fcr ^ val) & FCR_ENABLE;

	/* The other bits are only taken with the enable bit set. */
	r->fcr = val & FCR_ENABLE ? val & FCR_KEPT : 0;
	if (toggled || (val & FCR_RX_RESET))
		rx_clear(s);
	serial_update(s);
	console_wake(&s->console);
}

static void lcr_write(struct serial *s, u8 val)
{
	struct serial_regs *r = &s->regs;
	u8 set = val & ~r->lcr;

	r->lcr = val;
	/* A break comes back as a zero without a stop bit, [1] 8.4. */
	if ((set & LCR_BREAK) && (r->mcr & MCR_LOOP)) {
		rx_push(r, 0, LSR_BI | LSR_FE);
		timeout_restart(s);
		serial_update(s);
	}
}

static u64 serial_read(struct device *dev, u64 off, unsigned width)
{
	struct serial *s = to_serial(dev);
	bool dlab = s->regs.lcr & LCR_DLAB;

	switch (off) {
	case SERIAL_RBR_THR:
		return dlab ? s->regs.dll : rx_read(s);
	case SERIAL_IER:
		return dlab ? s->regs.dlm : s->regs.ier;
	case SERIAL_IIR_FCR:
		return iir_read(s);
	case SERIAL_LCR:
		return s->regs.lcr;
	case SERIAL_MCR:
		return s->regs.mcr;
	case SERIAL_LSR:
		return lsr_read(s);
	case SERIAL_MSR:
		return msr_read(s);
	default:
		return s->regs.scr;
	}
}

static void serial_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct serial *s = to_serial(dev);
	bool dlab = s->regs.lcr & LCR_DLAB;

	switch (off) {
	case SERIAL_RBR_THR:
		if (dlab)
			s->regs.dll = (u8)val;
		else
			tx_write(s, (u8)val);
		break;
	case SERIAL_IER:
		if (dlab)
			s->regs.dlm = (u8)val;
		else
			ier_write(s, (u8)val);
		break;
	case SERIAL_IIR_FCR:
		fcr_write(s, (u8)val);
		break;
	case SERIAL_LCR:
		lcr_write(s, (u8)val);
		break;
	case SERIAL_MCR:
		mcr_write(s, (u8)val);
		break;
	case SERIAL_SCR:
		s->regs.scr = (u8)val;
		break;
	default: /* [1] 8.4, 8.9: LSR and MSR are for reading */
		break;
	}
}

/* ---- life -------------------------------------------------------------- */

/* [1] table 1; scratch and divisor keep what they hold. */
static void serial_reset(struct device *dev)
{
	struct serial *s = to_serial(dev);
	struct serial_regs *r = &s->regs;

	*r = (struct serial_regs){
		.scr = r->scr,
		.dll = r->dll,
		.dlm = r->dlm,
		.busy = !tx_has_room(s),
	};
	s->timeout_ns = 0;
	serial_update(s);
	console_wake(&s->console);
}

static int serial_create(struct device *dev, struct err *err)
{
	struct serial *s = to_serial(dev);
	struct vm *vm = dev->vm;
	const struct bus_region region = {
		.name = dev->id,
		.space = BUS_PIO,
		.base = s->port,
		.size = SERIAL_PORTS,
		.widths = BUS_W1,
		.dev = dev,
		.read = serial_read,
		.write = serial_write,
	};
	int ret;

	if (s->irq >= IRQ_GSI_COUNT)
		return err_set(err, -EINVAL, "%s: irq is 0 to %d", dev->id,
			       IRQ_GSI_COUNT - 1);
	timer_init(&s->timeout, &vm->timers, dev, timeout_fire);
	s->line = irq_line(&vm->irq, (unsigned)s->irq);
	s->regs.dll = SERIAL_DIVISOR_9600;
	ret = console_open(&s->console, dev,
			   (unsigned)min_u64(s->console_index, VM_MAX_CONSOLES),
			   &serial_console_ops, err);
	if (ret)
		return ret;
	if (s->eof <= 0xff)
		s->console.eof = (int)s->eof;
	ret = bus_add(&vm->bus, &region, err);
	if (ret)
		return ret;
	serial_reset(dev);
	return 0;
}

static void serial_destroy(struct device *dev)
{
	struct serial *s = to_serial(dev);

	if (s->timeout.queue)
		timer_fini(&s->timeout);
	console_close(&s->console);
}

static int serial_loaded(struct device *dev, struct err *err)
{
	struct serial *s = to_serial(dev);
	struct serial_regs *r = &s->regs;

	if ((r->ier & ~IER_MASK) || (r->mcr & ~MCR_MASK) ||
	    (r->fcr & ~FCR_KEPT) || (r->overrun & ~LSR_OE) ||
	    (r->msr_delta & 0xf0) || r->rx_head >= SERIAL_FIFO ||
	    r->rx_count > rx_capacity(r))
		return err_set(err, -EINVAL, "%s: saved state is not valid",
			       dev->id);
	/* What held the transmitter busy has stayed behind. */
	serial_writable(dev);
	if (!r->timeout_pending)
		timeout_restart(s);
	serial_update(s);
	console_wake(&s->console);
	return 0;
}

static void serial_quiesce(struct device *dev)
{
	console_quiesce(&to_serial(dev)->console);
}

static void serial_resume(struct device *dev)
{
	console_resume(&to_serial(dev)->console);
}

#define FIELD(member) offsetof(struct serial, member)
static const struct device_option serial_options[] = {
	{"port", OPT_NUM, FIELD(port), "0x3f8", "first of its eight ports"},
	{"irq", OPT_NUM, FIELD(irq), "4", "interrupt line"},
	{"console", OPT_NUM, FIELD(console_index), "0",
	 "console it is wired to"},
	{"eof", OPT_NUM, FIELD(eof), "256",
	 "byte that the guest gets at the end of input; above 255: none"},
	{0},
};
#undef FIELD

static const struct device_type serial_type = {
	.name = "serial",
	.help = "16550A serial port",
	.size = sizeof(struct serial),
	.options = serial_options,
	.save_version = 1,
	.regs_offset = offsetof(struct serial, regs),
	.regs_size = sizeof(struct serial_regs),
	.create = serial_create,
	.destroy = serial_destroy,
	.reset = serial_reset,
	.loaded = serial_loaded,
	.quiesce = serial_quiesce,
	.resume = serial_resume,
};
DEVICE_TYPE(serial_type);
