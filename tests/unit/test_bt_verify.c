/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge of emitted code: it passes what the translator makes, and none of
 * the errors planted in that. And the translator refuses bytes that are not
 * those which were decoded.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "bt_machine.h"
#include "bt_translation.h"
#include "engine/bt/decode.h"
#include "engine/bt/jit_verify.h"
#include "fpu_fixture.h"

struct judge {
	struct machine *t;
	struct bt_translation x;
	u8 code[JIT_VERIFY_MAX]; /* a copy, to be spoilt */
	u8 marks[JIT_VERIFY_MAX];
};

static struct judge *start(struct machine *t)
{
	struct judge *j = calloc(1, sizeof(*j));

	assert_non_null(j);
	j->t = t;
	assert_true(bt_translation_init(&j->x, &t->m));
	return j;
}

static void stop(struct judge *j)
{
	bt_translation_fini(&j->x);
	free(j);
}

static void take_copy(struct judge *j)
{
	const struct bt_trans *t = j->x.t;

	memcpy(j->code, j->t->m.bvm->jit->code.write + t->code, t->size);
}

static void translate(struct judge *j, const u8 *bytes, unsigned len)
{
	assert_true(bt_translation_decode(&j->x, bytes, len));
	assert_true(bt_translation_make(&j->x, false));
	take_copy(j);
}

static struct jit_verdict judge(struct judge *j)
{
	const struct bt_trans *t = j->x.t;
	const struct jit_suspect s = {
		.jit = j->t->m.bvm->jit,
		.t = t,
		.bytes = j->code,
		.at = t->code,
		.size = t->size,
		.ways = 2,
	};

	return jit_verify(&s, j->marks);
}

static void expect_good(struct judge *j)
{
	struct jit_verdict v = judge(j);

	if (v.why)
		fail_msg("%s at %#x", v.why, v.off);
}

static void expect_bad(struct judge *j, const char *error, const char *why)
{
	struct jit_verdict v = judge(j);

	if (!v.why)
		fail_msg("%s: not found", error);
	if (!strstr(v.why, why))
		fail_msg("%s: found as '%s', not '%s'", error, v.why, why);
}

/* Loads, stores, the stack, flags that live, and a way out. */
static const u8 mixed[] = {
	0x48, 0x01, 0xd8,	      /* add rax, rbx */
	0x48, 0x13, 0x03,	      /* adc rax, [rbx] */
	0x48, 0x89, 0x11,	      /* mov [rcx], rdx */
	0x55,			      /* push rbp */
	0x48, 0x8b, 0x74, 0x24, 0x10, /* mov rsi, [rsp+16] */
	0x66, 0x44, 0x89, 0x0f,	      /* mov [rdi], r9w */
	0x5d,			      /* pop rbp */
	0x75, 0x10,		      /* jne */
};

/* ---- planted errors ---------------------------------------------------- */

/* Bytes that stand in the code once at least; the n-th place. */
static u8 *find(struct judge *j, const u8 *bytes, unsigned len, unsigned n)
{
	for (u32 off = 8; off + len <= j->x.t->size; off++)
		if (!memcmp(j->code + off, bytes, len) && !n--)
			return j->code + off;
	fail_msg("no such code: %02x %02x %02x", bytes[0], bytes[1], bytes[2]);
	return NULL;
}

#define FIND(n, ...) \
	find(j, (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__}), n)

static void add32(u8 *at, s32 by)
{
	s32 val;

	memcpy(&val, at, 4);
	val += by;
	memcpy(at, &val, 4);
}

/* `spoil` changes the code at `at`; the rest is as it was emitted. */
#define PLANT(error, why, place, spoil)    \
	do {                               \
		u8 *at;                    \
                                           \
		take_copy(j);              \
		at = place;                \
		spoil;                     \
		(void)at;                  \
		expect_bad(j, error, why); \
	} while (0)

