/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs to begin with: what translators do wrong, and what ours has done
 * wrong. A piece is its choices, the instruction, and, where the choices want
 * an address, a byte for that (translate.h).
 */
#include "translate.h"

#define MIDDLE 0, 0x80, 0, 0x12, 0x34	/* a user's code, in its page */
#define KERNEL XL_KERNEL, 0x80, 0, 5, 6 /* a kernel's */
#define BY(n) (((n) + XL_JUMP_BIAS) << XL_JUMP_SHIFT)

#define SEED(name, ...)                                   \
	{                                                 \
		name, (const u8[]){__VA_ARGS__},          \
			sizeof((const u8[]){__VA_ARGS__}) \
	}

const struct xl_seed xl_seeds[] = {
	/* ---- was wrong once ---- */
	SEED("lea16", MIDDLE, 0, 0x66, 0x47, 0x8d, 0x0c,
	     0x99 /* lea r9w,
[r9+r11*4] */),
	/* btc [rax], rsp; jle */
	SEED("btc_rsp", MIDDLE, 0, 0x50, PLACE_DATA, 0x48, 0x0f, 0xbb, 0x20, 1,
	     BY(1), 0x7e, 0x00, 0, 0x58),
	/* sha1msg2 xmm2, [rax], unaligned; or al, 0xab */
	SEED("sha_unaligned", MIDDLE, 0, 0xb8, 0x08, 0x14, 0x00, 0x20, 0, 0x0f,
	     0x38, 0xca, 0x10, 0, 0x0c, 0xab),
	/* mov rax, 9000 0000 0000h; push rax; call [rsp] */
	SEED("call_bad", MIDDLE, 0, 0x48, 0xb8, 0, 0, 0, 0, 0, 0x90, 0, 0, 0,
	     0x50, 0, 0xff, 0x14, 0x24),
	/* mov esi, 200017e0h; mov [rsi+24], 1f80h; fxrstor [rsi]: the rest of
	 * it is random */
	SEED("fxrstor", MIDDLE, 0, 0xbe, 0xe0, 0x17, 0, 0x20, 0, 0xc7, 0x46,
	     0x18, 0x80, 0x1f, 0, 0, 0, 0x0f, 0xae, 0x0e, 0, 0x28, 0xce),
	/* push rax; ret 8 */
	SEED("ret_bad", MIDDLE, 0, 0x48, 0xb8, 0, 0, 0, 0, 0, 0x90, 0, 0, 0,
	     0x50, 0, 0xc2, 8, 0),

	/* ---- branches ---- */
	/* mov ecx, 9; add [rbx], eax; loop */
	SEED("loop", MIDDLE, 0, 0xb9, 9, 0, 0, 0, PLACE_DATA, 0x01, 0x03, 7,
	     BY(-1), 0xe2, 0),
	/* mov ecx, 5; call +2; dec ecx; jnz -2; int3; adc edx, ecx; ret */
	SEED("calls", MIDDLE, 0, 0xb9, 5, 0, 0, 0, BY(4), 0xe8, 0, 0, 0, 0, 0,
	     0xff, 0xc9, BY(-2), 0x75, 0, 0, 0xcc, 0, 0x11, 0xca, 0, 0xc3),

	/* ---- code that changes itself ---- */
	/* mov [code], dl; inc eax; inc ecx; inc edx; ... */
	SEED("writes_ahead", MIDDLE, PLACE_CODE, 0x88, 0x13, 24, 0, 0xff, 0xc0,
	     0, 0xff, 0xc1, 0, 0xff, 0xc2, 0, 0x11, 0xc8),
	SEED("writes_back", MIDDLE, 0, 0xb9, 3, 0, 0, 0, 0, 0x01, 0xc8,
	     PLACE_CODE, 0xfe, 0x03, 12, BY(-2), 0xe2, 0),
	SEED("writes_string", MIDDLE, PLACE_CODE, 0xf3, 0xaa, 20, 20, 20, 30, 0,
	     0xff, 0xc0),

	/* ---- ends of pages ---- */
	SEED("to_page_2", XL_AT_END, 6, 1, 2, 3, 0, 0xff, 0xc0, 0, 0xff, 0xc1,
	     0, 0xff, 0xc2, 0, 0x01, 0xc8),
	SEED("across", XL_AT_END, 3, 1, 2, 3, 0, 0x48, 0x81, 0xc0, 1, 2, 3, 4),
	SEED("to_nothing", XL_AT_END | PAGE2_ABSENT << 2, 4, 1, 2, 3, 0, 0xff,
	     0xc0, 0, 0xff, 0xc1, 0, 0xff, 0xc2),
	SEED("across_nothing", XL_AT_END | PAGE2_ABSENT << 2, 3, 1, 2, 3, 0,
	     0x48, 0x81, 0xc0, 1, 2, 3, 4),
	SEED("to_nx", XL_AT_END | PAGE2_NX << 2, 4, 1, 2, 3, 0, 0xff, 0xc0, 0,
	     0xff, 0xc1, 0, 0xff, 0xc2),
	SEED("across_nx", XL_AT_END | PAGE2_NX << 2, 3, 1, 2, 3, 0, 0x48, 0x81,
	     0xc0, 1, 2, 3, 4),
	SEED("to_kernel", XL_AT_END | PAGE2_OTHER_USER << 2, 4, 1, 2, 3, 0,
	     0xff, 0xc0, 0, 0xff, 0xc1, 0, 0xff, 0xc2),
	SEED("call_to_nx", XL_AT_END | PAGE2_NX << 2, 5, 1, 2, 3, BY(2), 0xe8,
	     0, 0, 0, 0, 0, 0xff, 0xc0, 0, 0xff, 0xc1),
	SEED("jcc_to_nothing", XL_AT_END | PAGE2_ABSENT << 2, 4, 0x40, 2, 3, 0,
	     0xff, 0xc0, BY(2), 0x74, 0, 0, 0xff, 0xc1),

	/* ---- the end of the low half ---- */
	SEED("off_the_edge", XL_AT_EDGE | XL_AT_END, 4, 1, 2, 3, 0, 0xff, 0xc0,
	     0, 0xff, 0xc1),
	SEED("across_the_edge", XL_AT_EDGE | XL_AT_END, 3, 1, 2, 3, 0, 0x48,
	     0x81, 0xc0, 1, 2, 3, 4),
	SEED("jcc_off_the_edge", XL_AT_EDGE | XL_AT_END, 2, 0, 2, 3, BY(1),
	     0x74, 0, 0, 0xff, 0xc0),
	SEED("jcc_beyond", XL_AT_EDGE | XL_AT_END, 8, 0x40, 2, 3, BY(2), 0x0f,
	     0x84, 0, 0, 0, 0, 0, 0xff, 0xc0, 0, 0xff, 0xc0),
	SEED("call_beyond", XL_AT_EDGE | XL_AT_END, 5, 0, 2, 3, BY(2), 0xe8, 0,
	     0, 0, 0, 0, 0xff, 0xc0),
	SEED("jmp_beyond", XL_AT_EDGE | XL_AT_END, 5, 0, 2, 3, BY(2), 0xe9, 0,
	     0, 0, 0, 0, 0xff, 0xc0),

	/* ---- flags, the stack, the FPU, a kernel ---- */
	SEED("flags", MIDDLE, PLACE_DATA, 0x13, 0x03, 9, PLACE_DATA_TOO, 0x83,
	     0x13, 1, 10, 0, 0x0f, 0x92, 0xc0, PLACE_PAGE_END, 0x19, 0x0b, 5, 0,
	     0x9c, 0, 0x58),
	SEED("stack", MIDDLE, 0, 0x55, 0, 0x48, 0x89, 0xe5, 0, 0x48, 0x83, 0xec,
	     0x20, 0, 0x89, 0x45, 0xf8, 0, 0x48, 0x8b, 0x54, 0x24, 0x08, 0,
	     0xc9),
	SEED("fpu", MIDDLE, PLACE_DATA, 0xf3, 0x0f, 0x6f, 0x03, 3, 0, 0x66,
	     0x0f, 0xfe, 0xc1, PLACE_CODE, 0xf3, 0x0f, 0x7f, 0x03, 9,
	     PLACE_DATA, 0xdd, 0x03, 4, 0, 0xde, 0xc1),
	SEED("faults", MIDDLE, 0, 0x31, 0xd2, 0, 0x31, 0xc9, 0, 0xf7, 0xf1),
	SEED("read_only", MIDDLE, PLACE_READ_ONLY, 0x01, 0x03, 9),
	SEED("mmio", MIDDLE, PLACE_MMIO, 0x8b, 0x03, 9, PLACE_MMIO, 0x89, 0x03,
	     9),
	SEED("nowhere", MIDDLE, PLACE_NOWHERE, 0x8b, 0x03, 8),
	SEED("kernel", KERNEL, 0, 0xfa, PLACE_DATA, 0xff, 0x03, 1, 0, 0xfb, 0,
	     0x9c, 0, 0x0f, 0x01, 0xf8, 0, 0x58),
	SEED("smap", XL_KERNEL | XL_SMAP, 0x80, 0, 5, 6, 0, 0x0f, 0x01, 0xcb, 0,
	     0xbb, 0x00, 0x30, 0x00, 0x20, 0, 0x8b, 0x03, 0, 0x0f, 0x01, 0xca,
	     0, 0x8b, 0x03),
};
const unsigned xl_seed_count = ARRAY_SIZE(xl_seeds);
