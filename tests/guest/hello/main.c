/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest guest: it starts, prints, and ends with a status of its own. */
#include "expect.h"
#include "print.h"

int main(void)
{
	print("hello, world\n");
	print("%s %c %d %u %x %lx %llx %%\n", "text", 'c', -5, 5u, 0xabcu,
	      0xdeful, 0x123456789abcdefull);
	guest_exit(option_number("exit", 21));
}
