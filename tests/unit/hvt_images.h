/* SPDX-License-Identifier: Apache-2.0 */
/* A good Solo5 hvt image, small enough to change every field of. */
#pragma once

#include <elf.h>

#include "boot/hvt.h"

enum { HVT_IMAGE_HEADERS = 5 };

struct hvt_test_image {
	Elf64_Ehdr elf;
	Elf64_Phdr headers[HVT_IMAGE_HEADERS]; /* code, data, three notes */
	struct hvt_note decoy;
	u32 decoy_data;
	struct hvt_abi_note abi;
	u32 pad;
	struct {
		struct hvt_note note;
		u32 pad;
		u32 version, count;
		struct hvt_manifest_entry entries[3]; /* first, disk, net */
	} manifest;
	u8 code[64], data[64];
};

void hvt_test_image(struct hvt_test_image *image);
