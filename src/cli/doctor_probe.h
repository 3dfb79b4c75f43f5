/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the doctor asks the host. Each probe tries the thing itself, since
 * presence, version and flags say little in containers, and leaves no trace.
 */
#pragma once

#define DOCTOR_TEXT 256

struct doctor_probe {
	const char *name;
	void (*run)(char text[DOCTOR_TEXT]);
};

extern const struct doctor_probe doctor_probes[];
extern const unsigned doctor_probe_count;
