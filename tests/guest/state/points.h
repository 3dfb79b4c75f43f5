/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest `state` and the program that moves it (tests/lab/moves.c)
 * have agreed on. The guest is brought to the point that "point=N" names, and
 * there writes to POINT_PORT or reads POINT_PAGE: the host pauses it right
 * behind that instruction.
 */
#pragma once

enum point {
	POINT_PLAIN,	/* general registers */
	POINT_STI,	/* at an STI, with an interrupt waiting */
	POINT_MOVSS,	/* behind MOV SS, an NMI comes */
	POINT_NMI,	/* in an NMI's handler, another one waits */
	POINT_NMI_MAIL, /* an NMI comes while it is paused */
	POINT_REP,	/* in the middle of REP MOVSB */
	POINT_HLT,	/* asleep until an NMI */
	POINT_SIPI,	/* CPU 1 waits for its SIPI, then for another */
	POINT_ONE_SHOT, /* LAPIC timer */
	POINT_PERIODIC,
	POINT_DEADLINE,
	POINT_PIT,    /* 8254: one-shot, periodic, half-read */
	POINT_FPU,    /* x87, SSE and AVX registers, in ring 3 */
	POINT_STEP,   /* a single-step trap is due */
	POINT_WATCH,  /* debug registers */
	POINT_REAL,   /* real mode with hidden limits */
	POINT_PAGING, /* PAE and its four pointers in the 32-bit build */
	POINT_MSRS,   /* system call and other MSRs */
	POINT_CHIPS,  /* 8259, IOAPIC and LAPIC registers, half-way states */
	POINT_PAIR,   /* two CPUs that work */
	POINT_RANDOM, /* anywhere, again and again, until POINT_STOP */
	POINT_COUNT,
};

#define POINT_PORT 0x1ee
#define POINT_PAGE                                                         \
	0xfe000000	    /* MMIO: a byte reads as its offset's low byte \
			     */
#define POINT_SS 0xfe001000 /* MMIO: two bytes read as KERNEL_DATA */
#define POINT_STOP 0x600    /* RAM: the host writes a byte */

/* POINT_REP: bytes to copy, and which of them is the point. */
#define POINT_REP_BYTES 3000
#define POINT_REP_AT 1500
