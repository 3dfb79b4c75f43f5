/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host side of a console: one of vm->consoles[], made safe to use from a
 * device. Output is gathered in a bounded ring and leaves in few writes, input
 * is taken only as the device has room for it; nothing is lost and nobody
 * waits, neither a vCPU nor the event loop.
 *
 * Threads: every function but open and close is called with the device's lock
 * held, and so are the callbacks.
 */
#pragma once

#include "util/err.h"
#include "util/types.h"
#include "vmm/loop.h"
#include "vmm/timer.h"

struct device;
struct vm_console;

#define CONSOLE_OUT_SIZE 8192
#define CONSOLE_IN_SIZE 65536
#define CONSOLE_NO_EOF (-1)

struct console_ops {
	/* Bytes of input that the device takes now. */
	size_t (*room)(struct device *dev);
	/* At most room() bytes. */
	void (*input)(struct device *dev, const u8 *buf, size_t len);
	/* console_room() has grown. Not called from console_write(). */
	void (*writable)(struct device *dev);
};

/* How a write to the output descriptor is kept from blocking. */
enum console_out {
	CONSOLE_OUT_NONE,     /* discard */
	CONSOLE_OUT_PLAIN,    /* a file: never blocks for long */
	CONSOLE_OUT_NONBLOCK, /* the descriptor has O_NONBLOCK */
	CONSOLE_OUT_SOCKET,   /* MSG_DONTWAIT */
	CONSOLE_OUT_PIPE,     /* blocking: poll, then at most PIPE_BUF bytes */
	CONSOLE_OUT_BYTES,    /* blocking terminal: poll, then one byte */
};

struct console {
	/* config */
	const struct console_ops *ops;
	struct device *dev; /* NULL: not open */
	struct vm_console *end;
	int eof; /* sent once at the end of input, or CONSOLE_NO_EOF */

	/* input */
	struct loop_fd in;
	struct timer in_timer; /* files that epoll does not take */
	u8 *in_buf;	       /* CONSOLE_IN_SIZE, touched as needed */
	size_t in_head, in_count;
	bool in_watched, in_file, in_ended, paused;

	/* output */
	struct loop_fd out; /* a descriptor of our own */
	struct timer out_timer;
	enum console_out out_kind;
	u8 *out_buf; /* CONSOLE_OUT_SIZE */
	size_t out_head, out_count;
	bool out_watched, out_armed;
};

/*
 * Attach vm->consoles[index] to dev. -EINVAL for a bad index, -ENOMEM, or the
 * errno of what could not be set up. Input starts at console_wake().
 */
int console_open(struct console *console, struct device *dev, unsigned index,
		 const struct console_ops *ops, struct err *err);
/*
 * Write what is left and let go; a zeroed struct is fine. If the guest ended by
 * itself this waits for a slow reader as any program's last write would, until
 * told to end by a signal; if the VM was told to stop, only while there is
 * progress.
 */
void console_close(struct console *console);

/* Bytes that console_write() takes now. */
size_t console_room(const struct console *console);
/* Queue len <= console_room() bytes; they leave within a millisecond. */
void console_write(struct console *console, const u8 *buf, size_t len);

/* The device has room for input again. */
void console_wake(struct console *console);

/* The VM pauses: write what can be written, hold input back. And resumes. */
void console_quiesce(struct console *console);
void console_resume(struct console *console);
