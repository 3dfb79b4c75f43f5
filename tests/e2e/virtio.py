#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Devices on virtio in the default guest: drivers of Debian's kernel find
them, and they work.

  tests/e2e/virtio.py --list      timeout and name of each case
  tests/e2e/virtio.py NAME        one case
"""
# lists cases
import hashlib
import os
import random
import subprocess
import tempfile
from pathlib import Path

from harness import COMPLAINTS, main_cases, need_guest, run

MIB = 1 << 20


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


def make_disk(folder, name="disk", size=16 * MIB):
    path = Path(folder) / name
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def md5(data):
    return hashlib.md5(data).hexdigest()


def disk(checks):
    """Every byte, both ways; what the driver makes of the device."""
    script = """
        cd /sys/block/vda
        cat size ro serial queue/write_cache mq/0/cpu_list
        md5sum </dev/vda
        dd if=/dev/vda of=/dev/vda bs=1M count=4 skip=8 2>/dev/null
        sync; echo 3 >/proc/sys/vm/drop_caches
        md5sum </dev/vda
        grep -q 'virtio0' /proc/interrupts && echo interrupts
    """
    for options in ("", ",packed=off", ",queues=1,threads=1", ",mmio"):
        with tempfile.TemporaryDirectory() as folder:
            path = make_disk(folder)
            before = path.read_bytes()
            after = before[8 * MIB:12 * MIB] + before[4 * MIB:]
            want = (f"32768\n0\nsystem\nwrite back\n0\n"
                    f"{md5(before)}  -\n{md5(after)}  -\ninterrupts\n")
            guest(checks, f"disk{options}",
                  ["--disk", f"{path},serial=system{options}"],
                  script.replace("serial", "serial; echo; cat"), want)
            checks.same(f"disk{options}, the file", md5(after),
                        md5(path.read_bytes()))


def disk_fs(checks):
    """Two file systems at once on two CPUs, a trim, a check afterwards."""
    script = """
        mkdir /a /b
        mount /dev/vda /a && mount /dev/vdb /b || exit 1
        work() {
            for i in $(seq 40); do
                dd if=/dev/urandom of=$1/$i bs=64k count=8 2>/dev/null
                cp $1/$i $1/copy$i
            done
            sync
            for i in $(seq 40); do cmp $1/$i $1/copy$i || echo differ; done
            rm $1/copy*
        }
        work /a & work /b & wait
        sync; fstrim /a; umount /a /b; echo done
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in "ab"]
        for path in paths:
            path.touch()
            os.truncate(path, 64 * MIB)
            subprocess.run(["mke2fs", "-q", "-t", "ext4", path], check=True)
        disks = [word for path in paths for word in ("--disk", str(path))]
        guest(checks, "file systems", ["--cpus", "2", *disks], script, "done\n")
        for path in paths:
            got = subprocess.run(["e2fsck", "-fn", path], check=False,
                                 capture_output=True, text=True)
            checks.same(f"e2fsck of {path.name}", 0, got.returncode)
        used = [path.stat().st_blocks * 512 for path in paths]
        # 20 MiB are left on each; only one gave the others back.
        checks.true("discards", used[0] < used[1] - 15 * MIB, used)


def disk_erase(checks):
    with tempfile.TemporaryDirectory() as folder:
        path = make_disk(folder)
        script = """
            blkdiscard -o 1048576 -l 4194304 /dev/vda &&
                md5sum </dev/vda && cat /sys/block/vda/queue/write_zeroes_max_bytes
        """
        data = path.read_bytes()
        want = data[:MIB] + bytes(4 * MIB) + data[5 * MIB:]
        guest(checks, "erase", ["--disk", str(path)], script,
              f"{md5(want)}  -\n{1 << 31}\n")
        checks.true("a hole", path.stat().st_blocks * 512 <= 13 * MIB,
                    path.stat().st_blocks)
        guest(checks, "no discard", ["--disk", f"{path},discard=off"],
              "cat /sys/block/vda/queue/discard_max_bytes", "0\n")


