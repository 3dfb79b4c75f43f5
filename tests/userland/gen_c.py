#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a C program of some thousand lines, always the same one for the same
arguments: gen_c.py FUNCTIONS SEED. Each function is made of statements that a
compiler has work with (loops, switches, tables, floating point, structures);
main() calls them all and prints what they return. Nothing in it is undefined:
unsigned arithmetic, shifts below the width, divisors with the lowest bit set,
indices masked.
"""
import random
import re
import sys

HEAD = """\
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
	struct node *next;
	uint32_t key;
	double weight;
	char name[12];
};

static uint32_t table[256];
static struct node nodes[64];
"""

# Pieces of a function's body, an empty line between two. N is small, K has
# three or four digits, S is a shift, ODD is odd: drawn anew for each piece.
PIECES = """\
	for (i = 0; i < N; i++)
		a = a * ODDu + (table[(a >> S) & 255] ^ b);

	for (i = 0; i < N; i++)
		table[(i * ODDu + Ku) & 255] += a >> (i & 15);

	switch (a % Nu) {
	case 0:
		b += Ku;
		break;
	case 1:
		b ^= a << S;
		break;
	case 2:
		a = (a << S) | (a >> (32 - S));
		break;
	case Nu / 2 + 3:
		x -= b;
		break;
	default:
		x += a % Ku;
		break;
	}

	x = x * 0.K + (double)(a & 0xffff) / ODD;

	a += b / ((a & Ku) | 1);

	b ^= (uint32_t)((uint64_t)a * ODDu >> S);

	for (p = &nodes[a & 63], i = 0; p && i < N; p = p->next, i++)
		b += p->key, x += p->weight;

	nodes[b & 63].key = a, nodes[a & 63].weight = x / N;

	snprintf(nodes[N].name, 12, "%x", a);
	b += (uint32_t)strlen(nodes[N].name);

	s = (int32_t)(a & 0x7fff) - N;
	a += (uint32_t)(s < 0 ? -s * 3 : s / N);

	memmove(&table[N], &table[S], N * sizeof(*table));

	f = (float)(a & 1023) * 0.Kf, x += f * f;
""".split("\n\n")


def function(number, draw):
    body = []
    for _ in range(draw.randrange(5, 14)):
        drawn = {"N": draw.randrange(4, 60), "K": draw.randrange(100, 9999),
                 "S": draw.randrange(1, 31),
                 "ODD": draw.randrange(3, 99999) | 1}
        body.append(re.sub(r"\b(N|K|S|ODD)(?=u?f?\b)",
                           lambda found: str(drawn[found.group()]),
                           draw.choice(PIECES).rstrip("\n")) + "\n")
    if number:
        callee = draw.randrange(max(0, number - 5), number)
        body.append(f"\tif (depth > 0)\n\t\ta ^= work{callee}"
                    "(b, a, depth - 1);\n")
    return (f"\nstatic uint32_t work{number}(uint32_t a, uint32_t b, "
            "int depth)\n{\n\tstruct node *p;\n\tdouble x = a;\n"
            "\tfloat f;\n\tuint32_t i;\n\tint32_t s;\n\n"
            + "".join(body) +
            "\t(void)p, (void)f, (void)i, (void)s;\n"
            "\tif (x > 1e9 || x < -1e9)\n\t\tx = b;\n"
            "\treturn a ^ b ^ (uint32_t)(int64_t)(x * 16);\n}\n")


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    draw = random.Random(seed)
    print(HEAD, end="")
    for number in range(count):
        print(function(number, draw), end="")
    print("\nint main(void)\n{\n\tuint32_t sum = 1;\n\n"
          "\tfor (uint32_t i = 0; i < 256; i++)\n"
          "\t\ttable[i] = i * 2654435761u;\n"
          "\tfor (uint32_t i = 0; i < 63; i++)\n"
          "\t\tnodes[i].next = &nodes[i + 1], nodes[i].key = i;")
    for number in range(count):
        print(f"\tsum = work{number}(sum, {number}, 3);")
        if number % 8 == 7:
            print('\tprintf("%u\\n", sum);')
    print('\tprintf("%u\\n", sum);\n\treturn 0;\n}')


if __name__ == "__main__":
    main()
