/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unikernel in C: one program that is its own operating system, on the hvt
 * interface (vireo/hvt_abi.h). No C library, no interrupts, one CPU, all
 * memory identity-mapped. docs/writing-unikernels.md is the guide.
 *
 * The program is `int main(int argc, char **argv)`; what it returns is the exit
 * status of `vireo run`, 8 bits of it. argv[0] is "unikernel", the rest are the
 * words behind the image's name, separated by spaces. A CPU exception, a
 * smashed stack, an overflow of the stack and abort() print what happened and
 * end with HVT_STATUS_ABORT (255).
 *
 * Nothing here allocates, and nothing fails silently: a function that can fail
 * says so by its value, and a bad argument is a failure, not a fault.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vireo/hvt_abi.h>

/* ---- devices ----------------------------------------------------------- */

/*
 * The devices that a program wants, once, at file scope:
 *
 *	UNIKERNEL_DEVICES(UNIKERNEL_BLOCK("data"), UNIKERNEL_NET("service"));
 *
 * The host must attach each of them by that name, or does not start the
 * program. A program without devices declares nothing.
 */
#define UNIKERNEL_BLOCK(name) UNIKERNEL_ENTRY(name, HVT_ENTRY_BLOCK)
#define UNIKERNEL_NET(name) UNIKERNEL_ENTRY(name, HVT_ENTRY_NET)

/* A name that does not fit is an array of negative size. */
#define UNIKERNEL_ENTRY(text, kind)                                           \
	{                                                                     \
		.name = text,                                                 \
		.type = (kind) +                                              \
			0 * sizeof(char[sizeof(text) <= HVT_NAME_SIZE ? 1     \
								      : -1]), \
	}

#define UNIKERNEL_COUNT(...)                                             \
	(sizeof((struct hvt_manifest_entry[]){{.type = HVT_ENTRY_FIRST}, \
					      ##__VA_ARGS__}) /          \
	 sizeof(struct hvt_manifest_entry))

#define UNIKERNEL_DEVICES(...)                                                \
	extern const struct unikernel_manifest unikernel_manifest;            \
	struct unikernel_manifest {                                           \
		struct hvt_note note;                                         \
		uint32_t pad, version, count;                                 \
		struct hvt_manifest_entry                                     \
			entries[UNIKERNEL_COUNT(__VA_ARGS__)];                \
	};                                                                    \
	_Static_assert(UNIKERNEL_COUNT(__VA_ARGS__) <= HVT_ENTRIES_MAX,       \
		       "more devices than a manifest holds");                 \
	const struct unikernel_manifest unikernel_manifest __attribute__((    \
		section(".note.unikernel.manifest"), aligned(8), used)) = {   \
		{sizeof(HVT_NOTE_OWNER),                                      \
		 sizeof(struct unikernel_manifest) - sizeof(struct hvt_note), \
		 HVT_NOTE_MANIFEST, HVT_NOTE_OWNER},                          \
		0,                                                            \
		HVT_MANIFEST_VERSION,                                         \
		UNIKERNEL_COUNT(__VA_ARGS__),                                 \
		{{.type = HVT_ENTRY_FIRST}, ##__VA_ARGS__},                   \
	}

/* ---- program ----------------------------------------------------------- */

/* End at once, with this status (8 bits). */
__attribute__((noreturn)) void exit(int status);

/* Ends with HVT_STATUS_ABORT. */
__attribute__((noreturn)) void abort(void);

/* Prints "panic: " and the text, then abort(). */
__attribute__((noreturn, format(printf, 1, 2))) void panic(const char *fmt,
							   ...);

/*
 * Takes `len` bytes of the memory behind the image: zeroed, at a multiple of
 * `align` (a power of two), for good. NULL where there is not that much, or
 * `align` is none.
 */
void *memory_take(size_t len, size_t align);

/* What memory_take() has left, in bytes. */
size_t memory_left(void);

/* ---- console ----------------------------------------------------------- */

/* To the host's standard output. There is no input. */
void console_write(const void *data, size_t len);

/*
 * Formatted: %d %i %u %x %c %s %p %%, with l, ll or z, a width, 0 and -, and a
 * precision for %s. One call to the host for up to 256 bytes.
 */
__attribute__((format(printf, 1, 2))) void print(const char *fmt, ...);

/* ---- time -------------------------------------------------------------- */

/* Nanoseconds since some moment before main(); never goes back. */
uint64_t time_monotonic(void);

/* Nanoseconds since 1970-01-01 UTC, as the host has it. */
uint64_t time_wall(void);

/*
 * Waits until a network device has a frame, at most until time_monotonic() is
 * `deadline`. Bit n of the result: the device with handle n has one. Without
 * network devices it is a sleep.
 */
uint64_t wait_until(uint64_t deadline);

/*
 * The CPU's random numbers where it has them; else only the time, which is not
 * the same twice, but no secret.
 */
uint64_t random_number(void);

/* ---- block ------------------------------------------------------------- */

struct block {
	uint32_t handle;
	uint32_t block_size; /* bytes, a power of two, at least 512 */
	uint64_t capacity;   /* bytes, a multiple of block_size */
};

/* The declared device of that name. False: there is none. */
bool block_open(struct block *block, const char *name);

/*
 * Offset and length in bytes, multiples of the block size, within the
 * capacity. Blocks are moved one by one, in ascending order; false where a
 * request is not possible or the host failed, and then the blocks before the
 * failing one have been moved.
 *
 * When a write has returned, the host's kernel has the data: it outlives the
 * program and the monitor. The interface has no flush, so whether it outlives
 * the host is the host's choice when it attaches the disk.
 */
bool block_read(const struct block *block, uint64_t off, void *data,
		size_t len);
bool block_write(const struct block *block, uint64_t off, const void *data,
		 size_t len);

/* ---- network ----------------------------------------------------------- */

#define NET_HEADER 14 /* bytes of an Ethernet header */

struct net {
	uint32_t handle;
	uint16_t mtu; /* bytes behind the Ethernet header */
	uint8_t mac[6];
};

bool net_open(struct net *net, const char *name);

/* A whole Ethernet frame, 14 to mtu + 14 bytes. False: it did not go out. */
bool net_send(const struct net *net, const void *frame, size_t len);

/*
 * The next frame that waits: its length, or 0 where none does or the host
 * failed. `room` should be mtu + 14 at least: longer frames are cut.
 */
size_t net_receive(const struct net *net, void *frame, size_t room);

/* ---- text and memory --------------------------------------------------- */

/* As in C. */
void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *to, int value, size_t len);
int memcmp(const void *a, const void *b, size_t len);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t len);
char *strchr(const char *text, int c);

/*
 * As print(), to a buffer of `room` bytes, ended by a NUL where room is not 0.
 * The length that the whole text has.
 */
__attribute__((format(printf, 3, 4))) size_t format(char *to, size_t room,
						    const char *fmt, ...);

/* A decimal number that is all of `text`, at most `max`. */
bool parse_number(const char *text, uint64_t max, uint64_t *val);
