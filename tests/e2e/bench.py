#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""That bench/ measures what it says: arithmetic of ratios and targets on
made-up figures, and one round of cases, of which the figures are there and
the clocks agree. How large they are is nobody's business here.
"""
# timeout: 180
import re
import subprocess
import sys
from types import SimpleNamespace

import harness

sys.path.insert(0, str(harness.ROOT / "bench"))
import session  # noqa: E402
import table  # noqa: E402

GUESTBENCH = harness.BUILD / "bench/guestbench"
FIGURES = ["guestbench/int_qsort", "guestbench/sys_exec", "boot/start",
           "startup/hello bt to guest", "startup/hello bt whole",
           "startup/hello bt memory"]


def row(name, rate, **samples):
    made = table.Row(name, "ms", rate)
    made.samples = samples
    return made


def ratios(checks, folder):
    """Twice the time is twice as slow, be it told as time or as rate."""
    for rate, figures in ((True, (40, 20, 10, 5)), (False, (5, 10, 20, 40))):
        native, vireo, fast, slow = ([figure] for figure in figures)
        made = row("g/x", rate, native=native, vireo=vireo, a=slow, b=fast)
        result = table.Result([made], [
            SimpleNamespace(name="vireo", is_qemu=False),
            SimpleNamespace(name="a", is_qemu=True),
            SimpleNamespace(name="b", is_qemu=True)])
        checks.same("best", "b", made.best(["a", "b"]))
        checks.same("native", 2, result.against_native("g/x"))
        checks.same("QEMU", 2, result.speed_against_qemu("g/x"))
        made.void["b"] = "clock"
        checks.same("best that is valid", "a", made.best(["a", "b"]))
        made.void["vireo"] = "clock"
        checks.same("void", None, result.against_native("g/x"))
    checks.same("median", 3, row("g/x", True, m=[9, 1, 3]).value("m"))
    checks.same("mean", "4.00×", table.times(table.geometric_mean([2, 8])))
    floor = table.Target("", None, 1.5, at_least=True)
    ceiling = table.Target("", None, 1.5)
    checks.same("floor", (False, True), (floor.met(1.4), floor.met(1.6)))
    checks.same("ceiling", (True, False),
                (ceiling.met(1.4), ceiling.met(1.6)))


def clocks(checks, folder):
    """A guest's clock that loses a fiftieth is found out, one late line is
    not."""
    for share, holds in ((1.0, True), (0.98, False), (1.02, False)):
        clock = session.Clock()
        for t in range(0, 20, 2):
            clock.add((5 + t * share, 100 + t), (6 + t * share, 101 + t))
        checks.same(f"clock times {share}", holds, clock.holds())
    for errors, void in (([-0.001, 0.3, 0.001], False),
                         ([0.1, 0.2, -0.001], True)):
        made = row("g/x", True)
        session.judge(made, {"m": [(error, 0.02) for error in errors]})
        checks.same(f"errors {errors}", void, "m" in made.void)


def figures(checks, folder):
    """One short round, without QEMU, which tests need not have."""
    got = subprocess.run(
        [harness.ROOT / "bench/run", "--build", harness.BUILD, "--count", "1",
         "--seconds", "0.05", "--no-qemu", "--output", folder / "report",
         *FIGURES],
        capture_output=True, text=True, check=False,
        timeout=harness.PATIENCE)
    if not checks.true("status", got.returncode == 0, got.stderr):
        return
    checks.same("report", (folder / "report").read_text(), got.stdout)
    for name in FIGURES:
        found = re.search(rf"^\| {name} +\|(.*)\|$", got.stdout, re.M)
        if not checks.true(name, found, got.stdout):
            continue
        cells = [cell.strip() for cell in found[1].split("|")]
        # Starts are measured on the mode that targets are for, the last one.
        first = -1 if name.startswith("startup/") else 1
        for cell in cells[first:]:
            # A busy host may make a figure void, and there is no ratio then;
            # a machine that fails may not.
            want = r"[\d.]+|void" + ("|-$" if "void" in cells else "")
            checks.true(f"{name}: figure", re.match(want, cell), cells)


def main():
    harness.need_guest()
    got = subprocess.run(["ninja", "-C", harness.BUILD, "bench/guestbench",
                          "bench/kvm-bare"],
                         capture_output=True, text=True, check=False)
    if got.returncode or not GUESTBENCH.exists():
        harness.skip("no static C library for bench/guestbench")
    harness.main(ratios, clocks, figures)


if __name__ == "__main__":
    main()
