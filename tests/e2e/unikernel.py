#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
"""Our own unikernel library, by its samples and tests/unikernel/check.c: what
a program may do wrong, building one outside of the tree from what `make
install` installs, and a key-value store on a disk.
"""
import os
import random
import re
import signal
import socket
import subprocess
import time

from harness import BUILD, VIREO, environment, main, run, skip

SAMPLES = BUILD / "guest/unikernel"
CHECK = BUILD / "tests/unikernel/check.hvt"


def check(*args):
    return run(["run", CHECK, "--mem", "16m", "--", *args])


# ---- the library ----------------------------------------------------------

def library(checks, _):
    got = check("args", "a", "b")
    checks.status("args", 4, got)
    checks.same("args", b"0:unikernel\n1:args\n2:a\n3:b\n4:(end)\n",
                got.stdout)
    checks.status("status", 200, check("status", "200"))
    for case in ("memory", "text", "time"):
        checks.status(case, 0, check(case))
    got = check("text")
    checks.same("cut at print()'s room", b"y" * 255, got.stdout)
    now = int(check("time").stdout)
    checks.true("wall time", abs(now - time.time()) < 30, now)
    quiet = run(["run", SAMPLES / "hello.hvt", "--", "-q"])
    checks.status("quiet", 0, quiet)
    checks.same("quiet", b"", quiet.stdout)


def faults(checks, _):
    for case, words in {
            "null": rb"page fault.*a read from 0x0: a null pointer\?.*rax",
            "overflow": rb"page fault.*a write to 0xf\w{4}: stack overflow",
            "divide": rb"divide error \(vector 0,.*rip",
            "opcode": rb"invalid opcode \(vector 6,.*stack",
            "smash": rb"panic: a function wrote beyond its stack frame\n$",
            "panic": rb"^panic: as asked\n$",
            "abort": rb"^$"}.items():
        got = check(case)
        checks.status(case, 255, got)
        checks.true(case, re.search(words, got.stdout, re.S), got.stdout)


# ---- outside of the tree --------------------------------------------------

PROGRAM = """
#include <unikernel.h>

UNIKERNEL_DEVICES(UNIKERNEL_BLOCK("first"), UNIKERNEL_BLOCK("second"));

int main(int argc, char **argv)
{
	struct block a, b;
	static char sector[512];

	if (!block_open(&a, "first") || !block_open(&b, "second") ||
	    block_open(&a, "third"))
		return 1;
	if (!block_read(&b, 512, sector, 512) ||
	    !block_write(&a, 0, sector, 512))
		return 2;
	/* What cannot be is refused, not done. */
	if (block_read(&a, a.capacity, sector, 512) ||
	    block_read(&a, 1, sector, 512) || block_read(&a, 0, sector, 100))
		return 3;
	print("%lu of %u, %s\\n", b.capacity, b.block_size, argv[1]);
	return 0;
}
"""
MAKEFILE = """
include {}/unikernel.mk
app.hvt: app.o
"""


def install(checks, folder):
    """What `make install` lays down, into a prefix of the test's own."""
    prefix = folder / "prefix"
    env = {**os.environ, "DESTDIR": str(folder / "staging")}
    done = subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild",
                           "--quiet"], env=env, check=False,
                          capture_output=True)
    checks.status("meson install", 0, done)
    found = list((folder / "staging").rglob("unikernel.mk"))
    checks.same("unikernel.mk", 1, len(found))
    if not found:
        return None
    os.rename(found[0].parent, prefix)
    return prefix


def outside(checks, folder):
    lib = install(checks, folder)
    if not lib:
        return
    app = folder / "app"
    app.mkdir()
    (app / "app.c").write_text(PROGRAM)
    (app / "Makefile").write_text(MAKEFILE.format(lib))
    done = subprocess.run(["make", "-C", app, "app.hvt"], check=False,
                          capture_output=True)
    checks.status("make", 0, done)
    (folder / "a").write_bytes(bytes(1024))
    (folder / "b").write_bytes(bytes(512) + b"second" * 85 + b"..")
    got = run(["run", app / "app.hvt", "--block", f"first={folder}/a",
               "--block", f"second={folder}/b", "--", "word"])
    checks.status("app", 0, got)
    checks.same("app", b"1024 of 512, word\n", got.stdout)
    checks.true("app's disk", (folder / "a").read_bytes()[:6] == b"second",
                (folder / "a").read_bytes()[:6])
    # The installed samples, as they are.
    makefile = (lib / "samples/Makefile").read_text()
    makefile = re.sub(r"(?m)^include .*/unikernel.mk",
                      f"include {lib}/unikernel.mk", makefile)
    (lib / "samples/Makefile").write_text(makefile)
    done = subprocess.run(["make", "-C", lib / "samples"], check=False,
                          capture_output=True)
    checks.status("samples", 0, done)
    got = run(["run", lib / "samples/hello.hvt"])
    checks.same("hello", b"Hello, world\n", got.stdout)


# ---- the store, without a network -----------------------------------------

def store(checks, folder):
    disk = folder / "kv.img"
    disk.write_bytes(bytes(64 * 1024))

    def tool(*words):
        return run(["run", SAMPLES / "store_tool.hvt", "--mem", "16m",
                    "--block", f"data={disk}", "--", *words])

    got = tool("set", "color", "dark", "blue", ",", "get", "color", ",",
               "count")
    checks.same("set", b"OK\nVALUE dark blue\nCOUNT 1\n", got.stdout)
    # Many more changes than an area holds.
    for i in range(8):
        words = []
        for j in range(20):
            words += ["set", f"k{j}", f"{i}-{j}", ","]
        checks.same("fill", b"OK\n" * 20, tool(*words).stdout)
    got = tool("get", "k7", ",", "get", "color", ",", "del", "k7", ",",
               "get", "k7")
    checks.same("after", b"VALUE 7-7\nVALUE dark blue\nOK\nNONE\n",
                got.stdout)
    checks.true("keys", tool("keys").stdout.endswith(b"END\n"), "no END")
    foreign = b"somebody else's." * 4096
    disk.write_bytes(foreign)
    checks.status("a foreign disk", 1, tool("count"))
    checks.true("a foreign disk", disk.read_bytes() == foreign, "written to")


if __name__ == "__main__":
    if not CHECK.exists():
        skip("a build without unikernels")
    main(library, faults, outside, store)
