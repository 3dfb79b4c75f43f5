#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Images that are no good, made of good ones: one line that names the file,
status 125, and no guest was started.
"""
# timeout: 120
import os
import struct

import harness


def refused(checks, what, path, args=(), said=""):
    got = harness.run(["run", "--kernel", path, "--mem", "256m", *args],
                      timeout=30)
    checks.status(what, 125, got)
    lines = got.stderr.decode(errors="replace").splitlines()
    checks.true(f"{what}: one line", len(lines) == 1, lines)
    checks.true(f"{what}: names the file and says {said!r}",
                lines and lines[0].startswith("vireo: ") and
                (said or os.path.basename(path)) in lines[0], lines)
    checks.same(f"{what}: standard output", b"", got.stdout)


def linux_images(checks, folder):
    image = bytearray((harness.GUEST / "vmlinuz").read_bytes())
    setup = (image[0x1f1] + 1) * 512

    def variant(name, data, **more):
        path = folder / name
        path.write_bytes(data)
        refused(checks, name, path, **more)

    variant("half", image[:len(image) // 2])
    variant("only-setup", image[:setup])
    variant("one-sector", image[:512])
    old = image[:]
    struct.pack_into("<H", old, 0x206, 0x0200)
    variant("boot-protocol-2.0", old)
    for offset, name in ((0x248, "payload-offset"), (0x24c, "payload-size")):
        lie = image[:]
        struct.pack_into("<I", lie, offset, 0xfffffff0)
        variant(f"lies-{name}", lie)
    refused(checks, "too little memory", harness.GUEST / "vmlinuz",
            ["--mem", "24m"])


def damaged_payload(checks, folder):
    """xz has a checksum: a flipped bit does not get into the guest."""
    image = bytearray(harness.fetched("generic",
                                      "vmlinuz-generic").read_bytes())
    image[len(image) // 2] ^= 0x10
    path = folder / "bit-flip"
    path.write_bytes(image)
    refused(checks, "bit-flip", path, said="damaged")


def initrds(checks, folder):
    kernel = harness.GUEST / "vmlinuz"
    big = folder / "big-initrd"
    with open(big, "wb") as file:
        file.truncate(400 << 20)
    refused(checks, "initrd bigger than memory", kernel, ["--initrd", big],
            said="big-initrd")
    refused(checks, "no such initrd", kernel, ["--initrd", folder / "none"],
            said="none")
    (folder / "empty").write_bytes(b"")
    refused(checks, "empty initrd", kernel, ["--initrd", folder / "empty"],
            said="empty")


def elf_images(checks, folder):
    program = bytearray(open(harness.VIREO, "rb").read())

    def variant(name, data):
        path = folder / name
        path.write_bytes(data)
        refused(checks, name, path)

    variant("a-program", program)
    arm = program[:]
    struct.pack_into("<H", arm, 18, 183)
    variant("another-machine", arm)
    variant("elf-header-only", program[:64])
    far = program[:]
    struct.pack_into("<Q", far, 32, 1 << 62)
    variant("lies-header-offset", far)
    variant("text", b"#!/bin/sh\necho hello\n" * 500)
    variant("noise", bytes((i * 7919) >> 3 & 255 for i in range(100000)))


def multiboot_images(checks, folder):
    good = harness.tiny_guest(folder / "good", b"\xf4").read_bytes()
    for offset, value, name in ((16, 0x1000000, "load-address-above-header"),
                                (20, 0xfffff000, "load-end-past-the-file"),
                                (24, 0xf0000000, "bss-past-memory"),
                                (8, 1, "checksum")):
        data = bytearray(good)
        struct.pack_into("<I", data, offset, value)
        path = folder / name
        path.write_bytes(data)
        refused(checks, name, path)


def no_files(checks, folder):
    refused(checks, "a folder", folder)
    refused(checks, "a missing file", folder / "none")
    (folder / "void").write_bytes(b"")
    refused(checks, "an empty file", folder / "void")


if __name__ == "__main__":
    harness.need_guest()
    harness.main(linux_images, damaged_payload, initrds, elf_images,
                 multiboot_images, no_files)