def disk_read_only(checks):
    with tempfile.TemporaryDirectory() as folder:
        path = make_disk(folder)
        path.chmod(0o444)
        script = """
            cat /sys/block/vda/ro; md5sum </dev/vda
            dd if=/dev/zero of=/dev/vda bs=4k count=1 2>/dev/null || echo no
        """
        data = path.read_bytes()
        guest(checks, "read-only", ["--disk", f"{path},ro"], script,
              f"1\n{md5(data)}  -\nno\n")
        checks.same("untouched", md5(data), md5(path.read_bytes()))


def disk_overlay(checks):
    """One image for two machines at a time; what each makes of it."""
    script = """
        dd if=/dev/vda of=/dev/vda bs=1M count=4 skip=8 2>/dev/null
        blkdiscard -o 1048576 -l 1048576 /dev/vdb
        dd if=/dev/vdc of=/dev/vdb bs=1k count=3 seek=5 skip=1 2>/dev/null
        sync; echo 3 >/proc/sys/vm/drop_caches
        md5sum </dev/vda; md5sum </dev/vdb
    """
    with tempfile.TemporaryDirectory() as folder:
        path = make_disk(folder)
        overlay = Path(folder) / "overlay"
        data = path.read_bytes()
        one = data[8 * MIB:12 * MIB] + data[4 * MIB:]
        two = bytearray(data[:MIB] + bytes(MIB) + data[2 * MIB:])
        two[5 * 1024:8 * 1024] = data[1024:4 * 1024]
        disks = ["--disk", f"{path},overlay={overlay}",
                 "--disk", f"{path},temporary", "--disk", f"{path},ro"]
        guest(checks, "overlays", disks, script,
              f"{md5(one)}  -\n{md5(two)}  -\n")
        guest(checks, "once more", ["--disk", f"{path},overlay={overlay}"],
              "md5sum </dev/vda", f"{md5(one)}  -\n")
        checks.same("the image", md5(data), md5(path.read_bytes()))
        used = overlay.stat().st_blocks * 512
        checks.true("no larger than what was written", used < 5 * MIB, used)
        for what, why in ((f"{path},overlay={path}", "is in use"),
                          (f"{path},overlay={overlay},temporary",
                           "an overlay of its own"),
                          (f"{overlay},overlay={folder}/other,ro",
                           "No such file")):
            got = run(["run", "--disk", what, "--", "true"])
            said = got.stderr.decode()
            checks.true(what, got.returncode and why in said and
                        said.count("\n") == 1, said)


def disk_refused(checks):
    """What is no disk, said on one line that names it."""
    with tempfile.TemporaryDirectory() as folder:
        odd = make_disk(folder, "odd", 1000)
        path = make_disk(folder)
        for what, why in (("/nonexistent", "No such file"),
                          (folder, "Is a directory"),
                          ("/dev/null", "cannot be a disk"),
                          (f"{odd}", "1000 bytes are no disk"),
                          (f"{path},colour=red", "no option 'colour'"),
                          (f"{path},qcow2", "'qcow2' is not key=value"),
                          (f"{path},threads=0", "threads=0: 1 to 16")):
            got = run(["run", "--disk", what, "--", "true"])
            said = got.stderr.decode()
            checks.true(what, got.returncode and why in said and
                        said.count("\n") == 1, said)
        got = run(["run", "--disk", str(path), "--disk", str(path), "--",
                   "true"])
        checks.true("twice", b"is in use" in got.stderr, got.stderr)
    got = run(["run", "--disk", "help"])
    checks.true("help", b"threads" in got.stdout and not got.returncode,
                got.stdout)


CASES = {
    "rng": rng,
    "disk": disk,
    "disk_fs": disk_fs,
    "disk_erase": disk_erase,
    "disk_read_only": disk_read_only,
    "disk_overlay": disk_overlay,
    "disk_refused": disk_refused,
}

if __name__ == "__main__":
    need_guest()
    main_cases(CASES, 240)
