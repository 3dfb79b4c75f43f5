#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Solo5 unikernels, built from guest/unikernel and tests/unikernel: both
command lines, both engines where the host has two, devices that are missing or
too many, files with one field changed, the ways to break the interface, and
many starts in a row.
"""
# timeout: 120
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import BUILD, SOAK, VIREO, Checks, run, skip

SAMPLES = BUILD / "guest/unikernel"
CHECK = BUILD / "tests/unikernel/check.hvt"
FAULT = b"host/guest translation fault"
MISDEEDS = {"result-code": b"may not write itself",
            "result-beyond": b"may not write itself",
            "text-beyond": b"may not read itself",
            "call-unknown": b"Invalid guest port access",
            "port": b"Invalid guest port access: port=0x80",
            "port-read": b"bytes read",
            "halt": b"HLT"}


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
    # A jump to what is no code: KVM has no right of its own to refuse it by.
    for case in ("data", "constant", "stack", "taken"):
        got = check(f"jump-{case}")
        checks.status(f"{engine} jump {case}", 124 if engine == "bt" else 9,
                      got)
        checks.true(f"{engine} jump {case}", engine == "kvm" or
                    FAULT in got.stderr, got.stderr)
    for case, words in MISDEEDS.items():
        got = check(case)
        checks.status(f"{engine} {case}", 124, got)
        checks.true(f"{engine} {case}", words in got.stderr and
                    b"rip=0x" in got.stderr, got.stderr)
    # One exit to the host or two, as KVM pleases: there the second waits.
    if engine == "bt":
        got = check("call-twice")
        checks.status("two calls at once", 124, got)
        checks.true("two calls at once", b"another one waits" in got.stderr,
                    got.stderr)


def check_devices(checks, folder):
    disk = folder / "disk.img"
    odd = folder / "odd.img"
    disk.write_bytes(bytes(64 * 1024))
    odd.write_bytes(bytes(1000))
    (folder / "six").write_bytes(bytes(6 * 1024))
    (folder / "empty").write_bytes(b"")
    kv = SAMPLES / "store_tool.hvt"
    hello = SAMPLES / "hello.hvt"

    def refused(what, word, *args):
        got = run(["run", *args])
        checks.status(what, 2, got)
        checks.true(what, word in got.stderr, got.stderr)
        checks.same(what, b"", got.stdout)

    refused("missing", b"declared but not attached", kv)
    refused("surplus", b"not declared", hello, "--block", f"x={disk}")
    refused("wrong kind", b"not declared", kv, "--block", f"data={disk}",
            "--net", "data=tap=none0")
    refused("odd", b"must be block aligned", kv, "--block", f"data={odd}")
    refused("odd for its blocks", b"must be block aligned", kv, "--block",
            f"data={folder / 'six'},block-size=4096")
    refused("empty", b"at least 1 block", kv, "--block",
            f"data={folder / 'empty'}")
    refused("block size", b"must be a multiple of 2", kv, "--block",
            f"data={disk},block-size=1000")
    refused("twice", b"attached twice", kv, "--block", f"data={disk}",
            "--block", f"data={disk}")
    refused("one too many", b"not declared", kv, "--block", f"data={disk}",
            "--block", f"more={disk}")
    refused("a disk as network", b"not declared", kv, "--net", "data=tap=t0")
    refused("another name", b"not declared", kv, "--block", f"Data={disk}")
    refused("no name", b"1 to 67 bytes", kv, "--block", f"={disk}")
    refused("a long name", b"1 to 67 bytes", kv, "--block",
            f"{'n' * 68}={disk}")
    refused("long arguments", b"command line too long", hello, "--", "x" * 8192)
    for what, word, path in (("a folder", b"s a directory", folder),
                             ("no file", b"No such file", folder / "none"),
                             ("no disk", b"cannot be a disk", "/dev/null")):
        got = run(["run", kv, "--block", f"data={path}"])
        checks.status(what, 125, got)
        checks.true(what, word in got.stderr, got.stderr)
        checks.same(what, b"", got.stdout)
    refused("two CPUs", b"one CPU", hello, "--cpus", "2")
    refused("memory", b"2 MiB", hello, "--mem", "3m")
    refused("a Linux option", b"not for Solo5", hello, "--initrd", disk)


# ---- files with one field changed -------------------------------------------

# name: (offset, struct's letter); what is not refused has no meaning.
ELF = {"magic": (0, "I"), "class": (4, "B"), "data": (5, "B"),
       "type": (16, "H"), "machine": (18, "H"), "version": (20, "I"),
       "entry": (24, "Q"), "phoff": (32, "Q"), "shoff": (40, "Q"),
       "flags": (48, "I"), "ehsize": (52, "H"), "phentsize": (54, "H"),
       "phnum": (56, "H"), "shentsize": (58, "H"), "shnum": (60, "H"),
       "shstrndx": (62, "H")}
PROGRAM = {"type": (0, "I"), "flags": (4, "I"), "offset": (8, "Q"),
           "vaddr": (16, "Q"), "paddr": (24, "Q"), "filesz": (32, "Q"),
           "memsz": (40, "Q"), "align": (48, "Q")}
NOTE = {"owner size": (0, "I"), "size": (4, "I"), "type": (8, "I"),
        "owner": (12, "I")}
ABI = {**NOTE, "target": (20, "I"), "version": (24, "I"),
       "reserved": (28, "Q")}
MANIFEST = {**NOTE, "version": (24, "I"), "count": (28, "I"),
            "entry 0 name": (32, "B"), "entry 0 name's end": (99, "B"),
            "entry 0 type": (100, "I"), "entry 0 attached": (128, "B")}
FREE = {"elf": {"shoff", "flags", "shentsize", "shnum", "shstrndx"},
        "load": {"paddr"},
        "note": {"flags", "vaddr", "paddr", "filesz", "memsz", "align"},
        "abi": {"reserved"}, "manifest": set()}


# Without these it is no Solo5 image, but one that no other loader takes.
OTHER = ("elf magic", "elf class", "elf data", "elf phoff")


def fields(image):
    """(what, offset, letter, whether it is free) of all fields of headers and
    notes of an image. Without a segment of its data it is another program:
    what that does is no matter of the file."""
    found = [("elf", 0, ELF)]
    phoff, = struct.unpack_from("<Q", image, 32)
    count, = struct.unpack_from("<H", image, 56)
    entry, = struct.unpack_from("<Q", image, 24)
    for i in range(count):
        at = phoff + 56 * i
        kind, _, offset = struct.unpack_from("<IIQ", image, at)
        address, _, size = struct.unpack_from("<QQQ", image, at + 16)
        if kind == 1 and size:
            code = address <= entry < address + size
            found.append(("load", at, {k: v for k, v in PROGRAM.items()
                                       if code or k != "type"}))
        if kind == 4 and image[offset + 12:offset + 17] == b"Solo5":
            abi = image[offset + 8:offset + 12] == b"ABI1"
            found.append(("note", at, PROGRAM))
            found.append(("abi", offset, ABI) if abi else
                         ("manifest", offset, MANIFEST))
    for kind, base, names in found:
        for name, (offset, letter) in names.items():
            yield (f"{kind} {name} at {base + offset:#x}", base + offset,
                   letter, name in FREE[kind])


def check_bad_files(checks, folder):
    """Each field all ones: refused with a sentence before anything starts, or
    of no meaning at all."""
    good = (SAMPLES / "hello.hvt").read_bytes()
    bad = folder / "bad.hvt"
    said = run(["run", SAMPLES / "hello.hvt", "--mem", "16m"]).stdout
    count = 0
    for what, offset, letter, free in fields(good):
        image = bytearray(good)
        struct.pack_into("<" + letter, image, offset,
                         (1 << 8 * struct.calcsize(letter)) - 1)
        bad.write_bytes(image)
        count += 1
        got = run(["run", bad, "--mem", "16m"])
        refused = 125 if what.startswith(OTHER) else 2
        checks.status(what, 0 if free else refused, got)
        checks.same(what, said if free else b"", got.stdout)
        checks.same(f"{what}: lines", 0 if free else 1,
                    got.stderr.count(b"\n"))
        if not free:
            got = solo5(folder, "--mem=16", bad)
            checks.status(f"{what}, tender", 1, got)
            checks.same(f"{what}, tender", b"", got.stdout)
    checks.true("fields", count > 60, count)
    image = bytearray(good)
    last = [at for what, at, _, _ in fields(good) if "load memsz" in what][-1]
    struct.pack_into("<Q", image, last, 1 << 22)
    bad.write_bytes(image)
    got = run(["run", bad, "--mem", "4m"])
    checks.status("too little memory", 2, got)
    checks.true("too little memory", b"beyond the guest's memory of 4 MiB" in
                got.stderr, got.stderr)
    checks.status("enough", 0, run(["run", bad, "--mem", "6m"]))
    for size in (0, 1, 63, 64, 200, len(good) // 2):
        bad.write_bytes(good[:size])
        got = run(["run", bad])
        checks.true(f"{size} bytes", got.returncode in (2, 125) and
                    got.stderr and not got.stdout, got)
    bad.unlink()


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


def left_behind():
    """What a process without a network could leave."""
    pid = os.getpid()
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        children = file.read().split()
    return {"processes": set(children),
            "shared memory": {name for name in os.listdir("/dev/shm")
                              if "vireo" in name}}


def check_many(checks, engine, count):
    """Starts and stops one after the other."""
    before = left_behind()
    for _ in range(count):
        got = run(["run", "--engine", engine, SAMPLES / "hello.hvt"])
        if got.returncode:
            checks.status("one of many", 0, got)
            return
    for what, after in left_behind().items():
        checks.same(f"{engine}: {what} after {count} starts", set(),
                    after - before[what])


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
        check_bad_files(checks, folder)
        check_tender(checks, folder)
        for engine in here:
            check_many(checks, engine, 1000 if SOAK else 25)
    print(f"{time.monotonic() - started:.1f} s, {checks.failures} failures")
    return checks.failures != 0


if __name__ == "__main__":
    sys.exit(main())
