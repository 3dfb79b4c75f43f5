/* SPDX-License-Identifier: Apache-2.0 */
/* The DSDT's body: which devices the guest finds through ACPI. */
#pragma once

#include "boot/acpi.h"
#include "boot/aml.h"

void dsdt_build(struct aml *aml, const struct acpi_config *config);
