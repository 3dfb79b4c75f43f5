/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls init needs, without a C library: a static glibc binary
 * has 750 KiB and runs tens of thousands of instructions before main, this
 * one has about 9 KiB and starts at once. That is worth the page below
 * because every start of a VM pays for it.
 *
 * All return a negative errno on failure, as the kernel does. Thread safety:
 * one thread, always.
 *
 * References:
 * [1] System V ABI, AMD64 supplement, draft 0.99.7, A.2.1: kernel calls
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>
#include <linux/mman.h>

/* [1] A.2.1: number in rax; rcx and r11 are destroyed. */
static inline long sys5(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = 0; /* the sixth is always an offset */
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
			   "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline long sys3(long nr, long a, long b, long c)
{
	return sys5(nr, a, b, c, 0, 0);
}

static inline long sys_open(const char *path, int flags)
{
	return sys3(__NR_open, (long)path, flags, 0);
}

static inline long sys_close(int fd)
{
	return sys3(__NR_close, fd, 0, 0);
}

static inline long sys_read(int fd, void *buf, size_t len)
{
	return sys3(__NR_read, fd, (long)buf, (long)len);
}

static inline long sys_write(int fd, const void *buf, size_t len)
{
	return sys3(__NR_write, fd, (long)buf, (long)len);
}

static inline long sys_ioctl(int fd, unsigned long request, void *arg)
{
	return sys3(__NR_ioctl, fd, (long)request, (long)arg);
}

static inline long sys_dup2(int from, int to)
{
	return sys3(__NR_dup2, from, to, 0);
}

static inline long sys_mkdir(const char *path, int mode)
{
	return sys3(__NR_mkdir, (long)path, mode, 0);
}

static inline long sys_symlink(const char *target, const char *path)
{
	return sys3(__NR_symlink, (long)target, (long)path, 0);
}

static inline long sys_mount(const char *type, const char *where, long flags,
			     const char *options)
{
	return sys5(__NR_mount, (long)type, (long)where, (long)type, flags,
		    (long)options);
}

static inline long sys_exec(const char *path, char *const *argv,
			    char *const *envp)
{
	return sys3(__NR_execve, (long)path, (long)argv, (long)envp);
}

static inline long sys_wait(int *status)
{
	return sys5(__NR_wait4, -1, (long)status, 0, 0, 0);
}

/* Private memory, zeroed, never freed; NULL where there is none. */
static inline void *sys_alloc(size_t len)
{
	long ret = sys5(__NR_mmap, 0, (long)len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1);

	return ret < 0 && ret > -4096 ? NULL : (void *)ret;
}

__attribute__((noreturn)) static inline void sys_exit(int status)
{
	for (;;)
		sys3(__NR_exit_group, status, 0, 0);
}
