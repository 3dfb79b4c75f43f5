/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Solo5 "hvt" interface, version 2, on x86-64: what an image contains,
 * how it is entered, and how it calls the host. For both sides: needs only a
 * freestanding C compiler.
 *
 * Guest addresses are physical and plain 64-bit numbers here; the guest runs
 * identity-mapped, so they are its pointers too. All numbers are
 * little-endian. Everything the guest writes is hostile to the host, which
 * copies a block once and checks the copy.
 *
 * Image. ELF64, EXEC, x86-64. Loadable segments ascend, do not overlap, start
 * at HVT_IMAGE_LOW or above, begin and end on page boundaries once rounded to
 * their alignment, and none is both writable and executable. Two notes of
 * owner HVT_NOTE_OWNER, each the first note of a PT_NOTE of its own: struct
 * hvt_abi_note and struct hvt_manifest_note (vireo/hvt_image.h).
 *
 * Entry. One CPU in 64-bit mode, interrupts off and no source of any. x87 and
 * SSE are ready for use, their exceptions masked. RDI points to struct
 * hvt_boot_info, which lies with the manifest and the command line in read-only
 * memory at HVT_BOOT_INFO; RSP is 8 below the end of memory. Memory below
 * HVT_BOOT_INFO is not mapped, what the image does not fill is zero.
 *
 * Calls. OUT of 32 bits to port HVT_PORT + number; the value is the address of
 * the call's block, below 4 GiB. The host has written its results into the
 * block when the instruction after the OUT executes. Any other use of these
 * ports ends the guest.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vireo/hvt_image.h"

#define HVT_ABI_VERSION 2
#define HVT_IMAGE_LOW 0x100000 /* lowest address of a segment */
#define HVT_BOOT_INFO 0x10000  /* struct hvt_boot_info */
#define HVT_CMDLINE_MAX 8192   /* bytes, with the NUL */
#define HVT_PAGE 0x1000

/* Segment selectors that are loaded at entry. */
#define HVT_CS 0x08
#define HVT_DS 0x10

/* ---- boot information -------------------------------------------------- */

enum hvt_feature {
	HVT_FEATURE_NET_RING = 1 << 0,
};

struct hvt_boot_info {
	uint64_t mem_size;  /* bytes of usable memory, from address 0 */
	uint64_t image_end; /* first address behind the image, page aligned */
	uint64_t tsc_hz;
	uint64_t cmdline;  /* address of a NUL-terminated string */
	uint64_t manifest; /* address of struct hvt_manifest */
	/*
	 * Older hosts end here, and these read as zero: all memory starts so.
	 * A guest uses what is offered or does not; it need not say so, and
	 * cannot without making this page writable first.
	 */
	uint32_t features_offered;  /* by the host: enum hvt_feature */
	uint32_t features_accepted; /* by the guest; the host ignores it */
	uint64_t net_ring;	    /* address of struct hvt_ring, 0: none */
};

/* ---- calls ------------------------------------------------------------- */

#define HVT_PORT 0x500

enum hvt_call {
	HVT_CALL_WALLTIME = 1,
	HVT_CALL_PUTS,
	HVT_CALL_POLL,
	HVT_CALL_BLOCK_WRITE,
	HVT_CALL_BLOCK_READ,
	HVT_CALL_NET_WRITE,
	HVT_CALL_NET_READ,
	HVT_CALL_HALT,
	HVT_CALL_COUNT,
};

enum hvt_result {
	HVT_OK = 0,
	HVT_AGAIN = 1,	 /* nothing there, or no room: poll and try again */
	HVT_INVALID = 2, /* no such handle, or offset or length not possible */
	HVT_FAILED = 3,
};

struct hvt_walltime {
	uint64_t ns; /* out: UTC since 1970-01-01 */
};

struct hvt_puts {
	uint64_t data;
	uint64_t len;
};

/* Waits until a network device can be read, at most for the timeout. */
struct hvt_poll {
	uint64_t timeout_ns;
	uint64_t ready; /* out: bit n: handle n can be read */
	uint32_t count; /* out: how many bits of `ready` are set */
	uint32_t pad;
};

