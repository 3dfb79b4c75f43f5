/* SPDX-License-Identifier: Apache-2.0 */
/* The page walk, as tlb.c uses it. */
#pragma once

#include "engine/bt/bt.h"

/* Who accesses and how; the checks of SDM vol. 3A 4.6. */
struct bt_access {
	bool write;
	bool fetch;
	bool user;     /* CPL 3, and not the CPU's own access */
	bool smap;     /* SMAP applies: no EFLAGS.AC, or implicit */
	bool no_fault; /* report instead of raising */
};

struct bt_page {
	gpa_t pa;      /* of va itself */
	bool writable; /* by this access's privilege, and dirty is set */
	bool global;
	bool large;
};

/*
 * Translate va. Raises #PF, or returns false with access->no_fault. Where it
 * sets accessed and dirty bits it may take the exclusive section, as a store
 * does (bt_code_check).
 */
bool bt_walk(struct bt_cpu *c, gva_t va, const struct bt_access *access,
	     struct bt_page *page);
