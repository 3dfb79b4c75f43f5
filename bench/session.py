# SPDX-License-Identifier: Apache-2.0
"""guestbench, asked for one case after the other: in a machine that stays up
between them, or on the host. And whether a second was one.

A figure counts operations by a second of the guest's clock. A guest whose
clock goes slow, as one does that loses ticks, would look fast. So guestbench
tells its clock at the begin and the end of each case, the host's clock is
read when the lines come, and the two must agree within CLOCK_SHARE: over all
that a machine ran, and in the median of each row's turns. The latter are
short, and lines come late on a busy host: LINE_LATENESS is allowed there.
"""
import os
from statistics import median

import machines
from machines import NATIVE, Failed, Lines

CLOCK_SHARE = 0.01
LINE_LATENESS = 0.02
LOOP = ("echo ready; while read -r line; do /vireo/guestbench $line || "
        "echo failed $line; done")


class Clock:
    """The guest's time beside the host's, from first to last look."""

    def __init__(self):
        self.first = self.last = None

    def add(self, begun, ended):
        self.first = self.first or begun
        self.last = ended

    def error(self):
        if not self.first:
            return 0, 0
        guest, host = (b - a for a, b in zip(self.first, self.last))
        return guest / host - 1, host

    def holds(self):
        error, host = self.error()
        return abs(error) * host <= CLOCK_SHARE * host + LINE_LATENESS


def read_case(lines, name):
    """Operations a second, and both clocks, the guest's first, before and
    after."""
    number = r"([\d.]+(?:e[+-]?\d+)?)"
    begun, first = lines.until(rf"begin {name} {number}$|failed")
    if first[0] == "failed":
        raise Failed(f"guestbench {name} failed")
    ended, last = lines.until(rf"end {name} {number} {number}$|failed")
    if last[0] == "failed":
        raise Failed(f"guestbench {name} failed")
    return float(last[2]), (float(first[1]), begun), (float(last[1]), ended)


class Guest:
    def __init__(self, machine, kernel, initrd, cpus=1):
        self.name = machine.name
        self.clock = Clock()
        self.process = machine.start(kernel, initrd, cpus)
        self.lines = Lines(self.process)

    def ready(self):
        self.lines.until("ready$")

    def run(self, case, seconds):
        self.process.stdin.write(f"{seconds} {case}\n".encode())
        return read_case(self.lines, case)

    def end(self):
        machines.end(self.process)


class Host:
    """As many CPUs as the guest has, and files on a tmpfs as there."""

    def __init__(self, program, cpus=1):
        self.name = NATIVE
        self.program = program
        self.cpus = set(sorted(os.sched_getaffinity(0))[:cpus])
        self.clock = Clock()

    def ready(self):
        pass

    def run(self, case, seconds):
        with machines.popen(
                [self.program, str(seconds), case],
                env={**os.environ, "TMPDIR": "/dev/shm"},
                cpus=self.cpus) as it:
            try:
                return read_case(Lines(it), case)
            finally:
                it.kill()

    def end(self):
        pass


class Sessions:
    """All that is compared, with so many CPUs, started together, taking
    turns. One that fails leaves with a message, and what it had measured
    stays."""

    def __init__(self, bench, cpus):
        self.bench = bench
        self.cpus = cpus
        self.all = [Host(bench.guestbench, cpus)]
        initrd = bench.initrd("guestbench", LOOP, [bench.guestbench])
        for machine in bench.machines:
            self.all.append(Guest(machine, bench.kernel, initrd, cpus))

        for session in list(self.all):
            self._try(session, session.ready)

    def end(self):
        for session in self.all:
            session.end()

    def _try(self, session, what, *args):
        try:
            return what(*args)
        except Failed as error:
            self.bench.note(f"{session.name}: {error}")
            session.end()
            self.all.remove(session)
            return None

    def round(self, case, row, errors):
        """One turn of each. `errors` collects, by machine, by how many
        seconds the guest's clock was off, less what may be."""
        for session in list(self.all):
            got = self._try(session, session.run, case, self.bench.seconds)
            if not got:
                continue
            rate, begun, ended = got
            session.clock.add(begun, ended)
            guest, host = (b - a for a, b in zip(begun, ended))
            errors.setdefault(session.name, []).append(
                (guest - host, CLOCK_SHARE * host + LINE_LATENESS))
            row.add(session.name, rate)

    def judge_clocks(self, rows):
        """At the end: a machine whose clock is off has no figures at all."""
        for session in self.all:
            error, host = session.clock.error()
            if session.name == NATIVE:
                continue
            if not session.clock.holds():
                for row in rows:
                    row.void[session.name] = "clock"
            clock = f"clock of {session.name}, {self.cpus} vCPU"
            self.bench.note(f"{clock}: {error:+.2%} of the host's over "
                            f"{host:.0f} s", clock)


def judge(row, errors):
    """A row whose seconds were none is void, machine by machine."""
    for name, turns in errors.items():
        if name == NATIVE:
            continue  # the same clock, read late
        off = median(error for error, _ in turns)
        if abs(off) > median(allowed for _, allowed in turns):
            row.void[name] = f"clock off by {off * 1000:+.0f} ms"


def measure(sessions, row, case, count):
    errors = {}
    for _ in range(count):
        sessions.round(case, row, errors)
    judge(row, errors)
