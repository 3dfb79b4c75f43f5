/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small emitter of AML, ACPI's byte code, just as wide as our DSDT.
 *
 * It appends to a fixed buffer; when that is full, `full` is set and nothing
 * more is written: callers check once at the end. Packages nest:
 *
 *     u32 dev = aml_begin_device(aml, "RTC");
 *     aml_name_eisa_id(aml, "_HID", "PNP0B00");
 *     aml_end(aml, dev);
 */
#pragma once

#include "util/types.h"

struct aml {
	u8 *data;
	u32 len, room;
	bool full;
};

/* Open a package; give the result to aml_end(). Names as in ASL, segments
 * shorter than four letters are padded. */
u32 aml_begin_scope(struct aml *aml, const char *path);
u32 aml_begin_device(struct aml *aml, const char *name);
u32 aml_begin_name_package(struct aml *aml, const char *name, u8 count);
u32 aml_begin_package(struct aml *aml, u8 count); /* inside another one */
void aml_end(struct aml *aml, u32 begin);

void aml_integer(struct aml *aml, u64 val); /* an element of a package */
void aml_name_integer(struct aml *aml, const char *name, u64 val);
void aml_name_string(struct aml *aml, const char *name, const char *val);
void aml_name_eisa_id(struct aml *aml, const char *name, const char *id);

/* Name (_CRS, ResourceTemplate () {...}); the aml_resource_* go inside. */
u32 aml_begin_resources(struct aml *aml);
void aml_end_resources(struct aml *aml, u32 begin);

void aml_resource_io(struct aml *aml, u16 base, u8 len);
void aml_resource_irq(struct aml *aml, unsigned irq); /* ISA edge, 0..15 */
void aml_resource_gsi(struct aml *aml, u32 gsi);      /* level, high, shared */
void aml_resource_memory(struct aml *aml, u32 base, u32 len);
/* Windows of a bridge, [base, base+len). */
void aml_resource_bus_window(struct aml *aml, u16 base, u16 len);
void aml_resource_io_window(struct aml *aml, u16 base, u32 len);
void aml_resource_memory_window(struct aml *aml, u64 base, u64 len);
