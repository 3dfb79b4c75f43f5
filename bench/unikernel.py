# SPDX-License-Identifier: Apache-2.0
"""Unikernels on each engine: one that says hello and ends, and one that
answers 1,000 pings.

  hello wall        process start to end
  hello CPU         of the process, user and system
  ping wall         from the first of 1,000 echo requests to the last answer,
                    each sent when the one before is answered
  ping round trip   their mean, as ping(8) has it
  ping CPU          of the process that long

The tap is in a network namespace of its own, which takes root.
"""
import json
import os
import re
import subprocess
import time

import machines
from machines import Failed, Lines
from table import Row, cell, number, table

NAME = "unikernel"
WHAT = {"hello wall": "ms", "hello CPU": "ms", "ping wall": "ms",
        "ping round trip": "µs", "ping CPU": "ms"}
ROWS = [f"{NAME}/{what}" for what in WHAT]
ENGINES = ["bt", "kvm"]
HOST, GUEST, TAP = "10.9.0.1", "10.9.0.2", "tap0"
FRAMES = 1000
PATIENCE = 120


def start(bench, engine, *args):
    return machines.popen([bench.build / "vireo", "run", "--engine", engine,
                           "--mem", "16m", *args])


def image(bench, name):
    return bench.build / f"guest/unikernel/{name}.hvt"


def hello(bench, engine):
    """Milliseconds, wall and CPU."""
    begun = time.monotonic()
    process = start(bench, engine, image(bench, "hello"))
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdin.close()
    process.stdout.close()
    if status or said != b"Hello, world\n":
        raise Failed(f"hello on {engine}: status {status:#x}")
    return {"hello wall": wall * 1000,
            "hello CPU": (usage.ru_utime + usage.ru_stime) * 1000}


# ---- ping, in a child in its own network -----------------------------------

def own_network():
    for command in ("ip link set lo up", f"ip tuntap add {TAP} mode tap",
                    f"ip addr add {HOST}/24 dev {TAP}",
                    f"ip link set {TAP} up"):
        done = subprocess.run(command.split(), capture_output=True,
                              text=True, check=False)
        if done.returncode:
            raise Failed(f"{command}: {done.stderr.strip()}")


def cpu_ns(pid):
    """What the scheduler has counted, of all its threads."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat",
                  encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total


def ping_args(count):
    return ["ping", "-q", "-c", str(count), "-i", "0", "-w", str(PATIENCE),
            GUEST]


def ping(bench, engine):
    process = start(bench, engine, image(bench, "echo"), "--net",
                    f"service=tap={TAP}", "--", GUEST)
    try:
        Lines(process).until("echo: ")
        # Address resolution, and code that runs for the first time.
        subprocess.run(ping_args(20), capture_output=True, check=False)
        before = cpu_ns(process.pid)
        done = subprocess.run(ping_args(FRAMES), capture_output=True,
                              text=True, check=False)
        used = cpu_ns(process.pid) - before
    finally:
        machines.end(process)
    wall = re.search(rf"{FRAMES} received, 0% packet loss, time (\d+)ms",
                     done.stdout)
    trip = re.search(r"= [\d.]+/([\d.]+)/", done.stdout)
    if not wall or not trip:
        raise Failed(f"ping on {engine}: {done.stdout}{done.stderr}")
    return {"ping wall": float(wall[1]), "ping CPU": used / 1e6,
            "ping round trip": float(trip[1]) * 1000}


def apart(what, *args):
    """Its result, from a child that has a network of its own."""
    receiver, sender = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(receiver)
            machines.new_network()
            own_network()
            answer = {"result": what(*args)}
        except Exception as error:  # pylint: disable=broad-except
            answer = {"failed": str(error)}
        with open(sender, "w", encoding="utf-8") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(sender)
    with open(receiver, encoding="utf-8") as pipe:
        answer = json.loads(pipe.read() or '{"failed": "no answer"}')
    os.waitpid(pid, 0)
    if "failed" in answer:
        raise Failed(answer["failed"])
    return answer["result"]


# ---- the group -------------------------------------------------------------

def measured(bench, engine, wanted):
    """What there is to know of one engine, in this turn."""
    found = {}
    for part, what in (("hello", lambda: hello(bench, engine)),
                       ("ping", lambda: apart(ping, bench, engine))):
        if not any(row.startswith(f"{NAME}/{part}") for row in wanted):
            continue
        try:
            found.update(what())
        except Failed as error:
            bench.note(f"{NAME}, {part}: {error}")
    return found


def runs(bench, engine):
    try:
        return bool(hello(bench, engine))
    except Failed:
        return False


def run(bench, wanted):
    rows = {what: Row(f"{NAME}/{what}", unit) for what, unit in WHAT.items()}
    bench.say(NAME)
    engines = [e for e in ENGINES if runs(bench, e)]
    for _ in range(bench.count):
        for engine in engines:
            for what, value in measured(bench, engine, wanted).items():
                rows[what].add(engine, value)
    return [row for row in rows.values() if row.name in wanted]


def tabulate(_, rows):
    """bt beside kvm, not beside other emulators."""
    lines = []
    for row in rows:
        ratio = row.slowness("bt", "kvm")
        lines.append([row.name, row.unit, cell(row, "bt"), cell(row, "kvm"),
                      f"{number(ratio)}×" if ratio else "-"])
    return table(["", "unit", "bt", "kvm", "bt / kvm"], lines)
