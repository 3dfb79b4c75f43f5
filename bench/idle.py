# SPDX-License-Identifier: Apache-2.0
"""What a guest costs that sleeps in user space: CPU time of its process, and
how often that wakes up. All of them sleep beside each other."""
import time

import boot
import machines
from machines import Lines
from table import Row

NAME = "idle"
ROWS = [f"{NAME}/CPU", f"{NAME}/wake-ups"]
SETTLE = 5


def run(bench, wanted):
    seconds = 10 if bench.quick else 60
    cpu, wakes = Row(ROWS[0], "%"), Row(ROWS[1], "1/s")
    initrd = bench.initrd("boot", boot.SCRIPT)
    bench.say(f"{NAME}, {seconds} s")
    running = [m.start(bench.kernel, initrd) for m in bench.machines]
    try:
        for process in running:
            Lines(process).until("uptime=")
        time.sleep(SETTLE)
        before = [machines.usage(p.pid) for p in running]
        time.sleep(seconds)
        after = [machines.usage(p.pid) for p in running]
    finally:
        for process in running:
            machines.end(process)
    for machine, a, b in zip(bench.machines, before, after):
        cpu.add(machine.name, (b[0] - a[0]) / seconds * 100)
        wakes.add(machine.name, (b[1] - a[1]) / seconds)
    return [row for row in (cpu, wakes) if row.name in wanted]
