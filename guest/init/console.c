/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial ports that stand for the command's standard streams.
 *
 * References:
 * [1] POSIX.1-2017, chapter 11, General Terminal Interface
 * [2] Linux uapi asm-generic/termbits.h: the kernel's own struct termios
 */
#include "console.h"

#include <asm/fcntl.h>
#include <asm/termios.h>

#include "sys.h"
#include "text.h"
#include "vireo/guest.h"

/* A disabled control character, [1] 11.1.9. */
enum { VDISABLE = 0 };

static long open_port(const char *path)
{
	return sys_open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static void clear_chars(struct termios *t)
{
	for (int i = 0; i < NCCS; i++)
		t->c_cc[i] = VDISABLE;
}

/* Flow control by RTS and CTS keeps long input whole, but output would stop
 * for good on a port that never raises CTS. */
static tcflag_t flow_control(int fd)
{
	int lines = 0;

	if (sys_ioctl(fd, TIOCMGET, &lines) < 0 || !(lines & TIOCM_CTS))
		return 0;
	return CRTSCTS;
}

static void set_plain(struct termios *t)
{
	t->c_iflag = 0;
	t->c_oflag = 0;
	/* IEXTEN is what gives VLNEXT its meaning, [1] 11.2.5. */
	t->c_lflag = ICANON | IEXTEN;
	clear_chars(t);
	t->c_cc[VEOF] = GUEST_EOF;
	t->c_cc[VLNEXT] = GUEST_QUOTE;
}

static void set_cooked(struct termios *t)
{
	t->c_iflag = ICRNL | IXON | IUTF8;
	t->c_oflag = OPOST | ONLCR;
	t->c_lflag = ISIG | ICANON | IEXTEN | ECHO | ECHOE | ECHOK | ECHOCTL |
		     ECHOKE;
	clear_chars(t);
	t->c_cc[VINTR] = 3;
	t->c_cc[VEOF] = 4;
	t->c_cc[VQUIT] = 28;
	t->c_cc[VERASE] = 127;
	t->c_cc[VKILL] = 21;
	t->c_cc[VSTART] = 17;
	t->c_cc[VSTOP] = 19;
	t->c_cc[VSUSP] = 26;
	t->c_cc[VREPRINT] = 18;
	t->c_cc[VWERASE] = 23;
	t->c_cc[VLNEXT] = 22;
}

static long set_mode(int fd, void (*mode)(struct termios *t))
{
	struct termios t = {.c_line = 0};

	mode(&t);
	t.c_cflag = B115200 | CS8 | CREAD | CLOCAL | flow_control(fd);
	return sys_ioctl(fd, TCSETS, &t);
}

long console_open(const struct run_file *run)
{
	struct winsize size = {.ws_row = run->rows, .ws_col = run->cols};
	long fd = open_port(CONSOLE_DEVICE);
	long ret;

	if (fd < 0)
		return fd;
	ret = set_mode((int)fd, run->tty ? set_cooked : set_plain);
	if (!ret && run->tty && run->rows && run->cols)
		ret = sys_ioctl((int)fd, TIOCSWINSZ, &size);
	return ret < 0 ? ret : fd;
}

long console_open_error(const char *name)
{
	char path[64] = "/dev/";
	size_t len = text_len(name);
	long fd, ret;

	for (size_t i = 0; i < len && i < sizeof(path) - 6; i++)
		path[5 + i] = name[i];
	fd = open_port(path);
	if (fd < 0)
		return fd;
	ret = set_mode((int)fd, set_plain);
	return ret < 0 ? ret : fd;
}

void console_drain(int fd)
{
	/* A non-zero argument waits and sends no break: tcdrain(). */
	sys_ioctl(fd, TCSBRK, (void *)1);
}
