#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Devices on virtio in the default guest: drivers of Debian's kernel find
them, and they work.

  tests/e2e/virtio.py --list      timeout and name of each case
  tests/e2e/virtio.py NAME        one case
"""
# lists cases
from harness import COMPLAINTS, main_cases, need_guest, run


def guest(checks, what, options, script, want):
    """Runs a script in the guest, which says what `want` is, and no more."""
    got = run(["run", *options, "--", "sh", "-c", script])
    checks.status(what, 0, got)
    checks.same(what, want, got.stdout.decode(errors="replace"))
    checks.same(f"{what}, errors", b"", got.stderr)


def complaints(checks, what, options, script):
    got = run(["run", *options, "--", "sh", "-c", f"{script}; dmesg"])
    checks.status(what, 0, got)
    found = COMPLAINTS.search(got.stdout.decode(errors="replace"))
    checks.true(what, not found, found and found.group())


def rng(checks):
    script = """
        cat /sys/class/misc/hw_random/rng_current
        dd if=/dev/hwrng of=/tmp/a bs=1k count=20 2>/dev/null
        dd if=/dev/hwrng of=/tmp/b bs=1k count=20 2>/dev/null
        cmp -s /tmp/a /tmp/b || echo differ
        [ $(gzip -c /tmp/a | wc -c) -gt 20000 ] && echo random
        grep -c 'PCI-MSI.*virtio0-input' /proc/interrupts
    """
    want = "virtio_rng.0\ndiffer\nrandom\n1\n"
    guest(checks, "rng", ["--rng"], script, want)
    guest(checks, "rng, no MSI", ["--rng", "--cmdline", "pci=nomsi"],
          script.replace("PCI-MSI.*virtio0-input", "IO-APIC.*virtio0"), want)
    complaints(checks, "rng", ["--rng"], "cat /dev/hwrng | head -c 1000 >/dev/null")


CASES = {"rng": rng}

if __name__ == "__main__":
    need_guest()
    main_cases(CASES, 240)
