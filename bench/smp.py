# SPDX-License-Identifier: Apache-2.0
"""Two CPUs: what a second one gains a parallel sort, and how fast a byte goes
to and fro between processes on different ones."""
import os

from session import judge, measure
from table import Row

NAME = "smp"
SESSIONS = True
SORTS = [f"{NAME}/sort, 1 CPU", f"{NAME}/sort, 2 CPUs", f"{NAME}/sort, gain"]
PIPE = f"{NAME}/pipe ping-pong"
ROWS = [*SORTS, PIPE]


def gain(one, two):
    """By the rounds, which were neighbours in time."""
    row = Row(SORTS[2], "×", rate=True)
    row.void = {**one.void, **two.void}
    for name, after in two.samples.items():
        for a, b in zip(one.samples.get(name, []), after):
            row.add(name, b / a)
    return row


def sorts(bench):
    one, two = (Row(name, "elements/s", rate=True) for name in SORTS[:2])
    bench.say(f"{NAME}/sort")
    errors = {}, {}
    for _ in range(bench.count):
        bench.sessions(1).round("two_sort", one, errors[0])
        bench.sessions(2).round("two_sort", two, errors[1])
    judge(one, errors[0])
    judge(two, errors[1])
    bench.sessions(1).judge_clocks([one])
    bench.sessions(2).judge_clocks([two])
    return [one, two, gain(one, two)]


def ping_pong(bench):
    row = Row(PIPE, "trips/s", rate=True)
    bench.say(row.name)
    measure(bench.sessions(2), row, "two_pipe_pingpong", bench.count)
    bench.sessions(2).judge_clocks([row])
    return [row]


def run(bench, wanted):
    if len(os.sched_getaffinity(0)) < 2:
        bench.note("smp: left out, for this host offers one CPU only")
        return []
    rows = sorts(bench) if set(wanted) & set(SORTS) else []
    return rows + (ping_pong(bench) if PIPE in wanted else [])
