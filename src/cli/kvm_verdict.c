/* SPDX-License-Identifier: Apache-2.0 */
/* What was measured of this host's KVM, and the file that remembers it. */
#include "cli/kvm_verdict.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "util/fd.h"

enum {
	/* Times slower than this process. Native is 1 and a little, where an
	 * interrupt fell into each run 10; an interpreter in the kernel is
	 * beyond 1000. */
	TOLERANCE = 32,
	LINE = 256,
};

enum kvm_verdict kvm_verdict_of(const struct engine_speed *speed, u64 *times)
{
	*times = speed->host ? speed->guest / speed->host : 0;
	if (!*times)
		*times = 1;
	return *times > TOLERANCE ? KVM_EMULATED : KVM_NATIVE;
}

/* ---- what it is about --------------------------------------------------- */

static bool read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	s64 len;

	if (fd < 0)
		return false;
	len = fd_read_full(fd, text, size - 1);
	close(fd);
	if (len <= 0)
		return false;
	text[len] = 0;
	text[strcspn(text, "\n")] = 0;
	return true;
}

/* Boot, kernel and device in one word each; false: cannot be told apart. */
static bool subject(char *text, size_t size)
{
	struct utsname name;
	struct stat st;
	char boot[64];

	if (!read_text("/proc/sys/kernel/random/boot_id", boot, sizeof(boot)) ||
	    stat("/dev/kvm", &st) || uname(&name))
		return false;
	snprintf(text, size, "1 %.40s %.64s %u:%u", boot, name.release,
		 major(st.st_rdev), minor(st.st_rdev));
	return true;
}

/* ---- where it is kept --------------------------------------------------- */

/* The folder, open; -1: there is none. */
static int open_folder(bool create)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	const char *home = getenv("HOME");
	char path[PATH_MAX];
	struct stat st;
	int fd;

	if (!base || *base != '/')
		base = getenv("XDG_CACHE_HOME");
	if (base && *base == '/')
		snprintf(path, sizeof(path), "%s", base);
	else if (home && *home == '/')
		snprintf(path, sizeof(path), "%s/.cache", home);
	else
		return -1;
	if (create)
		mkdir(path, 0700);
	if (strlen(path) + sizeof("/vireo") > sizeof(path))
		return -1;
	strcat(path, "/vireo");
	if (create)
		mkdir(path, 0700);
	fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* Where others may write, they could decide for us. */
	if (fd >= 0 && (fstat(fd, &st) || st.st_uid != geteuid() ||
			st.st_mode & (S_IWGRP | S_IWOTH)))
		fd_close(&fd);
	return fd;
}

enum kvm_verdict kvm_verdict_load(u64 *times)
{
	char want[LINE], have[LINE], word[16] = "";
	int folder = open_folder(false), fd = -1;
	unsigned long long factor = 0;
	size_t len;
	s64 got = -1;

	if (folder >= 0)
		fd = openat(folder, "kvm", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		got = fd_read_full(fd, have, sizeof(have) - 1);
	fd_close(&fd);
	fd_close(&folder);
	if (got <= 0 || !subject(want, sizeof(want)))
		return KVM_UNKNOWN;
	have[got] = 0;
	len = strlen(want);
	if (strncmp(have, want, len) != 0 ||
	    sscanf(have + len, " %15s %llu", word, &factor) != 2)
		return KVM_UNKNOWN;
	*times = factor;
	if (!strcmp(word, "native"))
		return KVM_NATIVE;
	return !strcmp(word, "emulated") ? KVM_EMULATED : KVM_UNKNOWN;
}

void kvm_verdict_store(enum kvm_verdict verdict, u64 times)
{
	char about[LINE], text[2 * LINE], temp[32];
	int folder, fd, len, ret;

	if (!subject(about, sizeof(about)))
		return;
	folder = open_folder(true);
	if (folder < 0)
		return;
	/* Whole or not at all, whoever else starts a VM now. */
	snprintf(temp, sizeof(temp), ".kvm.%d", (int)getpid());
	fd = openat(folder, temp,
		    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd >= 0) {
		len = snprintf(text, sizeof(text), "%s %s %llu\n", about,
			       verdict == KVM_NATIVE ? "native" : "emulated",
			       (unsigned long long)times);
		ret = fd_write_all(fd, text, (size_t)len);
		fd_close(&fd);
		if (ret || renameat(folder, temp, folder, "kvm"))
			unlinkat(folder, temp, 0);
	}
	fd_close(&folder);
}
