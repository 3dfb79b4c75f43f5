# SPDX-License-Identifier: Apache-2.0
"""Starts of small guests, by engine: hello is a Solo5 unikernel that prints a
line, tiny a multiboot image of one instruction, linux Debian's cloud kernel.

  … to guest     from the start of the process until its first CPU enters the
                 engine, as --stats says: CPU time before main(), without what
                 the process waited for there, then by the clock
  … whole        start of the process to its end, by our clock
  … memory       proportional set size of the process while its guest runs,
                 less guest RAM and code memory

In rows of kvm, "native" is kvm-bare.c: the same image by the bare sequence of
system calls.
"""
import os
import re
import struct
import subprocess
import time

import machines
from machines import NATIVE, Failed
from table import Row

NAME = "startup"
UNITS = {"to guest": "ms", "whole": "ms", "memory": "MiB"}
CASES = {
    "hello bt": UNITS, "hello kvm": UNITS,
    "tiny bt": ("to guest", "whole"), "tiny kvm": ("to guest", "whole"),
    "linux bt": ("to guest",),
}
ROWS = [f"{NAME}/{case} {what}" for case, whats in CASES.items()
        for what in whats]
ROUNDS = 8
NOT_OURS = re.compile(r"/memfd:vireo-(ram|code)")


def spawn_and_wait(args):
    """Milliseconds to the end, exit status, standard error. No fork() of this
    process is in it, as Popen's would be."""
    read, write = os.pipe()
    actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
               (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
               (os.POSIX_SPAWN_DUP2, write, 2)]
    first = {}
    if "BENCH_NICE" in os.environ:
        first["scheduler"] = (os.SCHED_FIFO, os.sched_param(1))
    begun = time.monotonic()
    pid = os.posix_spawn(str(args[0]), list(map(str, args)), os.environ,
                         file_actions=actions, **first)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    wall = time.monotonic() - begun
    os.close(write)
    with open(read, "rb") as file:
        said = file.read().decode(errors="replace")
    return wall * 1000, status, said


def command(bench, case):
    """And the exit status that it has to end with."""
    guest, engine = case.split()
    args = [bench.build / "vireo", "run", "--engine", engine, "--mem",
            f"{machines.RAM_MIB}m"]
    if guest == "hello":
        return [*args, bench.hello], 0
    if guest == "tiny":
        return [*args, "--kernel", bench.tiny, "--debug-exit",
                f"{machines.EXIT_PORT:#x}"], 33
    return [*args, "--kernel", bench.kernel, "--cmdline",
            f"{machines.CMDLINE} rdinit=/none"], 0


def with_option(args, option):
    return [*args[:2], option, *args[2:]]


def to_guest(bench, case):
    args, want = command(bench, case)
    _, status, said = spawn_and_wait(with_option(args, "--stats"))
    found = dict(re.findall(r"^(start\.\w+) (\d+)$", said, re.M))
    if status != want or len(found) != 2:
        raise Failed(f"{case}: status {status}, {said[-200:]}")
    return sum(map(int, found.values())) / 1000


def whole(bench, case):
    args, want = command(bench, case)
    wall, status, said = spawn_and_wait(args)
    if status != want:
        raise Failed(f"{case}: status {status}, {said[-200:]}")
    return wall


def bare(bench, case):
    wall, status, said = spawn_and_wait([bench.build / "bench/kvm-bare",
                                         bench.hello])
    if status:
        raise Failed(f"kvm-bare: status {status}, {said[-200:]}")
    return wall


def never_ending(bench):
    """hello, but that its first instruction jumps to itself."""
    image = bytearray(bench.hello.read_bytes())
    entry, table = struct.unpack_from("<QQ", image, 24)
    count = struct.unpack_from("<H", image, 56)[0]
    for n in range(count):
        kind, _, offset, _, start, size = struct.unpack_from(
            "<IIQQQQ", image, table + 56 * n)
        if kind == 1 and start <= entry < start + size:
            at = offset + entry - start
            image[at:at + 2] = b"\xeb\xfe"
    path = bench.folder / "endless.hvt"
    path.write_bytes(image)
    return path


def own_pss(pid):
    """MiB."""
    total, ours = 0, True
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
        for line in file:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                ours = not NOT_OURS.search(line)
            elif line.startswith("Pss:") and ours:
                total += int(line.split()[1])
    return total / 1024


def memory(bench, case):
    args, _ = command(bench, case)
    process = subprocess.Popen(
        list(map(str, [*args[:-1], never_ending(bench)])),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        if process.poll() is not None:
            raise Failed(f"{case}: a loop ended, {process.returncode}")
        return own_pss(process.pid)
    finally:
        process.kill()
        process.wait()


MEASURE = {"to guest": to_guest, "whole": whole, "memory": memory}


def measure(bench, wanted, judged):
    """One round."""
    for name, row in wanted.items():
        case, what = name.split("/")[1].rsplit(" ", 1)
        if what == "guest":
            case, what = case.rsplit(" ", 1)[0], "to guest"
        if what != "memory":
            whole(bench, case)  # not counted: rows before it may have slept
        row.add(judged, MEASURE[what](bench, case))
        if case == "hello kvm" and what == "whole":
            row.add(NATIVE, bare(bench, case))


def run(bench, wanted):
    judged = [m.name for m in bench.machines if not m.is_qemu][-1]
    bench.hello = bench.build / "guest/unikernel/hello.hvt"
    rows = {name: Row(name, "MiB" if name.endswith("memory") else "ms")
            for name in wanted}
    bench.say(NAME)
    for case in CASES:
        of_case = {name: row for name, row in rows.items()
                   if name.startswith(f"{NAME}/{case} ")}
        try:
            for _ in range(bench.count * (1 if "linux" in case else ROUNDS)):
                measure(bench, of_case, judged)
        except Failed as error:
            bench.note(str(error))
    return [row for row in rows.values() if row.samples]
