/* SPDX-License-Identifier: Apache-2.0 */
/* x2APIC mode: [1] 11.12. */
#include "apic_test.h"

enum { MSR_X2 = 0x800, FEATURE_X2APIC = 21 };

static void on_one(struct frame *frame)
{
	hits[0]++;
	apic_eoi();
}

static void try_read(u32 msr)
{
	TRY("rdmsr", : : "c"(msr) : "eax", "edx", "memory");
}

static void try_write(u32 msr, u64 val)
{
	TRY("wrmsr",
	    :
	    : "c"(msr), "a"((u32)val), "d"((u32)(val >> 32))
	    : "memory");
}

/* [1] figure 11-27: which changes of mode there are. */
static void test_transitions(void)
{
	u64 base = msr_read(MSR_APIC_BASE);
	u64 both = APIC_BASE_ENABLE | APIC_BASE_X2;

	try_read(MSR_X2 + APIC_ID / 16); /* not in xAPIC mode */
	expect_fault(GP, 0);
	try_write(MSR_APIC_BASE, (base & ~both) | APIC_BASE_X2);
	expect_fault(GP, 0);
	try_write(MSR_APIC_BASE, base | both);
	expect_no_fault();
	try_write(MSR_APIC_BASE, base); /* back to xAPIC: only through off */
	expect_fault(GP, 0);
	try_write(MSR_APIC_BASE, base & ~both);
	expect_no_fault();
	try_write(MSR_APIC_BASE, base | both); /* off to x2APIC: not at once */
	expect_fault(GP, 0);
	try_write(MSR_APIC_BASE, base);
	expect_no_fault();
	try_write(MSR_APIC_BASE, base | both);
	expect_no_fault();
	expect_eq(msr_read(MSR_APIC_BASE), base | both);
}

/* [1] table 11-6, 11.12.1.2 and 11.12.1.3 */
static void test_faults(void)
{
	static const u16 absent[] = {0x01, 0x09, 0x0e, 0x31, 0x2f, 0xff};
	static const u16 read_only[] = {0x02, 0x03, 0x0a, 0x0d,
					0x10, 0x18, 0x20, 0x39};

	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
		/* 0x2f is CMCI's, which a model may have. */
		if (absent[i] == 0x2f)
			continue;
		try_read(MSR_X2 + absent[i]);
		expect_fault(GP, 0);
		try_write(MSR_X2 + absent[i], 0);
		expect_fault(GP, 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(read_only); i++) {
		try_read(MSR_X2 + read_only[i]);
		expect_no_fault();
		try_write(MSR_X2 + read_only[i], 0);
		expect_fault(GP, 0);
	}
	try_read(MSR_X2 + 0x0b); /* EOI is write-only, and takes 0 only */
	expect_fault(GP, 0);
	try_write(MSR_X2 + 0x0b, 1);
	if (!lax_fault("x2-reserved", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
	try_read(MSR_X2 + 0x3f); /* so is SELF IPI */
	expect_fault(GP, 0);
	try_write(MSR_X2 + 0x28, 1); /* ESR takes 0 only */
	expect_fault(GP, 0);
	try_write(MSR_X2 + 0x28, 0);
	expect_no_fault();
	/* Reserved bits. */
	try_write(MSR_X2 + 0x08, 0x100);
	if (!lax_fault("x2-reserved", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
	try_write(MSR_X2 + 0x0f, 1ull << 32);
	expect_fault(GP, 0);
	try_write(MSR_X2 + 0x37, 0x80000);
	if (!lax_fault("x2-reserved", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
}

/* [1] 11.12.10: the logical ID follows from the APIC ID. */
static void test_ids(void)
{
	u32 id = apic_read(APIC_ID);

	expect_eq(apic_read(APIC_LDR), (id >> 4) << 16 | 1u << (id & 15));
	try_write(MSR_X2 + 0x0d, 1);
	expect_fault(GP, 0);
}

static void test_self(void)
{
	handler_set(ONE, on_one);
	hits_reset();
	msr_write(MSR_X2 + 0x3f, ONE);
	drain();
	expect_eq(hits[0], 1);
	apic_send(apic_id(), ICR_FIXED | ICR_ASSERT | ONE);
	drain();
	expect_eq(hits[0], 2);
	apic_send(apic_read(APIC_LDR),
		  ICR_FIXED | ICR_ASSERT | ICR_LOGICAL | ONE);
	drain();
	expect_eq(hits[0], 3);
	apic_send(0xffffffff, ICR_FIXED | ICR_ASSERT | ONE);
	drain();
	expect_eq(hits[0], 4);
	apic_send(apic_id() + 100, ICR_FIXED | ICR_ASSERT | ONE);
	drain();
	expect_eq(hits[0], 4);
	/* Memory is not the LAPIC's now. */
	*(volatile u32 *)0xfee00300ul = ICR_SELF | ONE;
	drain();
	expect_eq(hits[0], 4);
}

void test_x2apic(void)
{
	if (!(cpuid(1, 0).ecx & BIT(FEATURE_X2APIC))) {
		skip("x2apic");
		return;
	}
	test_transitions();
	apic_enable();
	test_faults();
	test_ids();
	test_self();
}