static void test_checks(void **state)
{
	struct judge *j = start(*state);
	s32 to_read = (s32)offsetof(struct bt_tlb_entry, read) -
		      (s32)offsetof(struct bt_tlb_entry, write);

	translate(j, mixed, sizeof(mixed));
	expect_good(j);
	/* cmp r8, 4096 - size */
	PLANT("a smaller size in the check", "more than was checked",
	      FIND(0, 0x49, 0x81, 0xf8, 0xf8, 0x0f, 0, 0), add32(at + 3, 4));
	PLANT("the size of another access", "more than was checked",
	      FIND(1, 0x49, 0x81, 0xf8, 0xf8, 0x0f, 0, 0), add32(at + 3, 1));
	/* ja */
	PLANT("no jump out", "that is no check", FIND(1, 0x0f, 0x87),
	      memset(at, 0x90, 6));
	PLANT("the jump for another condition", "that is no check",
	      FIND(1, 0x0f, 0x87), at[1] = 0x82);
	/* xor r8, [rsp + r10 + tag]; add r8, [rsp + r10 + host] */
	PLANT("a read check before a write", "checked for reading",
	      FIND(1, 0x4e, 0x33, 0x84, 0x14), add32(at + 4, to_read));
	PLANT("another mode's TLB", "that is no check",
	      FIND(0, 0x4e, 0x33, 0x84, 0x14),
	      add32(at + 4, -(s32)sizeof(struct bt_tlb)));
	PLANT("another field of the entry", "that is no check",
	      FIND(0, 0x4e, 0x03, 0x84, 0x14), add32(at + 4, -8));
	/* and r10d, mask */
	PLANT("an index without bounds", "that is no check",
	      FIND(0, 0x41, 0x81, 0xe2), at[6] = 0x7f);
	PLANT("the index of another address", "that is no check",
	      FIND(0, 0x4e, 0x33, 0x84, 0x14), at[2] = 0x8c);
	/* mov r10, rax behind the check: restoring flags */
	PLANT("a clobbered address", "no checked address",
	      FIND(3, 0x4c, 0x8b, 0xd0), at[2] = 0xc0);
	/* adc rax, [r8] */
	PLANT("an index behind the check", "no checked address",
	      FIND(0, 0x49, 0x13, 0x00), at[2] = 0x02);
	stop(j);
}

static void test_stack(void **state)
{
	struct judge *j = start(*state);

	translate(j, mixed, sizeof(mixed));
	assert_int_equal(j->x.t->win_lo, -8);
	assert_int_equal(j->x.t->win_size, 24);
	/* lea r10, [r11-8]; xor r10, [tag]; cmp r10, 4096-24 */
	PLANT("a window that is too small", "smaller than the block says",
	      FIND(0, 0x49, 0x81, 0xfa, 0xe8, 0x0f, 0, 0), add32(at + 3, 8));
	PLANT("a window that begins elsewhere", "smaller than the block says",
	      FIND(0, 0x4d, 0x8d, 0x53, 0xf8), at[3] = 0x00);
	PLANT("no window check", "smaller than the block says",
	      FIND(0, 0x0f, 0x87), memset(at, 0x90, 6));
	/* mov rsi, [r11+r9+16] */
	PLANT("an access beyond the window", "beyond the checked part",
	      FIND(0, 0x4b, 0x8b, 0x74, 0x0b, 0x10), at[4] = 0x18);
	PLANT("an access below the window", "beyond the checked part",
	      FIND(0, 0x4b, 0x8b, 0x74, 0x0b, 0x10), at[4] = 0xf8);
	PLANT("an access without the addend", "without the stack window",
	      FIND(0, 0x4b, 0x8b, 0x74, 0x0b, 0x10), at[3] = 0x13);
	/* lea r11, [r11-8] */
	PLANT("RSP moved by another amount", "beyond the checked part",
	      FIND(0, 0x4d, 0x8d, 0x5b, 0xf8), at[3] = 0x20);
	PLANT("RSP taken from elsewhere", "which may have been moved",
	      FIND(0, 0x4d, 0x8d, 0x5b, 0xf8), at[2] = 0x58);
	stop(j);
}

static void test_jumps(void **state)
{
	struct judge *j = start(*state);

	translate(j, mixed, sizeof(mixed));
	PLANT("a jump out", "jump out of the block", FIND(0, 0x0f, 0x87),
	      add32(at + 2, 0x100000));
	PLANT("a jump back", "or back", FIND(0, 0x0f, 0x87),
	      add32(at + 2, -(s32)j->x.t->size));
	PLANT("a jump into an instruction", "into an instruction",
	      FIND(0, 0x0f, 0x87), add32(at + 2, 1));
	/* It skips the check of the window. */
	PLANT("a jump over a check", "", FIND(0, 0xe3, 0x08), at[1] = 0x7f);
	PLANT("another word of data", "other data", j->code + j->x.t->lost,
	      at[5] ^= 4);
	PLANT("another instruction's number", "other data",
	      j->code + j->x.t->lost, at[8] = 1);
	PLANT("a call of something else", "no thunk", j->code + j->x.t->lost,
	      add32(at + 1, 16));
	PLANT("a place in an instruction", "place within", j->code,
	      j->x.t->at[1].host++);
	j->x.t->at[1].host--;
	PLANT("an entry in an instruction", "entry into", j->code,
	      j->x.t->poll++);
	j->x.t->poll--;
	PLANT("another block's head", "head", j->code, at[0] ^= 8);
	take_copy(j);
	expect_good(j);
	stop(j);
}

