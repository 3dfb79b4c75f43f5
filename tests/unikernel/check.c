/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a unikernel can do wrong, and what its library promises: one case a
 * run, named by the first argument. tests/e2e/unikernel.py knows the answers.
 */
#include <unikernel.h>

enum { NONE, BIG = 3000 };

/* Nothing here may be known at compile time. */
static volatile uintptr_t zero;
static volatile int deep_enough = -1;

static int check_args(int argc, char **argv)
{
	for (int i = 0; i <= argc; i++)
		print("%d:%s\n", i, argv[i] ? argv[i] : "(end)");
	return argc;
}

static int check_status(int argc, char **argv)
{
	uint64_t val = 0;

	if (argc < 3 || !parse_number(argv[2], 1000, &val))
		return 99;
	return (int)val;
}

static int check_null(int argc, char **argv)
{
	return *(volatile int *)zero;
}

static int check_code(int argc, char **argv)
{
	*(volatile char *)(uintptr_t)&check_null = 0;
	return 0;
}

static int check_constant(int argc, char **argv)
{
	*(volatile char *)(uintptr_t) "constant" = 0;
	return 0;
}

static int check_divide(int argc, char **argv)
{
	return argc / (int)zero;
}

static int check_opcode(int argc, char **argv)
{
	__asm__ volatile("ud2");
	return 0;
}

/* Not a tail call, and not to be made a loop. */
__attribute__((noinline)) static int descend(int level)
{
	volatile char room[512];

	room[0] = (char)level;
	return level == deep_enough ? 0 : descend(level + 1) + room[0];
}

static int check_overflow(int argc, char **argv)
{
	return descend(0);
}

__attribute__((noinline)) static void fill(char *to, size_t len)
{
	memset(to, 'x', len);
}

static int check_smash(int argc, char **argv)
{
	char small[16];

	fill(small, sizeof(small) + 24 + zero);
	return small[0];
}

static int check_abort(int argc, char **argv)
{
	abort();
}

static int check_panic(int argc, char **argv)
{
	panic("as %s", "asked");
}

static int check_memory(int argc, char **argv)
{
	size_t left = memory_left();
	char *a = memory_take(100, 64), *b = memory_take(100, 4096);
	int bad = 0;

	bad += !a || (uintptr_t)a % 64 || !b || (uintptr_t)b % 4096;
	for (int i = 0; i < 100; i++)
		bad += a[i] || b[i];
	memset(a, 1, 100);
	memset(b, 2, 100);
	bad += a[99] != 1 || b[99] != 2 || b < a + 100;
	bad += memory_take(left, 1) != NULL;
	bad += memory_take(1, 3) != NULL || memory_take(SIZE_MAX, 1) != NULL;
	left = memory_left();
	bad += memory_take(left, 1) == NULL || memory_left() != 0;
	bad += memory_take(1, 1) != NULL;
	print("left %s\n", left > 1 << 20 ? "enough" : "too little");
	return bad;
}

static int check_time(int argc, char **argv)
{
	uint64_t wall = time_wall(), start = time_monotonic(), before = start;
	int bad = 0;

	for (int i = 0; i < 100; i++) {
		uint64_t now = time_monotonic();

		bad += now < before;
		before = now;
	}
	wait_until(start + 50000000);
	before = time_monotonic() - start;
	bad += before < 50000000;
	/* Two clocks of one host: the same within what a busy host delays. */
	wall = time_wall() - wall;
	bad += wall < before / 2;
	print("%lu\n", time_wall() / 1000000000);
	return bad;
}

static int check_text(int argc, char **argv)
{
	char text[BIG], copy[BIG];
	int bad = 0;

	for (int i = 0; i < BIG; i++)
		text[i] = (char)(i * 7);
	memcpy(copy, text, BIG);
	bad += memcmp(copy, text, BIG) != 0;
	memmove(copy + 5, copy, BIG - 5);
	bad += memcmp(copy + 5, text, BIG - 5) != 0;
	memmove(copy, copy + 5, BIG - 5);
	bad += memcmp(copy, text, BIG - 5) != 0;
	bad += memcmp("ab", "ac", 2) >= 0 || memcmp("ab", "ac", 1) != 0;
	bad += strcmp("a", "ab") >= 0 || strcmp("b", "ab") <= 0;
	bad += strncmp("abc", "abd", 2) != 0 || strlen("abc") != 3;
	bad += strchr("abc", 'c') == NULL || strchr("abc", 'x') != NULL;
	/* More than print() has room for is cut, not overrun. */
	memset(text, 'y', BIG - 1);
	text[BIG - 1] = 0;
	print("%s\n", text);
	return bad;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} cases[] = {
	{"args", check_args},	      {"status", check_status},
	{"null", check_null},	      {"code", check_code},
	{"constant", check_constant}, {"divide", check_divide},
	{"opcode", check_opcode},     {"overflow", check_overflow},
	{"smash", check_smash},	      {"abort", check_abort},
	{"panic", check_panic},	      {"memory", check_memory},
	{"time", check_time},	      {"text", check_text},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (argc > 1 && !strcmp(argv[1], cases[i].name))
			return cases[i].run(argc, argv);
	print("check: which case?\n");
	return 100;
}
