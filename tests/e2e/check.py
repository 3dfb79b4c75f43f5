#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The software engine in check mode: each block by the interpreter and by its
translation, compared. Programs of the default guest, and all that the kernel
does for them; a soak also has the kernel's whole start. What the programs say
is compared with what is known out here.

  tests/e2e/check.py --list      timeout and name of each case
  tests/e2e/check.py NAME...     these cases
"""
# lists cases
import base64
import functools
import gzip
import hashlib
import re

import harness

LINES = 200

SCRIPT = r"""
say() { echo "$1=$2"; }
cd /tmp
seq 1 LINES >up
awk 'BEGIN { for (i = LINES; i; i--) printf "%d %s\n", i, i % 7 }' >down
say sorted "$(sort -n down | sha256sum | cut -d' ' -f1)"
say sha1 "$(sha1sum <up | cut -d' ' -f1)"
say md5 "$(md5sum <up | cut -d' ' -f1)"
gzip -c up >up.gz
say again "$(gunzip -c up.gz | sha256sum | cut -d' ' -f1)"
say packed "$(gzip -c up | base64 | tr -d '\n')"
say float "$(awk 'BEGIN { for (i = 1; i <= 300; i++) s += 1 / i
	printf "%.12f", s }')"
say sed "$(sed -n 's/^1\(.\)\1$/<\1>/p' up | tr -d '\n')"
say pipes "$(cat up up | grep -c 3)"
i=0; while [ $i -lt 12 ]; do (exit $i); i=$((i + $?)); i=$((i + 1)); done
say loop $i
got=0; trap 'got=$((got + 1))' USR1; kill -USR1 $$; say caught $got
for i in 1 2 3 4; do (seq 1 $((i * 50)) | wc -l >w$i) & done; wait
say parallel "$(cat w1 w2 w3 w4 | tr '\n' ' ')"
say cpus $(nproc)
exit 42
"""


def digest(name, text):
    return hashlib.new(name, text.encode()).hexdigest()


def expected(cpus):
    up = "".join(f"{i}\n" for i in range(1, LINES + 1))
    down = "".join(f"{i} {i % 7}\n" for i in range(1, LINES + 1))
    harmonic = sum(1 / i for i in range(1, 301))
    return {
        "sorted": digest("sha256", down),
        "sha1": digest("sha1", up),
        "md5": digest("md5", up),
        "again": digest("sha256", up),
        "float": f"{harmonic:.12f}",
        "sed": "".join(f"<{i % 10}>" for i in range(100, 200)
                       if i % 10 == i // 10 % 10),
        "pipes": str(2 * sum("3" in str(i) for i in range(1, LINES + 1))),
        "loop": "15",
        "caught": "1",
        "parallel": "50 100 150 200",
        "cpus": str(cpus),
    }


def compared(got):
    """Blocks by vCPU, from --stats."""
    text = (got.stdout + got.stderr).decode(errors="replace")
    return {int(cpu): int(count) for cpu, count in
            re.findall(r"^vcpu(\d+)\.check\.blocks (\d+)", text, re.M)}


def run(checks, mode, cpus, blocks):
    """`blocks`: so many at least are compared on each vCPU."""
    got = harness.run(["run", "--engine", "bt", "--bt", mode, "--stats",
                       "--cpus", cpus, "--", "sh", "-c",
                       SCRIPT.replace("LINES", str(LINES))],
                      timeout=TIMEOUT[mode])
    # A difference has status 120 and its report on standard error.
    checks.status(f"--bt {mode}", 42, got)
    if got.returncode != 42:
        return
    value = dict(re.findall(r"^(\w+)=(.*?)\r?$", got.stdout.decode(), re.M))
    for what, want in expected(cpus).items():
        checks.same(what, want, value.get(what, "").strip())
    packed = value.get("packed", "")
    checks.same("packed", expected(cpus)["again"],
                hashlib.sha256(gzip.decompress(
                    base64.b64decode(packed))).hexdigest())
    counts = compared(got)
    print(f"blocks compared: {counts}", flush=True)
    checks.same("vCPUs", cpus, len(counts))
    for cpu, count in counts.items():
        checks.true(f"blocks of vCPU {cpu}", count > blocks, count)


TIMEOUT = {"check-user": 300, "check": 1700}
CASES = {f"programs-{cpus}cpu": ("check-user", cpus, 300000 // cpus)
         for cpus in (1, 2)}
if harness.SOAK:
    CASES |= {f"boot-{cpus}cpu": ("check", cpus, 3000000)
              for cpus in (1, 2)}


if __name__ == "__main__":
    harness.need_guest()
    harness.main_cases({case: functools.partial(run, mode=mode, cpus=cpus,
                                                blocks=blocks)
                        for case, (mode, cpus, blocks) in CASES.items()},
                       max(TIMEOUT[mode] for mode, _, _ in CASES.values()) + 60)
