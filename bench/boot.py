# SPDX-License-Identifier: Apache-2.0
"""Starts: of a guest of one instruction, and of Debian's kernels to user
space with the default guest, whose init prints /proc/uptime and waits.

  start          process start to end of a guest of one instruction, which
                 ends the machine by the debug-exit port
  … wall         from the start of the process to user space
  … guest        the guest's own uptime there
  … CPU          CPU time of the process until then: steadier than the wall
                 time where the host is busy
  … memory       resident set of the process there, less the pages of guest
                 RAM in it (the largest mapping)
"""
import time

import machines
from machines import CACHE, PATIENCE, Failed, Lines
from table import Row

NAME = "boot"
KERNELS = {"cloud": "vmlinuz-cloud", "generic": "vmlinuz-generic"}
WHAT = {"wall": "s", "guest": "s", "CPU": "s", "memory": "MiB"}
START = f"{NAME}/start"
ROWS = [START, *(f"{NAME}/{kernel} {what}" for kernel in KERNELS
                 for what in WHAT)]
SCRIPT = 'echo "uptime=$(cut -d" " -f1 /proc/uptime)"; read line'


def start_and_end(machine, tiny):
    """Milliseconds."""
    begun = time.monotonic()
    process = machine.start(tiny)
    try:
        process.stdin.close()
        status = process.wait(PATIENCE)
        wall = time.monotonic() - begun
    finally:
        machines.end(process)
    if status != 33:
        raise Failed(f"the guest of one instruction ended with {status}")
    return wall * 1000


def to_user_space(machine, kernel, initrd):
    """In the order of WHAT."""
    begun = time.monotonic()
    process = machine.start(kernel, initrd)
    try:
        stamp, found = Lines(process).until(r"uptime=([\d.]+)")
        cpu = machines.usage(process.pid)[0]
        memory = machines.beyond_ram(process.pid)
        process.stdin.write(b"\n")
        process.wait(PATIENCE)
    finally:
        machines.end(process)
    return stamp - begun, float(found[1]), cpu, memory


def starts(bench):
    row = Row(START, "ms")
    bench.say(row.name)
    # They are short, and vary.
    for _ in range(bench.count * 4):
        for machine in bench.machines:
            value = bench.attempt(machine, start_and_end, bench.tiny)
            if value:
                row.add(machine.name, value)
    return row


def boots(bench, name):
    kernel = CACHE / KERNELS[name]
    if not kernel.exists():
        bench.note(f"no {kernel}: tools/fetch-guest {name}")
        return []
    rows = [Row(f"{NAME}/{name} {what}", unit) for what, unit in WHAT.items()]
    initrd = bench.initrd("boot", SCRIPT)
    bench.say(f"{NAME}/{name}")
    for _ in range(bench.count):
        for machine in bench.machines:
            values = bench.attempt(machine, to_user_space, kernel, initrd)
            for row, value in zip(rows, values or ()):
                row.add(machine.name, value)
    return rows


def run(bench, wanted):
    rows = [starts(bench)] if START in wanted else []
    for name in KERNELS:
        if any(row.startswith(f"{NAME}/{name} ") for row in wanted):
            rows += boots(bench, name)
    return rows
