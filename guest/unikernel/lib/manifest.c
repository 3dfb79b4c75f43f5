/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest of a program that declares no devices: the linker takes this
 * file from the archive only where nothing else has defined it. */
#include "unikernel.h"

UNIKERNEL_DEVICES();
