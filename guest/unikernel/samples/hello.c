/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest unikernel: one line, then the end.
 *
 *	vireo run hello.hvt [-- [-q] [NAME]]
 *
 * With -q it prints nothing: what is left is the cost of starting and ending.
 */
#include <unikernel.h>

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "-q"))
		return 0;
	print("Hello, %s\n", argc > 1 ? argv[1] : "world");
	return 0;
}
