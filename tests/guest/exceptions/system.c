/* SPDX-License-Identifier: Apache-2.0 */
/* Selectors, control registers, gates and privilege: #GP, #NP, #SS, #DF. */
#include "exceptions.h"

enum { BEYOND = 0x7ff8, NEW_GATE = 0x80 };

static void load_fs(u16 selector)
{
	TRY("mov %w0, %%fs", : : "r"(selector) : "memory");
}

static void load_ss(u16 selector)
{
	TRY("mov %w0, %%ss", : : "r"(selector) : "memory");
	__asm__ volatile("mov %w0, %%ss" : : "r"(KERNEL_DATA));
}

/* [2] MOV: the selector without RPL is the error code. */
void test_segments(void)
{
	const u64 data = SEG_FLAT | SEG_G | SEG_D | SEG_DATA;

	gdt_set(SPARE, data & ~SEG_P);
	load_fs(SPARE);
	expect_fault(NP, SPARE);
	load_ss(SPARE);
	expect_fault(SS, SPARE);
	load_fs(BEYOND | 3);
	expect_fault(GP, BEYOND);
	load_ss(BEYOND);
	expect_fault(GP, BEYOND);
	load_ss(USER_DATA);
	expect_fault(GP, USER_DATA & ~3);
	gdt_set(SPARE, data & ~SEG_WRITE);
	load_fs(SPARE);
	expect_no_fault();
	load_ss(SPARE);
	expect_fault(GP, SPARE);
	load_fs(TASK); /* a system segment */
	expect_fault(GP, TASK);
	load_fs(3); /* null */
	expect_no_fault();

	TRY("ltr %w0", : : "r"(TASK) : "memory"); /* busy */
	expect_fault(GP, TASK);
	TRY("ltr %w0", : : "r"(0) : "memory");
	if (!lax_fault("ltr-null", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
	task_load();
	TRY("lldt %w0", : : "r"(KERNEL_DATA) : "memory");
	expect_fault(GP, KERNEL_DATA);
	TRY("lldt %w0", : : "r"(0) : "memory");
	expect_no_fault();
	load_fs(4); /* in the local table: there is none now */
	expect_fault(GP, 4);
	gdt_set(SPARE, SEG_FLAT | 2ull << 40); /* a table, not present */
	TRY("lldt %w0", : : "r"(SPARE) : "memory");
	expect_fault(NP, SPARE);
	gdt_set(SPARE, 0);
}

static void test_bad_bits(void)
{
	ulong cr0 = cr0_read(), cr4 = cr4_read();
	ulong bad = (cr0 | CR0_PG) & ~CR0_PE;

	TRY("mov %0, %%cr0", : : "r"(bad) : "memory");
	expect_fault(GP, 0);
	expect_eq(cr0_read(), cr0);
	bad = (cr0 | CR0_NW) & ~CR0_CD;
	TRY("mov %0, %%cr0", : : "r"(bad) : "memory");
	expect_fault(GP, 0);
	expect_eq(cr0_read(), cr0);
	bad = cr4 | BIT(31);
	TRY("mov %0, %%cr4", : : "r"(bad) : "memory");
	expect_fault(GP, 0);
	expect_eq(cr4_read(), cr4);
	TRY("wrmsr", : : "c"(MSR_EFER), "a"(4), "d"(0) : "memory");
	expect_fault(GP, 0);
}

/* [2] MOV to control registers, WRMSR: reserved bits and bad combinations. */
void test_control(void)
{
	/* A CPU that takes these does not live to tell. */
	if (!lax("control-bits"))
		test_bad_bits();
	TRY("wrmsr", : : "c"(0x12345678), "a"(0), "d"(0) : "memory");
	expect_fault(GP, 0);
	TRY("rdmsr", : : "c"(0x12345678) : "memory", "eax", "edx");
	expect_fault(GP, 0);
	TRY("wrmsr", : : "c"(MSR_APIC_BASE), "a"(1), "d"(0) : "memory");
	expect_fault(GP, 0);
}

#define expect_gate_fault(vector, gate, ext, ip)                              \
	do {                                                                  \
		if (!lax_fault("gate-error", vector,                          \
			       (gate)*GATE_LEN | ERROR_IDT, ip))              \
			expect_fault_ip(vector, (gate)*8 | ERROR_IDT | (ext), \
					ip);                                  \
	} while (0)

/*
 * [1] 6.13: a fault of the gate carries vector * 8 + IDT, and EXT where the
 * event was not a software interrupt. [1] table 6-5: contributory after
 * contributory is a double fault, whose error code is 0.
 */
void test_gates(void)
{
	ulong entry = user_text();

	gate_set(NEW_GATE, KERNEL_CODE, entry,
		 GATE_INTERRUPT & ~GATE_NOT_PRESENT);
	TRY("int $0x80", : : : "memory");
	expect_gate_fault(NP, NEW_GATE, 0, try_start);
	gate_set(NEW_GATE, KERNEL_CODE, entry, 0x8200); /* a table: no gate */
	TRY("int $0x80", : : : "memory");
	expect_gate_fault(GP, NEW_GATE, 0, try_start);
	gate_set(NEW_GATE, BEYOND, entry, GATE_INTERRUPT);
	TRY("int $0x80", : : : "memory");
	expect_fault(GP, BEYOND);
	gate_set(NEW_GATE, 0, entry, GATE_INTERRUPT);
	TRY("int $0x80", : : : "memory");
	expect_fault(GP, 0);
	gate_set(NEW_GATE, KERNEL_DATA, entry, GATE_INTERRUPT);
	TRY("int $0x80", : : : "memory");
	expect_fault(GP, KERNEL_DATA);
	gate_reset(NEW_GATE);
	TRY("int $0x80", : : : "memory");
	expect_trap(NEW_GATE, 0);

	gate_set(BP, KERNEL_CODE, entry, GATE_INTERRUPT & ~GATE_NOT_PRESENT);
	TRY("int3", : : : "memory");
	expect_gate_fault(NP, BP, 0, try_start);
	gate_reset(BP);
	gate_set(UD, KERNEL_CODE, entry, GATE_INTERRUPT & ~GATE_NOT_PRESENT);
	TRY("ud2", : : : "memory");
	expect_gate_fault(NP, UD, ERROR_EXT, try_start);
	gate_reset(UD);
	gate_set(GP, KERNEL_CODE, entry, GATE_INTERRUPT & ~GATE_NOT_PRESENT);
	load_fs(BEYOND);
	expect_eq(fault.vector, DF); /* its RIP is not defined */
	expect_eq(fault.error, 0);
	gate_reset(GP);
	gate_set(DE, KERNEL_CODE, entry, GATE_INTERRUPT & ~GATE_NOT_PRESENT);
	TRY("div %k0", : : "c"(0), "a"(0), "d"(0) : "cc");
	expect_eq(fault.vector, DF);
	expect_eq(fault.error, 0);
	gate_reset(DE);
}

BLOB(user_cli, "cli");
BLOB(user_hlt, "hlt");
BLOB(user_in, "in $0x80, %al");
BLOB(user_out, "out %al, $0x80");
BLOB(user_clts, "clts");
BLOB(user_invd, "wbinvd");
BLOB(user_rdmsr, "mov $0x1b, %ecx\nuser_rdmsr_at: rdmsr");
BLOB(user_gate, "int $0x80");
BLOB(user_bp, "int3");
BLOB(user_iopl, "pushf\npopf");
BLOB(user_rdtsc, "rdtsc");
BLOB(user_align, "push $0x40002\n"
		 "popf\n"
		 "user_align_at: mov -7(%" FOR_WIDTH("esp", "rsp") "), %eax");
extern const u8 user_rdmsr_at[], user_align_at[];

static void test_alignment(void)
{
	ulong at = user_text() + (ulong)(user_align_at - user_align);
	ulong len = (ulong)(user_align_end + 1 - user_align);

	user_run(user_align, user_align_end, 0);
	expect_eq(fault.vector, BP);
	cr0_write(cr0_read() | CR0_AM);
	user_run(user_align, user_align_end, 0);
	if (!lax_fault("ac", BP, 0, user_text() + len))
		expect_fault_ip(AC, 0, at);
	cr0_write(cr0_read() & ~CR0_AM);
}

/* [2]: ring 3 gets #GP(0) at the instruction; INT, the gate's error code. */
void test_privileged(void)
{
	const struct {
		const u8 *start, *end, *at;
	} privileged[] = {
		{user_cli, user_cli_end, user_cli},
		{user_hlt, user_hlt_end, user_hlt},
		{user_in, user_in_end, user_in},
		{user_out, user_out_end, user_out},
		{user_clts, user_clts_end, user_clts},
		{user_invd, user_invd_end, user_invd},
		{user_rdmsr, user_rdmsr_end, user_rdmsr_at},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(privileged); i++) {
		ulong at = (ulong)(privileged[i].at - privileged[i].start);

		user_run(privileged[i].start, privileged[i].end, 0);
		expect_fault_ip(GP, 0, user_text() + at);
		expect_eq(fault.cs & 3, 3);
	}
	user_run(user_gate, user_gate_end, 0);
	expect_gate_fault(GP, NEW_GATE, 0, user_text());
	user_run(user_bp, user_bp_end, 0);
	expect_fault_ip(BP, 0, user_text() + 1);
	gate_set(BP, KERNEL_CODE, 0, GATE_INTERRUPT);
	user_run(user_bp, user_bp_end, 0);
	expect_gate_fault(GP, BP, 0, user_text());
	gate_reset(BP);

	user_run(user_rdtsc, user_rdtsc_end, 0);
	expect_fault_ip(BP, 0, user_text() + 3);
	cr4_write(cr4_read() | CR4_TSD);
	user_run(user_rdtsc, user_rdtsc_end, 0);
	expect_fault_ip(GP, 0, user_text());
	cr4_write(cr4_read() & ~CR4_TSD);
	user_run(user_iopl, user_iopl_end, 0);
	expect_fault_ip(BP, 0, user_text() + 3);
	test_alignment();
}
