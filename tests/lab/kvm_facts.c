/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What engine/kvm takes for granted of KVM, each fact proven by the plain
 * ioctls: on whatever is behind this host's /dev/kvm, and in the lab.
 *
 * Reference: [1] Linux Documentation/virt/kvm/api.rst.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm_machine.h"

enum {
	PORT = 0x10,
	DOORBELL = 0x30,
	DATA = 0x2000,
	VECTOR = 0x40,
	HANDLER = 0x3000,
	GSI = 40, /* beyond the chips' own lines */
	NO_MEMORY = 0xf0000000,
};

static void test_api(void **state)
{
	static const struct {
		int cap;
		const char *name;
	} wanted[] = {
		{KVM_CAP_USER_MEMORY, "USER_MEMORY"},
		{KVM_CAP_IRQCHIP, "IRQCHIP"},
		{KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING"},
		{KVM_CAP_IRQFD, "IRQFD"},
		{KVM_CAP_IOEVENTFD, "IOEVENTFD"},
		{KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI"},
		{KVM_CAP_PIT2, "PIT2"},
		{KVM_CAP_PIT_STATE2, "PIT_STATE2"},
		{KVM_CAP_ADJUST_CLOCK, "ADJUST_CLOCK"},
		{KVM_CAP_MP_STATE, "MP_STATE"},
		{KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS"},
		{KVM_CAP_DEBUGREGS, "DEBUGREGS"},
		{KVM_CAP_XSAVE, "XSAVE"},
		{KVM_CAP_XCRS, "XCRS"},
		{KVM_CAP_EXT_CPUID, "EXT_CPUID"},
		{KVM_CAP_SET_GUEST_DEBUG, "SET_GUEST_DEBUG"},
		{KVM_CAP_TSC_DEADLINE_TIMER, "TSC_DEADLINE_TIMER"},
		{KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT"},
	};
	int kvm = kvm_open();
	int missing = 0;

	assert_int_equal(ioctl(kvm, KVM_GET_API_VERSION, 0), 12);
	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (ioctl(kvm, KVM_CHECK_EXTENSION, wanted[i].cap) > 0)
			continue;
		print_error("KVM_CAP_%s is missing\n", wanted[i].name);
		missing++;
	}
	assert_int_equal(missing, 0);
	close(kvm);
}

/* The saved state has a place for each of these (arch/x86_state.h). */
static void test_msr_list(void **state)
{
	static const u32 wanted[] = {
		0x10,	    0x174,	0x175,	    0x176,	0x1a0,
		0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000102,
		0x4b564d00, 0x4b564d01, 0x4b564d04,
	};
	enum { MOST = 1000 };
	struct kvm_msr_list *list;
	int kvm = kvm_open();
	int missing = 0;

	list = calloc(1, sizeof(*list) + MOST * sizeof(u32));
	assert_non_null(list);
	list->nmsrs = MOST;
	assert_int_equal(ioctl(kvm, KVM_GET_MSR_INDEX_LIST, list), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
		bool found = false;

		for (unsigned j = 0; j < list->nmsrs; j++)
			found |= list->indices[j] == wanted[i];
		if (found)
			continue;
		print_error("MSR %#x is not in the list\n", wanted[i]);
		missing++;
	}
	assert_int_equal(missing, 0);
	free(list);
	close(kvm);
}

/* Ring 0 computes, an OUT exits with its value, HLT without a chip exits. */
static void test_run(void **state)
{
	static const u8 code[] = {
		0x31, 0xc0,	  /* xor ax, ax */
		0xb9, 0x64, 0x00, /* mov cx, 100 */
		0x01, 0xc8,	  /* add ax, cx */
		0xe2, 0xfc,	  /* loop -4 */
		0xe7, PORT,	  /* out PORT, ax */
		0xf4,		  /* hlt */
	};
	struct machine m;

	machine_start(&m, code, sizeof(code));
	machine_run(&m);
	assert_int_equal(machine_out(&m, PORT, 2), 5050);
	assert_int_equal(machine_run(&m), KVM_EXIT_HLT);
	assert_int_equal(machine_regs(&m).rip, MACHINE_CODE + sizeof(code));
	machine_end(&m);
}

/* An IN is complete only after the next KVM_RUN, which need not enter the
 * guest ([1] KVM_RUN, immediate_exit). */
static void test_in(void **state)
{
	static const u8 code[] = {
		0xb8, 0x00,	   0x00, /* mov ax, 0 */
		0xe5, PORT,		 /* in ax, PORT */
		0xa3, DATA & 0xff, 0x20, /* mov [DATA], ax */
		0xf4,			 /* hlt */
	};
	struct machine m;
	u16 val = 0xbeef;

	machine_start(&m, code, sizeof(code));
	assert_int_equal(machine_run(&m), KVM_EXIT_IO);
	assert_int_equal(m.run->io.direction, KVM_EXIT_IO_IN);
	assert_int_equal(m.run->io.port, PORT);
	memcpy((u8 *)m.run + m.run->io.data_offset, &val, sizeof(val));
	machine_complete(&m);
	assert_int_equal(machine_regs(&m).rax, 0xbeef);
	assert_int_equal(machine_regs(&m).rip, MACHINE_CODE + 5);
	assert_int_equal(m.mem[DATA], 0);
	assert_int_equal(machine_run(&m), KVM_EXIT_HLT);
	memcpy(&val, m.mem + DATA, sizeof(val));
	assert_int_equal(val, 0xbeef);
	machine_end(&m);
}

/* REP OUTS may come in one exit with a count, or in several. */
static void test_string_out(void **state)
{
	static const u8 code[] = {
		0xbe, 0x00, 0x20, /* mov si, DATA */
		0xb9, 0x08, 0x00, /* mov cx, 8 */
		0xba, PORT, 0x00, /* mov dx, PORT */
		0xf3, 0x6e,	  /* rep outsb */
		0xf4,		  /* hlt */
	};
	struct machine m;
	char got[9] = "";
	size_t len = 0;

	machine_start(&m, code, sizeof(code));
	memcpy(m.mem + DATA, "vireolab", 8);
	while (machine_run(&m) == KVM_EXIT_IO) {
		assert_int_equal(m.run->io.size, 1);
		assert_true(len + m.run->io.count <= 8);
		memcpy(got + len, (u8 *)m.run + m.run->io.data_offset,
		       m.run->io.count);
		len += m.run->io.count;
	}
	assert_int_equal(m.run->exit_reason, KVM_EXIT_HLT);
	assert_string_equal(got, "vireolab");
	machine_end(&m);
}

/* Where no slot is, accesses exit with address, width and direction. */
static void test_mmio(void **state)
{
	static const u8 code[] = {
		0x67, 0xc7, 0x05, 0x00, 0x00, 0x00, 0xf0, 0x34, 0x12,
		/* mov word [NO_MEMORY], 0x1234 */
		0x67, 0x8a, 0x1d, 0x05, 0x00, 0x00, 0xf0,
		/* mov bl, [NO_MEMORY + 5] */
		0x88, 0xd8, /* mov al, bl */
		0xe6, PORT, /* out PORT, al */
	};
	struct machine m;
	struct kvm_sregs sregs;

	machine_start(&m, code, sizeof(code));
	assert_int_equal(ioctl(m.vcpu, KVM_GET_SREGS, &sregs), 0);
	sregs.ds.limit = UINT32_MAX;
	sregs.ds.g = 1;
	assert_int_equal(ioctl(m.vcpu, KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(machine_run(&m), KVM_EXIT_MMIO);
	assert_int_equal(m.run->mmio.phys_addr, NO_MEMORY);
	assert_int_equal(m.run->mmio.len, 2);
	assert_int_equal(m.run->mmio.is_write, 1);
	assert_memory_equal(m.run->mmio.data, "\x34\x12", 2);
	assert_int_equal(machine_run(&m), KVM_EXIT_MMIO);
	assert_int_equal(m.run->mmio.phys_addr, NO_MEMORY + 5);
	assert_int_equal(m.run->mmio.len, 1);
	assert_int_equal(m.run->mmio.is_write, 0);
	m.run->mmio.data[0] = 0xa5;
	machine_run(&m);
	assert_int_equal(machine_out(&m, PORT, 1), 0xa5);
	machine_end(&m);
}

/* No handler for a fault, none for the double fault: the CPU shuts down. In
 * protected mode: an emulated real mode may not look at the table's limit. */
static void test_shutdown(void **state)
{
	static const u8 code[] = {0x0f, 0x0b}; /* ud2 */
	struct kvm_sregs sregs;
	struct machine m;

	machine_start(&m, code, sizeof(code));
	assert_int_equal(ioctl(m.vcpu, KVM_GET_SREGS, &sregs), 0);
	sregs.cr0 |= 1;
	sregs.cs.selector = 8;
	sregs.ss.selector = 16;
	sregs.idt.limit = 0;
	assert_int_equal(ioctl(m.vcpu, KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(machine_run(&m), KVM_EXIT_SHUTDOWN);
	machine_end(&m);
}

/* The log has every page written since it was last read. It may have pages
 * that were only read for the first time: those are mapped writable. */
static void test_dirty_log(void **state)
{
	static const u8 code[] = {
		0xa2, 0x10, 0x20, /* mov [0x2010], al */
		0xa2, 0x00, 0x50, /* mov [0x5000], al */
		0xe6, PORT,	  /* out PORT, al */
		0xa2, 0xff, 0x5f, /* mov [0x5fff], al */
		0xa0, 0x00, 0x20, /* mov al, [0x2000] */
		0xf4,		  /* hlt */
	};
	u64 bits = 0;
	struct kvm_dirty_log log = {.dirty_bitmap = &bits};
	struct machine m;

	machine_vm(&m, KVM_MEM_LOG_DIRTY_PAGES);
	machine_vcpu(&m, code, sizeof(code));
	assert_int_equal(machine_run(&m), KVM_EXIT_IO);
	assert_int_equal(ioctl(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
	assert_int_equal(bits & ~BIT(1), BIT(2) | BIT(5));
	assert_int_equal(machine_run(&m), KVM_EXIT_HLT);
	assert_int_equal(ioctl(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
	assert_int_equal(bits, BIT(5));
	assert_int_equal(ioctl(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
	assert_int_equal(bits, 0);
	machine_end(&m);
}

/* A write that an ioeventfd takes does not exit. */
static void test_ioeventfd(void **state)
{
	static const u8 code[] = {
		0xb8, 0x07,	0x00, /* mov ax, 7 */
		0xe7, DOORBELL,	      /* out DOORBELL, ax */
		0xe7, DOORBELL,	      /* out DOORBELL, ax */
		0xe6, DOORBELL,	      /* out DOORBELL, al */
	};
	struct kvm_ioeventfd bell = {
		.addr = DOORBELL,
		.len = 2,
		.flags = KVM_IOEVENTFD_FLAG_PIO,
	};
	struct machine m;
	u64 rings = 0;

	machine_vm(&m, 0);
	bell.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(bell.fd >= 0);
	assert_int_equal(ioctl(m.vm, KVM_IOEVENTFD, &bell), 0);
	machine_vcpu(&m, code, sizeof(code));
	machine_run(&m);
	assert_int_equal(machine_out(&m, DOORBELL, 1), 7);
	assert_int_equal(read(bell.fd, &rings, sizeof(rings)), sizeof(rings));
	assert_int_equal(rings, 2);
	close(bell.fd);
	machine_end(&m);
}

/* ---- the interrupt chip in the kernel ----------------------------------- */

/* Waits for an interrupt, says so, waits for ever. */
static void start_waiting(struct machine *m)
{
	static const u8 code[] = {0xfb, 0xf4, 0xeb, 0xfc}; /* sti; hlt; jmp */
	static const u8 handler[] = {
		0xb0, VECTOR, /* mov al, VECTOR */
		0xe6, PORT,   /* out PORT, al */
		0xcf,	      /* iret */
	};
	static const u16 entry[] = {HANDLER, 0};
	struct kvm_lapic_state lapic;
	u32 svr = 0x1ff; /* software enable, spurious vector 0xff */

	machine_vm(m, 0);
	assert_int_equal(ioctl(m->vm, KVM_CREATE_IRQCHIP, 0), 0);
	machine_vcpu(m, code, sizeof(code));
	memcpy(m->mem + HANDLER, handler, sizeof(handler));
	memcpy(m->mem + (size_t)VECTOR * 4, entry, sizeof(entry));
	assert_int_equal(ioctl(m->vcpu, KVM_GET_LAPIC, &lapic), 0);
	memcpy(lapic.regs + 0xf0, &svr, sizeof(svr));
	assert_int_equal(ioctl(m->vcpu, KVM_SET_LAPIC, &lapic), 0);
}

static void test_msi(void **state)
{
	struct kvm_msi msi = {.address_lo = 0xfee00000, .data = VECTOR};
	struct machine m;

	start_waiting(&m);
	assert_int_equal(ioctl(m.vm, KVM_SIGNAL_MSI, &msi), 1);
	machine_run(&m);
	assert_int_equal(machine_out(&m, PORT, 1), VECTOR);
	machine_end(&m);
}

/* An eventfd raises what its GSI is routed to, with no ioctl at that time; a
 * HLT with the chip in the kernel sleeps there until it does. */
static void test_irqfd(void **state)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routing = {
		.head.nr = 1,
		.entry =
			{
				.gsi = GSI,
				.type = KVM_IRQ_ROUTING_MSI,
				.u.msi = {.address_lo = 0xfee00000,
					  .data = VECTOR},
			},
	};
	struct kvm_irqfd irqfd = {.gsi = GSI};
	struct machine m;
	u64 one = 1;
	int fd;

	start_waiting(&m);
	fd = eventfd(0, EFD_CLOEXEC);
	assert_true(fd >= 0);
	irqfd.fd = (u32)fd;
	assert_int_equal(ioctl(m.vm, KVM_SET_GSI_ROUTING, &routing), 0);
	assert_int_equal(ioctl(m.vm, KVM_IRQFD, &irqfd), 0);
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
	machine_run(&m);
	assert_int_equal(machine_out(&m, PORT, 1), VECTOR);
	close(fd);
	machine_end(&m);
}

/* The chip's line 0 is the PIT's, which ticks without a single exit. */
static void test_pit(void **state)
{
	struct kvm_pit_config config = {0};
	struct kvm_pit_state2 pit;
	struct machine m;

	machine_vm(&m, 0);
	assert_int_equal(ioctl(m.vm, KVM_CREATE_IRQCHIP, 0), 0);
	assert_int_equal(ioctl(m.vm, KVM_CREATE_PIT2, &config), 0);
	assert_int_equal(ioctl(m.vm, KVM_GET_PIT2, &pit), 0);
	pit.channels[0].count = 0x1234;
	pit.channels[0].mode = 2;
	assert_int_equal(ioctl(m.vm, KVM_SET_PIT2, &pit), 0);
	memset(&pit, 0, sizeof(pit));
	assert_int_equal(ioctl(m.vm, KVM_GET_PIT2, &pit), 0);
	assert_int_equal(pit.channels[0].count, 0x1234);
	assert_int_equal(pit.channels[0].mode, 2);
	machine_end(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_api),
		cmocka_unit_test(test_msr_list),
		cmocka_unit_test(test_run),
		cmocka_unit_test(test_in),
		cmocka_unit_test(test_string_out),
		cmocka_unit_test(test_mmio),
		cmocka_unit_test(test_shutdown),
		cmocka_unit_test(test_dirty_log),
		cmocka_unit_test(test_ioeventfd),
		cmocka_unit_test(test_msi),
		cmocka_unit_test(test_irqfd),
		cmocka_unit_test(test_pit),
	};
	int kvm = kvm_open();

	if (kvm < 0)
		return EXIT_NOT_THERE;
	close(kvm);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
