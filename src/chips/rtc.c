/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real-time clock and CMOS memory: an MC146818A at ports 0x70 and 0x71.
 *
 * References: [1] Motorola MC146818A data sheet (ADI856R2). [2] Intel ICH9
 * data sheet (316972) 13.6, RTC registers. [3] IBM PS/2 and PC BIOS Interface
 * Technical Reference, CMOS RAM map.
 *
 * Not emulated: the square wave (not wired on a PC), daylight saving, other
 * time bases than 32.768 kHz, the second RAM bank at 0x72.
 *
 * Theory of operation
 *
 * While the clock runs no register counts: its time is the VM's wall clock plus
 * an offset that the guest changes by setting it. While it is set (SET) or its
 * divider is held in reset, the time bytes in cmos[] hold it.
 *
 * Flags in register C are found when somebody looks: each of the three events
 * (periodic, alarm, update) is due at times that follow from the clock, so
 * comparing two of them tells what happened between. A timer runs only for
 * events whose interrupt is enabled and not already signalled.
 */
#include <errno.h>

#include "vmm/device.h"
#include "vmm/vm.h"

/* [1] figure 7, address map */
enum rtc_reg {
	RTC_SECONDS = 0x00,
	RTC_SECONDS_ALARM = 0x01,
	RTC_MINUTES = 0x02,
	RTC_MINUTES_ALARM = 0x03,
	RTC_HOURS = 0x04,
	RTC_HOURS_ALARM = 0x05,
	RTC_WEEKDAY = 0x06,
	RTC_DAY = 0x07,
	RTC_MONTH = 0x08,
	RTC_YEAR = 0x09,
	RTC_A = 0x0a,
	RTC_B = 0x0b,
	RTC_C = 0x0c,
	RTC_D = 0x0d,
	RTC_SHUTDOWN = 0x0f, /* [3] why the CPU was reset */
	RTC_CENTURY = 0x32,  /* [3], BCD or binary as the rest */
};

enum rtc_bits {
	/* [1] register A */
	RTC_UIP = 0x80,
	RTC_DIVIDER = 0x70,
	RTC_DIVIDER_32K = 0x20,
	RTC_DIVIDER_RESET = 0x60, /* both bits set: held in reset */
	RTC_RATE = 0x0f,
	/* register B */
	RTC_SET = 0x80,
	RTC_PIE = 0x40,
	RTC_AIE = 0x20,
	RTC_UIE = 0x10,
	RTC_SQWE = 0x08,
	RTC_BINARY = 0x04,
	RTC_24H = 0x02,
	/* register C; the flags sit where B has their enables */
	RTC_IRQF = 0x80,
	RTC_PF = 0x40,
	RTC_AF = 0x20,
	RTC_UF = 0x10,
	/* register D */
	RTC_VRT = 0x80,
	/* hours in 12-hour mode */
	RTC_PM = 0x80,
	/* alarm bytes from here on match everything */
	RTC_ANY = 0xc0,
	/* port 0x70 */
	RTC_NMI_MASK = 0x80,
};

enum { RTC_HZ = 32768, RTC_DAY_SECONDS = 86400 };

/* [1] table 5: UIP rises 244 us before an update that takes 1984 us. */
#define RTC_UIP_NS 2228000ull

struct rtc_regs {
	u64 offset_ns; /* the clock's ns since 1970 - the VM's; wraps */
	u64 seen_ns;   /* clock's ns up to which flags are up to date */
	u8 index;
	u8 nmi_mask; /* bit 7 of port 0x70 */
	u8 cmos[128];
	u8 reserved[6];
};

struct rtc {
	struct device dev;
	/* config */
	u64 irq;
	/* regs */
	struct rtc_regs regs;
	/* host */
	struct irq_line line;
	struct timer timer;
};

static struct rtc *to_rtc(struct device *dev)
{
	return container_of(dev, struct rtc, dev);
}

