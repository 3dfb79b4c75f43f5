/* SPDX-License-Identifier: Apache-2.0 */
/* Modes; see modes.h. */
#include "modes.h"

int main(void)
{
	test_real();
	test_width();
	return 0;
}
