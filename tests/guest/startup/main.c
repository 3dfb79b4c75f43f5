/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How CPUs start: what INIT leaves, where SIPI begins, and which of the two
 * is ignored when.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, 9.4.3 and 9.4.4 (INIT, SIPI), table
 *     10-1 (state after INIT), 11.4.7.3 (LAPIC after INIT)
 */
#include "apic.h"
#include "expect.h"
#include "fault.h"
#include "print.h"
#include "real.h"
#include "smp.h"

enum {
	ROUNDS = 4,
	NOISE = 0x50,
	SNAPSHOT = 0x9000, /* SIPI vector 9 */
	FOUND = 0xa000,

};

/* What another CPU finds right after its SIPI, by the code below. */
struct found {
	u32 eax, ebx, ecx, edx, esi, edi, ebp, esp, cr0, flags, cr4, count;
	u16 cs, ds, ss;
};

BLOB_CODE(snapshot, 16,
	  "mov %eax, %cs:0x0a00\n" /* 0x9a00, in this segment */
	  "mov %esp, %cs:0x0a04\n"
	  "mov %ds, %cs:0x0a08\n"
	  "mov %ss, %cs:0x0a0a\n"
	  "mov $0x7000, %sp\n"
	  "pushfl\n"
	  "xor %ax, %ax\n"
	  "mov %ax, %ds\n"
	  "popl 0xa000 + 36\n"
	  "mov %cs:0x0a00, %eax\n"
	  "mov %eax, 0xa000\n"
	  "mov %ebx, 0xa000 + 4\n"
	  "mov %ecx, 0xa000 + 8\n"
	  "mov %edx, 0xa000 + 12\n"
	  "mov %esi, 0xa000 + 16\n"
	  "mov %edi, 0xa000 + 20\n"
	  "mov %ebp, 0xa000 + 24\n"
	  "mov %cs:0x0a04, %eax\n"
	  "mov %eax, 0xa000 + 28\n"
	  "mov %cr0, %eax\n"
	  "mov %eax, 0xa000 + 32\n"
	  "mov %cr4, %eax\n"
	  "mov %eax, 0xa000 + 40\n"
	  "mov %cs, 0xa000 + 48\n"
	  "mov %cs:0x0a08, %ax\n"
	  "mov %ax, 0xa000 + 50\n"
	  "mov %cs:0x0a0a, %ax\n"
	  "mov %ax, 0xa000 + 52\n"
	  "lock incl 0xa000 + 44\n"
	  "1: cli\n"
	  "hlt\n"
	  "jmp 1b");

static volatile u32 nmis, noises, spins, ids[CPUS_MAX], base;

static void on_nmi(struct frame *frame)
{
	nmis++;
}

static void on_noise(struct frame *frame)
{
	noises++;
	apic_eoi();
}

static void pause_some(unsigned rounds)
{
	while (rounds--)
		cpu_pause();
}

static void spin(unsigned index)
{
	ids[index] = apic_id();
	base = (u32)msr_read(MSR_APIC_BASE);
	apic_write(APIC_TPR, 0x20);
	apic_write(APIC_LVT_ERROR, 0x77);
	for (;;)
		spins++;
}

static void leave(unsigned index)
{
	ids[index] = apic_id();
}

/* Waiting for SIPI, it takes nothing else, [1] 9.4.3; what came before INIT is
 * forgotten. */
static void test_waiting(void)
{
	apic_enable();
	apic_send(0, ICR_NMI | ICR_ASSERT | ICR_OTHERS);
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_OTHERS | NOISE);
	pause_some(10000);
	smp_start(leave);
	smp_wait();
	expect_eq(nmis, 0);
	expect_eq(noises, 0);
}

/* An IPI takes its time where the host has fewer CPUs; then nothing moves. */
static bool spins_end(void)
{
	for (unsigned tries = 0; tries < 200; tries++) {
		u32 before = spins;

		pause_some(100000);
		if (spins == before)
			return true;
	}
	return false;
}

/* From HLT with IF clear, and from the middle of a loop. */
static void test_again(void)
{
	u32 before;

	for (unsigned round = 0; round < ROUNDS; round++) {
		spins = 0;
		smp_start(spin);
		while (!spins)
			cpu_pause();
		expect_eq(base & 0x900, 0x800); /* on, and not the first CPU */
		/* [1] 9.4.3: who runs already does not heed a SIPI. */
		apic_send(0, ICR_STARTUP | ICR_ASSERT | ICR_OTHERS |
				     SNAPSHOT >> 12);
		before = spins;
		pause_some(1000);
		while (spins == before)
			cpu_pause();
		/* INIT stops it. */
		apic_send(0, ICR_INIT | ICR_ASSERT | ICR_OTHERS);
		expect(spins_end());
		smp_start(leave);
		smp_wait();
	}
}

static void copy(ulong to, const u8 *start, const u8 *end)
{
	volatile u8 *out = (volatile u8 *)to;

	while (start < end)
		*out++ = *start++;
}

/* [1] table 10-1, 9.4.4: CS is the vector, IP is 0. */
static void test_state(void)
{
	volatile struct found *found = (void *)FOUND;
	unsigned others = smp_count() - 1;

	if (!others)
		return;
	copy(SNAPSHOT, snapshot, snapshot_end);
	found->count = 0;
	/* One CPU only: the last. */
	apic_send(ids[others], ICR_INIT | ICR_ASSERT);
	pause_some(100000);
	expect_eq(found->count, 0);
	apic_send(ids[others], ICR_STARTUP | ICR_ASSERT | SNAPSHOT >> 12);
	while (!found->count)
		cpu_pause();
	expect_eq(found->cs, SNAPSHOT >> 4);
	expect_eq(found->ds, 0);
	expect_eq(found->ss, 0);
	expect_eq(found->flags, 2);
	/* CD and NW are as they were, ET is always set. */
	expect_eq(found->cr0 & ~(u32)(CR0_CD | CR0_NW), 0x10);
	expect_eq(found->cr4, 0);
	expect_eq(found->eax, 0);
	expect_eq(found->ebx | found->ecx | found->esi | found->edi, 0);
	expect_eq(found->ebp | found->esp, 0);
	expect_eq(found->edx & 0xfff0f00, cpuid(1, 0).eax & 0xfff0f00);
	/* Again: the second SIPI of two finds it running. */
	apic_send(ids[others], ICR_STARTUP | ICR_ASSERT | SNAPSHOT >> 12);
	pause_some(100000);
	expect_eq(found->count, 1);
}

int main(void)
{
	pic_mask_all();
	handler_set(NMI, on_nmi);
	handler_set(NOISE, on_noise);
	test_waiting();
	if (smp_count() > 1)
		test_again();
	test_state();
	return 0;
}