/* The look at the FPU: mov r10d, [fpu_ready]; and r10d, 1; cmp r10d, 1; jne */
static void test_fpu(void **state)
{
	static const u8 sse[] = {
		0x48, 0x01, 0xd8, /* add rax, rbx */
		0x0f, 0x28, 0xc1, /* movaps xmm0, xmm1 */
		0xd9, 0xe8,	  /* fld1 */
	};
	struct judge *j = start(*state);

	translate(j, sse, sizeof(sse));
	expect_good(j);
	PLANT("no jump out", "less of the FPU", FIND(0, 0x0f, 0x85),
	      memset(at, 0x90, 6));
	PLANT("a jump for the contrary", "less of the FPU", FIND(0, 0x0f, 0x85),
	      at[1] = 0x84);
	PLANT("compared with nothing", "less of the FPU",
	      FIND(0, 0x41, 0x83, 0xfa, 1), at[3] = 0);
	PLANT("another bit", "less of the FPU", FIND(0, 0x41, 0x83, 0xe2, 1),
	      at[3] = 2);
	PLANT("a place that says less", "no look at the FPU", j->code,
	      j->x.t->fpu = 0);
	stop(j);
}

/* call [rbx]: the landing's number */
static void test_landings(void **state)
{
	static const u8 call[] = {0xff, 0x13};
	static const u8 far[] = {0xe9, 0, 0, 0x10, 0};
	struct judge *j = start(*state);

	translate(j, call, sizeof(call));
	expect_good(j);
	/* jmp [rsp + r9*8 + code] */
	PLANT("a jump by another field", "no landing",
	      FIND(0, 0x42, 0xff, 0xa4, 0xcc), add32(at + 4, -8));
	PLANT("a jump by another register", "no landing",
	      FIND(0, 0x42, 0xff, 0xa4, 0xcc), at[3] = 0xd4);
	/* lea r9, [r9+r9] */
	PLANT("a number without bounds", "no checked address",
	      FIND(0, 0x4f, 0x8d, 0x0c, 0x09), at[1] = 0x8b);
	translate(j, far, sizeof(far));
	expect_good(j);
	/* mov r9d, number */
	PLANT("a number too large", "no landing", FIND(0, 0x41, 0xb9),
	      at[5] = 1);
	PLANT("an odd number", "no landing", FIND(0, 0x41, 0xb9), at[2] |= 1);
	stop(j);
}

/* The window moves, and chained blocks rely on what this one says. */
static void test_chained(void **state)
{
	static const u8 code[] = {
		0x58,			/* pop rax */
		0x48, 0x83, 0xec, 0x10, /* sub rsp, 16 */
		0x50,			/* push rax */
		0x75, 0x10,		/* jne */
	};
	struct judge *j = start(*state);
	struct bt_trans *t;

	translate(j, code, sizeof(code));
	expect_good(j);
	t = j->x.t;
	assert_true(t->sp_known);
	assert_int_equal(t->sp, -16);
	/* cmp r8, 4096 - 24 */
	PLANT("a page that is checked for less", "jump over the check",
	      FIND(0, 0x49, 0x81, 0xf8, 0xe8, 0x0f, 0, 0), add32(at + 3, 8));
	/* mov r8, [rsp + r10 + write]; mov [tag], r8 */
	PLANT("a tag for reading", "that is no check",
	      FIND(0, 0x4e, 0x8b, 0x84, 0x14), add32(at + 4, -8));
	PLANT("no addend", "half a window", FIND(1, 0x4c, 0x89, 0x84, 0x24),
	      memset(at, 0x90, 8));
	PLANT("no tag", "", FIND(0, 0x4c, 0x89, 0x84, 0x24),
	      memset(at, 0x90, 8));
	PLANT("another field for addend", "", FIND(1, 0x4e, 0x8b, 0x84, 0x14),
	      add32(at + 4, 8));
	PLANT("a larger window", "smaller than the block says", j->code,
	      t->win_size += 8);
	t->win_size -= 8;
	PLANT("RSP elsewhere at the end", "way out", j->code, t->sp += 8);
	t->sp -= 8;
	PLANT("RSP moved otherwise", "way out", FIND(0, 0x49, 0x83, 0xeb, 0x10),
	      at[3] = 8);
	take_copy(j);
	expect_good(j);
	stop(j);
}

