/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeds for fuzz_pc: what drivers do to the board's chips, one file a topic.
 *
 *     pc_seeds LIST
 *
 * writes LIST.d/TOPIC and their names, separated by commas, to LIST.
 */
#include "fuzz_pc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct seed {
	u8 bytes[2048];
	size_t len;
};

static void put(struct seed *s, u64 val, unsigned bytes)
{
	if (s->len + bytes > sizeof(s->bytes))
		abort();
	for (; bytes; bytes--, val >>= 8)
		s->bytes[s->len++] = (u8)val;
}

/* ---- steps --------------------------------------------------------------- */

static void outb(struct seed *s, unsigned port, u8 val)
{
	unsigned r = 0;

	while (port - pc_ports[r].base >= pc_ports[r].size)
		r++;
	put(s, STEP_PORT_WRITE, 1);
	put(s, r, 1);
	put(s, port - pc_ports[r].base, 1);
	put(s, 0, 1);
	put(s, val, 4);
}

static void in_wide(struct seed *s, unsigned port, u8 shape)
{
	unsigned r = 0;

	while (port - pc_ports[r].base >= pc_ports[r].size)
		r++;
	put(s, STEP_PORT_READ, 1);
	put(s, r, 1);
	put(s, port - pc_ports[r].base, 1);
	put(s, shape, 1);
}

static void inb(struct seed *s, unsigned port)
{
	in_wide(s, port, 0);
}

static void pci(struct seed *s, bool ecam, unsigned reg, unsigned shape)
{
	put(s, STEP_PCI_READ, 1);
	put(s, ecam, 1);
	put(s, 0, 2);
	put(s, reg, 2);
	put(s, shape, 1);
}

static void pci_write(struct seed *s, bool ecam, unsigned reg, u32 val)
{
	put(s, STEP_PCI_WRITE, 1);
	put(s, ecam, 1);
	put(s, 0, 2);
	put(s, reg, 2);
	put(s, 2, 1);
	put(s, val, 4);
}

static void ioapic(struct seed *s, u8 reg, u32 val)
{
	put(s, STEP_IOAPIC, 1);
	put(s, reg, 1);
	put(s, SHAPE_WRITE, 1);
	put(s, val, 4);
	put(s, STEP_IOAPIC, 1);
	put(s, reg, 1);
	put(s, 0, 1);
}

static void cmos(struct seed *s, u8 reg, u8 val)
{
	put(s, STEP_CMOS, 1);
	put(s, reg, 1);
	put(s, SHAPE_WRITE, 1);
	put(s, val, 1);
}

static void cmos_read(struct seed *s, u8 reg)
{
	put(s, STEP_CMOS, 1);
	put(s, reg, 1);
	put(s, 0, 1);
}

static void lapic(struct seed *s, u8 cpu, unsigned reg, u32 val)
{
	put(s, STEP_LAPIC_WRITE, 1);
	put(s, cpu, 1);
	put(s, reg / 16, 1);
	put(s, val, 4);
	put(s, STEP_LAPIC_READ, 1);
	put(s, cpu, 1);
	put(s, reg / 16, 1);
}

static void msr(struct seed *s, u8 cpu, u8 index, u64 val)
{
	put(s, STEP_MSR_WRITE, 1);
	put(s, cpu, 1);
	put(s, index, 1);
	put(s, val, 8);
	put(s, STEP_MSR_READ, 1);
	put(s, cpu, 1);
	put(s, index, 1);
}

static void line(struct seed *s, u8 gsi, bool level)
{
	put(s, STEP_LINE, 1);
	put(s, gsi, 1);
	put(s, level, 1);
}

static void cpu(struct seed *s, u8 how)
{
	put(s, STEP_CPU, 1);
	put(s, how, 1);
}

static void pass(struct seed *s, u8 shift, u8 mantissa)
{
	put(s, STEP_TIME, 1);
	put(s, shift, 1);
	put(s, mantissa, 1);
}

static void step(struct seed *s, enum pc_step what, u8 arg)
{
	put(s, what, 1);
	put(s, arg, 1);
}

/* ---- topics -------------------------------------------------------------- */

/* Devices in the board's order: what STEP_SAVE takes. */
enum { DEV_PIC, DEV_IOAPIC, DEV_PIT, DEV_RTC, DEV_I8042, DEV_SERIAL0 };

