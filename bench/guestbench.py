# SPDX-License-Identifier: Apache-2.0
"""The cases of guestbench.c: operations a second on one CPU."""
from session import measure
from table import Row

NAME = "guestbench"
SESSIONS = True
UNITS = {
    "int_sha256": "B/s",
    "int_qsort": "elements/s",
    "mem_chase": "loads/s",
    "mem_copy": "B/s",
    "fp_nbody": "steps/s",
    "fp_x87": "ops/s",
    "simd_int": "ops/s",
    "call_indirect": "calls/s",
    "call_fib": "calls/s",
    "sys_getppid": "calls/s",
    "sys_pipe_pingpong": "trips/s",
    "sys_fork": "forks/s",
    "sys_exec": "execs/s",
    "sys_pagefault": "faults/s",
    "sys_signal": "signals/s",
    "sys_file": "B/s",
}
ROWS = [f"{NAME}/{case}" for case in UNITS]


def run(bench, wanted):
    rows = [Row(name, UNITS[name.split("/")[1]], rate=True)
            for name in wanted]
    sessions = bench.sessions(1)
    for row in rows:
        bench.say(row.name)
        measure(sessions, row, row.name.split("/")[1], bench.count)
    sessions.judge_clocks(rows)
    return rows