/* What only system instructions and bit strings need. */
static void test_system(void **state)
{
	static const u8 bytes[] = {
		0x9c,		  /* pushf */
		0x0f, 0xab, 0x08, /* bts [rax], ecx */
		0x31, 0xdb,	  /* xor ebx, ebx: no flag lives before it */
		0xf3, 0x48, 0xab, /* rep stosq */
		0xfa,		  /* cli */
	};
	struct judge *j = start(*state);
	const struct bt_jit *jit;
	unsigned mode;

	translate(j, bytes, sizeof(bytes));
	expect_good(j);
	PLANT("PUSHF without POP", "the host's stack", FIND(0, 0x41, 0x5a),
	      memset(at, 0x90, 2));
	PLANT("POP of RBX", "the host's stack", FIND(0, 0x41, 0x5a),
	      memcpy(at, "\x40\x5b", 2));
	PLANT("POP without PUSHF", "the host's stack", FIND(0, 0x9c, 0x41),
	      *at = 0x90);
	PLANT("a bit of 64 in 32", "a bit beyond",
	      FIND(0, 0x41, 0x83, 0xe1, 31), at[3] = 63);
	PLANT("a bit's number as it is", "a bit beyond",
	      FIND(0, 0x41, 0x83, 0xe1, 31), memset(at, 0x90, 4));
	/* The routine of another mode, as its address is patched in. */
	jit = j->t->m.bvm->jit;
	mode = j->x.t->mode;
	take_copy(j);
	for (u32 off = 8; off + 5 <= j->x.t->size; off++) {
		s32 to;

		memcpy(&to, j->code + off + 1, 4);
		if (j->code[off] != 0xe8 ||
		    jit->code.exec + j->x.t->code + off + 5 + to !=
			    jit->stos[mode][W64])
			continue;
		add32(j->code + off + 1,
		      (s32)(jit->stos[(mode + 1) % MMU_COUNT][W64] -
			    jit->stos[mode][W64]));
		expect_bad(j, "routine", "a routine of another mode");
		stop(j);
		return;
	}
	fail_msg("no call of a routine");
}