static void pic_init(struct seed *s)
{
	static const u8 words[][2] = {
		{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1}, {0xa0, 0x11},
		{0xa1, 0x28}, {0xa1, 2},    {0xa1, 1}, {0x21, 0}, {0xa1, 0}};

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		outb(s, words[i][0], words[i][1]);
}

static void seed_pic(struct seed *s)
{
	pic_init(s);
	line(s, 4, true);
	line(s, 10, true);
	step(s, STEP_SAVE, DEV_PIC);
	for (unsigned i = 0; i < 3; i++) {
		cpu(s, 0);
		outb(s, 0x20, 0x0b); /* OCW3: read ISR */
		inb(s, 0x20);
		outb(s, 0xa0, 0x20);
		outb(s, 0x20, 0x20);
	}
	outb(s, 0x20, 0x0c); /* poll */
	inb(s, 0x20);
	outb(s, 0x4d0, 0x20);
	outb(s, 0x20, 0x68); /* special mask */
	outb(s, 0x20, 0xc3); /* priority */
}

static void seed_pit(struct seed *s)
{
	for (u8 mode = 0; mode < 6; mode++) {
		outb(s, 0x43, 0x30 | mode << 1);
		outb(s, 0x40, 0x34);
		outb(s, 0x40, 0x12);
		pass(s, 18, 40);
		outb(s, 0x43, 0xe2); /* read back, both */
		inb(s, 0x40);
		in_wide(s, 0x40, 1);
		outb(s, 0x43, 0xb0 | mode << 1);
		outb(s, 0x42, 0x10);
		outb(s, 0x42, 0);
		outb(s, 0x61, 1);
		pass(s, 10, 20);
		outb(s, 0x61, 0);
		inb(s, 0x61);
		step(s, STEP_SAVE, DEV_PIT);
	}
}

static void seed_rtc(struct seed *s)
{
	cmos(s, 0x0b, 0x72); /* periodic, alarm, update */
	cmos(s, 0x0a, 0x26);
	for (u8 reg = 1; reg < 6; reg += 2)
		cmos(s, reg, 0xff);
	pass(s, 30, 3);
	cmos_read(s, 0x0c);
	cmos(s, 0x0b, 0x82); /* set the time */
	cmos(s, 0, 0x59);
	cmos(s, 9, 0x99);
	cmos(s, 0x0b, 0x06);
	cmos(s, 0x0a, 0x70);
	cmos(s, 0x0a, 0x23);
	for (u8 reg = 0; reg < 14; reg++)
		cmos_read(s, reg);
	step(s, STEP_SAVE, DEV_RTC);
}

static void seed_i8042(struct seed *s)
{
	static const u8 keyboard[] = {0xff, 0xf2, 0xf0, 2, 0xf0,
				      0,    0xee, 0xed, 7, 0xfe};

	outb(s, 0x64, 0xaa);
	inb(s, 0x60);
	outb(s, 0x64, 0x60);
	outb(s, 0x60, 0x45);
	for (unsigned i = 0; i < sizeof(keyboard); i++) {
		outb(s, 0x60, keyboard[i]);
		inb(s, 0x64);
		inb(s, 0x60);
		inb(s, 0x60);
	}
	outb(s, 0x64, 0xd0);
	outb(s, 0x92, 2);
	step(s, STEP_SAVE, DEV_I8042);
	outb(s, 0x64, 0xfe);
}

static void seed_serial(struct seed *s)
{
	static const char text[] = "hello\n";

	outb(s, 0x3f9, 0x0f);
	outb(s, 0x3fa, 0xc7);
	outb(s, 0x3fb, 0x83);
	outb(s, 0x3f8, 1);
	outb(s, 0x3fb, 3);
	outb(s, 0x3fc, 0x0b);
	for (unsigned i = 0; i < sizeof(text); i++)
		outb(s, 0x3f8, (u8)text[i]);
	step(s, STEP_INPUT, 0);
	put(s, sizeof(text), 1);
	for (unsigned i = 0; i < sizeof(text); i++)
		put(s, (u8)text[i], 1);
	step(s, STEP_SAVE, DEV_SERIAL0);
	pass(s, 20, 2);
	for (unsigned reg = 0; reg < 8; reg++)
		inb(s, 0x3f8 + reg);
	outb(s, 0x3fc, 0x1f); /* loopback */
	outb(s, 0x3f8, 'x');
	outb(s, 0x3fb, 0x43);
	inb(s, 0x3fd);
	step(s, STEP_DRAIN, 0);
}

