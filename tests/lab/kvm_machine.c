/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm_machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

int kvm_open(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		printf("/dev/kvm: %s\n", strerror(errno));
	return fd;
}

/* Memory as a VM has it: one memfd that cannot change its size. */
static void open_memory(struct machine *m)
{
	const int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

	m->memfd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(m->memfd >= 0);
	assert_int_equal(ftruncate(m->memfd, MACHINE_MEM), 0);
	assert_int_equal(fcntl(m->memfd, F_ADD_SEALS, seals), 0);
	m->mem = mmap(NULL, MACHINE_MEM, PROT_READ | PROT_WRITE, MAP_SHARED,
		      m->memfd, 0);
	assert_ptr_not_equal(m->mem, MAP_FAILED);
}

void machine_vm(struct machine *m, u32 slot_flags)
{
	struct kvm_userspace_memory_region slot = {
		.flags = slot_flags,
		.memory_size = MACHINE_MEM,
	};

	*m = (struct machine){.vcpu = -1};
	open_memory(m);
	m->kvm = kvm_open();
	assert_true(m->kvm >= 0);
	m->vm = ioctl(m->kvm, KVM_CREATE_VM, 0);
	assert_true(m->vm >= 0);
	slot.userspace_addr = (uintptr_t)m->mem;
	assert_int_equal(ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &slot), 0);
}

void machine_vcpu(struct machine *m, const void *code, size_t size)
{
	struct kvm_regs regs = {
		.rip = MACHINE_CODE,
		.rsp = MACHINE_STACK,
		.rflags = 2,
	};
	struct kvm_sregs sregs;

	memcpy(m->mem + MACHINE_CODE, code, size);
	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	assert_true(m->vcpu >= 0);
	m->run_size = (size_t)ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	m->run = mmap(NULL, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      m->vcpu, 0);
	assert_ptr_not_equal(m->run, MAP_FAILED);
	assert_int_equal(ioctl(m->vcpu, KVM_GET_SREGS, &sregs), 0);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	assert_int_equal(ioctl(m->vcpu, KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(ioctl(m->vcpu, KVM_SET_REGS, &regs), 0);
}

void machine_start(struct machine *m, const void *code, size_t size)
{
	machine_vm(m, 0);
	machine_vcpu(m, code, size);
}

void machine_end(struct machine *m)
{
	if (m->run)
		munmap(m->run, m->run_size);
	if (m->vcpu >= 0)
		close(m->vcpu);
	close(m->vm);
	close(m->kvm);
	munmap(m->mem, MACHINE_MEM);
	close(m->memfd);
}

u32 machine_run(struct machine *m)
{
	int ret;

	do
		ret = ioctl(m->vcpu, KVM_RUN, 0);
	while (ret < 0 && errno == EINTR);
	assert_int_equal(ret, 0);
	return m->run->exit_reason;
}

void machine_complete(struct machine *m)
{
	m->run->immediate_exit = 1;
	assert_int_equal(ioctl(m->vcpu, KVM_RUN, 0), -1);
	assert_int_equal(errno, EINTR);
	m->run->immediate_exit = 0;
}

u32 machine_out(struct machine *m, u16 port, u8 width)
{
	u32 val = 0;

	assert_int_equal(m->run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(m->run->io.direction, KVM_EXIT_IO_OUT);
	assert_int_equal(m->run->io.port, port);
	assert_int_equal(m->run->io.size, width);
	assert_int_equal(m->run->io.count, 1);
	memcpy(&val, (u8 *)m->run + m->run->io.data_offset, width);
	return val;
}

struct kvm_regs machine_regs(struct machine *m)
{
	struct kvm_regs regs;

	assert_int_equal(ioctl(m->vcpu, KVM_GET_REGS, &regs), 0);
	return regs;
}
