/* SPDX-License-Identifier: Apache-2.0 */
/* Device "guest-ready": the default guest's word that its console is set. */
#pragma once

struct device;

/* Readable once the guest has written. Lives as long as the device. */
int guest_ready_fd(struct device *dev);
