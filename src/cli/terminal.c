/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's terminal while a guest has it.
 *
 * References: [1] POSIX.1-2017, chapter 11, and 2.4.3 (tcsetattr is safe in
 * signal handlers).
 */
#include "cli/terminal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util/fd.h"

static const int crash_signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE};

/* For the crash handler, which gets no argument. */
static const struct terminal *volatile crash_terminal;

/*
 * Engines that use faults install their handlers over this one and come here
 * with what is not theirs.
 */
static void on_crash(int signal_number)
{
	const struct terminal *terminal = crash_terminal;
	const int saved_errno = errno;

	if (terminal)
		tcsetattr(terminal->fd, TCSANOW, &terminal->saved);
	errno = saved_errno;
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static void catch_crashes(void)
{
	struct sigaction action = {
		.sa_handler = on_crash,
		.sa_flags = SA_NODEFER | SA_ONSTACK,
	};

	sigemptyset(&action.sa_mask);
	for (unsigned i = 0; i < ARRAY_SIZE(crash_signals); i++)
		sigaction(crash_signals[i], &action, NULL);
}

int terminal_open(struct terminal *terminal, int fd, struct err *err)
{
	memset(terminal, 0, sizeof(*terminal));
	terminal->fd = fd;
	if (fd < 0)
		return 0;
	if (tcgetattr(fd, &terminal->saved)) {
		terminal->fd = -1;
		return err_set(err, -errno, "cannot set the terminal: %s",
			       strerror(errno));
	}
	terminal->wanted = terminal->saved;
	cfmakeraw(&terminal->wanted);
	crash_terminal = terminal;
	catch_crashes();
	if (tcsetattr(fd, TCSADRAIN, &terminal->wanted))
		return err_set(err, -errno, "cannot set the terminal: %s",
			       strerror(errno));
	terminal->raw = true;
	return 0;
}

void terminal_resume(struct terminal *terminal)
{
	if (terminal->raw)
		tcsetattr(terminal->fd, TCSANOW, &terminal->wanted);
}

void terminal_restore(struct terminal *terminal)
{
	if (!terminal->raw)
		return;
	tcsetattr(terminal->fd, TCSANOW, &terminal->saved);
	terminal->raw = false;
	crash_terminal = NULL;
}

void terminal_size(int fd, unsigned *rows, unsigned *cols)
{
	struct winsize size = {0};

	ioctl(fd, TIOCGWINSZ, &size);
	*rows = size.ws_row;
	*cols = size.ws_col;
}

/* ---- keys --------------------------------------------------------------- */

static bool is_our_key(u8 key)
{
	return key && strchr("xXhHpP?\1", key);
}

/* True if the guest gets a Ctrl-A. */
static bool take_key(struct terminal *terminal, u8 key)
{
	static const char help[] =
		"\r\nCtrl-A x       leave, the guest is switched off\r\n"
		"Ctrl-A p       press the power button\r\n"
		"Ctrl-A h       this text\r\n"
		"Ctrl-A Ctrl-A  send Ctrl-A\r\n";

	switch (key) {
	case TERMINAL_KEY:
		return true;
	case 'x':
	case 'X':
		terminal->leave(terminal->arg);
		return false;
	case 'p':
	case 'P':
		terminal->power_button(terminal->arg);
		return false;
	default:
		fd_write_all(STDERR_FILENO, help, sizeof(help) - 1);
		return false;
	}
}

void terminal_filter(void *arg, u8 *buf, size_t *len)
{
	struct terminal *terminal = arg;
	size_t count = *len, get = 0, put = 0;

	/* The Ctrl-A of the last read was the guest's after all. */
	if (terminal->key_seen && count && !is_our_key(buf[0])) {
		memmove(buf + 1, buf, count++);
		buf[0] = TERMINAL_KEY;
		terminal->key_seen = false;
		get = put = 1;
	}
	while (get < count) {
		const u8 key = buf[get++];

		if (!terminal->key_seen && key == TERMINAL_KEY) {
			terminal->key_seen = true;
			continue;
		}
		if (terminal->key_seen && is_our_key(key)) {
			terminal->key_seen = false;
			if (take_key(terminal, key))
				buf[put++] = TERMINAL_KEY;
			continue;
		}
		if (terminal->key_seen)
			buf[put++] = TERMINAL_KEY;
		terminal->key_seen = false;
		buf[put++] = key;
	}
	*len = put;
}
