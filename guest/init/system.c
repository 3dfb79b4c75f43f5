/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command expects of the system around it, and how the VM ends.
 */
#include "system.h"

#include <asm/errno.h>
#include <asm/fcntl.h>
#include <linux/if.h>
#include <linux/mount.h>
#include <linux/reboot.h>
#include <linux/socket.h>
#include <linux/sockios.h>

#include "sys.h"
#include "text.h"

/* Values of the address-family and socket-type name space, which the kernel's
 * user headers leave to a C library. */
enum { FAMILY_INET = 2, TYPE_DATAGRAM = 2, CONSOLE_OFF = 6 };

struct mount_point {
	const char *type, *where;
	long flags;
	const char *options;
};

static const struct mount_point mount_points[] = {
	{"devtmpfs", "/dev", MS_NOSUID, "mode=0755"},
	{"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777"},
	{"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755"},
	{"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC,
	 "mode=0620,ptmxmode=0666"},
	{"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777"},
};

static const struct {
	const char *path, *target;
} dev_links[] = {
	{"/dev/fd", "/proc/self/fd"},
	{"/dev/stdin", "/proc/self/fd/0"},
	{"/dev/stdout", "/proc/self/fd/1"},
	{"/dev/stderr", "/proc/self/fd/2"},
};

static void set_hostname(void)
{
	static const char name[] = "vireo";
	long ret = sys3(__NR_sethostname, (long)name, sizeof(name) - 1, 0);

	if (ret < 0)
		text_error("host name", ret);
}

static void start_loopback(void)
{
	struct ifreq req = {
		.ifr_name = "lo",
		.ifr_flags = IFF_UP | IFF_RUNNING,
	};
	long fd = sys3(__NR_socket, FAMILY_INET, TYPE_DATAGRAM, 0);
	long ret = fd;

	if (fd >= 0) {
		ret = sys_ioctl((int)fd, SIOCSIFFLAGS, &req);
		sys_close((int)fd);
	}
	if (ret < 0)
		text_error("loopback", ret);
}

/*
 * The kernel looks twice a second whether free memory has become fragmented,
 * and other timers come with it: 4 of an idle VM's 5.6 wake-ups a second. Who
 * needs large pages still gets them by compaction on demand. A kernel without
 * compaction has no such file.
 */
static void stop_proactive_compaction(void)
{
	long fd = sys_open("/proc/sys/vm/compaction_proactiveness",
			   O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	sys_write((int)fd, "0", 1);
	sys_close((int)fd);
}

long system_start(void)
{
	long failed = 0;

	for (size_t i = 0; i < sizeof(mount_points) / sizeof(*mount_points);
	     i++) {
		const struct mount_point *m = &mount_points[i];
		long ret;

		sys_mkdir(m->where, 0755);
		ret = sys_mount(m->type, m->where, m->flags, m->options);
		if (ret < 0)
			text_error(m->where, ret);
		if (i == 0)
			failed = ret;
	}
	for (size_t i = 0; i < sizeof(dev_links) / sizeof(*dev_links); i++)
		sys_symlink(dev_links[i].target, dev_links[i].path);
	/* The console belongs to the command from here on; what the kernel
	 * has to say is in its log. An emergency is still printed. */
	sys3(__NR_syslog, CONSOLE_OFF, 0, 0);
	set_hostname();
	start_loopback();
	stop_proactive_compaction();
	return failed;
}

void system_load_module(const char *path)
{
	long fd = sys_open(path, O_RDONLY | O_CLOEXEC), ret = fd;

	if (fd >= 0) {
		ret = sys3(__NR_finit_module, fd, (long)"", 0);
		sys_close((int)fd);
	}
	if (ret < 0 && ret != -EEXIST)
		text_error(path, ret);
}

bool system_outb(unsigned short port, unsigned char val)
{
	if (sys3(__NR_ioperm, port, 1, 1) < 0)
		return false;
	__asm__ volatile("outb %0, %1" : : "a"(val), "Nd"(port));
	return true;
}

void system_power_off(void)
{
	sys3(__NR_sync, 0, 0, 0);
	sys3(__NR_reboot, (long)LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
	     LINUX_REBOOT_CMD_POWER_OFF);
}
