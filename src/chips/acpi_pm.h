/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI power management: what others than the guest do to it. */
#pragma once

struct device;

/*
 * Press the power button: the guest hears of it by SCI and shuts itself down,
 * if it listens. Any thread, device lock not held.
 */
void acpi_pm_power_button(struct device *dev);