static void seed_apic(struct seed *s)
{
	lapic(s, 0, 0xf0, 0x1ff);
	lapic(s, 1, 0xf0, 0x1ff);
	lapic(s, 0, 0xd0, 0x01000000);
	lapic(s, 0, 0xe0, 0xffffffff);
	for (u8 pin = 0; pin < 4; pin++) {
		ioapic(s, 0x10 + 2 * pin, 0x30 + pin + (pin & 1 ? 0x8000 : 0));
		ioapic(s, 0x11 + 2 * pin, (u32)(pin & 1) << 24);
	}
	line(s, 1, true);
	line(s, 3, true);
	cpu(s, 1);
	step(s, STEP_SAVE, DEV_IOAPIC);
	cpu(s, 1 | CPU_EOI);
	line(s, 3, false);
	lapic(s, 0, 0x310, 1u << 24);
	lapic(s, 0, 0x300, 0x4500); /* INIT */
	cpu(s, 1);
	lapic(s, 0, 0x300, 0x4608);  /* SIPI */
	lapic(s, 0, 0x300, 0xc4041); /* the others */
	put(s, STEP_MSI, 1);
	put(s, 0x0000100c, 4);
	put(s, 0x0141, 4);
	step(s, STEP_MOVE, CPU_EOI);
}

static void seed_lapic_timer(struct seed *s)
{
	lapic(s, 0, 0xf0, 0x1ff);
	lapic(s, 0, 0x3e0, 0xb);
	lapic(s, 0, 0x320, 0x20040); /* periodic */
	lapic(s, 0, 0x380, 1000);
	pass(s, 16, 5);
	cpu(s, CPU_EOI);
	lapic(s, 0, 0x320, 0x40040); /* deadline */
	msr(s, 0, 0xf0, 100000000);
	pass(s, 24, 9);
	cpu(s, CPU_EOI);
	msr(s, 1, 0xf1, 0xfee00c00); /* x2APIC */
	msr(s, 1, 0x0f, 0x1ff);
	msr(s, 1, 0x30, 0x40041);
	msr(s, 1, 0x3f, 0x50);
	cpu(s, 1 | CPU_EOI);
}

static void seed_pci(struct seed *s)
{
	for (unsigned reg = 0; reg < 64; reg += 4)
		pci(s, reg & 4, reg, 2);
	for (unsigned reg = 0x10; reg < 0x28; reg += 4)
		pci_write(s, reg & 4, reg, 0xffffffff);
	pci_write(s, true, 4, 0xf9000007);
	pci(s, true, 0x100, 2);
	pci(s, false, 0x3d, 0);
	step(s, STEP_SAVE, 9);
}

static void seed_power(struct seed *s)
{
	put(s, STEP_BUTTON, 1);
	outb(s, 0x603, 1);
	in_wide(s, 0x600, 1);
	outb(s, 0x601, 1);
	in_wide(s, 0x608, 2);
	outb(s, 0x602, 1);
	pass(s, 40, 2);
	step(s, STEP_SAVE, 7);
	put(s, STEP_PAUSE, 1);
	put(s, STEP_RESET, 1);
	outb(s, 0x605, 0x34); /* S5 */
	outb(s, 0xcf9, 6);
	outb(s, 0xf4, 3);
}

static const struct {
	const char *name;
	void (*make)(struct seed *s);
} topics[] = {
	{"pic", seed_pic},	     {"pit", seed_pit},
	{"rtc", seed_rtc},	     {"i8042", seed_i8042},
	{"serial", seed_serial},     {"apic", seed_apic},
	{"timer", seed_lapic_timer}, {"pci", seed_pci},
	{"power", seed_power},
};

/* ------------------------------------------------------------------------- */

static FILE *create(const char *path)
{
	FILE *file = fopen(path, "w");

	if (!file) {
		perror(path);
		exit(1);
	}
	return file;
}

int main(int argc, char **argv)
{
	char path[4096];
	FILE *list;

	if (argc != 2)
		return 2;
	list = create(argv[1]);
	snprintf(path, sizeof(path), "%s.d", argv[1]);
	mkdir(path, 0777);
	for (unsigned i = 0; i < ARRAY_SIZE(topics); i++) {
		struct seed seed = {.len = 0};
		FILE *file;

		topics[i].make(&seed);
		snprintf(path, sizeof(path), "%s.d/%s", argv[1],
			 topics[i].name);
		file = create(path);
		fwrite(seed.bytes, 1, seed.len, file);
		fclose(file);
		fprintf(list, "%s%s", i ? "," : "", path);
	}
	return fclose(list) ? 1 : 0;
}