/*
 * Offset and length in bytes. What reaches beyond the capacity is HVT_INVALID.
 * A guest that wants to run elsewhere moves exactly one block at a multiple of
 * the block size; hosts need not check that.
 */
struct hvt_block_io {
	uint64_t handle;
	uint64_t offset;
	uint64_t data;
	uint64_t len;
	uint32_t result; /* out: enum hvt_result */
	uint32_t pad;
};

/* One Ethernet frame, without checksum. */
struct hvt_net_io {
	uint64_t handle;
	uint64_t data;
	uint64_t len;	 /* read: in: room, out: bytes of the frame */
	uint32_t result; /* out: enum hvt_result */
	uint32_t pad;
};

#define HVT_HALT_COOKIE_SIZE 512

/* Does not return. */
struct hvt_halt {
	uint64_t
		cookie; /* HVT_HALT_COOKIE_SIZE bytes for a post-mortem, or 0 */
	uint32_t status; /* the host's exit status, of which 8 bits remain */
	uint32_t pad;
};

#define HVT_STATUS_ABORT 255 /* what guests halt with when they give up */

/* ---- network ring (HVT_FEATURE_NET_RING) ------------------------------- */

/*
 * Two rings between one guest and one host thread, for frames of all network
 * devices. Indices count up freely modulo 2^32; slot = index modulo
 * HVT_RING_SLOTS. Each side writes its own cache line only:
 *
 *   guest: submit_tail   ----> submissions[] ---->  host: submit_head
 *   guest: complete_head <---- completions[] <----  host: complete_tail
 *
 * A ring is empty when head equals tail, full when tail - head is
 * HVT_RING_SLOTS. The guest publishes a submission by advancing submit_tail,
 * then passes a full fence, and if needs_kick is not 0 writes 0 with a 32-bit
 * OUT to HVT_RING_KICK_PORT. Sending has no completion; a buffer is free again
 * once submit_head has passed its slot. A receive completes with HVT_AGAIN
 * when no frame waits.
 */
#define HVT_RING_KICK_PORT 0x600
#define HVT_RING_SLOTS 1024
#define HVT_RING_FRAME_MAX 2048 /* bytes; longer frames go by call */

enum hvt_ring_op {
	HVT_RING_SEND = 1,
	HVT_RING_RECEIVE = 2,
};

struct hvt_submission {
	uint32_t op;	 /* enum hvt_ring_op */
	uint32_t handle; /* of the network device */
	uint64_t data;	 /* address of the frame's buffer */
	uint32_t len;	 /* of the frame, or of the buffer to receive into */
	uint32_t id;	 /* comes back in the completion */
	uint64_t reserved;
};

struct hvt_completion {
	uint32_t id;
	uint32_t result; /* enum hvt_result */
	uint32_t len;	 /* of the received frame */
	uint32_t reserved;
};

struct hvt_ring {
	/* written by the guest */
	uint32_t submit_tail;
	uint32_t complete_head;
	uint8_t pad0[56];
	/* written by the host */
	uint32_t submit_head;
	uint32_t complete_tail;
	uint32_t needs_kick; /* 1: the host sleeps */
	uint8_t pad1[52];

	struct hvt_submission submissions[HVT_RING_SLOTS];
	struct hvt_completion completions[HVT_RING_SLOTS];
};

/* ---- layout ------------------------------------------------------------ */

HVT_SIZE(struct hvt_boot_info, 56);
HVT_AT(struct hvt_boot_info, features_offered, 40);
HVT_AT(struct hvt_boot_info, net_ring, 48);
HVT_SIZE(struct hvt_walltime, 8);
HVT_SIZE(struct hvt_puts, 16);
HVT_SIZE(struct hvt_poll, 24);
HVT_SIZE(struct hvt_block_io, 40);
HVT_SIZE(struct hvt_net_io, 32);
HVT_SIZE(struct hvt_halt, 16);
HVT_SIZE(struct hvt_submission, 32);
HVT_SIZE(struct hvt_completion, 16);
HVT_AT(struct hvt_ring, submit_head, 64);
HVT_AT(struct hvt_ring, submissions, 128);
HVT_SIZE(struct hvt_ring, 49280);
