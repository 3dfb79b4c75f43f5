/* SPDX-License-Identifier: Apache-2.0 */
/* What the registers of an xAPIC keep, and what they say of errors. */
#include "apic_test.h"

enum {
	SVR_ENABLE = 0x100,
	ESR_SEND_VECTOR = 0x20,
	ESR_RECEIVE_VECTOR = 0x40,
	ESR_REGISTER = 0x80,
	LVT_MODE = 0x700,
};

static volatile unsigned errors, spurious;

static void on_error(struct frame *frame)
{
	errors++;
	apic_eoi();
}

static void on_one(struct frame *frame)
{
	hits[0]++;
	apic_eoi();
}

/* No EOI: [1] 11.9. */
static void on_spurious(struct frame *frame)
{
	spurious++;
}

static u32 esr(void)
{
	apic_write(APIC_ESR, 0);
	return apic_read(APIC_ESR);
}

/* [1] table 11-1 and the figures of each register. */
static void test_values(void)
{
	expect_eq(apic_read(APIC_ID) & 0xffffff, 0);
	expect_eq(apic_read(APIC_VERSION) & 0xf0, 0x10);
	expect((apic_read(APIC_VERSION) >> 16 & 0xff) >= 4);
	apic_write(APIC_TPR, 0xffffff5a);
	expect_eq_lax("tpr-low", apic_read(APIC_TPR), 0x5a, 0x50);
	expect_eq_lax("tpr-low", apic_read(APIC_PPR), 0x5a, 0x50);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LDR, 0x12345678);
	expect_eq(apic_read(APIC_LDR), 0x12000000);
	apic_write(APIC_DFR, 0);
	expect_eq(apic_read(APIC_DFR), 0x0fffffff);
	apic_write(APIC_DFR, 0xf0000000);
	expect_eq(apic_read(APIC_DFR), 0xffffffff);
	/* Read-only bits of an LVT entry. */
	apic_write(APIC_LVT_ERROR, 0xffffffff);
	expect_eq_lax("lvt-status", apic_read(APIC_LVT_ERROR), MASKED | 0xff,
		      MASKED | 0x10ff);
	apic_write(APIC_LVT_LINT1, 0xffffffff);
	expect_eq(apic_read(APIC_LVT_LINT1) & ~0x5000u, 0x1a7ff);
	apic_write(APIC_LVT_LINT1, MASKED);
	apic_write(APIC_ICR_HIGH, 0xffffffff);
	expect_eq(apic_read(APIC_ICR_HIGH), 0xff000000);
	/* Off by software: all LVTs masked, and they stay so. */
	apic_write(APIC_LVT_ERROR, ERROR);
	apic_write(APIC_SVR, APIC_SPURIOUS);
	expect_eq(apic_read(APIC_LVT_ERROR), MASKED | ERROR);
	apic_write(APIC_LVT_ERROR, ERROR);
	expect_eq(apic_read(APIC_LVT_ERROR), MASKED | ERROR);
	apic_write(APIC_SVR, SVR_ENABLE | APIC_SPURIOUS);
	expect_eq(apic_read(APIC_LVT_ERROR), MASKED | ERROR);
}

/* [1] 11.5.3: ESR shows errors once written, and the LVT's interrupt comes
 * with the first. */
static void test_errors(void)
{
	handler_set(ERROR, on_error);
	apic_write(APIC_LVT_ERROR, ERROR);
	esr();
	expect_eq(esr(), 0);
	errors = 0;
	send_self(5);
	drain();
	expect_eq(errors, 1);
	/* A vector below 16 is bad to send and bad to get. */
	expect(esr() & (ESR_SEND_VECTOR | ESR_RECEIVE_VECTOR));
	expect_eq(esr(), 0);
	expect(!apic_bit(APIC_IRR, 5));
	apic_read((enum apic_register)0x40);
	drain();
	expect_eq(errors, 2);
	expect_eq(esr(), ESR_REGISTER);
	apic_write((enum apic_register)0x50, 1);
	expect_eq(esr(), ESR_REGISTER);
	drain();
	apic_write(APIC_LVT_ERROR, MASKED | ERROR);
	errors = 0;
	send_self(5);
	drain();
	expect_eq(errors, 0);
	expect(esr());
	esr();
	handler_set(ERROR, NULL);
}

/* [1] 11.9: TPR rises between the interrupt's arrival and its delivery. No
 * test can time that; what one can: the vector is kept, and it is a vector as
 * any other to send. */
static void test_spurious(void)
{
	handler_set(APIC_SPURIOUS, on_spurious);
	apic_write(APIC_SVR, SVR_ENABLE | 0x1ef);
	expect_eq(apic_read(APIC_SVR) & 0x1ff, SVR_ENABLE | 0xef);
	apic_write(APIC_SVR, SVR_ENABLE | APIC_SPURIOUS);
	expect_eq(spurious, 0);
}

/* [1] 11.8.4, 11.8.5: IRR, ISR, EOI of the highest. */
static void test_service(void)
{
	handler_set(ONE, on_one);
	hits_reset();
	send_self(ONE);
	expect(apic_bit(APIC_IRR, ONE));
	expect(!apic_bit(APIC_ISR, ONE));
	expect(!apic_bit(APIC_TMR, ONE));
	/* An EOI with nothing in service is nothing. */
	apic_eoi();
	expect(apic_bit(APIC_IRR, ONE));
	drain();
	expect_eq(hits[0], 1);
	expect(!apic_bit(APIC_IRR, ONE));
	/* 11.4.7.2: disabled by software, what is pending stays; nothing new
	 * is taken. */
	apic_write(APIC_SVR, APIC_SPURIOUS);
	send_self(ONE);
	expect(!apic_bit(APIC_IRR, ONE));
	apic_write(APIC_SVR, SVR_ENABLE | APIC_SPURIOUS);
	drain();
	expect_eq(hits[0], 1);
}

void test_registers(void)
{
	test_values();
	if (!lax("esr"))
		test_errors();
	test_spurious();
	test_service();
}
