/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the doctor asks the host.
 *
 * References: [1] Linux Documentation/virt/kvm/api.rst 4.1
 * (KVM_GET_API_VERSION is _IO(0xae, 0)). [2] io_uring_setup(2). [3]
 * landlock_create_ruleset(2). [4] seccomp(2). [5] userfaultfd(2). [6]
 * clone(2), unshare(2).
 */
#include "cli/doctor_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/types.h"

#define say(text, ...) snprintf(text, DOCTOR_TEXT, __VA_ARGS__)

/* First line of a small file; false where it cannot be read. */
static bool read_line(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	bool got;

	text[0] = 0;
	if (!file)
		return false;
	got = fgets(text, (int)size, file);
	fclose(file);
	text[strcspn(text, "\n")] = 0;
	return got;
}

/* "yes", or why not; closes fd. */
static void say_fd(char *text, int fd)
{
	if (fd < 0) {
		say(text, "no: %s", strerror(errno));
		return;
	}
	close(fd);
	say(text, "yes");
}

/* ---- the machine -------------------------------------------------------- */

static void probe_kernel(char *text)
{
	struct utsname name;

	uname(&name);
	say(text, "%s %s %s", name.sysname, name.release, name.machine);
}

static void probe_cpu(char *text)
{
	char entry[256];
	FILE *file = fopen("/proc/cpuinfo", "re");
	const char *model = "unknown";

	while (file && fgets(entry, sizeof(entry), file)) {
		char *colon = strchr(entry, ':');

		if (colon && !strncmp(entry, "model name", 10)) {
			colon[strcspn(colon, "\n")] = 0;
			model = colon + 2;
			break;
		}
	}
	say(text, "%ld online, %.100s", sysconf(_SC_NPROCESSORS_ONLN), model);
	if (file)
		fclose(file);
}

static void probe_memory(char *text)
{
	char overcommit[16];
	struct sysinfo info;

	sysinfo(&info);
	read_line("/proc/sys/vm/overcommit_memory", overcommit,
		  sizeof(overcommit));
	say(text, "%llu MiB, %llu MiB free, overcommit mode %s",
	    (unsigned long long)info.totalram * info.mem_unit >> 20,
	    (unsigned long long)info.freeram * info.mem_unit >> 20,
	    overcommit[0] ? overcommit : "unknown");
}

static void probe_huge_pages(char *text)
{
	char pages[32], enabled[64], shared[64];

	read_line("/proc/sys/vm/nr_hugepages", pages, sizeof(pages));
	read_line("/sys/kernel/mm/transparent_hugepage/enabled", enabled,
		  sizeof(enabled));
	read_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled", shared,
		  sizeof(shared));
	say(text, "%s reserved; transparent: %s; for shared memory: %s",
	    pages[0] ? pages : "0", enabled[0] ? enabled : "no",
	    shared[0] ? shared : "no");
}

/* ---- virtualization and I/O --------------------------------------------- */

static void probe_kvm(char *text)
{
	enum { KVM_GET_API_VERSION_NR = 0xae00 };
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		say(text, "%s: %s",
		    errno == ENOENT ? "not there" : "cannot be opened",
		    strerror(errno));
		return;
	}
	say(text, "can be opened, API version %d (speed not probed)",
	    ioctl(fd, KVM_GET_API_VERSION_NR, 0));
	close(fd);
}

static void probe_io_uring(char *text)
{
	struct io_uring_params params = {0};

	say_fd(text, (int)syscall(SYS_io_uring_setup, 4, &params));
}

static void probe_vhost(char *text)
{
	static const char *const names[] = {"net", "vsock"};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		const size_t len = strlen(text);
		char path[32];
		int fd;

		snprintf(path, sizeof(path), "/dev/vhost-%s", names[i]);
		fd = open(path, O_RDWR | O_CLOEXEC);
		snprintf(text + len, DOCTOR_TEXT - len, "%s%s: %s",
			 i ? ", " : "", names[i],
			 fd < 0 ? strerror(errno) : "yes");
		if (fd >= 0)
			close(fd);
	}
}

/* An interface without a name given is gone with its descriptor. */
static void probe_tun(char *text)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, TUNSETIFF, &request)) {
		say(text, "can be opened, makes no interface: %s",
		    strerror(errno));
		close(fd);
		return;
	}
	say_fd(text, fd);
}

static void probe_af_xdp(char *text)
{
	enum { FAMILY_XDP = 44 };

	say_fd(text, socket(FAMILY_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static void probe_userfaultfd(char *text)
{
	enum { USER_MODE_ONLY = 1 }; /* [5] */

	say_fd(text, (int)syscall(SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY));
}

/* ---- confinement -------------------------------------------------------- */

/* In a child, so that this process stays where it is. [6] */
static void probe_user_namespaces(char *text)
{
	int status = 0;
	pid_t child = fork();

	if (!child)
		_exit(unshare(CLONE_NEWUSER) ? errno : 0);
	if (child < 0 || waitpid(child, &status, 0) < 0)
		say(text, "unknown: %s", strerror(errno));
	else if (WIFEXITED(status) && !WEXITSTATUS(status))
		say(text, "yes");
	else
		say(text, "no: %s",
		    WIFEXITED(status) ? strerror(WEXITSTATUS(status))
				      : "killed");
}

static void probe_cgroups(char *text)
{
	char controllers[128];

	if (read_line("/sys/fs/cgroup/cgroup.controllers", controllers,
		      sizeof(controllers)))
		say(text, "v2: %s", controllers);
	else if (!access("/sys/fs/cgroup/memory", X_OK))
		say(text, "v1");
	else
		say(text, "none mounted");
}

static void probe_landlock(char *text)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
			   LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < 0)
		say(text, "no: %s", strerror(errno));
	else
		say(text, "ABI %ld", abi);
}

static void probe_seccomp(char *text)
{
	const u32 action = SECCOMP_RET_KILL_PROCESS;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action))
		say(text, "no: %s", strerror(errno));
	else
		say(text, "filters, may kill the process");
}

const struct doctor_probe doctor_probes[] = {
	{"kernel", probe_kernel},
	{"cpus", probe_cpu},
	{"memory", probe_memory},
	{"huge pages", probe_huge_pages},
	{"/dev/kvm", probe_kvm},
	{"io_uring", probe_io_uring},
	{"vhost", probe_vhost},
	{"tap", probe_tun},
	{"AF_XDP", probe_af_xdp},
	{"userfaultfd", probe_userfaultfd},
	{"user namespaces", probe_user_namespaces},
	{"cgroups", probe_cgroups},
	{"Landlock", probe_landlock},
	{"seccomp", probe_seccomp},
};
const unsigned doctor_probe_count = ARRAY_SIZE(doctor_probes);
