# SPDX-License-Identifier: Apache-2.0
"""The lab's tests: the scripts of this folder, and the self-checking guests
on KVM. What a script's head may say is in docs/lab.md.
"""
import bisect
import dataclasses
import os
import re
import shlex
import subprocess
from pathlib import Path

import outer

HERE = Path(__file__).resolve().parent
SKIP = 77
HEADER = re.compile(r"^# (timeout|modules|programs|qemu|append|mem|cpus|"
                    r"disk): *(.*?) *$", re.M)
# How much slower a guest's 20 seconds may go by in there.
GUEST_FACTOR = 9


@dataclasses.dataclass(frozen=True)
class Needs:
    """Of the outer host. Tests with the same share a boot."""
    qemu: str = ""
    append: str = ""
    mem: int = 1500
    cpus: int = 2
    disks: tuple = ()


class Case:
    def __init__(self, name, script, limit=60):
        self.name = name
        self.script = script
        self.limit = limit
        self.again = False  # tried before
        self.modules = []
        self.programs = []
        self.needs = Needs()

    def judge(self, status, output):
        """(result, what is wrong)"""
        if status == "0":
            return "passed", None
        if status == str(SKIP):
            return "skipped", None
        if status == "late":
            return "failed", f"no end after {self.limit} s"
        if status == "modules":
            return "failed", "a module could not be loaded"
        return "failed", f"exit status {status}"

    def explained(self, output, build):
        """With what this host knows and the outer one does not."""
        return output


def script_case(path):
    text = path.read_text()
    case = Case(path.stem, text)
    needs = {"disks": []}
    for key, value in HEADER.findall(text[:2000]):
        if key == "timeout":
            case.limit = int(value)
        elif key in ("modules", "programs"):
            getattr(case, key).extend(value.replace(",", " ").split())
        elif key == "disk":
            disk, size = value.split()
            needs["disks"].append((disk, size))
        elif key in ("mem", "cpus"):
            needs[key] = int(value)
        else:
            needs[key] = f"{needs.get(key, '')} {value}".strip()
    needs["disks"] = tuple(needs["disks"])
    case.needs = Needs(**needs)
    return case


def function_names(image):
    """Of an ELF, [(address, name)], by address; empty where nm(1) is not."""
    try:
        out = subprocess.run(["nm", image], capture_output=True, text=True,
                             check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    found = re.findall(r"^([0-9a-f]+) [tT] (\w+)$", out, re.M)
    return sorted((int(address, 16), name) for address, name in found)


class GuestCase(Case):
    """A run of tests/guest/run, which says what its outcome means."""

    def __init__(self, guests, run):
        command = shlex.join(["$VIREO", *run.arguments(Path("/lab/guests"))])
        command = command.replace("'$VIREO'", '"$VIREO"', 1)
        super().__init__(f"guest/{run.name}", f"#!/bin/sh\nexec {command}\n",
                         run.timeout * GUEST_FACTOR)
        self.guests, self.run = guests, run
        self.needs = Needs(cpus=run.outer)

    def judge(self, status, output):
        if not status.isdigit():
            return super().judge(status, output)
        wrong = self.guests.verdict(self.run, int(status), output)
        return ("failed", wrong) if wrong else ("passed", None)

    def explained(self, output, build):
        """Its functions' names at the addresses in the guest."""
        image = build / "tests/guest" / f"{self.run.image}.elf"
        names = function_names(image)

        def name(match):
            at = bisect.bisect(names, (int(match[1], 16) + 1,)) - 1
            return f"{match[0]} {names[at][1]}" if at >= 0 else match[0]
        return re.sub(r"\brip 0x([0-9a-f]+)", name, output)


class LaxCase(Case):
    """Is a name of tests/guest/lax.cfg still needed by each of its guests: one
    that passes without it does not."""

    LIMIT = 60  # seconds for one run; one that hangs has failed

    def __init__(self, check):
        lines = ["#!/bin/sh", "kept="]
        for guest, runs in check.runs.items():
            lines.append("failed=")
            for run in runs:
                command = shlex.join(run.without(check.lax).arguments(
                    Path("/lab/guests")))
                lines.append(
                    f'[ "$failed" ] || {{ timeout -s KILL {self.LIMIT} '
                    f'"$VIREO" {command}; [ $? = {run.exit} ] || failed=1; }}')
            lines.append(f'[ "$failed" ] || kept="$kept {guest}"')
        lines.append('[ -z "$kept" ] || '
                     '{ echo "passes without it:$kept"; exit 1; }\n')
        count = sum(len(runs) for runs in check.runs.values())
        super().__init__(check.name, "\n".join(lines),
                         count * (self.LIMIT + 10))


def guest_cases():
    guests = outer.load_script(outer.ROOT / "tests/guest/run")
    for run in guests.load(["kvm"], "lab"):
        yield GuestCase(guests, run)


def lax_cases():
    guests = outer.load_script(outer.ROOT / "tests/guest/run")
    for check in guests.lax_checks("kvm", "lab"):
        yield LaxCase(check)


def all_cases(soak):
    for path in sorted(HERE.glob("*.sh")):
        if os.access(path, os.X_OK):
            yield script_case(path)
    yield from guest_cases()
    if soak:
        yield from lax_cases()


def groups(cases):
    """Lists of cases with the same needs, in the order of the first of each."""
    found = {}
    for case in cases:
        found.setdefault(case.needs, []).append(case)
    return list(found.values())
