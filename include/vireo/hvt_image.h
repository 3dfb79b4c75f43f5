/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Solo5 "hvt" image says about itself: its two notes, of which the
 * second is the list of the devices it wants. See vireo/hvt_abi.h.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* ---- notes ------------------------------------------------------------- */

#define HVT_NOTE_OWNER "Solo5"

enum hvt_note_type {
	HVT_NOTE_ABI = 0x31494241,	/* "ABI1" */
	HVT_NOTE_MANIFEST = 0x3154464d, /* "MFT1" */
};

/* Which host an image is linked for; Vireo runs HVT_TARGET_HVT. */
enum hvt_target {
	HVT_TARGET_HVT = 1,
	HVT_TARGET_SPT,
	HVT_TARGET_VIRTIO,
	HVT_TARGET_MUEN,
	HVT_TARGET_GENODE,
	HVT_TARGET_XEN,
};

struct hvt_note {
	uint32_t owner_size; /* 6: the owner's name and its NUL */
	uint32_t desc_size;  /* of all that follows `owner` */
	uint32_t type;	     /* enum hvt_note_type */
	char owner[8];	     /* HVT_NOTE_OWNER, padded with zeroes */
};

struct hvt_abi_note {
	struct hvt_note note; /* desc_size 16 */
	uint32_t target;      /* enum hvt_target */
	uint32_t version;     /* HVT_ABI_VERSION */
	uint32_t reserved[2]; /* 0 */
};

/* ---- manifest ---------------------------------------------------------- */

/*
 * The devices an image wants, by name. A device's handle in calls is its
 * entry's index, so entry 0, which must be HVT_ENTRY_FIRST with an empty name,
 * has none. The file holds names and types only; the host attaches a back end
 * to every entry or does not start, fills in the properties and hands the
 * manifest to the guest.
 */
#define HVT_MANIFEST_VERSION 1
#define HVT_ENTRIES_MAX 64 /* entry 0 included */
#define HVT_NAME_SIZE 68   /* bytes, with the NUL */

enum hvt_entry_type {
	HVT_ENTRY_BLOCK = 1,
	HVT_ENTRY_NET = 2,
	HVT_ENTRY_FIRST = 0x40000000,
};

struct hvt_block_properties {
	uint64_t capacity;   /* bytes, a multiple of block_size */
	uint16_t block_size; /* bytes, a power of two, at least 512 */
	uint8_t pad[6];
};

struct hvt_net_properties {
	uint8_t mac[6];
	uint16_t mtu; /* bytes of payload behind a 14-byte Ethernet header */
	uint8_t pad[8];
};

struct hvt_manifest_entry {
	char name[HVT_NAME_SIZE]; /* NUL-terminated */
	uint32_t type;		  /* enum hvt_entry_type */
	union {
		struct hvt_block_properties block;
		struct hvt_net_properties net;
	};
	uint64_t host;	  /* the host's own; 0 for the guest */
	uint8_t attached; /* 0 in the file, 1 for the guest */
	uint8_t pad[7];
};

struct hvt_manifest {
	uint32_t version; /* HVT_MANIFEST_VERSION */
	uint32_t count;	  /* of entries, 1 to HVT_ENTRIES_MAX */
	struct hvt_manifest_entry entries[];
};

/* The padding that aligns the manifest to 8 counts in desc_size. */
struct hvt_manifest_note {
	struct hvt_note note;
	uint32_t pad;
	/* from here on struct hvt_manifest, flat so that it can be declared */
	uint32_t version;
	uint32_t count;
	struct hvt_manifest_entry entries[];
};

/* desc_size of a manifest note with `count` entries. */
#define HVT_MANIFEST_DESC_SIZE(count) \
	(4 + 8 + (count) * sizeof(struct hvt_manifest_entry))

/* ---- layout ------------------------------------------------------------ */

#define HVT_AT(type, field, at)                       \
	_Static_assert(offsetof(type, field) == (at), \
		       "the interface fixes where this field is")
#define HVT_SIZE(type, size)                                               \
	_Static_assert(sizeof(type) == (size), "the interface fixes this " \
					       "size")

HVT_SIZE(struct hvt_note, 20);
HVT_SIZE(struct hvt_abi_note, 36);
HVT_AT(struct hvt_abi_note, target, 20);
HVT_AT(struct hvt_manifest_note, version, 24);
HVT_AT(struct hvt_manifest_note, entries, 32);
HVT_SIZE(struct hvt_manifest, 8);
HVT_SIZE(struct hvt_manifest_entry, 104);
HVT_AT(struct hvt_manifest_entry, type, 68);
HVT_AT(struct hvt_manifest_entry, block.capacity, 72);
HVT_AT(struct hvt_manifest_entry, block.block_size, 80);
HVT_AT(struct hvt_manifest_entry, net.mac, 72);
HVT_AT(struct hvt_manifest_entry, net.mtu, 78);
HVT_AT(struct hvt_manifest_entry, host, 88);
HVT_AT(struct hvt_manifest_entry, attached, 96);
