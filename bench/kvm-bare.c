/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What starting a guest on KVM costs at the least: the bare sequence of system
 * calls for a Solo5 hvt image without devices, nothing checked that is not
 * needed, nothing given back that the end of the process does not. bench/run
 * puts `vireo run --engine kvm` beside it.
 *
 * References: [1] Linux Documentation/virt/kvm/api.rst, sections 4.1 to 4.13,
 *             4.20, 4.35. [2] include/vireo/hvt_abi.h.
 */
#include <elf.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vireo/hvt_abi.h"

#define RAM_SIZE (256ul << 20)
enum { GDT = 0x1000, PML4 = 0x2000, PDPT = 0x3000, DIRECTORY = 0x4000 };

static unsigned char *ram;

static int must(int ret, const char *what)
{
	if (ret >= 0)
		return ret;
	perror(what);
	exit(1);
}

static struct kvm_segment flat(unsigned selector, unsigned type)
{
	return (struct kvm_segment){
		.limit = ~0u,
		.selector = (unsigned short)selector,
		.type = (unsigned char)type,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = type & 8 ? 1 : 0,
		.db = type & 8 ? 0 : 1,
	};
}

/* The segments, a map of all memory, the boot information; the entry. */
static unsigned long load(const char *path)
{
	int fd = must(open(path, O_RDONLY | O_CLOEXEC), path);
	const struct hvt_manifest manifest = {HVT_MANIFEST_VERSION, 0};
	const struct hvt_boot_info info = {
		.mem_size = RAM_SIZE,
		.tsc_hz = 1000000000,
		.cmdline = HVT_BOOT_INFO + sizeof(info) + sizeof(manifest),
		.manifest = HVT_BOOT_INFO + sizeof(info),
	};
	unsigned long *table = (unsigned long *)(void *)(ram + PML4), end = 0;
	Elf64_Ehdr head;
	Elf64_Phdr part;

	must((int)pread(fd, &head, sizeof(head), 0), path);
	for (unsigned i = 0; i < head.e_phnum; i++) {
		must((int)pread(fd, &part, sizeof(part),
				(off_t)(head.e_phoff + i * sizeof(part))),
		     path);
		if (part.p_type != PT_LOAD)
			continue;
		must((int)pread(fd, ram + part.p_paddr, part.p_filesz,
				(off_t)part.p_offset),
		     path);
		end = part.p_paddr + part.p_memsz;
	}
	close(fd);
	table[0] = PDPT | 3;
	table = (unsigned long *)(void *)(ram + PDPT);
	table[0] = DIRECTORY | 3;
	table = (unsigned long *)(void *)(ram + DIRECTORY);
	for (unsigned long gpa = 0; gpa < RAM_SIZE; gpa += 2 << 20)
		table[gpa >> 21] = gpa | 0x83;
	memcpy(ram + HVT_BOOT_INFO, &info, sizeof(info));
	memcpy(ram + info.manifest, &manifest, sizeof(manifest));
	((struct hvt_boot_info *)(void *)(ram + HVT_BOOT_INFO))->image_end =
		(end + HVT_PAGE - 1) & ~(HVT_PAGE - 1ul);
	return head.e_entry;
}

static void set_cpuid(int kvm, int vcpu)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[128];
	} cpuid = {.head.nent = 128};

	must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), "CPUID");
	must(ioctl(vcpu, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");
}

static void set_state(int vcpu, unsigned long entry)
{
	const unsigned long gdt[] = {0, 0xaf9b000000ffff, 0xcf93000000ffff};
	struct kvm_regs regs = {
		.rip = entry,
		.rsp = RAM_SIZE - 8,
		.rdi = HVT_BOOT_INFO,
		.rflags = 2,
	};
	struct kvm_sregs s;

	memcpy(ram + GDT, gdt, sizeof(gdt));
	must(ioctl(vcpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.cs = flat(HVT_CS, 0xb);
	s.ds = s.es = s.fs = s.gs = s.ss = flat(HVT_DS, 3);
	s.gdt.base = GDT;
	s.gdt.limit = sizeof(gdt) - 1;
	s.cr0 = 0x80010031; /* PG WP NE ET PE */
	s.cr3 = PML4;
	s.cr4 = 0x620; /* OSXMMEXCPT OSFXSR PAE */
	s.efer = 0x500;
	must(ioctl(vcpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static int run(int vcpu, const struct kvm_run *state)
{
	const unsigned char *io = (const unsigned char *)state;
	const struct hvt_puts *puts;
	unsigned at;

	for (;;) {
		must(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
		if (state->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "exit %u\n", state->exit_reason);
			return 1;
		}
		memcpy(&at, io + state->io.data_offset, sizeof(at));
		if (state->io.port == HVT_PORT + HVT_CALL_HALT)
			return (int)((const struct hvt_halt
					      *)(const void *)(ram + at))
				->status;
		puts = (const void *)(ram + at);
		if (state->io.port == HVT_PORT + HVT_CALL_PUTS)
			must((int)write(1, ram + puts->data, puts->len),
			     "write");
	}
}

int main(int argc, char **argv)
{
	struct kvm_userspace_memory_region slot = {.memory_size = RAM_SIZE};
	int kvm, vm, vcpu;
	void *state;

	if (argc != 2)
		return 2;
	kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	slot.userspace_addr = (unsigned long)ram;
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "memory");
	vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	state = mmap(NULL,
		     (size_t)must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "run"),
		     PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	set_cpuid(kvm, vcpu);
	set_state(vcpu, load(argv[1]));
	return run(vcpu, state);
}
