#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Solo5 unikernels, built from guest/unikernel and tests/unikernel: both
command lines, both engines where the host has two, devices that are missing or
too many, the ways to break the interface, and many starts in a row.
"""
# timeout: 120
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import BUILD, SOAK, VIREO, Checks, run, skip

SAMPLES = BUILD / "guest/unikernel"
CHECK = BUILD / "tests/unikernel/check.hvt"
FAULT = b"host/guest translation fault"


def engines():
    """bt, and kvm where it runs at all."""
    got = run(["run", "--engine", "kvm", SAMPLES / "hello.hvt"])
    return ["bt", "kvm"] if not got.returncode else ["bt"]


def solo5(folder, *args):
    link = folder / "solo5-hvt"
    if not link.exists():
        link.symlink_to(Path(VIREO).resolve())
    return subprocess.run([link, *map(str, args)], check=False,
                          capture_output=True, timeout=60,
                          stdin=subprocess.DEVNULL)


def check_ends(checks, engine):
    """The guest's own status, and what the host says to its misdeeds."""
    def check(*args):
        return run(["run", "--engine", engine, CHECK, "--", *args])

    got = run(["run", "--engine", engine, SAMPLES / "hello.hvt", "--", "you"])
    checks.status(f"{engine} hello", 0, got)
    checks.true(f"{engine} hello", b"you" in got.stdout, got.stdout)
    checks.status(f"{engine} status", 7, check("status", "7"))
    checks.status(f"{engine} null", 255, check("null"))
    checks.status(f"{engine} divide", 255, check("divide"))
    for case in ("code", "constant"):
        got = check(case)
        checks.status(f"{engine} {case}", 124, got)
        checks.true(f"{engine} {case}", FAULT in got.stderr and
                    b"rip=0x" in got.stderr, got.stderr)


def check_devices(checks, folder):
    disk = folder / "disk.img"
    odd = folder / "odd.img"
    disk.write_bytes(bytes(64 * 1024))
    odd.write_bytes(bytes(1000))
    kv = SAMPLES / "store_tool.hvt"
    hello = SAMPLES / "hello.hvt"

    def refused(what, word, *args):
        got = run(["run", *args])
        checks.status(what, 2, got)
        checks.true(what, word in got.stderr, got.stderr)

    refused("missing", b"declared but not attached", kv)
    refused("surplus", b"not declared", hello, "--block", f"x={disk}")
    refused("wrong kind", b"not declared", kv, "--block", f"data={disk}",
            "--net", "data=tap=none0")
    refused("odd", b"must be block aligned", kv, "--block", f"data={odd}")
    refused("two CPUs", b"one CPU", hello, "--cpus", "2")
    refused("memory", b"2 MiB", hello, "--mem", "3m")
    refused("a Linux option", b"not for Solo5", hello, "--initrd", disk)


def check_tender(checks, folder):
    hello = SAMPLES / "hello.hvt"
    checks.status("tender", 0, solo5(folder, "--mem=64", "--", hello, "a"))
    checks.status("abort", 255, solo5(folder, CHECK, "null"))
    checks.status("status", 42, solo5(folder, CHECK, "status", "42"))
    for what, word, *args in (
            ("fault", FAULT, CHECK, "code"),
            ("option", b"Invalid option", "--bogus", hello),
            ("mem", b"Malformed", "--mem=x", hello),
            ("size", b"must be a multiple of 2",
             "--block-sector-size:d=521", hello),
            ("surplus", b"not declared", "--block:d=/dev/null", hello),
            ("none", b"Missing KERNEL"),
            ("another file", b"ELF", __file__)):
        got = solo5(folder, *args)
        checks.status(what, 1, got)
        checks.true(what, word in got.stderr, got.stderr)
    got = solo5(folder, f"--dumpcore={folder}", CHECK, "null")
    checks.status("core", 255, got)
    cores = list(folder.glob("core.solo5-hvt.*"))
    checks.same("cores", 1, len(cores))
    if cores:
        checks.same("a core's type", b"\x04\x00",
                    cores[0].read_bytes()[16:18])


def check_disk(checks, engines_here, folder):
    """What one engine's guest writes the other's reads."""
    disk = folder / "kv.img"
    disk.write_bytes(bytes(1 << 20))
    tool = [SAMPLES / "store_tool.hvt", "--block", f"data={disk}"]
    for engine in engines_here:
        got = run(["run", "--engine", engine, *tool, "--", "set", engine, "x"])
        checks.status(f"{engine} set", 0, got)
    for engine in engines_here:
        for key in engines_here:
            got = run(["run", "--engine", engine, *tool, "--", "get", key])
            checks.same(f"{engine} get {key}", b"VALUE x\n",
                        got.stdout[-8:])


def check_many(checks):
    """Starts and stops one after the other, and nothing in /dev/shm."""
    before = len(os.listdir("/dev/shm"))
    for _ in range(1000 if SOAK else 50):
        got = run(["run", "--engine", "bt", SAMPLES / "hello.hvt"])
        if got.returncode:
            checks.status("one of many", 0, got)
            return
    checks.same("/dev/shm", before, len(os.listdir("/dev/shm")))


def main():
    if not CHECK.exists() or not (SAMPLES / "hello.hvt").exists():
        skip("no unikernels in this build")
    checks = Checks()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        here = engines()
        for engine in here:
            check_ends(checks, engine)
        check_disk(checks, here, folder)
        check_devices(checks, folder)
        check_tender(checks, folder)
        check_many(checks)
    print(f"{time.monotonic() - started:.1f} s, {checks.failures} failures")
    return checks.failures != 0


if __name__ == "__main__":
    sys.exit(main())
