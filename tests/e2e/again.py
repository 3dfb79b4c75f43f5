#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots in a row, with two CPUs and ever other sizes of memory: none hangs,
none fails, none leaves a process or shared memory behind. A soak makes 50;
what is rare shows only there.
"""
# timeout: 300
import os
import random
import re
import time

import harness

COUNT = 50 if harness.SOAK else 2
SUM = "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8"
SCRIPT = f"""
dmesg | grep -E '{harness.COMPLAINTS.pattern}'
test $(nproc) = 2 || exit 1
(dd if=/dev/zero bs=1M count=4 2>/dev/null | sha256sum) &
for i in $(seq 1 20); do true & done
wait
cat /proc/uptime
exit 7
"""


def children():
    """Processes of our own session, by /proc."""
    mine, found = os.getsid(0), set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(pid)) == mine:
                found.add(pid)
        except ProcessLookupError:
            pass
    return found


def boots(checks, folder):
    size = random.Random(2)
    before, shared = children(), set(os.listdir("/dev/shm"))
    slowest = 0.0
    for number in range(COUNT):
        mem = size.randrange(96, 1024)
        start = time.monotonic()
        got = harness.run(["run", "--cpus", "2", "--mem", f"{mem}m", "--",
                           "sh", "-c", SCRIPT])
        slowest = max(slowest, time.monotonic() - start)
        what = f"boot {number}, {mem} MiB"
        checks.status(what, 7, got)
        said = got.stdout.decode(errors="replace")
        checks.true(f"{what}: output",
                    re.fullmatch(SUM + r"  -\n[\d. ]+\n", said), said)
    checks.same("processes left", set(), children() - before)
    checks.same("shared memory left", set(),
                {name for name in os.listdir("/dev/shm")
                 if "vireo" in name} - shared)
    print(f"{COUNT} boots, the slowest {slowest:.1f} s")


if __name__ == "__main__":
    harness.need_guest()
    harness.main(boots)
