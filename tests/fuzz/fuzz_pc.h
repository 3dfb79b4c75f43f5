/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The language of fuzz_pc's inputs: a list of steps, each an opcode (taken
 * modulo STEP_COUNT) and its arguments, little endian. What the input ends in
 * the middle of reads as zeros.
 */
#pragma once

#include "util/types.h"

enum pc_step {
	STEP_PORT_READ,	  /* region u8, offset u8, shape u8 */
	STEP_PORT_WRITE,  /* the same, value u32 */
	STEP_MMIO_READ,	  /* region u8, offset u32, shape u8 */
	STEP_MMIO_WRITE,  /* the same, value u64 */
	STEP_PCI_READ,	  /* way u8, function u16, register u16, shape u8 */
	STEP_PCI_WRITE,	  /* the same, value u32 */
	STEP_IOAPIC,	  /* register u8, shape u8, value u32: read, write */
	STEP_CMOS,	  /* register u8, shape u8, value u8: read or write */
	STEP_LAPIC_READ,  /* cpu u8, register u8 */
	STEP_LAPIC_WRITE, /* the same, value u32 */
	STEP_MSR_READ,	  /* cpu u8, MSR u8 */
	STEP_MSR_WRITE,	  /* the same, value u64 */
	STEP_MSI,	  /* address bits u32, data u32 */
	STEP_LINE,	  /* gsi u8, level u8 */
	STEP_CPU,	  /* cpu u8: take what is pending, perhaps end it */
	STEP_TIME,	  /* shift u8, mantissa u8: that many ns pass */
	STEP_RESET,	  /* everything */
	STEP_SAVE,	  /* device u8: save, load, save */
	STEP_LOAD,	  /* device u8, count u8, {offset u16, xor u8} */
	STEP_LAPIC_LOAD,  /* cpu u8, count u8, {offset u16, xor u8} */
	STEP_MOVE,	  /* all state to a VM of its own, and go on there */
	STEP_INPUT,	  /* console u8, count u8, bytes */
	STEP_DRAIN,	  /* console u8: its reader reads */
	STEP_BUTTON,	  /* the power button */
	STEP_PAUSE,	  /* quiesce and resume */
	STEP_COUNT,
};

/* shape: width in bits 1:0 (1 << n bytes), bit 7 tells a write where one step
 * has both; bits 6:2 the count of a string instruction less one (ports). */
#define SHAPE_WRITE 0x80

/* cpu: bit 7 of STEP_CPU ends the interrupt; the rest is modulo PC_CPUS. */
#define CPU_EOI 0x80

enum { PC_CPUS = 2, PC_SERIALS = 2, PC_MAX_STEPS = 4000 };

/* Regions of ports and memory, by index modulo their number. */
struct pc_region {
	u64 base, size;
};

static const struct pc_region pc_ports[] = {
	{0x20, 2},   {0xa0, 2},	  {0x4d0, 2},	{0x40, 4},    {0x61, 1},
	{0x60, 1},   {0x64, 1},	  {0x92, 1},	{0x70, 2},    {0x3f8, 8},
	{0x2f8, 8},  {0x600, 12}, {0xcf8, 8},	{0xf4, 4},    {0x3e8, 8},
	{0x510, 12}, {0, 256},	  {0x400, 256}, {0xfff0, 16},
};
