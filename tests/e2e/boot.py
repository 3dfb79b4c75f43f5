#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's cloud kernel and its kernel for any machine, to user space, where
the guest checks itself, and out again, on machines of several sizes; a soak
crosses all numbers of CPUs with all sizes of memory.

  tests/e2e/boot.py --list      timeout and name of each case
  tests/e2e/boot.py NAME...     these cases
"""
# lists cases
import functools
import hashlib
import math
import re
import time

import harness

# Says what it found as name=value; judged out here.
PROBE = r"""
now() { awk '{print $1}' /proc/uptime; }
say() { echo "$1=$2"; }
say cpus $(nproc)
say online $(grep -c ^processor /proc/cpuinfo)
say mem $(awk '/^MemTotal/ {print $2}' /proc/meminfo)
say date $(date +%s)
say sha256 $(seq 1 20000 | sha256sum | cut -d' ' -f1)
say md5 $(head -c 3000000 /dev/zero | md5sum | cut -d' ' -f1)
say float "$(awk 'BEGIN {
	for (i = 1; i <= 5000; i++) s += 1 / i
	for (e = f = i = 1; i <= 18; i++) { f /= i; e += f }
	for (r = i = 1; i <= 6; i++) r = (r + 2 / r) / 2
	printf "%.12f %.12f %.12f %.3e", s, e, r, 1e300 * 1e-290 / 3 }')"

# Processes: one after another, then many at once.
i=0 sum=0
while [ $i -lt 40 ]; do
	(exit $((i % 7))); sum=$((sum + $?)); i=$((i + 1))
done
say statuses $sum
mkdir /tmp/p
for i in $(seq 1 30); do
	(seq 1 300 | awk -v i=$i '{ s += $1 * i } END { print s }' \
		>/tmp/p/$i) &
done
wait
say parallel $(cat /tmp/p/* | awk '{ s += $1 } END { print s }')

# Signals: a handler, and an end.
got=0
trap 'got=$((got + 1))' USR1
kill -USR1 $$; kill -USR1 $$
say caught $got
sleep 100 & kill -KILL $!; wait $! 2>/dev/null
say killed $?

# Time passes here as it does out there.
before=$(now); echo tick; sleep 1; echo tock; after=$(now)
say slept $(awk "BEGIN { print $after - $before }")
dmesg | grep -E "$COMPLAINTS" | head -n 20 | sed 's/^/complaint=/'
dmesg | sed -n 's/.*smp: Brought up.* \([0-9]*\) CPU.*/brought=\1/p'
exit $STATUS
"""


def expected_numbers():
    lines = "".join(f"{i}\n" for i in range(1, 20001)).encode()
    harmonic = 0.0
    for i in range(1, 5001):
        harmonic += 1 / i
    floats = (harmonic, math.e, math.sqrt(2))
    return {
        "sha256": hashlib.sha256(lines).hexdigest(),
        "md5": hashlib.md5(bytes(3000000)).hexdigest(),
        "float": " ".join([*(f"{x:.12f}" for x in floats), "3.333e+09"]),
        "statuses": str(sum(i % 7 for i in range(40))),
        "parallel": str(sum(range(1, 301)) * sum(range(1, 31))),
        "caught": "2",
        "killed": "137",
    }


def boot(checks, name, cpus, mem):
    """mem in MiB. The status is one that only the script knows."""
    kernel = harness.GUEST / "vmlinuz"
    if name == "generic":
        kernel = harness.fetched("generic", "vmlinuz-generic")
    status = 40 + cpus
    script = (f"COMPLAINTS='{harness.COMPLAINTS.pattern}'\n"
              f"STATUS={status}\n{PROBE}")
    start = time.time()
    got = harness.run(["run", "--kernel", kernel, "--cpus", cpus, "--mem",
                       f"{mem}m", "--", "sh", "-c", script])
    checks.status("boot", status, got)
    if got.returncode != status:
        return
    said = re.findall(r"^(\w+)=(.*)$", got.stdout.decode(), re.M)
    value = dict(said)
    for what, want in {**expected_numbers(), "cpus": str(cpus),
                       "online": str(cpus)}.items():
        checks.same(what, want, value.get(what))
    # What the kernel takes for itself: image, page structures, 48 MiB.
    total = int(value.get("mem", 0)) / 1024
    checks.true("memory", mem * 0.9 - 48 <= total <= mem, total)
    checks.true("clock",
                start - 2 <= int(value.get("date", 0)) <= time.time() + 2,
                value.get("date"))
    checks.true("sleep 1", 0.99 <= float(value.get("slept", 0)) < 4,
                value.get("slept"))
    for what, text in said:
        if what == "complaint":
            checks.fail(f"kernel log: {text}")


FEW = [("cloud", 1, 96), ("cloud", 2, 512), ("cloud", 4, 4096),
       ("generic", 1, 4096), ("generic", 2, 256), ("generic", 4, 96)]
ALL = [(name, cpus, mem) for name in ("cloud", "generic")
       for cpus in (1, 2, 4) for mem in (96, 128, 256, 1024, 3072, 4096)]
CASES = {f"{name}-{cpus}cpu-{mem}m": (name, cpus, mem)
         for name, cpus, mem in FEW + (ALL if harness.SOAK else [])}


if __name__ == "__main__":
    harness.need_guest()
    harness.main_cases({case: functools.partial(boot, name=name, cpus=cpus,
                                                mem=mem)
                        for case, (name, cpus, mem) in CASES.items()},
                       harness.PATIENCE + 60)
