/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device is to the rest of Vireo.
 *
 * A device file has one struct with struct device first and three groups of
 * state after it:
 *   config  set at creation, never changes
 *   regs    all that the guest can observe, fixed-width types, nothing else;
 *           reset sets it, save writes it, load reads it
 *   host    descriptors, timers, lines; rebuilt, never saved
 * and ends with a const descriptor and DEVICE_TYPE(), its one registration.
 *
 * Options come as text, "key=value,key=value", from the command line or from a
 * board; the descriptor's table says which there are. "key" alone is "key=on".
 *
 * Locks: the bus, timers, the loop and the router hold dev->lock around every
 * callback here but create and destroy. Device code never locks.
 */
#pragma once

#include <pthread.h>

#include "util/err.h"
#include "util/types.h"

struct text;
struct vm;
struct device;

/* One option of a device; OPT_NUM takes what parse_u64 takes, OPT_BOOL what
 * parse_bool does. A string is the device's until it is destroyed. */
enum option_kind { OPT_NUM, OPT_BOOL, OPT_STR };

struct device_option {
	const char *name;
	enum option_kind kind;
	size_t offset;	   /* into the device struct: u64, bool or char * */
	const char *value; /* default, NULL: must be given */
	const char *help;
};

struct device_type {
	const char *name;
	const char *help; /* one line */
	size_t size;	  /* of the device struct; calloc'ed */
	const struct device_option *options; /* ends with name == NULL */

	/* The saved group: a fixed layout, checked by version and size. */
	u32 save_version;
	size_t regs_offset;
	size_t regs_size;

	/* Options are set, struct device is ready. Adds its bus regions. On
	 * failure destroy is called. */
	int (*create)(struct device *dev, struct err *err);
	void (*destroy)(struct device *dev); /* half-built is fine */
	void (*reset)(struct device *dev);   /* as the RESET pin */
	/* After regs were loaded: check them all, then rebuild host. -EINVAL
	 * refuses, and regs are as they were before. */
	int (*loaded)(struct device *dev, struct err *err);
	/* Counters for --stats: "name value", a line each. */
	void (*stats)(struct device *dev, struct text *out);
	/* Before save / when the VM pauses; and the reverse. */
	void (*quiesce)(struct device *dev);
	void (*resume)(struct device *dev);
};

struct device {
	const struct device_type *type;
	struct vm *vm;
	char id[32]; /* unique in the VM: "serial0" */
	pthread_mutex_t lock;
	struct device *next;
};

/* The registry: types only. What a machine consists of is its board's. */
#define DEVICE_TYPE(type)                                    \
	static const struct device_type *const type##_entry_ \
		__attribute__((section("device_types"), used)) = &(type)

const struct device_type *device_type_find(const char *name);
/* Iterate: pass NULL first; NULL at the end. */
const struct device_type *device_type_next(const struct device_type *prev);

/*
 * Create a device of a type, reset it and add it to vm, which owns it. Returns
 * NULL with err set. `options` may be NULL. Every type takes "id=NAME" besides
 * its own options; the default is the type's name and the first free number.
 */
struct device *device_add(struct vm *vm, const char *type, const char *options,
			  struct err *err);
void device_destroy_all(struct vm *vm); /* last created first */
void device_reset_all(struct vm *vm);
void device_quiesce_all(struct vm *vm);
void device_resume_all(struct vm *vm);
/* Counters of all devices, as text. */
void device_stats(struct vm *vm, char *buf, size_t len);
struct device *device_find(struct vm *vm, const char *id);

/* Save / load of the regs group. Load refuses another version or size. */
struct device_blob {
	u32 version;
	u32 size;
	u8 data[4096];
};
int device_save(struct device *dev, struct device_blob *blob, struct err *err);
int device_load(struct device *dev, const struct device_blob *blob,
		struct err *err);