/* In place of the immediate of MOV RAX, imm64, ten bytes. */
static void test_forbidden(void **state)
{
	static const u8 movabs[] = {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8};
	static const struct {
		u8 bytes[8];
		const char *name;
	} rows[] = {
		{{0x0f, 0x05}, "syscall"},
		{{0x0f, 0x34}, "sysenter"},
		{{0x0f, 0x07}, "sysret"},
		{{0xcd, 0x80}, "int 0x80"},
		{{0xcc}, "int3"},
		{{0xf1}, "int1"},
		{{0xfa}, "cli"},
		{{0xfb}, "sti"},
		{{0xf4}, "hlt"},
		{{0xfc}, "cld"},
		{{0xfd}, "std"},
		{{0xe6, 0x80}, "out"},
		{{0xec}, "in"},
		{{0x0f, 0x30}, "wrmsr"},
		{{0x0f, 0x32}, "rdmsr"},
		{{0x0f, 0xa2}, "cpuid"},
		{{0x0f, 0x0b}, "ud2"},
		{{0x0f, 0x22, 0xd8}, "mov cr3, rax"},
		{{0x0f, 0x20, 0xd8}, "mov rax, cr3"},
		{{0x0f, 0x23, 0xf8}, "mov dr7, rax"},
		{{0x0f, 0x01, 0x10}, "lgdt"},
		{{0x0f, 0x01, 0xd1}, "xsetbv"},
		{{0x0f, 0x01, 0xef}, "wrpkru"},
		{{0x0f, 0x01, 0xf8}, "swapgs"},
		{{0x0f, 0xae, 0x28}, "xrstor"},
		{{0x0f, 0xae, 0x08}, "fxrstor"},
		{{0x0f, 0xae, 0x10}, "ldmxcsr"},
		{{0xf3, 0x0f, 0xae, 0xd0}, "wrfsbase"},
		{{0xf3, 0x0f, 0xae, 0xd8}, "wrgsbase"},
		{{0x0f, 0x00, 0xd0}, "lldt"},
		{{0x8e, 0xd8}, "mov ds, ax"},
		{{0x8c, 0xd8}, "mov eax, ds"},
		{{0x0f, 0xa9}, "pop gs"},
		{{0x0f, 0xb2, 0x20}, "lss"},
		{{0xff, 0x18}, "far call"},
		{{0xff, 0x28}, "far jmp"},
		{{0xff, 0xd0}, "call rax"},
		{{0xff, 0xe0}, "jmp rax"},
		{{0xff, 0x30}, "push [rax]"},
		{{0xcb}, "retf"},
		{{0xcf}, "iret"},
		{{0xc3}, "ret"},
		{{0xc2, 8, 0}, "ret 8"},
		{{0x50}, "push rax"},
		{{0x58}, "pop rax"},
		{{0x5c}, "pop rsp"},
		{{0x9c}, "pushf"},
		{{0x9d}, "popf"},
		{{0xc9}, "leave"},
		{{0xc8, 8, 0, 0}, "enter"},
		{{0xeb, 0}, "jmp short"},
		{{0x74, 0}, "je short"},
		{{0xe2, 0}, "loop"},
		{{0xa4}, "movsb"},
		{{0xf3, 0xab}, "rep stos"},
		{{0xac}, "lodsb"},
		{{0xd7}, "xlat"},
		{{0x0f, 0xf7, 0xc1}, "maskmovq"},
		{{0xd9, 0x30}, "fnstenv"},
		{{0xdd, 0x30}, "fnsave"},
		{{0x0f, 0xa3, 0x00}, "bt [rax], eax"},
		{{0x8f, 0x00}, "pop [rax]"},
		{{0xc4, 0xe2, 0x79, 0x8e, 0x00}, "vpmaskmovd [rax]"},
		{{0xc5, 0xf8, 0xae, 0x10}, "vldmxcsr"},
	};
	static const struct {
		u8 bytes[8];
		const char *name, *why;
	} accesses[] = {
		{{0x48, 0x8b, 0x03}, "mov rax, [rbx]", "no checked address"},
		{{0x49, 0x8b, 0x00}, "mov rax, [r8]", "no checked address"},
		{{0x4b, 0x8b, 0x04, 0x0b}, "mov rax, [r11+r9]", "addend"},
		{{0x49, 0x8b, 0x03}, "mov rax, [r11]", "addend"},
		{{0x48, 0x8b, 0x05}, "mov rax, [rip]", "without a base"},
		{{0x8b, 0x04, 0x25}, "mov eax, [0]", "without a base"},
		{{0x65, 0x48, 0x8b, 0x03}, "mov rax, gs:[rbx]", "prefix"},
		{{0x67, 0x8b, 0x03}, "mov eax, [ebx]", "prefix"},
		{{0x48, 0x8b, 0x04, 0x24}, "mov rax, [rsp]", "not emitted"},
		{{0x48, 0x89, 0x44, 0x24, 0xf8}, "mov [rsp-8]", "not emitted"},
		{{0x48, 0x8b, 0x04, 0x0c}, "mov rax, [rsp+rcx]", "indexed"},
		{{0x48, 0x89, 0xc4}, "mov rsp, rax", "the host's RSP"},
		{{0x48, 0x83, 0xc4, 8}, "add rsp, 8", "the host's RSP"},
		{{0x48, 0x8d, 0x64, 0x24, 8}, "lea rsp, [rsp+8]", "RSP"},
		{{0x48, 0x94}, "xchg rsp, rax", "the host's RSP"},
		{{0xb4, 1}, "mov ah, 1", NULL},
		{{0xbc, 1}, "mov esp, 1", "the host's RSP"},
		{{0xc4, 0xe2, 0xdb, 0xf6, 0xc1}, "mulx rax, rsp, rcx", "RSP"},
	};
	struct judge *j = start(*state);
	u8 *at;

	translate(j, movabs, sizeof(movabs));
	expect_good(j);
	for (unsigned k = 0; k < ARRAY_SIZE(rows); k++) {
		take_copy(j);
		at = FIND(0, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8);
		memset(at, 0x90, 10);
		expect_good(j);
		memcpy(at, rows[k].bytes, 8);
		for (unsigned n = 8; n-- > 1 && !at[n];)
			at[n] = 0x90;
		if (!judge(j).why)
			fail_msg("%s: not found", rows[k].name);
	}
	for (unsigned k = 0; k < ARRAY_SIZE(accesses); k++) {
		take_copy(j);
		at = FIND(0, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8);
		memset(at, 0x90, 10);
		memcpy(at, accesses[k].bytes, 8);
		for (unsigned n = 8; n-- > 5 && !at[n];)
			at[n] = 0x90;
		if (!accesses[k].why)
			continue;
		expect_bad(j, accesses[k].name, accesses[k].why);
	}
	stop(j);
}

