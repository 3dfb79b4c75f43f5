# SPDX-License-Identifier: Apache-2.0
"""Rows of figures, what follows from them, and how they look on paper."""
import math
from statistics import median

NATIVE = "native"


class Row:
    """One thing measured on several machines. `rate`: more is better, else
    less is. `void` names machines whose figure counts for nothing, and why.
    The unit × is that of a ratio, which is not compared any further.
    """

    def __init__(self, name, unit, rate=False):
        self.name = name
        self.unit = unit
        self.rate = rate
        self.samples = {}
        self.void = {}

    def add(self, machine, value):
        self.samples.setdefault(machine, []).append(value)

    def value(self, machine):
        if machine in self.void or not self.samples.get(machine):
            return None
        return median(self.samples[machine])

    def best(self, names):
        """The best machine of several; None where none has a figure."""
        known = [n for n in names if self.value(n) is not None]
        if not known:
            return None
        return (max if self.rate else min)(known, key=self.value)

    def slowness(self, machine, other):
        """How many times as long it takes as on the other one."""
        a, b = self.value(machine), self.value(other) if other else None
        if not a or not b or self.unit == "×":
            return None
        return b / a if self.rate else a / b


class Target:
    """What shall hold. `measure` gives a number of (rows by name, judged
    machine, QEMU machines), or None where it was not measured."""

    def __init__(self, text, measure, limit, at_least=False, unit="×"):
        self.text = text
        self.unit = unit
        self.measure = measure
        self.limit = limit
        self.at_least = at_least

    def met(self, value):
        return value >= self.limit if self.at_least else value <= self.limit


class Result:
    """All rows of one run, and for whom."""

    def __init__(self, rows, machines):
        self.rows = {row.name: row for row in rows}
        self.vireo = [m.name for m in machines if not m.is_qemu]
        self.qemu = [m.name for m in machines if m.is_qemu]
        self.judged = self.vireo[-1]

    def of_group(self, group):
        return [r for n, r in self.rows.items() if n.startswith(group + "/")]

    def against_native(self, name):
        row = self.rows.get(name)
        return row.slowness(self.judged, NATIVE) if row else None

    def speed_against_qemu(self, name, machine=None):
        row = self.rows.get(name)
        if not row:
            return None
        return inverse(row.slowness(machine or self.judged,
                                    row.best(self.qemu)))


def inverse(x):
    return 1 / x if x else None


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


# ---- text ------------------------------------------------------------------

def number(value):
    """Three digits that count, with the prefix of a thousand."""
    if value is None:
        return "-"
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{three(value / factor)}{prefix}"
    return three(value)


def three(value):
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def times(value):
    return "-" if value is None else f"{three(value)}×"


def table(head, lines):
    """Markdown with aligned columns: the first one to the left."""
    lines = [head, *lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]

    def text(line):
        cells = [line[0].ljust(widths[0])]
        cells += [c.rjust(w) for c, w in zip(line[1:], widths[1:])]
        return "| " + " | ".join(cells) + " |"

    rule = ["-" * widths[0]] + ["-" * (w - 1) + ":" for w in widths[1:]]
    return [text(head), text(rule), *map(text, lines[1:])]


def cell(row, machine):
    return "void" if machine in row.void else number(row.value(machine))


def compared(result, rows):
    """Figures of all, and each Vireo against native and QEMU's better."""
    native = any(NATIVE in row.samples for row in rows)
    head = ["", "unit", *([NATIVE] if native else []), *result.qemu]
    for name in result.vireo:
        head += [name, *(["time / native"] if native else []),
                 *(["speed / QEMU"] if result.qemu else [])]
    lines = []
    for row in rows:
        line = [row.name, row.unit]
        line += [cell(row, NATIVE)] if native else []
        line += [cell(row, name) for name in result.qemu]
        for name in result.vireo:
            line.append(cell(row, name))
            if native:
                line.append(times(row.slowness(name, NATIVE)))
            if result.qemu:
                line.append(times(result.speed_against_qemu(row.name, name)))
        lines.append(line)
    return table(head, lines)


def summary(result, rows):
    """Geometric mean and worst of the group, for each Vireo."""
    for name in result.vireo:
        native = [r.slowness(name, NATIVE) for r in rows]
        native = [v for v in native if v]
        qemu = [result.speed_against_qemu(r.name, name) for r in rows]
        qemu = [v for v in qemu if v]
        if native:
            yield (f"{name}: time against native: geometric mean "
                   f"{times(geometric_mean(native))}, worst "
                   f"{times(max(native))} ({len(native)} rows)")
        if qemu:
            yield (f"{name}: speed against QEMU's better: geometric mean "
                   f"{times(geometric_mean(qemu))}, least "
                   f"{times(min(qemu))} ({len(qemu)} rows)")


def judged(result, targets):
    """Which targets are met; those that were not measured are left out."""
    lines = []
    for target in targets:
        value = target.measure(result)
        if value is not None:
            sign = "≥" if target.at_least else "≤"
            lines.append([target.text, f"{sign} {target.limit:g}{target.unit}",
                          f"{three(value)}{target.unit}",
                          "met" if target.met(value) else "missed"])
    if not lines:
        return []
    met = sum(line[3] == "met" for line in lines)
    return [f"Targets, for {result.judged}: {met} of {len(lines)} met", "",
            *table(["", "target", "measured", ""], lines)]
