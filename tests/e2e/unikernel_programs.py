#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
"""Programs against the installed unikernel library that want more than its
samples do: all the devices that a manifest holds, blocks of 4,096 bytes,
floating point, a segment base for thread-local data.
"""
import subprocess

from harness import main, run, skip
from hvt import CHECK, engines
from unikernel import MAKEFILE, install

DEVICES = 63
SECTOR = 4096

MANY = """
#include <unikernel.h>

UNIKERNEL_DEVICES(DEVICE_LIST);

static uint8_t sector[4096];

int main(int argc, char **argv)
{
	struct block block;
	char name[16];

	for (unsigned i = 0; i < 63; i++) {
		format(name, sizeof(name), "disk%u", i);
		if (!block_open(&block, name))
			return 1;
		if (block.block_size != 4096 || block.capacity != 8192)
			return 2;
		if (!block_read(&block, 4096, sector, 4096))
			return 3;
		if (sector[0] != i || sector[4095] != i)
			return 4;
		sector[0] = (uint8_t)(i + 100);
		if (!block_write(&block, 0, sector, 4096))
			return 5;
		/* Half a block is none. */
		if (block_read(&block, 512, sector, 512))
			return 6;
	}
	return block_open(&block, "disk63");
}
"""

# Each result is exact in binary.
FLOATING = """
#include <unikernel.h>

static volatile double one = 1.0, third = 3.0;
static volatile float quarter = 0.25f;

static double power(double x, int n)
{
	double y = one;

	while (n--)
		y *= x;
	return y;
}

int main(int argc, char **argv)
{
	typedef float four __attribute__((vector_size(16)));
	four a = {1, 2, 3, 4}, b = {quarter, quarter, quarter, quarter};
	double root;
	long double wide = one;

	if (power(one + one, 40) != 1099511627776.0)
		return 1;
	if ((uint64_t)(one / third * 1e15) != 333333333333333)
		return 2;
	a = a * b + a;
	if (a[0] != 1.25f || a[3] != 5.0f)
		return 3;
	root = power(third, 2) + 16;
	__asm__("sqrtsd %0, %0" : "+x"(root));
	if (root != 5)
		return 4;
	/* 64 bits of fraction, in the x87. */
	wide = wide + 0x1p-63L;
	if (wide == 1 || wide - 1 != 0x1p-63L)
		return 5;
	print("exact\\n");
	return 0;
}
"""

LOCAL = """
#include <unikernel.h>

static uint64_t block[4] = {11, 22, 33, 44};

static void set_base(const void *base)
{
	uint64_t at = (uint64_t)base;

	__asm__ volatile("wrmsr" : : "c"(0xc0000100), "a"((uint32_t)at),
			 "d"((uint32_t)(at >> 32)));
}

int main(int argc, char **argv)
{
	uint64_t a, b;

	set_base(block);
	__asm__ volatile("mov %%fs:0, %0" : "=r"(a));
	__asm__ volatile("mov %%fs:24, %0" : "=r"(b));
	__asm__ volatile("movq $55, %%fs:8" : : : "memory");
	if (a != 11 || b != 44 || block[1] != 55)
		return 1;
	set_base(block + 2);
	__asm__ volatile("mov %%fs:-8, %0" : "=r"(a));
	return a != 55;
}
"""


def build(checks, folder, lib, name, source, *more):
    """NAME.hvt, or None."""
    place = folder / name
    place.mkdir()
    (place / "app.c").write_text(source)
    (place / "Makefile").write_text(MAKEFILE.format(lib))
    done = subprocess.run(["make", "-C", place, *more, "app.hvt"],
                          check=False, capture_output=True)
    checks.status(f"make {name}", 0, done)
    return None if done.returncode else place / "app.hvt"


def programs(checks, folder):
    lib = install(checks, folder)
    if not lib:
        return
    here = engines()
    names = [f"disk{i}" for i in range(DEVICES)]

    def listed(names):
        return MANY.replace("DEVICE_LIST", ", ".join(
            f'UNIKERNEL_BLOCK("{n}")' for n in names))

    many = build(checks, folder, lib, "many", listed(names))
    local = build(checks, folder, lib, "local", LOCAL)
    floating = build(checks, folder, lib, "floating", FLOATING,
                     "UNIKERNEL_FPU=yes")
    for engine in here:
        attach = []
        for i, name in enumerate(names):
            path = folder / name
            path.write_bytes(bytes(SECTOR) + bytes([i]) * SECTOR)
            attach += ["--block", f"{name}={path},block-size={SECTOR}"]
        checks.status(f"{engine} 63 disks", 0,
                      run(["run", "--engine", engine, many, *attach]))
        wrong = [n for i, n in enumerate(names)
                 if (folder / n).read_bytes()[0] != i + 100]
        checks.same(f"{engine} written", [], wrong)
        got = run(["run", "--engine", engine, many, *attach[:-2]])
        checks.status(f"{engine} 62 of 63", 2, got)
        checks.true(f"{engine} 62 of 63", b"'disk62'" in got.stderr,
                    got.stderr)
        checks.status(f"{engine} FS base", 0,
                      run(["run", "--engine", engine, local]))
    # A KVM that is emulated may lack SSE in ring 0: real ones are the lab's.
    got = run(["run", "--engine", "bt", floating])
    checks.status("floating point", 0, got)
    checks.same("floating point", b"exact\n", got.stdout)
    # One more than a manifest holds does not compile.
    place = folder / "over"
    place.mkdir()
    (place / "app.c").write_text(listed([*names, "more"]))
    (place / "Makefile").write_text(MAKEFILE.format(lib))
    done = subprocess.run(["make", "-C", place, "app.hvt"], check=False,
                          capture_output=True)
    checks.true("64 devices", done.returncode and
                b"more devices than a manifest holds" in done.stderr,
                done.stderr)


if __name__ == "__main__":
    if not CHECK.exists():
        skip("a build without unikernels")
    main(programs)
