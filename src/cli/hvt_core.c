/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A core file of a guest that gave up.
 *
 * References: [1] System V ABI, generic part, chapter 5; core(5).
 */
#include "cli/hvt_core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/x86_state.h"
#include "chips/hvt.h"
#include "engine/engine.h"
#include "util/fd.h"
#include "vmm/vm.h"

/* Last: they claim names of ours as macros. */
#include <elf.h>
#include <sys/procfs.h>

/* What stands before memory in the file, without gaps. */
struct core_head {
	Elf64_Ehdr elf;
	Elf64_Phdr note, memory;
	Elf64_Nhdr status_note;
	char status_name[8];
	prstatus_t status;
} __attribute__((packed));

/* What guests leave at the cookie's address: the frame of a trap. */
struct trap_frame {
	u64 cr2, error, rip, cs, rflags, rsp, ss;
};

int hvt_core_check(const char *dir, struct err *err)
{
	if (access(dir, W_OK | X_OK))
		return err_set(err, -errno, "dumpcore: %s: %s", dir,
			       strerror(errno));
	return 0;
}

static void fill_registers(struct user_regs_struct *r,
			   const struct x86_state *s)
{
	*r = (struct user_regs_struct){
		.rax = s->gpr[X86_RAX],
		.rcx = s->gpr[X86_RCX],
		.rdx = s->gpr[X86_RDX],
		.rbx = s->gpr[X86_RBX],
		.rsp = s->gpr[X86_RSP],
		.rbp = s->gpr[X86_RBP],
		.rsi = s->gpr[X86_RSI],
		.rdi = s->gpr[X86_RDI],
		.r8 = s->gpr[X86_R8],
		.r9 = s->gpr[X86_R9],
		.r10 = s->gpr[X86_R10],
		.r11 = s->gpr[X86_R11],
		.r12 = s->gpr[X86_R12],
		.r13 = s->gpr[X86_R13],
		.r14 = s->gpr[X86_R14],
		.r15 = s->gpr[X86_R15],
		.rip = s->rip,
		.eflags = s->rflags,
		.cs = s->seg[X86_CS].selector,
		.ss = s->seg[X86_SS].selector,
		.ds = s->seg[X86_DS].selector,
		.es = s->seg[X86_ES].selector,
		.fs = s->seg[X86_FS].selector,
		.gs = s->seg[X86_GS].selector,
		.fs_base = s->seg[X86_FS].base,
		.gs_base = s->seg[X86_GS].base,
	};
}

static void fill_status(struct vm *vm, gpa_t cookie, const struct x86_state *s,
			prstatus_t *status)
{
	struct user_regs_struct regs;
	struct trap_frame trap;

	fill_registers(&regs, s);
	if (cookie && mem_read(&vm->mem, cookie, &trap, sizeof(trap))) {
		regs.rip = trap.rip;
		regs.cs = trap.cs;
		regs.eflags = trap.rflags;
		regs.rsp = trap.rsp;
		regs.ss = trap.ss;
	}
	memcpy(&status->pr_reg, &regs, sizeof(regs));
}

static void fill_head(struct core_head *head, u64 mem_size)
{
	const u64 note_size = sizeof(head->status_note) +
			      sizeof(head->status_name) + sizeof(head->status);

	head->elf = (Elf64_Ehdr){
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
			    ELFDATA2LSB, EV_CURRENT, ELFOSABI_STANDALONE},
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = offsetof(struct core_head, note),
		.e_ehsize = sizeof(head->elf),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
	};
	head->note = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = offsetof(struct core_head, status_note),
		.p_filesz = note_size,
		.p_memsz = note_size,
	};
	head->memory = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = sizeof(*head),
		.p_filesz = mem_size,
		.p_memsz = mem_size,
	};
	head->status_note = (Elf64_Nhdr){
		.n_namesz = sizeof(head->status_name),
		.n_descsz = sizeof(head->status),
		.n_type = NT_PRSTATUS,
	};
	memcpy(head->status_name, "CORE", 4);
}

/* Memory that nobody touched stays a hole in the file. */
static int write_memory(int fd, const struct guest_mem *mem)
{
	const struct mem_region *r = &mem->pieces[0];
	off_t at = 0, end;

	while ((at = lseek(r->fd, at, SEEK_DATA)) >= 0 && (u64)at < r->len) {
		end = lseek(r->fd, at, SEEK_HOLE);
		if (end < 0)
			return -errno;
		if (lseek(fd, (off_t)sizeof(struct core_head) + at, SEEK_SET) <
		    0)
			return -errno;
		if (fd_write_all(fd, r->hva + at, (u64)(end - at)))
			return -errno;
		at = end;
	}
	return ftruncate(fd, (off_t)(sizeof(struct core_head) + r->len))
		       ? -errno
		       : 0;
}

static int write_core(struct vm *vm, gpa_t cookie, int fd)
{
	struct core_head *head = calloc(1, sizeof(*head));
	struct x86_state *state = calloc(1, sizeof(*state));
	prstatus_t status = {0};
	int ret = head && state ? 0 : -ENOMEM;

	if (!ret)
		ret = vm->engine->get_state(vm->vcpus[0], state);
	if (!ret) {
		fill_head(head, vm->mem.ram_size);
		fill_status(vm, cookie, state, &status);
		head->status = status;
		ret = fd_write_all(fd, head, sizeof(*head));
	}
	if (!ret)
		ret = write_memory(fd, &vm->mem);
	free(state);
	free(head);
	return ret;
}

void hvt_core_write(struct vm *vm, const struct device *calls, const char *dir)
{
	char path[4096];
	int fd, ret;

	snprintf(path, sizeof(path), "%s/core.solo5-hvt.%d", dir,
		 (int)getpid());
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		fprintf(stderr, "dumpcore: %s: %s\n", path, strerror(errno));
		return;
	}
	fprintf(stderr, "dumpcore: dumping guest core to: %s\n", path);
	ret = write_core(vm, hvt_halt_cookie(calls), fd);
	if (ret)
		fprintf(stderr, "dumpcore: the file is incomplete: %s\n",
			strerror(-ret));
	close(fd);
}