/* ---- dates -------------------------------------------------------------- */

/*
 * Days since 1970-01-01 of a date in the Gregorian calendar. Years are counted
 * from March, so that the leap day comes last.
 */
static s64 days_from_date(s64 year, unsigned month, unsigned day)
{
	s64 y = month <= 2 ? year - 1 : year;
	unsigned m = (month + 9) % 12; /* March is 0 */
	s64 leap = y / 4 - y / 100 + y / 400;

	return y * 365 + leap + (153 * m + 2) / 5 + day - 1 - 719468;
}

static unsigned month_days(s64 year, unsigned month)
{
	static const u8 days[] = {31, 28, 31, 30, 31, 30,
				  31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (leap && month == 2);
}

struct rtc_date {
	s64 year;
	unsigned month, day, weekday; /* from 1; Sunday is 1 */
};

static struct rtc_date date_from_days(s64 days)
{
	struct rtc_date date = {.month = 1};

	date.weekday = (unsigned)((days + 4) % 7) + 1; /* a Thursday */
	date.year = 1970 + days / 366;
	while (days_from_date(date.year + 1, 1, 1) <= days)
		date.year++;
	days -= days_from_date(date.year, 1, 1);
	while (days >= month_days(date.year, date.month))
		days -= month_days(date.year, date.month++);
	date.day = (unsigned)days + 1;
	return date;
}

/* ---- the clock and its bytes --------------------------------------------- */

static u64 rtc_now(const struct rtc *rtc)
{
	return clock_wall_ns(&rtc->dev.vm->clock) + rtc->regs.offset_ns;
}

static bool rtc_runs(const struct rtc_regs *r)
{
	return !(r->cmos[RTC_B] & RTC_SET) &&
	       (r->cmos[RTC_A] & RTC_DIVIDER_RESET) != RTC_DIVIDER_RESET;
}

static u8 rtc_encode(const struct rtc_regs *r, unsigned val)
{
	if (r->cmos[RTC_B] & RTC_BINARY)
		return (u8)val;
	return (u8)(val / 10 % 10 << 4 | val % 10);
}

static unsigned rtc_decode(const struct rtc_regs *r, u8 val)
{
	if (r->cmos[RTC_B] & RTC_BINARY)
		return val;
	return (val >> 4) * 10u + (val & 0xf);
}

static u8 rtc_encode_hour(const struct rtc_regs *r, unsigned hour)
{
	if (r->cmos[RTC_B] & RTC_24H)
		return rtc_encode(r, hour);
	return rtc_encode(r, (hour + 11) % 12 + 1) | (hour >= 12 ? RTC_PM : 0);
}

static unsigned rtc_decode_hour(const struct rtc_regs *r, u8 val)
{
	if (r->cmos[RTC_B] & RTC_24H)
		return rtc_decode(r, val);
	return rtc_decode(r, val & (u8)~RTC_PM) % 12 + (val & RTC_PM ? 12 : 0);
}

/* Write the time into its bytes, as the chip does each second. */
static void rtc_show(struct rtc_regs *r, u64 now_ns)
{
	u64 seconds = now_ns / NS_PER_SEC;
	unsigned of_day = (unsigned)(seconds % RTC_DAY_SECONDS);
	struct rtc_date date = date_from_days((s64)(seconds / RTC_DAY_SECONDS));

	r->cmos[RTC_SECONDS] = rtc_encode(r, of_day % 60);
	r->cmos[RTC_MINUTES] = rtc_encode(r, of_day / 60 % 60);
	r->cmos[RTC_HOURS] = rtc_encode_hour(r, of_day / 3600);
	r->cmos[RTC_WEEKDAY] = rtc_encode(r, date.weekday);
	r->cmos[RTC_DAY] = rtc_encode(r, date.day);
	r->cmos[RTC_MONTH] = rtc_encode(r, date.month);
	r->cmos[RTC_YEAR] = rtc_encode(r, (unsigned)(date.year % 100));
	r->cmos[RTC_CENTURY] = rtc_encode(r, (unsigned)(date.year / 100));
}

/*
 * The time that the bytes hold, in seconds. A month that does not exist counts
 * as January, a date before 1970 as 1970.
 */
static u64 rtc_seconds(const struct rtc_regs *r)
{
	unsigned month = rtc_decode(r, r->cmos[RTC_MONTH]);
	s64 year = rtc_decode(r, r->cmos[RTC_CENTURY]) * 100 +
		   (s64)rtc_decode(r, r->cmos[RTC_YEAR]);
	s64 days;

	if (month < 1 || month > 12)
		month = 1;
	days = days_from_date(year, month, rtc_decode(r, r->cmos[RTC_DAY]));
	return (u64)(days < 0 ? 0 : days) * RTC_DAY_SECONDS +
	       rtc_decode_hour(r, r->cmos[RTC_HOURS]) * 3600ull +
	       rtc_decode(r, r->cmos[RTC_MINUTES]) * 60ull +
	       rtc_decode(r, r->cmos[RTC_SECONDS]);
}

/* The clock goes on from its bytes; the part of the second is the caller's. */
static void rtc_take(struct rtc *rtc, u64 fraction_ns)
{
	struct rtc_regs *r = &rtc->regs;

	r->offset_ns +=
		rtc_seconds(r) * NS_PER_SEC + fraction_ns - rtc_now(rtc);
	r->seen_ns = rtc_now(rtc);
}

/* ---- events ---------------------------------------------------------------
 */

/* Length of the periodic interrupt's period in 1/32768 s, 0: off; [1] table 3
 */
static unsigned rtc_period(const struct rtc_regs *r)
{
	unsigned rate = r->cmos[RTC_A] & RTC_RATE;

	if (!rate || (r->cmos[RTC_A] & RTC_DIVIDER) != RTC_DIVIDER_32K)
		return 0;
	return 1u << (rate <= 2 ? rate + 6 : rate - 1);
}

static u64 ticks_from_ns(u64 ns)
{
	return ns / NS_PER_SEC * RTC_HZ + ns % NS_PER_SEC * RTC_HZ / NS_PER_SEC;
}

/* The first ns at which so many ticks are over. */
static u64 ns_from_ticks(u64 ticks)
{
	return ticks / RTC_HZ * NS_PER_SEC +
	       (ticks % RTC_HZ * NS_PER_SEC + RTC_HZ - 1) / RTC_HZ;
}

static bool alarm_matches(const struct rtc_regs *r, unsigned reg, unsigned val)
{
	u8 alarm = r->cmos[reg];

	if (alarm >= RTC_ANY)
		return true;
	return val == (reg == RTC_HOURS_ALARM ? rtc_decode_hour(r, alarm)
					      : rtc_decode(r, alarm));
}

static bool alarm_is_below(const struct rtc_regs *r, unsigned reg, unsigned end)
{
	u8 alarm = r->cmos[reg];

	return alarm >= RTC_ANY || rtc_decode(r, alarm) < end;
}

/* Is it a time of day? 12-hour hours always are (rtc_decode_hour). */
static bool alarm_can_match(const struct rtc_regs *r)
{
	return alarm_is_below(r, RTC_SECONDS_ALARM, 60) &&
	       alarm_is_below(r, RTC_MINUTES_ALARM, 60) &&
	       (!(r->cmos[RTC_B] & RTC_24H) ||
		alarm_is_below(r, RTC_HOURS_ALARM, 24));
}

/*
 * Seconds from `seconds` to the alarm's next match, at least 1; 0: never. Whole
 * hours and minutes that do not match are skipped, and so are seconds: at most
 * some 90 steps.
 */
static unsigned alarm_distance(const struct rtc_regs *r, u64 seconds)
{
	unsigned second = rtc_decode(r, r->cmos[RTC_SECONDS_ALARM]);
	u64 next = seconds + 1;

	if (!alarm_can_match(r))
		return 0;
	while (next <= seconds + RTC_DAY_SECONDS) {
		unsigned of_day = (unsigned)(next % RTC_DAY_SECONDS);

		if (!alarm_matches(r, RTC_HOURS_ALARM, of_day / 3600))
			next += 3600 - of_day % 3600;
		else if (!alarm_matches(r, RTC_MINUTES_ALARM, of_day / 60 % 60))
			next += 60 - of_day % 60;
		else if (!alarm_matches(r, RTC_SECONDS_ALARM, of_day % 60))
			next += (second + 60 - of_day % 60) % 60;
		else
			return (unsigned)(next - seconds);
	}
	return 0;
}

/* When the event of one flag comes next after `now`; UINT64_MAX: never. */
static u64 rtc_next(const struct rtc_regs *r, u8 flag, u64 now)
{
	u64 seconds = now / NS_PER_SEC, distance;
	unsigned period = rtc_period(r);

	if (flag == RTC_PF) {
		if (!period)
			return UINT64_MAX;
		return ns_from_ticks((ticks_from_ns(now) / period + 1) *
				     period);
	}
	if (!rtc_runs(r))
		return UINT64_MAX;
	distance = flag == RTC_UF ? 1 : alarm_distance(r, seconds);
	return distance ? (seconds + distance) * NS_PER_SEC : UINT64_MAX;
}

static const u8 rtc_flags[] = {RTC_PF, RTC_AF, RTC_UF};

/* Bring register C up to date, the line with it, and arm for what comes. */
static void rtc_update(struct rtc *rtc)
{
	struct rtc_regs *r = &rtc->regs;
	u64 now = rtc_now(rtc), due = UINT64_MAX;
	u8 *c = &r->cmos[RTC_C];
	unsigned i;

	if (!r->seen_ns) /* wall time begins when the VM starts */
		r->seen_ns = now;
	for (i = 0; i < ARRAY_SIZE(rtc_flags); i++) {
		u8 flag = rtc_flags[i];

		if (!(*c & flag) && rtc_next(r, flag, r->seen_ns) <= now)
			*c |= flag;
		if (!(*c & flag) && (r->cmos[RTC_B] & flag))
			due = min_u64(due, rtc_next(r, flag, now));
	}
	r->seen_ns = now;
	*c &= (u8)~RTC_IRQF;
	if (*c & r->cmos[RTC_B] & (RTC_PF | RTC_AF | RTC_UF))
		*c |= RTC_IRQF;
	irq_set(rtc->line, *c & RTC_IRQF);
	if (due == UINT64_MAX || (*c & RTC_IRQF))
		timer_disarm(&rtc->timer);
	else
		timer_arm(&rtc->timer,
			  clock_ns(&rtc->dev.vm->clock) + (due - now));
}

static void rtc_fire(struct timer *timer, u64 now_ns)
{
	rtc_update(container_of(timer, struct rtc, timer));
}

/* ---- registers ------------------------------------------------------------
 */

static bool reg_is_time(u8 reg)
{
	return reg == RTC_CENTURY || reg == RTC_SECONDS || reg == RTC_MINUTES ||
	       reg == RTC_HOURS || (reg >= RTC_WEEKDAY && reg <= RTC_YEAR);
}

static u8 rtc_read_reg(struct rtc *rtc)
{
	struct rtc_regs *r = &rtc->regs;
	u64 now = rtc_now(rtc);
	bool runs = rtc_runs(r);
	u8 val;

	if (runs && reg_is_time(r->index))
		rtc_show(r, now);
	switch (r->index) {
	case RTC_A:
		val = r->cmos[RTC_A];
		if (runs && now % NS_PER_SEC >= NS_PER_SEC - RTC_UIP_NS)
			val |= RTC_UIP;
		return val;
	case RTC_C: /* [1]: reading clears it, and the line with it */
		rtc_update(rtc);
		val = r->cmos[RTC_C];
		r->cmos[RTC_C] = 0;
		/* Low first: an event that is due by now is a new edge. */
		irq_set(rtc->line, false);
		rtc_update(rtc);
		return val;
	default:
		return r->cmos[r->index];
	}
}

/*
 * Registers A and B start and stop the clock. Set by SET alone it keeps its
 * place within the second; released from divider reset, its first update comes
 * half a second later ([1], divider control).
 */
static void rtc_control(struct rtc *rtc, u8 reg, u8 val)
{
	struct rtc_regs *r = &rtc->regs;
	bool ran = rtc_runs(r);
	u64 fraction = rtc_now(rtc) % NS_PER_SEC;

	if (reg == RTC_A &&
	    (r->cmos[RTC_A] & RTC_DIVIDER_RESET) == RTC_DIVIDER_RESET)
		fraction = NS_PER_SEC / 2;
	rtc_update(rtc);
	if (ran)
		rtc_show(r, rtc_now(rtc));
	r->cmos[reg] = val;
	if (!ran && rtc_runs(r))
		rtc_take(rtc, fraction);
	rtc_update(rtc);
}

static void rtc_write_reg(struct rtc *rtc, u8 val)
{
	struct rtc_regs *r = &rtc->regs;

	switch (r->index) {
	case RTC_A:
		rtc_control(rtc, RTC_A, val & (u8)~RTC_UIP);
		return;
	case RTC_B:
		if (val & RTC_SET) /* [1]: SET clears UIE */
			val &= (u8)~RTC_UIE;
		rtc_control(rtc, RTC_B, val);
		return;
	case RTC_C:
	case RTC_D:
		return;
	default:
		break;
	}
	rtc_update(rtc);
	if (!reg_is_time(r->index) || !rtc_runs(r)) {
		r->cmos[r->index] = val;
	} else {
		rtc_show(r, rtc_now(rtc));
		r->cmos[r->index] = val;
		rtc_take(rtc, rtc_now(rtc) % NS_PER_SEC);
	}
	rtc_update(rtc);
}

static u64 rtc_read(struct device *dev, u64 off, unsigned width)
{
	/* [2]: the index port is for writing only */
	return off ? rtc_read_reg(to_rtc(dev)) : 0xff;
}

static void rtc_write(struct device *dev, u64 off, unsigned width, u64 val)
{
	struct rtc *rtc = to_rtc(dev);

	if (off) {
		rtc_write_reg(rtc, (u8)val);
		return;
	}
	rtc->regs.index = val & 0x7f;
	rtc->regs.nmi_mask = val & RTC_NMI_MASK;
}

/* ---- CMOS memory -----------------------------------------------------------
 */

static void cmos_put(struct rtc_regs *r, unsigned reg, u64 val, unsigned bytes)
{
	u64 max = BIT(8 * bytes) - 1;
	unsigned i;

	val = min_u64(val, max);
	for (i = 0; i < bytes; i++)
		r->cmos[reg + i] = (u8)(val >> (8 * i));
}

/* What a BIOS leaves there, [3]; memory sizes as boot loaders look for them. */
static void cmos_init(struct rtc *rtc)
{
	struct rtc_regs *r = &rtc->regs;
	const struct guest_mem *mem = &rtc->dev.vm->mem;
	u64 low = mem_low_end(mem);
	u64 above_1m = low > MIB(1) ? low - MIB(1) : 0;
	u64 above_16m = low > MIB(16) ? low - MIB(16) : 0;
	unsigned i, sum = 0;

	r->cmos[0x14] = 0x06;	   /* equipment: FPU, pointing device port */
	cmos_put(r, 0x15, 640, 2); /* base memory, KiB */
	cmos_put(r, 0x17, above_1m / KIB(1), 2);
	cmos_put(r, 0x30, above_1m / KIB(1), 2);
	cmos_put(r, 0x34, above_16m / KIB(64), 2);
	cmos_put(r, 0x5b, mem_high_size(mem) / KIB(64), 3);
	for (i = 0x10; i <= 0x2d; i++)
		sum += r->cmos[i];
	r->cmos[0x2e] = (u8)(sum >> 8);
	r->cmos[0x2f] = (u8)sum;
}

/* ---- life -------------------------------------------------------------------
 */

/* [1] RESET: interrupts off; time and memory live on their battery. */
static void rtc_reset(struct device *dev)
{
	struct rtc *rtc = to_rtc(dev);

	rtc->regs.cmos[RTC_B] &= (u8) ~(RTC_PIE | RTC_AIE | RTC_UIE | RTC_SQWE);
	rtc->regs.cmos[RTC_C] = 0;
	rtc->regs.index = 0;
	rtc->regs.nmi_mask = 0;
	rtc_update(rtc);
}

static int rtc_create(struct device *dev, struct err *err)
{
	struct rtc *rtc = to_rtc(dev);
	struct vm *vm = dev->vm;
	const struct bus_region region = {
		.name = dev->id,
		.space = BUS_PIO,
		.base = 0x70,
		.size = 2,
		.widths = BUS_W1,
		.dev = dev,
		.read = rtc_read,
		.write = rtc_write,
	};

	if (rtc->irq >= IRQ_GSI_COUNT)
		return err_set(err, -EINVAL, "%s: irq is 0 to %d", dev->id,
			       IRQ_GSI_COUNT - 1);
	rtc->line = irq_line(&vm->irq, (unsigned)rtc->irq);
	timer_init(&rtc->timer, &vm->timers, dev, rtc_fire);
	rtc->regs.cmos[RTC_A] = RTC_DIVIDER_32K | 6; /* 1,024 Hz, as a BIOS */
	rtc->regs.cmos[RTC_B] = RTC_24H;
	rtc->regs.cmos[RTC_D] = RTC_VRT;
	cmos_init(rtc);
	return bus_add(&vm->bus, &region, err);
}

static void rtc_destroy(struct device *dev)
{
	struct rtc *rtc = to_rtc(dev);

	if (rtc->timer.queue)
		timer_fini(&rtc->timer);
}

/* What came due before the pause is in the saved registers. */
static void rtc_quiesce(struct device *dev)
{
	rtc_update(to_rtc(dev));
}

/* The battery's clock went on: what came due meanwhile, and the timer anew. */
static void rtc_resume(struct device *dev)
{
	rtc_update(to_rtc(dev));
}

static int rtc_loaded(struct device *dev, struct err *err)
{
	struct rtc *rtc = to_rtc(dev);
	struct rtc_regs *r = &rtc->regs;

	if (r->index >= sizeof(r->cmos) || (r->nmi_mask & ~RTC_NMI_MASK))
		return err_set(err, -EINVAL, "%s: saved state is not valid",
			       dev->id);
	rtc_update(rtc);
	return 0;
}

static const struct device_option rtc_options[] = {
	{"irq", OPT_NUM, offsetof(struct rtc, irq), "8", "interrupt line"},
	{0},
};

static const struct device_type rtc_type = {
	.name = "rtc",
	.help = "MC146818A real-time clock and CMOS memory",
	.size = sizeof(struct rtc),
	.options = rtc_options,
	.save_version = 1,
	.regs_offset = offsetof(struct rtc, regs),
	.regs_size = sizeof(struct rtc_regs),
	.create = rtc_create,
	.destroy = rtc_destroy,
	.reset = rtc_reset,
	.loaded = rtc_loaded,
	.quiesce = rtc_quiesce,
	.resume = rtc_resume,
};
DEVICE_TYPE(rtc_type);
