/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a unikernel can do wrong, and what its library promises: one case a
 * run, named by the first argument. tests/e2e/unikernel.py knows the answers.
 */
#include <unikernel.h>
#include <vireo/hvt_abi.h>

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

/* ---- what is no code, and what the host is asked to do ---------------------
 */

/* mov $9, %eax; ret */
static uint8_t data_code[] = {0xb8, 9, 0, 0, 0, 0xc3};
static const uint8_t constant_code[] = {0xb8, 9, 0, 0, 0, 0xc3};

static int call_bytes(const volatile uint8_t *bytes)
{
	return ((int (*)(void))(uintptr_t)bytes)();
}

static int check_jump_data(int argc, char **argv)
{
	return call_bytes(data_code);
}

static int check_jump_constant(int argc, char **argv)
{
	return call_bytes(constant_code);
}

static int check_jump_stack(int argc, char **argv)
{
	uint8_t bytes[sizeof(data_code)];

	memcpy(bytes, data_code, sizeof(bytes));
	return call_bytes(bytes);
}

static int check_jump_taken(int argc, char **argv)
{
	uint8_t *bytes = memory_take(sizeof(data_code), 16);

	memcpy(bytes, data_code, sizeof(data_code));
	return call_bytes(bytes);
}

static void out(uint16_t port, uint32_t val)
{
	__asm__ volatile("outl %0, %1" : : "a"(val), "d"(port) : "memory");
}

/* The host must not write where the guest may not. */
static int check_result_code(int argc, char **argv)
{
	out(HVT_PORT + HVT_CALL_WALLTIME, (uint32_t)(uintptr_t)&check_null);
	return 0;
}

static int check_result_beyond(int argc, char **argv)
{
	out(HVT_PORT + HVT_CALL_WALLTIME, 0xfffffff8);
	return 0;
}

static int check_text_beyond(int argc, char **argv)
{
	struct hvt_puts puts = {UINT64_MAX - 3, 8};

	out(HVT_PORT + HVT_CALL_PUTS, (uint32_t)(uintptr_t)&puts);
	return 0;
}

static int check_call_unknown(int argc, char **argv)
{
	out(HVT_PORT + HVT_CALL_COUNT, 0);
	return 0;
}

static int check_port(int argc, char **argv)
{
	__asm__ volatile("outb %b0, $0x80" : : "a"(0));
	return 0;
}

static int check_port_read(int argc, char **argv)
{
	int val;

	__asm__ volatile("inl %%dx, %0" : "=a"(val) : "d"(HVT_PORT));
	return val;
}

/* Two calls in one instruction, of which the first waits. */
static int check_call_twice(int argc, char **argv)
{
	static struct hvt_poll poll = {.timeout_ns = 3600000000000};
	uint32_t blocks[2];
	const uint32_t *from = blocks;
	size_t count = 2;

	blocks[0] = blocks[1] = (uint32_t)(uintptr_t)&poll;
	__asm__ volatile("rep outsl"
			 : "+S"(from), "+c"(count)
			 : "d"(HVT_PORT + HVT_CALL_POLL)
			 : "memory");
	return 0;
}

static int check_halt(int argc, char **argv)
{
	__asm__ volatile("cli; hlt");
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
	{"jump-data", check_jump_data},
	{"jump-constant", check_jump_constant},
	{"jump-stack", check_jump_stack},
	{"jump-taken", check_jump_taken},
	{"result-code", check_result_code},
	{"result-beyond", check_result_beyond},
	{"text-beyond", check_text_beyond},
	{"call-unknown", check_call_unknown},
	{"call-twice", check_call_twice},
	{"port", check_port},
	{"port-read", check_port_read},
	{"halt", check_halt},
	{"args", check_args},
	{"status", check_status},
	{"null", check_null},
	{"code", check_code},
	{"constant", check_constant},
	{"divide", check_divide},
	{"opcode", check_opcode},
	{"overflow", check_overflow},
	{"smash", check_smash},
	{"abort", check_abort},
	{"panic", check_panic},
	{"memory", check_memory},
	{"time", check_time},
	{"text", check_text},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (argc > 1 && !strcmp(argv[1], cases[i].name))
			return cases[i].run(argc, argv);
	print("check: which case?\n");
	return 100;
}
