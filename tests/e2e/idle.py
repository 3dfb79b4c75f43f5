#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An idle guest costs its host next to nothing: processor time and wake-ups
of the whole process over a while, from /proc. What polls anywhere, in vCPU,
event loop or timers, shows here.
"""
# timeout: 240
import os
import time

import harness

SECONDS = 60 if harness.SOAK else 10
# A tickless Linux wakes itself a few times a second for its own housekeeping (1.4
# with one CPU, 4 with four); our goal is below 5 for each CPU. The limit for CPU
# time is generous against a loaded host, and far below anything that polls.
LINUX_CPU, LINUX_WAKES = 0.02, 5
HALT_CPU, HALT_WAKES = 0.002, 1


def usage(pid):
    """Seconds of CPU and voluntary context switches of all threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    wakes = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        path = f"/proc/{pid}/task/{task}/status"
        with open(path, encoding="ascii") as file:
            for line in file:
                if line.startswith("voluntary_ctxt_switches"):
                    wakes += int(line.split()[1])
    return ticks / os.sysconf("SC_CLK_TCK"), wakes


def measure(checks, what, pid, limits):
    before = usage(pid)
    time.sleep(SECONDS)
    after = usage(pid)
    cpu = (after[0] - before[0]) / SECONDS
    wakes = (after[1] - before[1]) / SECONDS
    print(f"{what}: {cpu:.2%} of a CPU, {wakes:.1f} wake-ups a second")
    checks.true(f"{what}: CPU share", cpu <= limits[0], cpu)
    checks.true(f"{what}: wake-ups a second", wakes <= limits[1], wakes)


def linux(checks, cpus):
    session = harness.Session(
        ["run", "--cpus", cpus, *harness.QUICK, "--", "sh", "-c",
         "echo up; sleep 1000"], tty=False)
    if not checks.true("start", session.expect(b"up\n"), session.output):
        return
    time.sleep(3)
    measure(checks, f"Linux, {cpus} CPUs", session.process.pid,
            (LINUX_CPU, LINUX_WAKES * cpus))
    session.process.terminate()
    checks.same("status", 128 + 15, session.ended())


def linux_1(checks, folder):
    linux(checks, 1)


def linux_4(checks, folder):
    linux(checks, 4)


def halt(checks, folder):
    """HLT with interrupts off sleeps as well: only an NMI can end it."""
    image = harness.tiny_guest(folder / "halt", b"\xfa\xf4\xeb\xfd")
    session = harness.Session(["run", "--kernel", image, "--mem", "16m",
                               "--cpus", "2"], tty=False)
    time.sleep(0.5)
    measure(checks, "HLT, IF=0", session.process.pid, (HALT_CPU, HALT_WAKES))
    session.process.terminate()
    checks.same("status", 128 + 15, session.ended())


if __name__ == "__main__":
    harness.need_guest()
    harness.main(halt, linux_1, linux_4)