/* Whatever the bytes are, it comes to an end within them. */
static void test_noise(void **state)
{
	struct judge *j = start(*state);
	unsigned found = 0;

	translate(j, mixed, sizeof(mixed));
	for (unsigned k = 0; k < 40000; k++) {
		u64 r = rnd(j->t);

		take_copy(j);
		for (unsigned n = 0; n <= (r >> 60); n++, r = rnd(j->t))
			j->code[r % j->x.t->size] ^= (u8)(1u << (r >> 32 & 7));
		found += judge(j).why != NULL;
	}
	/* Most bits of the code matter. */
	assert_true(found > 20000);
	stop(j);
}

/* ---- bytes that have changed ------------------------------------------- */

static void test_changed_bytes(void **state)
{
	static const struct {
		u8 was[12], is[12];
		unsigned len;
		const char *what;
	} rows[] = {
		{{0xc5, 0xf8, 0x10, 0x00},
		 {0xc5, 0xfc, 0x10, 0x00},
		 4,
		 "VEX.L"},
		{{0xc5, 0xe8, 0x58, 0x00},
		 {0xc5, 0xe0, 0x58, 0x00},
		 4,
		 "VEX.vvvv"},
		{{0xc4, 0xe2, 0xe3, 0xf6, 0xc1},
		 {0xc4, 0xe2, 0xdb, 0xf6, 0xc1},
		 5,
		 "MULX's RBX to RSP"},
		{{0x66, 0x8b, 0x00}, {0x3e, 0x8b, 0x00}, 3, "66 to 3E"},
		{{0x66, 0x81, 0xc0, 1, 2},
		 {0x3e, 0x81, 0xc0, 1, 2},
		 5,
		 "size of the immediate"},
		{{0x48, 0x8b, 0x43, 8},
		 {0x48, 0x8b, 0x43, 16},
		 4,
		 "displacement"},
		{{0x48, 0x8b, 0x04, 0x4b},
		 {0x48, 0x8b, 0x04, 0xcb},
		 4,
		 "scale"},
		{{0x64, 0x8b, 0x00}, {0x65, 0x8b, 0x00}, 3, "segment"},
		{{0x64, 0x8b, 0x00}, {0x3e, 0x8b, 0x00}, 3, "no segment"},
		{{0x67, 0x8b, 0x00}, {0x3e, 0x8b, 0x00}, 3, "address size"},
		{{0x83, 0xc0, 1}, {0x83, 0xc0, 2}, 3, "immediate"},
		{{0x48, 0x83, 0xec, 8},
		 {0x48, 0x83, 0xec, 16},
		 4,
		 "what RSP moves by"},
		{{0x48, 0x01, 0xd8}, {0x48, 0x01, 0xdc}, 3, "register"},
		{{0xf3, 0xaa}, {0xf2, 0xaa}, 2, "REP"},
		{{0xd8, 0xc1}, {0xd8, 0xc2}, 2, "ST register"},
		{{0xf0, 0x01, 0x03}, {0x3e, 0x01, 0x03}, 3, "LOCK"},
	};
	struct judge *j = start(*state);

	for (unsigned k = 0; k < ARRAY_SIZE(rows); k++) {
		u8 *at = j->t->m.copy + BT_CODE_OFF;

		if (!bt_translation_decode(&j->x, rows[k].was, rows[k].len))
			continue; /* the host has no such instruction */
		assert_true(bt_translation_make(&j->x, false));
		memcpy(at, rows[k].is, rows[k].len);
		if (bt_translation_make(&j->x, false))
			fail_msg("%s: not noticed", rows[k].what);
		memcpy(at, rows[k].was, rows[k].len);
		assert_true(bt_translation_make(&j->x, false));
	}
	stop(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_checks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stack, setup, teardown),
		cmocka_unit_test_setup_teardown(test_jumps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fpu, setup, teardown),
		cmocka_unit_test_setup_teardown(test_landings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_chained, setup, teardown),
		cmocka_unit_test_setup_teardown(test_system, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forbidden, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_noise, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changed_bytes, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
