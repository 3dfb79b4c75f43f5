/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one command that the VM was started for.
 *
 * References:
 * [1] POSIX.1-2017, 2.8.2 Exit Status for Commands: 126, 127, signals
 */
#include "command.h"

#include <asm/errno.h>
#include <asm/ioctls.h>
#include <asm/signal.h>

#include "sys.h"
#include "text.h"
#include "vireo/guest.h"

enum { PATH_LEN = 4096 };

static char *const shell[] = {"sh", NULL};

/* dir and name joined by a slash; an empty dir is the current one. */
static bool join(char *path, const char *dir, size_t dir_len, const char *name)
{
	size_t len = text_len(name), at = 0;

	if (dir_len + len + 2 > PATH_LEN)
		return false;
	for (; at < dir_len; at++)
		path[at] = dir[at];
	if (dir_len)
		path[at++] = '/';
	for (size_t i = 0; i <= len; i++)
		path[at + i] = name[i];
	return true;
}

static const char *search_path(char *const *envp)
{
	for (; *envp; envp++) {
		const char *path = text_after(*envp, "PATH=");

		if (path)
			return path;
	}
	return "/bin";
}

/* Returns only where nothing could be executed: the most telling errno. */
static long exec_in_path(char *const *argv, char *const *envp)
{
	const char *dir = search_path(envp);
	char path[PATH_LEN];
	long ret = -ENOENT;

	if (!argv[0][0])
		return -ENOENT;
	if (text_has(argv[0], '/'))
		return sys_exec(argv[0], argv, envp);
	for (;;) {
		size_t len = 0;
		long err;

		while (dir[len] && dir[len] != ':')
			len++;
		err = -ENOENT;
		if (join(path, dir, len, argv[0]))
			err = sys_exec(path, argv, envp);
		if (err != -ENOENT && err != -ENOTDIR)
			ret = err;
		/* Found and refused for good: later folders cannot help. */
		if ((ret != -ENOENT && ret != -EACCES) || !dir[len])
			return ret;
		dir += len + 1;
	}
}

static long attach(const struct run_file *run, const struct streams *streams)
{
	long ret = sys3(__NR_setsid, 0, 0, 0);

	if (ret >= 0 && run->tty)
		ret = sys_ioctl(streams->out, TIOCSCTTY, NULL);
	if (ret >= 0)
		ret = sys_dup2(streams->out, 0);
	if (ret >= 0)
		ret = sys_dup2(streams->out, 1);
	if (ret >= 0)
		ret = sys_dup2(streams->err, 2);
	return ret;
}

__attribute__((noreturn)) static void child(const struct run_file *run,
					    const struct streams *streams)
{
	char *const *argv = run->argv[0] ? run->argv : shell;
	long ret = attach(run, streams);

	if (ret < 0) {
		text_error("console", ret);
		sys_exit(GUEST_STATUS_INIT);
	}
	ret = exec_in_path(argv, run->envp);
	text_error(argv[0], ret);
	sys_exit(ret == -ENOENT || ret == -ENOTDIR ? GUEST_STATUS_NOTFOUND
						   : GUEST_STATUS_NOEXEC);
}

/* The low seven bits of a wait status are the signal, the next byte the exit
 * status. */
static int to_status(int status)
{
	int sig = status & 0x7f;

	return sig ? GUEST_STATUS_SIGNAL + sig : (status >> 8) & 0xff;
}

int command_run(const struct run_file *run, const struct streams *streams)
{
	long pid = sys5(__NR_clone, SIGCHLD, 0, 0, 0, 0);

	if (!pid)
		child(run, streams);
	if (pid < 0) {
		text_error("fork", pid);
		return GUEST_STATUS_INIT;
	}
	for (;;) {
		int status;
		long got = sys_wait(&status);

		if (got == pid)
			return to_status(status);
		if (got < 0 && got != -EINTR) {
			text_error("wait", got);
			return GUEST_STATUS_INIT;
		}
	}
}
