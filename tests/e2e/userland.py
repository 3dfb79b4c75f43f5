#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real programs of a Debian user land: what tests/userland/programs.sh prints
in a guest is byte for byte what it prints on the host, in the same tree.

  tests/e2e/userland.py --list       timeout and name of each case
  tests/e2e/userland.py CASE [PROGRAM…]

The host's part runs in a mount namespace and a chroot of its own, which needs
root or user namespaces; without them the test is skipped. A soak has more
cases: larger inputs, GCC and stress-ng, two CPUs, the other modes of --bt.
"""
# lists cases
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness

PARTS = harness.ROOT / "tests/userland"
SMALL = "loader ifunc python perl lua sqlite openssl packers text".split()
FULL = SMALL + ["compiler", "stress"]


class Case:
    def __init__(self, tree, size, programs, timeout, *options):
        self.tree = tree
        self.size = size
        self.programs = programs
        self.timeout = timeout
        self.options = options


CASES = {"small": Case("small", 1, SMALL, 400)}
SOAK_CASES = {
    "full": Case("full", 8, FULL, 120),
    "full-2cpu": Case("full", 4, FULL, 120, "--cpus", "2"),
    "check": Case("full", 1, FULL, 540, "--bt", "check"),
    "interp": Case("full", 1, FULL, 240, "--bt", "interp"),
}

# What a kernel says that has met something it cannot explain. stress-ng's own
# faults are in its log as well.
COMPLAINTS = ("BUG|WARNING:|Oops|unchecked MSR|lockup|rcu.*stall|"
              "blocked for more|Unable to handle|nobody cared|marked unstable")

# By busybox, whose chroot runs its own commands unless they have a path.
ENTER_GUEST = f"""
for d in dev proc sys tmp; do
	mkdir -p /tree/$d
	mount --rbind /$d /tree/$d || exit 125
done
chroot /tree /bin/sh "$@"
status=$?
dmesg | grep -E '{COMPLAINTS}'
exit $status
"""
ENTER_HOST = """
for d in dev proc sys; do
	mount --rbind /$d "$TREE/$d" || exit 125
done
mount -t tmpfs tmpfs "$TREE/tmp" || exit 125
exec chroot "$TREE" /bin/sh "$@"
"""


def archive(name):
    path = harness.CACHE / f"userland-{name}.cpio"
    got = subprocess.run([harness.ROOT / "tools/make-userland", name],
                         check=False, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT,
                         env={**os.environ,
                              "VIREO_CACHE": str(harness.CACHE)})
    if got.returncode or not path.exists():
        harness.skip(f"no {path.name}: tools/make-userland {name}: status "
                     f"{got.returncode}")
    return path


def own_part(folder):
    """What the tree's packages do not have, as an archive behind it."""
    tests = folder / "own/tree/tests"
    tests.mkdir(parents=True)
    for path in [*PARTS.glob("*.sh"), *PARTS.glob("*.py"),
                 *PARTS.glob("load.*"), harness.BUILD / "tests/userland/ifunc"]:
        shutil.copy(path, tests)
    packed = folder / "own.cpio"
    # Entries in an order that does not depend on the file system.
    names = sorted(str(p.relative_to(folder / "own"))
                   for p in (folder / "own").rglob("*"))
    subprocess.run(["bsdtar", "--format=newc", "--uid", "0", "--gid", "0",
                    "-n", "-cf", packed, "-C", folder / "own", *names],
                   check=True)
    return packed


def host_namespace():
    """A command in front of another, where we may mount and chroot."""
    for command in (["unshare", "--mount"],
                    ["unshare", "--map-root-user", "--mount"]):
        if command[1:] == ["--mount"] and os.getuid():
            continue
        got = subprocess.run([*command, "chroot", "/", "true"], check=False,
                             stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        if not got.returncode:
            return command
    return harness.skip("neither root nor user namespaces: nothing to "
                        "compare with")


def limited(seconds, args, **more):
    """Status (None: not ended), standard output, standard error."""
    process = subprocess.Popen(args, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, **more)
    try:
        out, err = process.communicate(timeout=seconds)
        return process.returncode, out, err
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return None, out, err


def on_host(namespace, folder, archives, script):
    for path in archives:
        subprocess.run(["bsdtar", "-xf", path, "-C", folder, "--no-same-owner"],
                       check=True)
    return limited(600, [*namespace, "sh", "-c", ENTER_HOST, "host", *script],
                   env={**os.environ, "TREE": str(folder / "tree")})


def initial_disk(folder, archives):
    initrd = folder / "initrd.cpio"
    with open(initrd, "wb") as out:
        for path in [harness.GUEST / "initramfs.cpio", *archives]:
            with open(path, "rb") as part:
                shutil.copyfileobj(part, out, 1 << 20)
    return initrd


def guest_command(initrd, options, script):
    return [harness.VIREO, "run", "--kernel", harness.GUEST / "vmlinuz",
            "--initrd", initrd, "--mem", "2g", *harness.QUICK, *options, "--",
            "sh", "-c", ENTER_GUEST, "guest", *script]


def sections(out):
    found = {}
    for piece in re.split(r"^(?=== \w+$)", out.decode(errors="replace"),
                          flags=re.M):
        name = re.match(r"== (\w+)$", piece, re.M)
        found[name.group(1) if name else ""] = piece
    found.pop("", None)
    return found


def compare(checks, programs, host, guest):
    for name in ["data", *programs]:
        want, got = host.get(name, ""), guest.get(name, "")
        end = f"== {name}: status 0\n"
        checks.true(f"{name} on the host ends well", want.endswith(end),
                    want[-1000:])
        if want == got:
            continue
        checks.fail(f"{name}: the guest differs")
        for line in list(difflib.unified_diff(
                want.splitlines(), got.splitlines(), "host", "guest",
                lineterm=""))[:60]:
            print("  " + line)


def run(checks, case, programs, seconds):
    harness.need_guest()
    if not shutil.which("bsdtar"):
        harness.skip("no bsdtar: tools/setup test")
    namespace = host_namespace()
    script = ["/tests/programs.sh", str(case.size), *programs]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archives = [archive(case.tree), own_part(folder)]
        start = time.monotonic()
        status, out, err = on_host(namespace, folder, archives, script)
        host_time = time.monotonic() - start
        checks.same("status on the host", 0, status)
        start = time.monotonic()
        guest = limited(seconds, guest_command(
            initial_disk(folder, archives), case.options, script),
            env=harness.environment())
        guest_time = time.monotonic() - start
    if guest[0] != 0:
        checks.fail(f"the guest's status is {guest[0]} (None: no end after "
                    f"{seconds} s)\n{guest[2][-3000:].decode('utf8', 'replace')}")
    if status:
        checks.fail(err[-1000:].decode(errors="replace"))
    compare(checks, programs, sections(out), sections(guest[1]))
    print(f"host {host_time:.1f} s, guest {guest_time:.1f} s")


def main():
    cases = {**CASES, **SOAK_CASES}
    if sys.argv[1:] == ["--list"]:
        for name, case in (cases if harness.SOAK else CASES).items():
            print(case.timeout, name)
        return 0
    if len(sys.argv) < 2 or sys.argv[1] not in cases:
        print(f"usage: {sys.argv[0]} {'|'.join(cases)} [PROGRAM…]")
        return 2
    case = cases[sys.argv[1]]
    checks = harness.Checks()
    run(checks, case, sys.argv[2:] or case.programs,
        case.timeout * (20 if harness.SOAK else 1))
    return 1 if checks.failures else 0


if __name__ == "__main__":
    sys.exit(main())
